//! Alerts: what somebody should know, each once until it is over.

use counterfoil_core::Timestamp;
use serde::Serialize;

use super::mail::{self, Letter};
use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Exchanges that have stood too long where they stand.
    StuckExchanges,
    /// The authority does not answer.
    AuthorityUnreachable,
    /// The certificate for the authority runs out, or has.
    Certificate,
    /// The books are wrong.
    Books,
    /// A card holder objects to a payment at the bank.
    Dispute,
    /// What a card had promised for an exchange never came.
    LostPayment,
    /// An account holds less than its owner wants.
    LowBalance,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 7] = [
        Self::StuckExchanges,
        Self::AuthorityUnreachable,
        Self::Certificate,
        Self::Books,
        Self::Dispute,
        Self::LostPayment,
        Self::LowBalance,
    ];

    /// As in JSON, in metrics and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StuckExchanges => "stuck_exchanges",
            Self::AuthorityUnreachable => "authority_unreachable",
            Self::Certificate => "certificate",
            Self::Books => "books",
            Self::Dispute => "dispute",
            Self::LostPayment => "lost_payment",
            Self::LowBalance => "low_balance",
        }
    }

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StuckExchanges => "Exchanges are stuck",
            Self::AuthorityUnreachable => "The authority does not answer",
            Self::Certificate => "The certificate runs out",
            Self::Books => "The books are wrong",
            Self::Dispute => "A card holder objects",
            Self::LostPayment => "A card did not pay",
            Self::LowBalance => "A balance is low",
        }
    }
}

impl FromValue for Kind {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("`{text}` is no kind of alert"))
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Which.
    pub id: String,
    /// What it is about.
    pub kind: Kind,
    /// Whose or which; empty where there is one of its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subject: String,
    /// This case in particular.
    pub detail: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// When it was seen.
    pub raised_at: Timestamp,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over_at: Option<Timestamp>,
}

impl FromRow for Alert {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, kind, subject, detail) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self { id, kind, subject, detail, since: row.column()?, raised_at: row.column()?, over_at: row.column()? })
    }
}

/// Notes an alert, with mail to these addresses in the same transaction; where it is open already, only what it says now. True: it is new.
///
/// # Errors
/// A failure of the database.
pub async fn raise(tx: &mut Tx, alert: &Alert, to: &[String]) -> Result<bool, DbError> {
    let Alert { id, kind, subject, detail, since, raised_at, .. } = alert;
    let sql = "UPDATE alert SET detail = $3 WHERE kind = $1 AND subject = $2 AND over_at IS NULL";
    if tx.query(sql).bind(kind.as_str()).bind(subject).bind(detail).execute().await? > 0 {
        return Ok(false);
    }
    let made = tx
        .query(
            "INSERT INTO alert (alert_id, kind, subject, detail, since, raised_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(kind.as_str())
        .bind(subject)
        .bind(detail)
        .bind(since.0)
        .bind(raised_at.0)
        .execute()
        .await?;
    if made == 1 {
        mail::enqueue(tx, Letter::Alert, id, to, *raised_at).await?;
    }
    Ok(made == 1)
}

/// Notes that what an alert was about is over; whoever was told of it is told that as well.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, kind: Kind, subject: &str, to: &[String], now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE alert SET over_at = $3 WHERE kind = $1 AND subject = $2 AND over_at IS NULL RETURNING alert_id";
    let ended: Option<(String,)> = tx.query(sql).bind(kind.as_str()).bind(subject).bind(now.0).opt().await?;
    let Some((id,)) = ended else { return Ok(false) };
    mail::enqueue(tx, Letter::Over, &id, to, now).await?;
    Ok(true)
}

/// An alert.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<Alert>, DbError> {
    let sql = "SELECT alert_id, kind, subject, detail, since, raised_at, over_at FROM alert WHERE alert_id = $1";
    tx.query(sql).bind(id).opt().await
}

/// The operator's alerts that are not over, oldest first. What only an account's owner wants to know is not among them.
///
/// # Errors
/// A failure of the database.
pub async fn open(tx: &mut Tx) -> Result<Vec<Alert>, DbError> {
    let sql = "SELECT alert_id, kind, subject, detail, since, raised_at, over_at FROM alert
               WHERE over_at IS NULL AND kind <> 'low_balance' ORDER BY raised_at, alert_id LIMIT 1000";
    tx.query(sql).all().await
}

/// How many are not over, of each kind.
///
/// # Errors
/// A failure of the database.
pub async fn counts(tx: &mut Tx) -> Result<Vec<(Kind, i64)>, DbError> {
    tx.query("SELECT kind, COUNT(*) FROM alert WHERE over_at IS NULL GROUP BY kind ORDER BY kind").all().await
}

/// All that were raised, newest first, before the one at this place.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, before: (Timestamp, &str), limit: i64) -> Result<Vec<Alert>, DbError> {
    let sql = "SELECT alert_id, kind, subject, detail, since, raised_at, over_at FROM alert
               WHERE kind <> 'low_balance' AND (raised_at < $1 OR raised_at = $1 AND alert_id < $2) ORDER BY raised_at DESC, alert_id DESC LIMIT $3";
    tx.query(sql).bind(before.0.0).bind(before.1).bind(limit).all().await
}
