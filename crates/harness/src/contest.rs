//! Several devices, one license (D5, D6, D8; testing.md row 6): of two transfers at once one moves it, of two devices that ask for the last place
//! one gets it, and whoever fetches meanwhile gets what is still theirs or nothing, whichever process they ask.

use crate::{
    Common,
    authority::{Authority, Failure, Reply},
    cluster::Cluster,
    database::Database,
    goods::euros,
    race::{registered, send},
    random::Dice,
    server::Server,
    terminal::Terminal,
    work::{self, Store},
};
use counterfoil_core::{
    Code, TitleId, TransactionId,
    wire::{self, DevicesResult, LicenseResult, Operation, OrderResult, RedeemResult, RegisterResult, TransferResult},
};
use serde::de::DeserializeOwned;
use std::{sync::Barrier, time::Instant};

/// A bug put in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Plant {
    /// After the contest, the database forgets all transfers.
    ForgetTransfers,
    /// One of the processes works on a database of its own: a primary that was cut off and does not know.
    SplitBrain,
}

/// One person with three devices: `single` is licensed to the first and waits to be fetched, `shared` has one more place.
struct Contest {
    devices: [Terminal; 3],
    transaction: TransactionId,
}

/// What the three racers were told.
struct Told {
    to_second: Result<(), Code>,
    to_third: Result<(), Code>,
    fetched: Result<RedeemResult, Code>,
    place_second: Result<(), Code>,
    place_third: Result<(), Code>,
}

/// Holds `contests` of them.
///
/// # Errors
/// A license that two have or nobody has, an answer that cannot be explained, or a planted bug that was not found.
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
pub fn run(common: &Common, contests: u64, servers: usize, plant: Option<Plant>) -> Result<(), Failure> {
    let directory = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, directory.path(), servers)?;
    cluster.servers[0].start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let store = Store::open(&authority, cluster.token())?;
    let mut dice = Dice::new(common.seed, 0);
    let contests: Vec<Contest> = (0..contests).map(|_| Contest::prepare(&authority, &store, &mut dice)).collect::<Result<_, _>>()?;
    let fork = if plant == Some(Plant::SplitBrain) { Some(split(&mut cluster)?) } else { None };
    cluster.servers[1..].iter_mut().try_for_each(Server::start)?;

    let begun = Instant::now();
    let told = race(common, &authority, &cluster.urls(), &contests)?;
    let seconds = begun.elapsed().as_secs_f64();
    if plant == Some(Plant::ForgetTransfers) {
        cluster.database.forget_transfers()?;
    }
    let found = contests.iter().zip(&told).try_for_each(|(contest, told)| contest.judge(&authority, &mut dice, told));
    let fetched = told.iter().filter(|told| told.fetched.is_ok()).count();
    println!(
        "contest: {} licenses, {servers} server processes, {fetched} fetched before they moved, {seconds:.1} s, seed {}",
        contests.len(),
        common.seed
    );
    cluster.kill();
    fork.map_or(Ok(()), |fork| fork.drop_fork())?;
    let finding = found.and_then(|()| if plant.is_none() { cluster.audit() } else { Ok(()) });
    work::verdict("contest", plant, finding, !contests.is_empty())
}

/// Has the last process work on a copy of the database.
fn split(cluster: &mut Cluster) -> Result<Database, Failure> {
    cluster.servers[0].kill();
    let fork = cluster.database.fork()?;
    if let (Database::Postgres(url), [_, others @ ..]) = (&fork, &mut cluster.servers[..]) {
        for server in others {
            server.set_database(url)?;
        }
    }
    cluster.servers[0].start()?;
    Ok(fork)
}

