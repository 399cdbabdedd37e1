//! A terminal's request, from the sealed envelope to the signed answer (`protocol.md` §2).

use counterfoil_core::rules::freshness;
use counterfoil_core::wire::{Answer, Operation, Outcome, Request};
use counterfoil_core::{Code, Refusal, Timestamp};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::envelope::{ANSWER_TYP, Envelope};

use super::asked::{self, Asked, Decided};
use super::{
    add_device, claim, confirm, contents_servers, devices, heal, inbox, inspect, installed, license, order, orders, redeem, refresh,
    refreshed, refund, register, renew, report, send, transfer, update, upload,
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
    let (asked, request) = open(app, envelope, now).await?;
    let operation = request.operation.name();
    if let Err(problem) = is_ours(app, &request.operation) {
        crate::metrics::operation(operation, problem.code);
        return Err(problem);
    }
    if let Some(device) = request.operation.device_id() {
        app.subjects.device(device)?;
    }
    let decided = decide(app, &asked, &request, now).await?;
    let code = decided.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "granted");
    crate::metrics::operation(operation, code);
    tracing::info!(operation, outcome = code, request = %asked.request_id, "decided");
    let outcome = decided.map_or_else(Outcome::Refusal, Outcome::Result);
    let refresh = if request.refreshable { refresh::offer(app, &asked).await } else { None };
    let answer = Answer { request_id: asked.request_id, server_time: now, refresh, outcome };
    Ok(app.keys.sign(ANSWER_TYP, &answer, now)?)
}

pub(super) async fn open(app: &App, envelope: &Envelope, now: Timestamp) -> Result<(Asked, Request), Problem> {
    let invalid = |why: &str| Problem::from(Refusal::with(Code::EnvelopeInvalid, why));
    let key = app
        .keys
        .sealing_key(&app.db, &envelope.kid, now)
        .await?
        .ok_or_else(|| invalid("it is sealed to a key that is not, or no longer, used"))?;
    let proofs = envelope.open(&*key).map_err(|error| invalid(&error.to_string()))?;
    // Its words may repeat what was sealed, so they are not told.
    let request: Request = parse_strict(&proofs.payload).map_err(|_| invalid("it holds no request that this server understands"))?;
    let digest = *blake3::hash(&proofs.payload).as_bytes();
    Ok((Asked::new(request.request_id, digest, proofs), request))
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

async fn decide(app: &App, asked: &Asked, request: &Request, now: Timestamp) -> Result<Decided, Problem> {
    if let Err(refusal) = freshness::decide(request.issued_at, now) {
        let family = asked::stranger(&asked.request_id.to_string());
        return asked::refuse(app, family, request.operation.name(), "terminal", refusal, now).await;
    }
    match &request.operation {
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
    }
}
