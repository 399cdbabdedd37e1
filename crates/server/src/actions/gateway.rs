//! Exchanges through a gateway (C16–C18) at the authority: prepared, committed or given up, and undone; each step is safe to repeat.
//!
//! An exchange has the ID of the terminal's request, so whatever repeats it finds what it did. Nothing is locked between prepare and commit: the
//! key goes to whoever is first, as always, in the one transaction that gives it; what is held is the price. That transaction also writes for which
//! exchange it is done (`grants.exchange_id`, `orders.exchange_id`), which is how it is found out after a crash, however late.

use counterfoil_core::rules::gateway as rule;
use counterfoil_core::wire::{Charge, ExchangeState, Operation, Prepare, Request, Step};
use counterfoil_core::{Code, Refusal, RequestId, Timestamp};
use counterfoil_format::envelope::Envelope;
use serde_json::json;

use super::asked::{Asked, Decided};
use super::exchange::{self, Reply};
use super::{claim, order};
use crate::app::App;
use crate::db::Tx;
use crate::gateways::Caller;
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::gateway_exchange::{self as store, Exchange, Subject};
use price::Foreseen;

pub use changes::{by_id, changes, refunds};
pub use commit::commit;
pub use sweep::sweep;
pub use undo::undo;

mod changes;
mod commit;
pub(super) mod price;
mod sweep;
pub mod undo;

/// A terminal's request that a gateway hands in.
struct Opened {
    asked: Asked,
    request: Request,
    reply: Reply,
}

/// Decides what a terminal wants: at once where it costs nothing, and as if where it is to be paid for.
///
/// # Errors
/// `envelope_invalid`, `unprocessable`, `request_mismatch`; `not_found` where another gateway has an exchange of this ID; failures of the server.
pub async fn prepare(app: &App, caller: &Caller, ask: &Prepare) -> Result<Step, Problem> {
    let now = app.clock.now();
    let mut opened = open(app, ask, now).await?;
    if let Some(row) = find(app, caller, ask.exchange_id).await? {
        return standing(app, row, opened, now).await;
    }
    exchange::admit(app, &opened.request)?;
    if let Err(refusal) = exchange::is_fresh(app, &opened.asked, &opened.request, now).await? {
        return free(app, &opened, Err(refusal), now).await;
    }
    let Opened { asked, request, .. } = &mut opened;
    let (foreseen, subject) = match &request.operation {
        Operation::Claim(ask) => (claim::foresee::foresee(app, caller, asked, ask, now).await?, Subject::Copy(ask.medium_id.clone())),
        Operation::Order(ask) if !ask.trial => (order::foresee(app, caller, asked, ask, now).await?, Subject::Order(ask.user_id)),
        operation => {
            let decided = exchange::decide(app, asked, operation, now).await?;
            return free(app, &opened, decided, now).await;
        }
    };
    match foreseen {
        Foreseen::Free => {
            let decided = exchange::decide(app, asked, &request.operation, now).await?;
            free(app, &opened, decided, now).await
        }
        Foreseen::Refused(refusal) => free(app, &opened, Err(refusal), now).await,
        Foreseen::Charged(charge) => {
            let row = keep(app, caller, &opened, subject, charge, now).await?;
            standing(app, row, opened, now).await
        }
    }
}

/// Gives an exchange up, unless it has begun to be carried out; says where it stands then.
///
/// # Errors
/// `not_found`; failures of the server.
pub async fn abort(app: &App, caller: &Caller, id: RequestId, reason: &str) -> Result<Step, Problem> {
    super::checks::check_text(reason)?;
    let row = find(app, caller, id).await?.ok_or(ApiCode::NotFound)?;
    let row = if rule::can_abort(row.state) { give_up(app, id, caller.actor(), reason).await? } else { row };
    Ok(step(&row))
}

/// Where an exchange stands.
///
/// # Errors
/// `not_found`; failures of the database.
pub async fn look(app: &App, caller: &Caller, id: RequestId) -> Result<Step, Problem> {
    Ok(step(&find(app, caller, id).await?.ok_or(ApiCode::NotFound)?))
}

async fn open(app: &App, ask: &Prepare, now: Timestamp) -> Result<Opened, Problem> {
    let invalid = |why: String| Refusal::with(Code::EnvelopeInvalid, why);
    let envelope = Envelope::parse(ask.envelope.to_string().as_bytes()).map_err(|error| invalid(error.to_string()))?;
    let (asked, request, reply) = exchange::open(app, &envelope, now).await?;
    if asked.request_id != ask.exchange_id {
        return Err(Problem::with(ApiCode::Unprocessable, "the exchange has another ID than the request in the envelope"));
    }
    if !reply.sealed {
        return Err(invalid("it does not ask for a sealed answer, as it must by way of a gateway".to_owned()).into());
    }
    Ok(Opened { asked, request, reply })
}

