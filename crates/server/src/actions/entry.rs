//! User entries, looked up by whoever stands at a counter (C14): by any ID that they have in hand, also one that is dead or was exchanged.

use std::collections::BTreeSet;

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::rules::repair::standing;
use counterfoil_core::wire::ExchangedKind;
use counterfoil_core::{CardId, DeviceId, DriveId, MediumId, Timestamp, UserId};

use crate::api::entries::document::{
    CardDocument, DeviceOfEntry, DriveOfEntry, EntryDocument, EntrySummary, RefusalDocument, TimelineCursor,
};
use crate::api::page::rfc3339;
use crate::api::users::PersonDocument;
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::account::{self, Email};
use crate::store::device_info::{self, DeviceInfo};
use crate::store::entry::{self, Found, Refused};
use crate::store::word::{self, Shelf};
use crate::store::{begun, holder, person, reissue, repair, user};

/// Media whose refusals are shown with those of the entry.
const MEDIA: usize = 20;
/// Refusals that are shown.
const REFUSALS: usize = 20;
/// Longest text that is looked for, in characters.
const LONGEST: usize = 254;

/// What somebody has typed, as it was understood.
enum Wanted {
    User(UserId),
    Card(CardId),
    Device(DeviceId),
    Drive(DriveId),
    /// The first characters of an ID.
    Begun(String),
    /// An address, a name, or the ID of a medium, of which those of other systems may be any text.
    Words(String),
}

/// Finds entries: by card, user, device, drive, license or medium ID or what it begins with, by e-mail address, or by words of a name.
///
/// # Errors
/// `unprocessable` for an ID with a typing error, so that it is told from one that nobody has; a failure of the database.
pub async fn find(app: &App, text: &str) -> Result<Vec<EntrySummary>, Problem> {
    let wanted = Wanted::read(text.trim())?;
    let found = app.db.read("find entries", async move |tx: &mut Tx| wanted.summaries(tx).await).await?;
    Ok(found)
}

impl Wanted {
    fn read(text: &str) -> Result<Self, Problem> {
        let begins = |prefix: &str| text.get(..prefix.len() + 1).is_some_and(|head| head.eq_ignore_ascii_case(&format!("{prefix}-")));
        if begun::is_of_users(text) {
            return Ok(Wanted::Begun(text.to_owned()));
        }
        if begins(UserId::PREFIX) {
            return text.parse().map(Wanted::User).map_err(mistyped);
        }
        if begins(CardId::PREFIX) {
            return text.parse().map(Wanted::Card).map_err(mistyped);
        }
        if begins(DeviceId::PREFIX) {
            return text.parse().map(Wanted::Device).map_err(mistyped);
        }
        if begins(DriveId::PREFIX) {
            return text.parse().map(Wanted::Drive).map_err(mistyped);
        }
        if text.is_empty() || text.chars().count() > LONGEST || text.chars().any(char::is_control) {
            return Err(Problem::with(ApiCode::Unprocessable, "`find`: an ID, an e-mail address, or words of a name"));
        }
        Ok(Wanted::Words(text.to_owned()))
    }

