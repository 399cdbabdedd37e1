//! The audit log: a hash chain for each family, and signed checkpoints over the heads of all chains.
//!
//! A row's hash covers the hash before it, so nothing inside a chain can be edited, deleted or reordered unseen. A chain's end is held by
//! its head, and both by the last checkpoint: its signature is not in the database's power. What was appended after the last checkpoint
//! can be cut by who can write to the database, so checkpoints are made often; the checkpoints themselves are chained, so that one
//! signature kept elsewhere holds everything before it.
//!
//! Bytes hashed, with BLAKE3 in key derivation mode: numbers as 8 bytes little-endian, texts as their length and then their UTF-8.
//! - row, context `counterfoil audit row v1`: prev (32 bytes) · family · seq · at · actor · event · detail; the first row's prev is zero.
//! - root, context `counterfoil audit root v1`: for each entry, sorted by family: family · seq · hash (32 bytes).
//! - checkpoint, context `counterfoil audit checkpoint v1`: number · at · entries · root · prev; the first one's prev is zero.

use super::webhook;
use crate::db::{Db, DbError, Tx};

pub use checkpoint::{Checkpoint, checkpoint, last_checkpoint_at};
#[doc(hidden)]
pub use verify::{AuditRow, verify_with};
pub use verify::{Finding, Report, verify};

mod checkpoint;
mod verify;

/// Where a row was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: i64,
    /// Hash of this row and so of all before it.
    pub hash: [u8; 32],
}

/// What a row says.
#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    at: i64,
    actor: &'a str,
    event: &'a str,
    detail: &'a str,
}

/// Appends a row to the family's chain: when (milliseconds), who, what, and the particulars. No secret belongs in it. Webhooks that want to
/// know of it are told, if this transaction commits.
///
/// # Errors
/// A failure of the database. When another process appended meanwhile, the action is run again.
pub async fn append(tx: &mut Tx, family: &str, at: i64, actor: &str, event: &str, detail: &serde_json::Value) -> Result<Entry, DbError> {
    let head = head(tx, family).await?;
    append_after(tx, family, head, at, actor, event, detail).await
}

/// Where a family's chain ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head(Option<(i64, [u8; 32])>);

/// Where a family's chain ends now, for [`append_after`].
///
/// # Errors
/// A failure of the database.
pub async fn head(tx: &mut Tx, family: &str) -> Result<Head, DbError> {
    tx.query("SELECT seq, hash FROM audit_head WHERE family = $1").bind(family).opt().await.map(Head)
}

/// As [`append`], where nothing was appended since `head` was read: so what was read of the family after it is still so, and stays so until
/// this transaction ends. Every effect has its record.
///
/// # Errors
/// A failure of the database. When something was appended meanwhile, the action is run again.
pub async fn append_after(
    tx: &mut Tx,
    family: &str,
    head: Head,
    at: i64,
    actor: &str,
    event: &str,
    detail: &serde_json::Value,
) -> Result<Entry, DbError> {
    let detail = detail.to_string();
    let said = Said { at, actor, event, detail: &detail };
    let Some((last, prev)) = head.0 else {
        return match begin(tx, family, said).await? {
            Some(entry) => Ok(entry),
            None => Err(tx.conflict("the audit log")),
        };
    };
    let seq = last + 1;
    let hash = row_hash(&prev, family, seq, said);
    // The head first: who loses the race for it must not have written a row.
    let moved = tx
        .query("UPDATE audit_head SET seq = $1, hash = $2, checkpoint = NULL WHERE family = $3 AND seq = $4")
        .bind(seq)
        .bind(hash)
        .bind(family)
        .bind(last)
        .execute()
        .await?;
    if moved == 0 {
        return Err(tx.conflict("the audit log"));
    }
    insert(tx, family, Entry { seq, hash }, &prev, said).await
}

/// Lets nobody else append to the family's chain until this transaction has ended, so that what is read from here on stays as it is as far as
/// transactions go that append. Nothing where the family has no chain yet.
///
/// # Errors
/// A failure of the database.
pub async fn hold(tx: &mut Tx, family: &str) -> Result<(), DbError> {
    tx.query("UPDATE audit_head SET seq = seq WHERE family = $1").bind(family).execute().await.map(drop)
}

/// As [`append`], for a family that most probably has no chain yet: what was never touched has no row to look for.
///
/// # Errors
/// As for `append`.
pub async fn append_first(
    tx: &mut Tx,
    family: &str,
    at: i64,
    actor: &str,
    event: &str,
    detail: &serde_json::Value,
) -> Result<Entry, DbError> {
    let text = detail.to_string();
    match begin(tx, family, Said { at, actor, event, detail: &text }).await? {
        Some(entry) => Ok(entry),
        None => append(tx, family, at, actor, event, detail).await,
    }
}

/// Begins a chain; nothing is written where there is one.
async fn begin(tx: &mut Tx, family: &str, said: Said<'_>) -> Result<Option<Entry>, DbError> {
    let prev = [0; 32];
    let hash = row_hash(&prev, family, 1, said);
    let begun = tx
        .query("INSERT INTO audit_head (family, seq, hash) VALUES ($1, 1, $2) ON CONFLICT (family) DO NOTHING")
        .bind(family)
        .bind(hash)
        .execute()
        .await?;
    if begun == 0 {
        return Ok(None);
    }
    insert(tx, family, Entry { seq: 1, hash }, &prev, said).await.map(Some)
}

async fn insert(tx: &mut Tx, family: &str, entry: Entry, prev: &[u8; 32], said: Said<'_>) -> Result<Entry, DbError> {
    tx.query("INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(family)
        .bind(entry.seq)
        .bind(said.at)
        .bind(said.actor)
        .bind(said.event)
        .bind(said.detail)
        .bind(prev)
        .bind(entry.hash)
        .execute()
        .await?;
    webhook::tell(tx, family, entry.seq, said.at, said.event, said.detail).await?;
    Ok(entry)
}

fn row_hash(prev: &[u8; 32], family: &str, seq: i64, said: Said<'_>) -> [u8; 32] {
    let mut hash = Canonical::new("counterfoil audit row v1");
    hash.bytes(prev).text(family).number(seq).number(said.at).text(said.actor).text(said.event).text(said.detail);
    hash.finish()
}

/// Hashes fields so that no two sequences of them give the same bytes.
struct Canonical(blake3::Hasher);

impl Canonical {
    fn new(context: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    fn bytes(&mut self, bytes: &[u8; 32]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    fn number(&mut self, number: i64) -> &mut Self {
        self.0.update(&number.to_le_bytes());
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    fn finish(&self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// How many rows are in memory at a time, whatever the size of the log.
const PAGE: i64 = 500;

/// Reads the open heads after a family, in order.
async fn open_heads_after(db: &Db, family: String) -> Result<Vec<String>, DbError> {
    db.read("find heads without checkpoint", async move |tx| {
        let sql = "SELECT family FROM audit_head WHERE checkpoint IS NULL AND family > $1 ORDER BY family LIMIT $2";
        Ok(tx.query(sql).bind(&family).bind(PAGE).all::<(String,)>().await?.into_iter().map(|(family,)| family).collect())
    })
    .await
}
