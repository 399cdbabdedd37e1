//! An entry as those see it who look things up for people.

use counterfoil_core::rules::repair::Standing;
use counterfoil_core::{CardId, DeviceId, DriveId, LicenseId, MediumId, OrderId, ReissueId, RepairId, Timestamp, TitleId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::page::rfc3339;
use crate::api::users::{DeviceDocument, PersonDocument};
use crate::store::entry::{HoldRow, LicenseOfEntry, Refused};
use crate::store::reissue::ReissueRow;
use crate::store::repair::RepairRow;

/// What was found.
#[derive(Serialize, ToSchema)]
pub struct FoundEntries {
    /// At most 50; what is there now before what is gone.
    pub entries: Vec<EntrySummary>,
}

/// An entry in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntrySummary {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// What the person is called, where a shop has written that down.
    pub name: Option<String>,
    /// Where they can be written to.
    pub email: Option<String>,
    /// The card of the entry, where it has one.
    #[schema(value_type = Option<String>)]
    pub card_id: Option<CardId>,
    /// Whether that card is dead.
    pub card_dead: bool,
    /// Repairs and reissues so far.
    pub generation: u32,
    /// Devices in it, or expected.
    pub devices: usize,
    /// Drives in it.
    pub drives: usize,
    /// What it was found by: `user`, `card`, `device`, `drive`, `medium`, `email` or `name`.
    pub found_by: &'static str,
    /// Whether that is there no more: exchanged, taken out, dead, or taken back.
    pub gone: bool,
}

/// An entry with everything that a repair centre has to know of it.
#[derive(Serialize, ToSchema)]
pub struct EntryDocument {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The person, where a shop has written them down.
    pub person: Option<PersonDocument>,
    /// The card, where the entry has one.
    pub card: Option<CardDocument>,
    /// `card`, `device` or `drive`: what holds the keys; null until the first registration.
    pub holder: Option<&'static str>,
    /// Raised by every repair and reissue.
    pub generation: u32,
    /// Devices, first come first; those that are gone as well.
    pub devices: Vec<DeviceOfEntry>,
    /// Drives, first come first.
    pub drives: Vec<DriveOfEntry>,
    /// What it holds and has held, newest first, at most 1,000.
    pub holds: Vec<HeldTitle>,
    /// Its licenses, newest first, at most 1,000; those that have ended as well.
    pub licenses: Vec<LicenseOfEntryDocument>,
    /// What was exchanged, newest first.
    pub repairs: Vec<RepairDocument>,
    /// New cards that were asked for, newest first.
    pub reissues: Vec<ReissueOfEntry>,
    /// What was refused lately, newest first, and why; also old things that have turned up again.
    pub refusals: Vec<RefusalDocument>,
    /// Exchanges that the policy leaves.
    pub exchanges: ExchangesLeft,
    /// Where the entry's own record is, and ends.
    pub timeline: TimelineCursor,
}

/// The card of an entry.
#[derive(Serialize, ToSchema)]
pub struct CardDocument {
    /// Which.
    #[schema(value_type = String)]
    pub card_id: CardId,
    /// Lost, stolen or replaced.
    pub dead: bool,
}

/// A device of an entry.
#[derive(Serialize, ToSchema)]
pub struct DeviceOfEntry {
    /// The device.
    #[serde(flatten)]
    pub device: DeviceDocument,
    /// Whether it was exchanged, and is refused.
    pub exchanged: bool,
}

/// A drive of an entry.
#[derive(Serialize, ToSchema)]
pub struct DriveOfEntry {
    /// Which.
    #[schema(value_type = String)]
    pub drive_id: DriveId,
    /// Since when.
    pub since: String,
}

/// Something that an entry holds, or has held.
#[derive(Serialize, ToSchema)]
pub struct HeldTitle {
    /// What.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `active` or `ended`.
    pub state: String,
    /// By which entitlement; from a medium it is named by its grant.
    pub entitlement_id: String,
    /// From which medium.
    #[schema(value_type = Option<String>)]
    pub medium_id: Option<MediumId>,
    /// From which order.
    #[schema(value_type = Option<String>)]
    pub order_id: Option<OrderId>,
    /// The device that a copy is bound to, where that is known.
    #[schema(value_type = Option<String>)]
    pub device_id: Option<DeviceId>,
    /// The drive, likewise.
    #[schema(value_type = Option<String>)]
    pub drive_id: Option<DriveId>,
    /// Since when.
    pub since: String,
    /// Until when.
    pub ended_at: Option<String>,
}

