//! Names and the words that they are found by: which words those are, SQL cannot say.

use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};
use crate::store::word::{self, Shelf};

/// What is checked here.
pub(super) const SENTENCE: &str = "a name is found by its words, and by no others";

/// What breaks it.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let broken = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { broken(tx).await }).await?;
    Ok(broken.into_iter().map(|subject| Violation { invariant: SENTENCE, subject }).collect())
}

async fn broken(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    step_back();
    let mut broken = vec![];
    for shelf in Shelf::ALL {
        broken.extend(word::orphans(tx, shelf, MOST).await?);
        let mut after = Some(String::new());
        while let Some(from) = after.filter(|_| broken.len() < MOST as usize) {
            let (different, last) = word::different(tx, shelf, &from).await?;
            broken.extend(different);
            after = last;
        }
    }
    broken.dedup();
    broken.truncate(MOST as usize);
    Ok(broken)
}
