//! Terminals that register, claim, confirm and repeat, and households that shop, for as long as they may: every answer
//! is held against all that were given.

use crate::{
    authority::{Authority, Failure, NewCard, Reply},
    goods::euros,
    household::{Household, Link},
    random::Dice,
    terminal::{Medium, Terminal},
    work::{Holding, World},
};
use counterfoil_core::{
    Code, DeviceId, GrantId, UserId,
    wire::{Answer, ClaimResult, ConfirmResult, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use serde::de::DeserializeOwned;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

/// Households of one worker.
const HOUSEHOLDS: usize = 2;
/// How long a terminal waits that was asked to come again.
const COME_AGAIN: Duration = Duration::from_millis(50);

/// A request that was answered, and what the answer must be when it is sent again.
enum Told {
    User(UserId),
    Granted { medium: usize, grants: Vec<GrantId> },
    Spent,
    Settled(Vec<GrantId>),
}

pub(crate) struct Worker<'a> {
    world: &'a World,
    processes: Vec<Authority>,
    /// Which process it asks at present.
    at: usize,
    dice: Dice,
    people: Vec<Terminal>,
    /// Everything answered, by whom it was asked.
    told: Vec<(usize, Envelope, Told)>,
    open: Vec<(usize, usize, Vec<GrantId>)>,
    households: Vec<Household>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(world: &'a World, processes: Vec<Authority>, stream: usize, dice: Dice) -> Self {
        Worker {
            world,
            at: stream % processes.len(),
            processes,
            dice,
            people: Vec::new(),
            told: Vec::new(),
            open: Vec::new(),
            households: Vec::new(),
        }
    }

    /// Works until told to stop, and then asks once more for everything that it was ever told.
    pub(crate) fn work(mut self) -> Result<(), Failure> {
        self.register()?;
        while !self.world.stop.load(SeqCst) {
            std::thread::sleep(self.world.pause);
            match self.dice.below(100) {
                0..2 => self.register()?,
                2..30 => self.claim()?,
                30..40 => self.confirm()?,
                40..90 => self.shop()?,
                _ => {
                    let which = self.dice.below(self.told.len() as u64) as usize;
                    self.repeat(which)?;
                }
            }
        }
        // The server is up and nobody kills it any more: everything that was ever answered must still be so.
        for which in 0..self.told.len() {
            self.repeat(which)?;
        }
        self.close_the_books()
    }

    fn register(&mut self) -> Result<(), Failure> {
        let mut person = Terminal::new(&mut self.dice);
        let envelope = person.register(&self.processes[0], &mut self.dice);
        let answer = self.send(&envelope)?;
        let result: RegisterResult = expect(answer, "register")?;
        let user = person.registered(&result).map_err(|error| Failure::Broken(format!("a user ID that does not open: {error}")))?;
        self.people.push(person);
        self.told.push((self.people.len() - 1, envelope, Told::User(user)));
        Ok(())
    }

    fn claim(&mut self) -> Result<(), Failure> {
        // Close together, so that many want the same, about the first that nobody has asked for; now and then one that is long gone.
        let fresh = self.world.granted.lock().expect("no holder panics").last_key_value().map_or(0, |(last, _)| *last as u64 + 1);
        let window = if self.dice.chance(10) { self.dice.below(fresh + 1) } else { fresh.saturating_sub(6) + self.dice.below(8) };
        let medium = (window as usize).min(self.world.media.len() - 1);
        let person = self.dice.below(self.people.len() as u64) as usize;
        let envelope = self.people[person].claim(&self.processes[0], &self.world.media[medium], &mut self.dice);
        let answer = self.send(&envelope)?;
        let told = self.hold_against(person, medium, answer)?;
        if let Told::Granted { grants, .. } = &told {
            self.open.push((person, medium, grants.clone()));
        }
        self.told.push((person, envelope, told));
        Ok(())
    }

    /// A claim's answer against what anybody has been told about the medium.
    fn hold_against(&self, person: usize, medium: usize, answer: Answer) -> Result<Told, Failure> {
        let user = self.people[person].user.expect("registered before it claims");
        let mut granted = self.world.granted.lock().expect("no holder panics");
        match definite::<ClaimResult>(answer)? {
            Ok(result) => {
                let grants = self.people[person]
                    .granted(&result)
                    .map_err(|error| Failure::Broken(format!("a grant that does not open: {error}")))?;
                match granted.get(&medium) {
                    Some(known) if known.user != user || known.grants != grants || known.confirmed => Err(Failure::Broken(format!(
                        "medium {medium}: granted to {user} with {grants:?}, and before to {} with {:?}, confirmed: {}",
                        known.user, known.grants, known.confirmed
                    ))),
                    _ => {
                        granted.insert(medium, Holding { user, grants: grants.clone(), confirmed: false });
                        Ok(Told::Granted { medium, grants })
                    }
                }
            }
            Err(Code::MediumSpent) => match granted.get(&medium) {
                Some(known) if known.user == user && !known.confirmed => {
                    Err(Failure::Broken(format!("medium {medium}: its holder {user} was told that it is spent before confirming")))
                }
                // Whoever has it may not have heard yet.
                _ => Ok(Told::Spent),
            },
            Err(code) => Err(Failure::Broken(format!("medium {medium}: refused as {code}"))),
        }
    }

    fn confirm(&mut self) -> Result<(), Failure> {
        if self.open.is_empty() {
            return Ok(());
        }
        let (person, medium, grants) = self.open.swap_remove(self.dice.below(self.open.len() as u64) as usize);
        let envelope = self.people[person].confirm(&self.processes[0], &self.world.media[medium], &grants, &mut self.dice);
        // From here on a claim may be told either: it may overtake the confirmation.
        let answer = self.send(&envelope)?;
        let result: ConfirmResult = expect(answer, "confirm")?;
        if result.settled != grants {
            return Err(Failure::Broken(format!("confirmed {grants:?}, settled {:?}", result.settled)));
        }
        if let Some(entry) = self.world.granted.lock().expect("no holder panics").get_mut(&medium) {
            entry.confirmed = true;
        }
        self.told.push((person, envelope, Told::Settled(grants)));
        Ok(())
    }

    /// The same bytes again: the same answer, but that keys are not handed out after the confirmation.
    fn repeat(&mut self, which: usize) -> Result<(), Failure> {
        self.world.repeated.fetch_add(1, SeqCst);
        let envelope = self.told[which].1.clone();
        let answer = self.send(&envelope)?;
        let (person, _, told) = &self.told[which];
        let same = match told {
            Told::User(user) => {
                let result: RegisterResult = expect(answer, "register, repeated")?;
                let again = self.people[*person].open_user(&result);
                again.map_err(|error| Failure::Broken(format!("a user ID that does not open: {error}")))? == *user
            }
            Told::Settled(grants) => expect::<ConfirmResult>(answer, "confirm, repeated")?.settled == *grants,
            Told::Spent => definite::<ClaimResult>(answer)?.err() == Some(Code::MediumSpent),
            Told::Granted { medium, grants } => {
                let confirmed = self.world.granted.lock().expect("no holder panics").get(medium).is_some_and(|entry| entry.confirmed);
                match definite::<ClaimResult>(answer)? {
                    Ok(result) => !confirmed && result.grants.iter().map(|grant| grant.grant_id).eq(grants.iter().copied()),
                    Err(code) => confirmed && code == Code::MediumSpent,
                }
            }
        };
        if same { Ok(()) } else { Err(Failure::Broken("a repeated request was answered otherwise than before".into())) }
    }

    /// One thing more that one of its households does, or one more household.
    fn shop(&mut self) -> Result<(), Failure> {
        let goods = self.world.store.goods.clone();
        if self.households.is_empty() || (self.households.len() < HOUSEHOLDS && self.dice.chance(2)) {
            let (authority, dice) = (self.processes[0].clone(), self.dice.apart());
            let founded = Household::found(&authority, &goods, dice, self)?;
            self.households.push(founded);
            return Ok(());
        }
        let mut household = self.households.swap_remove(self.dice.below(self.households.len() as u64) as usize);
        household.step(self)?;
        self.households.push(household);
        Ok(())
    }

    /// What the households think at the end is what the authority thinks.
    fn close_the_books(&mut self) -> Result<(), Failure> {
        for mut household in std::mem::take(&mut self.households) {
            household.check(self)?;
            *self.world.tally.lock().expect("no holder panics") += household.tally;
        }
        Ok(())
    }

    fn send(&mut self, envelope: &Envelope) -> Result<Answer, Failure> {
        self.until_answered(|authority| authority.exchange(envelope))
    }

    /// Until there is a definite answer: the same request again, at another process where there is one, else after the next start.
    fn until_answered<T>(&mut self, ask: impl Fn(&Authority) -> Result<Reply<T>, Failure>) -> Result<T, Failure> {
        let first = self.at;
        let mut doubt = false;
        while !self.world.given_up.load(SeqCst) {
            let starts = *self.world.starts.0.lock().expect("no holder panics");
            match ask(&self.processes[self.at])? {
                Reply::Answer(answer) => {
                    self.world.acknowledged.fetch_add(1, SeqCst);
                    if doubt && self.at != first {
                        self.world.elsewhere.fetch_add(1, SeqCst);
                    }
                    return Ok(answer);
                }
                Reply::Busy => {
                    self.world.busy.fetch_add(1, SeqCst);
                    std::thread::sleep(COME_AGAIN);
                }
                Reply::Lost => {
                    self.world.lost.fetch_add(1, SeqCst);
                    doubt = true;
                    self.at = (self.at + 1) % self.processes.len();
                    if self.at == first {
                        let guard = self.world.starts.0.lock().expect("no holder panics");
                        // With a limit: the loss may have been seen before the kill was over, or after the start.
                        drop(self.world.starts.1.wait_timeout_while(guard, Duration::from_millis(200), |now| *now == starts));
                    }
                }
            }
        }
        Err(Failure::Broken("the run was given up".into()))
    }
}

impl Link for Worker<'_> {
    fn ask(&mut self, envelope: &Envelope) -> Result<Answer, Failure> {
        self.send(envelope)
    }

    fn top_up(&mut self, user: UserId, cents: u64, key: &str) -> Result<(), Failure> {
        let world = self.world;
        self.until_answered(|authority| authority.top_up(&world.store.token, user, euros(cents), key))
    }

    fn exchange(&mut self, user: UserId, old: DeviceId, new: DeviceId, key: &str) -> Result<(), Failure> {
        let world = self.world;
        self.until_answered(|authority| authority.exchange_device(&world.store.token, user, old, new, key))
    }

    fn reissue(&mut self, new: &NewCard, key: &str) -> Result<(), Failure> {
        let world = self.world;
        self.until_answered(|authority| authority.replace_card(&world.store.token, new, key))
    }

    fn medium(&mut self) -> Result<Option<Arc<Medium>>, Failure> {
        Ok(self.world.store.medium())
    }
}

fn definite<T: DeserializeOwned>(answer: Answer) -> Result<Result<T, Code>, Failure> {
    let outcome = answer.outcome.into_result::<T>().map_err(|error| Failure::Broken(format!("an answer of another shape: {error}")))?;
    Ok(outcome.map_err(|refusal| refusal.code))
}

fn expect<T: DeserializeOwned>(answer: Answer, what: &str) -> Result<T, Failure> {
    definite(answer)?.map_err(|code| Failure::Broken(format!("{what}: refused as {code}")))
}
