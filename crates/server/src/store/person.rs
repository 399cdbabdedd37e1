//! The person behind a user ID, as the shop has written them down (D1). There may be no user entry yet.

use counterfoil_core::{Timestamp, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `user_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    /// What the person is called.
    pub name: String,
    /// Where they can be written to.
    pub email: Option<String>,
    /// Where they live, as on a letter.
    pub address: Option<String>,
}

impl FromRow for PersonRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.column()?, email: row.column()?, address: row.column()? })
    }
}

/// Writes a person down; says whether the user ID was nobody's before.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, person: &PersonRow, actor: &str, now: Timestamp) -> Result<bool, DbError> {
    let written = tx
        .query(
            "INSERT INTO user_info (user_id, name, email, address, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(&person.name)
        .bind(person.email.as_deref())
        .bind(person.address.as_deref())
        .bind(actor)
        .bind(now.0)
        .execute()
        .await?;
    Ok(written == 1)
}

/// Who it is, where a shop has written them down.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<PersonRow>, DbError> {
    tx.query("SELECT name, email, address FROM user_info WHERE user_id = $1").bind(user.to_string()).opt().await
}
