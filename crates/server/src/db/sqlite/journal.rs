//! SQLite's journal (WAL), copied into the database beside the writer, so that no commit waits for it.
//!
//! By itself SQLite copies in the commit that brings the journal to a thousand pages: who shares that commit waits, and all behind it. Here a
//! thread of its own copies. What is written meanwhile is left over, so that the journal would never be copied whole, and grow for ever: when
//! it is long, the writer copies the little that is left between two commits, and the next one begins it anew.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB};

/// Pages that are copied at once, more or less, 16 MiB: nobody waits for it, and a page that was written often meanwhile is copied once.
const ROUND: i32 = 4000;
/// Pages from which on the journal is to begin anew, and from which on the writer waits for that: a disk that is slower than it shall not be filled.
const LONG: i32 = 4 * ROUND;
const TOO_LONG: i32 = 2 * LONG;

/// What the writer and the one who copies know of each other.
#[derive(Debug, Default)]
struct Shared {
    /// In the journal, at the writer's last commit.
    pages: AtomicI32,
    /// Of these, in the database already.
    copied: AtomicI32,
    /// Somebody copied since the writer looked.
    passed: AtomicBool,
    /// Held while copying.
    copying: Mutex<()>,
}

/// The writer's end.
pub(super) struct Journal {
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

/// The end of the one who copies.
pub(in crate::db) struct Copier {
    shared: Arc<Shared>,
    woken: Receiver<()>,
}

impl Journal {
    /// Has the writer's connection tell how long the journal is, and copy nothing in its commits.
    pub(super) fn of(writer: &mut Connection) -> rusqlite::Result<(Self, Copier)> {
        let shared = Arc::new(Shared::default());
        let (wake, woken) = sync_channel(1);
        let told = Arc::clone(&shared);
        writer.wal_hook(Some(move |_: &mut _, pages| {
            told.pages.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok((Self { shared: Arc::clone(&shared), wake }, Copier { shared, woken }))
    }

    /// Between two commits of the writer.
    pub(super) fn tend(&self, writer: &Connection) {
        let pages = self.shared.pages.load(Ordering::Relaxed);
        if pages < self.shared.copied.load(Ordering::Relaxed) {
            // It has begun anew.
            self.shared.copied.store(0, Ordering::Relaxed);
        }
        if self.shared.passed.swap(false, Ordering::Relaxed) && pages >= LONG || pages >= TOO_LONG {
            self.shared.copy(writer);
        } else if pages - self.shared.copied.load(Ordering::Relaxed) >= ROUND {
            // Full: it has been woken already.
            let _ = self.wake.try_send(());
        }
    }
}

impl Copier {
    /// Copies whenever there is enough, until the writer ends.
    pub(in crate::db) fn copy_all(&self, connection: &Connection) {
        while self.woken.recv().is_ok() {
            if self.shared.copy(connection) {
                self.shared.passed.store(true, Ordering::Relaxed);
            }
        }
    }
}

impl Shared {
    /// Copies what no reader needs in the journal, and waits for no reader. What fails (another process copies, the disk is full) is tried again
    /// after the next commit.
    fn copy(&self, connection: &Connection) -> bool {
        let _copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        match connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE) {
            Ok((_, copied)) => {
                self.copied.store(copied, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the journal was not copied");
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::open_writer;
    use super::*;

    /// Bytes: the most that it may have, what the last transaction adds to that, and the heads of its pages.
    const MOST: u64 = (TOO_LONG as u64 + 600) * (4096 + 64);

    /// Writes a quarter more than the journal may hold, without a pause, and says how long it was at most.
    fn written(copier: impl FnOnce(Copier, Connection) + Send + 'static, tend: bool) -> u64 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("counterfoil.db");
        let mut writer = open_writer(&path).unwrap();
        let (journal, end) = Journal::of(&mut writer).unwrap();
        let other = open_writer(&path).unwrap();
        let copying = std::thread::spawn(move || copier(end, other));
        writer.execute_batch("CREATE TABLE filled (bytes BLOB NOT NULL)").unwrap();
        let mut longest = 0;
        for _ in 0..TOO_LONG / 256 * 5 / 4 {
            writer.execute("INSERT INTO filled VALUES (zeroblob(1048576))", []).unwrap();
            if tend {
                journal.tend(&writer);
            }
            longest = longest.max(directory.path().join("counterfoil.db-wal").metadata().unwrap().len());
        }
        drop(journal);
        copying.join().unwrap();
        longest
    }

    #[test]
    fn a_writer_that_never_pauses_does_not_make_the_journal_endless() {
        let longest = written(|copier, connection| copier.copy_all(&connection), true);
        assert!(longest < MOST, "{longest}");
    }

    #[test]
    fn a_copier_that_is_gone_leaves_it_to_the_writer() {
        let longest = written(|_, _| (), true);
        assert!(longest < MOST, "{longest}");
    }

    #[test]
    fn notices_a_journal_that_nobody_tends() {
        let longest = written(|copier, connection| copier.copy_all(&connection), false);
        assert!(longest > MOST, "{longest}");
    }
}
