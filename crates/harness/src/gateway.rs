//! A gateway and the authority behind it, both killed at random while customers buy, copy, redeem, get their money back and have it taken back
//! (testing.md rows 1, 2, 7 and 9 for C16–C18): never a key without a charge, never a charge without a key or a refund, and both sides
//! tell the same. Without kills it is a walk beside the customers' model.

use crate::{
    Common,
    authority::{Authority, Failure},
    cluster::Cluster,
    goods, ground, kill,
    random::Dice,
    work,
};
use books::Books;
use counter::Counter;
use customer::Customer;
use house::House;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use street::{Street, Tally};

mod books;
pub mod counter;
mod customer;
pub mod house;
mod plant;
mod street;

pub use plant::Plant;

/// How much to do.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How often a process is killed: of the authority, of the gateway, or both at once.
    #[arg(long, default_value_t = 100)]
    pub kills: u32,
    /// Steps of all customers together, where nothing is killed: with the same seed, the same steps.
    #[arg(long, default_value_t = 0)]
    pub steps: u64,
    /// Processes of the authority, and as many of the gateway; more than one needs PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// Plant a bug that the run must catch; it then succeeds only if it does.
    #[arg(long)]
    pub plant: Option<Plant>,
}

/// Steps of one customer; then there is a new one.
const LIFE: u64 = 40;
/// Media that everybody wants.
const WANTED: u64 = 200;
/// The gateway learns of what was given back at the authority once that is so old.
const LEARNED: Duration = Duration::from_secs(14);

/// Runs until so many processes were killed, or so many steps taken.
///
/// # Errors
/// What was charged without a key or given without a charge, where the two sides differ, or a planted bug that was not found.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), options.servers)?;
    let listeners = house::listeners(&mut cluster)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), u64::from(options.kills) * 12 + options.steps / 3 + WANTED + 200)?;
    let goods = goods::stock(&authority, cluster.token())?;
    let mut house = House::open(common, &cluster, &authority, &goods, &listeners)?;
    let vouchers = house.said(&["voucher", "make", "6.00 EUR", "--batch", "harness", "--count", "400"])?;
    house.start()?;
    let begun = Instant::now();
    // Customers work through one view of the gateway, and whoever kills has its processes.
    let desks = std::mem::take(&mut house.desks);
    let mut media: Vec<_> = media.into_iter().map(Arc::new).collect();
    let street = Street {
        authority: authority.clone(),
        house: &house,
        goods,
        wanted: media.split_off(media.len() - WANTED as usize),
        media: Mutex::new(media),
        holders: Mutex::default(),
        vouchers: Mutex::new(
            vouchers["codes"].as_array().into_iter().flatten().filter_map(|code| code.as_str().map(str::to_owned)).collect(),
        ),
        acknowledged: AtomicU64::new(0),
        lost: AtomicU64::new(0),
        busy: AtomicU64::new(0),
        elsewhere: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        given_up: AtomicBool::new(false),
        finding: Mutex::default(),
        given_back: AtomicBool::new(false),
        forgetful: options.plant == Some(Plant::OtherId),
    };
    let mut scene = Scene { common, options, cluster, desks, house: &house, authority, dice: Dice::new(common.seed, 0) };
    let (tally, finding) = scene.play(&street);
    println!(
        "gateway: {} kills among {} processes of the authority and {} of the gateway; {} acknowledged, {} answers lost and {} times asked to come \
         again, {} answered by another process; {tally}; {:.1} s, seed {}",
        options.kills,
        scene.cluster.servers.len(),
        scene.desks.len(),
        street.acknowledged.load(SeqCst),
        street.lost.load(SeqCst),
        street.busy.load(SeqCst),
        street.elsewhere.load(SeqCst),
        begun.elapsed().as_secs_f64(),
        common.seed
    );
    scene.desks.clear();
    house.database.drop_fork()?;
    let much = if options.kills > 0 { u64::from(options.kills) * 2 } else { options.steps / 5 };
    let enough = tally.is_plenty(much) && (options.kills == 0 || street.lost.load(SeqCst) > 0 && street.busy.load(SeqCst) > 0);
    work::verdict("gateway", options.plant, finding, enough)
}

/// Who kills, and what there is to kill.
struct Scene<'a> {
    common: &'a Common,
    options: &'a Options,
    cluster: Cluster,
    desks: Vec<house::Desk>,
    house: &'a House,
    authority: Authority,
    dice: Dice,
}

