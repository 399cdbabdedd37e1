//! SQLite: one thread writes, in batches that share one durable commit; a few others read.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};
use tokio::sync::mpsc::Receiver;

use super::error::DbError;
use super::job::{Attempt, Job, attempt};
use super::row::Row;
use super::tx::{Engine, Tx};
use super::value::Value;
use super::{Settings, backoff, instant, meter, moved};
use journal::{Copier, Journal};

mod journal;

/// How often a process that waits for another one's transaction looks whether it has ended, and how many times: some five seconds.
const BUSY_LOOK: Duration = Duration::from_millis(1);
const BUSY_LOOKS: i32 = 5000;

/// How often an action that reports a conflict is run again.
const CONFLICTS: u32 = 3;

/// Opens the database for writing, and makes it when it is not there, readable by nobody else.
pub(super) fn open_writer(path: &Path) -> Result<Connection, DbError> {
    let cannot = |error: &dyn std::fmt::Display| DbError::Lost(format!("{}: {error}", path.display()));
    make_private(path).map_err(|error| cannot(&error))?;
    let mut connection = connect(path).map_err(|error| cannot(&error))?;
    prepare(&mut connection).map_err(|error| cannot(&error))?;
    // FULL: in WAL mode, a commit is on the disk when COMMIT returns. What is deleted is overwritten: people may ask for that.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON")
        .map_err(|error| cannot(&error))?;
    Ok(connection)
}

pub(super) fn open_reader(path: &Path) -> Result<Connection, DbError> {
    let cannot = |error: rusqlite::Error| DbError::Lost(format!("{}: {error}", path.display()));
    let mut connection = connect(path).map_err(cannot)?;
    prepare(&mut connection).map_err(cannot)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(cannot)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    // SQLite's own way to wait looks after 1 ms, 2 ms, and in the end every 100 ms: beside a writer that never pauses for longer than it takes to
    // answer, another process would hardly ever come in between.
    connection.busy_handler(Some(|looked| {
        std::thread::sleep(BUSY_LOOK);
        looked < BUSY_LOOKS
    }))?;
    connection.set_prepared_statement_cache_capacity(256);
    // A plan that may depend on what is bound is made anew each time that something is bound: a statement with ORDER BY was parsed for each run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.execute_batch("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF")
}

#[cfg(unix)]
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // SQLite gives the journal files the mode of the database.
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

#[cfg(not(unix))]
fn make_private(path: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).map(drop)
}

/// The writer of a file, and who copies its journal.
pub(super) struct Writer {
    connection: Connection,
    journal: Journal,
}

impl Writer {
    pub(super) fn open(path: &Path) -> Result<(Self, Copier), DbError> {
        let mut connection = open_writer(path)?;
        let (journal, copier) = Journal::of(&mut connection).map_err(|error| DbError::Lost(format!("{}: {error}", path.display())))?;
        Ok((Self { connection, journal }, copier))
    }
}

/// Drains the queue until every `Db` is gone: takes what waits, up to a batch, commits once, and only then answers.
pub(super) fn write_all(writer: Writer, mut queue: Receiver<Box<dyn Job>>, settings: &Settings) {
    let Writer { connection, journal } = writer;
    let connection = Rc::new(connection);
    while let Some(first) = queue.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < settings.batch
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        batch.retain(|job| !job.abandoned());
        if batch.is_empty() {
            continue;
        }
        meter::batch(batch.len());
        match together(&connection, &mut batch, settings) {
            Ok(attempts) => answer_all(batch, attempts),
            Err(error @ (DbError::Moving(_) | DbError::Moved(_))) => {
                batch.into_iter().for_each(|job| meter::answer(job, Some(error.clone())))
            }
            Err(error) => {
                tracing::warn!(%error, transactions = batch.len(), "a batch failed; its transactions are tried one by one");
                batch.into_iter().for_each(|job| alone(&connection, job, settings));
            }
        }
        journal.tend(&connection);
    }
}

