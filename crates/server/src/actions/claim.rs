//! Claiming a medium: one managed copy each (C6–C8).
//!
//! Everything that costs time is done before the transaction: signatures are verified, the claim is decided, keys are drawn and sealed. The
//! transaction moves the medium's row on, which it does only where the row is what the decision was made on: copies, state, epoch and rights,
//! its batch's as well, so that neither a second claim nor a proof under an old claim secret nor other rights come in between. With it go grants, audit record, request record and
//! outbox rows, and only after its commit the boxes leave. Whatever is not a fresh claim, the transaction decides again.
//!
//! Who asks lies in other families than the medium and cannot be part of its transaction. A card that is revoked between look and commit
//! has claimed before it was revoked, as if the request had come that much sooner; what it was given is sealed to that card and to no
//! other. The time between is that of the cryptography and one commit, and `retry_for` of the database at most.

use std::sync::Arc;

use counterfoil_core::rules::claim::{self, Claimant, Decision, EntryFacts};
use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::rules::gateway::{self, Pay};
use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::{Claim, ClaimResult, GrantDocument};
use counterfoil_core::{Code, GrantId, Refusal, Rights, Timestamp};
use counterfoil_format::secret::Secret;

use super::asked::{self, Asked, Decided, Through};
use super::proof::{self, By, Proof};
use super::seal;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::grant::{self, GrantRow, Paid};
use crate::store::holder;
use crate::store::medium::{self, Known, MediumRow, PressedTitle};
use crate::store::order::OrderRow;
use crate::store::pressed::Pressed;
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, Presented};

pub use charged::{priced, sweep};
use write::{GRANTED, Write, Written, commit};

mod charged;
pub(super) mod foresee;
mod write;

/// What a claim is asked with, besides the medium.
struct Facts {
    presented: Option<Presented>,
    holder_dead: bool,
    /// The medium's row, where somebody has touched it.
    row: Option<MediumRow>,
    known: Option<Known>,
    batch: Option<Arc<Pressed>>,
    grants: Vec<GrantRow>,
    once: Once,
    pay: Pay,
    /// What pays for it, where something does.
    paid: Paid,
}

impl Facts {
    /// C7, C8: what the claim comes to, by these facts.
    fn decide(&self, claimant: &Claimant, rights: &Rights, now: Timestamp) -> Result<Decision, Refusal> {
        let decided = claim::decide(claimant, &medium::claim_facts(self.row.as_ref(), rights, &self.grants), now);
        paid_for(decided, self.is_paid_on_copy(), self.pay, &self.grants)
    }

    /// Whether it would be granted if it were paid for.
    fn owes(&self, claimant: &Claimant, rights: &Rights, now: Timestamp) -> bool {
        matches!(self.decide(claimant, rights, now), Err(refusal) if refusal.code == Code::PaymentRequired) && self.once == Once::Fresh
    }

    fn is_paid_on_copy(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.paid_on_copy)
    }

    /// Of the entry that asks.
    fn generation(&self) -> u32 {
        self.presented.as_ref().map_or(0, |presented| presented.entry.generation)
    }

    fn titles(&self) -> &[PressedTitle] {
        self.batch.as_ref().map_or(&[], |batch| &batch.titles)
    }
}

/// C18: a fresh copy is given where it is paid for, where it has to be; the same grants again cost nothing.
fn paid_for(decided: Result<Decision, Refusal>, paid_on_copy: bool, pay: Pay, grants: &[GrantRow]) -> Result<Decision, Refusal> {
    match decided? {
        Decision::Issue => gateway::key(paid_on_copy, pay, grant::credit(grants).is_some()).map(|()| Decision::Issue),
        again @ Decision::Again(_) => Ok(again),
    }
}

/// Decides a claim and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Claim, now: Timestamp) -> Result<Decided, Problem> {
    let mut through = asked.through.clone();
    let mut order: Option<OrderRow> = None;
    // Between the look and the transaction somebody else may have been first; then what was prepared does not fit, and is made again. What is
    // known of the batch from before may be what did not fit.
    let mut batch = Batch::Remembered;
    for _ in 0..10 {
        let looked = look(app, asked, &through, ask, batch, now).await?;
        batch = Batch::Read;
        let Looked { facts, claimant, known } = match looked {
            Look::Admitted(looked) => *looked,
            Look::Answered(decided) => return charged::told(app, asked, ask, order, decided).await,
            Look::Again => continue,
        };
        if let Once::Repeat(recorded) = &facts.once {
            let decided = repeat(app, asked, ask, &claimant, &facts, recorded, now).await?;
            return charged::told(app, asked, ask, order, decided).await;
        }
        // C18: the authority itself charges for it, before it is granted.
        if through == Through::Direct && facts.owes(&claimant, &known.rights, now) {
            match charged::order(app, asked, ask, &facts, &known, now).await? {
                Ok(placed) => (through, order) = (Through::Ordered(placed.order), Some(placed)),
                Err(refusal) => return Ok(Err(refusal)),
            }
            continue;
        }
        let mut prepared = prepare(app, ask, &claimant, &facts, &known, now).await?;
        let write = Write::new(asked, ask, claimant, &facts, &known, &mut prepared, now);
        match commit(app, write).await? {
            Written::Granted => {
                app.outbox.notify_one();
                let decided = granted(prepared.documents, facts.generation())?;
                return charged::told(app, asked, ask, order, decided).await;
            }
            Written::Refused(refusal) => return charged::told(app, asked, ask, order, Err(*refusal)).await,
            Written::Stale => {}
        }
    }
    Err(ApiCode::Overloaded.into())
}

