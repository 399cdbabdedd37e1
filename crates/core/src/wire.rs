//! What terminal and authority say to each other, inside the envelope and in the answer (`protocol.md` §2).
//!
//! Keys and sealed boxes are opaque here: base64url text or the JSON that `counterfoil-format` defines.

mod identity;
mod request;
mod result;

pub use identity::{AuthorityDocument, AuthorityKeys, IdentityArea, IdentityClaims, PublisherOnMedium, SealingKeyDocument, TitleOnMedium};
pub use request::{Claim, Confirm, Heal, HolderKeys, Inspect, Operation, Register, RegisterDevice, RegisterDrive, Request};
pub use result::{
    Answer, ClaimResult, ConfirmResult, DeviceVerdict, GrantDocument, HealResult, HolderKind, InspectResult, MediumVerdict, Outcome,
    OwnedTitle, RegisterResult, TitleOnOffer, UserVerdict,
};
