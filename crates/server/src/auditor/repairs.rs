//! Invariants of what was exchanged (C14): what an exchange takes back is taken back whole, once, with its record, and for good.

use std::collections::HashSet;

use serde::Deserialize;

use super::across::ROWS;
use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[
    (
        "an entry's generation is the number of its repairs",
        "SELECT e.user_id FROM user_entry e WHERE e.generation <> COALESCE((SELECT COUNT(*) FROM repair r
           WHERE r.user_id = e.user_id GROUP BY r.user_id), 0) LIMIT $1",
    ),
    (
        "nothing is exchanged without its record in the audit log",
        "SELECT r.user_id FROM repair r WHERE r.kind <> 'card' GROUP BY r.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = r.user_id AND a.event = 'user.exchanged' GROUP BY a.family), 0) LIMIT $1",
    ),
    (
        "a medium counts as many freed copies as were taken back, with a record of that",
        "SELECT m.medium_id FROM medium m WHERE m.copies_freed <> COALESCE((SELECT COUNT(DISTINCT g.copy) FROM grants g
           WHERE g.medium_id = m.medium_id AND g.state = 'revoked' GROUP BY g.medium_id), 0)
           OR (m.copies_freed > 0 AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.family = m.medium_id AND a.event = 'medium.freed')) LIMIT $1",
    ),
    (
        "a copy is taken back whole",
        "SELECT medium_id FROM grants GROUP BY medium_id, copy
           HAVING COUNT(DISTINCT CASE WHEN state = 'revoked' THEN 1 ELSE 0 END) > 1 LIMIT $1",
    ),
    (
        "what was exchanged is not in the entry, unless it was taken in again since",
        "SELECT d.device_id FROM user_device d JOIN device_info i ON i.user_id = d.user_id AND i.device_id = d.device_id
           JOIN repair r ON r.user_id = d.user_id AND r.old_id = d.device_id AND r.created_at = i.retired_at LIMIT $1",
    ),
];

/// The one that needs more than SQL.
pub(super) const SENTENCE: &str = "the keys of a grant that was taken back are given to nobody any more";

/// What breaks it.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let mut violations = super::broken(db, INVARIANTS).await?;
    let given = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { given_after_all(tx).await }).await?;
    violations.extend(given.into_iter().map(|subject| Violation { invariant: SENTENCE, subject }));
    Ok(violations)
}

/// What a record says of grants.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    grants: Vec<String>,
    #[serde(default)]
    grant: Option<String>,
}

/// The record of each medium of which a copy was taken back, from its beginning: after that, no grant of it is named any more.
async fn given_after_all(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    step_back();
    let (mut broken, mut after) = (vec![], String::new());
    while broken.len() < MOST as usize {
        let sql = "SELECT medium_id FROM medium WHERE copies_freed > 0 AND medium_id > $1 ORDER BY medium_id LIMIT $2";
        let media: Vec<(String,)> = tx.query(sql).bind(&after).bind(ROWS as i64).all().await?;
        let Some((last,)) = media.last() else { break };
        after.clone_from(last);
        for (medium,) in media {
            broken.extend(given_of(tx, &medium).await?);
        }
    }
    broken.truncate(MOST as usize);
    Ok(broken)
}

async fn given_of(tx: &mut Tx, medium: &str) -> Result<Vec<String>, DbError> {
    let (mut freed, mut given, mut after) = (HashSet::<String>::new(), vec![], 0_i64);
    loop {
        let sql = "SELECT seq, event, detail FROM audit WHERE family = $1 AND seq > $2 ORDER BY seq LIMIT $3";
        let records: Vec<(i64, String, String)> = tx.query(sql).bind(medium).bind(after).bind(ROWS as i64).all().await?;
        let Some((seq, ..)) = records.last() else { return Ok(given) };
        after = *seq;
        for (_, event, detail) in records {
            let Ok(named) = serde_json::from_str::<Named>(&detail) else { continue };
            let grants = named.grants.into_iter().chain(named.grant);
            if event == "medium.freed" {
                freed.extend(grants);
            } else {
                given.extend(grants.filter(|grant| freed.contains(grant)));
            }
        }
    }
}
