//! The words that names are found by, where they are not as the names say: of rows that a version without them wrote, or changed.

use std::time::Duration;

use crate::app::App;
use crate::db::{self, Db, DbError, Tx};
use crate::store::word::{self, Shelf};

/// How often it is looked. All names are read for it, 500 at a time.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// Rows that are mended at once: each is a family of its own, and they share commits.
const AT_ONCE: usize = 64;

/// Looks as soon as this process leads, and then every hour.
pub async fn mend_forever(app: App) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        app.lead.leading().await;
        match mend(&app.db).await {
            Ok(0) => {}
            Ok(mended) => tracing::info!(mended, "names are found by their words"),
            Err(error) => tracing::warn!(%error, "the words of names could not be mended"),
        }
    }
}

/// Writes the words of every name where others are kept, or none; says of how many.
///
/// # Errors
/// A failure of the database; what was mended before stays so.
pub async fn mend(db: &Db) -> Result<usize, DbError> {
    let mut mended = 0;
    for shelf in Shelf::ALL {
        loop {
            let of_nobody = db
                .read("words of nobody", async move |tx: &mut Tx| -> Result<_, DbError> { word::orphans(tx, shelf, AT_ONCE as i64).await })
                .await?;
            if of_nobody.is_empty() {
                break;
            }
            mended += of_nobody.len();
            db::all(of_nobody.into_iter().map(|id| mend_one(db, shelf, id))).await?;
        }
        let mut after = Some(String::new());
        while let Some(from) = after {
            let (different, last) = db
                .read("compare words", async move |tx: &mut Tx| -> Result<_, DbError> { word::different(tx, shelf, &from).await })
                .await?;
            mended += different.len();
            for some in different.chunks(AT_ONCE) {
                db::all(some.iter().map(|id| mend_one(db, shelf, id.clone()))).await?;
            }
            after = last;
        }
    }
    Ok(mended)
}

async fn mend_one(db: &Db, shelf: Shelf, id: String) -> Result<(), DbError> {
    let family = shelf.family(&id);
    db.write("mend words", family, async move |tx: &mut Tx| -> Result<(), DbError> { word::mend(tx, shelf, &id).await }).await
}