impl Contest {
    fn prepare(authority: &Authority, store: &Store, dice: &mut Dice) -> Result<Contest, Failure> {
        let first = registered(authority, dice)?;
        let (second, third) = (beside(&first, authority, dice)?, beside(&first, authority, dice)?);
        let user = first.user_id();
        match authority.top_up(&store.token, user, euros(10_000), &user.to_string())? {
            Reply::Answer(()) => {}
            Reply::Lost | Reply::Busy => return Err(Failure::Broken("a payment was not answered".into())),
        }
        for goods in store.goods.iter().filter(|goods| goods.title != title("moving")) {
            let operation = Operation::Order(wire::Order {
                user_id: user,
                card_id: Some(first.card_id()),
                device_id: first.device_id(),
                title: goods.title.clone(),
                price: Some(goods.price),
                currency: None,
                trial: false,
            });
            yes::<OrderResult>("order", asked(authority, &first, operation, dice)?)?;
        }
        let license: LicenseResult = yes("license", asked(authority, &first, license(&first, "single"), dice)?)?;
        Ok(Contest { devices: [first, second, third], transaction: license.transaction_id })
    }

    fn transfer(&self, to: usize) -> Operation {
        let first = &self.devices[0];
        Operation::Transfer(wire::Transfer {
            user_id: first.user_id(),
            card_id: Some(first.card_id()),
            device_id: first.device_id(),
            source: first.device_id(),
            destination: self.devices[to].device_id(),
            title: Some(title("single")),
            preview: false,
        })
    }

    fn redeem(&self, device: usize) -> Operation {
        let terminal = &self.devices[device];
        let (user_id, device_id, transaction_id) = (terminal.user_id(), terminal.device_id(), self.transaction);
        Operation::Redeem(wire::Redeem { user_id, device_id, drive_id: None, transaction_id })
    }

    /// Exactly one has it, and that one can fetch it.
    fn judge(&self, authority: &Authority, dice: &mut Dice, told: &Told) -> Result<(), Failure> {
        let user = self.devices[0].user_id();
        let wrong = |what: &str| Err(Failure::Broken(format!("{user}: {what}")));
        let (winner, loser) = match (&told.to_second, &told.to_third) {
            (Ok(()), Err(Code::TransferNotAllowed)) => (1, 2),
            (Err(Code::TransferNotAllowed), Ok(())) => (2, 1),
            (Ok(()), Ok(())) => return wrong("moved to two devices"),
            other => return wrong(&format!("transfers were answered {other:?}")),
        };
        match (&told.place_second, &told.place_third) {
            (Ok(()), Err(Code::NotEntitled)) | (Err(Code::NotEntitled), Ok(())) => {}
            other => return wrong(&format!("one place was asked for by two: {other:?}")),
        }
        let before = match &told.fetched {
            Ok(result) => Some(result.grant.grant_id),
            Err(Code::TransactionUnknown) => None,
            Err(code) => return wrong(&format!("fetching was refused as {code}")),
        };
        let now: RedeemResult = yes("redeem", asked(authority, &self.devices[winner], self.redeem(winner), dice)?)?;
        if before == Some(now.grant.grant_id) {
            return wrong("two devices have one grant");
        }
        for other in [0, loser] {
            match asked::<RedeemResult>(authority, &self.devices[other], self.redeem(other), dice)? {
                Err(Code::TransactionUnknown) => {}
                _ => return wrong("a device that does not have it was not told so"),
            }
        }
        let terminal = &self.devices[0];
        let devices = Operation::Devices(wire::Devices { user_id: user, device_id: terminal.device_id() });
        let devices: DevicesResult = yes("devices", asked(authority, terminal, devices, dice)?)?;
        let count = |name: &str| devices.devices.iter().flat_map(|device| &device.licenses).filter(|of| of.title.as_str() == name).count();
        if (count("single"), count("shared")) == (1, 2) { Ok(()) } else { wrong("licenses at more or fewer devices than allowed") }
    }
}

