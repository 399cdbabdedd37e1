//! The row that says which process does the jobs of all; the rule for it is [`crate::lease`].

use crate::db::{DbError, Tx};
use crate::lease::Lease;

/// Family of every write to it: a small reference table.
pub const FAMILY: &str = "/lease";
/// The lease of the jobs that one process at a time does.
pub const JOBS: &str = "jobs";

/// The lease as it stands.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, name: &str) -> Result<Option<Lease>, DbError> {
    let row: Option<(Option<String>, i64)> = tx.query("SELECT holder, beat FROM lease WHERE name = $1").bind(name).opt().await?;
    Ok(row.map(|(holder, beat)| Lease { holder, beat }))
}

/// Takes it, if it is still as it was seen. False: it is not.
///
/// # Errors
/// A failure of the database.
pub async fn take(tx: &mut Tx, name: &str, seen: Option<&Lease>, me: &str) -> Result<bool, DbError> {
    let Some(seen) = seen else {
        let sql = "INSERT INTO lease (name, holder, beat) VALUES ($1, $2, 1) ON CONFLICT (name) DO NOTHING";
        return Ok(tx.query(sql).bind(name).bind(me).execute().await? == 1);
    };
    let sql = "UPDATE lease SET holder = $1, beat = beat + 1 WHERE name = $2 AND beat = $3 AND COALESCE(holder, '') = $4";
    let holder = seen.holder.as_deref().unwrap_or_default();
    Ok(tx.query(sql).bind(me).bind(name).bind(seen.beat).bind(holder).execute().await? == 1)
}

/// Moves the beat on. False: somebody else holds it, or nobody. Run twice it moves the beat by two, which says no more than by one.
///
/// # Errors
/// A failure of the database.
pub async fn renew(tx: &mut Tx, name: &str, me: &str) -> Result<bool, DbError> {
    let sql = "UPDATE lease SET beat = beat + 1 WHERE name = $1 AND holder = $2";
    Ok(tx.query(sql).bind(name).bind(me).execute().await? == 1)
}

/// Gives it back, so that nobody has to wait. False: it was somebody else's by now.
///
/// # Errors
/// A failure of the database.
pub async fn release(tx: &mut Tx, name: &str, me: &str) -> Result<bool, DbError> {
    let sql = "UPDATE lease SET holder = NULL, beat = beat + 1 WHERE name = $1 AND holder = $2";
    Ok(tx.query(sql).bind(name).bind(me).execute().await? == 1)
}

/// Writes the holder over whatever stands there: for whom something else has made sure that there is no other.
///
/// # Errors
/// A failure of the database.
pub async fn seize(tx: &mut Tx, name: &str, me: &str) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO lease (name, holder, beat) VALUES ($1, $2, 1)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, beat = lease.beat + 1",
    )
    .bind(name)
    .bind(me)
    .execute()
    .await
    .map(drop)
}
