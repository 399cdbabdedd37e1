//! Claiming a medium: one managed copy each (C6–C8).
//!
//! Everything that costs time is done before the transaction: signatures are verified, keys drawn and sealed. The transaction decides
//! again, writes grants, audit record, request record and outbox rows, and only after its commit the boxes leave.

use counterfoil_core::rules::claim::{self, Claimant, Decision, EntryFacts};
use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::wire::{Claim, ClaimResult, GrantDocument};
use counterfoil_core::{Code, GrantId, HolderId, Refusal, Timestamp};
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::{proof, seal};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::grant::{self, GrantRow};
use crate::store::medium::{self, Known, PressedTitle};
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, DeviceRow, EntryRow};
use crate::store::{audit, holder, outbox};

/// What a claim is asked with, besides the medium.
struct Facts {
    entry: Option<EntryRow>,
    entry_facts: Option<EntryFacts>,
    device: Option<DeviceRow>,
    known: Option<Known>,
    titles: Vec<PressedTitle>,
    grants: Vec<GrantRow>,
    medium: claim::MediumFacts,
    once: Once,
}

/// Decides a claim and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Claim, now: Timestamp) -> Result<Decided, Problem> {
    // Between the look and the transaction somebody else may have been first; then what was prepared does not fit, and is made again.
    for _ in 0..8 {
        let mut facts = load(app, asked, ask, now).await?;
        let claimant = match admit(asked, ask, &mut facts) {
            Ok(claimant) => claimant,
            Err(refusal) => {
                let family = if facts.entry.is_some() { user::family(ask.user_id) } else { asked::stranger(&ask.user_id.to_string()) };
                return asked::refuse(app, family, "claim", "terminal", refusal, now).await;
            }
        };
        if !proof::medium(app, asked, &ask.medium_id, facts.known.as_ref(), Some(ask.epoch)).await? {
            let family = asked::stranger(ask.medium_id.as_str());
            return asked::refuse(app, family, "claim", &actor(ask), Code::MediumUnknown.into(), now).await;
        }
        if facts.titles.is_empty() {
            return Err(Problem::internal(format!("the batch of {} holds no title with a release and its key", ask.medium_id)));
        }
        if let Once::Repeat(recorded) = &facts.once {
            return repeat(app, asked, ask, &claimant, &facts, recorded, now).await;
        }
        let prepared = prepare(app, ask, &claimant, &facts, now).await?;
        match commit(app, asked, ask, claimant, &facts, &prepared, now).await? {
            Written::Granted => {
                app.outbox.notify_one();
                return granted(prepared.documents);
            }
            Written::Refused(refusal) => return Ok(Err(*refusal)),
            Written::Stale => {}
        }
    }
    Err(ApiCode::Overloaded.into())
}

async fn load(app: &App, asked: &Asked, ask: &Claim, now: Timestamp) -> Result<Facts, Problem> {
    let (ask, request_id, digest) = (ask.clone(), asked.request_id.to_string(), asked.digest);
    app.db
        .read("claim facts", async move |tx: &mut Tx| -> Result<Facts, Problem> {
            // Before what it is compared with: on PostgreSQL each statement sees what was committed before it, and an answer that was
            // recorded in between would be held against grants that were not there yet.
            let once = request::once(tx, &medium::family(&ask.medium_id), &request_id, &digest, now.0).await?;
            let entry = user::find(tx, ask.user_id).await?;
            let (mut entry_facts, mut device) = (None, None);
            if let Some(entry) = &entry {
                device = match ask.device_id {
                    Some(id) => user::device(tx, ask.user_id, id).await?,
                    None => None,
                };
                entry_facts = Some(facts_of_entry(tx, entry, &ask, device.is_some()).await?);
            }
            let known = medium::known(tx, &ask.medium_id).await?;
            let titles = match &known {
                Some(known) => medium::titles(tx, known.batch).await?,
                None => vec![],
            };
            let user = ask.user_id.to_string();
            let rights = known.as_ref().map(|known| known.rights.clone()).unwrap_or_default();
            let medium = medium::claim_facts(tx, &ask.medium_id, &rights, &user).await?;
            let grants = grant::of_user(tx, &ask.medium_id, &user).await?;
            Ok(Facts { entry, entry_facts, device, known, titles, grants, medium, once })
        })
        .await
}

/// What the entry says; whether the device has proven itself is added by [`admit`].
async fn facts_of_entry(tx: &mut Tx, entry: &EntryRow, ask: &Claim, device_known: bool) -> Result<EntryFacts, DbError> {
    let dead = holder::facts(tx, entry.holder).await? == counterfoil_core::rules::register::HolderFacts::Dead;
    let drives = user::drives(tx, ask.user_id).await?;
    Ok(EntryFacts {
        card: entry.card(),
        holder_dead: dead,
        has_devices: device_known || !user::devices(tx, ask.user_id).await?.is_empty(),
        device_registered: device_known,
        has_drives: !drives.is_empty(),
        drive_registered: ask.drive_id.is_some_and(|drive| drives.contains(&drive)),
    })
}

