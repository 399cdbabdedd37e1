//! Checks the audit log from the database alone: every row, every head, every checkpoint, in constant memory.

use std::collections::{BTreeMap, VecDeque};

use super::checkpoint::{Checkpoint, root};
use super::{PAGE, Said, row_hash};
use crate::db::{Db, DbError, FromRow, Row, Tx};

/// What the verifier found wrong. Families and numbers name the rows to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "family, number and seq are what they are everywhere")]
pub enum Finding {
    /// The row does not hash to what it says: it was edited, or moved from another place.
    Edited { family: String, seq: i64 },
    /// The row does not continue the one before it.
    Unlinked { family: String, seq: i64 },
    /// Rows are missing before this one, or rows follow that must not be there.
    Gap { family: String, expected: i64, found: i64 },
    /// The chain has rows and no head.
    HeadMissing { family: String },
    /// The head is not the last row: rows were cut or added.
    HeadDiffers { family: String, head: i64, last: i64 },
    /// A checkpoint lists a row that is not in the chain: rows or the whole family were cut.
    Cut { family: String, number: i64, seq: i64 },
    /// A checkpoint lists another hash for this row: the chain was rewritten.
    Rewritten { family: String, number: i64, seq: i64 },
    /// A head or an entry refers to a checkpoint that does not exist, or that does not list it.
    CheckpointMissing { number: i64 },
    /// A checkpoint does not match its entries or the one before it.
    CheckpointDiffers { number: i64 },
    /// The signature of a checkpoint does not hold, or says something else.
    CheckpointUnsigned { number: i64, reason: String },
    /// A checkpoint kept elsewhere is not in the database as it was signed.
    ExportDiffers { number: i64 },
    /// A checkpoint kept elsewhere cannot be read.
    ExportUnreadable { reason: String },
}

/// What was looked at and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of the log.
    pub rows: u64,
    /// Chains.
    pub families: u64,
    /// Checkpoints that are finished.
    pub checkpoints: u64,
    /// The first thousand findings.
    pub findings: Vec<Finding>,
    /// Findings in all.
    pub found: u64,
}

impl Report {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.found == 0
    }

    fn tell(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < 1000 {
            self.findings.push(finding);
        }
    }
}

/// Verifies the whole log over one state of the database. `check` verifies a checkpoint's signature and returns what it says; `kept` are
/// signed checkpoints that were exported earlier.
///
/// # Errors
/// A failure of the database; findings are no error.
pub async fn verify<C>(db: &Db, kept: Vec<String>, check: C) -> Result<Report, DbError>
where
    C: Fn(&str) -> Result<Checkpoint, String> + Send + 'static,
{
    verify_with(db, kept, check, AuditRow::holds).await
}

/// As `verify`, with the check of a single row given: only a test gives another, broken one.
#[doc(hidden)]
pub async fn verify_with<C, R>(db: &Db, kept: Vec<String>, check: C, row_holds: R) -> Result<Report, DbError>
where
    C: Fn(&str) -> Result<Checkpoint, String> + Send + 'static,
    R: Fn(&AuditRow) -> bool + Send + 'static,
{
    db.snapshot("verify audit log", async move |tx| {
        crate::auditor::step_back();
        let mut report = Report::default();
        verify_chains(tx, &mut report, &row_holds).await?;
        verify_checkpoints(tx, &mut report, &kept, &check).await?;
        Ok(report)
    })
    .await
}

/// A row of the log as it stands in the database.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct AuditRow {
    family: String,
    seq: i64,
    at: i64,
    actor: String,
    event: String,
    detail: String,
    // As they are: who edits the log may leave anything here.
    prev: Vec<u8>,
    hash: Vec<u8>,
}

impl AuditRow {
    /// Whether the row hashes to what it says.
    fn holds(&self) -> bool {
        let said = Said { at: self.at, actor: &self.actor, event: &self.event, detail: &self.detail };
        let Ok(prev) = <[u8; 32]>::try_from(self.prev.as_slice()) else { return false };
        row_hash(&prev, &self.family, self.seq, said)[..] == self.hash
    }
}

impl FromRow for AuditRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            family: row.column()?,
            seq: row.column()?,
            at: row.column()?,
            actor: row.column()?,
            event: row.column()?,
            detail: row.column()?,
            prev: row.column()?,
            hash: row.column()?,
        })
    }
}

