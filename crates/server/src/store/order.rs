//! Orders, in the user's family, and what they are decided on: the offer of a title (D2, D3).

use counterfoil_core::rules::order::{Decision, Offer, OrderKind, OrderState, Payment};
use counterfoil_core::rules::refund::Why;
use counterfoil_core::{Currency, DeviceId, EntitlementId, MediumId, Money, OrderId, Policy, RequestId, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Orders of one user that are listed.
const MOST: i64 = 1000;

macro_rules! from_words {
    ($($kind:ty),*) => {$(
        impl FromValue for $kind {
            fn from_value(value: Value<'static>) -> Result<Self, String> {
                let text = String::from_value(value)?;
                <$kind>::parse(&text).ok_or_else(|| format!("{text:?} is no {}", stringify!($kind)))
            }
        }
    )*};
}

from_words!(OrderKind, Payment, OrderState);

/// A row of `orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub order: OrderId,
    /// Of what.
    pub title: TitleId,
    /// For which device.
    pub device: DeviceId,
    /// What it is.
    pub kind: OrderKind,
    /// What was charged; absent for a trial.
    pub charge: Option<Money>,
    /// How.
    pub payment: Payment,
    /// Where it stands.
    pub state: OrderState,
    /// Who made it.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// By what.
    pub reason: Option<String>,
    /// The exchange through a gateway that paid for it (C17).
    pub exchange: Option<RequestId>,
    /// The copy that it pays for, where it is one (C18).
    pub copy: Option<OfCopy>,
}

/// What an order pays for that is neither a purchase nor a trial: a copy of a medium, asked for by one request (C18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfCopy {
    /// Of which medium.
    pub medium: MediumId,
    /// The request that it is granted to.
    pub request: RequestId,
    /// Over the bytes that the terminal signed.
    pub digest: Vec<u8>,
}

/// Reads orders, with the columns as [`OrderRow`] takes them.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, paid_at, ended_at, reason,
                    exchange_id, medium_id, request_id, request_digest
             FROM orders ",
            $which
        )
    };
}

pub(super) use select;

impl FromRow for OrderRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            user: row.column()?,
            order: row.column()?,
            title: row.column()?,
            device: row.column()?,
            kind: row.column()?,
            charge: match (row.column::<Option<Currency>>()?, row.column::<Option<i64>>()?) {
                (Some(currency), Some(amount)) => Some(Money { currency, amount: amount.unsigned_abs() }),
                _ => None,
            },
            payment: row.column()?,
            state: row.column()?,
            actor: row.column()?,
            created_at: row.column()?,
            paid_at: row.column()?,
            ended_at: row.column()?,
            reason: row.column()?,
            exchange: row.column()?,
            copy: match (row.column::<Option<MediumId>>()?, row.column::<Option<RequestId>>()?, row.column::<Option<Vec<u8>>>()?) {
                (Some(medium), Some(request), Some(digest)) => Some(OfCopy { medium, request, digest }),
                _ => None,
            },
        })
    }
}

/// What a title is sold under; nothing where it is not listed.
///
/// # Errors
/// A failure of the database.
pub async fn offer(tx: &mut Tx, title: &TitleId) -> Result<Option<Offer>, DbError> {
    let listed: Option<(i64, Policy, i64)> = tx
        .query(
            "SELECT l.on_sale, l.policy, EXISTS (SELECT 1 FROM release r
                 WHERE r.title_id = l.title_id AND r.held_at IS NULL AND r.withdrawn_at IS NULL AND r.rollout = 100)
             FROM listing l WHERE l.title_id = $1",
        )
        .bind(title.as_str())
        .opt()
        .await?;
    let Some((on_sale, policy, released)) = listed else { return Ok(None) };
    let prices: Vec<(Currency, i64)> =
        tx.query("SELECT currency, amount FROM price WHERE title_id = $1 ORDER BY currency LIMIT 1000").bind(title.as_str()).all().await?;
    let prices = prices.into_iter().map(|(currency, amount)| Money { currency, amount: amount.unsigned_abs() }).collect();
    Ok(Some(Offer { on_sale: on_sale != 0, released: released != 0, prices, policy }))
}

