//! What a device has to do: told when it asks, or as long as it listens; and what came of it.

use counterfoil_core::rules::freshness;
use counterfoil_core::wire::{Answer, Inbox, InboxResult, Job, Operation, Outcome};
use counterfoil_core::{Code, Refusal, RequestId, Timestamp};
use counterfoil_format::envelope::Envelope;
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::Turn;
use super::exchange::{self, Reply};
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::inbox_watch::Listening;
use crate::problem::{ApiCode, Problem};
use crate::store::user::DeviceRow;
use crate::store::{inbox, user};

/// Notes the ends that are told, and answers with what is left to do. A repeat changes nothing more.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Inbox, now: Timestamp) -> Result<Decided, Problem> {
    if let Err(refusal) = admit(app, asked, ask, now).await? {
        return Ok(Err(refusal));
    }
    told(jobs(app, ask).await?).map(Ok)
}

fn told(jobs: Vec<Job>) -> Result<serde_json::Value, Problem> {
    serde_json::to_value(InboxResult { jobs }).map_err(Problem::internal)
}

/// The device, once it has proven that it asks, with the ends that it tells noted.
async fn admit(app: &App, asked: &Asked, ask: &Inbox, now: Timestamp) -> Result<Result<DeviceRow, Refusal>, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        Ok(recipient) => recipient,
        Err((refusal, family)) => {
            return asked::refused(app, family, "inbox", "terminal", refusal, now).await.map(Err);
        }
    };
    if ask.done.len() > Inbox::MOST || ask.progress.len() > Inbox::MOST {
        let refusal = Refusal::with(Code::RateLimited, format!("at most {} ends in one request", Inbox::MOST));
        return Ok(Err(refusal));
    }
    if !ask.done.is_empty() || !ask.progress.is_empty() {
        let (turn, ask) = (Turn::of(asked, "inbox", ask.user_id, &recipient, now), ask.clone());
        let family = turn.family.clone();
        app.db.write("inbox done", family, async move |tx: &mut Tx| done(tx, &turn, &ask).await).await?;
    }
    Ok(Ok(recipient.device))
}

async fn jobs(app: &App, ask: &Inbox) -> Result<Vec<Job>, DbError> {
    let (user, device) = (ask.user_id, ask.device_id);
    app.db.read("inbox", async move |tx: &mut Tx| inbox::open(tx, user, device).await).await
}

/// Closes jobs; those that are closed already, or another device's, stay as they are. How far a job is on the way decides nothing, and is
/// in no audit log.
async fn done(tx: &mut Tx, turn: &Turn, ask: &Inbox) -> Result<(), DbError> {
    for at in &ask.progress {
        inbox::progress(tx, turn.user, ask.device_id, at).await?;
    }
    let mut closed = vec![];
    for done in &ask.done {
        if inbox::close(tx, turn.user, ask.device_id, done, turn.now).await? {
            closed.push(done);
        }
    }
    if !closed.is_empty() {
        turn.note(tx, "inbox.done", &json!({ "device": ask.device_id, "jobs": closed })).await?;
    }
    Ok(())
}

/// A device that listens, with the request that it listens by.
pub struct Listener {
    app: App,
    request_id: RequestId,
    reply: Reply,
    ask: Inbox,
    device: DeviceRow,
    listening: Listening,
    told: Vec<Job>,
    over: bool,
}

/// An answer that is told to who listens.
#[derive(Clone, Debug)]
pub struct Told {
    /// Names what there is to do: the same while that is the same.
    pub id: String,
    /// Signed, a compact JWS; sealed, where the request asks for that.
    pub answer: String,
}

/// Opens an envelope as [`exchange::answer`] does. The first answer is there at once; where it is no refusal, more follow.
///
/// # Errors
/// As for `exchange::answer`; `overloaded` where too many listen; `envelope_invalid` for an answer that a gateway could read.
pub async fn listen(app: &App, envelope: &Envelope, through_gateway: bool) -> Result<(Told, Option<Listener>), Problem> {
    let now = app.clock.now();
    let (asked, request, reply) = exchange::open(app, envelope, now).await?;
    if through_gateway && !reply.sealed {
        return Err(Refusal::with(Code::EnvelopeInvalid, "through a gateway, answers are sealed: ask for that").into());
    }
    exchange::is_ours(app, &request.operation)?;
    let Operation::Inbox(ask) = request.operation else {
        return Err(Problem::with(ApiCode::InvalidRequest, "only `inbox` is answered here; everything else at /v1/terminal/exchange"));
    };
    let admitted = match freshness::decide(request.issued_at, now) {
        Ok(()) => admit(app, &asked, &ask, now).await?,
        Err(refusal) => Err(refusal),
    };
    let device = match admitted {
        Ok(device) => device,
        Err(refusal) => return Ok((said(app, &reply, asked.request_id, Outcome::Refusal(refusal), now)?, None)),
    };
    // Not before it is proven who listens, and before the look, so that nothing falls between the two.
    let listening = app.inbox.listen(ask.user_id, ask.device_id, app.config.limits.inbox_streams).ok_or(ApiCode::Overloaded)?;
    let jobs = jobs(app, &ask).await?;
    let request_id = asked.request_id;
    let mut listener = Listener { app: app.clone(), request_id, reply, ask, device, listening, told: vec![], over: false };
    Ok((listener.tell(jobs, now)?, Some(listener)))
}

impl Listener {
    /// Waits until there is something new to do, and tells it. Nothing: the stream is over.
    pub async fn next(&mut self) -> Option<Told> {
        while !self.over && self.listening.woken().await {
            match self.look().await {
                Ok(Some(answer)) => return Some(answer),
                Ok(None) => {}
                Err(problem) => {
                    // The terminal comes again, and is told then.
                    tracing::warn!(%problem, "a stream of jobs was broken off");
                    return None;
                }
            }
        }
        None
    }

    async fn look(&mut self) -> Result<Option<Told>, Problem> {
        let now = self.app.clock.now();
        let (user, device) = (self.ask.user_id, self.ask.device_id);
        let (row, jobs) = self
            .app
            .db
            .read("inbox again", async move |tx: &mut Tx| -> Result<_, DbError> {
                Ok((user::device(tx, user, device).await?, inbox::open(tx, user, device).await?))
            })
            .await?;
        if row.is_none_or(|row| row.keys != self.device.keys) {
            // Taken out, or registered anew with other keys: whoever listens is nobody any more.
            self.over = true;
            return self.say(Outcome::Refusal(Code::DeviceNotRegistered.into()), now).map(Some);
        }
        let news = jobs.iter().any(|job| !self.told.contains(job));
        if news { self.tell(jobs, now).map(Some) } else { Ok(None) }
    }

    fn tell(&mut self, jobs: Vec<Job>, now: Timestamp) -> Result<Told, Problem> {
        self.told.clone_from(&jobs);
        self.say(Outcome::Result(told(jobs)?), now)
    }

    fn say(&self, outcome: Outcome, now: Timestamp) -> Result<Told, Problem> {
        said(&self.app, &self.reply, self.request_id, outcome, now)
    }
}

fn said(app: &App, reply: &Reply, request_id: RequestId, outcome: Outcome, now: Timestamp) -> Result<Told, Problem> {
    let said = serde_json::to_vec(&outcome).map_err(Problem::internal)?;
    let id = blake3::hash(&said).to_hex()[..32].to_owned();
    Ok(Told { id, answer: reply.say(app, &Answer { request_id, server_time: now, refresh: None, outcome }, now)? })
}