impl Scene<'_> {
    /// Customers at work beside the killing, and what is found by them, in the books, or by comparing the two sides.
    fn play(&mut self, street: &Street) -> (Tally, Result<(), Failure>) {
        let counters: Vec<Counter> = self.desks.iter().map(|desk| Counter::new(&desk.url)).collect();
        let terminals = self.common.terminals;
        let steps = if self.options.kills == 0 { self.options.steps.div_ceil(terminals as u64) } else { u64::MAX };
        let mut customers = Vec::new();
        let said = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..terminals)
                .map(|stream| {
                    let counters: Vec<Counter> = counters.iter().map(Counter::apart).collect();
                    let dice = Dice::new(self.common.seed, 1 + stream as u64);
                    scope.spawn(move || work(street, counters, stream, steps, dice))
                })
                .collect();
            let said = if self.options.kills > 0 { self.kill_again_and_again(street) } else { Ok(()) };
            street.given_up.store(said.is_err(), SeqCst);
            street.stop.store(self.options.kills > 0 || said.is_err(), SeqCst);
            for worker in workers {
                customers.extend(worker.join().unwrap_or_default());
            }
            said
        });
        let mut tally = Tally::default();
        let found = street.finding.lock().expect("no holder panics").take();
        let finding = found.map_or(said, Err).and_then(|()| self.judge(street, &mut customers));
        customers.iter().for_each(|customer| tally += customer.tally);
        (tally, finding)
    }

    fn kill_again_and_again(&mut self, street: &Street) -> Result<(), Failure> {
        let kills = self.options.kills;
        let data = self.house.data.join("gateway.db");
        for kill in 1..=kills {
            let target = street.acknowledged.load(SeqCst) + 1 + self.dice.below(24);
            while street.acknowledged.load(SeqCst) < target && !street.stop.load(SeqCst) {
                std::thread::sleep(Duration::from_micros(200));
            }
            if street.stop.load(SeqCst) {
                return Ok(());
            }
            let both = self.dice.chance(20);
            let (of_authority, which) = (self.dice.chance(50), self.dice.below(self.desks.len() as u64) as usize);
            let (authority, gateway) = (both || of_authority, both || !of_authority);
            if authority {
                self.cluster.servers[which].kill();
            }
            if gateway {
                self.desks[which].kill();
            }
            if self.options.plant == Some(Plant::StaleBooks) && (kill == kills / 3 || kill == kills * 2 / 3) {
                self.desks[which].kill();
                let other = data.with_extension("before");
                let (from, to) = if kill == kills / 3 { (&data, &other) } else { (&other, &data) };
                house::copy(from, to)?;
                self.desks[which].start()?;
            }
            if authority {
                self.cluster.servers[which].start()?;
            }
            if gateway && !self.desks[which].runs() {
                self.desks[which].start()?;
            }
            match kill {
                _ if self.options.plant.is_some() => {}
                half if half == kills.div_ceil(2) => self.revoke(street)?,
                // While everybody is at work.
                quarter if quarter % (kills / 4).max(1) == 0 => {
                    Books::checked(self.house)?;
                    self.cluster.audit()?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The gateway is ended at the authority, in the middle of everything, and enrolled again.
    #[expect(clippy::disallowed_methods, reason = "nobody waits for ever")]
    fn revoke(&mut self, street: &Street) -> Result<(), Failure> {
        let path = format!("/v1/gateways/{}", self.house.id);
        let token = self.cluster.token().to_owned();
        self.authority.delete(&token, &path)?;
        let shut = street.busy.load(SeqCst) + self.common.terminals as u64;
        let patience = Instant::now();
        while street.busy.load(SeqCst) < shut && !street.stop.load(SeqCst) {
            if patience.elapsed() > Duration::from_secs(20) {
                return Err(Failure::Broken("a gateway that was ended went on selling".into()));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.house.enrol(&self.authority, &token, &mut self.dice)?;
        // It takes the new certificate up by itself within ten seconds, and at once when it starts.
        for desk in &mut self.desks {
            desk.kill();
            desk.start()?;
        }
        Ok(())
    }

    /// Nobody is killed any more: what was ever bought is asked for, everything comes to its end, and the two sides are compared.
    fn judge(&mut self, street: &Street, customers: &mut [Customer]) -> Result<(), Failure> {
        if let Some(plant) = self.options.plant {
            self.desks.iter_mut().for_each(house::Desk::kill);
            self.cluster.kill();
            plant::apply(plant, self.house, &self.cluster.database)?;
            self.cluster.start()?;
            self.desks.iter_mut().try_for_each(house::Desk::start)?;
        }
        customers.iter_mut().try_for_each(Customer::ask_for_all)?;
        // What was given back is told to its exchange by a job, whose process may have been killed: the change bears the time of that.
        kill::drained(&self.cluster)?;
        let given_back = street.given_back.load(SeqCst);
        Books::settled(self.house, given_back.then_some(LEARNED))?;
        customers.iter_mut().try_for_each(Customer::close)?;
        kill::drained(&self.cluster)?;
        let books = Books::read(self.house, &self.cluster.database)?;
        books.compare()?;
        books.statements(self.house, &self.authority, self.cluster.token())?;
        Books::checked(self.house)?;
        self.cluster.audit()
    }
}

/// One customer after the other, for as long as they may; answers with all of them.
fn work<'a>(street: &'a Street<'a>, counters: Vec<Counter>, stream: usize, steps: u64, mut dice: Dice) -> Vec<Customer<'a>> {
    let (mut customers, mut done): (Vec<Customer>, u64) = (Vec::new(), 0);
    let width = counters.len();
    let mut go = || -> Result<(), Failure> {
        while done < steps && !street.stop.load(SeqCst) {
            let name = format!("customer-{stream}-{}", customers.len());
            let counters = counters.iter().map(Counter::apart).collect();
            let mut customer = Customer::arrive(street, counters, stream % width, name, dice.apart())?;
            let lived = customer.live(LIFE.min(steps - done));
            done += customer.tally.steps;
            customers.push(customer);
            lived?;
        }
        Ok(())
    };
    if let Err(failure) = go()
        && !street.given_up.load(SeqCst)
    {
        street.finding.lock().expect("no holder panics").get_or_insert(failure);
        street.stop.store(true, SeqCst);
    }
    customers
}
