//! Terminals at work while something happens to the servers, and what a run comes to.

use crate::{
    Common,
    authority::{Authority, Failure},
    goods::{self, Goods},
    ground,
    household::Tally,
    random::Dice,
    terminal::Medium,
    worker::Worker,
};
use counterfoil_core::{GrantId, UserId};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// Has `common.terminals` terminals work for as long as `breaking` runs, and answers with what that said. The first thing that a terminal
/// finds stops everybody.
pub(crate) fn side_by_side<T>(
    common: &Common,
    world: &World,
    processes: &[Authority],
    breaking: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    std::thread::scope(|scope| {
        for stream in 0..common.terminals {
            let dice = Dice::new(common.seed, 1 + stream as u64);
            scope.spawn(move || {
                if let Err(failure) = Worker::new(world, processes.to_vec(), stream, dice).work()
                    && !world.given_up.load(SeqCst)
                {
                    world.finding.lock().expect("no holder panics").get_or_insert(failure);
                    world.stop.store(true, SeqCst);
                }
            });
        }
        let said = breaking();
        world.given_up.store(said.is_err(), SeqCst);
        world.stop.store(true, SeqCst);
        world.starts.1.notify_all();
        said
    })
}

/// What a run of this name comes to: a planted bug must have been found, and without one nothing, in enough work to prove something.
pub(crate) fn verdict<P: Debug>(name: &str, plant: Option<P>, finding: Result<(), Failure>, enough: bool) -> Result<(), Failure> {
    match (plant, finding) {
        (Some(plant), Err(found)) => {
            println!("{name}: planted {plant:?} was found: {found}");
            Ok(())
        }
        (Some(plant), Ok(())) => Err(Failure::Broken(format!("the planted {plant:?} was not found"))),
        (None, Err(found)) => Err(found),
        (None, Ok(())) if !enough => Err(Failure::Broken("too little happened for this run to prove anything".into())),
        (None, Ok(())) => Ok(()),
    }
}

/// What everybody has been told, to hold every further answer against.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) media: Vec<Medium>,
    /// Per medium, what was told of it last.
    pub(crate) granted: Mutex<BTreeMap<usize, Holding>>,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) lost: AtomicU64,
    /// Asked to come again later.
    pub(crate) busy: AtomicU64,
    /// Answered by another process than the one that was asked first.
    pub(crate) elsewhere: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) stop: AtomicBool,
    /// The servers may be down for good: nobody waits for an answer any more.
    pub(crate) given_up: AtomicBool,
    /// Counts starts of the server; who lost an answer waits for the next.
    pub(crate) starts: (Mutex<u64>, Condvar),
    pub(crate) finding: Mutex<Option<Failure>>,
    /// How long a terminal rests between two requests.
    pub(crate) pause: Duration,
    pub(crate) tally: Mutex<Tally>,
}

/// What is sold, and by whom balances are topped up.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) goods: Arc<[Goods]>,
    pub(crate) token: String,
    /// Media that nobody has touched, for households.
    spare: Arc<Mutex<Vec<Medium>>>,
}

/// Media pressed for households at a time.
const SPARE: u64 = 300;

impl Store {
    /// Opens it: publishes and lists its titles.
    pub(crate) fn open(authority: &Authority, token: &str) -> Result<Self, Failure> {
        let spare = Arc::new(Mutex::new(ground::prepare(authority, token, SPARE)?));
        Ok(Store { goods: goods::stock(authority, token)?.into(), token: token.to_owned(), spare })
    }

    /// A medium that nobody has touched; none where all are taken.
    pub(crate) fn medium(&self) -> Option<Arc<Medium>> {
        self.spare.lock().expect("no holder panics").pop().map(Arc::new)
    }

    /// As `medium`, of which more are pressed where all are taken.
    pub(crate) fn fresh_medium(&self, authority: &Authority) -> Result<Option<Arc<Medium>>, Failure> {
        if let Some(medium) = self.medium() {
            return Ok(Some(medium));
        }
        let more = ground::press(authority, &self.token, SPARE)?;
        self.spare.lock().expect("no holder panics").extend(more);
        Ok(self.medium())
    }
}

impl World {
    /// In which nobody has been told anything about these media.
    pub(crate) fn new(media: Vec<Medium>, store: Store, pause: Duration) -> Self {
        World {
            store,
            media,
            granted: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            elsewhere: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            starts: (Mutex::new(1), Condvar::new()),
            finding: Mutex::default(),
            pause,
            tally: Mutex::default(),
        }
    }
}

/// Who was granted a medium.
pub(crate) struct Holding {
    pub(crate) user: UserId,
    pub(crate) grants: Vec<GrantId>,
    pub(crate) confirmed: bool,
}
