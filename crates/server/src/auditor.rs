//! The auditor: recomputes every invariant from the database alone, on a live server as well as after every test that hurts one.
//!
//! Each invariant is a query that finds what breaks it, so that a clean database answers with nothing and memory does not grow with it.
//! The chain of the audit log itself is [`crate::store::audit::verify`]'s business.

use crate::db::{Db, DbError, Tx};
use crate::keys::Keys;
use crate::store::audit::{self, Checkpoint, Report};
use crate::store::setting;
use counterfoil_core::{Rights, Timestamp};
use counterfoil_format::jws::verify_compact;
use serde::{Deserialize, Serialize};

mod across;
mod feeds;
mod gateways;
mod holders;
mod licenses;
mod orders;
mod people;
mod reissues;
mod repairs;
mod updates;
mod uploads;
mod words;

/// `typ` of a signed checkpoint.
pub const CHECKPOINT_TYP: &str = "counterfoil-checkpoint+jwt";
/// How much less of the processor an audit gets than requests do, as `nice` has it.
const NICENESS: i32 = 10;

/// What an audit of everything came to.
#[derive(Debug)]
pub struct Audited {
    /// The audit log.
    pub report: Report,
    /// The invariants.
    pub violations: Vec<Violation>,
}

impl Audited {
    /// How much is wrong.
    pub fn found(&self) -> u64 {
        self.report.found + self.violations.len() as u64
    }

    /// Each in words: invariants first, they are fewer.
    pub fn findings(&self) -> impl Iterator<Item = String> {
        let violations = self.violations.iter().map(|one| format!("{}: {}", one.invariant, one.subject));
        violations.chain(self.report.findings.iter().map(|finding| format!("{finding:?}")))
    }
}

/// Checks every invariant, and verifies the audit log with its checkpoints, also those that were kept elsewhere.
///
/// # Errors
/// A failure of the database; findings are no error.
pub async fn everything(db: &Db, keys: &Keys, kept: Vec<String>) -> Result<Audited, DbError> {
    let keys = keys.clone();
    let signed = move |token: &str| {
        verify_compact::<Checkpoint>(token, CHECKPOINT_TYP, |kid| keys.verifying_key(kid)).map_err(|error| error.to_string())
    };
    let report = audit::verify(db, kept, signed).await?;
    Ok(Audited { report, violations: check(db).await? })
}

/// When the auditor last ran by itself, and what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAudit {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: u64,
    /// Records of the audit log.
    pub records: u64,
    /// How much is wrong.
    pub found: u64,
    /// The first of it, in words.
    pub findings: Vec<String>,
}

impl LastAudit {
    /// As it was noted; one that cannot be read counts as none.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn load(db: &Db) -> Result<Option<Self>, DbError> {
        let noted = db.read("last audit", async |tx| setting::find(tx, setting::LAST_AUDIT).await).await?;
        Ok(noted.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

/// Leaves the processor to requests, for the rest of this thread: a snapshot has one of its own.
pub fn step_back() {
    // Where that is not allowed, the audit runs as everything else does.
    let _ = rustix::process::nice(NICENESS);
}

/// Something that must never be so.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Which sentence is broken.
    pub invariant: &'static str,
    /// By what: a medium, a user, a grant.
    pub subject: String,
}

/// What is listed of one broken invariant; the first few are enough to go looking.
const MOST: i64 = 100;

/// Each query answers with the key of what breaks the sentence beside it, and looks at one family at a time: a subquery is grouped by the key
/// that it shares with the row outside, or a distributed database would not run it on every node by itself.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "a medium counts as many copies as its live grants say",
        "SELECT m.medium_id FROM medium m WHERE m.copies_claimed <> COALESCE((SELECT COUNT(DISTINCT g.copy) FROM grants g
           WHERE g.medium_id = m.medium_id AND g.state <> 'revoked' GROUP BY g.medium_id), 0) LIMIT $1",
    ),
    (
        "a medium is claimed exactly when a copy of it is",
        "SELECT medium_id FROM medium WHERE (state = 'claimed' AND copies_claimed = 0)
           OR (state = 'unclaimed' AND copies_claimed > 0) OR state NOT IN ('unclaimed', 'claimed', 'retired') LIMIT $1",
    ),
    (
        "one copy belongs to one user, holder, device and drive",
        "SELECT a.grant_id FROM grants a JOIN grants b ON b.medium_id = a.medium_id AND b.copy = a.copy AND b.grant_id > a.grant_id
           WHERE a.state <> 'revoked' AND b.state <> 'revoked' AND (a.user_id <> b.user_id OR a.holder_id <> b.holder_id
             OR COALESCE(a.device_id, '') <> COALESCE(b.device_id, '') OR COALESCE(a.drive_id, '') <> COALESCE(b.drive_id, '')) LIMIT $1",
    ),
    (
        "one copy grants each title of its batch once",
        "SELECT g.medium_id FROM grants g JOIN medium m ON m.medium_id = g.medium_id
           LEFT JOIN (SELECT batch_id, COUNT(*) AS titles FROM batch_title GROUP BY batch_id) t ON t.batch_id = m.batch_id
           WHERE g.state <> 'revoked' GROUP BY g.medium_id, g.copy, t.titles
           HAVING COUNT(*) <> COUNT(DISTINCT g.title_id) OR COUNT(*) <> COALESCE(t.titles, 0) LIMIT $1",
    ),
    (
        "a grant is settled exactly when it has a time of settlement",
        "SELECT grant_id FROM grants WHERE (state = 'settled' AND settled_at IS NULL) OR (state IN ('issued', 'delivered') AND settled_at IS NOT NULL)
           OR state NOT IN ('issued', 'delivered', 'settled', 'revoked') LIMIT $1",
    ),
    (
        "a medium has proven itself under no claim secret that was not ordered",
        "SELECT m.medium_id FROM medium m JOIN batch b ON b.batch_id = m.batch_id
           WHERE m.epoch < 1 OR m.epoch > 1 + b.refreshes + m.refreshes LIMIT $1",
    ),
    (
        "a medium is moved on to a claim secret only with its record in the audit log",
        "SELECT m.medium_id FROM medium m WHERE m.epoch > 1 AND COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = m.medium_id AND a.event = 'medium.refreshed' GROUP BY a.family), 0) = 0 LIMIT $1",
    ),
    (
        "no key is out without its record in the audit log",
        "SELECT m.medium_id FROM medium m WHERE m.copies_claimed + m.copies_freed > COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = m.medium_id AND a.event = 'claim.granted' GROUP BY a.family), 0) LIMIT $1",
    ),
];

