//! Makes checkpoints: what every chain that grew has come to, under one signature.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::{Canonical, PAGE, open_heads_after};
use crate::db::{Db, DbError, Tx};

/// What a checkpoint says, and what is signed: it holds every chain up to the heads it lists, and all checkpoints before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// From 1, without gaps.
    pub number: i64,
    /// When it was begun, in milliseconds.
    pub at: i64,
    /// How many heads it lists: those that moved since the one before.
    pub entries: i64,
    /// Hash over these heads.
    #[serde(with = "hex")]
    pub root: [u8; 32],
    /// Hash of the checkpoint before it.
    #[serde(with = "hex")]
    pub prev: [u8; 32],
}

impl Checkpoint {
    /// What the next checkpoint holds of this one.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Canonical::new("counterfoil audit checkpoint v1");
        hash.number(self.number).number(self.at).number(self.entries).bytes(&self.root).bytes(&self.prev);
        hash.finish()
    }
}

/// After this long, one that was begun and not finished is taken over: its server has died.
const TAKE_OVER: i64 = 10 * 60 * 1000;

/// Makes a checkpoint over all heads that moved since the last one, at `now` (milliseconds). `sign` returns a signed document that holds
/// the checkpoint, such as a JWS; keep a copy of it elsewhere. `None`: nothing moved, or another process is at it.
///
/// # Errors
/// A failure of the database. What was collected stays, and the next call goes on with it.
pub async fn checkpoint(
    db: &Db,
    now: i64,
    sign: impl Fn(&Checkpoint) -> Result<String, String>,
) -> Result<Option<(Checkpoint, String)>, DbError> {
    let Some((number, prev)) = begin(db, now).await? else { return Ok(None) };

    let mut last = String::new();
    loop {
        let families = open_heads_after(db, last.clone()).await?;
        let Some(end) = families.last().cloned() else { break };
        // Each in its own family's transaction; they share commits.
        crate::db::all(families.into_iter().map(|family| enter(db, number, now, family))).await?;
        last = end;
    }

    let (root, entries) = db.snapshot("root of checkpoint", async move |tx| root(tx, number).await).await?;
    let made = Checkpoint { number, at: now, entries, root, prev };
    let signature = sign(&made).map_err(|reason| DbError::Unavailable(format!("the checkpoint was not signed: {reason}")))?;
    let sealed = seal(db, made.clone(), signature.clone()).await?;
    Ok(sealed.then_some((made, signature)))
}

/// When the last checkpoint was begun, in milliseconds.
///
/// # Errors
/// A failure of the database.
pub async fn last_checkpoint_at(tx: &mut Tx) -> Result<Option<i64>, DbError> {
    let last: Option<(i64,)> = tx.query("SELECT at FROM audit_checkpoint ORDER BY number DESC LIMIT 1").opt().await?;
    Ok(last.map(|(at,)| at))
}

/// Claims the next number, or the unfinished one of a server that died. `None`: nothing to do here.
async fn begin(db: &Db, now: i64) -> Result<Option<(i64, [u8; 32])>, DbError> {
    let begun = AtomicBool::new(false);
    db.write("begin checkpoint", "/checkpoint", async move |tx| {
        let sql = "SELECT number, at, prev, signature FROM audit_checkpoint ORDER BY number DESC LIMIT 1";
        let last = tx.query(sql).opt::<(i64, i64, [u8; 32], Option<String>)>().await?;
        if let Some((number, at, prev, None)) = last {
            // Run again because the answer of its COMMIT was lost, it finds its own beginning.
            if at == now && begun.load(Ordering::Relaxed) {
                return Ok(Some((number, prev)));
            }
            let sql = "UPDATE audit_checkpoint SET at = $1 WHERE number = $2 AND at = $3 AND signature IS NULL";
            let mine = at <= now - TAKE_OVER && tx.query(sql).bind(now).bind(number).bind(at).execute().await? == 1;
            begun.store(mine, Ordering::Relaxed);
            return Ok(mine.then_some((number, prev)));
        }
        let moved = tx.query("SELECT family FROM audit_head WHERE checkpoint IS NULL LIMIT 1").opt::<(String,)>().await?;
        if moved.is_none() {
            return Ok(None);
        }
        let (number, prev) = match last {
            None => (1, [0; 32]),
            Some((number, ..)) => (number + 1, sealed(tx, number).await?.hash()),
        };
        let sql = "INSERT INTO audit_checkpoint (number, at, prev) VALUES ($1, $2, $3) ON CONFLICT (number) DO NOTHING";
        let mine = tx.query(sql).bind(number).bind(now).bind(prev).execute().await? == 1;
        begun.store(mine, Ordering::Relaxed);
        Ok(mine.then_some((number, prev)))
    })
    .await
}

