//! Bearer tokens: shown once, kept as a hash.

use counterfoil_core::Timestamp;
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};

use crate::auth::Role;
use crate::db::{DbError, FromRow, Row, Tx};

/// Family of every write to tokens: a small reference table.
pub const FAMILY: &str = "/tokens";

const PREFIX: &str = "cft_";
const HASH: &str = "counterfoil 2026-01 hash of a bearer token";

/// A token as a caller presents it, or as it is shown once.
pub struct Presented {
    id: String,
    secret: Secret<32>,
}

impl Presented {
    /// Makes a new token.
    pub fn generate(random: &mut dyn Random) -> Self {
        let mut id = [0; 6];
        random.fill(&mut id);
        Self { id: id.iter().map(|byte| format!("{byte:02x}")).collect(), secret: Secret::random(random) }
    }

    /// Reads `cft_<id>_<secret>`.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        let valid = id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        let secret = Secret::from_slice(&zeroize::Zeroizing::new(from_base64url(secret)?))?;
        valid.then(|| Self { id: id.to_owned(), secret })
    }

    /// The part that is no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The whole token, to be shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, to_base64url(self.secret.expose()))
    }

    /// What is kept. The secret is random, so that a plain hash cannot be reversed by guessing.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key(HASH, self.secret.expose())
    }

    /// Whether this is the token that `hash` was kept of, in constant time.
    pub fn matches(&self, hash: &[u8; 32]) -> bool {
        Secret::new(self.hash()) == Secret::new(*hash)
    }
}

/// A token, as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// The part that is no secret.
    pub token_id: String,
    /// Of the secret.
    pub hash: [u8; 32],
    /// What its bearer is.
    pub role: Role,
    /// For whom.
    pub tenant: Option<String>,
    /// What the operator calls it.
    pub name: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// Taken back.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRow {
    /// Whether it is good at `now`.
    pub fn live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

impl FromRow for TokenRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            token_id: row.column()?,
            hash: row.column()?,
            role: row.column()?,
            tenant: row.column()?,
            name: row.column()?,
            created_at: row.column()?,
            expires_at: row.column()?,
            revoked_at: row.column()?,
        })
    }
}

/// The token of this ID.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: &str) -> Result<Option<TokenRow>, DbError> {
    tx.query("SELECT token_id, hash, role, tenant, name, created_at, expires_at, revoked_at FROM token WHERE token_id = $1")
        .bind(id)
        .opt()
        .await
}

/// Tokens after an ID, in the order of their IDs.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, limit: u32) -> Result<Vec<TokenRow>, DbError> {
    tx.query(
        "SELECT token_id, hash, role, tenant, name, created_at, expires_at, revoked_at FROM token
         WHERE token_id > $1 ORDER BY token_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Keeps a new token; one that is there already stays as it is (a repeat).
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, row: &TokenRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO token (token_id, hash, role, tenant, name, created_at, expires_at, revoked_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, NULL) ON CONFLICT (token_id) DO NOTHING",
    )
    .bind(&row.token_id)
    .bind(row.hash)
    .bind(row.role.as_str())
    .bind(row.tenant.as_deref())
    .bind(&row.name)
    .bind(row.created_at.0)
    .bind(row.expires_at.map(|at| at.0))
    .execute()
    .await
    .map(drop)
}

/// Takes a token back; says whether it was there and good.
///
/// # Errors
/// A failure of the database.
pub async fn revoke(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, DbError> {
    let changed =
        tx.query("UPDATE token SET revoked_at = $2 WHERE token_id = $1 AND revoked_at IS NULL").bind(id).bind(now.0).execute().await?;
    Ok(changed == 1)
}
