//! Contents servers of others (A8, A10): who they are, how they are reached, and what they may select.

use counterfoil_core::{ContentsServerId, TitleId};
use counterfoil_format::sign::VerifyingKey;

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Contents servers at once.
pub const MOST: i64 = 100;

/// A row of `contents_server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsServer {
    /// Which.
    pub id: ContentsServerId,
    /// For people.
    pub name: String,
    /// Where it is reached, without a slash at the end.
    pub url: String,
    /// Whether only the authority reaches it, and asks it for terminals.
    pub relayed: bool,
    /// What it signs with.
    pub key: VerifyingKey,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for ContentsServer {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            name: row.column()?,
            url: row.column()?,
            relayed: row.column::<i64>()? != 0,
            key: row.column::<WrittenKey>()?.0,
            created_at: row.column()?,
        })
    }
}

struct WrittenKey(VerifyingKey);

impl FromValue for WrittenKey {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        String::from_value(value)?.parse().map(Self).map_err(|_| "expected a public key".to_owned())
    }
}

/// Keeps a new one, with what it may select for what.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, server: &ContentsServer, titles: &[(TitleId, TitleId)]) -> Result<(), DbError> {
    tx.query("INSERT INTO contents_server (server_id, name, url, relayed, key, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(server.id.to_string())
        .bind(&server.name)
        .bind(&server.url)
        .bind(i64::from(server.relayed))
        .bind(server.key.to_string())
        .bind(server.created_at)
        .execute()
        .await?;
    for (title, supplement) in titles {
        tx.query("INSERT INTO contents_server_title (server_id, title_id, supplement_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(server.id.to_string())
            .bind(title.as_str())
            .bind(supplement.as_str())
            .execute()
            .await?;
    }
    Ok(())
}

/// Those that have not ended, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx) -> Result<Vec<ContentsServer>, DbError> {
    tx.query(
        "SELECT server_id, name, url, relayed, key, created_at FROM contents_server WHERE ended_at IS NULL ORDER BY server_id LIMIT $1",
    )
    .bind(MOST)
    .all()
    .await
}

/// One that has not ended.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: ContentsServerId) -> Result<Option<ContentsServer>, DbError> {
    tx.query("SELECT server_id, name, url, relayed, key, created_at FROM contents_server WHERE server_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .opt()
        .await
}

/// Those that select for a title.
///
/// # Errors
/// A failure of the database.
pub async fn for_title(tx: &mut Tx, title: &TitleId) -> Result<Vec<ContentsServer>, DbError> {
    tx.query(
        "SELECT s.server_id, s.name, s.url, s.relayed, s.key, s.created_at FROM contents_server s
         WHERE s.ended_at IS NULL AND EXISTS (SELECT 1 FROM contents_server_title t WHERE t.server_id = s.server_id AND t.title_id = $1)
         ORDER BY s.server_id LIMIT $2",
    )
    .bind(title.as_str())
    .bind(MOST)
    .all()
    .await
}

/// What a contents server may select: for which title, and which.
///
/// # Errors
/// A failure of the database.
pub async fn titles(tx: &mut Tx, id: ContentsServerId) -> Result<Vec<(TitleId, TitleId)>, DbError> {
    tx.query("SELECT title_id, supplement_id FROM contents_server_title WHERE server_id = $1 ORDER BY title_id, supplement_id")
        .bind(id.to_string())
        .all()
        .await
}

/// Ends one; false where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, id: ContentsServerId, now: i64) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE contents_server SET ended_at = $2 WHERE server_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}
