//! Deletion of a person's data on request: everything that says who a user is, and what only that person has use for. The user ID stays, with
//! what it owns and what was paid.

use counterfoil_core::{Timestamp, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::db::{DbError, Tx};

/// How much was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Erased {
    /// Whether somebody was written down: name, e-mail, address.
    pub person: bool,
    /// Whether there was an account: e-mail, password, one-time codes, recovery codes, links sent by mail.
    pub account: bool,
    /// Names that somebody could sign in with.
    pub sign_in_names: u64,
    /// Browsers that were signed in.
    pub sessions: u64,
    /// Passkeys.
    pub passkeys: u64,
    /// Devices whose maker, model or name was known.
    pub device_descriptions: u64,
    /// What devices last said, with their status variables.
    pub statuses: u64,
    /// Saves and other things that were handed in. Their bytes are swept from the contents store within two hours.
    pub uploads: u64,
    /// Ways to reach somebody who asked for a new card.
    pub contacts: u64,
    /// Mails that were not sent yet.
    pub mails: u64,
}

/// The names that a user signs in with, each a family of its own.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in_names(tx: &mut Tx, user: UserId) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> =
        tx.query("SELECT name FROM sign_in_name WHERE user_id = $1 ORDER BY name LIMIT 100").bind(user.to_string()).all().await?;
    Ok(rows.into_iter().map(|(name,)| name).collect())
}

/// Deletes what lies in the user's family; says how much that was. `sign_in_names` is for whoever gives those up.
///
/// # Errors
/// A failure of the database.
pub async fn forget(tx: &mut Tx, user: UserId, actor: &str, now: Timestamp) -> Result<Erased, DbError> {
    Ok(Erased {
        person: person(tx, user, actor, now).await?,
        device_descriptions: devices(tx, user).await?,
        statuses: run(tx, "DELETE FROM status WHERE user_id = $1", user).await?,
        uploads: uploads(tx, user, now).await?,
        contacts: run(tx, "UPDATE reissue SET contact = NULL WHERE user_id = $1 AND contact IS NOT NULL", user).await?,
        mails: run(tx, "DELETE FROM outbox WHERE family = $1 AND kind = 'mail'", user).await?,
        ..account(tx, user).await?
    })
}

async fn run(tx: &mut Tx, sql: &'static str, user: UserId) -> Result<u64, DbError> {
    tx.query(sql).bind(user.to_string()).execute().await
}

/// The row stays, without anybody in it: so nobody is written down under this ID again, by an import of an old list for one.
async fn person(tx: &mut Tx, user: UserId, actor: &str, now: Timestamp) -> Result<bool, DbError> {
    let there = "UPDATE user_info SET erased_at = erased_at WHERE user_id = $1 AND erased_at IS NULL";
    let was = run(tx, there, user).await? == 1;
    run(tx, "DELETE FROM person_word WHERE user_id = $1", user).await?;
    tx.query(
        "INSERT INTO user_info (user_id, name, created_by, created_at, erased_at) VALUES ($1, '', $2, $3, $3)
         ON CONFLICT (user_id) DO UPDATE SET name = '', email = NULL, address = NULL, erased_at = excluded.erased_at",
    )
    .bind(user.to_string())
    .bind(actor)
    .bind(now.0)
    .execute()
    .await?;
    Ok(was)
}

/// Which devices there are is part of what the user owns; what they are called is not.
async fn devices(tx: &mut Tx, user: UserId) -> Result<u64, DbError> {
    let announced = "UPDATE device_info SET maker = NULL, model = NULL, name = NULL
         WHERE user_id = $1 AND (maker IS NOT NULL OR model IS NOT NULL OR name IS NOT NULL)";
    let registered = "UPDATE user_device SET name = NULL WHERE user_id = $1 AND name IS NOT NULL";
    // In their own words, which may be those of a person.
    run(tx, "UPDATE inbox SET failed = 'erased' WHERE user_id = $1 AND failed IS NOT NULL", user).await?;
    Ok(run(tx, announced, user).await? + run(tx, registered, user).await?)
}

async fn account(tx: &mut Tx, user: UserId) -> Result<Erased, DbError> {
    run(tx, "DELETE FROM recovery_code WHERE user_id = $1", user).await?;
    run(tx, "DELETE FROM ticket WHERE user_id = $1", user).await?;
    Ok(Erased {
        sessions: run(tx, "DELETE FROM session WHERE user_id = $1", user).await?,
        passkeys: run(tx, "DELETE FROM passkey WHERE user_id = $1", user).await?,
        account: run(tx, "DELETE FROM account WHERE user_id = $1", user).await? == 1,
        ..Erased::default()
    })
}

/// What was handed in is taken away, and swept as everything that is; its slot, which somebody has named, is called by its ID. The keys to it
/// go at once.
async fn uploads(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<u64, DbError> {
    let there: (i64,) =
        tx.query("SELECT count(*) FROM upload WHERE user_id = $1 AND state <> 'removed'").bind(user.to_string()).one().await?;
    tx.query(
        "UPDATE upload SET state = 'removed', slot = upload_id, note = NULL, completed_at = NULL, expires_at = $2, swept = 0
         WHERE user_id = $1",
    )
    .bind(user.to_string())
    .bind(now.0)
    .execute()
    .await?;
    run(tx, "UPDATE upload_usage SET bytes = 0 WHERE user_id = $1", user).await?;
    run(tx, "DELETE FROM save_key WHERE user_id = $1", user).await?;
    Ok(there.0.unsigned_abs())
}
