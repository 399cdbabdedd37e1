//! Passkeys: public keys that browsers and security keys hold the other half of (WebAuthn Level 3).

use counterfoil_core::{Timestamp, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// A passkey, as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyRow {
    /// Which: the credential ID, base64url.
    pub id: String,
    /// As `webauthn-rs` writes it: public key and counter. JSON.
    pub document: Vec<u8>,
    /// What its owner calls it.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used.
    pub used_at: Option<Timestamp>,
}

impl FromRow for PasskeyRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.column()?, document: row.column()?, name: row.column()?, created_at: row.column()?, used_at: row.column()? })
    }
}

/// The passkeys of a user, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, user: UserId) -> Result<Vec<PasskeyRow>, DbError> {
    tx.query(
        "SELECT credential_id, document, name, created_at, used_at FROM passkey WHERE user_id = $1
         ORDER BY created_at, credential_id LIMIT 100",
    )
    .bind(user.to_string())
    .all()
    .await
}

/// One passkey.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, id: &str) -> Result<Option<PasskeyRow>, DbError> {
    tx.query("SELECT credential_id, document, name, created_at, used_at FROM passkey WHERE user_id = $1 AND credential_id = $2")
        .bind(user.to_string())
        .bind(id)
        .opt()
        .await
}

/// Keeps a new one; false where it is there.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, row: &PasskeyRow) -> Result<bool, DbError> {
    let made = tx
        .query(
            "INSERT INTO passkey (user_id, credential_id, document, name, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (user_id, credential_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(&row.id)
        .bind(&row.document)
        .bind(&row.name)
        .bind(row.created_at.0)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Notes a use: the document with its new counter in the place of the one that was verified. False: somebody else has used it meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn used(tx: &mut Tx, user: UserId, id: &str, old: &[u8], new: &[u8], now: Timestamp) -> Result<bool, DbError> {
    let used = tx
        .query("UPDATE passkey SET document = $4, used_at = $5 WHERE user_id = $1 AND credential_id = $2 AND document = $3")
        .bind(user.to_string())
        .bind(id)
        .bind(old)
        .bind(new)
        .bind(now.0)
        .execute()
        .await?;
    Ok(used == 1)
}

/// Removes one; says whether it was there.
///
/// # Errors
/// A failure of the database.
pub async fn delete(tx: &mut Tx, user: UserId, id: &str) -> Result<bool, DbError> {
    let gone = tx.query("DELETE FROM passkey WHERE user_id = $1 AND credential_id = $2").bind(user.to_string()).bind(id).execute().await?;
    Ok(gone == 1)
}