/// Runs the jobs inside one transaction, each inside its own savepoint. An error means that none of them was committed, or that nobody knows.
fn together(connection: &Rc<Connection>, jobs: &mut [Box<dyn Job>], settings: &Settings) -> Result<Vec<Attempt>, DbError> {
    let outcome = (|| {
        moved::begin(connection)?;
        let mut attempts = Vec::with_capacity(jobs.len());
        for job in jobs {
            control(connection, "SAVEPOINT action")?;
            let mut tx = Tx::new(Engine::Sqlite(Rc::clone(connection)), settings.faults.clone()).watched_by(&settings.watched);
            let result = attempt(job.as_mut(), &mut tx).now_or_never().unwrap_or_else(|| Attempt::Failed(DbError::Stalled(job.name())));
            match result {
                Attempt::Done => {}
                Attempt::Failed(error) if error.is_transient() => return Err(error),
                Attempt::Refused | Attempt::Failed(_) => control(connection, "ROLLBACK TO action")?,
            }
            control(connection, "RELEASE action")?;
            attempts.push(result);
        }
        commit(connection, settings)?;
        Ok(attempts)
    })();
    // SQLite rolls back by itself after some failures, such as a full disk.
    if outcome.is_err() && !connection.is_autocommit() {
        control(connection, "ROLLBACK")?;
    }
    outcome
}

fn commit(connection: &Connection, settings: &Settings) -> Result<(), DbError> {
    let number = settings.faults.as_ref().map(|faults| faults.before_commit()).transpose()?;
    let began = instant();
    control(connection, "COMMIT")?;
    meter::commit(began);
    settings.statistics.count_commit();
    match (&settings.faults, number) {
        (Some(faults), Some(number)) => faults.after_commit(number),
        _ => Ok(()),
    }
}

/// Runs one job until it succeeds, fails for good, or its time is up.
///
/// Whoever holds the write lock sees what nobody else changes: a guard that fails then fails again, and all writers wait meanwhile.
fn alone(connection: &Rc<Connection>, mut job: Box<dyn Job>, settings: &Settings) {
    for tries in 0.. {
        let hopeless = |error: &DbError| matches!(error, DbError::Conflict(_)) && tries >= CONFLICTS;
        match together(connection, std::slice::from_mut(&mut job), settings) {
            Ok(attempts) => return answer_all(vec![job], attempts),
            Err(error @ (DbError::Moving(_) | DbError::Moved(_))) => return meter::answer(job, Some(error)),
            Err(error) if instant() < job.deadline() && !hopeless(&error) => {
                tracing::debug!(%error, transaction = job.name(), "run again");
                meter::retry(job.name());
                std::thread::sleep(backoff(tries));
            }
            Err(error) => {
                tracing::error!(%error, transaction = job.name(), "given up");
                return meter::answer(job, Some(error.given_up()));
            }
        }
    }
}

fn answer_all(jobs: Vec<Box<dyn Job>>, attempts: Vec<Attempt>) {
    for (job, attempt) in jobs.into_iter().zip(attempts) {
        meter::finish(job, attempt);
    }
}

/// Answers reads until every `Db` is gone; each sees one state of the database.
pub(super) fn read_all(connection: Connection, queue: &Arc<Mutex<Receiver<Box<dyn Job>>>>) {
    let connection = Rc::new(connection);
    loop {
        // Held while waiting: whoever has it takes the next read, the others wait here.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(mut job) = next else { return };
        if job.abandoned() {
            continue;
        }
        let finished = read_one(&connection, job.as_mut());
        match finished {
            Ok(attempt) => meter::finish(job, attempt),
            Err(error) => meter::answer(job, Some(error)),
        }
    }
}

pub(super) fn read_one(connection: &Rc<Connection>, job: &mut dyn Job) -> Result<Attempt, DbError> {
    for tries in 0.. {
        let result = read_once(connection, job);
        match result {
            Ok(Attempt::Failed(error)) | Err(error) if error.is_transient() => {
                if instant() >= job.deadline() {
                    return Err(error.given_up());
                }
                std::thread::sleep(backoff(tries));
            }
            result => return result,
        }
    }
    Err(DbError::Stalled(job.name()))
}