/// Enters what a family's chain has come to by now.
async fn enter(db: &Db, number: i64, at: i64, family: String) -> Result<(), DbError> {
    db.write("enter head in checkpoint", family.clone(), async move |tx| {
        let sql = "SELECT number FROM audit_checkpoint WHERE number = $1 AND at = $2 AND signature IS NULL";
        if tx.query(sql).bind(number).bind(at).opt::<(i64,)>().await?.is_none() {
            return Err(DbError::Unavailable("another process has taken the checkpoint over".to_owned()));
        }
        let sql = "SELECT seq, hash FROM audit_head WHERE family = $1 AND checkpoint IS NULL";
        let Some((seq, hash)) = tx.query(sql).bind(&family).opt::<(i64, [u8; 32])>().await? else { return Ok(()) };
        let sql = "UPDATE audit_head SET checkpoint = $1 WHERE family = $2 AND seq = $3";
        if tx.query(sql).bind(number).bind(&family).bind(seq).execute().await? == 0 {
            return Err(tx.conflict("the audit log"));
        }
        tx.query(
            "INSERT INTO audit_checkpoint_entry (family, number, seq, hash) VALUES ($1, $2, $3, $4)
             ON CONFLICT (family, number) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
        )
        .bind(&family)
        .bind(number)
        .bind(seq)
        .bind(hash)
        .execute()
        .await?;
        Ok(())
    })
    .await
}

/// Hashes the entries of a checkpoint and counts them.
pub(super) async fn root(tx: &mut Tx, number: i64) -> Result<([u8; 32], i64), DbError> {
    let mut hash = Canonical::new("counterfoil audit root v1");
    let mut count = 0;
    let mut last = String::new();
    loop {
        let sql = "SELECT family, seq, hash FROM audit_checkpoint_entry WHERE number = $1 AND family > $2 ORDER BY family LIMIT $3";
        let page = tx.query(sql).bind(number).bind(&last).bind(PAGE).all::<(String, i64, Vec<u8>)>().await?;
        let Some((end, ..)) = page.last() else { return Ok((hash.finish(), count)) };
        last.clone_from(end);
        for (family, seq, head) in &page {
            // An entry whose hash was cut cannot match whatever was signed.
            hash.text(family).number(*seq).bytes(&<[u8; 32]>::try_from(head.as_slice()).unwrap_or_default());
            count += 1;
        }
    }
}

async fn seal(db: &Db, made: Checkpoint, signature: String) -> Result<bool, DbError> {
    db.write("seal checkpoint", "/checkpoint", async move |tx| {
        tx.query(
            "UPDATE audit_checkpoint SET entries = $1, root = $2, signature = $3
             WHERE number = $4 AND at = $5 AND (signature IS NULL OR signature = $3)",
        )
        .bind(made.entries)
        .bind(made.root)
        .bind(&signature)
        .bind(made.number)
        .bind(made.at)
        .execute()
        .await
    })
    .await
    .map(|updated| updated == 1)
}

async fn sealed(tx: &mut Tx, number: i64) -> Result<Checkpoint, DbError> {
    let sql = "SELECT at, entries, root, prev FROM audit_checkpoint WHERE number = $1";
    let (at, entries, root, prev) = tx.query(sql).bind(number).one().await?;
    Ok(Checkpoint { number, at, entries, root, prev })
}

/// Hashes as 64 lower-case hexadecimal digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &[u8; 32], out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&blake3::Hash::from_bytes(*hash).to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(input)?;
        blake3::Hash::from_hex(&text).map(|hash| *hash.as_bytes()).map_err(|_| D::Error::custom("expected 64 hexadecimal digits"))
    }
}
