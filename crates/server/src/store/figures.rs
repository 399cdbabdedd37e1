//! Figures for charts: what happened how often on which day, counted once, from the signed audit log.
//!
//! Counting where things happen would have every claim of a day wait for one row, and write a second family. Counting when a chart is looked
//! at would read the whole log. So the leader counts afterwards what each checkpoint has signed, row by row and each exactly once: the place
//! that it has come to ([`Cursor`]) is replaced in the transaction that adds the counts. It is late by `checkpoint_minutes`; what a chart then
//! reads is a few rows a day, however many media there are. What devices have is no event, and is counted from what they last said ([`seen`]).

use std::collections::{BTreeMap, HashMap};

use counterfoil_core::{BatchId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::setting;
use super::title::Title;
use crate::auth::Scope;
use crate::db::{DbError, Tx};

/// Counted of each refusal, by its code: the code is the label.
pub const REFUSED: &str = "refused";
/// Devices that said on a day what they have.
pub const ACTIVE: &str = "devices.active";
/// The publisher of figures over all.
const EVERYBODY: &str = "";
/// The setting that holds the cursor.
const PLACE: &str = "figures";
/// Families of a checkpoint, and rows of theirs, that one step looks at: what it holds in memory.
const FAMILIES: i64 = 500;
const ROWS: i64 = 2000;
/// Points of one chart: more than a year of days with as many labels as there are codes.
const MOST: i64 = 40_000;
/// How long a device counts as one that has a release, after it was last heard of.
const HEARD: i64 = 30 * Timestamp::DAY;

/// What is counted of the releases of a title: how many devices have each, by version.
pub fn releases_of(title: &str) -> String {
    format!("devices.release {title}")
}

/// Days since 1970-01-01, UTC.
pub fn day(at: i64) -> i64 {
    at.div_euclid(Timestamp::DAY)
}

/// How far counting has come: all checkpoints before this one, and of this one all rows up to a place in a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    checkpoint: i64,
    family: String,
    seq: i64,
    /// When the last checkpoint was made that is counted as a whole, in milliseconds.
    pub through: Option<i64>,
}

impl Default for Cursor {
    fn default() -> Self {
        Self { checkpoint: 1, family: String::new(), seq: 0, through: None }
    }
}

impl Cursor {
    /// As it was left; at the beginning where there is none.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn load(tx: &mut Tx) -> Result<Self, DbError> {
        let noted = setting::find(tx, PLACE).await?;
        Ok(noted.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("numbers and strings have a JSON form")
    }
}

/// A publisher (empty: in all), name, day, label.
type Key = (String, String, i64, String);

/// Rows that were counted, and where that began and ended.
#[derive(Clone, Debug)]
pub struct Step {
    from: Cursor,
    to: Cursor,
    counts: BTreeMap<Key, i64>,
}

/// Counts some more rows, if there are any that are signed and not counted.
///
/// # Errors
/// A failure of the database.
pub async fn count(tx: &mut Tx) -> Result<Option<Step>, DbError> {
    let from = Cursor::load(tx).await?;
    let sql = "SELECT number, at FROM audit_checkpoint WHERE number >= $1 AND signature IS NOT NULL ORDER BY number LIMIT 1";
    let Some((number, at)) = tx.query(sql).bind(from.checkpoint).opt::<(i64, i64)>().await? else { return Ok(None) };
    let (family, seq) = if number == from.checkpoint { (from.family.clone(), from.seq) } else { (String::new(), 0) };

    let sql = "SELECT family, seq FROM audit_checkpoint_entry WHERE number = $1 AND family >= $2 ORDER BY family LIMIT $3";
    let entries = tx.query(sql).bind(number).bind(&family).bind(FAMILIES).all::<(String, i64)>().await?;
    let last = entries.last().cloned().unwrap_or_default();
    let rows = rows(tx, number, (&family, seq), &last.0).await?;
    let counts = counts(tx, &rows).await?;

    let at_place = |(family, seq): (String, i64)| Cursor { checkpoint: number, family, seq, through: from.through };
    let to = match rows.last() {
        Some(row) if rows.len() as i64 >= ROWS => at_place((row.family.clone(), row.seq)),
        _ if entries.len() as i64 >= FAMILIES => at_place(last),
        _ => Cursor { checkpoint: number + 1, through: Some(at), ..Cursor::default() },
    };
    Ok(Some(Step { from, to, counts }))
}

