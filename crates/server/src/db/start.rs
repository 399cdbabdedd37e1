//! The threads of the database, and the queues that they take transactions from.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{self, Sender};

use super::error::DbError;
use super::job::Job;
use super::options::{DbOptions, Settings};
use super::url::{PostgresTarget, Target};
use super::{postgres, sqlite};

/// Where transactions wait for a thread.
pub(super) struct Queues {
    pub writers: Vec<Sender<Box<dyn Job>>>,
    pub readers: Sender<Box<dyn Job>>,
    /// Of the replica, where there is one.
    pub replica: Option<Sender<Box<dyn Job>>>,
}

/// The writer, who copies its journal, and the readers of a file.
pub(super) fn sqlite(path: &Path, settings: &Settings, readers: usize) -> Result<(Queues, Vec<JoinHandle<()>>), DbError> {
    let (writer, waiting) = mpsc::channel(settings.queue);
    let (writer_of_file, copier) = sqlite::Writer::open(path)?;
    let shared = settings.clone();
    let mut threads = vec![spawn("db-writer", move || sqlite::write_all(writer_of_file, waiting, &shared))?];
    let connection = sqlite::open_writer(path)?;
    threads.push(spawn("db-journal", move || copier.copy_all(&connection))?);
    let (reader, waiting) = mpsc::channel(settings.queue);
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..readers {
        let connection = sqlite::open_reader(path)?;
        let waiting = Arc::clone(&waiting);
        threads.push(spawn("db-reader", move || sqlite::read_all(connection, &waiting))?);
    }
    Ok((Queues { writers: vec![writer], readers: reader, replica: None }, threads))
}

/// The writers, the readers and, where there is a replica, its readers.
pub(super) fn postgres(
    target: &PostgresTarget,
    settings: &Settings,
    options: &DbOptions,
) -> Result<(Queues, Vec<JoinHandle<()>>), DbError> {
    let mut writers = Vec::new();
    let mut threads = Vec::new();
    for _ in 0..options.writers.max(1) {
        let (queue, waiting) = mpsc::channel(settings.queue);
        let (target, settings) = (target.clone(), settings.clone());
        threads.push(spawn("db-writer", move || on_this_thread(postgres::write_all(target, waiting, settings)))?);
        writers.push(queue);
    }
    let connections = options.readers.max(1);
    let (readers, waiting) = mpsc::channel(settings.queue);
    let (target, shared) = (target.clone(), settings.clone());
    threads.push(spawn("db-reader", move || on_this_thread(postgres::read_all(target, waiting, shared, connections)))?);
    let mut replica = None;
    if let Some(url) = &options.replica {
        let Target::Postgres(target) = &url.0 else {
            return Err(DbError::Url("a replica begins with `postgres://`, as the primary does".to_owned()));
        };
        let (queue, waiting) = mpsc::channel(settings.queue);
        let (target, settings, primary) = (PostgresTarget::clone(target), settings.clone(), readers.clone());
        let read = move || on_this_thread(postgres::read_replica(target, waiting, settings, connections, primary));
        threads.push(spawn("db-replica", read)?);
        replica = Some(queue);
    }
    Ok((Queues { writers, readers, replica }, threads))
}

/// A thread with a name.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, DbError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| DbError::Lost(format!("no thread for {name}: {error}")))
}

/// Runs it to its end.
pub(super) fn on_this_thread(work: impl Future<Output = ()>) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => tracing::error!(%error, "no runtime for a thread of the database"),
    }
}