impl From<HoldRow> for HeldTitle {
    fn from(row: HoldRow) -> Self {
        let HoldRow { entitlement, title, name, state, medium, order, device, drive, created_at, ended_at } = row;
        Self {
            title,
            name,
            state,
            entitlement_id: entitlement,
            medium_id: medium,
            order_id: order,
            device_id: device,
            drive_id: drive,
            since: rfc3339(created_at.0),
            ended_at: ended_at.map(moment),
        }
    }
}

/// A license of an entry.
#[derive(Serialize, ToSchema)]
pub struct LicenseOfEntryDocument {
    /// Which.
    #[schema(value_type = String)]
    pub license_id: LicenseId,
    /// Of what.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Where it is, or was last.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// `registered`, `issued`, `delivered`, `settled` or `ended`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Until when.
    pub ended_at: Option<String>,
}

impl From<LicenseOfEntry> for LicenseOfEntryDocument {
    fn from(row: LicenseOfEntry) -> Self {
        let LicenseOfEntry { license, title, name, device, state, created_at, ended_at, .. } = row;
        Self { license_id: license, title, name, device_id: device, state, since: rfc3339(created_at.0), ended_at: ended_at.map(moment) }
    }
}

/// Something that was exchanged.
#[derive(Serialize, ToSchema)]
pub struct RepairDocument {
    /// Which.
    #[schema(value_type = String)]
    pub repair_id: RepairId,
    /// `device`, `drive` or `card`.
    pub kind: &'static str,
    /// What was taken out.
    pub old: String,
    /// What took its place.
    pub new: Option<String>,
    /// Why.
    pub reason: String,
    /// The repair centre's own number for it.
    pub reference: Option<String>,
    /// Whether the policy was overridden.
    pub overridden: bool,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: String,
}

impl From<RepairRow> for RepairDocument {
    fn from(row: RepairRow) -> Self {
        let RepairRow { repair, kind, old_id, new_id, reason, reference, overridden, actor, created_at, .. } = row;
        Self {
            repair_id: repair,
            kind: kind.as_str(),
            old: old_id,
            new: new_id,
            reason,
            reference,
            overridden,
            actor,
            at: rfc3339(created_at.0),
        }
    }
}

/// A new card that was asked for.
#[derive(Serialize, ToSchema)]
pub struct ReissueOfEntry {
    /// Which request.
    #[schema(value_type = String)]
    pub reissue_id: ReissueId,
    /// `waiting`, `done` or `declined`.
    pub state: &'static str,
    /// The new card, where it is known.
    #[schema(value_type = Option<String>)]
    pub card_id: Option<CardId>,
    /// How the user is reached, in the user's own words.
    pub contact: Option<String>,
    /// When it was asked for.
    pub at: String,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl From<ReissueRow> for ReissueOfEntry {
    fn from(row: ReissueRow) -> Self {
        let card_id = row.card_id();
        let ReissueRow { reissue, state, contact, created_at, decided_by, decided_at, reason, .. } = row;
        Self {
            reissue_id: reissue,
            state: state.as_str(),
            card_id,
            contact,
            at: rfc3339(created_at.0),
            decided_by,
            decided_at: decided_at.map(moment),
            reason,
        }
    }
}

/// Something that was refused.
#[derive(Serialize, ToSchema)]
pub struct RefusalDocument {
    /// When.
    pub at: String,
    /// In whose record: the entry's, or a medium's.
    pub family: String,
    /// Its place there.
    pub seq: i64,
    /// What was asked for: `claim.refused`; `device.old_turned_up`.
    pub event: String,
    /// The code of the refusal.
    pub code: Option<String>,
    /// The particulars.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

impl From<Refused> for RefusalDocument {
    fn from(row: Refused) -> Self {
        let detail: serde_json::Value = serde_json::from_str(&row.detail).unwrap_or_default();
        let code = detail.get("code").and_then(|code| code.as_str()).map(str::to_owned);
        Self { at: rfc3339(row.at.0), family: row.family, seq: row.seq, event: row.event, code, detail }
    }
}

/// What the policy leaves.
#[derive(Serialize, ToSchema)]
pub struct ExchangesLeft {
    /// How many, in the period that ends now.
    pub left: u32,
    /// From when on there is one, where there is none now.
    pub next_at: Option<String>,
}

impl From<Standing> for ExchangesLeft {
    fn from(Standing { left, next_at }: Standing) -> Self {
        Self { left, next_at: next_at.map(moment) }
    }
}

/// Where an entry's record is.
#[derive(Serialize, ToSchema)]
pub struct TimelineCursor {
    /// For `GET /v1/audit?family=…`.
    pub family: String,
    /// Of the last record.
    pub seq: i64,
}

fn moment(at: Timestamp) -> String {
    rfc3339(at.0)
}