/// What a look at a claim comes to.
enum Look {
    /// Who asks may, and what is asked of is what it says.
    Admitted(Box<Looked>),
    /// No, which is recorded.
    Answered(Decided),
    /// What was looked at is older than what is there.
    Again,
}

struct Looked {
    facts: Facts,
    claimant: Claimant,
    known: Known,
}

async fn look(app: &App, asked: &Asked, through: &Through, ask: &Claim, batch: Batch, now: Timestamp) -> Result<Look, Problem> {
    let facts = load(app, asked, through, ask, batch, now).await?;
    let proof = proof::medium(app, asked, &ask.medium_id, facts.known.as_ref()).await?;
    // Its batch may have been refreshed by another process. Where there is no such batch, the same work.
    if proof == Proof::Unknown && batch == Batch::Remembered {
        return Ok(Look::Again);
    }
    let claimant = match admit(asked, ask, &facts) {
        Ok(claimant) => claimant,
        Err(refusal) => return refuse(app, ask, &facts, proof, refusal, now).await.map(Look::Answered),
    };
    let by = By { operation: OPERATION, actor: &actor(ask) };
    match (proof, &facts.known) {
        (Proof::Good(epoch), Some(known)) if epoch > known.epoch => {
            proof::advance(app, "terminal", &ask.medium_id, known, epoch, now).await?;
            return Ok(Look::Again);
        }
        (Proof::Good(_), _) => {}
        (proof, known) => return Ok(Look::Answered(Err(proof::refuse(app, by, &ask.medium_id, proof, known.as_ref(), now).await?))),
    }
    let Some(known) = facts.known.clone().filter(|_| !facts.titles().is_empty()) else {
        return Err(Problem::internal(format!("the batch of {} holds no title with a release and its key", ask.medium_id)));
    };
    Ok(Look::Admitted(Box::new(Looked { facts, claimant, known })))
}

const OPERATION: &str = "claim";

/// Where what is known of the batch comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// From memory, where it is there.
    Remembered,
    /// From the database.
    Read,
}

/// Who asks is not who they should be: told of in the medium's own record where it has proven itself.
async fn refuse(app: &App, ask: &Claim, facts: &Facts, proof: Proof, refusal: Refusal, now: Timestamp) -> Result<Decided, Problem> {
    let by = By { operation: OPERATION, actor: "terminal" };
    match (proof, &facts.known) {
        (Proof::Good(_), Some(known)) => proof::refuse_proven(app, by, &ask.medium_id, known, refusal, now).await,
        _ => {
            let known = facts.presented.is_some();
            let family = if known { user::family(ask.user_id) } else { asked::stranger(&ask.user_id.to_string()) };
            asked::refuse(app, family, by.operation, by.actor, refusal, now).await
        }
    }
}

async fn load(app: &App, asked: &Asked, through: &Through, ask: &Claim, from: Batch, now: Timestamp) -> Result<Facts, Problem> {
    let (app, ask, request_id, digest) = (app.clone(), ask.clone(), asked.request_id.to_string(), asked.digest);
    let (paid, pay) = (asked.paid(through), through.pay());
    let db = app.db.clone();
    db.read("claim facts", async move |tx: &mut Tx| -> Result<Facts, Problem> {
        let presented = user::presented(tx, ask.user_id, ask.device_id, ask.drive_id).await?;
        let holder_dead = match &presented {
            Some(presented) => holder::facts(tx, presented.entry.holder).await? == HolderFacts::Dead,
            None => false,
        };
        let (mut once, mut grants) = (Once::Fresh, vec![]);
        let mut row = medium::find(tx, &ask.medium_id).await?;
        // What nobody has touched has no grants and has answered no request.
        if row.is_some() {
            // In this order: on PostgreSQL each statement sees what was committed before it. An answer that was recorded in between would
            // be held against grants that were not there yet, and grants against a row that had not moved on.
            once = request::once(tx, &medium::family(&ask.medium_id), &request_id, &digest, now.0).await?;
            row = medium::find(tx, &ask.medium_id).await?;
            grants = grant::of_user(tx, &ask.medium_id, &ask.user_id.to_string()).await?;
        }
        // What an exchange or an order has paid for is given once, also after the record of the request is gone.
        let given: Vec<GrantId> = grants.iter().filter(|row| paid.is_paid() && row.paid == paid).map(|row| row.grant).collect();
        if once == Once::Fresh && !given.is_empty() {
            once = Once::Repeat(Recorded { status: GRANTED, answer: serde_json::to_vec(&given).map_err(Problem::internal)? });
        }
        let batch = match row.as_ref().map(|row| row.batch).or(ask.medium_id.batch_and_serial().map(|(batch, _)| batch)) {
            Some(batch) => {
                if from == Batch::Read {
                    app.batches.forget(batch);
                }
                app.batches.find(tx, batch).await?
            }
            None => None,
        };
        let known = batch.as_ref().and_then(|batch| medium::known_by(&ask.medium_id, row.as_ref(), batch));
        Ok(Facts { presented, holder_dead, row, known, batch, grants, once, pay, paid })
    })
    .await
}

