//! Fetching a license by its transaction ID (D6): once, by the device that it was issued to, with keys sealed to its holder.
//!
//! As for a claim, everything that costs time is done before the transaction, which moves the license's row on only where it is as it was
//! seen; the boxes and the signed license leave after its commit. Until the installation is confirmed, the same grant is sealed again.

use counterfoil_core::rules::license::{self as rules, Lease, Redeem as Decision};
use counterfoil_core::wire::{GrantDocument, Redeem, RedeemResult};
use counterfoil_core::{Code, GrantId, Refusal, ReleaseVersion, Timestamp};
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::signed::{self, Besides};
use super::{licensed, seal};
use crate::app::App;
use crate::db::Tx;
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::license::{self, LicenseGrant, LicenseRow};
use crate::store::medium::PressedTitle;
use crate::store::user::{self, Recipient};
use crate::store::{content_key, repair, title};

/// Decides the request and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Redeem, now: Timestamp) -> Result<Decided, Problem> {
    // Between the look and the transaction the license may be moved or fetched; then what was prepared does not fit, and is made again.
    for _ in 0..8 {
        let recipient = match admit(app, asked, ask).await? {
            Ok(recipient) => recipient,
            Err((refusal, family)) => return asked::refuse(app, family, "redeem", "terminal", refusal, now).await,
        };
        let facts = load(app, ask).await?;
        let prepared = match facts {
            Some(facts) => prepare(app, ask, &recipient, facts, now).await?,
            None => None,
        };
        let write =
            Write { turn: Turn::of(asked, "redeem", ask.user_id, &recipient, now), ask: ask.clone(), drawn: drawn(prepared.as_ref()) };
        let family = write.turn.family.clone();
        let written = app.db.write("redeem", family, async move |tx: &mut Tx| write.carry_out(tx).await).await?;
        match (written, prepared) {
            (Written::Refused(refusal), _) => return Ok(Err(*refusal)),
            (Written::Delivered, Some(Prepared { row, newest, document, lease, grant, .. })) => {
                let license = licensed::sign(app, &row, grant.grant, &newest, &lease, now)?;
                return Ok(Ok(serde_json::to_value(RedeemResult { license, grant: document }).map_err(Problem::internal)?));
            }
            _ => {}
        }
    }
    Err(ApiCode::Overloaded.into())
}

/// D5 again: who asks is one of the user's devices, and installs to one of the user's drives where there are any.
async fn admit(app: &App, asked: &Asked, ask: &Redeem) -> Result<Result<Recipient, (Refusal, String)>, Problem> {
    if let Err(refused) = signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        return Ok(Err(refused));
    }
    let (user, device, drive) = (ask.user_id, ask.device_id, ask.drive_id);
    let recipient = app.db.read("redeem recipient", async move |tx: &mut Tx| user::recipient(tx, user, device, drive).await).await?;
    let family = user::family(user);
    Ok(match recipient {
        None => Err((Code::DeviceNotRegistered.into(), family)),
        Some(recipient) if recipient.dead => Err((Code::UserInvalid.into(), family)),
        Some(recipient) if recipient.has_drives && !recipient.drive_registered => {
            Err((Refusal::with(Code::DeviceNotRegistered, "the drive"), family))
        }
        Some(recipient) => Ok(recipient),
    })
}

/// A license that waits, with what its keys are made of.
struct Facts {
    row: LicenseRow,
    title: PressedTitle,
    newest: ReleaseVersion,
}

async fn load(app: &App, ask: &Redeem) -> Result<Option<Facts>, Problem> {
    let (user, transaction) = (ask.user_id, ask.transaction_id);
    app.db
        .read("redeem facts", async move |tx: &mut Tx| -> Result<Option<Facts>, Problem> {
            let Some(row) = license::of_transaction(tx, user, transaction).await? else { return Ok(None) };
            let gone = || Problem::internal(format!("a license of {} without its title, release or key", row.title));
            let generation = row.generation.ok_or_else(gone)?;
            let title = title::get(tx, &crate::auth::Scope::All, &row.title).await?.ok_or_else(gone)?;
            let content_key = content_key::get(tx, &row.title, generation).await?.ok_or_else(gone)?;
            let newest = licensed::newest(tx, &row.title).await?.ok_or_else(gone)?;
            let title = PressedTitle { title: title.id, name: title.name, kind: title.kind, generation, content_key };
            Ok(Some(Facts { row, title, newest }))
        })
        .await
}

/// What leaves if the transaction finds the license as it was seen.
struct Prepared {
    row: LicenseRow,
    newest: ReleaseVersion,
    decision: Decision,
    lease: Lease,
    grant: LicenseGrant,
    document: GrantDocument,
}

