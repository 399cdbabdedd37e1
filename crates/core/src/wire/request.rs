//! Requests: what the terminal signs and seals.

use super::{
    AddDevice, AskLicense, AskRecoveryCode, AskUpdate, Collect, Devices, HandIn, Inbox, Order, Orders, Present, Redeem, Refreshed, Refund,
    Reissue, Renew, Report, Send, Sent, Transfer, Upload, Uploads,
};
use crate::{CardId, Currency, DeviceId, DriveId, GrantId, MediumId, Money, RequestId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// The payload inside an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Stored by the terminal before sending; a repeat with the same ID gets the same answer.
    pub request_id: RequestId,
    /// The terminal's clock. More than 24 h off is refused ([`crate::rules::freshness`]).
    pub issued_at: Timestamp,
    /// Whether the medium that proves itself can be written, and so be refreshed (B7).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub refreshable: bool,
    /// Whether the answer is to be sealed to whoever sealed the request, so that nobody between reads it (C16). Terminals ask for it; an authority
    /// that does not know it yet answers plain.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub seal_answer: bool,
    /// Whether it was sealed to be handed in by a gateway, which charges for it (C17): whoever is on the way can take it nowhere else, where something
    /// else than what was agreed to would be charged.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub by_gateway: bool,
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
    /// D2, D3: buys a title for the device that asks.
    Order(Order),
    /// What the user has ordered.
    Orders(Orders),
    /// Gives an order back.
    Refund(Refund),
    /// D5: a license for a title on the device that asks; answered with a transaction ID.
    License(AskLicense),
    /// D6: the license that waits under a transaction ID, with the keys.
    Redeem(Redeem),
    /// The license again, good for longer.
    Renew(Renew),
    /// D8: the user's devices, and what is licensed to each.
    Devices(Devices),
    /// Announces a device that is going to register for the user.
    AddDevice(AddDevice),
    /// D8–D10: moves licenses from one of the user's devices to another.
    Transfer(Transfer),
    /// What there is to do for the device that asks.
    Inbox(Inbox),
    /// A5, A6: what is held; answered with plans.
    Report(Report),
    /// A10: what a contents server has selected for a status that it was shown.
    HandIn(HandIn),
    /// A5: the keys to a release, for a grant that stands.
    Update(AskUpdate),
    /// A2: has another of the user's devices install or update a title.
    Send(Send),
    /// How far what was sent to other devices is.
    Sent(Sent),
    /// B4: for a provider, which has the authority judge it. Never sent to the exchange.
    Present(Present),
    /// B7: the new identity is on the medium.
    Refreshed(Refreshed),
    /// A4: hands something in.
    Upload(Upload),
    /// A4: what was handed in.
    Uploads(Uploads),
    /// C15: a code to write down, for the day the card is lost.
    RecoveryCode(AskRecoveryCode),
    /// C15: a new card for a lost one.
    Reissue(Reissue),
    /// C14, C15: what stands for a card.
    Collect(Collect),
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
            Operation::Order(_) => "order",
            Operation::Orders(_) => "orders",
            Operation::Refund(_) => "refund",
            Operation::License(_) => "license",
            Operation::Redeem(_) => "redeem",
            Operation::Renew(_) => "renew",
            Operation::Devices(_) => "devices",
            Operation::AddDevice(_) => "add_device",
            Operation::Transfer(_) => "transfer",
            Operation::Inbox(_) => "inbox",
            Operation::Report(_) => "report",
            Operation::HandIn(_) => "hand_in",
            Operation::Update(_) => "update",
            Operation::Send(_) => "send",
            Operation::Sent(_) => "sent",
            Operation::Present(_) => "present",
            Operation::Refreshed(_) => "refreshed",
            Operation::Upload(_) => "upload",
            Operation::Uploads(_) => "uploads",
            Operation::RecoveryCode(_) => "recovery_code",
            Operation::Reissue(_) => "reissue",
            Operation::Collect(_) => "collect",
        }
    }

    /// The device that asks, as far as the request says.
    pub fn device_id(&self) -> Option<DeviceId> {
        match self {
            Operation::Register(asked) => asked.device.as_ref().map(|device| device.id),
            Operation::Inspect(asked) => asked.device_id,
            Operation::Claim(asked) => asked.device_id,
            Operation::Confirm(asked) => asked.device_id,
            Operation::Heal(asked) => asked.device_id,
            Operation::Order(asked) => Some(asked.device_id),
            Operation::Orders(asked) => Some(asked.device_id),
            Operation::Refund(asked) => Some(asked.device_id),
            Operation::License(asked) => Some(asked.device_id),
            Operation::Redeem(asked) => Some(asked.device_id),
            Operation::Renew(asked) => Some(asked.device_id),
            Operation::Devices(asked) => Some(asked.device_id),
            Operation::AddDevice(asked) => Some(asked.device_id),
            Operation::Transfer(asked) => Some(asked.device_id),
            Operation::Inbox(asked) => Some(asked.device_id),
            Operation::Report(asked) => asked.device_id,
            Operation::HandIn(asked) => Some(asked.device_id),
            Operation::Update(asked) => asked.device_id,
            Operation::Send(asked) => Some(asked.device_id),
            Operation::Sent(asked) => Some(asked.device_id),
            Operation::Present(asked) => asked.device_id,
            Operation::Refreshed(_) => None,
            Operation::Upload(asked) => Some(asked.device_id),
            Operation::Uploads(asked) => Some(asked.device_id),
            Operation::RecoveryCode(asked) => asked.device_id,
            Operation::Reissue(_) | Operation::Collect(_) => None,
        }
    }

    /// The user that it says it is for.
    pub fn user_id(&self) -> Option<UserId> {
        match self {
            Operation::Register(asked) => asked.user_id,
            Operation::Inspect(asked) => asked.user_id,
            Operation::Report(asked) => asked.user_id,
            Operation::Present(asked) => asked.user_id,
            Operation::Claim(asked) => Some(asked.user_id),
            Operation::Confirm(asked) => Some(asked.user_id),
            Operation::Heal(asked) => Some(asked.user_id),
            Operation::Order(asked) => Some(asked.user_id),
            Operation::Orders(asked) => Some(asked.user_id),
            Operation::Refund(asked) => Some(asked.user_id),
            Operation::License(asked) => Some(asked.user_id),
            Operation::Redeem(asked) => Some(asked.user_id),
            Operation::Renew(asked) => Some(asked.user_id),
            Operation::Devices(asked) => Some(asked.user_id),
            Operation::AddDevice(asked) => Some(asked.user_id),
            Operation::Transfer(asked) => Some(asked.user_id),
            Operation::Inbox(asked) => Some(asked.user_id),
            Operation::HandIn(asked) => Some(asked.user_id),
            Operation::Update(asked) => Some(asked.user_id),
            Operation::Send(asked) => Some(asked.user_id),
            Operation::Sent(asked) => Some(asked.user_id),
            Operation::Upload(asked) => Some(asked.user_id),
            Operation::Uploads(asked) => Some(asked.user_id),
            Operation::RecoveryCode(asked) => Some(asked.user_id),
            Operation::Reissue(asked) => Some(asked.user_id),
            Operation::Refreshed(_) | Operation::Collect(_) => None,
        }
    }

    /// The drive that it is for, as far as the request says.
    pub fn drive_id(&self) -> Option<DriveId> {
        match self {
            Operation::Register(asked) => asked.drive.as_ref().map(|drive| drive.id),
            Operation::Claim(asked) => asked.drive_id,
            Operation::Redeem(asked) => asked.drive_id,
            Operation::Update(asked) => asked.drive_id,
            _ => None,
        }
    }

    /// Whether the license server decides it: what concerns grants that were issued. All else is the authority's, above all the first word
    /// on a medium or a user (docs/decisions/0012).
    pub fn is_for_license_server(&self) -> bool {
        match self {
            Operation::Confirm(_) | Operation::Heal(_) | Operation::Redeem(_) | Operation::Renew(_) | Operation::Update(_) => true,
            Operation::Register(_)
            | Operation::Inspect(_)
            | Operation::Claim(_)
            | Operation::Order(_)
            | Operation::Orders(_)
            | Operation::Refund(_)
            | Operation::License(_)
            | Operation::Devices(_)
            | Operation::AddDevice(_)
            | Operation::Transfer(_)
            | Operation::Inbox(_)
            | Operation::Report(_)
            | Operation::HandIn(_)
            | Operation::Send(_)
            | Operation::Sent(_)
            | Operation::Present(_)
            | Operation::Refreshed(_)
            | Operation::Upload(_)
            | Operation::Uploads(_)
            | Operation::RecoveryCode(_)
            | Operation::Reissue(_)
            | Operation::Collect(_) => false,
        }
    }
}

/// The public halves of a holder's keys, base64url: both of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderKeys {
    /// Ed25519, 32 bytes; of a card in a token or TPM P-256, 65 bytes, uncompressed.
    pub sign: String,
    /// X25519, 32 bytes; or P-256 likewise.
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
    /// What the person agrees to pay to the authority itself, where the key is paid for when it is copied (C18); another price is refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pay: Option<Money>,
    /// What the person wants to pay in, where a gateway charges in several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub currency: Option<Currency>,
}

/// Everything granted for this medium lies complete in the library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirm {
    /// As received at registration.
    pub user_id: UserId,
    /// The medium that was copied; absent where a license was installed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
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
    /// The medium that was copied; absent where a license was installed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_called_what_stands_in_op() {
        let (user, device) = (UserId::from_bytes([1; 16]), DeviceId::from_bytes([2; 16]));
        for name in ["devices", "orders"] {
            let told = serde_json::json!({ "op": name, "user_id": user, "device_id": device });
            assert_eq!(serde_json::from_value::<Operation>(told).expect(name).name(), name);
        }
    }
}