/// Keeps what was counted. False: another process was faster, and nothing was written.
///
/// # Errors
/// A failure of the database.
pub async fn keep(tx: &mut Tx, step: &Step) -> Result<bool, DbError> {
    let Step { from, to, counts } = step;
    // The first one is written once; every other replaces exactly the place that was counted from.
    let sql = if *from == Cursor::default() {
        "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE setting.value = $3"
    } else {
        "UPDATE setting SET value = $2 WHERE name = $1 AND value = $3"
    };
    if tx.query(sql).bind(PLACE).bind(to.text()).bind(from.text()).execute().await? == 0 {
        return Ok(false);
    }
    for ((publisher, name, day, label), amount) in counts {
        tx.query(
            "INSERT INTO figure (publisher_id, name, day, label, amount) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (publisher_id, name, day, label) DO UPDATE SET amount = figure.amount + excluded.amount",
        )
        .bind(publisher)
        .bind(name)
        .bind(*day)
        .bind(label)
        .bind(*amount)
        .execute()
        .await?;
    }
    Ok(true)
}

/// A row of the audit log, with the batch of its family where that is a medium.
struct Counted {
    family: String,
    seq: i64,
    at: i64,
    event: String,
    detail: String,
    batch: Option<String>,
}

/// Rows that this checkpoint is the first to have signed, after a place and up to a family.
async fn rows(tx: &mut Tx, number: i64, (family, seq): (&str, i64), last: &str) -> Result<Vec<Counted>, DbError> {
    let found: Vec<(String, i64, i64, String, String, Option<String>)> = tx
        .query(
            "SELECT a.family, a.seq, a.at, a.event, a.detail, m.batch_id FROM audit_checkpoint_entry e
             JOIN audit a ON a.family = e.family LEFT JOIN medium m ON m.medium_id = e.family
             WHERE e.number = $1 AND e.family >= $2 AND e.family <= $3 AND a.seq <= e.seq AND (e.family > $2 OR a.seq > $4)
               AND a.seq > COALESCE((SELECT MAX(p.seq) FROM audit_checkpoint_entry p WHERE p.family = e.family AND p.number < e.number), 0)
             ORDER BY a.family, a.seq LIMIT $5",
        )
        .bind(number)
        .bind(family)
        .bind(last)
        .bind(seq)
        .bind(ROWS)
        .all()
        .await?;
    let counted = |(family, seq, at, event, detail, batch)| Counted { family, seq, at, event, detail, batch };
    Ok(found.into_iter().map(counted).collect())
}

/// Each row once for all, and once for the publisher whose medium or title it is about.
async fn counts(tx: &mut Tx, rows: &[Counted]) -> Result<BTreeMap<Key, i64>, DbError> {
    let mut owners = HashMap::new();
    let mut counts = BTreeMap::new();
    for row in rows {
        let detail: Value = serde_json::from_str(&row.detail).unwrap_or_default();
        let mut whose = vec![EVERYBODY.to_owned()];
        whose.extend(owner(tx, row, &detail, &mut owners).await?);
        for publisher in whose {
            let mut add = |name: &str, label: &str| {
                *counts.entry((publisher.clone(), name.to_owned(), day(row.at), label.to_owned())).or_insert(0) += 1;
            };
            add(&row.event, "");
            if let Some(code) = refusal(&row.event, &detail) {
                add(REFUSED, code);
            }
        }
    }
    Ok(counts)
}

/// The code that somebody was refused with.
fn refusal<'a>(event: &str, detail: &'a Value) -> Option<&'a str> {
    match event {
        "medium.superseded_presented" => Some("medium_superseded"),
        "device.old_turned_up" => Some("device_exchanged"),
        "user.recovery_refused" => Some("user_invalid"),
        event if event.ends_with(".refused") => detail["code"].as_str(),
        _ => None,
    }
}

/// The publisher of a medium, or of the title that the record names.
async fn owner(tx: &mut Tx, row: &Counted, detail: &Value, known: &mut HashMap<String, Option<String>>) -> Result<Option<String>, DbError> {
    let untouched =
        || row.family.parse::<counterfoil_core::MediumId>().ok()?.batch_and_serial().map(|(batch, _): (BatchId, _)| batch.to_string());
    let (name, sql) = match row.batch.clone().or_else(untouched) {
        Some(batch) => (batch, "SELECT publisher_id FROM batch WHERE batch_id = $1"),
        None => match detail["title"].as_str() {
            Some(title) => (title.to_owned(), "SELECT publisher_id FROM title WHERE title_id = $1"),
            None => return Ok(None),
        },
    };
    if let Some(owner) = known.get(&name) {
        return Ok(owner.clone());
    }
    let owner = tx.query(sql).bind(&name).opt::<(String,)>().await?.map(|(owner,)| owner);
    known.insert(name, owner.clone());
    Ok(owner)
}

