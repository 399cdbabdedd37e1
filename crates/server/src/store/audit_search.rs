//! Looking through the whole audit log from its end: by time, then by who, what and of what.

use super::audit_log::Record;
use crate::db::{DbError, Tx};

/// Records that are read at a time, and that one search looks at before it asks whether to go on: its time is bounded, however long the log.
const STEP: i64 = 500;
const LOOKED_AT: i64 = 5_000;

/// What is looked for; an empty text is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The family, exactly: `med-…`, `usr-…`, `/tokens`.
    pub family: String,
    /// A part of who did it.
    pub actor: String,
    /// A part of what was done.
    pub event: String,
    /// From this moment on, in milliseconds.
    pub from: i64,
    /// Up to this moment.
    pub until: i64,
}

/// A place in the log, counted from its end: what comes after it is older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    at: i64,
    family: String,
    seq: i64,
}

impl Place {
    /// The end.
    pub fn end(until: i64) -> Self {
        // No family is greater, and no place in one.
        Self { at: until, family: '\u{10FFFF}'.to_string(), seq: i64::MAX }
    }

    /// As [`Place::text`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (at, seq, family) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.to_owned());
        Some(Self { at, family, seq })
    }

    /// For an address.
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.at, self.seq, self.family)
    }
}

/// A record with its family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose history it is part of.
    pub family: String,
    /// What was recorded.
    pub record: Record,
}

impl Found {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { at: self.record.at, family: self.family.clone(), seq: self.record.seq }
    }
}

/// Some of what was looked for, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// What fits.
    pub found: Vec<Found>,
    /// Where to go on; nothing at the beginning of the log.
    pub next: Option<Place>,
    /// Whether it stopped because it had looked at enough, with less found than was asked for.
    pub tired: bool,
}

/// Up to `most` records that fit, after a place; fewer where much does not fit.
///
/// # Errors
/// A failure of the database.
pub async fn search(tx: &mut Tx, wanted: &Wanted, after: &Place, most: usize) -> Result<Results, DbError> {
    let (mut results, mut place, mut looked) = (Results::default(), after.clone(), 0);
    loop {
        let rows = match wanted.family.is_empty() {
            true => by_time(tx, wanted.from, &place).await?,
            false => of_family(tx, wanted, &place).await?,
        };
        let last = (rows.len() as i64) < STEP;
        looked += rows.len() as i64;
        for row in rows {
            place = row.place();
            if !fits(&row.record, wanted) {
                continue;
            }
            results.found.push(row);
            if results.found.len() == most {
                results.next = Some(place);
                return Ok(results);
            }
        }
        if last {
            return Ok(results);
        }
        if looked >= LOOKED_AT {
            return Ok(Results { next: Some(place), tired: true, ..results });
        }
    }
}

fn fits(record: &Record, wanted: &Wanted) -> bool {
    record.actor.contains(&wanted.actor) && record.event.contains(&wanted.event)
}

type Columns = (String, i64, i64, String, String, String, [u8; 32]);

fn found((family, seq, at, actor, event, detail, hash): Columns) -> Found {
    Found { family, record: Record { seq, at, actor, event, detail, hash } }
}

async fn by_time(tx: &mut Tx, from: i64, place: &Place) -> Result<Vec<Found>, DbError> {
    let rows: Vec<Columns> = tx
        .query(
            "SELECT family, seq, at, actor, event, detail, hash FROM audit
             WHERE at >= $1 AND at <= $2 AND (at < $2 OR family < $3 OR (family = $3 AND seq < $4))
             ORDER BY at DESC, family DESC, seq DESC LIMIT $5",
        )
        .bind(from)
        .bind(place.at)
        .bind(&place.family)
        .bind(place.seq)
        .bind(STEP)
        .all()
        .await?;
    Ok(rows.into_iter().map(found).collect())
}

/// A family's chain is in the order of its places; times may be set back within it.
async fn of_family(tx: &mut Tx, wanted: &Wanted, place: &Place) -> Result<Vec<Found>, DbError> {
    let rows: Vec<Columns> = tx
        .query(
            "SELECT family, seq, at, actor, event, detail, hash FROM audit
             WHERE family = $1 AND seq < $2 AND at >= $3 AND at <= $4 ORDER BY seq DESC LIMIT $5",
        )
        .bind(&wanted.family)
        .bind(place.seq)
        .bind(wanted.from)
        .bind(wanted.until)
        .bind(STEP)
        .all()
        .await?;
    Ok(rows.into_iter().map(found).collect())
}
