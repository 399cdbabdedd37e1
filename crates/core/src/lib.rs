//! The rules of Counterfoil, as pure functions over plain facts, and the words they are said in.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time and fresh IDs are arguments. What is decided here can be read aloud
//! next to the requirements; who loads the facts and writes the decision is the server's or the terminal's business.

pub mod id;
pub mod medium;
pub mod refusal;
pub mod rights;
pub mod rules;
pub mod time;
pub mod title;
pub mod wire;

pub use id::{CardId, DeviceId, DriveId, GrantId, HolderId, RequestId, UserId};
pub use medium::{BatchId, MediumId};
pub use refusal::{Code, Refusal};
pub use rights::Rights;
pub use time::Timestamp;
pub use title::{Kind, ReleaseVersion, TitleId};