/// Draws or opens the library key, and seals it with the content key; nothing where the answer is going to be no.
async fn prepare(app: &App, ask: &Redeem, recipient: &Recipient, facts: Facts, now: Timestamp) -> Result<Option<Prepared>, Problem> {
    let Facts { row, title, newest } = facts;
    let Ok(decision) = rules::redeem(Some(&row.facts()), ask.device_id, now) else { return Ok(None) };
    let user = ask.user_id.to_string();
    let drive = ask.drive_id.filter(|_| recipient.has_drives);
    let holder = &recipient.holder;
    let (key, grant): (Secret<32>, LicenseGrant) = match (decision, &row.grant) {
        (Decision::Again(_), Some(grant)) => {
            let place = Place::LicenseKey { user: &user, grant: &grant.grant.to_string() };
            (app.keys.open(&app.db, &place, &grant.library_key).await?, LicenseGrant { drive, ..grant.clone() })
        }
        _ => {
            let id = GrantId::from_bytes(app.rng.bytes());
            let (key, library_key) = seal::library_key(app, &Place::LicenseKey { user: &user, grant: &id.to_string() })?;
            let (holder, holder_kind) = (holder.holder, holder.holder_kind);
            (key, LicenseGrant { grant: id, holder, holder_kind, drive, library_key, issued_at: now })
        }
    };
    let place = Place::DeviceSecret { user: &user, device: &ask.device_id.to_string() };
    let device = Some((ask.device_id, app.keys.open(&app.db, &place, &recipient.device.secret).await?));
    let to = seal::Recipient { holder: holder.holder, kind: holder.holder_kind, seal: holder.keys.seal, device, drive };
    let sealing = seal::Sealing { grant: grant.grant, title: &title, library_key: &key, issued_at: grant.issued_at };
    let document = seal::grant(app, &to, &sealing).await?;
    let lease = rules::lease(&row.policy, row.expires_at, now);
    Ok(Some(Prepared { row, newest, decision, lease, grant, document }))
}

/// What of it the transaction writes.
#[derive(Clone)]
struct Drawn {
    decision: Decision,
    grant: LicenseGrant,
    generation: Option<u32>,
    runs_until: Timestamp,
}

fn drawn(prepared: Option<&Prepared>) -> Option<Drawn> {
    let Prepared { row, decision, lease, grant, .. } = prepared?;
    Some(Drawn { decision: *decision, grant: grant.clone(), generation: row.generation, runs_until: lease.runs_until() })
}

/// The transaction.
struct Write {
    turn: Turn,
    ask: Redeem,
    drawn: Option<Drawn>,
}

/// What it came to.
enum Written {
    /// What was prepared is what was decided, and is durable.
    Delivered,
    /// No.
    Refused(Box<Refusal>),
    /// What was prepared does not fit any more, and nothing was written.
    Stale,
}

impl Write {
    async fn carry_out(&self, tx: &mut Tx) -> Result<Written, Problem> {
        let Self { turn, ask, drawn } = self;
        let answered: Option<GrantId> = match turn.begin(tx).await? {
            Begun::Fresh => None,
            Begun::Repeat(answer) => Some(serde_json::from_slice(&answer).map_err(Problem::internal)?),
            Begun::Refused(refusal) => return Ok(Written::Refused(Box::new(refusal))),
        };
        // The drive may have been exchanged since it was looked at (C14).
        if !repair::out(tx, ask.user_id, None, ask.drive_id).await?.is_empty() {
            return Ok(Written::Refused(Box::new(turn.refuse(tx, Code::DeviceExchanged.into()).await?)));
        }
        let row = license::of_transaction(tx, ask.user_id, ask.transaction_id).await?;
        let decided = rules::redeem(row.as_ref().map(LicenseRow::facts).as_ref(), ask.device_id, turn.now);
        // A request that was answered is never answered with another grant: the license was opened again since.
        let decided = decided.and_then(|decision| match (decision, answered) {
            (Decision::Again(grant), Some(answered)) if grant != answered => Err(Code::TransactionSpent.into()),
            (Decision::Deliver, Some(_)) => Err(Code::TransactionSpent.into()),
            _ => Ok(decision),
        });
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Written::Refused(Box::new(turn.refuse(tx, refusal).await?))),
        };
        let generation = row.as_ref().and_then(|row| row.generation);
        match (drawn, row) {
            (Some(drawn), Some(row)) if drawn.decision == decision && drawn.generation == generation => {
                self.deliver(tx, &row, drawn, answered.is_some()).await
            }
            _ => Ok(Written::Stale),
        }
    }

    async fn deliver(&self, tx: &mut Tx, row: &LicenseRow, drawn: &Drawn, answered: bool) -> Result<Written, Problem> {
        let Self { turn, ask, .. } = self;
        let Drawn { grant, runs_until, .. } = drawn;
        let (user, device) = (ask.user_id, ask.device_id);
        let event = if drawn.decision == Decision::Deliver { "license.delivered" } else { "license.repeated" };
        let detail = json!({ "license": row.license, "grant": grant.grant, "device": device, "drive": grant.drive, "until": runs_until });
        turn.note(tx, event, &detail).await?;
        let done = match drawn.decision {
            Decision::Deliver => license::deliver(tx, user, row.license, device, grant, *runs_until).await?,
            Decision::Again(_) => license::deliver_again(tx, user, row.license, device, grant, *runs_until).await?,
        };
        if !done {
            return Err(tx.conflict("the license").into());
        }
        if !answered {
            turn.answer(tx, &grant.grant).await?;
        }
        Ok(Written::Delivered)
    }
}
