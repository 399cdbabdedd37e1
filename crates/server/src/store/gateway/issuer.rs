//! What the private listener's and the gateways' certificates are signed with.

use counterfoil_core::Timestamp;

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `gateway_issuer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerRow {
    /// Its name, from its public key.
    pub id: String,
    /// Certificate of a certificate authority, DER.
    pub certificate: Vec<u8>,
    /// The seed of its Ed25519 key, wrapped.
    pub wrapped: Vec<u8>,
    /// When.
    pub created_at: Timestamp,
    /// From when on nothing is signed with it.
    pub retired_at: Option<Timestamp>,
}

impl FromRow for IssuerRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            certificate: row.column()?,
            wrapped: row.column()?,
            created_at: row.column()?,
            retired_at: row.column()?,
        })
    }
}

/// All of them, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn all(tx: &mut Tx) -> Result<Vec<IssuerRow>, DbError> {
    tx.query("SELECT issuer_id, certificate, wrapped, created_at, retired_at FROM gateway_issuer ORDER BY created_at, issuer_id")
        .all()
        .await
}

/// Keeps the first, where there is none; says whether it was this one.
///
/// # Errors
/// A failure of the database.
pub async fn first(tx: &mut Tx, row: &IssuerRow) -> Result<bool, DbError> {
    match all(tx).await?.first() {
        Some(there) => Ok(there.id == row.id),
        None => insert(tx, row).await.map(|()| true),
    }
}

/// Keeps a new one, and retires the others from `retire_at` on.
///
/// # Errors
/// A failure of the database.
pub async fn replace(tx: &mut Tx, row: &IssuerRow, retire_at: Timestamp) -> Result<(), DbError> {
    tx.query("UPDATE gateway_issuer SET retired_at = $1 WHERE retired_at IS NULL AND issuer_id <> $2")
        .bind(retire_at.0)
        .bind(&row.id)
        .execute()
        .await?;
    insert(tx, row).await
}

async fn insert(tx: &mut Tx, row: &IssuerRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO gateway_issuer (issuer_id, certificate, wrapped, created_at, retired_at)
         VALUES ($1, $2, $3, $4, NULL) ON CONFLICT (issuer_id) DO NOTHING",
    )
    .bind(&row.id)
    .bind(&row.certificate)
    .bind(&row.wrapped)
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}
