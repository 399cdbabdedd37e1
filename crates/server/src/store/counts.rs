//! How many there are of what, for the page that says what this server is.

use crate::db::{DbError, Tx};

/// Figures that are nobody's secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Titles.
    pub titles: i64,
    /// Batches.
    pub batches: i64,
    /// Media of which a copy was claimed.
    pub media_claimed: i64,
    /// User entries.
    pub users: i64,
}

/// Counts rows; the time it takes grows with them, so nobody should ask often.
///
/// # Errors
/// A failure of the database.
pub async fn load(tx: &mut Tx) -> Result<Counts, DbError> {
    Ok(Counts {
        titles: tx.query("SELECT count(*) FROM title").one::<(i64,)>().await?.0,
        batches: tx.query("SELECT count(*) FROM batch").one::<(i64,)>().await?.0,
        media_claimed: tx.query("SELECT count(*) FROM medium WHERE state = 'claimed'").one::<(i64,)>().await?.0,
        users: tx.query("SELECT count(*) FROM user_entry").one::<(i64,)>().await?.0,
    })
}
