//! What goes back to the cards of top-ups, and what card holders object to (C17).

use counterfoil_core::{AccountId, Money, PaymentId, PostingId, Timestamp};
use serde::Serialize;

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Money on its way back to a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepaymentRow {
    /// Whose.
    pub account: AccountId,
    /// What it is booked as; its name.
    pub posting: PostingId,
    /// What it is booked back as, where the provider does not do it.
    pub failed: PostingId,
    /// Of which payment.
    pub payment: PaymentId,
    /// `begun`, `succeeded` or `failed`.
    pub state: String,
    /// How much.
    pub money: Money,
    /// The provider's name for it.
    pub refund: Option<String>,
    /// How often it was driven.
    pub tries: i64,
    /// When it was booked.
    pub created_at: Timestamp,
}

impl FromRow for RepaymentRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, posting, failed, payment, state, currency) =
            (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        let amount: i64 = row.column()?;
        let money = Money { amount: amount.unsigned_abs(), currency };
        Ok(Self { account, posting, failed, payment, state, money, refund: row.column()?, tries: row.column()?, created_at: row.column()? })
    }
}

/// Writes a repayment down, in the transaction that books it.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, row: &RepaymentRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO repayment (account_id, posting_id, failed_id, payment_id, state, currency, amount, next_at, created_at, changed_at)
         VALUES ($1, $2, $3, $4, 'begun', $5, $6, $7, $7, $7)",
    )
    .bind(row.account.to_string())
    .bind(row.posting.to_string())
    .bind(row.failed.to_string())
    .bind(row.payment.to_string())
    .bind(row.money.currency.as_str())
    .bind(i64::try_from(row.money.amount).map_err(|_| DbError::Constraint("an amount is too large".to_owned()))?)
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// A repayment.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, posting: PostingId) -> Result<Option<RepaymentRow>, DbError> {
    tx.query(
        "SELECT account_id, posting_id, failed_id, payment_id, state, currency, amount, refund, tries, created_at FROM repayment
         WHERE posting_id = $1",
    )
    .bind(posting.to_string())
    .opt()
    .await
}

/// Those that are to be looked at.
///
/// # Errors
/// A failure of the database.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<RepaymentRow>, DbError> {
    tx.query(
        "SELECT account_id, posting_id, failed_id, payment_id, state, currency, amount, refund, tries, created_at FROM repayment
         WHERE next_at IS NOT NULL AND next_at <= $1 ORDER BY next_at, posting_id LIMIT $2",
    )
    .bind(now.0)
    .bind(limit)
    .all()
    .await
}

/// Notes that the card has it, and when it is looked at again whether it still has: a bank may send back what it was given days before.
///
/// # Errors
/// A failure of the database.
pub async fn succeed(tx: &mut Tx, row: &RepaymentRow, refund: &str, next_at: Option<Timestamp>, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "UPDATE repayment SET state = 'succeeded', refund = $3, next_at = $4, trouble = NULL,
           changed_at = CASE WHEN state = 'begun' THEN $5 ELSE changed_at END
         WHERE account_id = $1 AND posting_id = $2 AND state = $6",
    )
    .bind(row.account.to_string())
    .bind(row.posting.to_string())
    .bind(refund)
    .bind(next_at.map(|at| at.0))
    .bind(now.0)
    .bind(&row.state)
    .execute()
    .await
    .map(drop)
}

/// Ends a repayment that the card does not have, or has no more; false where it stands elsewhere by now.
///
/// # Errors
/// A failure of the database.
pub async fn fail(tx: &mut Tx, row: &RepaymentRow, why: &str, refund: Option<&str>, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE repayment SET state = 'failed', failure = $3, refund = COALESCE($4, refund), next_at = NULL, trouble = NULL, changed_at = $5
             WHERE account_id = $1 AND posting_id = $2 AND state = $6",
        )
        .bind(row.account.to_string())
        .bind(row.posting.to_string())
        .bind(why)
        .bind(refund)
        .bind(now.0)
        .bind(&row.state)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Notes that the provider is asked, before it is.
