//! A random walk against a reference model (testing.md row 9): households register, order, license, transfer and give back at random, and
//! after every step the server and a small model of the rules say the same.

use crate::{
    Common,
    authority::{Authority, Failure, NewCard, Reply},
    cluster::Cluster,
    goods::euros,
    household::{Household, Link, Tally},
    random::Dice,
    terminal::Medium,
    work::{self, Store},
};
use counterfoil_core::{DeviceId, UserId, wire::Answer};
use counterfoil_format::envelope::Envelope;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

/// How far to walk.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Steps of all households together. A walk with the same seed takes the same steps.
    #[arg(long, default_value_t = 20_000)]
    pub steps: u64,
    /// Plant a bug that the run must catch; it then succeeds only if it does.
    #[arg(long)]
    pub plant: Option<Plant>,
}

/// A bug put in on purpose, half way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// Licenses are at another device than they were moved to.
    ForgetTransfers,
    /// Balances are a cent too high.
    Cent,
    /// Orders that were given back are not.
    ForgetRefunds,
    /// Flags of copies that stand are taken off their media: a second live copy becomes possible.
    SecondCopy,
    /// Copies at devices that were exchanged stand as before.
    ForgetExchanges,
    /// Entries name the cards that were replaced.
    ForgetReissues,
    /// Cards that were replaced are alive by their own word.
    ReviveCards,
}

/// Steps of one household; then there is a new one.
const LIFE: u64 = 200;

/// Walks.
///
/// # Errors
/// Where server and model differ, what the auditor complains of, or a planted bug that was not found.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), 1)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let store = Store::open(&authority, cluster.token())?;
    let begun = Instant::now();
    let walked = side_by_side(common, options, &cluster, &authority, &store);
    let seconds = begun.elapsed().as_secs_f64();
    let (tally, finding) = match walked {
        Ok(tally) => (tally, cluster.audit()),
        Err(found) => (Tally::default(), Err(found)),
    };
    println!("walk: {tally}, {seconds:.1} s, seed {}", common.seed);
    work::verdict("walk", options.plant, finding, tally.is_plenty(options.steps / 20))
}

fn side_by_side(common: &Common, options: &Options, cluster: &Cluster, authority: &Authority, store: &Store) -> Result<Tally, Failure> {
    let stop = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let walkers: Vec<_> = (0..common.terminals)
            .map(|stream| {
                let walker = Walker { authority: authority.apart(), store, stop };
                let steps = options.steps.div_ceil(common.terminals as u64);
                let plant = options.plant.filter(|_| stream == 0);
                scope.spawn(move || {
                    let walked = walker.walk(Dice::new(common.seed, 1 + stream as u64), steps, plant, cluster);
                    if walked.is_err() {
                        stop.store(true, SeqCst);
                    }
                    walked
                })
            })
            .collect();
        let mut total = Tally::default();
        for walker in walkers {
            total += walker.join().unwrap_or_else(|_| Err(Failure::Broken("a walker panicked".into())))?;
        }
        Ok(total)
    })
}

/// One thread, with one household after the other.
struct Walker<'a> {
    authority: Authority,
    store: &'a Store,
    stop: &'a AtomicBool,
}

impl Walker<'_> {
    fn walk(mut self, mut dice: Dice, steps: u64, plant: Option<Plant>, cluster: &Cluster) -> Result<Tally, Failure> {
        let mut total = Tally::default();
        while total.steps < steps && !self.stop.load(SeqCst) {
            let mut household = Household::found(&self.authority.clone(), &self.store.goods, dice.apart(), &mut self)?;
            for _ in 0..LIFE.min(steps - total.steps) {
                household.step(&mut self)?;
            }
            if let Some(plant) = plant.filter(|_| total.steps <= steps / 2 && total.steps + LIFE > steps / 2) {
                spoil(plant, cluster)?;
            }
            household.check(&mut self)?;
            total += household.tally;
        }
        Ok(total)
    }
}

fn spoil(plant: Plant, cluster: &Cluster) -> Result<(), Failure> {
    match plant {
        Plant::ForgetTransfers => cluster.database.forget_transfers().map(drop),
        Plant::Cent => cluster.database.execute("UPDATE balance SET amount = amount + 1"),
        Plant::SecondCopy => cluster.database.execute("UPDATE medium SET copies_claimed = 0, state = 'unclaimed' WHERE copies_claimed > 0"),
        Plant::ForgetExchanges => cluster.database.execute("UPDATE grants SET state = 'delivered', settled_at = NULL WHERE state = 'revoked'"),
        Plant::ForgetReissues => cluster.database.execute(
            "UPDATE user_entry SET holder_id = (SELECT MIN(h.holder_id) FROM holder h WHERE h.user_id = user_entry.user_id AND h.state = 'dead')
             WHERE EXISTS (SELECT 1 FROM holder h WHERE h.user_id = user_entry.user_id AND h.state = 'dead')",
        ),
        Plant::ReviveCards => cluster.database.execute("UPDATE holder SET state = 'registered' WHERE state = 'dead'"),
        Plant::ForgetRefunds => cluster.database.execute(
            "UPDATE entitlement SET state = 'active', ended_at = NULL WHERE order_id IN (SELECT order_id FROM orders WHERE reason = 'refund');
             UPDATE orders SET state = 'paid', ended_at = NULL WHERE reason = 'refund'",
        ),
    }
}

impl Link for Walker<'_> {
    fn ask(&mut self, envelope: &Envelope) -> Result<Answer, Failure> {
        crate::race::send(&self.authority, envelope)
    }

    fn top_up(&mut self, user: UserId, cents: u64, key: &str) -> Result<(), Failure> {
        match self.authority.top_up(&self.store.token, user, euros(cents), key)? {
            Reply::Answer(()) => Ok(()),
            Reply::Busy | Reply::Lost => Err(Failure::Broken("a payment was not answered though nothing was killed".into())),
        }
    }

    fn exchange(&mut self, user: UserId, old: DeviceId, new: DeviceId, key: &str) -> Result<(), Failure> {
        match self.authority.exchange_device(&self.store.token, user, old, new, key)? {
            Reply::Answer(()) => Ok(()),
            Reply::Busy | Reply::Lost => Err(Failure::Broken("an exchange was not answered though nothing was killed".into())),
        }
    }

    fn reissue(&mut self, new: &NewCard, key: &str) -> Result<(), Failure> {
        match self.authority.replace_card(&self.store.token, new, key)? {
            Reply::Answer(()) => Ok(()),
            Reply::Busy | Reply::Lost => Err(Failure::Broken("a replacement was not answered though nothing was killed".into())),
        }
    }

    fn medium(&mut self) -> Result<Option<Arc<Medium>>, Failure> {
        self.store.fresh_medium(&self.authority)
    }
}
