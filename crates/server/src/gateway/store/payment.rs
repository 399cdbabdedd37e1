//! Payments by card (C17): where each stands, before the next step is taken. The table's comment draws the states.

use counterfoil_core::{AccountId, Money, PaymentId, PostingId, RequestId, Timestamp};

use crate::db::{DbError, FromRow, Row, Tx};
use crate::gateway::ledger::posting::Exchange;

pub use state::State;

mod state;

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT account_id, payment_id, exchange_id, state, currency, amount, taken, keep_card, card, intent, posting_id, failure, fee,
                    ends_at, tries, next_at, trouble, created_at, changed_at
             FROM payment ",
            $which
        )
    };
}

/// What a payment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To have it on the account.
    TopUp,
    /// What this exchange costs beyond the balance.
    Exchange(RequestId),
}

/// A payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: PaymentId,
    /// What for.
    pub purpose: Purpose,
    /// Where it stands.
    pub state: State,
    /// How much the provider is asked for.
    pub money: Money,
    /// How much of it is booked, in minor units.
    pub taken: u64,
    /// Whether the card is kept when it has paid.
    pub keep: bool,
    /// The kept card that it is to be paid from.
    pub card: Option<String>,
    /// The provider's name for it.
    pub intent: Option<String>,
    /// What it is booked as.
    pub posting: PostingId,
    /// Why nothing was paid, for its payer.
    pub failure: Option<String>,
    /// What the provider has asked for it, where that is known.
    pub fee: Option<i64>,
    /// When it is given up, or the card's promise ends.
    pub ends_at: Option<Timestamp>,
    /// How often it was driven without coming further.
    pub tries: i64,
    /// When it is looked at next; none where nothing is to be done.
    pub next_at: Option<Timestamp>,
    /// What stood in the way last.
    pub trouble: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

impl PaymentRow {
    /// One that is begun.
    pub fn new(account: AccountId, id: PaymentId, purpose: Purpose, money: Money, next_at: Timestamp, now: Timestamp) -> Self {
        Self {
            account,
            id,
            purpose,
            state: State::Begun,
            money,
            taken: 0,
            keep: false,
            card: None,
            intent: None,
            posting: posting_id(id, "money"),
            failure: None,
            fee: None,
            ends_at: None,
            tries: 0,
            next_at: Some(next_at),
            trouble: None,
            created_at: now,
            changed_at: now,
        }
    }

    /// Its key in the table.
    pub fn of(&self) -> (AccountId, PaymentId) {
        (self.account, self.id)
    }
}

/// The ID of a posting of a payment: the same every time, so that no repeat books twice.
pub fn posting_id(payment: PaymentId, step: &str) -> PostingId {
    derived(payment.as_bytes(), step)
}

pub(in crate::gateway) fn derived(of: &[u8], step: &str) -> PostingId {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-11 ID of a posting of a payment");
    hasher.update(of).update(step.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    PostingId::from_bytes(id)
}

impl FromRow for PaymentRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, id) = (row.column()?, row.column()?);
        let exchange: Option<Exchange> = row.column()?;
        let (state, currency) = (row.column()?, row.column()?);
        let (amount, taken, keep): (i64, i64, i64) = (row.column()?, row.column()?, row.column()?);
        let (card, intent, posting, failure) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let (fee, ends_at, tries, next_at) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self {
            account,
            id,
            purpose: exchange.map_or(Purpose::TopUp, |Exchange(id)| Purpose::Exchange(id)),
            state,
            // Neither is negative: the table's CHECKs.
            money: Money { amount: amount.unsigned_abs(), currency },
            taken: taken.unsigned_abs(),
            keep: keep != 0,
            card,
            intent,
            posting,
            failure,
            fee,
            ends_at,
            tries,
            next_at,
            trouble: row.column()?,
            created_at: row.column()?,
            changed_at: row.column()?,
        })
    }
}

fn minor(amount: u64) -> Result<i64, DbError> {
    i64::try_from(amount).map_err(|_| DbError::Constraint("an amount is too large".to_owned()))
}

