//! Money that comes in: what is paid in advance, and what was due.

use counterfoil_core::{Money, OrderId, UserId};
use serde_json::json;

use super::checks::check_text;
use crate::api::orders::{BalanceDocument, OrderDocument};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::balance::{Change, Reason};
use crate::store::{audit, balance, order, user};

/// Adds to what a user has paid in advance.
///
/// # Errors
/// `not_found` for a user whom nobody has registered; `unprocessable` for nothing, or more than a balance holds.
pub async fn top_up(app: &App, caller: &Caller, once: &Once, user: UserId, money: Money, note: String) -> Result<Reply, Problem> {
    check_text(&note)?;
    if money.amount == 0 {
        return Err(Problem::with(ApiCode::Unprocessable, "`amount` is at least 1, in minor units"));
    }
    let (now, actor, entry) = (app.clock.now(), caller.actor(), app.rng.bytes());
    let family = user::family(user);
    once.write(app, "top_up", family.clone(), async move |tx: &mut Tx| {
        if !balance::is_user(tx, user).await? {
            return Err(ApiCode::NotFound.into());
        }
        if !balance::add(tx, user, money, Change { entry, reason: Reason::TopUp, actor: &actor, now }).await? {
            return Err(Problem::with(ApiCode::Unprocessable, format!("a balance holds at most {} minor units", balance::MOST)));
        }
        audit::append(tx, &family, now.0, &actor, "balance.topped_up", &json!({ "money": money, "note": note })).await?;
        Ok(Reply::ok(&BalanceDocument { user_id: user, balance: balance::of_user(tx, user).await? }))
    })
    .await
}

/// Notes that what was due has been paid; the same again changes nothing.
///
/// # Errors
/// `not_found`; `conflict` for an order that has ended.
pub async fn paid(app: &App, caller: &Caller, once: &Once, user: UserId, id: OrderId) -> Result<Reply, Problem> {
    let (now, actor) = (app.clock.now(), caller.actor());
    let family = user::family(user);
    once.write(app, "order_paid", family.clone(), async move |tx: &mut Tx| {
        if order::pay(tx, user, id, now).await? {
            audit::append(tx, &family, now.0, &actor, "order.paid", &json!({ "order": id })).await?;
        }
        let order = order::find(tx, user, id).await?.ok_or(ApiCode::NotFound)?.order;
        match order.ended_at {
            None => Ok(Reply::ok(&OrderDocument::from(order))),
            Some(_) => Err(Problem::with(ApiCode::Conflict, "the order has ended: return the money, or leave the payment to it aside")),
        }
    })
    .await
}
