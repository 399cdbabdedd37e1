//! Feeds: the newest list of its releases that a title's publisher has signed.

use counterfoil_core::TitleId;

use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `feed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its number, as the document has it.
    pub sequence: u64,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// Not to be updated by from then on; milliseconds UTC.
    pub expires_at: i64,
    /// When it was handed in; milliseconds UTC.
    pub updated_at: i64,
}

impl FromRow for Feed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            sequence: row.column::<i64>()?.unsigned_abs(),
            document: row.column()?,
            expires_at: row.column()?,
            updated_at: row.column()?,
        })
    }
}

/// The newest feed of a title.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId) -> Result<Option<Feed>, DbError> {
    tx.query("SELECT sequence, document, expires_at, updated_at FROM feed WHERE title_id = $1").bind(title.as_str()).opt().await
}

/// Puts a feed in the place of number `after`, or of none where that is 0; false where another number is there.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, title: &TitleId, after: u64, feed: &Feed) -> Result<bool, DbError> {
    let sql = match after {
        0 => {
            "INSERT INTO feed (title_id, sequence, document, expires_at, updated_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (title_id) DO NOTHING"
        }
        _ => {
            "UPDATE feed SET sequence = $2, document = $3, expires_at = $4, updated_at = $5
             WHERE title_id = $1 AND sequence = $6 AND sequence < $2"
        }
    };
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let query =
        tx.query(sql).bind(title.as_str()).bind(number(feed.sequence)).bind(&feed.document).bind(feed.expires_at).bind(feed.updated_at);
    let changed = if after == 0 { query.execute().await? } else { query.bind(number(after)).execute().await? };
    Ok(changed == 1)
}
