//! What a batch says of all its media, kept in memory: every claim asks for it, and it hardly ever changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_core::{BatchId, Rights};

use super::medium::{self, PressedTitle};
use crate::db::{DbError, Tx};

/// Batches that are kept; where there are more, all are forgotten and read again.
const MOST: usize = 1024;

/// A batch with its titles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// Which.
    pub batch: BatchId,
    /// Serials that exist, where it was pressed here: an imported batch has a row for each medium, and grows.
    pub count: Option<i64>,
    /// What its media allow, where their rows do not say.
    pub rights: Rights,
    /// Refreshes that were ordered of all its media.
    pub refreshes: u32,
    /// Changes of its rights and refreshes, when this was read.
    pub revision: i64,
    /// Claim key, wrapped.
    pub claim_key: Vec<u8>,
    /// Whether its keys are paid for when they are copied (C18).
    pub paid_on_copy: bool,
    /// In the order of the identity area.
    pub titles: Vec<PressedTitle>,
}

/// The batches that were asked for lately.
///
/// A batch's titles, their releases and content keys are written once. Only wrappings are changed, when key-encryption keys are rotated, and
/// those from before open as long as their key is in the database, which none ever leaves. Rights and refreshes do change, in whatever
/// process: a claim commits only where the batch still has the revision that it was decided by, and a proof that is good under nothing that
/// is known here is held against the batch as it is ([`Batches::forget`]) before it is refused. What else changes hangs from the medium's
/// row, and is not kept here: rights of its own, epoch, copies, retirement.
#[derive(Debug, Default)]
pub struct Batches(Mutex<HashMap<BatchId, Arc<Pressed>>>);

/// Origin, count, rights, claim key, refreshes, revision, and whether it is paid for when it is copied.
type Columns = (String, i64, Rights, Vec<u8>, u32, i64, i64);

impl Batches {
    /// The batch, from memory or else from the database; what does not exist, or holds nothing, is not kept.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn find(&self, tx: &mut Tx, batch: BatchId) -> Result<Option<Arc<Pressed>>, DbError> {
        if let Some(known) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&batch) {
            return Ok(Some(Arc::clone(known)));
        }
        let row: Option<Columns> = tx
            .query("SELECT origin, count, rights, claim_key, refreshes, revision, paid_on_copy FROM batch WHERE batch_id = $1")
            .bind(batch.to_string())
            .opt()
            .await?;
        let Some((origin, count, rights, claim_key, refreshes, revision, paid_on_copy)) = row else { return Ok(None) };
        let titles = medium::titles(tx, batch).await?;
        let count = (origin == "pressed").then_some(count);
        let paid_on_copy = paid_on_copy != 0;
        let found = Arc::new(Pressed { batch, count, rights, refreshes, revision, claim_key, paid_on_copy, titles });
        if found.titles.is_empty() {
            return Ok(Some(found));
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(batch, Arc::clone(&found));
        Ok(Some(found))
    }

    /// Has the batch read from the database when it is asked for next.
    pub fn forget(&self, batch: BatchId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&batch);
    }
}