/// The one that needs more than SQL.
const COPIES_ALLOWED: &str = "a medium is claimed as often as its rights allow, at most";

/// Checks every invariant; nothing returned is good news.
///
/// # Errors
/// A failure of the database.
pub async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let mut violations = broken(db, INVARIANTS).await?;
    violations.extend(orders::check(db).await?);
    violations.extend(broken(db, licenses::INVARIANTS).await?);
    violations.extend(broken(db, updates::INVARIANTS).await?);
    violations.extend(broken(db, uploads::INVARIANTS).await?);
    violations.extend(broken(db, people::INVARIANTS).await?);
    violations.extend(repairs::check(db).await?);
    violations.extend(broken(db, reissues::INVARIANTS).await?);
    violations.extend(reissues::check(db).await?);
    violations.extend(across::check(db).await?);
    violations.extend(holders::check(db).await?);
    violations.extend(feeds::check(db).await?);
    violations.extend(gateways::check(db).await?);
    violations.extend(words::check(db).await?);
    violations.extend(more_copies_than_allowed(db).await?);
    Ok(violations)
}

/// What the queries of a table find, all of them in one state of the database.
async fn broken(db: &Db, invariants: &'static [(&'static str, &'static str)]) -> Result<Vec<Violation>, DbError> {
    db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<Violation>, DbError> {
        step_back();
        let mut violations = Vec::new();
        for (invariant, sql) in invariants {
            let found: Vec<(String,)> = tx.query(sql).bind(MOST).all().await?;
            violations.extend(found.into_iter().map(|(subject,)| Violation { invariant, subject }));
        }
        Ok(violations)
    })
    .await
}

/// The number of copies lies in the rights, which SQL that both engines understand cannot read: so the different rights are read, with
/// the numbers of copies claimed under them, and then the media of those that do not fit. Fewer copies than before take back none: the most
/// that were ever allowed stand beside the rights.
async fn more_copies_than_allowed(db: &Db) -> Result<Vec<Violation>, DbError> {
    db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<Violation>, DbError> {
        step_back();
        let sql = "SELECT COALESCE(m.rights, b.rights), COALESCE(m.most_copies, 0), COALESCE(b.most_copies, 0), m.copies_claimed
                   FROM medium m JOIN batch b ON b.batch_id = m.batch_id WHERE m.copies_claimed > 0
                   GROUP BY COALESCE(m.rights, b.rights), COALESCE(m.most_copies, 0), COALESCE(b.most_copies, 0), m.copies_claimed";
        let claimed: Vec<(String, i64, i64, i64)> = tx.query(sql).all().await?;
        let allowed = |rights: &str| serde_json::from_str::<Rights>(rights).map_or(0, |rights| i64::from(rights.copies));
        let mut violations = vec![];
        for (rights, of_medium, of_batch, copies) in claimed {
            if copies <= allowed(&rights).max(of_medium).max(of_batch) {
                continue;
            }
            let sql = "SELECT m.medium_id FROM medium m JOIN batch b ON b.batch_id = m.batch_id
                       WHERE COALESCE(m.rights, b.rights) = $1 AND COALESCE(m.most_copies, 0) = $2 AND COALESCE(b.most_copies, 0) = $3
                         AND m.copies_claimed = $4 LIMIT $5";
            let query = tx.query(sql).bind(&rights).bind(of_medium).bind(of_batch).bind(copies).bind(MOST);
            let found: Vec<(String,)> = query.all().await?;
            violations.extend(found.into_iter().map(|(subject,)| Violation { invariant: COPIES_ALLOWED, subject }));
        }
        Ok(violations)
    })
    .await
}

/// Every sentence that [`check`] holds the database to.
pub fn sentences() -> impl Iterator<Item = &'static str> {
    INVARIANTS
        .iter()
        .chain(licenses::INVARIANTS)
        .chain(updates::INVARIANTS)
        .chain(uploads::INVARIANTS)
        .chain(people::INVARIANTS)
        .chain(repairs::INVARIANTS)
        .chain(reissues::INVARIANTS)
        .map(|(sentence, _)| *sentence)
        .chain(orders::sentences())
        .chain(across::sentences())
        .chain(gateways::sentences())
        .chain([repairs::SENTENCE, reissues::SENTENCE, holders::SENTENCE, feeds::SENTENCE, words::SENTENCE, COPIES_ALLOWED])
}
