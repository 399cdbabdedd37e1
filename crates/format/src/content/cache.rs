//! A few decoded chunks in memory, least recently used first out, each decoded by one thread while others wait for it.

use std::collections::HashMap;
use std::ops::{Deref, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A decoded chunk: the part of a buffer that is its plaintext.
pub struct Plain {
    pub buffer: Vec<u8>,
    pub range: Range<usize>,
}

impl Deref for Plain {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

/// Decoded chunks by index, bounded in bytes.
pub struct Cache {
    state: Mutex<State>,
    /// Told whenever a chunk that somebody decodes is done, or has failed.
    settled: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    slots: HashMap<u32, Slot>,
    used: usize,
    clock: u64,
    /// Buffers of chunks that were dropped, so that fresh memory is not faulted in for every chunk.
    spare: Vec<Vec<u8>>,
}

enum Slot {
    Decoding,
    Ready { plain: Arc<Plain>, last_used: u64 },
}

impl Cache {
    pub fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), settled: Condvar::new(), capacity }
    }

    /// The chunk, from memory or from `decode`, which is given a buffer to reuse.
    pub fn get<E>(&self, chunk: u32, decode: impl FnOnce(Vec<u8>) -> Result<Plain, E>) -> Result<Arc<Plain>, E> {
        let mut state = self.lock();
        loop {
            state.clock += 1;
            let now = state.clock;
            match state.slots.get_mut(&chunk) {
                Some(Slot::Ready { plain, last_used }) => {
                    *last_used = now;
                    return Ok(Arc::clone(plain));
                }
                Some(Slot::Decoding) => {
                    state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        state.slots.insert(chunk, Slot::Decoding);
        let buffer = state.spare.pop().unwrap_or_default();
        drop(state);

        // Clears the slot again if decoding fails or panics, so that nobody waits for ever.
        let pending = Pending { cache: self, chunk };
        let plain = Arc::new(decode(buffer)?);
        std::mem::forget(pending);
        self.put(chunk, &plain);
        Ok(plain)
    }

    fn put(&self, chunk: u32, plain: &Arc<Plain>) {
        let mut state = self.lock();
        state.used += plain.buffer.capacity();
        let last_used = state.clock;
        state.slots.insert(chunk, Slot::Ready { plain: Arc::clone(plain), last_used });
        while state.used > self.capacity && state.evict_oldest() {}
        drop(state);
        self.settled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before a panic could happen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn evict_oldest(&mut self) -> bool {
        // A capacity of some MiB is some hundred chunks: looking at all of them is cheaper than keeping them in order.
        let age = |slot: &Slot| match slot {
            Slot::Ready { last_used, .. } => *last_used,
            Slot::Decoding => u64::MAX,
        };
        let Some((&oldest, _)) = self.slots.iter().min_by_key(|(_, slot)| age(slot)) else { return false };
        let Some(Slot::Ready { plain, .. }) = self.slots.remove(&oldest) else {
            self.slots.insert(oldest, Slot::Decoding);
            return false;
        };
        self.used -= plain.buffer.capacity();
        if let Some(plain) = Arc::into_inner(plain)
            && self.spare.len() < 8
        {
            self.spare.push(plain.buffer);
        }
        true
    }
}

struct Pending<'a> {
    cache: &'a Cache,
    chunk: u32,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.cache.lock().slots.remove(&self.chunk);
        self.cache.settled.notify_all();
    }
}
