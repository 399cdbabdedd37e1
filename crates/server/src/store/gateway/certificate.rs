//! How gateways are let in: one-time tokens, and the certificates that came of them.

use counterfoil_core::{GatewayId, Timestamp};

use super::Gateway;
use crate::db::{DbError, FromRow, Row, Tx};

/// Certificates of one gateway that are good at once.
pub const MOST: i64 = 8;

/// A row of `gateway_token`, but for whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Until when it lets in.
    pub expires_at: Timestamp,
    /// SHA-256 of the public key that it was used for.
    pub used_for: Option<[u8; 32]>,
}

impl FromRow for TokenRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { expires_at: row.column()?, used_for: row.column()? })
    }
}

/// Keeps a new token of a gateway in the place of those that were not used.
///
/// # Errors
/// A failure of the database.
pub async fn put_token(tx: &mut Tx, id: GatewayId, hash: [u8; 32], expires_at: Timestamp) -> Result<(), DbError> {
    tx.query("DELETE FROM gateway_token WHERE gateway_id = $1 AND hash <> $2").bind(id.to_string()).bind(hash).execute().await?;
    tx.query("INSERT INTO gateway_token (gateway_id, hash, expires_at) VALUES ($1, $2, $3) ON CONFLICT (gateway_id, hash) DO NOTHING")
        .bind(id.to_string())
        .bind(hash)
        .bind(expires_at.0)
        .execute()
        .await
        .map(drop)
}

/// No token of a gateway is good any more.
///
/// # Errors
/// A failure of the database.
pub async fn forget_tokens(tx: &mut Tx, id: GatewayId) -> Result<(), DbError> {
    tx.query("DELETE FROM gateway_token WHERE gateway_id = $1").bind(id.to_string()).execute().await.map(drop)
}

/// No certificate of a gateway is good any more.
///
/// # Errors
/// A failure of the database.
pub async fn forget(tx: &mut Tx, id: GatewayId) -> Result<(), DbError> {
    tx.query("DELETE FROM gateway_certificate WHERE gateway_id = $1").bind(id.to_string()).execute().await.map(drop)
}

/// A token.
///
/// # Errors
/// A failure of the database.
pub async fn token(tx: &mut Tx, id: GatewayId, hash: [u8; 32]) -> Result<Option<TokenRow>, DbError> {
    let sql = "SELECT expires_at, used_for FROM gateway_token WHERE gateway_id = $1 AND hash = $2";
    tx.query(sql).bind(id.to_string()).bind(hash).opt().await
}

/// Uses a token for a public key; false where another one was first.
///
/// # Errors
/// A failure of the database.
pub async fn use_token(tx: &mut Tx, id: GatewayId, hash: [u8; 32], key: [u8; 32], now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE gateway_token SET used_at = $4, used_for = $3
             WHERE gateway_id = $1 AND hash = $2 AND (used_for IS NULL OR used_for = $3)",
        )
        .bind(id.to_string())
        .bind(hash)
        .bind(key)
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Keeps a new certificate. Those that are over go, and of more than [`MOST`] the oldest, so that a gateway that asks again and again has few.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, id: GatewayId, fingerprint: [u8; 32], now: Timestamp, not_after: Timestamp) -> Result<(), DbError> {
    tx.query("DELETE FROM gateway_certificate WHERE gateway_id = $1 AND not_after <= $2")
        .bind(id.to_string())
        .bind(now.0)
        .execute()
        .await?;
    tx.query(
        "INSERT INTO gateway_certificate (gateway_id, fingerprint, created_at, not_after) VALUES ($1, $2, $3, $4)
         ON CONFLICT (gateway_id, fingerprint) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(fingerprint)
    .bind(now.0)
    .bind(not_after.0)
    .execute()
    .await?;
    tx.query(
        "DELETE FROM gateway_certificate WHERE gateway_id = $1 AND fingerprint NOT IN
           (SELECT fingerprint FROM gateway_certificate WHERE gateway_id = $1 ORDER BY created_at DESC, fingerprint LIMIT $2)",
    )
    .bind(id.to_string())
    .bind(MOST)
    .execute()
    .await
    .map(drop)
}

/// The gateway that a certificate was made for, ended or not, with its terms as they are at `now`, and until when the certificate is good.
///
/// # Errors
/// A failure of the database.
pub async fn owner(tx: &mut Tx, fingerprint: &[u8; 32], now: Timestamp) -> Result<Option<(Gateway, Timestamp)>, DbError> {
    let found: Option<WithEnd> = tx
        .query(
            "SELECT g.gateway_id, g.name,
                    COALESCE((SELECT t.share FROM gateway_terms t WHERE t.gateway_id = g.gateway_id AND t.since <= $2 ORDER BY t.since DESC LIMIT 1),
                             g.share),
                    g.every_copy, g.created_at, g.ended_at, c.not_after
             FROM gateway_certificate c JOIN gateway g ON g.gateway_id = c.gateway_id WHERE c.fingerprint = $1",
        )
        .bind(fingerprint)
        .bind(now.0)
        .opt()
        .await?;
    Ok(found.map(|WithEnd(gateway, not_after)| (gateway, not_after)))
}

struct WithEnd(Gateway, Timestamp);

impl FromRow for WithEnd {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(Gateway::from_row(row)?, row.column()?))
    }
}

/// Fingerprints of all certificates that are good at `now`.
///
/// # Errors
/// A failure of the database.
pub async fn good(tx: &mut Tx, now: Timestamp) -> Result<Vec<[u8; 32]>, DbError> {
    let rows: Vec<([u8; 32],)> = tx
        .query(
            "SELECT c.fingerprint FROM gateway_certificate c JOIN gateway g ON g.gateway_id = c.gateway_id
             WHERE g.ended_at IS NULL AND c.not_after > $1 ORDER BY c.fingerprint",
        )
        .bind(now.0)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(fingerprint,)| fingerprint).collect())
}

/// Until when the certificate of a gateway that lasts longest is good; nothing where it has none.
///
/// # Errors
/// A failure of the database.
pub async fn last(tx: &mut Tx, id: GatewayId) -> Result<Option<Timestamp>, DbError> {
    let sql = "SELECT not_after FROM gateway_certificate WHERE gateway_id = $1 ORDER BY not_after DESC LIMIT 1";
    let row: Option<(Timestamp,)> = tx.query(sql).bind(id.to_string()).opt().await?;
    Ok(row.map(|(at,)| at))
}