/// Three racers, each at a process of its own where there are so many.
fn race(common: &Common, authority: &Authority, urls: &[String], contests: &[Contest]) -> Result<Vec<Told>, Failure> {
    let barrier = &Barrier::new(3);
    let place = |contest: &Contest, device: usize| license(&contest.devices[device], "shared");
    std::thread::scope(|scope| {
        let racer = |number: usize| (authority.at(&urls[number % urls.len()]).apart(), Dice::new(common.seed, 1 + number as u64));
        let (first, second, third) = (racer(0), racer(1), racer(2));
        let first = scope.spawn(move || {
            let (authority, mut dice) = first;
            each(contests, barrier, |contest| {
                let moved = asked::<TransferResult>(&authority, &contest.devices[0], contest.transfer(1), &mut dice);
                barrier.wait();
                Ok((moved?, asked::<LicenseResult>(&authority, &contest.devices[1], place(contest, 1), &mut dice)?))
            })
        });
        let second = scope.spawn(move || {
            let (authority, mut dice) = second;
            each(contests, barrier, |contest| {
                let moved = asked::<TransferResult>(&authority, &contest.devices[0], contest.transfer(2), &mut dice);
                barrier.wait();
                Ok((moved?, asked::<LicenseResult>(&authority, &contest.devices[2], place(contest, 2), &mut dice)?))
            })
        });
        let third = scope.spawn(move || {
            let (authority, mut dice) = third;
            each(contests, barrier, |contest| {
                let fetched = asked::<RedeemResult>(&authority, &contest.devices[0], contest.redeem(0), &mut dice);
                barrier.wait();
                fetched
            })
        });
        let panicked = || Failure::Broken("a racer panicked".into());
        let (first, second) = (first.join().map_err(|_| panicked())??, second.join().map_err(|_| panicked())??);
        let third = third.join().map_err(|_| panicked())??;
        let told = first.into_iter().zip(second).zip(third).map(|((first, second), fetched)| Told {
            to_second: first.0.map(drop),
            to_third: second.0.map(drop),
            fetched,
            place_second: first.1.map(drop),
            place_third: second.1.map(drop),
        });
        Ok(told.collect())
    })
}

/// Does it for each contest at the same moment as the others; after a failure the others still wait at the barrier: comes to it twice each.
fn each<T>(contests: &[Contest], barrier: &Barrier, mut act: impl FnMut(&Contest) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    let (mut all, mut failed) = (Vec::with_capacity(contests.len()), None);
    for contest in contests {
        barrier.wait();
        if failed.is_some() {
            barrier.wait();
            continue;
        }
        match act(contest) {
            Ok(told) => all.push(told),
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(all), Err)
}

fn beside(first: &Terminal, authority: &Authority, dice: &mut Dice) -> Result<Terminal, Failure> {
    let device = first.beside(dice);
    let answer = send(authority, &device.register(authority, dice))?;
    match answer.outcome.into_result::<RegisterResult>() {
        Ok(Ok(_)) => Ok(device),
        other => Err(Failure::Broken(format!("unexpected outcome of a registration: {other:?}"))),
    }
}

fn license(terminal: &Terminal, name: &str) -> Operation {
    let (user_id, device_id) = (terminal.user_id(), terminal.device_id());
    Operation::License(wire::AskLicense { user_id, device_id, title: title(name), release: None, channel: None, again: false, feed: 0 })
}

fn title(name: &str) -> TitleId {
    name.parse().expect("a name")
}

fn asked<T: DeserializeOwned>(
    authority: &Authority,
    terminal: &Terminal,
    operation: Operation,
    dice: &mut Dice,
) -> Result<Result<T, Code>, Failure> {
    let answer = send(authority, &terminal.ask(authority, operation, dice))?;
    let outcome = answer.outcome.into_result().map_err(|error| Failure::Broken(format!("an answer of another shape: {error}")))?;
    Ok(outcome.map_err(|refusal| refusal.code))
}

fn yes<T>(what: &str, answer: Result<T, Code>) -> Result<T, Failure> {
    answer.map_err(|code| Failure::Broken(format!("{what}: refused as {code}")))
}
