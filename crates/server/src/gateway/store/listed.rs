//! What the gateway's operator looks through: exchanges by state and age, what came in, months.

use counterfoil_core::{AccountId, Currency, Money, PaymentId, PostingId, Timestamp};

use super::exchange::{ExchangeRow, State};
use super::repayment::Stands;
use crate::db::{DbError, FromRow, Row, Tx};
use crate::gateway::ledger::Period;
use crate::gateway::ledger::posting::Kind;

/// Exchanges of these states, or of all where none is named, not changed after `until`; newest first, by ID, before the one that was listed last.
/// IDs begin with the time that they were drawn at.
///
/// # Errors
/// A failure of the database.
pub async fn exchanges(tx: &mut Tx, states: &[State], until: Timestamp, before: &str, limit: i64) -> Result<Vec<ExchangeRow>, DbError> {
    // Nothing sorts behind a brace in what IDs are written with.
    let before = if before.is_empty() { "~" } else { before };
    // No more than three are asked for together; the last stands for those that are not.
    let named = |at: usize| states.get(at).or(states.last()).map_or("", |state| state.as_str());
    tx.query(
        "SELECT account_id, exchange_id, state, title_id, title_name, currency, amount, operator_part, card_id, envelope, expires_at,
           undo_why, undo_note, tries, next_at, trouble, created_at, changed_at FROM exchange
         WHERE exchange_id < $1 AND ($2 = '' OR state IN ($2, $3, $4)) AND changed_at <= $5 ORDER BY exchange_id DESC LIMIT $6",
    )
    .bind(before)
    .bind(named(0))
    .bind(named(1))
    .bind(named(2))
    .bind(until.0)
    .bind(limit)
    .all()
    .await
}

/// Exchanges that are on their way and have stood where they stand since before `until`: how many, and the oldest's time.
///
/// # Errors
/// A failure of the database.
pub async fn stuck(tx: &mut Tx, until: Timestamp) -> Result<(i64, Option<Timestamp>), DbError> {
    let sql = "SELECT COUNT(*), MIN(changed_at) FROM exchange WHERE state IN ('reserved', 'committing', 'undoing') AND changed_at < $1";
    tx.query(sql).bind(until.0).one().await
}

/// Money that came in.
#[derive(Clone, Debug)]
pub struct PaidIn {
    /// Whose.
    pub account: AccountId,
    /// Their name.
    pub name: String,
    /// Which posting.
    pub posting: PostingId,
    /// `top_up` or `voucher`.
    pub kind: Kind,
    /// How much the account got.
    pub money: Money,
    /// What being paid has cost, in minor units.
    pub fee: i64,
    /// What of it was not spent, in minor units.
    pub remaining: i64,
    /// When the bank took it back.
    pub ended_at: Option<Timestamp>,
    /// When.
    pub at: Timestamp,
    /// Who booked it.
    pub actor: String,
    /// Where from, in words.
    pub note: String,
}

impl FromRow for PaidIn {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, name, posting, kind, currency) = (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        let (amount, fee, remaining): (i64, i64, i64) = (row.column()?, row.column()?, row.column()?);
        let (ended_at, at, actor, note) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let money = Money { amount: amount.unsigned_abs(), currency };
        Ok(Self { account, name, posting, kind, money, fee, remaining, ended_at, at, actor, note })
    }
}

/// What came in, newest first, before the one at this place; of one account, where one is named.
///
/// # Errors
/// A failure of the database.
pub async fn paid_in(tx: &mut Tx, account: Option<AccountId>, before: (Timestamp, &str), limit: i64) -> Result<Vec<PaidIn>, DbError> {
    let of = account.map(|account| account.to_string()).unwrap_or_default();
    tx.query(
        "SELECT p.account_id, a.name, p.posting_id, p.kind, p.currency, p.customer, -p.fees, l.remaining, l.ended_at, p.booked_at, p.actor, p.note
         FROM posting p JOIN account a ON a.account_id = p.account_id JOIN lot l ON l.account_id = p.account_id AND l.lot_id = p.posting_id
         WHERE p.kind IN ('top_up', 'voucher') AND ($1 = '' OR p.account_id = $1)
           AND (p.booked_at < $2 OR p.booked_at = $2 AND p.posting_id < $3) ORDER BY p.booked_at DESC, p.posting_id DESC LIMIT $4",
    )
    .bind(&of)
    .bind(before.0.0)
    .bind(before.1)
    .bind(limit)
    .all()
    .await
}

/// A payment that came in, by its posting.
///
/// # Errors
/// A failure of the database.
pub async fn one_paid_in(tx: &mut Tx, account: AccountId, posting: PostingId) -> Result<Option<PaidIn>, DbError> {
    tx.query(
        "SELECT p.account_id, a.name, p.posting_id, p.kind, p.currency, p.customer, -p.fees, l.remaining, l.ended_at, p.booked_at, p.actor, p.note
         FROM posting p JOIN account a ON a.account_id = p.account_id JOIN lot l ON l.account_id = p.account_id AND l.lot_id = p.posting_id
         WHERE p.account_id = $1 AND p.posting_id = $2 AND p.kind IN ('top_up', 'voucher')",
    )
    .bind(account.to_string())
    .bind(posting.to_string())
    .opt()
    .await
}

/// Months that something is shared in, newest first: what they come to by currency, and when each was settled.
#[derive(Clone, Debug)]
pub struct Month {
    /// Which.
    pub period: Period,
    /// When it was settled.
    pub closed_at: Option<Timestamp>,
}

impl FromRow for Month {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { period: row.column()?, closed_at: row.column()? })
    }
}