/// C6, with the proofs: who asks is who the entry says, and signs it.
fn admit(asked: &Asked, ask: &Claim, facts: &mut Facts) -> Result<Claimant, Refusal> {
    let claimant = Claimant { user: ask.user_id, card: ask.card_id, device: ask.device_id, drive: ask.drive_id };
    if let (Some(entry_facts), Some(device)) = (&mut facts.entry_facts, &facts.device) {
        entry_facts.device_registered = asked.signed(&device.device.to_string(), &device.keys.sign);
    }
    claim::decide_entry(&claimant, facts.entry_facts.as_ref())?;
    let (Some(entry), Some(entry_facts)) = (&facts.entry, &facts.entry_facts) else { return Err(Code::UserInvalid.into()) };
    if !asked.signed_by(&entry.keys.sign) {
        return Err(Code::ProofInvalid.into());
    }
    // An entry without a device, or without a drive, is bound to none, whatever is named (C5).
    Ok(Claimant {
        device: ask.device_id.filter(|_| entry_facts.has_devices),
        drive: ask.drive_id.filter(|_| entry_facts.has_drives),
        ..claimant
    })
}

/// Boxes and rows for what the claim will probably come to.
struct Prepared {
    expected: Option<Decision>,
    documents: Vec<GrantDocument>,
    rows: Vec<GrantRow>,
}

async fn prepare(app: &App, ask: &Claim, claimant: &Claimant, facts: &Facts, now: Timestamp) -> Result<Prepared, Problem> {
    let expected = match &facts.once {
        Once::Fresh => claim::decide(claimant, &facts.medium, now).ok(),
        _ => None,
    };
    let mut prepared = Prepared { expected, documents: vec![], rows: vec![] };
    match &prepared.expected {
        Some(Decision::Issue) => {
            let recipient = recipient(app, facts, claimant).await?;
            let holder = facts.entry.as_ref().map_or(HolderId::from_bytes([0; 16]), |entry| entry.holder);
            for title in &facts.titles {
                let id = GrantId::from_bytes(app.rng.bytes());
                let (library_key, wrapped) = seal::library_key(app, &ask.medium_id, id)?;
                let sealing = seal::Sealing { grant: id, title, library_key: &library_key, issued_at: now };
                prepared.documents.push(seal::grant(app, &recipient, &sealing).await?);
                prepared.rows.push(GrantRow {
                    grant: id,
                    copy: 0,
                    title: title.title.clone(),
                    generation: title.generation,
                    user: ask.user_id,
                    holder,
                    holder_kind: recipient.kind,
                    device: claimant.device,
                    drive: claimant.drive,
                    state: GrantState::Delivered,
                    library_key: wrapped,
                    issued_at: now,
                });
            }
        }
        Some(Decision::Again(ids)) => prepared.documents = reseal(app, ask, claimant, facts, ids).await?,
        None => {}
    }
    Ok(prepared)
}

/// The same grants in new boxes: same keys, same hardware.
async fn reseal(app: &App, ask: &Claim, claimant: &Claimant, facts: &Facts, ids: &[GrantId]) -> Result<Vec<GrantDocument>, Problem> {
    let recipient = recipient(app, facts, claimant).await?;
    let mut documents = vec![];
    // In the order of the identity area.
    for title in &facts.titles {
        for row in facts.grants.iter().filter(|row| row.title == title.title && ids.contains(&row.grant)) {
            let place = Place::LibraryKey { medium: ask.medium_id.as_str(), grant: &row.grant.to_string() };
            let library_key: Secret<32> = app.keys.open(&app.db, &place, &row.library_key).await?;
            let sealing = seal::Sealing { grant: row.grant, title, library_key: &library_key, issued_at: row.issued_at };
            documents.push(seal::grant(app, &recipient, &sealing).await?);
        }
    }
    Ok(documents)
}

async fn recipient(app: &App, facts: &Facts, claimant: &Claimant) -> Result<seal::Recipient, Problem> {
    let entry = facts.entry.as_ref().ok_or_else(|| Problem::internal("a claim was admitted without an entry"))?;
    let device = match (claimant.device, &facts.device) {
        (Some(id), Some(row)) => {
            let place = Place::DeviceSecret { user: &claimant.user.to_string(), device: &id.to_string() };
            Some((id, app.keys.open(&app.db, &place, &row.secret).await?))
        }
        _ => None,
    };
    Ok(seal::Recipient { kind: entry.holder_kind, seal: entry.keys.seal, device, drive: claimant.drive })
}

/// What the transaction came to.
enum Written {
    /// What was prepared is what was decided, and is durable.
    Granted,
    /// No.
    Refused(Box<Refusal>),
    /// What was prepared does not fit any more.
    Stale,
}

