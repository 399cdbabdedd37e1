//! Commit: what was foreseen is carried out, and what came of it is noted, by that alone.

use counterfoil_core::rules::gateway::{self as rule, Commit};
use counterfoil_core::wire::{ExchangeState, Prepare, Step};
use counterfoil_core::{Code, Money, Refusal, RequestId, Timestamp};
use serde_json::json;

use super::price::{self, named};
use super::{Opened, conclude, find, is_same, open, standing, step};
use crate::actions::asked::{self, Decided, Through};
use crate::actions::{exchange, order};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::gateways::Caller;
use crate::problem::{ApiCode, Problem};
use crate::store::gateway_exchange::{self as store, Effect, Exchange, Subject};
use crate::store::request::{self, Once};
use crate::store::{audit, grant, medium};

/// Carries an exchange out, whose charge the gateway has promised; again, it says what came of it.
///
/// # Errors
/// As for [`super::prepare`]; `not_found`. After an error nobody knows what came of it until it is committed again.
pub async fn commit(app: &App, caller: &Caller, ask: &Prepare) -> Result<Step, Problem> {
    let now = app.clock.now();
    let opened = open(app, ask, now).await?;
    let row = find(app, caller, ask.exchange_id).await?.ok_or(ApiCode::NotFound)?;
    is_same(&row, &opened)?;
    let row = if rule::commit(row.state) == Commit::Begin { begin(app, caller, row.id).await? } else { row };
    match rule::commit(row.state) {
        Commit::CarryOn => carry_out(app, caller, row, opened).await,
        Commit::Begin | Commit::Tell => standing(app, row, opened, now).await,
    }
}

/// The answer to one that has ended, made again: the same keys where they are not settled, and nothing that was not given before.
pub(super) async fn answer_again(app: &App, row: &Exchange, opened: &mut Opened, now: Timestamp) -> Result<String, Problem> {
    let said = row.reason.as_deref().filter(|_| row.state == ExchangeState::Refused);
    let decided = match said.map(serde_json::from_str::<Refusal>).transpose().map_err(Problem::internal)? {
        Some(refusal) => Err(refusal),
        None => {
            opened.asked.through = Through::Owed(vec![]);
            exchange::decide(app, &opened.asked, &opened.request.operation, now).await?
        }
    };
    conclude(app, opened, decided, now).await
}

async fn begin(app: &App, caller: &Caller, id: RequestId) -> Result<Exchange, Problem> {
    let (now, actor, family) = (app.clock.now(), caller.actor(), store::family(id));
    app.db
        .write("begin exchange", family.clone(), async move |tx: &mut Tx| -> Result<Exchange, Problem> {
            if store::begin(tx, id, now).await? {
                audit::append(tx, &family, now.0, &actor, "exchange.begun", &json!({})).await?;
            }
            store::find(tx, id).await?.ok_or_else(|| ApiCode::NotFound.into())
        })
        .await
}

/// Does what the request asks for, as paid; whether it was done, now or by an earlier attempt, is read from what it left.
async fn carry_out(app: &App, caller: &Caller, row: Exchange, mut opened: Opened) -> Result<Step, Problem> {
    let now = app.clock.now();
    let decided = match is_held(app, caller, &row).await? {
        Ok(()) => {
            opened.asked.through = Through::Paid(row.charge.price);
            exchange::decide(app, &opened.asked, &opened.request.operation, now).await?
        }
        Err(refusal) => Err(refusal),
    };
    let effect = settle(app, &row, &decided, now).await?;
    let refusal = decided.as_ref().err().cloned();
    // An attempt beside this one was let through, before the price changed: what it did is what is told, not what this one was refused for.
    if effect.is_some() && refusal.is_some() {
        let row = note(app, row.id, effect, None, caller.actor()).await?;
        return standing(app, row, opened, now).await;
    }
    // The answer is made while the note is on its way to the disk; it leaves after it.
    let (noted, answer) = tokio::join!(note(app, row.id, effect, refusal, caller.actor()), conclude(app, &opened, decided, now));
    let row = noted?;
    match row.state {
        ExchangeState::Committed | ExchangeState::Refused => Ok(Step { answer: Some(answer?), ..step(&row) }),
        // What it paid for has been ended since.
        _ => Ok(step(&row)),
    }
}