/// Months with something booked, or settled; newest first, before one that was listed last.
///
/// # Errors
/// A failure of the database.
pub async fn months(tx: &mut Tx, before: &str, limit: i64) -> Result<Vec<Month>, DbError> {
    let before = if before.is_empty() { "9999-99" } else { before };
    tx.query(
        "SELECT m.period, s.closed_at FROM (SELECT DISTINCT period FROM posting WHERE kind IN ('charge', 'refund', 'chargeback') AND period < $1
             UNION SELECT period FROM settled_period WHERE period < $1) m
           LEFT JOIN settled_period s ON s.period = m.period ORDER BY m.period DESC LIMIT $2",
    )
    .bind(before)
    .bind(limit)
    .all()
    .await
}

/// What an account was low of, where its owner wants to know: name, address, what they want, what they hold.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Which account.
    pub account: AccountId,
    /// Where to reach its owner.
    pub email: Option<String>,
    /// Below this they want to know, in minor units.
    pub low: i64,
    /// Of this.
    pub currency: Currency,
    /// What can be spent.
    pub available: i64,
    /// Whether they were told.
    pub told: bool,
}

impl FromRow for Watched {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, email, low, currency, available) = (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self { account, email, low, currency, available, told: row.column::<i64>()? > 0 })
    }
}

/// Accounts that stand otherwise than their owners were told: low and not told, or told and not low any more; also those that are watched no more.
///
/// # Errors
/// A failure of the database.
pub async fn low(tx: &mut Tx, limit: i64) -> Result<Vec<Watched>, DbError> {
    tx.query(
        "SELECT w.account_id, w.email, w.low, w.currency, w.available, w.told FROM (
           SELECT a.account_id, a.email, a.low_amount AS low, a.low_currency AS currency, COALESCE(b.posted - b.reserved, 0) AS available,
             CASE WHEN EXISTS (SELECT 1 FROM alert t WHERE t.kind = 'low_balance' AND t.subject = a.account_id AND t.over_at IS NULL)
               THEN 1 ELSE 0 END AS told
           FROM account a LEFT JOIN balance b ON b.account_id = a.account_id AND b.currency = a.low_currency
           WHERE a.low_amount IS NOT NULL AND a.closed_at IS NULL) w
         WHERE (w.available < w.low AND w.told = 0) OR (w.available >= w.low AND w.told = 1) ORDER BY w.account_id LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// A card holder's objection that is not decided, with whose payment it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objected {
    /// The provider's name for it.
    pub dispute: String,
    /// Whose account it was paid into.
    pub account: AccountId,
    /// That account's name.
    pub name: String,
    /// The top-up that the payment is booked as.
    pub posting: PostingId,
    /// Where it stands.
    pub stands: Stands,
    /// How much it is about.
    pub money: Money,
    /// When it was first heard of.
    pub since: Timestamp,
}

impl FromRow for Objected {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (dispute, account, name, posting, stands) = (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        let amount: i64 = row.column()?;
        let money = Money { amount: amount.unsigned_abs(), currency: row.column()? };
        Ok(Self { dispute, account, name, posting, stands, money, since: row.column()? })
    }
}

/// Up to `limit` objections that are not decided.
///
/// # Errors
/// A failure of the database.
pub async fn objected(tx: &mut Tx, limit: i64) -> Result<Vec<Objected>, DbError> {
    tx.query(
        "SELECT d.dispute, d.account_id, a.name, p.posting_id, d.state, d.amount, p.currency, d.created_at
         FROM dispute d JOIN payment p ON p.account_id = d.account_id AND p.payment_id = d.payment_id
              JOIN account a ON a.account_id = d.account_id
         WHERE d.state IN ('inquiry', 'taking', 'open') ORDER BY d.state, d.dispute LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// The provider's name for the objection to a top-up that is not decided, where there is one.
///
/// # Errors
/// A failure of the database.
pub async fn objection(tx: &mut Tx, account: AccountId, posting: PostingId) -> Result<Option<String>, DbError> {
    let sql = "SELECT d.dispute FROM payment p JOIN dispute d ON d.account_id = p.account_id AND d.payment_id = p.payment_id
               WHERE p.account_id = $1 AND p.posting_id = $2 AND d.state IN ('inquiry', 'taking', 'open') ORDER BY d.dispute LIMIT 1";
    let found: Option<(String,)> = tx.query(sql).bind(account.to_string()).bind(posting.to_string()).opt().await?;
    Ok(found.map(|(dispute,)| dispute))
}

/// A payment that a card had promised and that never came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub payment: PaymentId,
    /// The name of the account that it was for.
    pub name: String,
    /// How much of it was booked, and is booked back.
    pub money: Money,
    /// When that was.
    pub at: Timestamp,
}

impl FromRow for Lost {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (payment, name) = (row.column()?, row.column()?);
        let amount: i64 = row.column()?;
        let money = Money { amount: amount.unsigned_abs(), currency: row.column()? };
        Ok(Self { payment, name, money, at: row.column()? })
    }
}

/// Up to `limit` payments that were lost since a moment.
///
/// # Errors
/// A failure of the database.
pub async fn lost(tx: &mut Tx, since: Timestamp, limit: i64) -> Result<Vec<Lost>, DbError> {
    tx.query(
        "SELECT p.payment_id, a.name, p.taken, p.currency, p.changed_at FROM payment p JOIN account a ON a.account_id = p.account_id
         WHERE p.state = 'lost' AND p.changed_at > $1 ORDER BY p.changed_at, p.payment_id LIMIT $2",
    )
    .bind(since.0)
    .bind(limit)
    .all()
    .await
}
