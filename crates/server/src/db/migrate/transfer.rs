//! Moves an SQLite database to PostgreSQL while servers use it: copy, close, copy what has changed, compare everything, and only then say so.
//!
//! There is one way to copy: page by page in the order of the key, each page compared by a digest that the target computes itself, and mended
//! where it differs. It may be killed anywhere and run again; the second run finds most pages done. The same pass, under SQLite's write lock,
//! brings over what changed meanwhile.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::error::DbError;
use super::super::url::Target as Address;
use super::super::{Db, DbUrl, instant};
use super::rows::{PageDigest, Range, Running, Table};
use super::source::Source;
use super::target::{Mended, Target};

/// Why a database was not moved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// A database failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Only SQLite is moved, and only to PostgreSQL.
    #[error("from {0} to {1} is no move of this command")]
    Engines(&'static str, &'static str),
    /// The target cannot be moved to: why, and what to do.
    #[error("the target cannot be used: {0}")]
    Unfit(String, &'static str),
    /// The source was moved before.
    #[error("the source was moved to {0} already")]
    MovedAlready(String),
    /// After all was copied, a table is not the same on both sides.
    #[error("the table {table} differs: {source_rows} rows in the source, {target_rows} in the target, and not the same")]
    #[allow(missing_docs, reason = "the message says what they are")]
    Differs { table: String, source_rows: u64, target_rows: u64 },
}

/// How far it is.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The table under way.
    pub table: String,
    /// Rows looked at so far, of all tables.
    pub rows: u64,
    /// Rows in all, as counted at the beginning.
    pub of: u64,
    /// Since the beginning of this pass.
    pub elapsed: Duration,
}

/// What one pass over all tables did.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Pass {
    /// Rows of the source.
    pub rows: u64,
    /// Rows that were missing in the target.
    pub inserted: u64,
    /// Rows that were different there.
    pub changed: u64,
    /// Rows that the source has no more.
    pub deleted: u64,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// One table on both sides.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// Its name.
    pub table: String,
    /// Rows on either side.
    pub rows: u64,
    /// BLAKE3 over all rows in the order of the key, on either side.
    pub digest: String,
}

/// A move under way. Dropping it lets the source go: nothing there is changed.
pub struct Move {
    source: Source,
    target: Target,
    tables: Vec<Table>,
    from: String,
    to: String,
    total: u64,
    digests: Vec<(u64, String)>,
}

impl Move {
    /// Opens both sides. The target's schema is there, and empty, or half filled by an earlier run of the same move.
    ///
    /// # Errors
    /// `Engines`, `Unfit`, `MovedAlready`, or a failure of a database.
    pub async fn begin(from: &DbUrl, to: &Db) -> Result<Self, MoveError> {
        let (Address::Sqlite(path), Address::Postgres(address)) = (&from.0, to.target()) else {
            return Err(MoveError::Engines(from.engine(), to.url().engine()));
        };
        let source = Source::open(path)?;
        let (database, program) = (source.schema()?, to.migration_status().await?.program);
        super::MigrationStatus { database, program, pending: Vec::new() }.check()?;
        let target = Target::open(address, to.settings()).await?;
        let (from, to) = (format!("sqlite:{}", absolute(path)), to.url().to_string());
        let tables = source.tables()?;
        match source.moved_to()? {
            // It was killed between the marker of the source and the end: only the end is missing.
            Some(there) if there == to => {
                target.release(&from).await?;
                return Err(MoveError::MovedAlready(there));
            }
            Some(there) => return Err(MoveError::MovedAlready(there)),
            None => target.claim(&tables, &from).await?,
        }
        let total = tables.iter().map(|table| source.count(table)).sum::<Result<u64, _>>()?;
        Ok(Self { source, target, tables, from, to, total, digests: Vec::new() })
    }

    /// Copies everything, while servers go on writing to the source.
    ///
    /// # Errors
    /// A failure of a database; run it again.
    pub async fn copy(&mut self, tell: impl FnMut(&Progress)) -> Result<Pass, MoveError> {
        self.source.look()?;
        let pass = self.pass(tell).await;
        self.source.let_go()?;
        pass
    }

    /// Closes the source for writes and copies what has changed.
    ///
    /// # Errors
    /// A failure of a database; the source is open again.
    pub async fn close_and_copy(&mut self, tell: impl FnMut(&Progress)) -> Result<Pass, MoveError> {
        self.source.close(&self.to)?;
        let pass = self.pass(tell).await;
        if pass.is_err() {
            self.source.reopen()?;
        }
        pass
    }

