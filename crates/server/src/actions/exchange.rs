//! A terminal's request, from the sealed envelope to the signed answer (`protocol.md` §2).

use counterfoil_core::rules::freshness;
use counterfoil_core::wire::{Answer, Operation, Outcome, Request};
use counterfoil_core::{Code, Refusal, Timestamp};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::envelope::{ANSWER_TYP, Envelope, ReplyKey};

use super::asked::{self, Asked, Decided};
use super::repair::turned_up;
use super::{
    add_device, claim, collect, confirm, contents_servers, devices, heal, inbox, inspect, installed, license, order, orders, recovery_code,
    redeem, refresh, refreshed, refund, register, reissue, renew, report, send, transfer, update, upload,
};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::roles::ServerRole;

/// Opens an envelope, has its operation decided, and signs the answer.
///
/// # Errors
/// `envelope_invalid` where there is nobody to answer to; `misdirected` where another process does it; failures of the server. A refusal is no error: it is signed as well.
pub async fn answer(app: &App, envelope: &Envelope) -> Result<String, Problem> {
    let now = app.clock.now();
    let (asked, request, reply) = open(app, envelope, now).await?;
    if request.by_gateway {
        return Err(Refusal::with(Code::EnvelopeInvalid, "it is to be handed in by a gateway").into());
    }
    admit(app, &request)?;
    let decided = match is_fresh(app, &asked, &request, now).await? {
        Ok(()) => decide(app, &asked, &request.operation, now).await?,
        Err(refusal) => Err(refusal),
    };
    conclude(app, &asked, &request, &reply, decided, now).await
}

/// Whether this process takes an operation, now.
///
/// # Errors
/// `misdirected`, `rate_limited`.
pub(super) fn admit(app: &App, request: &Request) -> Result<(), Problem> {
    if let Err(problem) = is_ours(app, &request.operation) {
        crate::metrics::operation(request.operation.name(), problem.code);
        return Err(problem);
    }
    match request.operation.device_id() {
        Some(device) => app.subjects.device(device),
        None => Ok(()),
    }
}

/// Signs what an operation has come to, and counts it.
///
/// # Errors
/// Failures of the server.
pub(super) async fn conclude(
    app: &App,
    asked: &Asked,
    request: &Request,
    reply: &Reply,
    decided: Decided,
    now: Timestamp,
) -> Result<String, Problem> {
    let operation = request.operation.name();
    let decided = match decided {
        Err(refusal) => Err(turned_up::recognise(app, asked, &request.operation, refusal, now).await?),
        granted => granted,
    };
    let code = decided.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "granted");
    crate::metrics::operation(operation, code);
    tracing::info!(operation, outcome = code, request = %asked.request_id, "decided");
    let outcome = decided.map_or_else(Outcome::Refusal, Outcome::Result);
    let refresh = if request.refreshable { refresh::offer(app, asked).await } else { None };
    let answer = Answer { request_id: asked.request_id, server_time: now, refresh, outcome };
    reply.say(app, &answer, now)
}

/// The way back to whoever sealed a request.
#[derive(Clone)]
pub(super) struct Reply {
    key: ReplyKey,
    /// Whether the request asks for a sealed answer: one that does not may not come by way of somebody else.
    pub sealed: bool,
}

impl Reply {
    /// Signs an answer and, where the request asks for that, seals it: as text.
    pub fn say(&self, app: &App, answer: &Answer, now: Timestamp) -> Result<String, Problem> {
        let signed = app.keys.sign(ANSWER_TYP, answer, now)?;
        Ok(if self.sealed { self.key.seal(&signed, &mut app.rng.clone()) } else { signed })
    }
}

pub(super) async fn open(app: &App, envelope: &Envelope, now: Timestamp) -> Result<(Asked, Request, Reply), Problem> {
    let invalid = |why: &str| Problem::from(Refusal::with(Code::EnvelopeInvalid, why));
    let key = app
        .keys
        .sealing_key(&app.db, &envelope.kid, now)
        .await?
        .ok_or_else(|| invalid("it is sealed to a key that is not, or no longer, used"))?;
    let (proofs, key) = envelope.open(&*key).map_err(|error| invalid(&error.to_string()))?;
    // Its words may repeat what was sealed, so they are not told.
    let request: Request = parse_strict(&proofs.payload).map_err(|_| invalid("it holds no request that this server understands"))?;
    let digest = *blake3::hash(&proofs.payload).as_bytes();
    let reply = Reply { key, sealed: request.seal_answer };
    Ok((Asked::new(request.request_id, digest, proofs), request, reply))
}

