//! Media whose IDs were made elsewhere: many rows at a time, each the first of its medium's family, which nobody else writes yet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use counterfoil_core::{BatchId, MediumId, Rights};

use super::medium::FIRST_EPOCH;
use crate::db::{DbError, FromRow, Row, Tx};

/// Rows of one statement, where there are as many, and where there are fewer.
const MANY: usize = 1000;
const FEW: usize = 100;

/// A medium as its identity area needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressed {
    /// Which.
    pub medium: MediumId,
    /// Its number in the batch.
    pub serial: i64,
    /// Of its claim secret.
    pub epoch: u32,
    /// Its own, where they are not the batch's.
    pub rights: Option<Rights>,
}

impl FromRow for Pressed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { medium: row.column()?, serial: row.column()?, epoch: row.column()?, rights: row.column()? })
    }
}

/// The media of a batch between two serials that have a row, in order, each in the epoch that it should have where its batch was refreshed
/// `refreshes` times.
///
/// # Errors
/// A failure of the database.
pub async fn range(tx: &mut Tx, batch: BatchId, refreshes: u32, first: i64, last: i64) -> Result<Vec<Pressed>, DbError> {
    tx.query(
        "SELECT medium_id, serial, 1 + $4 + refreshes, rights FROM medium
         WHERE batch_id = $1 AND serial >= $2 AND serial <= $3 ORDER BY serial",
    )
    .bind(batch.to_string())
    .bind(first)
    .bind(last)
    .bind(refreshes)
    .all()
    .await
}

/// As [`range`], only of those that differ from what their batch says of all of them.
///
/// # Errors
/// A failure of the database.
pub async fn different(tx: &mut Tx, batch: BatchId, refreshes: u32, first: i64, last: i64) -> Result<Vec<Pressed>, DbError> {
    tx.query(
        "SELECT medium_id, serial, 1 + $4 + refreshes, rights FROM medium
         WHERE batch_id = $1 AND serial >= $2 AND serial <= $3 AND (refreshes > 0 OR rights IS NOT NULL) ORDER BY serial",
    )
    .bind(batch.to_string())
    .bind(first)
    .bind(last)
    .bind(refreshes)
    .all()
    .await
}

/// A medium of a batch, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub medium: MediumId,
    /// Its number in the batch.
    pub serial: i64,
    /// `unclaimed`, `claimed` or `retired`.
    pub state: String,
}

impl FromRow for Standing {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { medium: row.column()?, serial: row.column()?, state: row.column()? })
    }
}

/// How the media of a batch between two serials stand that have a row, in order.
///
/// # Errors
/// A failure of the database.
pub async fn states(tx: &mut Tx, batch: BatchId, first: i64, last: i64) -> Result<Vec<Standing>, DbError> {
    tx.query("SELECT medium_id, serial, state FROM medium WHERE batch_id = $1 AND serial >= $2 AND serial <= $3 ORDER BY serial")
        .bind(batch.to_string())
        .bind(first)
        .bind(last)
        .all()
        .await
}

/// Which of these media are here already, and in which batch.
///
/// # Errors
/// A failure of the database.
pub async fn batches_of(tx: &mut Tx, media: &[MediumId]) -> Result<BTreeMap<MediumId, BatchId>, DbError> {
    static SELECTS: [LazyLock<String>; 2] = [LazyLock::new(|| sql(MANY)), LazyLock::new(|| sql(FEW))];
    fn sql(rows: usize) -> String {
        let places: Vec<_> = (1..=rows).map(|place| format!("${place}")).collect();
        format!("SELECT medium_id, batch_id FROM medium WHERE medium_id IN ({})", places.join(", "))
    }
    let mut found = BTreeMap::new();
    for (statement, rows, page) in pages(media, &SELECTS) {
        let mut query = tx.query(statement);
        for medium in padded(page, rows) {
            query = query.bind(medium.as_str());
        }
        found.extend(query.all::<(MediumId, BatchId)>().await?);
    }
    Ok(found)
}

/// Adds media, numbered from `first` on; says how many were not there.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, batch: BatchId, first: i64, media: &[MediumId], now: i64) -> Result<usize, DbError> {
    static INSERTS: [LazyLock<String>; 2] = [LazyLock::new(|| sql(MANY)), LazyLock::new(|| sql(FEW))];
    fn sql(rows: usize) -> String {
        let mut sql =
            "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, epoch, rights, created_at) VALUES ".to_owned();
        for row in 0..rows {
            let (medium, serial, comma) = (4 + 2 * row, 5 + 2 * row, if row == 0 { "" } else { ", " });
            // Writing to memory does not fail.
            let _ = write!(sql, "{comma}(${medium}, $1, ${serial}, 'unclaimed', 0, $2, NULL, $3)");
        }
        sql + " ON CONFLICT (medium_id) DO NOTHING"
    }
    let batch = batch.to_string();
    let mut inserted = 0;
    let numbered: Vec<_> = (first..).zip(media).collect();
    for (statement, rows, page) in pages(&numbered, &INSERTS) {
        let mut query = tx.query(statement).bind(&batch).bind(FIRST_EPOCH).bind(now);
        for (serial, medium) in padded(page, rows) {
            query = query.bind(medium.as_str()).bind(*serial);
        }
        // At most as many as there are rows in the statement.
        inserted += usize::try_from(query.execute().await?).unwrap_or(rows);
    }
    Ok(inserted)
}

/// Rows page by page, each with the statement for it and how many rows that has.
fn pages<'a, T>(rows: &'a [T], [many, few]: &'static [LazyLock<String>; 2]) -> impl Iterator<Item = (&'static str, usize, &'a [T])> {
    let pages = rows.chunks_exact(MANY);
    let rest = pages.remainder().chunks(FEW);
    pages.map(|page| (many.as_str(), MANY, page)).chain(rest.map(|page| (few.as_str(), FEW, page)))
}

/// A page as long as the statement; the last row again and again makes no difference to it.
fn padded<T>(page: &[T], rows: usize) -> impl Iterator<Item = &T> {
    page.iter().chain(std::iter::repeat(page.last()).flatten()).take(rows)
}