/// Whether the user has tried the title at any time.
///
/// # Errors
/// A failure of the database.
pub async fn tried(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<bool, DbError> {
    let found: Option<(i64,)> = tx
        .query("SELECT created_at FROM orders WHERE user_id = $1 AND title_id = $2 AND kind = 'trial'")
        .bind(user.to_string())
        .bind(title.as_str())
        .opt()
        .await?;
    Ok(found.is_some())
}

/// What a user has of a title by an order, or because it was selected, that has neither been ended nor run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Had {
    /// Which order; absent where it was selected.
    pub order: Option<OrderId>,
    /// Bought, or being tried. What was selected counts as bought.
    pub kind: OrderKind,
    /// The right that came of it.
    pub entitlement: EntitlementId,
    /// Devices that have a license by it.
    pub devices: u32,
    /// Its terms.
    pub policy: Policy,
    /// Whether the device that was named is one of them.
    pub here: bool,
}

impl FromRow for Had {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            order: row.column()?,
            kind: row.column()?,
            entitlement: row.column()?,
            devices: row.column()?,
            policy: row.column()?,
            here: row.column::<i64>()? != 0,
        })
    }
}

/// What a user has of a title by no medium, as seen from a device.
///
/// # Errors
/// A failure of the database.
pub async fn had(tx: &mut Tx, user: UserId, title: &TitleId, device: DeviceId, now: Timestamp) -> Result<Vec<Had>, DbError> {
    tx.query(
        "SELECT o.order_id, COALESCE(o.kind, 'purchase'), e.entitlement_id, e.devices, e.policy,
                EXISTS (SELECT 1 FROM license l WHERE l.user_id = e.user_id AND l.entitlement_id = e.entitlement_id
                        AND l.device_id = $3 AND l.state <> 'ended')
         FROM entitlement e LEFT JOIN orders o ON o.user_id = e.user_id AND o.order_id = e.order_id
         WHERE e.user_id = $1 AND e.title_id = $2 AND e.source <> 'medium' AND e.state = 'active' AND (e.expires_at IS NULL OR e.expires_at > $4)
         ORDER BY e.created_at, e.entitlement_id LIMIT $5",
    )
    .bind(user.to_string())
    .bind(title.as_str())
    .bind(device.to_string())
    .bind(now.0)
    .bind(MOST)
    .all()
    .await
}

/// What an order is, besides what was decided.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// Which.
    pub order: OrderId,
    /// Of what.
    pub title: &'a TitleId,
    /// For which device.
    pub device: DeviceId,
    /// Who makes it.
    pub actor: &'a str,
    /// The exchange that pays for it.
    pub exchange: Option<RequestId>,
    /// The copy that it pays for.
    pub copy: Option<&'a OfCopy>,
}

/// Keeps an order; false where it is a trial, and another process has kept one of this title meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, placed: &Placed<'_>, decision: &Decision, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO orders (user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, paid_at,
                                 exchange_id, medium_id, request_id, request_digest)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
        )
        .bind(user.to_string())
        .bind(placed.order.to_string())
        .bind(placed.title.as_str())
        .bind(placed.device.to_string())
        .bind(decision.kind.as_str())
        .bind(decision.charge.map(|charge| charge.currency.to_string()))
        .bind(decision.charge.map(|charge| i64::try_from(charge.amount).unwrap_or(i64::MAX)))
        .bind(decision.payment.as_str())
        .bind(decision.state.as_str())
        .bind(placed.actor)
        .bind(now.0)
        .bind((decision.state == OrderState::Paid).then_some(now.0))
        .bind(placed.exchange.map(|id| id.to_string()))
        .bind(placed.copy.map(|copy| copy.medium.to_string()))
        .bind(placed.copy.map(|copy| copy.request.to_string()))
        .bind(placed.copy.map(|copy| copy.digest.clone()))
        .execute()
        .await?;
    Ok(changed == 1)
}

/// An order with the terms that its entitlement keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The order.
    pub order: OrderRow,
    /// The title's name, for people.
    pub name: String,
    /// What came of it; a copy's are its medium's (C18).
    pub entitlement: Option<EntitlementId>,
    /// The terms.
    pub policy: Policy,
    /// When it ends by them.
    pub expires_at: Option<Timestamp>,
}

