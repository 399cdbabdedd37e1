//! The end of an order: it is given back, or taken back, and exactly what came of it ends with it.

use counterfoil_core::rules::order::OrderState;
use counterfoil_core::rules::refund::{self, By, Facts, Why};
use counterfoil_core::wire::{Refund, RefundResult, UndoReason};
use counterfoil_core::{CardId, Code, EntitlementId, LicenseId, OrderId, Refusal, Timestamp, UserId};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::checks::check_text;
use super::gateway::undo::{self, ExchangeUndone, TakeBack};
use super::order::Buyer;
use super::signed::{self, Besides};
use crate::api::orders::EndedLicense;
use crate::app::App;
use crate::auth::Caller;
use crate::db::{DbError, Tx};
use crate::idempotency::{self, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::balance::{Change, Reason};
use crate::store::gateway_exchange::Effect;
use crate::store::order::{self, Ordered};
use crate::store::request::{self, Once, Recorded};
use crate::store::{audit, balance, entitlement, inbox, license, user};

/// Decides what a terminal gives back, and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Refund, now: Timestamp) -> Result<Decided, Problem> {
    let card = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Card(ask.card_id)).await? {
        Ok(recipient) => recipient.card(),
        Err((refusal, family)) => return asked::refuse(app, family, "refund", "terminal", refusal, now).await,
    };
    let buyer =
        Buyer { user: ask.user_id, actor: ask.device_id.to_string(), request_id: asked.request_id.to_string(), digest: asked.digest };
    match give_back_with(app, &buyer, ask.order_id, card, now).await? {
        Ok(result) => Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Gives an order back, for the one who made it. Who asks must have proven to be that user already.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn give_back(app: &App, buyer: &Buyer, order: OrderId, now: Timestamp) -> Result<Result<RefundResult, Refusal>, Problem> {
    give_back_with(app, buyer, order, None, now).await
}

/// The same, with the card that has signed: it may have been replaced since it was looked at.
async fn give_back_with(
    app: &App,
    buyer: &Buyer,
    order: OrderId,
    card: Option<CardId>,
    now: Timestamp,
) -> Result<Result<RefundResult, Refusal>, Problem> {
    let (buyer, entry) = (buyer.clone(), app.rng.bytes());
    let (user, family) = (buyer.user, user::family(buyer.user));
    let decided = app
        .db
        .write("refund", family.clone(), async move |tx: &mut Tx| -> Result<_, Problem> {
            audit::hold(tx, &family).await?;
            let decided = match request::once(tx, &family, &buyer.request_id, &buyer.digest, now.0).await? {
                Once::Repeat(recorded) => return serde_json::from_slice(&recorded.answer).map(Ok).map_err(Problem::internal),
                Once::Mismatch => Err(Code::RequestMismatch.into()),
                Once::Fresh if card.is_some() && user::find(tx, buyer.user).await?.and_then(|entry| entry.card()) != card => {
                    Err(Code::UserInvalid.into())
                }
                Once::Fresh => {
                    let ending = Ending { user: buyer.user, order, by: By::User, why: Why::Refund, actor: &buyer.actor, note: "", entry };
                    end_order(tx, &ending, now).await?
                }
            };
            match &decided {
                Err(refusal) => asked::audit_refusal(tx, &family, "refund", &buyer.actor, refusal.code, now).await?,
                Ok(result) => {
                    let recorded = Recorded { status: 200, answer: serde_json::to_vec(result).map_err(Problem::internal)? };
                    request::record(tx, &family, &buyer.request_id, &buyer.digest, &recorded, now.0, asked::expires(now)).await?;
                }
            }
            Ok(decided)
        })
        .await?;
    wake(app, user).await;
    Ok(decided)
}

/// Has the user's devices look what they have to do.
async fn wake(app: &App, user: UserId) {
    // Where it cannot be asked now, they are told a moment later, as those are that listen to another process.
    let devices = app.db.read("devices to wake", async move |tx: &mut Tx| user::devices(tx, user).await).await;
    devices.unwrap_or_default().iter().for_each(|row| app.inbox.wake(user, row.device));
}

/// Ends an order for the operator, at any time: `why` says whether money goes back.
///
/// # Errors
/// `not_found`; `refund_not_allowed` where it has ended already.
pub async fn by_operator(
    app: &App,
    caller: &Caller,
    once: &idempotency::Once,
    (user, order): (UserId, OrderId),
    why: Why,
    note: String,
) -> Result<Reply, Problem> {
    check_text(&note)?;
    let (now, actor, entry) = (app.clock.now(), caller.actor(), app.rng.bytes());
    let family = user::family(user);
    let reply = once
        .write(app, "end_order", family.clone(), async move |tx: &mut Tx| {
            audit::hold(tx, &family).await?;
            order::find(tx, user, order).await?.ok_or(ApiCode::NotFound)?;
            let ending = Ending { user, order, by: By::Operator, why, actor: &actor, note: &note, entry };
            Ok(Reply::ok(&end_order(tx, &ending, now).await??))
        })
        .await?;
    wake(app, user).await;
    Ok(reply)
}

/// Ends an order for the gateway that it was paid through; one that has ended before stays as it is.
///
/// # Errors
/// `not_found`; failures of the server.
pub async fn by_gateway(app: &App, actor: String, (user, order): (UserId, OrderId), why: Why, note: String) -> Result<(), Problem> {
    let (now, entry) = (app.clock.now(), app.rng.bytes());
    let family = user::family(user);
    app.db
        .write("undo order", family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            audit::hold(tx, &family).await?;
            let found = order::find(tx, user, order).await?.ok_or(ApiCode::NotFound)?;
            if found.order.state != OrderState::Ended {
                let ending = Ending { user, order, by: By::Operator, why, actor: &actor, note: &note, entry };
                end_order(tx, &ending, now).await??;
            }
            Ok(())
        })
        .await?;
    wake(app, user).await;
    Ok(())
}

