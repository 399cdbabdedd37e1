//! What terminal and authority say to each other, inside the envelope and in the answer (`protocol.md` §2).
//!
//! Keys and sealed boxes are opaque here: base64url text or the JSON that `counterfoil-format` defines.

mod gateway;
mod identity;
mod inbox;
mod license;
mod order;
mod repair;
mod request;
mod result;
mod selection;
mod send;
mod service;
mod update;

pub use gateway::{
    AUTHORITY_NAME, CARD_HEADER, Charge, ChargeOnOffer, EXCHANGE_HEADER, Enrol, EnrolToken, Enrolled, ExchangeRecord, ExchangeRecords,
    ExchangeState, PAY_HEADER, Prepare, SETTLEMENT_HEAD, Step, Undo, UndoReason,
};
pub use identity::{
    AuthorityDocument, AuthorityKeys, IdentityArea, IdentityClaims, KEYS_TYP, KeysStatement, Notice, NoticeClaims, PublisherOnMedium,
    SealingKeyDocument, TitleOnMedium,
};
pub use inbox::{Inbox, InboxResult, Job, JobDone, Work};
pub use license::{
    AddDevice, AddDeviceResult, AskLicense, Devices, DevicesResult, LicenseResult, LicensedTitle, MovedLicense, Redeem, RedeemResult,
    Renew, RenewResult, Transfer, TransferResult, UsersDevice,
};
pub use order::{Order, OrderResult, OrderedTitle, Orders, OrdersResult, Refund, RefundResult};
pub use repair::{
    AskRecoveryCode, BURY_HOLDER, BuryHolder, Collect, CollectResult, CollectedGrant, ExchangedKind, FREE_COPIES, FreeCopies,
    REBIND_GRANTS, RebindGrants, RecoveryCodeResult, Reissue, ReissueResult, ReissueState,
};
pub use request::{Claim, Confirm, Heal, HolderKeys, Inspect, Operation, Register, RegisterDevice, RegisterDrive, Request};
pub use result::{
    Answer, ChargedCopy, ClaimResult, ConfirmResult, DeviceVerdict, GrantDocument, HealResult, HolderKind, InspectResult, MediumVerdict,
    Outcome, OwnedTitle, RegisterResult, TitleOnOffer, UserVerdict,
};
pub use selection::{
    ContentsServer, HandIn, HandInResult, SELECTION_TYP, Selected, Selection, SelectionClaims, ShowStatus, ShownStatus, VERDICT_TYP,
    VerdictClaims,
};
pub use send::{JobProgress, Send, SendResult, Sent, SentJob, SentResult};
pub use service::{
    Challenge, Present, Presentation, ProviderContent, ProviderSession, Refresh, Refreshed, RefreshedResult, SlotVersion, Upload,
    UploadResult, UploadedVersion, Uploads, UploadsResult, Verdict, provider_address,
};
pub use update::{
    AskUpdate, Begun, ContentOnOffer, ObjectOnOffer, PatchOnOffer, Plan, ReleaseOnOffer, Report, ReportResult, Status, UpdateResult,
    Variable, Variables, Way, WayKind,
};
