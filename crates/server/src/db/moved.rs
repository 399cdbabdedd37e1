//! An SQLite database that is being moved elsewhere, or was: its servers notice before they write, and say where it went.

use std::time::Duration;

use rusqlite::Connection;

use super::error::DbError;
use super::sqlite::control;
use super::{Db, Tx};

/// Setting of the old database while it is closed for writes: where it is being moved to. Without the lock it closes nothing, so that it may
/// outlive a move that was killed.
pub(crate) const MOVING_TO: &str = "moving_to";
/// Setting of the old database: where it was moved to.
pub(crate) const MOVED_TO: &str = "moved_to";
/// Setting of the new database until the move is complete: where it comes from.
pub(crate) const MOVING_FROM: &str = "moving_from";

/// How often the write lock is asked for, and how long each time.
const TRIES: (u32, Duration) = (20, Duration::from_millis(250));
/// After how many of them somebody who moves the database is the reason; commits of other processes are shorter.
const MOVING_AFTER: u32 = 3;

/// Begins a batch of write transactions, unless the database was moved or is being moved.
pub(super) fn begin(connection: &Connection) -> Result<(), DbError> {
    for tries in 1.. {
        match lock(connection) {
            Ok(()) => break,
            Err(error) if tries >= TRIES.0 => return Err(error),
            Err(DbError::Lost(_)) if tries >= MOVING_AFTER => {
                if let Some(to) = note(connection, MOVING_TO)? {
                    return Err(DbError::Moving(to));
                }
            }
            Err(DbError::Lost(_)) => {}
            Err(error) => return Err(error),
        }
    }
    match note(connection, MOVED_TO)? {
        None => Ok(()),
        Some(to) => {
            control(connection, "ROLLBACK")?;
            Err(DbError::Moved(to))
        }
    }
}

fn lock(connection: &Connection) -> Result<(), DbError> {
    let patience = |time| connection.busy_timeout(time).map_err(|error| DbError::Lost(error.to_string()));
    patience(TRIES.1)?;
    let begun = control(connection, "BEGIN IMMEDIATE");
    patience(TRIES.0 * TRIES.1)?;
    begun
}

/// One look-up by primary key, for a whole batch. A database without the table is not migrated yet, and was not moved either.
fn note(connection: &Connection, name: &str) -> Result<Option<String>, DbError> {
    let found = connection
        .prepare_cached("SELECT value FROM setting WHERE name = $1")
        .and_then(|mut statement| statement.query_row([name], |row| row.get(0)));
    match found {
        Ok(value) => Ok(Some(value)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(None),
        Err(error) if error.to_string().contains("no such table") => Ok(None),
        Err(error) => Err(DbError::Lost(error.to_string())),
    }
}

/// Whether a server may work with this database.
///
/// # Errors
/// `Moved`, `HalfMoved`, or a failure of the database.
pub(super) async fn check(db: &Db) -> Result<(), DbError> {
    let found: Vec<(String, String)> = db
        .read("was it moved", async |tx: &mut Tx| -> Result<_, DbError> {
            let sql = "SELECT name, value FROM setting WHERE name IN ($1, $2)";
            tx.query(sql).bind(MOVED_TO).bind(MOVING_FROM).all().await
        })
        .await?;
    match found.into_iter().next() {
        None => Ok(()),
        Some((name, to)) if name == MOVED_TO => Err(DbError::Moved(to)),
        Some((_, from)) => Err(DbError::HalfMoved(from)),
    }
}
