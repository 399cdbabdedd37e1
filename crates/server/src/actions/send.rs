//! Sending (A2): one of the user's devices, or the user with a browser, has another device install a title or bring it up to date.

use counterfoil_core::rules::license::Places;
use counterfoil_core::rules::send::{self as rules, Destination};
use counterfoil_core::wire::{Send, SendResult, Sent, SentResult, Work};
use counterfoil_core::{Code, DeviceId, EntitlementId, JobId, LicenseId, Refusal, ReleaseVersion, Timestamp, TitleId, UserId};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::signed::{self, Besides};
use super::transfer::Requester;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::license::LicenseRow;
use crate::store::{entitlement, inbox, license, release, user};

/// What is to be sent where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The device that is to have it.
    pub to: DeviceId,
    /// What.
    pub title: TitleId,
    /// Which release; the one that its channel offers where none is named.
    pub release: Option<ReleaseVersion>,
}

/// Decides a terminal's request and carries it out. A repeat gets the same answer, and the device one job.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Send, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Card(ask.card_id)).await? {
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "send", "terminal", refusal, now).await,
    };
    let turn = Turn::of(asked, "send", ask.user_id, &recipient, now);
    let wanted = Wanted { to: ask.to, title: ask.title.clone(), release: ask.release.clone() };
    Ok(match put(app, turn, wanted).await? {
        Ok(job_id) => Ok(serde_json::to_value(SendResult { job_id }).map_err(Problem::internal)?),
        Err(refusal) => Err(refusal),
    })
}

/// Sends a title, for somebody whose right to do so has been established.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn carry_out(app: &App, requester: &Requester, wanted: Wanted) -> Result<Result<JobId, Refusal>, Problem> {
    let Requester { user, actor, request_id, digest } = requester.clone();
    put(app, Turn::by(actor, "send", user, request_id, digest, app.clock.now()), wanted).await
}

/// Tells how far jobs are that a device has sent to others. It changes nothing, and leaves no trace.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn sent(app: &App, asked: &Asked, ask: &Sent, now: Timestamp) -> Result<Decided, Problem> {
    if let Err((refusal, family)) = signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        return asked::refuse(app, family, "sent", "terminal", refusal, now).await;
    }
    let (user, by, job) = (ask.user_id, ask.device_id, ask.job_id);
    let jobs = app.db.read("sent jobs", async move |tx: &mut Tx| inbox::sent(tx, user, by, job).await).await?;
    Ok(Ok(serde_json::to_value(SentResult { jobs }).map_err(Problem::internal)?))
}

async fn put(app: &App, turn: Turn, wanted: Wanted) -> Result<Result<JobId, Refusal>, Problem> {
    let (user, to, family) = (turn.user, wanted.to, turn.family.clone());
    let fresh = LicenseId::from_bytes(app.rng.bytes());
    let sent = app.db.write("send", family, async move |tx: &mut Tx| write(tx, &turn, &wanted, fresh).await).await?;
    if sent.is_ok() {
        app.inbox.wake(user, to);
    }
    Ok(sent)
}

async fn write(tx: &mut Tx, turn: &Turn, wanted: &Wanted, fresh: LicenseId) -> Result<Result<JobId, Refusal>, Problem> {
    match turn.begin(tx).await? {
        Begun::Fresh => {}
        Begun::Repeat(answer) => {
            let SendResult { job_id } = serde_json::from_slice(&answer).map_err(Problem::internal)?;
            return Ok(Ok(job_id));
        }
        Begun::Refused(refusal) => return Ok(Err(refusal)),
    }
    let decided = match decide(tx, turn, wanted).await? {
        Ok(decided) => decided,
        Err(refusal) => return Ok(Err(turn.refuse(tx, refusal).await?)),
    };
    let work = decided.work(wanted, fresh);
    let waiting = inbox::waits(tx, turn.user, wanted.to, &work).await?;
    let job_id = waiting.unwrap_or_else(|| inbox::name(turn.user, wanted.to, &work, turn.now));
    turn.note(tx, "title.sent", &json!({ "job": job_id, "device": wanted.to, "work": work })).await?;
    if let rules::Send::TakePlace(entitlement) = decided.send
        && !take_place(tx, turn, wanted, entitlement, fresh).await?
    {
        return Err(tx.conflict("the entitlement").into());
    }
    let sent_by = turn.device.as_ref().map(|device| device.device);
    inbox::send(tx, turn.user, wanted.to, job_id, &work, sent_by, turn.now).await?;
    turn.answer(tx, &SendResult { job_id }).await?;
    Ok(Ok(job_id))
}

/// What was decided, with the licenses that it was decided on.
struct Sending {
    send: rules::Send,
    licenses: Vec<LicenseRow>,
}

impl Sending {
    /// The job. `fresh` is the license that is made where a place is taken.
    fn work(&self, wanted: &Wanted, fresh: LicenseId) -> Work {
        let (title, release) = (wanted.title.clone(), wanted.release.clone());
        let license_id = match self.send {
            rules::Send::Update => return Work::Update { title, release },
            rules::Send::Install(license) => license,
            rules::Send::TakePlace(_) => fresh,
        };
        let known = self.licenses.iter().find(|row| row.license == license_id);
        Work::Install { title, license_id, transaction_id: known.and_then(|row| row.transaction), release }
    }
}

async fn decide(tx: &mut Tx, turn: &Turn, wanted: &Wanted) -> Result<Result<Sending, Refusal>, Problem> {
    let (user, title) = (turn.user, &wanted.title);
    let mut licenses = license::at_device(tx, user, wanted.to).await?;
    licenses.retain(|row| row.title == *title);
    let facts: Vec<_> = licenses.iter().map(LicenseRow::facts).collect();
    let places: Vec<_> = entitlement::active(tx, user, title).await?.iter().map(Places::from).collect();
    let to = Destination {
        registered: user::device(tx, user, wanted.to).await?.is_some(),
        licenses: &facts,
        places: &places,
        copied: is_copied(tx, user, title).await?,
    };
    let send = match rules::decide(to, turn.now) {
        Ok(send) => send,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match &wanted.release {
        // After the right to it: who has none does not learn which releases there are.
        Some(version) if release::get(tx, title, version).await?.is_none() => Ok(Err(Code::ReleaseUnknown.into())),
        _ => Ok(Ok(Sending { send, licenses })),
    }
}

/// Whether the user has copied the title from a medium.
async fn is_copied(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<bool, DbError> {
    let owned = user::owned(tx, user).await?;
    Ok(owned.iter().any(|owned| owned.title == *title && owned.medium_id.is_some()))
}

/// False where the entitlement is not as it was seen.
async fn take_place(tx: &mut Tx, turn: &Turn, wanted: &Wanted, id: EntitlementId, license: LicenseId) -> Result<bool, DbError> {
    let Some(row) = entitlement::find(tx, turn.user, id).await? else { return Ok(false) };
    if !entitlement::take_place(tx, turn.user, id, row.policy.devices, turn.now).await? {
        return Ok(false);
    }
    license::register(tx, turn.user, license, id, &wanted.title, wanted.to, turn.now).await?;
    Ok(true)
}
