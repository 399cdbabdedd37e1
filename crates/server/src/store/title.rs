//! Titles: whose they are and what kind of thing.

use counterfoil_core::{Kind, TitleId};

use super::publisher::PublisherId;
use super::word;
use crate::auth::Scope;
use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `title`, with the newest generation of its content key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title {
    /// Its name in URLs, paths and key derivations.
    pub id: TitleId,
    /// Whose.
    pub publisher: PublisherId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Of the content key that new releases are sealed under.
    pub generation: u32,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for Title {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            publisher: row.column()?,
            name: row.column()?,
            kind: row.column()?,
            generation: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// The family that a title's audit records belong to.
pub fn family(title: &TitleId) -> String {
    format!("/title/{title}")
}

/// The title of a name, where `scope` covers it.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, scope: &Scope, id: &TitleId) -> Result<Option<Title>, DbError> {
    let title: Option<Title> = tx
        .query(
            "SELECT t.title_id, t.publisher_id, t.name, t.kind,
                (SELECT max(k.generation) FROM content_key k WHERE k.title_id = t.title_id), t.created_at
         FROM title t WHERE t.title_id = $1",
        )
        .bind(id.as_str())
        .opt()
        .await?;
    Ok(title.filter(|title| scope.covers(title.publisher.as_str())))
}

/// Up to `limit` titles in the order of their names, after `after`.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, scope: &Scope, after: &str, limit: i64) -> Result<Vec<Title>, DbError> {
    match scope {
        Scope::Publisher(publisher) => {
            tx.query(
                "SELECT t.title_id, t.publisher_id, t.name, t.kind,
                        (SELECT max(k.generation) FROM content_key k WHERE k.title_id = t.title_id), t.created_at
                 FROM title t WHERE t.publisher_id = $1 AND t.title_id > $2 ORDER BY t.title_id LIMIT $3",
            )
            .bind(publisher)
            .bind(after)
            .bind(limit)
            .all()
            .await
        }
        Scope::All => {
            tx.query(
                "SELECT t.title_id, t.publisher_id, t.name, t.kind,
                        (SELECT max(k.generation) FROM content_key k WHERE k.title_id = t.title_id), t.created_at
                 FROM title t WHERE t.title_id > $1 ORDER BY t.title_id LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .all()
            .await
        }
    }
}

/// Adds a title; false when the name is taken. Its first content key belongs into the same transaction.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, title: &Title) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO title (title_id, publisher_id, name, kind, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (title_id) DO NOTHING",
        )
        .bind(title.id.as_str())
        .bind(title.publisher.as_str())
        .bind(&title.name)
        .bind(title.kind.to_string())
        .bind(title.created_at)
        .execute()
        .await?;
    if changed == 1 {
        word::keep(tx, word::Shelf::Titles, title.id.as_str(), &title.name).await?;
    }
    Ok(changed == 1)
}
