//! What an account's owner has set, and how the gateway's operator finds accounts.

use counterfoil_core::{AccountId, Currency, Money, Timestamp};

use super::account::AccountRow;
use crate::db::{DbError, Tx};

/// What an account's owner wants to be told, by mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Where to reach them.
    pub email: Option<String>,
    /// Whether receipts go there.
    pub receipts: bool,
    /// They want to know when less than this can be spent.
    pub low: Option<Money>,
}

/// What the owner of an account has set.
///
/// # Errors
/// A failure of the database.
pub async fn wishes(tx: &mut Tx, account: AccountId) -> Result<Wishes, DbError> {
    let sql = "SELECT email, receipts, low_amount, low_currency FROM account WHERE account_id = $1";
    type Found = (Option<String>, i64, Option<i64>, Option<Currency>);
    let (email, receipts, amount, currency): Found = tx.query(sql).bind(account.to_string()).one().await?;
    let low = amount.zip(currency).map(|(amount, currency)| Money { amount: amount.unsigned_abs(), currency });
    Ok(Wishes { email, receipts: receipts == 1, low })
}

/// Sets it.
///
/// # Errors
/// A failure of the database.
pub async fn set_wishes(tx: &mut Tx, account: AccountId, wishes: &Wishes) -> Result<(), DbError> {
    let sql = "UPDATE account SET email = $2, receipts = $3, low_amount = $4, low_currency = $5 WHERE account_id = $1";
    let amount = wishes.low.map(|low| i64::try_from(low.amount).unwrap_or(i64::MAX));
    let query = tx.query(sql).bind(account.to_string()).bind(wishes.email.as_deref()).bind(i64::from(wishes.receipts)).bind(amount);
    query.bind(wishes.low.map(|low| low.currency.to_string())).execute().await.map(drop)
}

/// Sets a password and ends every token and link of the account; false where it was closed meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn set_password(tx: &mut Tx, account: AccountId, hash: &str) -> Result<bool, DbError> {
    let sql = "UPDATE account SET password_hash = $2, failures = 0, locked_until = NULL WHERE account_id = $1 AND closed_at IS NULL";
    let set = tx.query(sql).bind(account.to_string()).bind(hash).execute().await? == 1;
    if set {
        tx.query("DELETE FROM account_token WHERE account_id = $1").bind(account.to_string()).execute().await?;
        tx.query("DELETE FROM link WHERE account_id = $1").bind(account.to_string()).execute().await?;
    }
    Ok(set)
}

/// Opens an account that was closed; its tokens have ended.
///
/// # Errors
/// A failure of the database.
pub async fn reopen(tx: &mut Tx, account: AccountId) -> Result<bool, DbError> {
    let sql = "UPDATE account SET closed_at = NULL WHERE account_id = $1 AND closed_at IS NOT NULL";
    Ok(tx.query(sql).bind(account.to_string()).execute().await? == 1)
}

/// Accounts whose names begin so, by name, behind one that was listed before.
///
/// # Errors
/// A failure of the database.
pub async fn named(tx: &mut Tx, beginning: &str, after: &str, limit: i64) -> Result<Vec<AccountRow>, DbError> {
    // Names hold nothing above `z`: whatever begins so lies before this.
    let end = format!("{beginning}\u{7f}");
    tx.query(
        "SELECT account_id, name, password_hash, email, created_at, closed_at FROM account
         WHERE name >= $1 AND name < $2 AND name > $3 ORDER BY name LIMIT $4",
    )
    .bind(beginning)
    .bind(&end)
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// How many there are, and how many of them are closed.
///
/// # Errors
/// A failure of the database.
pub async fn counted(tx: &mut Tx) -> Result<(i64, i64), DbError> {
    tx.query("SELECT COUNT(*), COUNT(closed_at) FROM account").one().await
}

/// When somebody was in last, to an hour.
///
/// # Errors
/// A failure of the database.
pub async fn used_at(tx: &mut Tx, account: AccountId) -> Result<Option<Timestamp>, DbError> {
    let sql = "SELECT MAX(last_used_at) FROM account_token WHERE account_id = $1";
    Ok(tx.query(sql).bind(account.to_string()).one::<(Option<Timestamp>,)>().await?.0)
}
