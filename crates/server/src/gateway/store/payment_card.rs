//! Who accounts are at the provider, and the payment cards that they keep there (C17): what is told of them here, and that is no number.

use counterfoil_core::{AccountId, Timestamp};

use crate::db::{DbError, FromRow, Row, Tx};

/// A payment card that an account keeps, and that may be charged for what the account's owner agrees to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRow {
    /// The provider's name for it.
    pub card: String,
    /// Such as `visa`.
    pub brand: String,
    /// The last four digits of its number.
    pub last4: String,
    /// The month that it ends with, and its year.
    pub expires: (i64, i64),
    /// Since when it is kept.
    pub kept_at: Timestamp,
}

impl CardRow {
    /// As people know it.
    pub fn words(&self) -> String {
        format!("{} ending in {}", self.brand, self.last4)
    }
}

impl FromRow for CardRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (card, brand, last4) = (row.column()?, row.column()?, row.column()?);
        let expires = (row.column()?, row.column()?);
        Ok(Self { card, brand, last4, expires, kept_at: row.column()? })
    }
}

/// Keeps a card; one that is kept, or was and is no more, is left as it is. Entered again, the same card takes the place of what was kept before.
///
/// # Errors
/// A failure of the database.
pub async fn keep(tx: &mut Tx, account: AccountId, card: &CardRow, fingerprint: Option<&str>) -> Result<(), DbError> {
    let kept = tx
        .query(
            "INSERT INTO payment_card (account_id, card, brand, last4, exp_month, exp_year, fingerprint, kept_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account_id, card) DO NOTHING",
        )
        .bind(account.to_string())
        .bind(&card.card)
        .bind(&card.brand)
        .bind(&card.last4)
        .bind(card.expires.0)
        .bind(card.expires.1)
        .bind(fingerprint)
        .bind(card.kept_at.0)
        .execute()
        .await?;
    if kept == 0 {
        return Ok(());
    }
    let sql = "UPDATE payment_card SET removed_at = $4 WHERE account_id = $1 AND card <> $2 AND fingerprint = $3 AND removed_at IS NULL";
    tx.query(sql).bind(account.to_string()).bind(&card.card).bind(fingerprint).bind(card.kept_at.0).execute().await.map(drop)
}

/// The cards that an account keeps, the newest first.
///
/// # Errors
/// A failure of the database.
pub async fn kept(tx: &mut Tx, account: AccountId) -> Result<Vec<CardRow>, DbError> {
    tx.query(
        "SELECT card, brand, last4, exp_month, exp_year, kept_at FROM payment_card WHERE account_id = $1 AND removed_at IS NULL
         ORDER BY kept_at DESC, card LIMIT 100",
    )
    .bind(account.to_string())
    .all()
    .await
}

/// From now on a card pays for nothing; says whether the account has, or had, such a card.
///
/// # Errors
/// A failure of the database.
pub async fn remove(tx: &mut Tx, account: AccountId, card: &str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE payment_card SET removed_at = COALESCE(removed_at, $3) WHERE account_id = $1 AND card = $2";
    Ok(tx.query(sql).bind(account.to_string()).bind(card).bind(now.0).execute().await? == 1)
}

/// Cards that were removed, and that the provider has not been told of.
///
/// # Errors
/// A failure of the database.
pub async fn to_forget(tx: &mut Tx, limit: i64) -> Result<Vec<(AccountId, String)>, DbError> {
    let sql = "SELECT account_id, card FROM payment_card WHERE removed_at IS NOT NULL AND forgotten_at IS NULL ORDER BY removed_at, account_id, card LIMIT $1";
    tx.query(sql).bind(limit).all().await
}

/// The provider has been told.
///
/// # Errors
/// A failure of the database.
pub async fn forgotten(tx: &mut Tx, account: AccountId, card: &str, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE payment_card SET forgotten_at = $3 WHERE account_id = $1 AND card = $2 AND forgotten_at IS NULL";
    tx.query(sql).bind(account.to_string()).bind(card).bind(now.0).execute().await.map(drop)
}

/// Who an account is at the provider.
///
/// # Errors
/// A failure of the database.
pub async fn customer(tx: &mut Tx, account: AccountId) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> =
        tx.query("SELECT customer FROM payment_customer WHERE account_id = $1").bind(account.to_string()).opt().await?;
    Ok(row.map(|(customer,)| customer))
}

/// Notes who an account is at the provider, unless that is known; answers with what holds.
///
/// # Errors
/// A failure of the database.
pub async fn note_customer(tx: &mut Tx, account: AccountId, name: &str) -> Result<String, DbError> {
    let sql = "INSERT INTO payment_customer (account_id, customer) VALUES ($1, $2) ON CONFLICT (account_id) DO NOTHING";
    tx.query(sql).bind(account.to_string()).bind(name).execute().await?;
    Ok(customer(tx, account).await?.unwrap_or_else(|| name.to_owned()))
}