/// The exchange of an ID; one of another gateway is none.
async fn find(app: &App, caller: &Caller, id: RequestId) -> Result<Option<Exchange>, Problem> {
    let row = app.db.read("find exchange", async move |tx: &mut Tx| store::find(tx, id).await).await?;
    match row {
        Some(row) if row.gateway != caller.gateway => Err(ApiCode::NotFound.into()),
        row => Ok(row),
    }
}

/// What costs nothing, or was refused at once: nothing is kept of it.
async fn free(app: &App, opened: &Opened, decided: Decided, now: Timestamp) -> Result<Step, Problem> {
    let answer = conclude(app, opened, decided, now).await?;
    let exchange_id = opened.asked.request_id;
    Ok(Step { exchange_id, state: ExchangeState::Free, answer: Some(answer), charge: None, expires_at: None })
}

async fn conclude(app: &App, opened: &Opened, decided: Decided, now: Timestamp) -> Result<String, Problem> {
    let Opened { asked, request, reply } = opened;
    exchange::conclude(app, asked, request, reply, decided, now).await
}

/// Keeps an exchange that waits for its charge; where somebody was first with this ID, that one.
async fn keep(app: &App, caller: &Caller, opened: &Opened, subject: Subject, charge: Charge, now: Timestamp) -> Result<Exchange, Problem> {
    let held = i64::from(app.config.gateways.price_minutes) * 60_000;
    let row = Exchange {
        id: opened.asked.request_id,
        gateway: caller.gateway,
        digest: opened.asked.digest.to_vec(),
        subject,
        effect: None,
        charge,
        state: ExchangeState::Prepared,
        created_at: now,
        expires_at: Timestamp(now.0.saturating_add(held)),
        began_at: None,
        changed_at: now,
        reason: None,
        share: Some(caller.share),
    };
    let (actor, gateway, family) = (caller.actor(), caller.gateway, store::family(row.id));
    app.db
        .write("prepare exchange", family.clone(), async move |tx: &mut Tx| -> Result<Exchange, Problem> {
            if store::insert(tx, &row).await? {
                let Charge { title, price, operator_part, .. } = &row.charge;
                let detail = json!({ "gateway": gateway, "operation": row.subject.operation(), "title": title, "price": price,
                    "operator_part": operator_part, "share": row.share, "expires_at": row.expires_at });
                audit::append(tx, &family, now.0, &actor, "exchange.prepared", &detail).await?;
                return Ok(row.clone());
            }
            let there = store::find(tx, row.id).await?.filter(|there| there.gateway == gateway);
            there.ok_or_else(|| ApiCode::NotFound.into())
        })
        .await
}

/// Says where an exchange stands, with the answer where there is one.
async fn standing(app: &App, row: Exchange, mut opened: Opened, now: Timestamp) -> Result<Step, Problem> {
    is_same(&row, &opened)?;
    let row = match rule::has_expired(row.state, row.expires_at, now) {
        true => give_up(app, row.id, sweep::ACTOR.to_owned(), sweep::EXPIRED).await?,
        false => row,
    };
    let answer = match row.state {
        ExchangeState::Committed | ExchangeState::Refused => Some(commit::answer_again(app, &row, &mut opened, now).await?),
        _ => None,
    };
    Ok(Step { answer, ..step(&row) })
}

fn is_same(row: &Exchange, opened: &Opened) -> Result<(), Problem> {
    if row.digest == opened.asked.digest { Ok(()) } else { Err(Code::RequestMismatch.into()) }
}

fn step(row: &Exchange) -> Step {
    let expires_at = (row.state == ExchangeState::Prepared).then_some(row.expires_at);
    Step { exchange_id: row.id, state: row.state, answer: None, charge: Some(row.charge.clone()), expires_at }
}

/// Ends one that nobody has begun to carry out; answers with what it is then.
async fn give_up(app: &App, id: RequestId, actor: String, reason: &str) -> Result<Exchange, Problem> {
    let (now, family, reason) = (app.clock.now(), store::family(id), reason.to_owned());
    app.db
        .write("abort exchange", family.clone(), async move |tx: &mut Tx| -> Result<Exchange, Problem> {
            if store::abort(tx, id, &reason, now).await? {
                audit::append(tx, &family, now.0, &actor, "exchange.aborted", &json!({ "reason": reason })).await?;
            }
            store::find(tx, id).await?.ok_or_else(|| ApiCode::NotFound.into())
        })
        .await
}
