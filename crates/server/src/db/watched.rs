//! Which records of the audit log somebody outside wants to be told of: known to every transaction without asking the database.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::monotonic;

/// How long a list is good. After that nobody knows whether somebody else is to be told by now, and everything is wanted.
pub const STALE: Duration = Duration::from_secs(5);

/// The records that are wanted. Cheap to clone; all clones share one list.
#[derive(Clone, Debug, Default)]
pub struct Watched(Arc<RwLock<Option<List>>>);

#[derive(Debug)]
struct List {
    records: BTreeSet<&'static str>,
    read: Duration,
}

impl Watched {
    /// From now on these are wanted, as a look that was begun at `read` ([`monotonic`]) has found.
    pub fn set(&self, records: BTreeSet<&'static str>, read: Duration) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(List { records, read });
    }

    /// Whether a record is wanted. Nothing is, where nobody ever looked: by a program that tells nobody, such as one that makes a token.
    pub fn wants(&self, record: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|list| list.wants(record, monotonic()))
    }
}

impl List {
    fn wants(&self, record: &str, now: Duration) -> bool {
        self.records.contains(record) || now.saturating_sub(self.read) > STALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_list_wants_everything_and_none_at_all_nothing() {
        let list = List { records: ["claim.granted"].into(), read: Duration::from_secs(100) };
        assert!(list.wants("claim.granted", Duration::from_secs(101)) && !list.wants("title.made", Duration::from_secs(105)));
        assert!(list.wants("title.made", Duration::from_millis(105_001)));
        assert!(!Watched::default().wants("claim.granted"));
    }
}