/// Writes a payment down, unless it is there already, whoever's it is.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, row: &PaymentRow) -> Result<(), DbError> {
    let (purpose, exchange) = match row.purpose {
        Purpose::TopUp => ("top_up", None),
        Purpose::Exchange(id) => ("exchange", Some(id.to_string())),
    };
    tx.query(
        "INSERT INTO payment (account_id, payment_id, purpose, exchange_id, state, currency, amount, keep_card, card, posting_id, next_at, created_at,
           changed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12) ON CONFLICT (payment_id) DO NOTHING",
    )
    .bind(row.account.to_string())
    .bind(row.id.to_string())
    .bind(purpose)
    .bind(exchange)
    .bind(row.state.as_str())
    .bind(row.money.currency.as_str())
    .bind(minor(row.money.amount)?)
    .bind(i64::from(row.keep))
    .bind(row.card.as_deref())
    .bind(row.posting.to_string())
    .bind(row.next_at.map(|at| at.0))
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// A payment, whoever's it is.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, payment: PaymentId) -> Result<Option<PaymentRow>, DbError> {
    tx.query(select!("WHERE payment_id = $1")).bind(payment.to_string()).opt().await
}

/// The payment that a provider has this name for.
///
/// # Errors
/// A failure of the database.
pub async fn by_intent(tx: &mut Tx, intent: &str) -> Result<Option<PaymentRow>, DbError> {
    tx.query(select!("WHERE intent = $1")).bind(intent).opt().await
}

/// The payments for an exchange, in the order that they were begun in.
///
/// # Errors
/// A failure of the database.
pub async fn of_exchange(tx: &mut Tx, account: AccountId, exchange: RequestId) -> Result<Vec<PaymentRow>, DbError> {
    tx.query(select!("WHERE account_id = $1 AND exchange_id = $2 ORDER BY created_at, payment_id LIMIT 100"))
        .bind(account.to_string())
        .bind(exchange.to_string())
        .all()
        .await
}

/// Payments that are to be looked at, the one that has waited longest first.
///
/// # Errors
/// A failure of the database.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<PaymentRow>, DbError> {
    tx.query(select!("WHERE next_at IS NOT NULL AND next_at <= $1 ORDER BY next_at, payment_id LIMIT $2"))
        .bind(now.0)
        .bind(limit)
        .all()
        .await
}

/// Payments of an account, newest first, behind the one at `before`.
///
/// # Errors
/// A failure of the database.
pub async fn of_account(tx: &mut Tx, account: AccountId, before: (Timestamp, &str), limit: i64) -> Result<Vec<PaymentRow>, DbError> {
    tx.query(select!(
        "WHERE account_id = $1 AND (created_at < $2 OR created_at = $2 AND payment_id < $3)
         ORDER BY created_at DESC, payment_id DESC LIMIT $4"
    ))
    .bind(account.to_string())
    .bind(before.0.0)
    .bind(before.1)
    .bind(limit)
    .all()
    .await
}

/// All payments behind an ID, by ID; only those that have not ended where that is asked for.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, open: bool, limit: i64) -> Result<Vec<PaymentRow>, DbError> {
    tx.query(select!(
        "WHERE payment_id > $1 AND (CAST($2 AS BIGINT) = 0 OR state NOT IN ('succeeded', 'cancelled', 'lost')) ORDER BY payment_id LIMIT $3"
    ))
    .bind(after)
    .bind(i64::from(open))
    .bind(limit)
    .all()
    .await
}

/// How many have not come to their end.
///
/// # Errors
/// A failure of the database.
pub async fn open(tx: &mut Tx) -> Result<i64, DbError> {
    let sql = "SELECT count(*) FROM payment WHERE next_at IS NOT NULL AND state NOT IN ('succeeded', 'cancelled', 'lost')";
    Ok(tx.query(sql).one::<(i64,)>().await?.0)
}

/// What changes with a step.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The provider's name for it, once that is known.
    pub intent: Option<String>,
    /// Why nothing was paid.
    pub failure: Option<String>,
    /// What is booked of it.
    pub taken: Option<i64>,
    /// What the provider has asked for it.
    pub fee: Option<i64>,
    /// When it is given up, or the card's promise ends.
    pub ends_at: Option<Timestamp>,
    /// When it is looked at next.
    pub next_at: Option<Timestamp>,
}

