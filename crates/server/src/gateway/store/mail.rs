//! Mail that waits: written in the transaction of what it tells, and gone when the mail server has taken it.

use counterfoil_core::{AccountId, RequestId, Timestamp};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// What a mail says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// The receipt of a charge; of this exchange.
    Charge,
    /// What was charged is given back; for this exchange.
    Refund,
    /// An alert.
    Alert,
    /// It is over.
    Over,
}

impl Letter {
    const ALL: [Self; 4] = [Self::Charge, Self::Refund, Self::Alert, Self::Over];

    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Refund => "refund",
            Self::Alert => "alert",
            Self::Over => "over",
        }
    }
}

impl FromValue for Letter {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().find(|letter| letter.as_str() == text).ok_or_else(|| format!("`{text}` is no letter"))
    }
}

/// A mail that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Which: the same for the same letter about the same thing to the same address.
    pub id: String,
    /// Whose receipt.
    pub account: Option<AccountId>,
    /// To whom.
    pub to: String,
    /// What it says.
    pub letter: Letter,
    /// Of which exchange or alert.
    pub subject: String,
    /// When it happened.
    pub created_at: Timestamp,
    /// When it is due.
    pub next_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
}

impl FromRow for Waiting {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (id, account, to, letter, subject) = (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self { id, account, to, letter, subject, created_at: row.column()?, next_at: row.column()?, attempts: row.column()? })
    }
}

/// Derived, so that a transaction that is run again writes no second mail.
fn id(letter: Letter, subject: &str, to: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-11 ID of a mail of a gateway");
    for part in [letter.as_str(), subject, to] {
        hasher.update(part.as_bytes()).update(b"\0");
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Puts the receipt of a charge, or of what was given back, in the outbox: where the account's owner wants it.
///
/// # Errors
/// A failure of the database.
pub async fn receipt(tx: &mut Tx, account: AccountId, exchange: RequestId, letter: Letter, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO mail (mail_id, account_id, recipient, letter, subject, created_at, next_at)
         SELECT $1, account_id, email, $3, $4, $5, $5 FROM account
         WHERE account_id = $2 AND receipts = 1 AND email IS NOT NULL ON CONFLICT DO NOTHING",
    )
    .bind(id(letter, &exchange.to_string(), ""))
    .bind(account.to_string())
    .bind(letter.as_str())
    .bind(exchange.to_string())
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// Puts a letter to each of these addresses in the outbox.
///
/// # Errors
/// A failure of the database.
pub async fn enqueue(tx: &mut Tx, letter: Letter, subject: &str, to: &[String], now: Timestamp) -> Result<(), DbError> {
    for to in to {
        tx.query(
            "INSERT INTO mail (mail_id, recipient, letter, subject, created_at, next_at) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING",
        )
        .bind(id(letter, subject, to))
        .bind(to)
        .bind(letter.as_str())
        .bind(subject)
        .bind(now.0)
        .execute()
        .await?;
    }
    Ok(())
}

/// Those that are due, the one that has waited longest first.
///
/// # Errors
/// A failure of the database.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Waiting>, DbError> {
    tx.query(
        "SELECT mail_id, account_id, recipient, letter, subject, created_at, next_at, attempts FROM mail WHERE next_at <= $1 ORDER BY next_at, mail_id LIMIT $2",
    )
    .bind(now.0)
    .bind(limit)
    .all()
    .await
}

/// Takes a mail to be sent, so that no other process sends it meanwhile; it comes back at `next_at`, should this one not get there. False:
/// somebody was faster.
///
/// # Errors
/// A failure of the database.
pub async fn take(tx: &mut Tx, mail: &Waiting, next_at: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE mail SET attempts = attempts + 1, next_at = $3 WHERE mail_id = $1 AND next_at = $2";
    Ok(tx.query(sql).bind(&mail.id).bind(mail.next_at.0).bind(next_at.0).execute().await? == 1)
}

/// It was taken by the mail server, or means nothing any more.
///
/// # Errors
/// A failure of the database.
pub async fn done(tx: &mut Tx, id: &str) -> Result<(), DbError> {
    tx.query("DELETE FROM mail WHERE mail_id = $1").bind(id).execute().await.map(drop)
}

/// What stood in the way; it is tried again at `next_at`.
///
/// # Errors
/// A failure of the database.
pub async fn put_off(tx: &mut Tx, id: &str, error: &str, next_at: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE mail SET last_error = $2, next_at = $3 WHERE mail_id = $1";
    tx.query(sql).bind(id).bind(error).bind(next_at.0).execute().await.map(drop)
}

/// How many wait, and how many of them were refused once already.
///
/// # Errors
/// A failure of the database.
pub async fn waiting(tx: &mut Tx) -> Result<(i64, i64), DbError> {
    tx.query("SELECT COUNT(*), COUNT(last_error) FROM mail").one().await
}