    async fn summaries(&self, tx: &mut Tx) -> Result<Vec<EntrySummary>, DbError> {
        let mut found: Vec<(&'static str, Found)> = vec![];
        let mut take = |by: &'static str, rows: Vec<Found>| found.extend(rows.into_iter().map(|row| (by, row)));
        match self {
            Wanted::User(id) => take("user", entry::by_user(tx, *id).await?),
            Wanted::Card(id) => take("card", entry::by_card(tx, *id).await?),
            Wanted::Device(id) => take("device", entry::by_device(tx, *id).await?),
            Wanted::Drive(id) => take("drive", entry::by_drive(tx, *id).await?),
            Wanted::Begun(text) => {
                if let Some((by, rows)) = begun::users(tx, text, entry::FOUND).await? {
                    take(by, rows);
                }
            }
            Wanted::Words(text) => {
                if let Ok(medium) = text.parse::<MediumId>() {
                    take("medium", entry::by_medium(tx, &medium).await?);
                }
                if text.contains('@') {
                    take("email", entry::by_email(tx, text).await?);
                    take("email", by_account(tx, text).await?);
                }
                // Neither an address nor a medium's ID is a name.
                if found.is_empty() && !text.contains('@') {
                    found.extend(by_name(tx, text).await?.into_iter().map(|row| ("name", row)));
                }
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|(_, row)| seen.insert(row.user));
        found.truncate(usize::try_from(entry::FOUND).unwrap_or(usize::MAX));
        let mut summaries = Vec::with_capacity(found.len());
        for (by, row) in found {
            summaries.push(summary(tx, by, row).await?);
        }
        Ok(summaries)
    }
}

/// By the address that somebody signs in with.
async fn by_account(tx: &mut Tx, text: &str) -> Result<Vec<Found>, DbError> {
    let Some(email) = Email::parse(text) else { return Ok(vec![]) };
    let row = account::name(tx, &email.family()).await?;
    Ok(row.map(|row| Found { user: row.user, gone: false }).into_iter().collect())
}

/// By words of the name, each by how it begins, as a shop has written it down.
async fn by_name(tx: &mut Tx, text: &str) -> Result<Vec<Found>, DbError> {
    let limit = usize::try_from(entry::FOUND).unwrap_or(usize::MAX);
    let mut found = word::find(tx, Shelf::People, &Scope::All, text, limit).await?;
    found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(found.into_iter().filter_map(|named| named.id.parse().ok()).map(|user| Found { user, gone: false }).collect())
}

fn mistyped(error: impl std::fmt::Display) -> Problem {
    Problem::with(ApiCode::Unprocessable, format!("`find`: {error}"))
}

async fn summary(tx: &mut Tx, found_by: &'static str, Found { user, gone }: Found) -> Result<EntrySummary, DbError> {
    let (person, row) = (person::find(tx, user).await?, user::find(tx, user).await?);
    let devices = device_info::all(tx, user).await?.iter().filter(|info| info.is_current()).count();
    let card_dead = match &row {
        Some(row) => holder::facts(tx, row.holder).await? == HolderFacts::Dead,
        None => false,
    };
    let (name, email) = person.map_or((None, None), |person| (Some(person.name), person.email));
    Ok(EntrySummary {
        user_id: user,
        name,
        email,
        card_id: row.as_ref().and_then(user::EntryRow::card),
        card_dead,
        generation: row.map_or(0, |row| row.generation),
        devices,
        drives: user::drives(tx, user).await?.len(),
        found_by,
        gone,
    })
}

/// The whole of an entry; nothing where nobody has the ID.
///
/// # Errors
/// A failure of the database.
pub async fn load(app: &App, id: UserId) -> Result<Option<EntryDocument>, Problem> {
    let (policy, now) = (app.config.repair.policy(), app.clock.now());
    app.db
        .read("entry", async move |tx: &mut Tx| -> Result<Option<EntryDocument>, Problem> {
            let (row, person) = (user::find(tx, id).await?, person::find(tx, id).await?);
            if row.is_none() && entry::by_user(tx, id).await?.is_empty() {
                return Ok(None);
            }
            let card = match row.as_ref().and_then(|row| row.card()) {
                Some(card_id) => Some(CardDocument { card_id, dead: holder::facts(tx, card_id.into()).await? == HolderFacts::Dead }),
                None => None,
            };
            let repairs = repair::of_user(tx, id).await?;
            let counted = repairs.iter().filter(|row| row.kind != ExchangedKind::Card);
            let past: Vec<Timestamp> = counted.map(|row| row.created_at).collect();
            let holds = entry::holds(tx, id).await?;
            let family = user::family(id);
            let drives = entry::drives(tx, id).await?;
            Ok(Some(EntryDocument {
                user_id: id,
                person: person.map(|row| PersonDocument { name: row.name, email: row.email, address: row.address }),
                card,
                holder: row.as_ref().map(|row| row.holder_kind.as_str()),
                generation: row.as_ref().map_or(0, |row| row.generation),
                devices: devices(tx, id).await?,
                drives: drives.into_iter().map(|(drive_id, at)| DriveOfEntry { drive_id, since: rfc3339(at.0) }).collect(),
                refusals: refusals(tx, &family, holds.iter().filter_map(|hold| hold.medium.as_ref())).await?,
                holds: holds.into_iter().map(Into::into).collect(),
                licenses: entry::licenses(tx, id).await?.into_iter().map(Into::into).collect(),
                repairs: repairs.into_iter().map(Into::into).collect(),
                reissues: reissue::of_user(tx, id).await?.into_iter().map(Into::into).collect(),
                exchanges: standing(&policy, &past, now).into(),
                timeline: TimelineCursor { seq: entry::last_record(tx, &family).await?, family },
            }))
        })
        .await
}

async fn devices(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceOfEntry>, DbError> {
    let mut devices = vec![];
    for info in device_info::all(tx, user).await? {
        let exchanged = is_out(tx, user, &info).await?;
        devices.push(DeviceOfEntry { device: info.into(), exchanged });
    }
    Ok(devices)
}

async fn is_out(tx: &mut Tx, user: UserId, info: &DeviceInfo) -> Result<bool, DbError> {
    if info.is_current() {
        return Ok(false);
    }
    Ok(!repair::out(tx, user, Some(info.described.device), None).await?.is_empty())
}

/// What was refused in the entry, and to this user at the media that it has copies of.
async fn refusals<'a>(tx: &mut Tx, family: &str, media: impl Iterator<Item = &'a MediumId>) -> Result<Vec<RefusalDocument>, DbError> {
    let mut refused: Vec<Refused> = entry::refused(tx, family, None).await?;
    let media: BTreeSet<&MediumId> = media.take(MEDIA).collect();
    for medium in media {
        refused.extend(entry::refused(tx, medium.as_str(), Some(family)).await?);
    }
    refused.sort_by_key(|row| std::cmp::Reverse(row.at));
    refused.truncate(REFUSALS);
    Ok(refused.into_iter().map(Into::into).collect())
}
