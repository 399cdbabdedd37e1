//! Requests: what the terminal signs and seals.

use crate::{CardId, DeviceId, DriveId, GrantId, MediumId, RequestId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// The payload inside an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Stored by the terminal before sending; a repeat with the same ID gets the same answer.
    pub request_id: RequestId,
    /// The terminal's clock. More than 24 h off is refused ([`crate::rules::freshness`]).
    pub issued_at: Timestamp,
    /// What is asked for.
    #[serde(flatten)]
    pub operation: Operation,
}

/// One of the operations, told apart by `op`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// C3.
    Register(Register),
    /// A1, A3, A7, A11.
    Inspect(Inspect),
    /// C6–C8.
    Claim(Claim),
    /// The copy is complete.
    Confirm(Confirm),
    /// Chunks of the copy are damaged.
    Heal(Heal),
}

impl Operation {
    /// As in `op`; the name in logs, metrics and the audit log.
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Register(_) => "register",
            Operation::Inspect(_) => "inspect",
            Operation::Claim(_) => "claim",
            Operation::Confirm(_) => "confirm",
            Operation::Heal(_) => "heal",
        }
    }

    /// Whether the license server decides it: what concerns grants that were issued. All else is the authority's, above all the first word
    /// on a medium or a user (docs/decisions/0012).
    pub fn is_for_license_server(&self) -> bool {
        match self {
            Operation::Confirm(_) | Operation::Heal(_) => true,
            Operation::Register(_) | Operation::Inspect(_) | Operation::Claim(_) => false,
        }
    }
}

/// The public halves of a holder's keys, base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderKeys {
    /// Ed25519, 32 bytes.
    pub sign: String,
    /// X25519, 32 bytes.
    pub seal: String,
}

/// C3, C5: any non-empty subset of card, device and drive, as the policy allows. Every holder of keys named here signs the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Registers one more device or drive for a user who exists, who says so by the ID that was written down.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<UserId>,
    /// The card's keys; its ID follows from them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card: Option<HolderKeys>,
    /// The device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<RegisterDevice>,
    /// The drive.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drive: Option<RegisterDrive>,
}

/// What is registered of a device (C3, D1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDevice {
    /// From the hardware, or typed from the label.
    pub id: DeviceId,
    /// Made on the device.
    pub keys: HolderKeys,
    /// 32 bytes base64url that grants are sealed under besides the holder's key, so that a lent card alone opens nothing.
    pub secret: String,
    /// What its user calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
}

/// What is registered of a drive (C3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterDrive {
    /// From the volume, or typed from the label.
    pub id: DriveId,
    /// Where neither card nor device is registered, the keys live on the drive (C5).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub keys: Option<HolderKeys>,
}

/// A1, A7, A11: who or what is this, and what may it do? Any non-empty subset, each with its proof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspect {
    /// Proven under its claim secret.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// Proven by the holder's key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_id: Option<UserId>,
    /// Proven by the device's key. With a user ID it must be one of that user's devices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
}

/// C6: user ID and medium ID, with the IDs of the entry that asks. Signed by the holder and by the device; proven under the claim secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// As received at registration.
    pub user_id: UserId,
    /// From the identity area.
    pub medium_id: MediumId,
    /// Which of the medium's claim secrets proves it.
    pub epoch: u32,
    /// Where the entry has a card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that copies.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
    /// The drive that is copied to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drive_id: Option<DriveId>,
}

/// Everything granted for this medium lies complete in the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// As received at registration.
    pub user_id: UserId,
    /// The medium that was copied.
    pub medium_id: MediumId,
    /// Its grants.
    pub grant_ids: Vec<GrantId>,
    /// The device that copied, where one is registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
}

/// Chunks of a copied title are damaged in the library: asks for the keys of exactly those, so that they can be taken from the medium again.
/// The content key itself is gone from the card since the copy was complete (C11), and stays gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heal {
    /// As received at registration.
    pub user_id: UserId,
    /// The medium that was copied.
    pub medium_id: MediumId,
    /// The grant that the library holds the title by.
    pub grant_id: GrantId,
    /// The device that the library is played on, where one is registered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
    /// Chunk IDs, 32 bytes base64url each, [`Heal::MOST`] at most.
    pub chunks: Vec<String>,
}

impl Heal {
    /// Chunks in one request; more take more requests.
    pub const MOST: usize = 400;
}
