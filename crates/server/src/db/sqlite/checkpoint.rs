//! SQLite's checkpoints beside the writer: what was committed goes from the journal into the database on a thread of its own, because the copying
//! and the syncing of the database would otherwise be waited for by whoever's commit came to the thousandth page.

use std::ffi::c_int;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;

use super::super::error::DbError;

/// Pages in the journal from which on they are copied: as many as SQLite's own choice.
const BESIDE: c_int = 1_000;
/// Pages from which on the writer waits for it, so that the journal can start over: 64 MiB. Under full load commits come while they are copied,
/// and the journal never starts over by itself.
const WAITED_FOR: c_int = 16_384;

/// The checkpoints of one database.
pub(in crate::db) struct Checkpoints {
    connection: Connection,
    due: Receiver<()>,
}

impl Checkpoints {
    /// Takes the checkpoints over from a writer that has opened the database at `path`.
    pub(in crate::db) fn take_over(writer: &mut Connection, path: &Path) -> Result<Self, DbError> {
        let cannot = |error: rusqlite::Error| DbError::Lost(format!("{}: {error}", path.display()));
        let connection = super::connect(path).map_err(cannot)?;
        let (wake, due) = sync_channel(1);
        // It takes the place of SQLite's own. The commit is done when it is asked, so it must not fail.
        writer.wal_hook(Some(move |wal: &mut Wal, pages: c_int| after_commit(wal, pages, &wake))).map_err(cannot)?;
        Ok(Self { connection, due })
    }

    /// Copies whenever there is enough, until the writer is gone.
    pub(in crate::db) fn run(self) {
        let mut failing = false;
        while self.due.recv().is_ok() {
            // As a statement: it reads the schema first, and a connection that has read nothing does not know that there is a journal.
            match self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
                Ok(()) => failing = false,
                // Once, and not every second: the writer goes on, and the journal grows.
                Err(error) if !std::mem::replace(&mut failing, true) => {
                    tracing::warn!(%error, "what was committed cannot be moved from the journal into the database");
                }
                Err(_) => {}
            }
        }
    }
}

fn after_commit(wal: &mut Wal, pages: c_int, wake: &SyncSender<()>) -> rusqlite::Result<()> {
    if pages >= WAITED_FOR {
        // Most is copied already. Where it fails, the thread beside says so.
        let _ = wal.checkpoint_v2(CheckpointMode::PASSIVE);
    }
    if pages >= BESIDE {
        // One that is full says the same.
        let _ = wake.try_send(());
    }
    Ok(())
}
