//! Devices that hold their own keys (C5): each is a holder of the user whose entry it is in. Which holder follows from its keys, and that
//! SQL cannot compute.

use std::collections::HashSet;
use std::sync::LazyLock;

use counterfoil_core::HolderId;
use counterfoil_format::holder::id_of;

use super::across::{ROWS, bind, with_places};
use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};

/// What is checked here.
pub(super) const SENTENCE: &str = "a device in an entry without a card is a holder of that user, and of nobody else";

/// Whose the holders are.
static KNOWN: LazyLock<String> =
    LazyLock::new(|| with_places("SELECT holder_id, user_id FROM holder WHERE user_id IS NOT NULL AND holder_id IN ({})"));

/// What breaks it.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let broken = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { broken(tx).await }).await?;
    Ok(broken.into_iter().map(|subject| Violation { invariant: SENTENCE, subject }).collect())
}

async fn broken(tx: &mut Tx) -> Result<Vec<String>, DbError> {
    step_back();
    let page = "SELECT d.user_id, d.device_id, d.sign_key, d.seal_key FROM user_device d JOIN user_entry e ON e.user_id = d.user_id
                WHERE (d.user_id, d.device_id) > ($1, $2) AND e.holder_kind = 'device' ORDER BY d.user_id, d.device_id LIMIT $3";
    let mut broken = Vec::new();
    let mut after = (String::new(), String::new());
    while broken.len() < MOST as usize {
        let rows: Vec<(String, String, Vec<u8>, Vec<u8>)> = tx.query(page).bind(&after.0).bind(&after.1).bind(ROWS as i64).all().await?;
        let Some(last) = rows.last() else { break };
        after = (last.0.clone(), last.1.clone());
        let holder = |(.., sign, seal): &(String, String, Vec<u8>, Vec<u8>)| HolderId::from_bytes(id_of(sign, seal)).to_string();
        let holders: Vec<String> = rows.iter().map(holder).collect();
        let known: HashSet<(String, String)> = bind(tx.query(&KNOWN), holders.iter()).all().await?.into_iter().collect();
        let missing = rows.into_iter().zip(holders).filter(|((user, ..), holder)| !known.contains(&(holder.clone(), user.clone())));
        broken.extend(missing.map(|((_, device, ..), _)| device));
    }
    broken.truncate(MOST as usize);
    Ok(broken)
}
