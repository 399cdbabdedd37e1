//! What a user has paid in advance, in the user's family: an amount in each currency, which is never changed without the entry that says why.

use counterfoil_core::{Currency, Money, OrderId, Timestamp, UserId};

use crate::db::{DbError, Tx};

/// The most that a balance holds, in minor units: what an `f64` in somebody's spreadsheet still counts exactly.
pub const MOST: u64 = 1 << 53;

/// Why a balance changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Paid in.
    TopUp,
    /// Charged for an order.
    Order(OrderId),
    /// Given back for an order.
    Refund(OrderId),
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Reason::TopUp => "top_up",
            Reason::Order(_) => "order",
            Reason::Refund(_) => "refund",
        }
    }

    fn order(self) -> Option<OrderId> {
        match self {
            Reason::TopUp => None,
            Reason::Order(order) | Reason::Refund(order) => Some(order),
        }
    }
}

/// Who changes a balance, when, and under which ID it is written down.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Random.
    pub entry: [u8; 16],
    /// Why.
    pub reason: Reason,
    /// As in the audit log.
    pub actor: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Takes an amount; false, and nothing is changed, where there is not as much.
///
/// # Errors
/// A failure of the database.
pub async fn take(tx: &mut Tx, user: UserId, money: Money, change: Change<'_>) -> Result<bool, DbError> {
    let Some(amount) = minor(money) else { return Ok(false) };
    let changed = tx
        .query("UPDATE balance SET amount = amount - $3 WHERE user_id = $1 AND currency = $2 AND amount >= $3")
        .bind(user.to_string())
        .bind(money.currency.as_str())
        .bind(amount)
        .execute()
        .await?;
    if changed == 1 {
        enter(tx, user, money.currency, -amount, change).await?;
    }
    Ok(changed == 1)
}

/// Adds an amount; false, and nothing is changed, where a balance cannot hold as much.
///
/// # Errors
/// A failure of the database.
pub async fn add(tx: &mut Tx, user: UserId, money: Money, change: Change<'_>) -> Result<bool, DbError> {
    let Some(amount) = minor(money) else { return Ok(false) };
    let changed = tx
        .query(
            "INSERT INTO balance (user_id, currency, amount) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, currency) DO UPDATE SET amount = balance.amount + excluded.amount
             WHERE balance.amount <= $4 - excluded.amount",
        )
        .bind(user.to_string())
        .bind(money.currency.as_str())
        .bind(amount)
        .bind(i64::try_from(MOST).unwrap_or(i64::MAX))
        .execute()
        .await?;
    if changed == 1 {
        enter(tx, user, money.currency, amount, change).await?;
    }
    Ok(changed == 1)
}

fn minor(money: Money) -> Option<i64> {
    (money.amount <= MOST).then(|| i64::try_from(money.amount).ok()).flatten()
}

async fn enter(tx: &mut Tx, user: UserId, currency: Currency, amount: i64, change: Change<'_>) -> Result<(), DbError> {
    let entry: String = change.entry.iter().map(|byte| format!("{byte:02x}")).collect();
    tx.query(
        "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, order_id, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(user.to_string())
    .bind(entry)
    .bind(currency.as_str())
    .bind(amount)
    .bind(change.reason.as_str())
    .bind(change.reason.order().map(|order| order.to_string()))
    .bind(change.actor)
    .bind(change.now.0)
    .execute()
    .await
    .map(drop)
}

/// What a user has in each currency, those with nothing in them left out.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<Money>, DbError> {
    let rows: Vec<(Currency, i64)> = tx
        .query("SELECT currency, amount FROM balance WHERE user_id = $1 AND amount > 0 ORDER BY currency LIMIT 1000")
        .bind(user.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(currency, amount)| Money { currency, amount: amount.unsigned_abs() }).collect())
}

/// What a user has in a currency.
///
/// # Errors
/// A failure of the database.
pub async fn left(tx: &mut Tx, user: UserId, currency: Currency) -> Result<Money, DbError> {
    let held = of_user(tx, user).await?.into_iter().find(|held| held.currency == currency);
    Ok(held.unwrap_or(Money { currency, amount: 0 }))
}

/// Whether anybody has registered this user: a shop, or the user.
///
/// # Errors
/// A failure of the database.
pub async fn is_user(tx: &mut Tx, user: UserId) -> Result<bool, DbError> {
    let (known,): (i64,) = tx
        .query(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM user_entry WHERE user_id = $1) OR EXISTS (SELECT 1 FROM user_info WHERE user_id = $1)
               THEN 1 ELSE 0 END",
        )
        .bind(user.to_string())
        .one()
        .await?;
    Ok(known != 0)
}
