//! The rules of Counterfoil, as pure functions over plain facts, and the words they are said in.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time and fresh IDs are arguments. What is decided here can be read aloud
//! next to the requirements; who loads the facts and writes the decision is the server's or the terminal's business.

pub mod cell;
pub mod id;
pub mod license;
pub mod medium;
pub mod money;
pub mod policy;
pub mod recovery_code;
pub mod refusal;
pub mod rights;
pub mod rules;
pub mod time;
pub mod title;
pub mod voucher_code;
pub mod wire;

pub use id::{
    AccountId, CardId, ContentsServerId, DeliveryId, DeviceId, DriveId, EntitlementId, GatewayId, GrantId, HolderId, JobId, LicenseId,
    OrderId, PaymentId, PostingId, ProviderId, ReissueId, RepairId, RequestId, TransactionId, UploadId, UserId, WebhookId,
};
pub use license::{License, LicensedDevice};
pub use medium::{BatchId, MediumId};
pub use money::{Currency, Money};
pub use policy::{Policy, SourceDevice};
pub use recovery_code::{RecoveryCode, RecoveryCodeError};
pub use refusal::{Code, CopyOffer, Refusal};
pub use rights::Rights;
pub use time::Timestamp;
pub use title::{Channel, Kind, ReleaseVersion, TitleId};
pub use voucher_code::{VoucherCode, VoucherCodeError};
