//! Publishers: who they are, and the public half of the key that they sign releases with.

use std::fmt;
use std::str::FromStr;

use counterfoil_core::TitleId;
use counterfoil_format::sign::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::auth::Scope;
use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Names a publisher for good: the `kid` of its signatures, and the tenant of its tokens. Written as titles are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublisherId(TitleId);

impl PublisherId {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The family that its audit records belong to.
    pub fn family(&self) -> String {
        format!("/publisher/{self}")
    }
}

impl FromStr for PublisherId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "a publisher's ID is 1 to 64 of a-z, 0-9 and inner hyphens, such as `blue-fox`")
    }
}

impl TryFrom<String> for PublisherId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublisherId> for String {
    fn from(id: PublisherId) -> String {
        id.0.into()
    }
}

impl fmt::Display for PublisherId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromValue for PublisherId {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        String::from_value(value)?.parse().map_err(str::to_owned)
    }
}

/// A row of `publisher`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Its name in URLs and signatures.
    pub id: PublisherId,
    /// For people.
    pub name: String,
    /// Ed25519; `None` until it is handed in.
    pub key: Option<VerifyingKey>,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for Publisher {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            name: row.column()?,
            key: row.column::<Option<StoredKey>>()?.map(|key| key.0),
            created_at: row.column()?,
        })
    }
}

struct StoredKey(VerifyingKey);

impl FromValue for StoredKey {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        VerifyingKey::from_bytes(FromValue::from_value(value)?).map(Self).map_err(|error| error.to_string())
    }
}

/// The publisher of an ID, where `scope` covers it.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, scope: &Scope, id: &PublisherId) -> Result<Option<Publisher>, DbError> {
    if !scope.covers(id.as_str()) {
        return Ok(None);
    }
    tx.query("SELECT publisher_id, name, sign_key, created_at FROM publisher WHERE publisher_id = $1").bind(id.as_str()).opt().await
}

/// Up to `limit` publishers in the order of their IDs, after `after`.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Publisher>, DbError> {
    tx.query(
        "SELECT publisher_id, name, sign_key, created_at FROM publisher
         WHERE publisher_id > $1 ORDER BY publisher_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Adds a publisher; false when the ID is taken.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, publisher: &Publisher) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO publisher (publisher_id, name, sign_key, created_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (publisher_id) DO NOTHING",
        )
        .bind(publisher.id.as_str())
        .bind(&publisher.name)
        .bind(publisher.key.as_ref().map(VerifyingKey::as_bytes))
        .bind(publisher.created_at)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Sets the key of a publisher that has none; false when it has one.
///
/// # Errors
/// A failure of the database.
pub async fn set_key(tx: &mut Tx, id: &PublisherId, key: &VerifyingKey) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE publisher SET sign_key = $2 WHERE publisher_id = $1 AND sign_key IS NULL")
        .bind(id.as_str())
        .bind(key.as_bytes())
        .execute()
        .await?;
    Ok(changed == 1)
}