/// The end of a chain as its head has it.
struct Head {
    family: String,
    seq: i64,
    hash: Vec<u8>,
    checkpoint: Option<i64>,
}

impl FromRow for Head {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { family: row.column()?, seq: row.column()?, hash: row.column()?, checkpoint: row.column()? })
    }
}

/// The end of a chain as a checkpoint lists it.
struct Listed {
    family: String,
    number: i64,
    seq: i64,
    hash: Vec<u8>,
}

impl FromRow for Listed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { family: row.column()?, number: row.column()?, seq: row.column()?, hash: row.column()? })
    }
}

/// A table read from front to back, a page at a time.
trait Paged: FromRow {
    /// Rows after the place `($1, $2)`, at most `$3`, in order.
    const SQL: &'static str;
    fn place(&self) -> (&String, i64);
}

impl Paged for AuditRow {
    const SQL: &'static str = "SELECT family, seq, at, actor, event, detail, prev, hash FROM audit
        WHERE (family, seq) > ($1, $2) ORDER BY family, seq LIMIT $3";
    fn place(&self) -> (&String, i64) {
        (&self.family, self.seq)
    }
}

impl Paged for Head {
    const SQL: &'static str = "SELECT family, seq, hash, checkpoint FROM audit_head
        WHERE (family, seq) > ($1, $2) ORDER BY family, seq LIMIT $3";
    fn place(&self) -> (&String, i64) {
        (&self.family, self.seq)
    }
}

impl Paged for Listed {
    const SQL: &'static str = "SELECT family, number, seq, hash FROM audit_checkpoint_entry
        WHERE (family, number) > ($1, $2) ORDER BY family, number LIMIT $3";
    fn place(&self) -> (&String, i64) {
        (&self.family, self.number)
    }
}

struct Pages<T> {
    page: VecDeque<T>,
    after: (String, i64),
    ended: bool,
}

impl<T: Paged> Pages<T> {
    fn new() -> Self {
        Self { page: VecDeque::new(), after: (String::new(), i64::MIN), ended: false }
    }

    /// The family of the next row.
    async fn family(&mut self, tx: &mut Tx) -> Result<Option<&String>, DbError> {
        if self.page.is_empty() && !self.ended {
            let (family, number) = &self.after;
            self.page = tx.query(T::SQL).bind(family).bind(*number).bind(PAGE).all::<T>().await?.into();
            match self.page.back().map(T::place) {
                Some((family, number)) => self.after = (family.clone(), number),
                None => self.ended = true,
            }
        }
        Ok(self.page.front().map(|row| row.place().0))
    }

    /// The next row, if it is of this family.
    async fn next_of(&mut self, tx: &mut Tx, family: &str) -> Result<Option<T>, DbError> {
        let same = self.family(tx).await?.is_some_and(|next| next == family);
        Ok(if same { self.page.pop_front() } else { None })
    }
}

/// Walks rows, heads and checkpoint entries side by side, family by family.
async fn verify_chains(tx: &mut Tx, report: &mut Report, row_holds: &impl Fn(&AuditRow) -> bool) -> Result<(), DbError> {
    let (mut rows, mut heads, mut entries) = (Pages::<AuditRow>::new(), Pages::<Head>::new(), Pages::<Listed>::new());
    loop {
        let next = [rows.family(tx).await?.cloned(), heads.family(tx).await?.cloned(), entries.family(tx).await?.cloned()];
        let Some(family) = next.into_iter().flatten().min() else { return Ok(()) };
        report.families += 1;

        let mut listed = entries.next_of(tx, &family).await?;
        let mut newest = None;
        let (mut last, mut hash) = (0, vec![0; 32]);
        while let Some(row) = rows.next_of(tx, &family).await? {
            report.rows += 1;
            let seq = row.seq;
            if seq != last + 1 {
                report.tell(Finding::Gap { family: family.clone(), expected: last + 1, found: seq });
            }
            if !row_holds(&row) {
                report.tell(Finding::Edited { family: family.clone(), seq });
            }
            if row.prev != hash {
                report.tell(Finding::Unlinked { family: family.clone(), seq });
            }
            while let Some(entry) = listed.take_if(|entry| entry.seq <= seq) {
                let number = entry.number;
                if entry.seq < seq {
                    report.tell(Finding::Cut { family: family.clone(), number, seq: entry.seq });
                } else if entry.hash != row.hash {
                    report.tell(Finding::Rewritten { family: family.clone(), number, seq });
                }
                newest = Some((number, entry.seq));
                listed = entries.next_of(tx, &family).await?;
            }
            (last, hash) = (seq, row.hash);
        }
        while let Some(entry) = listed {
            report.tell(Finding::Cut { family: family.clone(), number: entry.number, seq: entry.seq });
            newest = Some((entry.number, entry.seq));
            listed = entries.next_of(tx, &family).await?;
        }
        verify_head(report, heads.next_of(tx, &family).await?, &family, (last, &hash), newest);
    }
}

