//! The authority's own keys, wrapped, and every row that holds something wrapped, for rotation.

use counterfoil_core::Timestamp;

use crate::db::{DbError, FromRow, Row, Tx};

/// A key-encryption key, wrapped by the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekRow {
    /// What it wraps.
    pub purpose: String,
    /// Counts rotations.
    pub version: u32,
    /// Wrapped.
    pub wrapped: Vec<u8>,
    /// When.
    pub created_at: Timestamp,
}

impl FromRow for KekRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { purpose: row.column()?, version: row.column()?, wrapped: row.column()?, created_at: row.column()? })
    }
}

/// A signing or sealing key, wrapped by a key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityKeyRow {
    /// Its name in tokens and envelopes.
    pub kid: String,
    /// `signing` or `sealing`.
    pub purpose: String,
    /// 32 bytes.
    pub public_key: [u8; 32],
    /// The seed, wrapped.
    pub wrapped: Vec<u8>,
    /// When.
    pub created_at: Timestamp,
    /// From when on nothing new is made with it.
    pub retired_at: Option<Timestamp>,
}

impl FromRow for AuthorityKeyRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            kid: row.column()?,
            purpose: row.column()?,
            public_key: row.column()?,
            wrapped: row.column()?,
            created_at: row.column()?,
            retired_at: row.column()?,
        })
    }
}

/// All key-encryption keys.
///
/// # Errors
/// A failure of the database.
pub async fn keks(tx: &mut Tx) -> Result<Vec<KekRow>, DbError> {
    tx.query("SELECT purpose, version, wrapped, created_at FROM key_encryption_key ORDER BY purpose, version").all().await
}

/// All signing and sealing keys, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn authority_keys(tx: &mut Tx) -> Result<Vec<AuthorityKeyRow>, DbError> {
    tx.query(
        "SELECT kid, purpose, public_key, wrapped, created_at, retired_at FROM authority_key
         ORDER BY purpose, created_at DESC, kid",
    )
    .all()
    .await
}

/// Keeps a new key-encryption key; says whether its version was free.
///
/// # Errors
/// A failure of the database.
pub async fn insert_kek(tx: &mut Tx, row: &KekRow) -> Result<bool, DbError> {
    let inserted = tx
        .query(
            "INSERT INTO key_encryption_key (purpose, version, wrapped, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (purpose, version) DO NOTHING",
        )
        .bind(&row.purpose)
        .bind(row.version)
        .bind(&row.wrapped)
        .bind(row.created_at.0)
        .execute()
        .await?;
    Ok(inserted == 1)
}

/// Puts a key-encryption key in place of itself, wrapped anew; says whether the old wrapping was still there.
///
/// # Errors
/// A failure of the database.
pub async fn rewrap_kek(tx: &mut Tx, old: &KekRow, wrapped: &[u8]) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE key_encryption_key SET wrapped = $3 WHERE purpose = $1 AND version = $2 AND wrapped = $4")
        .bind(&old.purpose)
        .bind(old.version)
        .bind(wrapped)
        .bind(&old.wrapped)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Keeps a new signing or sealing key, and retires the others of its purpose from `retire_at` on.
///
/// # Errors
/// A failure of the database.
pub async fn replace_authority_key(tx: &mut Tx, row: &AuthorityKeyRow, retire_at: Timestamp) -> Result<(), DbError> {
    tx.query("UPDATE authority_key SET retired_at = $2 WHERE purpose = $1 AND retired_at IS NULL AND kid <> $3")
        .bind(&row.purpose)
        .bind(retire_at.0)
        .bind(&row.kid)
        .execute()
        .await?;
    tx.query(
        "INSERT INTO authority_key (kid, purpose, public_key, wrapped, created_at, retired_at)
         VALUES ($1, $2, $3, $4, $5, NULL) ON CONFLICT (kid) DO NOTHING",
    )
    .bind(&row.kid)
    .bind(&row.purpose)
    .bind(row.public_key)
    .bind(&row.wrapped)
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// How the keys followed one another: a signed statement for each epoch after the first, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn statements(tx: &mut Tx) -> Result<Vec<(u64, String)>, DbError> {
    let rows: Vec<(i64, String)> = tx.query("SELECT epoch, statement FROM authority_keys_statement ORDER BY epoch").all().await?;
    Ok(rows.into_iter().map(|(epoch, statement)| (epoch.unsigned_abs(), statement)).collect())
}

/// Keeps the statement that an epoch begins with.
///
/// # Errors
/// A failure of the database; `Constraint` where the epoch has begun.
pub async fn insert_statement(tx: &mut Tx, epoch: u64, statement: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query("INSERT INTO authority_keys_statement (epoch, statement, created_at) VALUES ($1, $2, $3)")
        .bind(epoch.cast_signed())
        .bind(statement)
        .bind(now.0)
        .execute()
        .await
        .map(drop)
}

/// One wrapped secret, by table and primary key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedRow {
    /// First column of the primary key: the family.
    pub family: String,
    /// Second column; empty where there is none.
    pub second: String,
    /// The secret.
    pub wrapped: Vec<u8>,
}

impl FromRow for WrappedRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { family: row.column()?, second: row.column()?, wrapped: row.column()? })
    }
}

/// A table that holds wrapped secrets: how to walk through it, and how to put one back.
#[derive(Clone, Copy, Debug)]
pub struct WrappedTable {
    /// Rows after `$1`, `$2`, at most `$3`, in the order of the primary key.
    pub page: &'static str,
    /// Puts `$3` in the row `$1`, `$2`, where `$4` was.
    pub put: &'static str,
}

