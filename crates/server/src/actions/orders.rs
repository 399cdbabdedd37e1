//! What the user has ordered, as a terminal asks for it. It changes nothing and leaves no trace.

use counterfoil_core::rules::order::OrderState;
use counterfoil_core::rules::refund::refundable_until;
use counterfoil_core::wire::{OrderedTitle, Orders, OrdersResult};
use counterfoil_core::{Timestamp, UserId};

use super::asked::{self, Asked, Decided};
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::order::Ordered;
use crate::store::{balance, order};

/// Answers with the orders, for the user's device.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Orders, now: Timestamp) -> Result<Decided, Problem> {
    if let Err((refusal, family)) = signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        return asked::refuse(app, family, "orders", "terminal", refusal, now).await;
    }
    Ok(Ok(serde_json::to_value(of_user(app, ask.user_id, now).await?).map_err(Problem::internal)?))
}

/// The user's orders, and what is left of what was paid in advance.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(app: &App, user: UserId, now: Timestamp) -> Result<OrdersResult, Problem> {
    app.db
        .read("orders", async move |tx: &mut Tx| -> Result<OrdersResult, Problem> {
            let orders = order::of_user(tx, user).await?.into_iter().map(|ordered| shown(ordered, now)).collect();
            Ok(OrdersResult { orders, balance: balance::of_user(tx, user).await? })
        })
        .await
}

fn shown(ordered: Ordered, now: Timestamp) -> OrderedTitle {
    let Ordered { order, name, policy, expires_at, .. } = ordered;
    let refundable = refundable_until(order.kind, policy.refund_days, order.created_at);
    OrderedTitle {
        order_id: order.order,
        title: order.title,
        name,
        device_id: order.device,
        kind: order.kind,
        charged: order.charge,
        payment: order.payment,
        state: order.state,
        since: order.created_at,
        expires_at,
        refundable_until: refundable.filter(|end| order.state != OrderState::Ended && *end > now),
        ended_at: order.ended_at,
        reason: order.reason,
    }
}
