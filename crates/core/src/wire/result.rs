//! Answers: what the authority signs, with every secret in a box for the holder that may open it.

use super::Refresh;
use crate::rules::order::Payment;
use crate::{CardId, DeviceId, GrantId, Kind, MediumId, Money, OrderId, Refusal, ReleaseVersion, RequestId, Rights, Timestamp, TitleId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The payload of the authority's signed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the request that this answers; nothing else is accepted for it.
    pub request_id: RequestId,
    /// The authority's clock.
    pub server_time: Timestamp,
    /// B7: a new identity for the medium that proved itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refresh: Option<Refresh>,
    /// Yes or no.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The operation's own result, one of the `…Result` types.
    Result(serde_json::Value),
    /// Refused.
    Refusal(Refusal),
}

impl Outcome {
    /// The result as the type of the operation that was asked for.
    ///
    /// # Errors
    /// The refusal, or where the result is not of that type, what is wrong with it.
    pub fn into_result<T: DeserializeOwned>(self) -> Result<Result<T, Refusal>, serde_json::Error> {
        match self {
            Outcome::Result(value) => serde_json::from_value(value).map(Ok),
            Outcome::Refusal(refusal) => Ok(Err(refusal)),
        }
    }
}

/// Which store of keys a box is sealed to (C5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HolderKind {
    /// The card.
    Card,
    /// The device's own store.
    Device,
    /// The drive's own store.
    Drive,
}

impl HolderKind {
    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            HolderKind::Card => "card",
            HolderKind::Device => "device",
            HolderKind::Drive => "drive",
        }
    }
}

/// C3: the user ID, sealed to the holder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterResult {
    /// Whom it is sealed to.
    pub holder: HolderKind,
    /// `format::grant` box whose plaintext is the user ID's written form.
    pub user: serde_json::Value,
    /// Present where the holder is a card; visible to its owner.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// Of the user entry: raised by every repair and reissue. A card that knows a lower one asks what it still holds (`collect`).
    #[serde(default)]
    pub generation: u32,
}

/// C7: keys for every title on the medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimResult {
    /// One for each title, in the order of the identity area.
    pub grants: Vec<GrantDocument>,
    /// As in a [`RegisterResult`].
    #[serde(default)]
    pub generation: u32,
    /// What the authority itself has charged for it (C18).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub charged: Option<ChargedCopy>,
}

/// A copy that was paid for at the authority itself (C18): an order of the user's, made for the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChargedCopy {
    /// Which order.
    pub order_id: OrderId,
    /// What for.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// How much.
    pub price: Money,
    /// How.
    pub payment: Payment,
    /// What is left of what was paid in advance, in the currency of the price, where it was taken from there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub balance: Option<Money>,
}

/// One issuance of keys (C7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantDocument {
    /// Its name.
    pub grant_id: GrantId,
    /// What it opens.
    pub title: TitleId,
    /// Which of the title's content keys.
    pub generation: u32,
    /// Whom the keys are sealed to.
    pub holder: HolderKind,
    /// Whether the device's secret takes part in the sealing.
    pub with_device: bool,
    /// `format::grant` boxes of library key and content key.
    pub keys: serde_json::Value,
    /// Device ID and drive ID encrypted under the library key, base64url.
    pub binding: String,
    /// When.
    pub issued_at: Timestamp,
}

/// The authority has noted that the copy is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmResult {
    /// Grants that are settled now, those that already were included.
    pub settled: Vec<GrantId>,
}

/// Keys of the chunks that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealResult {
    /// `format::grant` box to the holder, purpose `heal` and the grant ID: the chunks' keys, 32 bytes each, in the order of the request.
    pub keys: serde_json::Value,
}

/// A1, A3, A7, A11: the verdict on each thing that was presented.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InspectResult {
    /// On the medium.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium: Option<MediumVerdict>,
    /// On the user.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user: Option<UserVerdict>,
    /// On the device.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<DeviceVerdict>,
}

/// What the authority knows of a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediumVerdict {
    /// What is stored on it (A3).
    pub titles: Vec<TitleOnOffer>,
    /// What the database says that it allows.
    pub rights: Rights,
    /// Copies that can still be claimed.
    pub copies_left: u32,
    /// Whether a claim by the user presented with it has been granted. Never says who else holds it.
    pub yours: bool,
    /// Whether its key is paid for when it is copied (C18).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub paid_on_copy: bool,
    /// What it costs then at the authority itself, one a currency; nothing where only gateways sell it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub prices: Vec<Money>,
}

/// A title, and its newest release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleOnOffer {
    /// By name.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Newest release that the contents server holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest: Option<ReleaseVersion>,
}

/// What the authority knows of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserVerdict {
    /// Devices in the entry.
    pub devices: Vec<DeviceVerdict>,
    /// Titles that the user owns, and where from.
    pub titles: Vec<OwnedTitle>,
}

/// One entitlement, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnedTitle {
    /// What.
    pub title: TitleId,
    /// From which medium, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// From which order, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order_id: Option<OrderId>,
    /// Since when.
    pub since: Timestamp,
}

/// A device in a user entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceVerdict {
    /// By ID.
    pub id: DeviceId,
    /// What its user calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Since when.
    pub registered_at: Timestamp,
}