///
/// # Errors
/// A failure of the database.
pub async fn begin_try(tx: &mut Tx, row: &RepaymentRow, next_at: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE repayment SET tries = tries + 1, next_at = $3 WHERE account_id = $1 AND posting_id = $2 AND state = 'begun'";
    tx.query(sql).bind(row.account.to_string()).bind(row.posting.to_string()).bind(next_at.0).execute().await.map(drop)
}

/// Notes how far it has come, and when it is looked at again.
///
/// # Errors
/// A failure of the database.
pub async fn put_off(
    tx: &mut Tx,
    row: &RepaymentRow,
    refund: Option<&str>,
    trouble: Option<&str>,
    next_at: Option<Timestamp>,
) -> Result<(), DbError> {
    tx.query(
        "UPDATE repayment SET refund = COALESCE($3, refund), trouble = $4, next_at = $5
         WHERE account_id = $1 AND posting_id = $2 AND state = $6",
    )
    .bind(row.account.to_string())
    .bind(row.posting.to_string())
    .bind(refund)
    .bind(trouble)
    .bind(next_at.map(|at| at.0))
    .bind(&row.state)
    .execute()
    .await
    .map(drop)
}

/// Where an objection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stands {
    /// The bank asks; no money has moved.
    Inquiry,
    /// The bank has taken the money; what it paid for is being ended.
    Taking,
    /// That is done, and the bank has not decided.
    Open,
    /// The bank has given the money back.
    Won,
    /// The bank has decided for its card holder.
    Lost,
    /// It was withdrawn before any money moved.
    Closed,
}

impl Stands {
    const ALL: [Self; 6] = [Self::Inquiry, Self::Taking, Self::Open, Self::Won, Self::Lost, Self::Closed];

    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inquiry => "inquiry",
            Self::Taking => "taking",
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
            Self::Closed => "closed",
        }
    }
}

impl FromValue for Stands {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().find(|stands| stands.as_str() == text).ok_or_else(|| format!("`{text}` is nowhere that an objection stands"))
    }
}

/// An objection, in the order of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeRow {
    /// Whose.
    pub account: AccountId,
    /// The provider's name for it.
    pub dispute: String,
    /// To which payment.
    pub payment: PaymentId,
    /// Where it stands.
    pub stands: Stands,
    /// How much it is about, in minor units of the payment's currency.
    pub amount: i64,
    /// What the provider asks for it.
    pub fee: i64,
    /// What the account gets back at once is booked as.
    pub credit: PostingId,
    /// What it gets when it is won.
    pub won: PostingId,
}

impl FromRow for DisputeRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, dispute, payment, stands) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let (amount, fee, credit) = (row.column()?, row.column()?, row.column()?);
        Ok(Self { account, dispute, payment, stands, amount, fee, credit, won: row.column()? })
    }
}

