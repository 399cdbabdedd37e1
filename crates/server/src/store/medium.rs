//! The medium's family: its row, made at first contact, and what its batch says of it before.

use counterfoil_core::rules::{claim, epoch};
use counterfoil_core::{BatchId, Kind, MediumId, Rights, Timestamp, TitleId};

use super::grant::{self, GrantRow};
use super::pressed::Pressed;
use crate::db::{DbError, FromRow, Row, Tx};

/// The claim secret that a medium is pressed with; a refresh moves it on.
pub const FIRST_EPOCH: u32 = epoch::FIRST;

const RETIRED: &str = "retired";

/// The family of a medium.
pub fn family(medium: &MediumId) -> String {
    medium.to_string()
}

/// A medium that somebody has touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumRow {
    /// Of which batch.
    pub batch: BatchId,
    /// Its number there.
    pub serial: i64,
    /// `unclaimed`, `claimed` or `retired`.
    pub state: String,
    /// Copies claimed so far.
    pub copies_claimed: u32,
    /// Of the newest claim secret that it has proven itself under.
    pub epoch: u32,
    /// Its own, where they are not the batch's.
    pub rights: Option<Rights>,
    /// Refreshes that were ordered of it alone.
    pub refreshes: u32,
    /// Changes of its own rights.
    pub revision: i64,
    /// Copies that were taken back after a repair (C14); those that there are now come on top.
    pub copies_freed: u32,
    /// Of those, copies that nobody can claim again: the bank took the money for them back (C18).
    pub copies_lost: u32,
}

impl MediumRow {
    /// Copies that are gone: claimed, or lost.
    pub fn copies_gone(&self) -> u32 {
        self.copies_claimed + self.copies_lost
    }

    /// The number of the next copy: one that no other copy of this medium ever had.
    pub fn next_copy(&self) -> u32 {
        self.copies_claimed + self.copies_freed + 1
    }

    /// Taken out of use.
    pub fn is_retired(&self) -> bool {
        self.state == RETIRED
    }
}

impl FromRow for MediumRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            batch: row.column()?,
            serial: row.column()?,
            state: row.column()?,
            copies_claimed: row.column()?,
            epoch: row.column()?,
            rights: row.column()?,
            refreshes: row.column()?,
            revision: row.column()?,
            copies_freed: row.column()?,
            copies_lost: row.column()?,
        })
    }
}

/// What is known of a medium, touched or not: enough to check its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Of which batch.
    pub batch: BatchId,
    /// Its number there.
    pub serial: i64,
    /// Of the newest claim secret that it has proven itself under.
    pub epoch: u32,
    /// Of the claim secret that it should have.
    pub target: u32,
    /// What it allows.
    pub rights: Rights,
    /// Whether it was taken out of use.
    pub retired: bool,
    /// Of its batch, wrapped.
    pub claim_key: Vec<u8>,
    /// Of its batch, when this was read.
    pub revision: i64,
    /// Whether its key is paid for when it is copied (C18).
    pub paid_on_copy: bool,
}

impl Known {
    /// Of its row, where somebody has touched it, and of its batch.
    fn of(serial: i64, row: Option<&MediumRow>, batch: &OfBatch<'_>) -> Self {
        Self {
            batch: batch.batch,
            serial,
            epoch: row.map_or(FIRST_EPOCH, |row| row.epoch),
            target: epoch::target(batch.refreshes, row.map_or(0, |row| row.refreshes)),
            rights: row.and_then(|row| row.rights.clone()).unwrap_or_else(|| batch.rights.clone()),
            retired: row.is_some_and(MediumRow::is_retired),
            claim_key: batch.claim_key.to_vec(),
            revision: batch.revision,
            paid_on_copy: batch.paid_on_copy,
        }
    }
}

/// What a batch says of all its media.
struct OfBatch<'a> {
    batch: BatchId,
    rights: &'a Rights,
    claim_key: &'a [u8],
    refreshes: u32,
    revision: i64,
    paid_on_copy: bool,
}

/// The row of a medium, if anybody has touched it.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, medium: &MediumId) -> Result<Option<MediumRow>, DbError> {
    tx.query(
        "SELECT batch_id, serial, state, copies_claimed, epoch, rights, refreshes, revision, copies_freed, copies_lost
         FROM medium WHERE medium_id = $1",
    )
    .bind(medium.as_str())
    .opt()
    .await
}

