//! Cards that were replaced (C15), and requests for new ones. Which holder a card is follows from its ID, and that SQL cannot compute.

use std::collections::HashSet;
use std::sync::LazyLock;

use counterfoil_core::{CardId, HolderId};

use super::across::{ROWS, bind, with_places};
use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[
    (
        "a request for a card is decided as its state says, and done exactly when a repair has carried it out",
        "SELECT r.reissue_id FROM reissue r WHERE r.state NOT IN ('waiting', 'done', 'declined')
           OR (r.state = 'waiting') <> (r.decided_at IS NULL) OR (r.state = 'done') <> (r.repair_id IS NOT NULL)
           OR (r.holder_id IS NULL) <> (r.sign_key IS NULL) OR (r.holder_id IS NULL) <> (r.seal_key IS NULL)
           OR (r.state = 'done' AND (r.holder_id IS NULL OR NOT EXISTS (SELECT 1 FROM repair p
             WHERE p.user_id = r.user_id AND p.repair_id = r.repair_id AND p.kind = 'card'))) LIMIT $1",
    ),
    (
        "an entry has one request for a card that waits, at most",
        "SELECT user_id FROM reissue WHERE state = 'waiting' GROUP BY user_id HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "no card is asked for or replaced without its record in the audit log",
        "SELECT r.user_id FROM reissue r GROUP BY r.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = r.user_id AND a.event = 'card.reissue_asked' GROUP BY a.family), 0)
         UNION ALL SELECT p.user_id FROM repair p WHERE p.kind = 'card' GROUP BY p.user_id HAVING COUNT(*) <> COALESCE((SELECT COUNT(*)
           FROM audit a WHERE a.family = p.user_id AND a.event = 'card.replaced' GROUP BY a.family), 0) LIMIT $1",
    ),
];

/// The one that needs more than SQL.
pub(super) const SENTENCE: &str = "a card that was replaced is in no entry, and dead or about to be";

static WAITING: LazyLock<String> =
    LazyLock::new(|| with_places("SELECT operation_id FROM outbox WHERE kind = 'bury_holder' AND operation_id IN ({})"));
static DEAD: LazyLock<String> = LazyLock::new(|| with_places("SELECT holder_id FROM holder WHERE state = 'dead' AND holder_id IN ({})"));
static IN_USE: LazyLock<String> = LazyLock::new(|| with_places("SELECT holder_id FROM user_entry WHERE holder_id IN ({})"));

/// What breaks it.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let broken = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { broken(tx).await }).await?;
    Ok(broken.into_iter().map(|subject| Violation { invariant: SENTENCE, subject }).collect())
}

async fn broken(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    step_back();
    let page = "SELECT user_id, repair_id, old_id FROM repair WHERE (user_id, repair_id) > ($1, $2) AND kind = 'card'
                ORDER BY user_id, repair_id LIMIT $3";
    let mut broken = Vec::new();
    let mut after = (String::new(), String::new());
    while broken.len() < MOST as usize {
        let rows: Vec<(String, String, String)> = tx.query(page).bind(&after.0).bind(&after.1).bind(ROWS as i64).all().await?;
        let Some(last) = rows.last() else { break };
        after = (last.0.clone(), last.1.clone());
        // An ID that is none is in no family, and so breaks the sentence.
        let holder = |card: &str| card.parse::<CardId>().map_or_else(|_| card.to_owned(), |card| HolderId::from(card).to_string());
        let holders: Vec<String> = rows.iter().map(|(.., old)| holder(old)).collect();
        let messages: Vec<String> = rows.iter().map(|(_, repair, _)| format!("{repair}/holder")).collect();
        // The message goes when the card is dead, so it is looked for first.
        let waiting = texts(tx, &WAITING, &messages).await?;
        let (dead, in_use) = (texts(tx, &DEAD, &holders).await?, texts(tx, &IN_USE, &holders).await?);
        let wrong = rows
            .into_iter()
            .zip(holders)
            .zip(messages)
            .filter(|((_, holder), message)| in_use.contains(holder) || !dead.contains(holder) && !waiting.contains(message));
        broken.extend(wrong.map(|(((.., old), _), _)| old));
    }
    broken.truncate(MOST as usize);
    Ok(broken)
}

async fn texts(tx: &mut Tx, sql: &'static str, wanted: &[String]) -> Result<HashSet<String>, DbError> {
    let rows: Vec<(String,)> = bind(tx.query(sql), wanted.iter()).all().await?;
    Ok(rows.into_iter().map(|(text,)| text).collect())
}