/// Ends one license for the operator, and frees its place for another device.
///
/// # Errors
/// `not_found`; `license_ended` where it has ended already.
pub async fn revoke(
    app: &App,
    caller: &Caller,
    once: &idempotency::Once,
    (user, id): (UserId, LicenseId),
    note: String,
) -> Result<Reply, Problem> {
    check_text(&note)?;
    let (now, actor) = (app.clock.now(), caller.actor());
    let family = user::family(user);
    let reply = once
        .write(app, "revoke_license", family.clone(), async move |tx: &mut Tx| {
            audit::hold(tx, &family).await?;
            let row = license::find(tx, user, id).await?.ok_or(ApiCode::NotFound)?;
            if !license::end(tx, user, id, now).await? {
                return Err(Code::LicenseEnded.into());
            }
            if !entitlement::free_place(tx, user, row.entitlement).await? {
                return Err(Problem::internal(format!("the license {id} had no place in its entitlement")));
            }
            inbox::end(tx, user, row.device, id, &row.title, now).await?;
            let detail = json!({ "license": id, "title": row.title, "device": row.device, "note": note });
            audit::append(tx, &family, now.0, &actor, "license.revoked", &detail).await?;
            Ok(Reply::ok(&EndedLicense { license_id: id, state: "ended" }))
        })
        .await?;
    wake(app, user).await;
    Ok(reply)
}

/// Ends an order whose copy was not granted after all: its charge goes back. One that is not open is let be.
///
/// # Errors
/// Failures of the server.
pub(super) async fn not_copied(
    tx: &mut Tx,
    (user, order): (UserId, OrderId),
    actor: &str,
    entry: [u8; 16],
    now: Timestamp,
) -> Result<(), Problem> {
    let found = order::find(tx, user, order).await?;
    if found.is_some_and(|found| found.order.state == OrderState::Open) {
        let ending = Ending { user, order, by: By::Operator, why: Why::NotCopied, actor, note: "", entry };
        end_order(tx, &ending, now).await??;
    }
    Ok(())
}

/// Which order ends, and by whom.
struct Ending<'a> {
    user: UserId,
    order: OrderId,
    by: By,
    why: Why,
    actor: &'a str,
    note: &'a str,
    /// Names the entry in the balance.
    entry: [u8; 16],
}

/// Nothing is written where it is refused.
async fn end_order(tx: &mut Tx, ending: &Ending<'_>, now: Timestamp) -> Result<Result<RefundResult, Refusal>, Problem> {
    let Ending { user, order: id, by, why, actor, note, entry } = *ending;
    let Some(ordered) = order::find(tx, user, id).await? else {
        return Ok(Err(Refusal::with(Code::RefundNotAllowed, "there is no such order")));
    };
    let credited = match refund::decide(by, why, &facts(&ordered), now) {
        Ok(credited) => credited,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Some(money) = credited {
        let change = Change { entry, reason: Reason::Refund(id), actor, now };
        if !balance::add(tx, user, money, change).await? {
            return Ok(Err(Refusal::with(Code::RefundNotAllowed, "the balance can hold no more")));
        }
    }
    if !order::end(tx, user, id, why, now).await? {
        return Err(tx.conflict("an order").into());
    }
    let ended = match ordered.entitlement {
        Some(entitlement) => end_entitlement(tx, user, entitlement, now).await?,
        None => vec![],
    };
    if let Some(copy) = ordered.order.copy.filter(|_| why != Why::NotCopied) {
        undo::tell_medium(tx, &TakeBack { user, order: id, medium: copy.medium, why, actor: actor.to_owned() }, now).await?;
    }
    for license in &ended {
        inbox::end(tx, user, license.device, license.license, &license.title, now).await?;
    }
    if let Some(exchange) = ordered.order.exchange {
        let why = if why == Why::Chargeback { UndoReason::Chargeback } else { UndoReason::Refund };
        let undone = ExchangeUndone { exchange, effect: Effect::Order(id), why, actor: actor.to_owned() };
        undo::tell(tx, &user::family(user), &undone, now).await?;
    }
    let ended: Vec<LicenseId> = ended.into_iter().map(|row| row.license).collect();
    let detail = json!({ "order": id, "why": why, "credited": credited, "licenses": ended, "note": note });
    audit::append(tx, &user::family(user), now.0, actor, "order.ended", &detail).await?;
    Ok(Ok(RefundResult { order_id: id, ended, credited }))
}

fn facts(ordered: &Ordered) -> Facts {
    let order = &ordered.order;
    Facts {
        kind: order.kind,
        payment: order.payment,
        charge: order.charge,
        state: order.state,
        created_at: order.created_at,
        refund_days: ordered.policy.refund_days,
    }
}

/// Ends an entitlement with every license by it, and says which those were.
///
/// # Errors
/// A failure of the database.
pub(super) async fn end_entitlement(
    tx: &mut Tx,
    user: UserId,
    id: EntitlementId,
    now: Timestamp,
) -> Result<Vec<license::LicenseRow>, DbError> {
    let licenses = license::of_entitlement(tx, user, id).await?;
    for row in &licenses {
        if !license::end(tx, user, row.license, now).await? {
            return Err(tx.conflict("a license"));
        }
    }
    if !entitlement::end(tx, user, id, now).await? {
        return Err(tx.conflict("an entitlement"));
    }
    Ok(licenses)
}