/// Moves a payment on, from the state that it is in, and to no other. False: it stands elsewhere.
///
/// # Errors
/// A failure of the database.
pub async fn move_on(
    tx: &mut Tx,
    of: (AccountId, PaymentId),
    from: State,
    to: State,
    step: &Step,
    now: Timestamp,
) -> Result<bool, DbError> {
    let moved = tx
        .query(
            "UPDATE payment SET state = $4, intent = COALESCE($5, intent), failure = COALESCE($6, failure), taken = COALESCE($7, taken),
               fee = COALESCE($8, fee), ends_at = COALESCE($9, ends_at), next_at = $10, changed_at = $11, tries = 0, trouble = NULL
             WHERE account_id = $1 AND payment_id = $2 AND state = $3",
        )
        .bind(of.0.to_string())
        .bind(of.1.to_string())
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(step.intent.as_deref())
        .bind(step.failure.as_deref())
        .bind(step.taken)
        .bind(step.fee)
        .bind(step.ends_at.map(|at| at.0))
        .bind(step.next_at.map(|at| at.0))
        .bind(now.0)
        .execute()
        .await?;
    Ok(moved == 1)
}

/// Notes what the provider has asked for a payment that has succeeded, unless that is known.
///
/// # Errors
/// A failure of the database.
pub async fn note_fee(tx: &mut Tx, of: (AccountId, PaymentId), fee: i64) -> Result<bool, DbError> {
    let sql = "UPDATE payment SET fee = $3, next_at = NULL, trouble = NULL WHERE account_id = $1 AND payment_id = $2 AND state = 'succeeded' AND fee IS NULL";
    Ok(tx.query(sql).bind(of.0.to_string()).bind(of.1.to_string()).bind(fee).execute().await? == 1)
}

/// Notes what stands in the way, and when it is looked at again.
///
/// # Errors
/// A failure of the database.
pub async fn put_off(tx: &mut Tx, row: &PaymentRow, trouble: Option<&str>, next_at: Option<Timestamp>) -> Result<(), DbError> {
    let sql = "UPDATE payment SET tries = tries + 1, trouble = $4, next_at = $5 WHERE account_id = $1 AND payment_id = $2 AND state = $3";
    let query = tx.query(sql).bind(row.account.to_string()).bind(row.id.to_string()).bind(row.state.as_str()).bind(trouble);
    query.bind(next_at.map(|at| at.0)).execute().await.map(drop)
}

/// Has a payment looked at now, if anything is still to be done.
///
/// # Errors
/// A failure of the database.
pub async fn hurry(tx: &mut Tx, of: (AccountId, PaymentId), now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE payment SET next_at = $3 WHERE account_id = $1 AND payment_id = $2 AND next_at > $3 AND state NOT IN ('begun', 'authorised')";
    tx.query(sql).bind(of.0.to_string()).bind(of.1.to_string()).bind(now.0).execute().await?;
    let sql = "UPDATE repayment SET next_at = $3 WHERE account_id = $1 AND payment_id = $2 AND next_at > $3";
    tx.query(sql).bind(of.0.to_string()).bind(of.1.to_string()).bind(now.0).execute().await.map(drop)
}

/// Binds what a card has promised to its exchange; false where it is given up by now.
///
/// # Errors
/// A failure of the database.
pub async fn hold(tx: &mut Tx, of: (AccountId, PaymentId), taken: i64, next_at: Timestamp, now: Timestamp) -> Result<bool, DbError> {
    let step = Step { taken: Some(taken), next_at: Some(next_at), ..Step::default() };
    move_on(tx, of, State::Authorised, State::Held, &step, now).await
}

/// Lets go what cards have promised for an exchange that is void; answers what that was booked as.
///
/// # Errors
/// A failure of the database.
pub async fn let_go(
    tx: &mut Tx,
    account: AccountId,
    exchange: RequestId,
    now: Timestamp,
) -> Result<Option<(PaymentId, PostingId)>, DbError> {
    tx.query(
        "UPDATE payment SET state = 'cancelling', next_at = $3, changed_at = $3, tries = 0, trouble = NULL
         WHERE account_id = $1 AND exchange_id = $2 AND state = 'held' RETURNING payment_id, posting_id",
    )
    .bind(account.to_string())
    .bind(exchange.to_string())
    .bind(now.0)
    .opt()
    .await
}
