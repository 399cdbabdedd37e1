//! What is remembered for some minutes, and only so much of it at once: challenges and sessions.

use std::collections::HashMap;

/// Values by a name that nobody can guess, each with an end in seconds since 1970.
pub struct Memory<V> {
    most: usize,
    held: HashMap<String, (i64, V)>,
}

/// As many are held as may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl<V> Memory<V> {
    /// For so many at once.
    pub fn new(most: usize) -> Self {
        Memory { most, held: HashMap::new() }
    }

    /// Remembers `value` until `end`.
    ///
    /// # Errors
    /// There is no room, even without those that are over.
    pub fn keep(&mut self, name: String, value: V, end: i64, now: i64) -> Result<(), Full> {
        if self.held.len() >= self.most {
            self.held.retain(|_, (end, _)| *end > now);
        }
        if self.held.len() >= self.most && !self.held.contains_key(&name) {
            return Err(Full);
        }
        self.held.insert(name, (end, value));
        Ok(())
    }

    /// What goes by that name, unless it is over.
    pub fn get(&self, name: &str, now: i64) -> Option<&V> {
        self.held.get(name).filter(|(end, _)| *end > now).map(|(_, value)| value)
    }

    /// As [`Memory::get`]; it is forgotten, so that nobody gets it a second time.
    pub fn take(&mut self, name: &str, now: i64) -> Option<V> {
        self.held.remove(name).filter(|(end, _)| *end > now).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_taken_once_and_in_time() {
        let mut memory = Memory::new(2);
        memory.keep("a".into(), 1, 10, 0).unwrap();
        memory.keep("b".into(), 2, 10, 0).unwrap();
        assert_eq!(memory.get("a", 9), Some(&1));
        assert_eq!(memory.take("a", 9), Some(1));
        assert_eq!(memory.take("a", 9), None);
        assert_eq!(memory.take("b", 10), None, "it is over");
        assert_eq!(memory.take("c", 0), None);
    }

    #[test]
    fn no_more_than_agreed_is_held_and_what_is_over_makes_room() {
        let mut memory = Memory::new(2);
        memory.keep("a".into(), 1, 10, 0).unwrap();
        memory.keep("b".into(), 2, 20, 0).unwrap();
        assert_eq!(memory.keep("c".into(), 3, 30, 9), Err(Full));
        memory.keep("b".into(), 4, 20, 9).unwrap();
        memory.keep("c".into(), 3, 30, 10).unwrap();
        assert_eq!((memory.get("a", 10), memory.get("b", 10), memory.get("c", 10)), (None, Some(&4), Some(&3)));
    }
}