async fn commit(
    app: &App,
    asked: &Asked,
    ask: &Claim,
    claimant: Claimant,
    facts: &Facts,
    prepared: &Prepared,
    now: Timestamp,
) -> Result<Written, Problem> {
    let (ask, request_id, digest) = (ask.clone(), asked.request_id.to_string(), asked.digest);
    let known = facts.known.clone().ok_or_else(|| Problem::internal("a medium proved itself that nobody knows"))?;
    let (expected, rows) = (prepared.expected.clone(), prepared.rows.clone());
    let family = medium::family(&ask.medium_id);
    app.db
        .write("claim", family.clone(), async move |tx: &mut Tx| -> Result<Written, Problem> {
            match request::once(tx, &family, &request_id, &digest, now.0).await? {
                Once::Fresh => {}
                // Answered a moment ago; the next look finds it.
                Once::Repeat(_) => return Ok(Written::Stale),
                Once::Mismatch => {
                    asked::audit_refusal(tx, &family, "claim", &actor(&ask), Code::RequestMismatch, now).await?;
                    return Ok(Written::Refused(Box::new(Code::RequestMismatch.into())));
                }
            }
            medium::touch(tx, &ask.medium_id, &known, now).await?;
            let facts = medium::claim_facts(tx, &ask.medium_id, &known.rights, &ask.user_id.to_string()).await?;
            let record = match (claim::decide(&claimant, &facts, now), &expected) {
                (Err(refusal), _) => {
                    asked::audit_refusal(tx, &family, "claim", &actor(&ask), refusal.code, now).await?;
                    let recorded = Recorded { status: REFUSED, answer: json!(refusal).to_string().into_bytes() };
                    request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
                    return Ok(Written::Refused(Box::new(refusal)));
                }
                (Ok(Decision::Issue), Some(Decision::Issue)) => issue(tx, &family, &ask, facts.copies_claimed, &rows, now).await?,
                (Ok(Decision::Again(ids)), Some(Decision::Again(sealed))) if ids == *sealed => {
                    audit::append(tx, &family, now.0, &actor(&ask), "claim.repeated", &json!({ "grants": ids })).await?;
                    ids
                }
                _ => return Ok(Written::Stale),
            };
            // The names of the grants, not their boxes: a repeat has them sealed anew, as long as they are not settled.
            let recorded = Recorded { status: GRANTED, answer: json!(record).to_string().into_bytes() };
            request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
            Ok(Written::Granted)
        })
        .await
}

/// Recorded answers of claims: the names of grants, or a refusal.
const GRANTED: i64 = 200;
const REFUSED: i64 = 403;

async fn issue(tx: &mut Tx, family: &str, ask: &Claim, claimed: u32, rows: &[GrantRow], now: Timestamp) -> Result<Vec<GrantId>, DbError> {
    let copy = medium::claim_copy(tx, &ask.medium_id, claimed).await?;
    let ids: Vec<GrantId> = rows.iter().map(|row| row.grant).collect();
    for row in rows {
        grant::insert(tx, &ask.medium_id, &GrantRow { copy, ..row.clone() }).await?;
        let payload = json!({ "user": row.user, "grant": row.grant, "medium": ask.medium_id, "title": row.title, "at": now });
        outbox::enqueue(tx, family, &row.grant.to_string(), crate::jobs::ENTITLEMENT, &payload.to_string(), now.0, now.0).await?;
    }
    let detail =
        json!({ "user": ask.user_id, "copy": copy, "grants": ids, "card": ask.card_id, "device": ask.device_id, "drive": ask.drive_id });
    audit::append(tx, family, now.0, &actor(ask), "claim.granted", &detail).await?;
    Ok(ids)
}

/// The answer that was given before: the same keys, as long as the copy is not confirmed.
async fn repeat(
    app: &App,
    asked: &Asked,
    ask: &Claim,
    claimant: &Claimant,
    facts: &Facts,
    recorded: &Recorded,
    now: Timestamp,
) -> Result<Decided, Problem> {
    if recorded.status != GRANTED {
        return Ok(Err(serde_json::from_slice(&recorded.answer).map_err(Problem::internal)?));
    }
    let ids: Vec<GrantId> = serde_json::from_slice(&recorded.answer).map_err(Problem::internal)?;
    let open = |id: &GrantId| facts.medium.unsettled.iter().any(|open| open.claimant == *claimant && open.grants.contains(id));
    let refused = match facts.medium.retired {
        true => Some(Code::MediumRetired),
        false => (!ids.iter().all(open)).then_some(Code::MediumSpent),
    };
    if let Some(code) = refused {
        return asked::refuse(app, medium::family(&ask.medium_id), "claim", &actor(ask), code.into(), now).await;
    }
    let documents = reseal(app, ask, claimant, facts, &ids).await?;
    // A read may see what a crash of the database has shown too early, or what a server that is no longer the primary believes; a write
    // transaction that finds the same record vouches for it.
    let (family, request_id, digest) = (medium::family(&ask.medium_id), asked.request_id.to_string(), asked.digest);
    let still = app.db.write("repeat claim", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        Ok(matches!(request::once(tx, &family, &request_id, &digest, now.0).await?, Once::Repeat(_)))
    });
    if still.await? { granted(documents) } else { Err(ApiCode::Unavailable.into()) }
}

fn granted(grants: Vec<GrantDocument>) -> Result<Decided, Problem> {
    Ok(Ok(serde_json::to_value(ClaimResult { grants }).map_err(Problem::internal)?))
}

fn actor(ask: &Claim) -> String {
    user::family(ask.user_id)
}
