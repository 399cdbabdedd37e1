//! Batches: which media were pressed, with which titles and rights. What was pressed and never touched has no row of its own.

use counterfoil_core::{BatchId, ReleaseVersion, Rights, TitleId};

use super::publisher::PublisherId;
use super::word;
use crate::auth::Scope;
use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// Where the IDs of a batch's media come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Batch and serial: `med-…`.
    Pressed,
    /// Made elsewhere, and imported ID by ID.
    Imported,
}

impl Origin {
    /// As in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pressed => "pressed",
            Self::Imported => "imported",
        }
    }
}

impl FromValue for Origin {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        [Self::Pressed, Self::Imported]
            .into_iter()
            .find(|origin| origin.as_str() == text)
            .ok_or_else(|| "expected pressed or imported".to_owned())
    }
}

/// A row of `batch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Which.
    pub id: BatchId,
    /// Whose.
    pub publisher: PublisherId,
    /// For people; may be empty.
    pub name: String,
    /// Where the IDs come from.
    pub origin: Origin,
    /// Media: serials run from 1 to this.
    pub count: i64,
    /// Of each of its media.
    pub rights: Rights,
    /// The key that claim secrets are derived from, wrapped.
    pub claim_key: Vec<u8>,
    /// Milliseconds UTC.
    pub created_at: i64,
    /// Refreshes that were ordered of all its media.
    pub refreshes: u32,
    /// Whether their keys are paid for when they are copied (C18): so it is from the beginning, for good.
    pub paid_on_copy: bool,
}

impl FromRow for Batch {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            publisher: row.column()?,
            name: row.column()?,
            origin: row.column()?,
            count: row.column()?,
            rights: row.column()?,
            claim_key: row.column()?,
            created_at: row.column()?,
            refreshes: row.column()?,
            paid_on_copy: row.column::<i64>()? != 0,
        })
    }
}

/// The family that a batch's audit records belong to.
pub fn family(batch: BatchId) -> String {
    format!("/batch/{batch}")
}

/// The batch of an ID, where `scope` covers it.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, scope: &Scope, id: BatchId) -> Result<Option<Batch>, DbError> {
    let batch: Option<Batch> = tx
        .query(
            "SELECT batch_id, publisher_id, name, origin, count, rights, claim_key, created_at, refreshes, paid_on_copy
         FROM batch WHERE batch_id = $1",
        )
        .bind(id.to_string())
        .opt()
        .await?;
    Ok(batch.filter(|batch| scope.covers(batch.publisher.as_str())))
}

/// Whose a batch is.
///
/// # Errors
/// A failure of the database.
pub async fn owner(tx: &mut Tx, id: BatchId) -> Result<Option<PublisherId>, DbError> {
    let found: Option<(PublisherId,)> = tx.query("SELECT publisher_id FROM batch WHERE batch_id = $1").bind(id.to_string()).opt().await?;
    Ok(found.map(|(publisher,)| publisher))
}

/// Up to `limit` batches in the order of their IDs, after `after`.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, scope: &Scope, after: &str, limit: i64) -> Result<Vec<Batch>, DbError> {
    match scope {
        Scope::Publisher(publisher) => {
            tx.query(
                "SELECT batch_id, publisher_id, name, origin, count, rights, claim_key, created_at, refreshes, paid_on_copy
                 FROM batch WHERE publisher_id = $1 AND batch_id > $2 ORDER BY batch_id LIMIT $3",
            )
            .bind(publisher)
            .bind(after)
            .bind(limit)
            .all()
            .await
        }
        Scope::All => {
            tx.query(
                "SELECT batch_id, publisher_id, name, origin, count, rights, claim_key, created_at, refreshes, paid_on_copy
                 FROM batch WHERE batch_id > $1 ORDER BY batch_id LIMIT $2",
            )
            .bind(after)
            .bind(limit)
            .all()
            .await
        }
    }
}