/// Which role an operation belongs to can be seen only once its envelope is open, so no balancer in front can tell, and the process must.
pub(super) fn is_ours(app: &App, operation: &Operation) -> Result<(), Problem> {
    let server = &app.config.server;
    let (role, own_urls) = if operation.is_for_license_server() {
        (ServerRole::License, &server.license_urls)
    } else {
        (ServerRole::Authority, &server.public_urls)
    };
    if server.roles.has(role) {
        return Ok(());
    }
    let detail = format!("`{}` belongs to the role {}; this process serves {}", operation.name(), role.as_str(), server.roles);
    Err(Problem { urls: own_urls.clone().into(), ..Problem::with(ApiCode::Misdirected, detail) })
}

/// Whether a request is of now; a refusal is recorded.
///
/// # Errors
/// A failure of the database.
pub(super) async fn is_fresh(app: &App, asked: &Asked, request: &Request, now: Timestamp) -> Result<Result<(), Refusal>, Problem> {
    let Err(refusal) = freshness::decide(request.issued_at, now) else { return Ok(Ok(())) };
    let family = asked::stranger(&asked.request_id.to_string());
    let refused = asked::refuse(app, family, request.operation.name(), "terminal", refusal, now).await?;
    Ok(refused.map(drop))
}

/// Decides an operation and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub(super) async fn decide(app: &App, asked: &Asked, operation: &Operation, now: Timestamp) -> Result<Decided, Problem> {
    match operation {
        Operation::Register(register) => register::run(app, asked, register, now).await,
        Operation::Inspect(inspect) => inspect::run(app, asked, inspect, now).await,
        Operation::Claim(claim) => claim::run(app, asked, claim, now).await,
        Operation::Confirm(confirm) => match &confirm.medium_id {
            Some(medium) => confirm::run(app, asked, confirm, medium, now).await,
            None => installed::confirm(app, asked, confirm, now).await,
        },
        Operation::Heal(heal) => match &heal.medium_id {
            Some(medium) => heal::run(app, asked, heal, medium, now).await,
            None => installed::heal(app, asked, heal, now).await,
        },
        Operation::Order(order) => order::run(app, asked, order, now).await,
        Operation::Orders(orders) => orders::run(app, asked, orders, now).await,
        Operation::Refund(refund) => refund::run(app, asked, refund, now).await,
        Operation::License(license) => license::run(app, asked, license, now).await,
        Operation::Redeem(redeem) => redeem::run(app, asked, redeem, now).await,
        Operation::Renew(renew) => renew::run(app, asked, renew, now).await,
        Operation::Devices(devices) => devices::run(app, asked, devices, now).await,
        Operation::AddDevice(add_device) => add_device::run(app, asked, add_device, now).await,
        Operation::Transfer(transfer) => transfer::run(app, asked, transfer, now).await,
        Operation::Inbox(inbox) => inbox::run(app, asked, inbox, now).await,
        Operation::Report(report) => report::run(app, asked, report, now).await,
        Operation::HandIn(hand_in) => contents_servers::hand_in::run(app, asked, hand_in, now).await,
        Operation::Update(update) => update::run(app, asked, update, now).await,
        Operation::Send(send) => send::run(app, asked, send, now).await,
        Operation::Sent(sent) => send::sent(app, asked, sent, now).await,
        // A provider brings it, to its own route.
        Operation::Present(_) => Ok(Err(Refusal::with(Code::PresentationInvalid, "a presentation is for its provider"))),
        Operation::Refreshed(refreshed) => refreshed::run(app, asked, refreshed, now).await,
        Operation::Upload(upload) => upload::run(app, asked, upload, now).await,
        Operation::Uploads(uploads) => upload::list(app, asked, uploads, now).await,
        Operation::RecoveryCode(ask) => recovery_code::run(app, asked, ask, now).await,
        Operation::Reissue(reissue) => reissue::run(app, asked, reissue, now).await,
        Operation::Collect(collect) => collect::run(app, asked, collect, now).await,
    }
}
