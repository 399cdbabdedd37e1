//! Turns of those who send uploads in parts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use counterfoil_core::UserId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies of uploads that are taken at once in a process; further ones wait. Each holds one part in memory.
const BODIES: usize = 64;
/// Those of one user: whoever sends a byte a minute keeps nobody else waiting.
const OF_USER: usize = 8;

/// Who has one, and who waits. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Turns {
    all: Arc<Semaphore>,
    users: Arc<Mutex<HashMap<UserId, Arc<Semaphore>>>>,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(BODIES)), users: Arc::default() }
    }
}

impl Turns {
    /// Waits for a turn: first for one of the user's own, so that nobody waits with one that others could have.
    pub async fn take(&self, user: UserId) -> Turn {
        let own = self.of(user).acquire_owned().await.expect("nobody closes it");
        let all = Arc::clone(&self.all).acquire_owned().await.expect("nobody closes it");
        Turn { _own: own, _all: all }
    }

    fn of(&self, user: UserId) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has or wants a turn holds theirs; the others are forgotten.
        users.retain(|_, own| Arc::strong_count(own) > 1);
        Arc::clone(users.entry(user).or_insert_with(|| Arc::new(Semaphore::new(OF_USER))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_user_leaves_turns_to_others_and_is_forgotten_afterwards() {
        let (turns, [slow, other]) = (Turns::default(), [1, 2].map(|n| UserId::from_bytes([n; 16])));
        let take = |user| turns.take(user).now_or_never();
        let mut held: Vec<Turn> = (0..OF_USER).map(|_| take(slow).expect("a turn")).collect();
        assert!(take(slow).is_none());
        held.push(take(other).expect("a turn of another user"));
        held.swap_remove(0);
        held.push(take(slow).expect("one that came back"));
        drop(held);
        drop(take(other));
        assert_eq!(turns.users.lock().unwrap().len(), 1, "who asked last");
        let users = (0..).map(|n| UserId::from_bytes([n; 16]));
        let everybody: Vec<Turn> = users.flat_map(|user| std::iter::repeat_n(user, OF_USER)).map_while(take).collect();
        assert_eq!(everybody.len(), BODIES);
    }
}
