//! Pictures of titles: which object of the contents store stands at which place, and what it shows.

use counterfoil_core::TitleId;
use counterfoil_format::content::ObjectName;

use crate::db::{DbError, FromRow, Row, Tx};

/// Places that a title has for pictures: 1 to this.
pub const MOST: i64 = 12;

/// A row of `picture`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Its place; the first one stands for the title in lists.
    pub position: i64,
    /// Its bytes, in the contents store.
    pub object: ObjectName,
    /// `image/…`
    pub media_type: String,
    /// What it shows, for people who do not see it.
    pub alt: String,
}

impl FromRow for Picture {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { position: row.column()?, object: row.column()?, media_type: row.column()?, alt: row.column()? })
    }
}

/// The pictures of a title, in order.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, title: &TitleId) -> Result<Vec<Picture>, DbError> {
    tx.query("SELECT position, object, media_type, alt FROM picture WHERE title_id = $1 ORDER BY position").bind(title.as_str()).all().await
}

/// The media type of an object that is a picture of some title.
///
/// # Errors
/// A failure of the database.
pub async fn media_type(tx: &mut Tx, object: ObjectName) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = tx
        .query("SELECT media_type FROM picture WHERE object = $1 ORDER BY title_id, position LIMIT 1")
        .bind(object.to_string())
        .opt()
        .await?;
    Ok(row.map(|(media_type,)| media_type))
}

/// Puts a picture at its place.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, title: &TitleId, picture: &Picture) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO picture (title_id, position, object, media_type, alt) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (title_id, position) DO UPDATE SET object = excluded.object, media_type = excluded.media_type, alt = excluded.alt",
    )
    .bind(title.as_str())
    .bind(picture.position)
    .bind(picture.object.to_string())
    .bind(&picture.media_type)
    .bind(&picture.alt)
    .execute()
    .await?;
    Ok(())
}

/// Takes the picture at a place away; false when there is none.
///
/// # Errors
/// A failure of the database.
pub async fn remove(tx: &mut Tx, title: &TitleId, position: i64) -> Result<bool, DbError> {
    let removed =
        tx.query("DELETE FROM picture WHERE title_id = $1 AND position = $2").bind(title.as_str()).bind(position).execute().await?;
    Ok(removed == 1)
}