/// The same, with the columns as [`Ordered`] takes them.
macro_rules! select_ordered {
    ($which:literal) => {
        concat!(
            "SELECT o.user_id, o.order_id, o.title_id, o.device_id, o.kind, o.currency, o.amount, o.payment, o.state, o.actor, o.created_at,
                    o.paid_at, o.ended_at, o.reason, o.exchange_id, o.medium_id, o.request_id, o.request_digest, t.name, e.entitlement_id,
                    e.policy, e.expires_at
             FROM orders o LEFT JOIN entitlement e ON e.user_id = o.user_id AND e.order_id = o.order_id
                  JOIN title t ON t.title_id = o.title_id ",
            $which
        )
    };
}

impl FromRow for Ordered {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let order = OrderRow::from_row(row)?;
        let (name, entitlement, policy) = (row.column()?, row.column()?, row.column::<Option<Policy>>()?.unwrap_or_default());
        Ok(Self { order, name, entitlement, policy, expires_at: row.column()? })
    }
}

/// One order of a user, whatever its state.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, order: OrderId) -> Result<Option<Ordered>, DbError> {
    tx.query(select_ordered!("WHERE o.user_id = $1 AND o.order_id = $2")).bind(user.to_string()).bind(order.to_string()).opt().await
}

/// The order that an exchange paid for.
///
/// # Errors
/// A failure of the database.
pub async fn of_exchange(tx: &mut Tx, user: UserId, exchange: RequestId) -> Result<Option<OrderId>, DbError> {
    let sql = "SELECT order_id FROM orders WHERE user_id = $1 AND exchange_id = $2";
    let found: Option<(OrderId,)> = tx.query(sql).bind(user.to_string()).bind(exchange.to_string()).opt().await?;
    Ok(found.map(|(order,)| order))
}

/// The order that pays for the copy that a request asks for (C18).
///
/// # Errors
/// A failure of the database.
pub async fn of_request(tx: &mut Tx, user: UserId, request: RequestId) -> Result<Option<OrderRow>, DbError> {
    tx.query(select!("WHERE user_id = $1 AND request_id = $2")).bind(user.to_string()).bind(request.to_string()).opt().await
}

/// Notes that the copy was granted that an order pays for: it stands as its payment says. False where that was noted before, or it has ended.
///
/// # Errors
/// A failure of the database.
pub async fn granted(tx: &mut Tx, user: UserId, order: OrderId, state: OrderState, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE orders SET state = $3, paid_at = $4 WHERE user_id = $1 AND order_id = $2 AND state = 'open'")
        .bind(user.to_string())
        .bind(order.to_string())
        .bind(state.as_str())
        .bind((state == OrderState::Paid).then_some(now.0))
        .execute()
        .await?;
    Ok(changed == 1)
}

/// The orders of a user, newest first: the newest thousand.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<Ordered>, DbError> {
    tx.query(select_ordered!("WHERE o.user_id = $1 ORDER BY o.created_at DESC, o.order_id LIMIT $2"))
        .bind(user.to_string())
        .bind(MOST)
        .all()
        .await
}

/// Up to `limit` orders of everybody in the order in which they were made, after the one that `after` names; of one state, or of all.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, state: Option<OrderState>, after: &(Timestamp, String), limit: i64) -> Result<Vec<OrderRow>, DbError> {
    tx.query(select!("WHERE (created_at, order_id) > ($1, $2) AND ($3 = '' OR state = $3) ORDER BY created_at, order_id LIMIT $4"))
        .bind(after.0.0)
        .bind(&after.1)
        .bind(state.map_or("", OrderState::as_str))
        .bind(limit)
        .all()
        .await
}

/// Notes that an order was paid; false where it was not due.
///
/// # Errors
/// A failure of the database.
pub async fn pay(tx: &mut Tx, user: UserId, order: OrderId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE orders SET state = 'paid', paid_at = $3 WHERE user_id = $1 AND order_id = $2 AND state = 'due'")
        .bind(user.to_string())
        .bind(order.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Ends an order; false where it has ended before.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, user: UserId, order: OrderId, why: Why, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE orders SET state = 'ended', ended_at = $3, reason = $4 WHERE user_id = $1 AND order_id = $2 AND state <> 'ended'")
        .bind(user.to_string())
        .bind(order.to_string())
        .bind(now.0)
        .bind(why.as_str())
        .execute()
        .await?;
    Ok(changed == 1)
}