fn verify_head(report: &mut Report, head: Option<Head>, family: &str, (last, hash): (i64, &[u8]), newest: Option<(i64, i64)>) {
    let Some(head) = head else {
        if last > 0 {
            report.tell(Finding::HeadMissing { family: family.to_owned() });
        }
        return;
    };
    if head.seq != last || head.hash != hash {
        report.tell(Finding::HeadDiffers { family: family.to_owned(), head: head.seq, last });
    }
    if let Some(number) = head.checkpoint
        && newest != Some((number, head.seq))
    {
        report.tell(Finding::CheckpointMissing { number });
    }
}

type CheckpointRow = (i64, i64, Option<i64>, Option<Vec<u8>>, Vec<u8>, Option<String>);

/// Walks the chain of checkpoints, and compares each with its entries, its signature, and what was kept elsewhere.
async fn verify_checkpoints(
    tx: &mut Tx,
    report: &mut Report,
    kept: &[String],
    check: &impl Fn(&str) -> Result<Checkpoint, String>,
) -> Result<(), DbError> {
    let mut exported = BTreeMap::new();
    for signature in kept {
        match check(signature) {
            Ok(checkpoint) => drop(exported.insert(checkpoint.number, checkpoint)),
            Err(reason) => report.tell(Finding::ExportUnreadable { reason }),
        }
    }
    let (mut last, mut prev) = (0, vec![0; 32]);
    loop {
        // One at a time: each is followed by a walk over its entries.
        let sql = "SELECT number, at, entries, root, prev, signature FROM audit_checkpoint WHERE number > $1 ORDER BY number LIMIT 1";
        let Some(row) = tx.query(sql).bind(last).opt::<CheckpointRow>().await? else { break };
        let (number, at, entries, root_kept, prev_kept, signature) = row;
        if number != last + 1 {
            report.tell(Finding::CheckpointMissing { number: last + 1 });
        }
        last = number;
        let Some(signature) = signature else {
            // The one that is being collected says nothing yet; there is none after it.
            let sql = "SELECT number FROM audit_checkpoint WHERE number > $1 ORDER BY number LIMIT 1";
            if tx.query(sql).bind(number).opt::<(i64,)>().await?.is_some() {
                report.tell(Finding::CheckpointDiffers { number });
            }
            continue;
        };
        report.checkpoints += 1;
        let (root, counted) = root(tx, number).await?;
        if entries != Some(counted) || root_kept.as_deref() != Some(&root[..]) || prev_kept != prev {
            report.tell(Finding::CheckpointDiffers { number });
        }
        let prev_kept = <[u8; 32]>::try_from(prev_kept).unwrap_or_default();
        let found = Checkpoint { number, at, entries: counted, root, prev: prev_kept };
        match check(&signature) {
            Ok(signed) if signed == found => {}
            Ok(_) => report.tell(Finding::CheckpointUnsigned { number, reason: "the signature is of something else".to_owned() }),
            Err(reason) => report.tell(Finding::CheckpointUnsigned { number, reason }),
        }
        if exported.remove(&number).is_some_and(|kept| kept != found) {
            report.tell(Finding::ExportDiffers { number });
        }
        prev = found.hash().to_vec();
    }
    for number in exported.into_keys() {
        report.tell(Finding::ExportDiffers { number });
    }
    let sql = "SELECT e.number FROM audit_checkpoint_entry e
        WHERE NOT EXISTS (SELECT 1 FROM audit_checkpoint c WHERE c.number = e.number) ORDER BY e.number LIMIT 1";
    if let Some((number,)) = tx.query(sql).opt::<(i64,)>().await? {
        report.tell(Finding::CheckpointMissing { number });
    }
    Ok(())
}