/// Adds a batch; false when it is there, as after a COMMIT whose answer was lost: IDs are random.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, batch: &Batch) -> Result<bool, DbError> {
    let rights = serde_json::to_string(&batch.rights).expect("rights have text for keys, so they are JSON");
    let changed = tx
        .query(
            "INSERT INTO batch (batch_id, publisher_id, name, origin, count, rights, claim_key, created_at, paid_on_copy)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (batch_id) DO NOTHING",
        )
        .bind(batch.id.to_string())
        .bind(batch.publisher.as_str())
        .bind(&batch.name)
        .bind(batch.origin.as_str())
        .bind(batch.count)
        .bind(rights)
        .bind(&batch.claim_key)
        .bind(batch.created_at)
        .bind(i64::from(batch.paid_on_copy))
        .execute()
        .await?;
    if changed == 1 {
        word::keep(tx, word::Shelf::Batches, &batch.id.to_string(), &batch.name).await?;
    }
    Ok(changed == 1)
}

/// How often the rights of a batch were changed, and its media refreshed.
///
/// # Errors
/// A failure of the database.
pub async fn revision(tx: &mut Tx, id: BatchId) -> Result<Option<i64>, DbError> {
    let found: Option<(i64,)> = tx.query("SELECT revision FROM batch WHERE batch_id = $1").bind(id.to_string()).opt().await?;
    Ok(found.map(|(revision,)| revision))
}

/// Orders one more refresh of all media of a batch.
///
/// # Errors
/// A failure of the database.
pub async fn order_refresh(tx: &mut Tx, id: BatchId) -> Result<(), DbError> {
    let sql = "UPDATE batch SET refreshes = refreshes + 1, revision = revision + 1 WHERE batch_id = $1";
    tx.query(sql).bind(id.to_string()).execute().await.map(drop)
}

/// Changes what the media of a batch allow. `most_copies` is what they were allowed before: copies that were claimed by that right stay.
///
/// # Errors
/// A failure of the database.
pub async fn set_rights(tx: &mut Tx, id: BatchId, rights: &Rights, most_copies: u32) -> Result<(), DbError> {
    let rights = serde_json::to_string(rights).expect("rights have text for keys, so they are JSON");
    tx.query(
        "UPDATE batch SET rights = $2, revision = revision + 1,
           most_copies = CASE WHEN most_copies > $3 THEN most_copies ELSE $3 END WHERE batch_id = $1",
    )
    .bind(id.to_string())
    .bind(rights)
    .bind(most_copies)
    .execute()
    .await
    .map(drop)
}

/// What is stored on a batch's media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchTitle {
    /// Which title.
    pub title: TitleId,
    /// The release that the media were pressed with.
    pub version: ReleaseVersion,
}

impl FromRow for BatchTitle {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { title: row.column()?, version: row.column()? })
    }
}

/// The titles of a batch, in the order of the identity area.
///
/// # Errors
/// A failure of the database.
pub async fn titles(tx: &mut Tx, id: BatchId) -> Result<Vec<BatchTitle>, DbError> {
    tx.query("SELECT title_id, version FROM batch_title WHERE batch_id = $1 ORDER BY position").bind(id.to_string()).all().await
}

/// Adds a title at a place of the identity area, from 1.
///
/// # Errors
/// `Constraint` when the place is taken; a failure of the database.
pub async fn insert_title(tx: &mut Tx, id: BatchId, position: i64, title: &BatchTitle) -> Result<(), DbError> {
    tx.query("INSERT INTO batch_title (batch_id, position, title_id, version) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(position)
        .bind(title.title.as_str())
        .bind(title.version.as_str())
        .execute()
        .await?;
    Ok(())
}

/// Moves the count of an imported batch from `from` to `to`; false when somebody else moved it meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn advance(tx: &mut Tx, id: BatchId, from: i64, to: i64) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE batch SET count = $3 WHERE batch_id = $1 AND count = $2")
        .bind(id.to_string())
        .bind(from)
        .bind(to)
        .execute()
        .await?;
    Ok(changed == 1)
}