/// What devices have said, as it stands now: how many said something today, and how many have which release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    day: i64,
    amounts: Vec<(String, String, String, i64)>,
}

/// Counts over all that devices last said: long, and so for a connection of its own.
///
/// # Errors
/// A failure of the database.
pub async fn seen(tx: &mut Tx, now: Timestamp) -> Result<Seen, DbError> {
    let today = day(now.0) * Timestamp::DAY;
    let sql = "SELECT COUNT(*) FROM (SELECT DISTINCT user_id, device_id FROM status WHERE reported_at >= $1) d";
    let all = tx.query(sql).bind(today).one::<(i64,)>().await?.0;
    let of_publishers: Vec<(String, i64)> = tx
        .query(
            "SELECT d.publisher_id, COUNT(*) FROM (SELECT DISTINCT t.publisher_id, s.user_id, s.device_id FROM status s
             JOIN title t ON t.title_id = s.title_id WHERE s.reported_at >= $1) d GROUP BY d.publisher_id LIMIT $2",
        )
        .bind(today)
        .bind(MOST)
        .all()
        .await?;
    let releases: Vec<(String, String, String, i64)> = tx
        .query(
            "SELECT t.publisher_id, s.title_id, s.version, COUNT(*) FROM status s JOIN title t ON t.title_id = s.title_id
             WHERE s.reported_at >= $1 AND s.version IS NOT NULL GROUP BY t.publisher_id, s.title_id, s.version LIMIT $2",
        )
        .bind(now.0 - HEARD)
        .bind(MOST)
        .all()
        .await?;
    let mut amounts = vec![(EVERYBODY.to_owned(), ACTIVE.to_owned(), String::new(), all)];
    amounts.extend(of_publishers.into_iter().map(|(publisher, amount)| (publisher, ACTIVE.to_owned(), String::new(), amount)));
    for (publisher, title, version, amount) in releases {
        for whose in [EVERYBODY, &publisher] {
            amounts.push((whose.to_owned(), releases_of(&title), version.clone(), amount));
        }
    }
    Ok(Seen { day: day(now.0), amounts })
}

/// Keeps what was seen, in place of what was seen before on the same day.
///
/// # Errors
/// A failure of the database.
pub async fn note(tx: &mut Tx, seen: &Seen) -> Result<(), DbError> {
    tx.query("DELETE FROM figure WHERE day = $1 AND name LIKE 'devices.%'").bind(seen.day).execute().await?;
    for (publisher, name, label, amount) in &seen.amounts {
        tx.query("INSERT INTO figure (publisher_id, name, day, label, amount) VALUES ($1, $2, $3, $4, $5)")
            .bind(publisher)
            .bind(name)
            .bind(seen.day)
            .bind(label)
            .bind(*amount)
            .execute()
            .await?;
    }
    Ok(())
}

/// One figure of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// Of what; may be empty.
    pub label: String,
    /// How many.
    pub amount: i64,
}

/// The figures of a name from one day to another, both included, by day; as many as `scope` covers. A tenant that is nobody sees none.
///
/// # Errors
/// A failure of the database.
pub async fn load(tx: &mut Tx, scope: &Scope, name: &str, from: i64, until: i64) -> Result<Vec<Figure>, DbError> {
    let publisher = match scope {
        Scope::All => EVERYBODY,
        Scope::Publisher(publisher) if publisher.is_empty() => return Ok(vec![]),
        Scope::Publisher(publisher) => publisher,
    };
    let found: Vec<(i64, String, i64)> = tx
        .query(
            "SELECT day, label, amount FROM figure WHERE publisher_id = $1 AND name = $2 AND day >= $3 AND day <= $4
             ORDER BY day, label LIMIT $5",
        )
        .bind(publisher)
        .bind(name)
        .bind(from)
        .bind(until)
        .bind(MOST)
        .all()
        .await?;
    Ok(found.into_iter().map(|(day, label, amount)| Figure { day, label, amount }).collect())
}

/// Titles whose progress can be shown: those that `scope` covers, the first of them.
///
/// # Errors
/// A failure of the database.
pub async fn titles(tx: &mut Tx, scope: &Scope, most: i64) -> Result<Vec<Title>, DbError> {
    super::title::list(tx, scope, "", most).await
}
