//! When a device is repaired or a card is lost: what a terminal asks then (C14, C15).

use super::{GrantDocument, HolderKeys};
use crate::rules::register::Combination;
use crate::{CardId, DeviceId, GrantId, HolderId, LicenseId, MediumId, ReissueId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// C15: a recovery code for the user's entry, in place of the last one. Signed by the card, and by the device where the entry has one: who
/// was lent a card gets none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRecoveryCode {
    /// As received at registration.
    pub user_id: UserId,
    /// The card that the code is for the loss of.
    pub card_id: CardId,
    /// The device that asks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
}

/// Answers [`AskRecoveryCode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCodeResult {
    /// `format::grant` box to the card, purpose `recovery code` and the card's ID: the code as it is written down.
    pub code: serde_json::Value,
}

/// C15: asks for a new card in place of one that is lost. Signed by the new card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reissue {
    /// As it was written down.
    pub user_id: UserId,
    /// As it was written down.
    pub recovery_code: String,
    /// The new card's keys; its ID follows from them.
    pub card: HolderKeys,
    /// How the repair centre reaches the user, in the user's own words; 200 characters at most.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub contact: Option<String>,
}

/// Answers [`Reissue`]: what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReissueResult {
    /// Which request.
    pub reissue_id: ReissueId,
    /// Where it stands.
    pub state: ReissueState,
}

/// Where a request for a new card stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReissueState {
    /// For the repair centre, or for the time that the operator's policy has it wait.
    Waiting,
    /// The new card is the entry's; [`Collect`] fills it.
    Done,
    /// Refused by the repair centre.
    Declined,
}

impl ReissueState {
    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ReissueState::Waiting => "waiting",
            ReissueState::Done => "done",
            ReissueState::Declined => "declined",
        }
    }
}

/// C14, C15: everything that stands for a card: the user ID, and all grants, without content keys where the copy is complete. So a new card
/// is filled, and one that has been to the repair centre finds out what has ended. Signed by the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collect {
    /// Which.
    pub card_id: CardId,
    /// Continues after this many grants.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<String>,
}

/// Answers [`Collect`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectResult {
    /// `format::grant` box whose plaintext is the user ID's written form, as in a registration.
    pub user: serde_json::Value,
    /// What the entry has registered together: what a claim has to name.
    pub combination: Combination,
    /// The entry's; raised by every repair and reissue.
    pub generation: u32,
    /// When a device, drive or card of the entry was exchanged last. A grant that was issued before and is not here has ended; one that was
    /// issued since may not be known to the entry yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchanged_at: Option<Timestamp>,
    /// What stands, in an order that stays; 100 at most.
    pub grants: Vec<CollectedGrant>,
    /// More follow: what to continue after.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub more: Option<String>,
}

/// A grant that stands, sealed to the card that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectedGrant {
    /// The grant; with its content key where the copy or installation is not confirmed.
    #[serde(flatten)]
    pub grant: GrantDocument,
    /// The medium that it came from, where it came from one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub medium_id: Option<MediumId>,
    /// The license that it is of, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub license_id: Option<LicenseId>,
    /// The device that it is bound to, and whose secret takes part in the sealing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_id: Option<DeviceId>,
}

/// What was exchanged in an entry (C14, C15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangedKind {
    /// A device: grants bound to it end, its licenses move to the new one.
    Device,
    /// A drive: grants bound to it end.
    Drive,
    /// A card: everything stays, sealed to the new one.
    Card,
}

impl ExchangedKind {
    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            ExchangedKind::Device => "device",
            ExchangedKind::Drive => "drive",
            ExchangedKind::Card => "card",
        }
    }

    /// From the database.
    pub fn parse(text: &str) -> Option<Self> {
        [ExchangedKind::Device, ExchangedKind::Drive, ExchangedKind::Card].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Kind of [`FreeCopies`] in the outbox.
pub const FREE_COPIES: &str = "free_copies";
/// Kind of [`RebindGrants`] in the outbox.
pub const REBIND_GRANTS: &str = "rebind_grants";
/// Kind of [`BuryHolder`] in the outbox.
pub const BURY_HOLDER: &str = "bury_holder";

/// Outbox, from the user's family to a medium's: the copies that a user holds of it, bound to a device or drive that was exchanged, are free
/// again (C14).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeCopies {
    /// Of which medium.
    pub medium: MediumId,
    /// Whose.
    pub user: UserId,
    /// Device or drive.
    pub kind: ExchangedKind,
    /// Its ID, as it is written.
    pub old_id: String,
    /// By which repair; names the operation.
    pub repair: String,
    /// Grants that the user's family knew of: every copy that one of them is of, where it is bound so. Others are told of by themselves,
    /// and a copy that was claimed after the repair stays.
    pub grants: Vec<GrantId>,
    /// When.
    pub at: Timestamp,
}

/// Outbox, from the user's family to a card's: it is dead, another one took its place (C15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuryHolder {
    /// Which.
    pub holder: HolderId,
    /// Whose it was.
    pub user: UserId,
    /// By which repair; names the operation.
    pub repair: String,
    /// The card that took its place.
    pub new: CardId,
    /// When.
    pub at: Timestamp,
}

/// Outbox, from the user's family to a medium's: grants that are not confirmed go on with the new card (C15).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebindGrants {
    /// Of which medium.
    pub medium: MediumId,
    /// Whose.
    pub user: UserId,
    /// The card that is dead.
    pub old: CardId,
    /// The card that took its place.
    pub new: CardId,
    /// By which repair; names the operation.
    pub repair: String,
    /// Grants that the user's family knows of.
    pub grants: Vec<GrantId>,
    /// When.
    pub at: Timestamp,
}