/// What is known of a medium, from its row and its batch. A pressed one needs no row: its batch says that it exists.
pub fn known_by(medium: &MediumId, row: Option<&MediumRow>, batch: &Pressed) -> Option<Known> {
    let pressed = medium.batch_and_serial();
    // An ID of a pressed medium in an imported batch, or the other way about, is nobody's.
    if pressed.is_some() != batch.count.is_some() {
        return None;
    }
    let serial = match row {
        Some(row) => row.serial,
        None => i64::try_from(pressed?.1).ok().filter(|serial| (1..=batch.count.unwrap_or(0)).contains(serial))?,
    };
    let Pressed { batch, rights, claim_key, refreshes, revision, paid_on_copy, .. } = batch;
    let (batch, refreshes, revision, paid_on_copy) = (*batch, *refreshes, *revision, *paid_on_copy);
    Some(Known::of(serial, row, &OfBatch { batch, rights, claim_key, refreshes, revision, paid_on_copy }))
}

/// What is known of a medium. A pressed one needs no row: its batch says that it exists. An imported one has had its row since it was imported.
///
/// # Errors
/// A failure of the database.
pub async fn known(tx: &mut Tx, medium: &MediumId) -> Result<Option<Known>, DbError> {
    let row = find(tx, medium).await?;
    let (batch, serial, origin) = match (&row, medium.batch_and_serial()) {
        (Some(row), pressed) => (row.batch, row.serial, if pressed.is_some() { "pressed" } else { "imported" }),
        // A serial beyond what the database can count was never pressed.
        (None, Some((batch, serial))) => (batch, i64::try_from(serial).unwrap_or(i64::MAX), "pressed"),
        (None, None) => return Ok(None),
    };
    let found: Option<(i64, Rights, Vec<u8>, u32, i64, i64)> = tx
        .query("SELECT count, rights, claim_key, refreshes, revision, paid_on_copy FROM batch WHERE batch_id = $1 AND origin = $2")
        .bind(batch.to_string())
        .bind(origin)
        .opt()
        .await?;
    let Some((count, rights, claim_key, refreshes, revision, paid)) = found else { return Ok(None) };
    if row.is_none() && !(1..=count).contains(&serial) {
        return Ok(None);
    }
    let of = OfBatch { batch, rights: &rights, claim_key: &claim_key, refreshes, revision, paid_on_copy: paid != 0 };
    Ok(Some(Known::of(serial, row.as_ref(), &of)))
}

/// Makes the row of a medium at its first contact.
///
/// # Errors
/// A failure of the database.
pub async fn touch(tx: &mut Tx, medium: &MediumId, known: &Known, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, epoch, rights, created_at)
         VALUES ($1, $2, $3, 'unclaimed', 0, $4, NULL, $5) ON CONFLICT (medium_id) DO NOTHING",
    )
    .bind(medium.as_str())
    .bind(known.batch.to_string())
    .bind(known.serial)
    .bind(known.epoch)
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// What a claim is decided on: the row, where somebody has touched the medium, and what the user has open.
pub fn claim_facts(row: Option<&MediumRow>, batch_rights: &Rights, grants: &[GrantRow]) -> claim::MediumFacts {
    claim::MediumFacts {
        retired: row.is_some_and(MediumRow::is_retired),
        rights: row.and_then(|row| row.rights.clone()).unwrap_or_else(|| batch_rights.clone()),
        copies_claimed: row.map_or(0, MediumRow::copies_gone),
        unsettled: grant::open_claims(grants),
    }
}

/// Makes the row of a medium that nobody has touched, with its first copy claimed (C7). False where somebody else was first, or its batch is
/// not as it was when it was known.
///
/// # Errors
/// A failure of the database.
pub async fn claim_first(tx: &mut Tx, medium: &MediumId, known: &Known, now: Timestamp) -> Result<bool, DbError> {
    let made = tx
        .query(
            "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, epoch, rights, created_at)
             SELECT CAST($1 AS TEXT), batch_id, CAST($3 AS BIGINT), 'claimed', 1, CAST($4 AS BIGINT), NULL, CAST($5 AS BIGINT)
             FROM batch WHERE batch_id = $2 AND revision = $6 ON CONFLICT (medium_id) DO NOTHING",
        )
        .bind(medium.as_str())
        .bind(known.batch.to_string())
        .bind(known.serial)
        .bind(known.epoch)
        .bind(now.0)
        .bind(known.revision)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Flags one more copy as claimed (C7): the one row that decides. False where it, or its batch, is not as it was `seen`: somebody else was
/// first, a copy was taken back, it was retired, its rights were changed, or a refresh has moved its claim secret on since it proved itself.
///
/// # Errors
/// A failure of the database.
pub async fn claim_next(tx: &mut Tx, medium: &MediumId, seen: &MediumRow, of_batch: i64) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE medium SET copies_claimed = copies_claimed + 1, state = 'claimed'
             WHERE medium_id = $1 AND copies_claimed = $2 AND epoch = $3 AND revision = $4 AND copies_freed = $6 AND state <> 'retired'
               AND EXISTS (SELECT 1 FROM batch b WHERE b.batch_id = medium.batch_id AND b.revision = $5)",
        )
        .bind(medium.as_str())
        .bind(seen.copies_claimed)
        .bind(seen.epoch)
        .bind(seen.revision)
        .bind(of_batch)
        .bind(seen.copies_freed)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Takes so many copies back (C14): their flags are free again, and a medium without copies is claimed by nobody.
