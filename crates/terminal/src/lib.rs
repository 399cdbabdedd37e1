//! The terminal as a library: who I am (card, device, drive), media, the library on a drive, and the way to the authority.
//!
//! Start at [`Terminal`]; then [`register()`], [`Medium::open`], [`copy()`], [`open_title`].

pub mod card;
mod claimant;
pub mod clock;
mod copy;
mod error;
mod exchange;
pub mod hardware;
pub mod home;
mod inspect;
pub mod io;
mod library;
mod medium;
mod mount;
mod origin;
mod play;
mod register;
mod terminal;
pub mod transport;
mod verify;

pub use card::{CardChoice, CardGrant, CardInfo, card_new, card_show};
pub use copy::{Copied, CopiedTitle, CopyError, CopyOptions, Progress, Step, copy};
pub use error::{Error, Result};
pub use exchange::ExchangeError;
pub use hardware::{HardwareError, HardwareIds};
pub use home::{Authority, Home, HomeError, Profile};
pub use inspect::inspect;
pub use library::{Library, LibraryError, Listed, default_library};
pub use medium::{IDENTITY_TYP, Medium, MediumError, Signature, layout};
pub use mount::{Mounted, mount, mount_private};
pub use origin::Origin;
pub use play::{DirEntry, EntryType, FileInfo, PlayError, Title, open_title};
pub use register::{Part, RegisterOptions, Registered, register};
pub use terminal::{Connect, Parts, Setup, Terminal};
pub use verify::{Damaged, Repaired, Report, repair, verify};