/// C6, with the proofs: who asks is who the entry says, and signs it.
fn admit(asked: &Asked, ask: &Claim, facts: &Facts) -> Result<Claimant, Refusal> {
    let claimant = Claimant { user: ask.user_id, card: ask.card_id, device: ask.device_id, drive: ask.drive_id };
    let Some(presented) = &facts.presented else { return claim::decide_entry(&claimant, None).map(|()| claimant) };
    let Presented { entry, device, has_devices, has_drives, drive_registered } = presented;
    let entry_facts = EntryFacts {
        card: entry.card(),
        holder_dead: facts.holder_dead,
        has_devices: *has_devices,
        device_registered: device.as_ref().is_some_and(|row| asked.signed(&row.device.to_string(), &row.keys.sign)),
        has_drives: *has_drives,
        drive_registered: *drive_registered,
    };
    claim::decide_entry(&claimant, Some(&entry_facts))?;
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

async fn prepare(app: &App, ask: &Claim, claimant: &Claimant, facts: &Facts, known: &Known, now: Timestamp) -> Result<Prepared, Problem> {
    let expected = match &facts.once {
        Once::Fresh => facts.decide(claimant, &known.rights, now).ok(),
        _ => None,
    };
    let mut prepared = Prepared { expected, documents: vec![], rows: vec![] };
    match &prepared.expected {
        Some(Decision::Issue) => {
            let recipient = recipient(app, facts, claimant).await?;
            let paid = if facts.pay == Pay::Paid { facts.paid } else { grant::credit(&facts.grants).unwrap_or_default() };
            for title in facts.titles() {
                let id = GrantId::from_bytes(app.rng.bytes());
                let place = Place::LibraryKey { medium: ask.medium_id.as_str(), grant: &id.to_string() };
                let (library_key, wrapped) = seal::library_key(app, &place)?;
                let sealing = seal::Sealing { grant: id, title, library_key: &library_key, issued_at: now };
                prepared.documents.push(seal::grant(app, &recipient, &sealing).await?);
                prepared.rows.push(GrantRow {
                    grant: id,
                    copy: 0,
                    title: title.title.clone(),
                    generation: title.generation,
                    user: ask.user_id,
                    holder: recipient.holder,
                    holder_kind: recipient.kind,
                    device: claimant.device,
                    drive: claimant.drive,
                    state: GrantState::Delivered,
                    library_key: wrapped,
                    issued_at: now,
                    paid,
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
    for title in facts.titles() {
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
    let presented = facts.presented.as_ref().ok_or_else(|| Problem::internal("a claim was admitted without an entry"))?;
    let device = match (claimant.device, &presented.device) {
        (Some(id), Some(row)) => {
            let place = Place::DeviceSecret { user: &claimant.user.to_string(), device: &id.to_string() };
            Some((id, app.keys.open(&app.db, &place, &row.secret).await?))
        }
        _ => None,
    };
    let entry = &presented.entry;
    Ok(seal::Recipient { holder: entry.holder, kind: entry.holder_kind, seal: entry.keys.seal, device, drive: claimant.drive })
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
    let unsettled = grant::open_claims(&facts.grants);
    let open = |id: &GrantId| unsettled.iter().any(|open| open.claimant == *claimant && open.grants.contains(id));
    let refused = match facts.row.as_ref().is_some_and(MediumRow::is_retired) {
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
    let (paid, medium) = (facts.paid, ask.medium_id.clone());
    let still = app.db.write("repeat claim", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        let recorded = matches!(request::once(tx, &family, &request_id, &digest, now.0).await?, Once::Repeat(_));
        Ok(match (paid.exchange, paid.order) {
            (Some(exchange), _) if !recorded => !grant::of_exchange(tx, &medium, exchange).await?.is_empty(),
            (_, Some(order)) if !recorded => !grant::of_order(tx, &medium, order).await?.is_empty(),
            _ => recorded,
        })
    });
    if still.await? { granted(documents, facts.generation()) } else { Err(ApiCode::Unavailable.into()) }
}

fn granted(grants: Vec<GrantDocument>, generation: u32) -> Result<Decided, Problem> {
    Ok(Ok(serde_json::to_value(ClaimResult { grants, generation, charged: None }).map_err(Problem::internal)?))
}

fn actor(ask: &Claim) -> String {
    user::family(ask.user_id)
}
