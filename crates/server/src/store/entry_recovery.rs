//! What a user proves with, when the card is lost, that an entry is theirs (C15): the hash of a code that was written down, and how often
//! it was missed. In the user's family.

use counterfoil_core::rules::reissue::Attempts;
use counterfoil_core::{RecoveryCode, Timestamp, UserId};
use counterfoil_format::encoding::frame;

use crate::db::{DbError, FromRow, Row, Tx};

const HASH: &str = "counterfoil 2026-11 hash of the recovery code of an entry";

/// The code, as far as it is kept: 80 random bits, which no hash of them is reversed by guessing. The user takes part, so that one code is
/// not seen to be in two entries.
pub fn hash(user: UserId, code: &RecoveryCode) -> [u8; 32] {
    blake3::derive_key(HASH, &frame(&[user.as_bytes(), code.as_bytes()]))
}

/// A row of `entry_recovery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryRow {
    hash: [u8; 32],
    /// Wrong ones.
    pub attempts: Attempts,
}

impl FromRow for RecoveryRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { hash: row.column()?, attempts: Attempts { failures: row.column()?, locked_until: row.column()? } })
    }
}

/// Whether a code is the one that was written down; the same work whether there is one or not. BLAKE3's comparison does not tell by its time
/// how much of it was right.
pub fn matches(row: Option<&RecoveryRow>, user: UserId, code: Option<&RecoveryCode>) -> bool {
    let nothing = RecoveryCode::from_bytes([0; 10]);
    let given = blake3::Hash::from_bytes(hash(user, code.unwrap_or(&nothing)));
    let known = blake3::Hash::from_bytes(row.map_or([0; 32], |row| row.hash));
    let same = given == known;
    same && row.is_some() && code.is_some()
}

/// Puts a new code in the place of the last one; what was missed of that is forgotten.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, user: UserId, code: &RecoveryCode, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO entry_recovery (user_id, hash, created_at, failures, locked_until) VALUES ($1, $2, $3, 0, NULL)
         ON CONFLICT (user_id) DO UPDATE SET hash = excluded.hash, created_at = excluded.created_at, failures = 0, locked_until = NULL",
    )
    .bind(user.to_string())
    .bind(hash(user, code))
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// What an entry can be recovered by.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<RecoveryRow>, DbError> {
    tx.query("SELECT hash, failures, locked_until FROM entry_recovery WHERE user_id = $1").bind(user.to_string()).opt().await
}

/// Keeps what an attempt came to; nothing where there is no code.
///
/// # Errors
/// A failure of the database.
pub async fn note(tx: &mut Tx, user: UserId, attempts: Attempts) -> Result<(), DbError> {
    tx.query("UPDATE entry_recovery SET failures = $2, locked_until = $3 WHERE user_id = $1")
        .bind(user.to_string())
        .bind(attempts.failures)
        .bind(attempts.locked_until.map(|until| until.0))
        .execute()
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserId = UserId::from_bytes([1; 16]);

    #[test]
    fn only_the_users_own_code_matches() {
        let code = RecoveryCode::from_bytes([7; 10]);
        let row = RecoveryRow { hash: hash(USER, &code), attempts: Attempts::default() };
        assert!(matches(Some(&row), USER, Some(&code)));
        assert!(!matches(Some(&row), UserId::from_bytes([2; 16]), Some(&code)), "another user's hash of it is another");
        assert!(!matches(Some(&row), USER, Some(&RecoveryCode::from_bytes([8; 10]))));
        assert!(!matches(Some(&row), USER, None) && !matches(None, USER, Some(&code)) && !matches(None, USER, None));
        // Nothing that is hashed when there is no code may open an entry.
        let planted = RecoveryRow { hash: hash(USER, &RecoveryCode::from_bytes([0; 10])), ..row };
        assert!(!matches(Some(&planted), USER, None));
    }
}
