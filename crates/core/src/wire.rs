//! What terminal and authority say to each other, inside the envelope and in the answer (`protocol.md` §2).
//!
//! Keys and sealed boxes are opaque here: base64url text or the JSON that `counterfoil-format` defines.

mod gateway;
mod identity;
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
pub use repair::{
    AskRecoveryCode, BURY_HOLDER, BuryHolder, Collect, CollectResult, CollectedGrant, ExchangedKind, FREE_COPIES, FreeCopies,
    REBIND_GRANTS, RebindGrants, RecoveryCodeResult, Reissue, ReissueResult, ReissueState,
};
pub use request::{
    AddDevice, AskLicense, Claim, Confirm, Devices, Heal, HolderKeys, Inbox, Inspect, JobDone, Operation, Order, Orders, Redeem, Refund,
    Register, RegisterDevice, RegisterDrive, Renew, Request, Transfer,
};
pub use result::{
    AddDeviceResult, Answer, ChargedCopy, ClaimResult, ConfirmResult, DeviceVerdict, DevicesResult, GrantDocument, HealResult, HolderKind,
    InboxResult, InspectResult, Job, LicenseResult, LicensedTitle, MediumVerdict, MovedLicense, OrderResult, OrderedTitle, OrdersResult,
    Outcome, OwnedTitle, RedeemResult, RefundResult, RegisterResult, RenewResult, TitleOnOffer, TransferResult, UserVerdict, UsersDevice,
    Work,
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
