//! What users hand in: begun here, sent by tus, listed and taken away (A4).

use counterfoil_core::rules::upload::{self as rules, Allowed, Slots, Source, Wanted};
use counterfoil_core::wire::{Upload, UploadResult};
use counterfoil_core::{Code, Refusal, Timestamp, TitleId, UploadId, UserId};
use counterfoil_format::content::ObjectName;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::upload::{self, State, UploadRow};
use crate::store::user;
use crate::store::{entitlement, medium};

mod finish;
mod listed;
mod receive;
mod sweep;
mod ticket;

pub use listed::run as list;
pub use receive::{Failed, cancel, find, take};
pub use sweep::sweep;
pub use ticket::Ticket;

/// Path below the authority's URL; the ticket follows.
const PATH: &str = "/v1/uploads/";

/// What a repeat is answered with: everything but the ticket, which is a right.
#[derive(Serialize, Deserialize)]
struct Begin {
    upload_id: UploadId,
    version: u32,
    expires_at: Timestamp,
}

/// Begins an upload. A repeat is told of the same one.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Upload, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "upload", "terminal", refusal, now).await,
    };
    let allowed = right(app, ask.user_id, &ask.title, now).await?;
    let turn = Turn::of(asked, "upload", ask.user_id, &recipient, now);
    let (fresh, asked, family) = (UploadId::from_bytes(app.rng.bytes()), ask.clone(), turn.family.clone());
    let begun = app.db.write("begin upload", family, async move |tx: &mut Tx| begin(tx, &turn, &asked, allowed, fresh).await).await?;
    let Begin { upload_id, version, expires_at } = match begun {
        Ok(begun) => begun,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let ticket = Ticket { user: ask.user_id, upload: upload_id }.seal(app)?;
    let result = UploadResult { upload_id, path: format!("{PATH}{ticket}"), version, expires_at };
    Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
}

/// What the user may hold of a title. Reads the media's families besides the user's.
async fn right(app: &App, user: UserId, title: &TitleId, now: Timestamp) -> Result<Option<Allowed>, Problem> {
    let title = title.clone();
    let sources = app.db.read("right to upload", async move |tx: &mut Tx| sources(tx, user, &title, now).await).await?;
    Ok(rules::right(&sources, now))
}

async fn sources(tx: &mut Tx, user: UserId, title: &TitleId, now: Timestamp) -> Result<Vec<Source>, DbError> {
    let terms = entitlement::active(tx, user, title).await?.into_iter().filter(|row| row.is_live(now));
    let mut sources: Vec<_> = terms.map(|row| Source::Terms(row.policy)).collect();
    for id in upload::media(tx, user, title).await? {
        if let Some(known) = medium::known(tx, &id).await? {
            sources.push(Source::Medium { retired: known.retired, rights: known.rights });
        }
    }
    Ok(sources)
}

async fn begin(
    tx: &mut Tx,
    turn: &Turn,
    ask: &Upload,
    allowed: Option<Allowed>,
    fresh: UploadId,
) -> Result<Result<Begin, Refusal>, Problem> {
    match turn.begin(tx).await? {
        Begun::Fresh => {}
        Begun::Repeat(answer) => return Ok(Ok(serde_json::from_slice(&answer).map_err(Problem::internal)?)),
        Begun::Refused(refusal) => return Ok(Err(refusal)),
    }
    let superseded = if rules::is_slot(&ask.slot) { left_behind(tx, turn.user, ask).await? } else { vec![] };
    let version = match decide(tx, turn.user, ask, allowed, &superseded).await? {
        Ok(version) => version,
        Err(refusal) => return Ok(Err(turn.refuse(tx, refusal).await?)),
    };
    let row = row(ask, version, fresh, turn.now)?;
    let detail = json!({ "upload": row.upload, "title": row.title, "version": version, "object": row.object,
        "length": row.length, "device": row.device });
    turn.note(tx, "upload.begun", &detail).await?;
    for old in &superseded {
        finish::remove(tx, old, &turn.actor, "superseded", turn.now).await?;
    }
    let quota = allowed.map_or(0, |allowed| allowed.bytes);
    if !upload::reserve(tx, turn.user, &ask.title, ask.length, quota).await? {
        return Err(tx.conflict("what is held").into());
    }
    upload::insert(tx, &row, turn.now).await?;
    let begun = Begin { upload_id: row.upload, version, expires_at: row.expires_at };
    turn.answer(tx, &begun).await?;
    Ok(Ok(begun))
}

/// What this device began in this slot and never finished: it has lost it, and its bytes are not to be counted twice.
async fn left_behind(tx: &mut Tx, user: UserId, ask: &Upload) -> Result<Vec<UploadRow>, DbError> {
    let mut rows = upload::in_slot(tx, user, &ask.title, &ask.slot).await?;
    rows.retain(|row| row.state == State::Open && row.device == ask.device_id);
    Ok(rows)
}

async fn decide(
    tx: &mut Tx,
    user: UserId,
    ask: &Upload,
    allowed: Option<Allowed>,
    superseded: &[UploadRow],
) -> Result<Result<u32, Refusal>, DbError> {
    // No database is asked for a name that none would keep.
    let mut slots = if rules::is_slot(&ask.slot) { upload::slots(tx, user, &ask.title, &ask.slot).await? } else { Slots::default() };
    slots.used = slots.used.saturating_sub(superseded.iter().map(|row| row.length).sum());
    let wanted = Wanted { slot: &ask.slot, parent: ask.parent, length: ask.length, note: ask.note.as_deref() };
    let decided = rules::begin(wanted, allowed, &slots);
    // After the right, as everything that is wrong with a request.
    if decided.is_ok() && ask.object.parse::<ObjectName>().is_err() {
        return Ok(Err(Refusal::with(Code::UploadInvalid, "an object is named by 64 hexadecimal digits")));
    }
    Ok(decided)
}

fn row(ask: &Upload, version: u32, fresh: UploadId, now: Timestamp) -> Result<UploadRow, Problem> {
    Ok(UploadRow {
        user: ask.user_id,
        upload: fresh,
        title: ask.title.clone(),
        slot: ask.slot.clone(),
        version,
        device: ask.device_id,
        object: ask.object.parse().map_err(|_| Problem::internal("an object was named wrongly and let through"))?,
        length: ask.length,
        received: 0,
        note: ask.note.clone(),
        state: State::Open,
        expires_at: Timestamp(now.0.saturating_add(rules::WAITS)),
        completed_at: None,
    })
}

/// Who acts where a ticket does: its user.
fn actor(user: UserId) -> String {
    user::family(user)
}
