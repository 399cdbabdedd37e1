//! Licenses fetched, renewed and moved between a user's devices (D5–D10).

use super::{GrantDocument, TitleOnMedium};
use crate::{CardId, DeviceId, DriveId, LicenseId, Policy, ReleaseVersion, Timestamp, TitleId, TransactionId, UserId};
use serde::{Deserialize, Serialize};

/// D5. Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskLicense {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that it is for.
    pub device_id: DeviceId,
    /// What.
    pub title: TitleId,
    /// Which release is going to be installed; the newest on the channel where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<ReleaseVersion>,
    /// On which channel; `stable` where none is named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub channel: Option<String>,
    /// The license that was fetched is lost, with its library: asks for a new grant to the same device.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub again: bool,
    /// Sequence of the newest feed of the title that is known here; 0 for none.
    #[serde(default)]
    pub feed: u64,
}

/// D6. Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that it is for.
    pub device_id: DeviceId,
    /// The drive that it is installed to, where the entry has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drive_id: Option<DriveId>,
    /// As answered to `license`.
    pub transaction_id: TransactionId,
}

/// Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that holds it.
    pub device_id: DeviceId,
    /// Which.
    pub license_id: LicenseId,
}

/// D8. Signed by the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// As received at registration.
    pub user_id: UserId,
    /// The device that asks.
    pub device_id: DeviceId,
}

/// Signed by the device, and by the card where the entry has one. The new device then registers with the user ID and its own keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddDevice {
    /// As received at registration.
    pub user_id: UserId,
    /// Where the entry has a card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that asks.
    pub device_id: DeviceId,
    /// The device that is announced.
    pub new_device_id: DeviceId,
    /// What its user calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
}

/// D8–D10. Signed by the device, which may be the source, the destination or a third of the user's devices, and by the card where the
/// entry has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// As received at registration.
    pub user_id: UserId,
    /// Where the entry has a card.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub card_id: Option<CardId>,
    /// The device that asks.
    pub device_id: DeviceId,
    /// The device that gives up.
    pub source: DeviceId,
    /// The device that receives.
    pub destination: DeviceId,
    /// What; absent where everything moves and the source is taken out of the entry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<TitleId>,
    /// Only says what would happen.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub preview: bool,
}

/// D5, D6: the transaction ID, and where the title is to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseResult {
    /// To be returned to the license server.
    pub transaction_id: TransactionId,
    /// Which license.
    pub license_id: LicenseId,
    /// The title and the release to install.
    pub title: TitleOnMedium,
    /// The release document, a compact JWS by the publisher; the objects that it names are at the contents servers.
    pub release: String,
    /// The publisher's feed, a compact JWS; absent where the one that is known is the newest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub feed: Option<String>,
    /// The authority's word that this feed is the newest, a compact JWS; absent where the title has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fresh: Option<String>,
}

/// D6: the license with its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeemResult {
    /// [`crate::License`] as a compact JWS.
    pub license: String,
    /// As for a copy.
    pub grant: GrantDocument,
}

/// The license, good for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewResult {
    /// [`crate::License`] as a compact JWS.
    pub license: String,
}

/// D8: the user's devices, first registered first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicesResult {
    /// All of them, those that have not registered yet included.
    pub devices: Vec<UsersDevice>,
}

/// One of a user's devices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsersDevice {
    /// Which.
    pub id: DeviceId,
    /// What its user calls it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub maker: Option<String>,
    /// Which model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
    /// Whether it has registered its keys; until then it can neither order nor receive.
    pub registered: bool,
    /// Since when.
    pub since: Timestamp,
    /// What is licensed to it.
    pub licenses: Vec<LicensedTitle>,
}

/// A license as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicensedTitle {
    /// Which.
    pub license_id: LicenseId,
    /// Of what.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Whether it has been installed.
    pub installed: bool,
    /// When what was bought, or tried, ends.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<Timestamp>,
    /// Transfers that are left in this period.
    pub transfers_left: u32,
    /// When there are more, where none is left.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_transfer_at: Option<Timestamp>,
    /// The terms that it was bought under.
    pub policy: Policy,
}

/// The device may register now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddDeviceResult {
    /// Which.
    pub device_id: DeviceId,
}

/// D8–D10: what was moved, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferResult {
    /// License by license.
    pub moved: Vec<MovedLicense>,
    /// Whether the source is no longer one of the user's devices.
    pub source_deregistered: bool,
}

/// A license that has moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLicense {
    /// Which. It has kept its ID, and its transaction ID where it had one.
    pub license_id: LicenseId,
    /// Of what.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Until when the source may still start it, if it never reaches the network again; absent where it never fetched the license, and
    /// [`Timestamp::FOREVER`] where the license has no lease.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_runs_until: Option<Timestamp>,
    /// Transfers that are left in this period.
    pub transfers_left: u32,
}