fn read_once(connection: &Rc<Connection>, job: &mut dyn Job) -> Result<Attempt, DbError> {
    control(connection, "BEGIN")?;
    let mut tx = Tx::new(Engine::Sqlite(Rc::clone(connection)), None);
    let result = attempt(job, &mut tx).now_or_never();
    if !connection.is_autocommit() {
        control(connection, "ROLLBACK")?;
    }
    Ok(result.unwrap_or_else(|| Attempt::Failed(DbError::Stalled(job.name()))))
}

pub(super) fn rows(connection: &Connection, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, DbError> {
    let collect = || {
        let mut statement = connection.prepare_cached(sql)?;
        let columns = statement.column_count();
        bind(&mut statement, sql, values)?;
        let mut rows = statement.raw_query();
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<_>>>()?;
            all.push(Row::new(values, sql));
        }
        Ok(all)
    };
    collect().map_err(|error| explain(&error, sql))
}

pub(super) fn execute(connection: &Connection, sql: &'static str, values: &[Value<'_>]) -> Result<u64, DbError> {
    let run = || {
        let mut statement = connection.prepare_cached(sql)?;
        bind(&mut statement, sql, values)?;
        statement.raw_execute()
    };
    // A usize is never wider than 64 bits on a platform that this runs on.
    run().map(|rows| rows as u64).map_err(|error| explain(&error, sql))
}

/// Which value each place of a statement takes, from 0.
type Places = Rc<[usize]>;

thread_local! {
    /// Of each statement, by address and length of its text: SQLite looks through all names to say one.
    static PLACES: RefCell<HashMap<(usize, usize), Places>> = RefCell::default();
}

/// Binds `$2` to the second value, as PostgreSQL does. To SQLite `$2` is a name, whose place is where it first occurs in the text.
fn bind(statement: &mut Statement<'_>, sql: &'static str, values: &[Value<'_>]) -> rusqlite::Result<()> {
    let places = places(statement, sql)?;
    let wanted = places.iter().max().map_or(0, |highest| highest + 1);
    if wanted != values.len() {
        return Err(rusqlite::Error::InvalidParameterCount(values.len(), wanted));
    }
    (1..).zip(places.iter()).try_for_each(|(place, index)| statement.raw_bind_parameter(place, &values[*index]))
}

fn places(statement: &Statement<'_>, sql: &'static str) -> rusqlite::Result<Places> {
    let text = (sql.as_ptr().addr(), sql.len());
    if let Some(known) = PLACES.with_borrow(|known| known.get(&text).cloned()) {
        return Ok(known);
    }
    let index = |place| {
        let number =
            statement.parameter_name(place).and_then(|name| name.strip_prefix('$')).and_then(|number| number.parse::<usize>().ok());
        number.and_then(|number| number.checked_sub(1)).ok_or(rusqlite::Error::InvalidParameterCount(place, 0))
    };
    let found: Places = (1..=statement.parameter_count()).map(index).collect::<rusqlite::Result<_>>()?;
    PLACES.with_borrow_mut(|known| known.insert(text, Places::clone(&found)));
    Ok(found)
}

pub(super) fn control(connection: &Connection, sql: &'static str) -> Result<(), DbError> {
    let run = || connection.prepare_cached(sql)?.execute([]);
    run().map(drop).map_err(|error| match explain(&error, sql) {
        // A transaction that cannot be begun or ended fails all in it, and is worth another try.
        DbError::Statement { message, .. } => DbError::Lost(message),
        other => other,
    })
}

fn explain(error: &rusqlite::Error, sql: &'static str) -> DbError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => DbError::Constraint(error.to_string()),
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::SystemIoFailure
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::SchemaChanged
            | ErrorCode::OperationInterrupted,
        ) => DbError::Lost(error.to_string()),
        _ => DbError::Statement { sql, message: error.to_string() },
    }
}

/// Answers one read over a connection of its own, on this thread.
pub(super) fn snapshot(path: &Path, mut job: Box<dyn Job>) {
    match open_reader(path).and_then(|connection| read_one(&Rc::new(connection), job.as_mut())) {
        Ok(attempt) => meter::finish(job, attempt),
        Err(error) => meter::answer(job, Some(error.given_up())),
    }
}