    /// Reads the target back and compares it with what the last pass saw in the source, which is closed.
    ///
    /// # Errors
    /// `Differs`, or a failure of a database; call [`Self::reopen`].
    pub async fn compare(&self, mut tell: impl FnMut(&Progress)) -> Result<Vec<Compared>, MoveError> {
        let (begun, mut rows, mut same) = (instant(), 0, Vec::new());
        for (table, (source_rows, source_digest)) in self.tables.iter().zip(&self.digests) {
            let mut running = Running::default();
            self.target.read_back(table, &mut running).await?;
            let (target_rows, digest) = running.finish();
            if (target_rows, &digest) != (*source_rows, source_digest) {
                return Err(MoveError::Differs { table: table.name.clone(), source_rows: *source_rows, target_rows });
            }
            rows += target_rows;
            tell(&self.progress(table, rows, begun));
            same.push(Compared { table: table.name.clone(), rows: target_rows, digest });
        }
        Ok(same)
    }

    /// Opens the source again, after something that must not be so.
    ///
    /// # Errors
    /// A failure of the source; ending the process opens it too.
    pub fn reopen(&self) -> Result<(), MoveError> {
        Ok(self.source.reopen()?)
    }

    /// Marks the source as moved, and the target as complete. From here on there is no way back but a copy of the source made before.
    ///
    /// # Errors
    /// A failure of a database; run the move again, it finds out how far it got.
    pub async fn finish(self) -> Result<(), MoveError> {
        self.target.flush(&self.from).await?;
        self.source.moved(&self.to)?;
        self.target.release(&self.from).await
    }

    /// Brings every table over, parents first; then takes away what the source has no more, children first.
    async fn pass(&mut self, mut tell: impl FnMut(&Progress)) -> Result<Pass, MoveError> {
        let begun = instant();
        let mut pass = Pass::default();
        let mut to_clear = Vec::new();
        self.digests.clear();
        for table in &self.tables {
            let mut running = Running::default();
            let before = pass.rows;
            let mended = self
                .walk(table, false, |rows, page| {
                    page.iter().for_each(|row| running.add(row));
                    tell(&self.progress(table, before + rows, begun));
                })
                .await?;
            let (rows, digest) = running.finish();
            pass.rows += rows;
            pass.inserted += mended.inserted;
            pass.changed += mended.changed;
            if mended.left > 0 {
                to_clear.push(table);
            }
            self.digests.push((rows, digest));
        }
        for table in to_clear.into_iter().rev() {
            pass.deleted += self.walk(table, true, |_, _| ()).await?.deleted;
        }
        pass.milliseconds = u64::try_from(instant().duration_since(begun).as_millis()).unwrap_or(u64::MAX);
        Ok(pass)
    }

    async fn walk(&self, table: &Table, delete: bool, mut seen: impl FnMut(u64, &[super::rows::Values])) -> Result<Mended, MoveError> {
        let mut all = Mended::default();
        let mut after: Option<super::rows::Values> = None;
        let mut rows = 0;
        loop {
            let page = self.source.page(table, after.as_deref())?;
            let last = page.rows.last().map(|row| table.key_of(row));
            let range = Range { after: after.as_deref(), upto: last.as_deref().filter(|_| !page.last) };
            let there = self.target.digest(table, range).await?;
            if there.rows == 0 {
                self.target.copy(table, &page.rows).await?;
                all.inserted += page.rows.len() as u64;
            } else if there != PageDigest::of(&page.rows) {
                let mended = self.target.mend(table, range, &page.rows, delete).await?;
                all.inserted += mended.inserted;
                all.changed += mended.changed;
                all.deleted += mended.deleted;
                all.left += mended.left;
            }
            rows += page.rows.len() as u64;
            seen(rows, &page.rows);
            if page.last {
                return Ok(all);
            }
            after = last;
        }
    }

    fn progress(&self, table: &Table, rows: u64, begun: Instant) -> Progress {
        Progress { table: table.name.clone(), rows, of: self.total, elapsed: instant().duration_since(begun) }
    }
}

/// The same file has one name, from wherever the command is run.
fn absolute(path: &Path) -> String {
    path.canonicalize().unwrap_or_else(|_| path.to_owned()).display().to_string()
}