/// Titles' content keys.
pub const CONTENT_KEYS: WrappedTable = WrappedTable {
    page: "SELECT title_id, CAST(generation AS TEXT), wrapped FROM content_key
           WHERE title_id > $1 OR (title_id = $1 AND generation > CAST(CAST($2 AS TEXT) AS BIGINT)) ORDER BY title_id, generation LIMIT $3",
    put: "UPDATE content_key SET wrapped = $3 WHERE title_id = $1 AND generation = CAST(CAST($2 AS TEXT) AS BIGINT) AND wrapped = $4",
};
/// Grants' library keys.
pub const LIBRARY_KEYS: WrappedTable = WrappedTable {
    page: "SELECT medium_id, grant_id, library_key FROM grants
           WHERE medium_id > $1 OR (medium_id = $1 AND grant_id > $2) ORDER BY medium_id, grant_id LIMIT $3",
    put: "UPDATE grants SET library_key = $3 WHERE medium_id = $1 AND grant_id = $2 AND library_key = $4",
};
/// Library keys of licenses that were fetched.
pub const LICENSE_KEYS: WrappedTable = WrappedTable {
    page: "SELECT user_id, grant_id, library_key FROM license
           WHERE (user_id > $1 OR (user_id = $1 AND grant_id > $2)) AND grant_id IS NOT NULL ORDER BY user_id, grant_id LIMIT $3",
    put: "UPDATE license SET library_key = $3 WHERE user_id = $1 AND grant_id = $2 AND library_key = $4",
};
/// Save keys.
pub const SAVE_KEYS: WrappedTable = WrappedTable {
    page: "SELECT user_id, title_id, wrapped FROM save_key
           WHERE user_id > $1 OR (user_id = $1 AND title_id > $2) ORDER BY user_id, title_id LIMIT $3",
    put: "UPDATE save_key SET wrapped = $3 WHERE user_id = $1 AND title_id = $2 AND wrapped = $4",
};
/// Batches' claim keys.
pub const CLAIM_KEYS: WrappedTable = WrappedTable {
    page: "SELECT batch_id, '', claim_key FROM batch WHERE batch_id > $1 AND CAST($2 AS TEXT) IS NOT NULL ORDER BY batch_id LIMIT $3",
    put: "UPDATE batch SET claim_key = $3 WHERE batch_id = $1 AND CAST($2 AS TEXT) IS NOT NULL AND claim_key = $4",
};
/// Devices' secrets.
pub const DEVICE_SECRETS: WrappedTable = WrappedTable {
    page: "SELECT user_id, device_id, secret FROM user_device
           WHERE user_id > $1 OR (user_id = $1 AND device_id > $2) ORDER BY user_id, device_id LIMIT $3",
    put: "UPDATE user_device SET secret = $3 WHERE user_id = $1 AND device_id = $2 AND secret = $4",
};
/// Secrets of one-time codes.
pub const TOTP_SECRETS: WrappedTable = WrappedTable {
    page: "SELECT user_id, '', totp FROM account
           WHERE user_id > $1 AND CAST($2 AS TEXT) IS NOT NULL AND totp IS NOT NULL ORDER BY user_id LIMIT $3",
    put: "UPDATE account SET totp = $3 WHERE user_id = $1 AND CAST($2 AS TEXT) IS NOT NULL AND totp = $4",
};
/// The authority's signing and sealing keys.
pub const AUTHORITY_KEYS: WrappedTable = WrappedTable {
    page: "SELECT kid, '', wrapped FROM authority_key WHERE kid > $1 AND CAST($2 AS TEXT) IS NOT NULL ORDER BY kid LIMIT $3",
    put: "UPDATE authority_key SET wrapped = $3 WHERE kid = $1 AND CAST($2 AS TEXT) IS NOT NULL AND wrapped = $4",
};
/// What certificates for gateways are signed with.
pub const GATEWAY_ISSUERS: WrappedTable = WrappedTable {
    page: "SELECT issuer_id, '', wrapped FROM gateway_issuer
           WHERE issuer_id > $1 AND CAST($2 AS TEXT) IS NOT NULL ORDER BY issuer_id LIMIT $3",
    put: "UPDATE gateway_issuer SET wrapped = $3 WHERE issuer_id = $1 AND CAST($2 AS TEXT) IS NOT NULL AND wrapped = $4",
};
/// What is signed to webhooks with.
pub const WEBHOOK_SECRETS: WrappedTable = WrappedTable {
    page: "SELECT webhook_id, CAST(number AS TEXT), wrapped FROM webhook_secret
           WHERE webhook_id > $1 OR (webhook_id = $1 AND number > CAST(CAST($2 AS TEXT) AS BIGINT)) ORDER BY webhook_id, number LIMIT $3",
    put: "UPDATE webhook_secret SET wrapped = $3 WHERE webhook_id = $1 AND number = CAST(CAST($2 AS TEXT) AS BIGINT) AND wrapped = $4",
};

impl WrappedTable {
    /// The next rows after `after`.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn page(&self, tx: &mut Tx, after: (&str, &str), limit: u32) -> Result<Vec<WrappedRow>, DbError> {
        tx.query(self.page).bind(after.0).bind(after.1).bind(limit).all().await
    }

    /// Puts a secret back, wrapped anew; says whether the old wrapping was still there.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn put(&self, tx: &mut Tx, row: &WrappedRow, wrapped: &[u8]) -> Result<bool, DbError> {
        let changed = tx.query(self.put).bind(&row.family).bind(&row.second).bind(wrapped).bind(&row.wrapped).execute().await?;
        Ok(changed == 1)
    }
}