/// Writes an objection down, unless it is there.
///
/// # Errors
/// A failure of the database.
pub async fn note_dispute(tx: &mut Tx, row: &DisputeRow, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO dispute (account_id, dispute, payment_id, state, amount, fee, credit_id, won_id, created_at, changed_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (dispute) DO NOTHING",
    )
    .bind(row.account.to_string())
    .bind(&row.dispute)
    .bind(row.payment.to_string())
    .bind(row.stands.as_str())
    .bind(row.amount)
    .bind(row.fee)
    .bind(row.credit.to_string())
    .bind(row.won.to_string())
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// An objection.
///
/// # Errors
/// A failure of the database.
pub async fn dispute(tx: &mut Tx, dispute: &str) -> Result<Option<DisputeRow>, DbError> {
    tx.query("SELECT account_id, dispute, payment_id, state, amount, fee, credit_id, won_id FROM dispute WHERE dispute = $1")
        .bind(dispute)
        .opt()
        .await
}

/// Objections that have not ended.
///
/// # Errors
/// A failure of the database.
pub async fn open_disputes(tx: &mut Tx, limit: i64) -> Result<Vec<DisputeRow>, DbError> {
    tx.query(
        "SELECT account_id, dispute, payment_id, state, amount, fee, credit_id, won_id FROM dispute WHERE state IN ('inquiry', 'taking', 'open')
         ORDER BY state, dispute LIMIT $1",
    )
    .bind(limit)
    .all()
    .await
}

/// Moves an objection on, with what is known of it now; false where it stands elsewhere.
///
/// # Errors
/// A failure of the database.
pub async fn move_dispute(tx: &mut Tx, row: &DisputeRow, to: Stands, (amount, fee): (i64, i64), now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE dispute SET state = $4, amount = $5, fee = $6, changed_at = $7 WHERE account_id = $1 AND dispute = $2 AND state = $3";
    let query = tx.query(sql).bind(row.account.to_string()).bind(&row.dispute).bind(row.stands.as_str()).bind(to.as_str());
    Ok(query.bind(amount).bind(fee).bind(now.0).execute().await? == 1)
}

/// What other objections to a payment the bank has taken money for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objected {
    /// How many there are.
    pub count: i64,
    /// What they come to, in minor units.
    pub amount: i64,
}

/// What is objected to beside one objection, as far as the bank has the money.
///
/// # Errors
/// A failure of the database.
pub async fn objected_beside(tx: &mut Tx, account: AccountId, payment: PaymentId, dispute: &str) -> Result<Objected, DbError> {
    let sql = "SELECT count(*), CAST(COALESCE(SUM(CASE WHEN state = 'won' THEN 0 ELSE amount END), 0) AS BIGINT) FROM dispute
               WHERE account_id = $1 AND payment_id = $2 AND dispute <> $3 AND state IN ('taking', 'open', 'won', 'lost')";
    let (count, amount) = tx.query(sql).bind(account.to_string()).bind(payment.to_string()).bind(dispute).one().await?;
    Ok(Objected { count, amount })
}

/// The lots that other objections to a payment have left the account, or given back to it, and that have not ended.
///
/// # Errors
/// A failure of the database.
pub async fn lots_beside(tx: &mut Tx, account: AccountId, payment: PaymentId, dispute: &str) -> Result<Vec<PostingId>, DbError> {
    let sql = "SELECT l.lot_id FROM dispute d JOIN lot l ON l.account_id = d.account_id AND l.lot_id IN (d.credit_id, d.won_id)
               WHERE d.account_id = $1 AND d.payment_id = $2 AND d.dispute <> $3 AND l.ended_at IS NULL ORDER BY l.lot_id";
    let rows: Vec<(PostingId,)> = tx.query(sql).bind(account.to_string()).bind(payment.to_string()).bind(dispute).all().await?;
    Ok(rows.into_iter().map(|(lot,)| lot).collect())
}

/// What objections to a payment have left the account, or given back to it, and no later one has ended, in minor units.
///
/// # Errors
/// A failure of the database.
pub async fn held(tx: &mut Tx, account: AccountId, payment: PaymentId) -> Result<i64, DbError> {
    let sql = "SELECT CAST(COALESCE(SUM(l.amount), 0) AS BIGINT) FROM dispute d
                 JOIN lot l ON l.account_id = d.account_id AND l.lot_id IN (d.credit_id, d.won_id)
               WHERE d.account_id = $1 AND d.payment_id = $2 AND l.ended_at IS NULL";
    Ok(tx.query(sql).bind(account.to_string()).bind(payment.to_string()).one::<(i64,)>().await?.0)
}

/// How much has gone back, or is on its way back, to the card of a payment, in minor units.
///
/// # Errors
/// A failure of the database.
pub async fn repaid(tx: &mut Tx, account: AccountId, payment: PaymentId) -> Result<i64, DbError> {
    let sql =
        "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM repayment WHERE account_id = $1 AND payment_id = $2 AND state <> 'failed'";
    Ok(tx.query(sql).bind(account.to_string()).bind(payment.to_string()).one::<(i64,)>().await?.0)
}
