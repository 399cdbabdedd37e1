//! Feeds (A5): their numbers only rise, and the one that is there is the one that was taken last. The audit log says which were taken, as
//! JSON, which SQL that both engines understand cannot read.

use std::collections::HashMap;

use counterfoil_format::content::ObjectName;
use serde::Deserialize;

use super::across::ROWS;
use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};
use crate::store::title;

/// What is checked here.
pub(super) const SENTENCE: &str = "the number of a title's feed only rises, and the one that is there was taken last";

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
struct Taken {
    sequence: i64,
    feed: ObjectName,
}

/// What breaks it.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let broken = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { broken(tx).await }).await?;
    Ok(broken.into_iter().map(|subject| Violation { invariant: SENTENCE, subject }).collect())
}

async fn broken(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    step_back();
    let (mut last, mut broken) = taken(tx).await?;
    let mut after = String::new();
    loop {
        let page = "SELECT title_id, sequence, document FROM feed WHERE title_id > $1 ORDER BY title_id LIMIT $2";
        let rows: Vec<(String, i64, String)> = tx.query(page).bind(&after).bind(ROWS as i64).all().await?;
        let Some((end, ..)) = rows.last() else { break };
        after = end.clone();
        for (title, sequence, document) in rows {
            let there = Taken { sequence, feed: ObjectName::of(document.as_bytes()) };
            let family = title.parse().map(|id| title::family(&id)).unwrap_or_default();
            if last.remove(&family) != Some(there) {
                broken.push(title);
            }
        }
    }
    // What is left was taken once, and is not there.
    broken.extend(last.into_keys());
    broken.sort_unstable();
    broken.dedup();
    broken.truncate(MOST as usize);
    Ok(broken)
}

/// The feed that was taken last, by family; and the families in which a number did not rise.
async fn taken(tx: &mut Tx) -> Result<(HashMap<String, Taken>, Vec<String>), DbError> {
    let (mut last, mut broken) = (HashMap::<String, Taken>::new(), vec![]);
    let mut after = (String::new(), 0_i64);
    loop {
        let page =
            "SELECT family, seq, detail FROM audit WHERE (family, seq) > ($1, $2) AND event = 'feed.taken' ORDER BY family, seq LIMIT $3";
        let rows: Vec<(String, i64, String)> = tx.query(page).bind(&after.0).bind(after.1).bind(ROWS as i64).all().await?;
        let Some((family, seq, _)) = rows.last() else { return Ok((last, broken)) };
        after = (family.clone(), *seq);
        for (family, _, detail) in rows {
            let Ok(taken) = serde_json::from_str::<Taken>(&detail) else {
                broken.push(family);
                continue;
            };
            if last.insert(family.clone(), taken).is_some_and(|before| before.sequence >= taken.sequence) {
                broken.push(family);
            }
        }
    }
}