/// Whether the price can be charged that was held: if it was begun too late, only where it is the price still. What was done is done.
async fn is_held(app: &App, caller: &Caller, row: &Exchange) -> Result<Result<(), Refusal>, Problem> {
    let began_at = row.began_at.unwrap_or(row.changed_at);
    if began_at < row.expires_at {
        return Ok(Ok(()));
    }
    let (gateway, held) = (caller.gateway, row.clone());
    let (done, today) = app
        .db
        .read("price that was held", async move |tx: &mut Tx| -> Result<(bool, Vec<Money>), Problem> {
            // A copy costs what the titles of its medium cost together.
            let titles = match &held.subject {
                Subject::Order(_) => vec![(held.charge.title.clone(), held.charge.name.clone())],
                Subject::Copy(medium) => match medium::known(tx, medium).await? {
                    Some(known) => named(&medium::titles(tx, known.batch).await?),
                    None => vec![],
                },
            };
            let today = rule::sold(&price::priced(tx, gateway, &titles).await?);
            Ok((effect(tx, &held).await?.is_some(), today.map(|sold| sold.prices).unwrap_or_default()))
        })
        .await?;
    Ok(if done { Ok(()) } else { rule::held(row.charge.price, row.expires_at, began_at, &today) })
}

/// What the exchange has left where it was carried out. Where it has left nothing, it never will from now on: the request's record says that it
/// was refused, before that is noted anywhere else, so that no other attempt that is under way somewhere comes through after all.
async fn settle(app: &App, row: &Exchange, decided: &Decided, now: Timestamp) -> Result<Option<Effect>, Problem> {
    // What was granted stands there already, and need not be kept from happening.
    if decided.is_ok() {
        let granted = row.clone();
        if let Some(effect) = app.db.read("what an exchange left", async move |tx: &mut Tx| effect(tx, &granted).await).await? {
            return Ok(Some(effect));
        }
    }
    let refusal = decided.as_ref().err().cloned().unwrap_or_else(|| Code::ExchangeEnded.into());
    let (row, family) = (row.clone(), row.subject.id());
    app.db
        .write("settle exchange", family.clone(), async move |tx: &mut Tx| -> Result<Option<Effect>, Problem> {
            audit::hold(tx, &family).await?;
            if let Some(effect) = effect(tx, &row).await? {
                return Ok(Some(effect));
            }
            let digest = row.digest.as_slice().try_into().map_err(Problem::internal)?;
            let id = row.id.to_string();
            if request::once(tx, &family, &id, digest, now.0).await? == Once::Fresh {
                // A claim takes a medium without a row for one without a record.
                if let Subject::Copy(medium) = &row.subject
                    && let Some(known) = medium::known(tx, medium).await?
                {
                    medium::touch(tx, medium, &known, now).await?;
                }
                request::record(tx, &family, &id, digest, &order::refused(&refusal)?, now.0, asked::expires(now)).await?;
            }
            Ok(None)
        })
        .await
}

/// What names this exchange as the one that paid for it.
pub(super) async fn effect(tx: &mut Tx, row: &Exchange) -> Result<Option<Effect>, DbError> {
    match &row.subject {
        Subject::Order(user) => Ok(crate::store::order::of_exchange(tx, *user, row.id).await?.map(Effect::Order)),
        Subject::Copy(medium) => {
            let grants: Vec<_> = grant::of_exchange(tx, medium, row.id).await?.into_iter().map(|row| row.grant).collect();
            Ok((!grants.is_empty()).then_some(Effect::Grants(grants)))
        }
    }
}

/// Notes what came of it, unless that was noted before; answers with what it is then.
pub(super) async fn note(
    app: &App,
    id: RequestId,
    effect: Option<Effect>,
    refusal: Option<Refusal>,
    actor: String,
) -> Result<Exchange, Problem> {
    let (now, family) = (app.clock.now(), store::family(id));
    let noted = app
        .db
        .write("decide exchange", family, async move |tx: &mut Tx| -> Result<Option<Exchange>, Problem> {
            note_in(tx, id, effect.as_ref(), refusal.as_ref(), &actor, now).await?;
            Ok(store::find(tx, id).await?)
        })
        .await?;
    noted.ok_or_else(|| Problem::internal(format!("the exchange {id} is gone")))
}

/// [`note`], within a transaction.
pub(super) async fn note_in(
    tx: &mut Tx,
    id: RequestId,
    effect: Option<&Effect>,
    refusal: Option<&Refusal>,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    let reason = refusal.filter(|_| effect.is_none()).map(|refusal| json!(refusal).to_string());
    if !store::decide(tx, id, effect, reason.as_deref(), now).await? {
        return Ok(());
    }
    let (event, detail) = match effect {
        Some(effect) => ("exchange.committed", json!({ "paid_for": effect })),
        None => ("exchange.refused", json!({ "code": refusal.map(|refusal| refusal.code) })),
    };
    audit::append(tx, &store::family(id), now.0, actor, event, &detail).await.map(drop)
}
