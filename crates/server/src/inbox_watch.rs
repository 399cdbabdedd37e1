//! Who listens for jobs in this process, and what wakes them: a commit here at once, one elsewhere within a poll.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use counterfoil_core::{DeviceId, Timestamp, UserId};
use tokio::sync::watch;

use crate::app::App;
use crate::db::DbError;
use crate::store::inbox;

/// How often the inboxes are looked at for what other processes wrote.
const POLL: Duration = Duration::from_secs(2);
/// How far back it is looked, in milliseconds: a row may become visible some time after the moment it bears, and clocks differ.
const BACK: i64 = 60_000;
/// Rows looked at together.
const PAGE: i64 = 1000;

/// The listeners of this process. Cheap to clone; clones are one.
#[derive(Clone, Default)]
pub struct InboxWatch(Arc<Mutex<Listeners>>);

#[derive(Default)]
struct Listeners {
    open: HashMap<(UserId, DeviceId), (u64, watch::Sender<()>)>,
    /// Tells one listener from the next of the same device.
    count: u64,
    closed: bool,
}

/// One device that listens, until this is dropped.
pub struct Listening {
    watch: InboxWatch,
    key: (UserId, DeviceId),
    number: u64,
    woken: watch::Receiver<()>,
}

impl InboxWatch {
    /// Listens for a device; whoever listened for it before hears no more. Nothing where `most` listen already.
    pub fn listen(&self, user: UserId, device: DeviceId, most: usize) -> Option<Listening> {
        let mut listeners = self.lock();
        let key = (user, device);
        if listeners.closed || (listeners.open.len() >= most && !listeners.open.contains_key(&key)) {
            return None;
        }
        listeners.count += 1;
        let number = listeners.count;
        let (wake, woken) = watch::channel(());
        listeners.open.insert(key, (number, wake));
        Some(Listening { watch: self.clone(), key, number, woken })
    }

    /// Has whoever listens for a device look, after a commit that put something there.
    pub fn wake(&self, user: UserId, device: DeviceId) {
        if let Some((_, wake)) = self.lock().open.get(&(user, device)) {
            wake.send_replace(());
        }
    }

    /// Ends all streams, and takes no more: the server shuts down.
    pub fn close(&self) {
        let mut listeners = self.lock();
        listeners.closed = true;
        listeners.open.clear();
    }

    /// How many listen.
    pub fn count(&self) -> usize {
        self.lock().open.len()
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listening {
    /// Returns when there may be something new; false when it is over.
    pub async fn woken(&mut self) -> bool {
        self.woken.changed().await.is_ok()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut listeners = self.watch.lock();
        if listeners.open.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            listeners.open.remove(&self.key);
        }
    }
}

/// Looks for what other processes wrote, as long as anybody listens here.
pub async fn poll_forever(app: App) {
    let mut every = tokio::time::interval(POLL);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = app.clock.now();
    loop {
        every.tick().await;
        if app.inbox.count() == 0 {
            seen = app.clock.now();
            continue;
        }
        match poll(&app, seen).await {
            Ok(last) => seen = last,
            Err(error) => tracing::warn!(%error, "inboxes could not be looked at"),
        }
    }
}

/// Wakes the listeners of devices that have had something to do since `seen`, or shortly before; answers with the time of the last.
///
/// # Errors
/// A failure of the database.
pub async fn poll(app: &App, seen: Timestamp) -> Result<Timestamp, DbError> {
    let mut from = seen.0.saturating_sub(BACK);
    let mut last = seen.0;
    loop {
        let page = inbox::waiting(&app.db, from, PAGE).await?;
        for (at, user, device) in &page {
            last = last.max(*at);
            app.inbox.wake(*user, *device);
        }
        let full = page.len() as u64 >= PAGE.unsigned_abs();
        match page.last() {
            // More than a page may bear one moment; then the rest is left to the next round, and the stream that comes again.
            Some((at, ..)) if full && *at > from => from = *at,
            _ => return Ok(Timestamp(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const USER: UserId = UserId::from_bytes([1; 16]);
    const DEVICE: DeviceId = DeviceId::from_bytes([2; 16]);
    const OTHER: DeviceId = DeviceId::from_bytes([3; 16]);

    #[test]
    fn a_listener_is_woken_for_its_own_device_and_once_for_many_jobs() {
        let watch = InboxWatch::default();
        let mut listening = watch.listen(USER, DEVICE, 9).expect("room");
        watch.wake(USER, OTHER);
        assert_eq!(listening.woken().now_or_never(), None);
        watch.wake(USER, DEVICE);
        watch.wake(USER, DEVICE);
        assert_eq!(listening.woken().now_or_never(), Some(true));
        assert_eq!(listening.woken().now_or_never(), None);
    }

    #[test]
    fn the_next_listener_of_a_device_takes_over_and_the_first_does_not_take_its_place_with_it() {
        let watch = InboxWatch::default();
        let mut first = watch.listen(USER, DEVICE, 1).expect("room");
        let mut second = watch.listen(USER, DEVICE, 1).expect("the same place");
        assert_eq!(first.woken().now_or_never(), Some(false));
        drop(first);
        watch.wake(USER, DEVICE);
        assert_eq!(second.woken().now_or_never(), Some(true));
        assert!(watch.listen(USER, OTHER, 1).is_none(), "full");
        drop(second);
        assert_eq!(watch.count(), 0);
        assert!(watch.listen(USER, OTHER, 1).is_some());
    }

    #[test]
    fn closed_it_ends_all_and_takes_no_more() {
        let watch = InboxWatch::default();
        let mut listening = watch.listen(USER, DEVICE, 9).expect("room");
        watch.close();
        assert_eq!(listening.woken().now_or_never(), Some(false));
        assert!(watch.listen(USER, DEVICE, 9).is_none());
    }
}