///
/// # Errors
/// A failure of the database; `Conflict` where it has fewer.
pub async fn free_copies(tx: &mut Tx, medium: &MediumId, copies: u32) -> Result<(), DbError> {
    let changed = tx
        .query(
            "UPDATE medium SET copies_claimed = copies_claimed - $2, copies_freed = copies_freed + $2,
               state = CASE WHEN state = 'claimed' AND copies_claimed = $2 THEN 'unclaimed' ELSE state END
             WHERE medium_id = $1 AND copies_claimed >= $2",
        )
        .bind(medium.as_str())
        .bind(copies)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the medium")) }
}

/// Of the copies that were taken back, so many are lost: nobody can claim them again (C18).
///
/// # Errors
/// A failure of the database.
pub async fn lose_copies(tx: &mut Tx, medium: &MediumId, copies: u32) -> Result<(), DbError> {
    let sql = "UPDATE medium SET copies_lost = copies_lost + $2 WHERE medium_id = $1";
    tx.query(sql).bind(medium.as_str()).bind(copies).execute().await.map(drop)
}

/// Moves a medium on to a newer claim secret, under which it has proven itself (B7). False where that, or a newer one, was seen before.
///
/// # Errors
/// A failure of the database.
pub async fn advance(tx: &mut Tx, medium: &MediumId, epoch: u32) -> Result<bool, DbError> {
    let changed =
        tx.query("UPDATE medium SET epoch = $2 WHERE medium_id = $1 AND epoch < $2").bind(medium.as_str()).bind(epoch).execute().await?;
    Ok(changed == 1)
}

/// Orders one more refresh of a medium that has a row.
///
/// # Errors
/// A failure of the database.
pub async fn order_refresh(tx: &mut Tx, medium: &MediumId) -> Result<(), DbError> {
    tx.query("UPDATE medium SET refreshes = refreshes + 1 WHERE medium_id = $1").bind(medium.as_str()).execute().await.map(drop)
}

/// Gives a medium rights of its own. `most_copies` is what it was allowed before: copies that were claimed by that right stay.
///
/// # Errors
/// A failure of the database.
pub async fn set_rights(tx: &mut Tx, medium: &MediumId, rights: &Rights, most_copies: u32) -> Result<(), DbError> {
    let rights = serde_json::to_string(rights).expect("rights have text for keys, so they are JSON");
    tx.query(
        "UPDATE medium SET rights = $2, revision = revision + 1,
           most_copies = CASE WHEN most_copies > $3 THEN most_copies ELSE $3 END WHERE medium_id = $1",
    )
    .bind(medium.as_str())
    .bind(rights)
    .bind(most_copies)
    .execute()
    .await
    .map(drop)
}

/// Takes a medium out of use; says whether it was in use.
///
/// # Errors
/// A failure of the database.
pub async fn retire(tx: &mut Tx, medium: &MediumId) -> Result<bool, DbError> {
    let changed =
        tx.query("UPDATE medium SET state = 'retired' WHERE medium_id = $1 AND state <> 'retired'").bind(medium.as_str()).execute().await?;
    Ok(changed == 1)
}

/// A title on a medium, with the key of the release that it was pressed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PressedTitle {
    /// Which.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Which of the title's content keys its release is sealed under.
    pub generation: u32,
    /// That key, wrapped.
    pub content_key: Vec<u8>,
}

impl FromRow for PressedTitle {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { title: row.column()?, name: row.column()?, kind: row.column()?, generation: row.column()?, content_key: row.column()? })
    }
}

/// The titles of a batch, in the order of the identity area.
///
/// # Errors
/// A failure of the database.
pub async fn titles(tx: &mut Tx, batch: BatchId) -> Result<Vec<PressedTitle>, DbError> {
    tx.query(
        "SELECT b.title_id, t.name, t.kind, c.generation, c.wrapped FROM batch_title b
         JOIN title t ON t.title_id = b.title_id
         JOIN release r ON r.title_id = b.title_id AND r.version = b.version
         JOIN content_key c ON c.title_id = r.title_id AND c.generation = r.generation
         WHERE b.batch_id = $1 ORDER BY b.position",
    )
    .bind(batch.to_string())
    .all()
    .await
}
