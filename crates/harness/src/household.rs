//! A household: one person with a card and several devices, who buys, installs, moves and gives back software, and knows exactly what
//! every answer must be (testing.md rows 1, 2 and 9).
//!
//! Its model is a second, smaller telling of the rules (D1–D10) that shares no code with the server. As nobody else acts for this user and
//! every request is repeated until it is answered, model and server must agree after each step, whatever happens to the servers meanwhile.

use crate::{
    authority::{Authority, Failure, NewCard},
    goods::Goods,
    random::Dice,
    terminal::{Medium, Terminal},
};
use counterfoil_core::{
    Code, DeviceId, EntitlementId, GrantId, LicenseId, OrderId, TransactionId, UserId,
    wire::{Answer, Operation, RegisterResult},
};
use counterfoil_format::envelope::Envelope;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{collections::HashSet, sync::Arc, time::Instant};

mod check;
mod install;
mod moving;
mod reissue;
mod repair;
mod shopping;

/// How a household reaches the authority.
pub(crate) trait Link {
    /// Sends the same envelope until there is a definite answer.
    fn ask(&mut self, envelope: &Envelope) -> Result<Answer, Failure>;
    /// Pays into a balance, once for each key.
    fn top_up(&mut self, user: UserId, cents: u64, key: &str) -> Result<(), Failure>;
    /// Exchanges a device at the repair centre, once for each key.
    fn exchange(&mut self, user: UserId, old: DeviceId, new: DeviceId, key: &str) -> Result<(), Failure>;
    /// Replaces a card at the repair centre, once for each key.
    fn reissue(&mut self, new: &NewCard, key: &str) -> Result<(), Failure>;
    /// A medium that nobody has touched, where there is one left.
    fn medium(&mut self) -> Result<Option<Arc<Medium>>, Failure>;
}

/// What a household has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) steps: u64,
    pub(crate) ordered: u64,
    pub(crate) fetched: u64,
    pub(crate) moved: u64,
    pub(crate) ended: u64,
    pub(crate) copied: u64,
    pub(crate) exchanged: u64,
    pub(crate) reissued: u64,
    pub(crate) refused: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, more: Tally) {
        self.steps += more.steps;
        self.ordered += more.ordered;
        self.fetched += more.fetched;
        self.moved += more.moved;
        self.ended += more.ended;
        self.copied += more.copied;
        self.exchanged += more.exchanged;
        self.reissued += more.reissued;
        self.refused += more.refused;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { steps, ordered, fetched, moved, ended, copied, exchanged, reissued, refused } = self;
        write!(
            f,
            "{steps} steps of households: {ordered} orders, {ended} of them ended, {fetched} licenses fetched, {moved} moved, {copied} copies, \
             {exchanged} devices exchanged, {reissued} cards replaced, {refused} refused"
        )
    }
}

impl Tally {
    /// Whether everything happened at least so often, `much` being what orders are counted by.
    pub(crate) fn is_plenty(&self, much: u64) -> bool {
        let repaired = self.copied >= much / 16 && self.exchanged >= much / 16 && self.reissued >= much / 32;
        repaired
            && self.ordered >= much
            && self.fetched >= much / 2
            && self.moved >= much / 4
            && self.ended >= much / 8
            && self.refused >= much / 2
    }
}

/// The person, and what the authority must think of them.
pub(crate) struct Household {
    authority: Authority,
    goods: Arc<[Goods]>,
    dice: Dice,
    devices: Vec<Device>,
    orders: Vec<Order>,
    licenses: Vec<License>,
    /// What is left of what was paid in advance, in cents.
    balance: u64,
    /// Grants ever seen: none is handed out for two licenses, or twice for one that moved.
    grants: HashSet<GrantId>,
    /// Requests that had an effect: they are answered alike for ever.
    told: Vec<Told>,
    /// What it copies from, and the one copy that there is.
    medium: Option<Arc<Medium>>,
    copy: Option<repair::LiveCopy>,
    /// When a copy was taken back, or went on with another card, where its medium may not have heard of it.
    freed_at: Option<Instant>,
    pub(crate) tally: Tally,
}

/// A request that had an effect.
#[derive(Clone)]
struct Told {
    /// Who must be registered for it to be answered again.
    asker: Option<usize>,
    envelope: Envelope,
    result: Value,
}

struct Device {
    terminal: Terminal,
    /// Whether it is one of the user's devices now.
    registered: bool,
    /// Whether another one has taken its place.
    exchanged: bool,
}

/// An order, with the entitlement that came of it.
struct Order {
    id: OrderId,
    entitlement: EntitlementId,
    goods: usize,
    trial: bool,
    cents: u64,
    ended: bool,
    /// Transfers so far; periods are longer than runs.
    transfers: u32,
}

/// One license, wherever it is.
struct License {
    id: LicenseId,
    order: usize,
    device: usize,
    transaction: Option<TransactionId>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Registered,
    Issued,
    Delivered(GrantId),
    Settled(GrantId),
    Ended,
}

/// Devices that a household comes to have.
const DEVICES: usize = 4;
/// What it pays in advance to begin with, in cents.
const BUDGET: u64 = 8000;
/// Requests in a hundred that are sent twice though they were answered.
const TWICE: u64 = 12;

impl Household {
    /// Registers a person with two devices and money to spend.
    pub(crate) fn found(authority: &Authority, goods: &Arc<[Goods]>, mut dice: Dice, link: &mut dyn Link) -> Result<Household, Failure> {
        let terminal = Terminal::new(&mut dice);
        let devices = vec![Device { terminal, registered: false, exchanged: false }];
        let medium = link.medium()?;
        let mut household = Household {
            authority: authority.clone(),
            goods: goods.clone(),
            dice,
            devices,
            orders: Vec::new(),
            licenses: Vec::new(),
            balance: 0,
            grants: HashSet::new(),
            told: Vec::new(),
            medium,
            copy: None,
            freed_at: None,
            tally: Tally::default(),
        };
        household.register(link, 0, Ok(()))?;
        household.add_device(link)?;
        household.top_up(link, BUDGET)?;
        Ok(household)
    }

    /// Does one thing, and holds the answer against the model.
    pub(crate) fn step(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        self.tally.steps += 1;
        match self.dice.below(100) {
            0..15 => self.order(link),
            15..33 => self.license(link),
            33..50 => self.redeem(link),
            50..60 => self.confirm(link),
            60..64 => self.renew(link),
            64..77 => self.transfer(link),
            77..82 => self.refund(link),
            82..85 => self.repeat(link),
            85 => self.reissue(link),
            86..88 => self.check(link),
            88..90 => self.repair(link),
            90..95 => self.copy(link),
            95 => self.add_device(link),
            96..98 => self.readmit(link),
            _ => self.top_up(link, 1200),
        }
    }

    fn register(&mut self, link: &mut dyn Link, device: usize, want: Result<(), Code>) -> Result<(), Failure> {
        let envelope = self.devices[device].terminal.register(&self.authority, &mut self.dice);
        let answer = self.twice(link, &envelope)?;
        if let Some(result) = self.agree::<RegisterResult>("register", want, definite(answer)?)? {
            let terminal = &mut self.devices[device].terminal;
            let known = terminal.user;
            let user = terminal.registered(&result).map_err(|error| Failure::Broken(format!("a user ID that does not open: {error}")))?;
            if known.is_some_and(|known| known != user) {
                return Err(Failure::Broken(format!("registered for {known:?}, and is {user}")));
            }
            self.devices[device].registered = true;
        }
        Ok(())
    }

    fn add_device(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        if self.devices.iter().filter(|device| !device.exchanged).count() >= DEVICES {
            return Ok(());
        }
        let terminal = self.devices[0].terminal.beside(&mut self.dice);
        self.devices.push(Device { terminal, registered: false, exchanged: false });
        self.register(link, self.devices.len() - 1, Ok(()))
    }

    fn top_up(&mut self, link: &mut dyn Link, cents: u64) -> Result<(), Failure> {
        let user = self.devices[0].terminal.user_id();
        let key = format!("{user}-{}", self.tally.steps);
        link.top_up(user, cents, &key)?;
        if self.dice.chance(TWICE) {
            link.top_up(user, cents, &key)?;
        }
        self.balance += cents;
        Ok(())
    }

    /// Asks, now and then twice: the second time changes nothing, so that its answer is as good as the first.
    fn asked<T: DeserializeOwned>(&mut self, link: &mut dyn Link, device: usize, operation: Operation) -> Result<Result<T, Code>, Failure> {
        definite(self.sent(link, device, operation)?.1)
    }

    /// As `asked`, for what has an effect: a yes is remembered, and asked for again later.
    fn effected<T: DeserializeOwned>(
        &mut self,
        link: &mut dyn Link,
        device: usize,
        operation: Operation,
    ) -> Result<Result<T, Code>, Failure> {
        // Whoever took itself out is told so again.
        let outlives = matches!(operation, Operation::Transfer(_));
        let (envelope, answer) = self.sent(link, device, operation)?;
        if let counterfoil_core::wire::Outcome::Result(value) = &answer.outcome {
            self.told.push(Told { asker: (!outlives).then_some(device), envelope, result: value.clone() });
        }
        definite(answer)
    }

    fn sent(&mut self, link: &mut dyn Link, device: usize, operation: Operation) -> Result<(Envelope, Answer), Failure> {
        let envelope = self.devices[device].terminal.ask(&self.authority, operation, &mut self.dice);
        let answer = self.twice(link, &envelope)?;
        Ok((envelope, answer))
    }

    fn twice(&mut self, link: &mut dyn Link, envelope: &Envelope) -> Result<Answer, Failure> {
        let answer = link.ask(envelope)?;
        if self.dice.chance(TWICE) { link.ask(envelope) } else { Ok(answer) }
    }

    /// The answer's result where it is what the model says; nothing where both say no, for the same reason.
    fn agree<T>(&mut self, what: &str, want: Result<(), Code>, got: Result<T, Code>) -> Result<Option<T>, Failure> {
        match (want, got) {
            (Ok(()), Ok(result)) => Ok(Some(result)),
            (Err(want), Err(got)) if want == got => {
                self.tally.refused += 1;
                Ok(None)
            }
            (want, got) => Err(self.wrong(what, &want, &got.map(|_| ()))),
        }
    }

    fn wrong(&self, what: &str, want: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug) -> Failure {
        let user = self.devices[0].terminal.user_id();
        Failure::Broken(format!("{user}, step {}: {what}: should be {want:?}, was {got:?}", self.tally.steps))
    }

    /// One of the devices, now and then one that was taken out of the entry.
    fn any_device(&mut self) -> usize {
        if self.dice.chance(85) { self.registered_device() } else { self.dice.below(self.devices.len() as u64) as usize }
    }

    /// One that is the user's, of which there always is one.
    fn registered_device(&mut self) -> usize {
        let registered: Vec<usize> = (0..self.devices.len()).filter(|device| self.devices[*device].registered).collect();
        registered[self.dice.below(registered.len() as u64) as usize]
    }

    /// Device and title of a license that has not ended, more often than not; else any.
    fn likely(&mut self) -> (usize, usize) {
        let held: Vec<usize> = (0..self.licenses.len()).filter(|license| self.licenses[*license].state != State::Ended).collect();
        match one_of(&held, &mut self.dice).filter(|_| self.dice.chance(75)) {
            Some(license) => (self.licenses[license].device, self.orders[self.licenses[license].order].goods),
            None => (self.any_device(), self.dice.below(self.goods.len() as u64) as usize),
        }
    }

    /// Licenses at a device that have not ended.
    fn at(&self, device: usize) -> impl Iterator<Item = usize> {
        let held = move |license: &License| license.device == device && license.state != State::Ended;
        (0..self.licenses.len()).filter(move |license| held(&self.licenses[*license]))
    }

    /// Licenses of an order that have not ended.
    fn of(&self, order: usize) -> impl Iterator<Item = usize> {
        let held = move |license: &License| license.order == order && license.state != State::Ended;
        (0..self.licenses.len()).filter(move |license| held(&self.licenses[*license]))
    }

    /// Whether an order allows one more device.
    fn has_place(&self, order: usize) -> bool {
        self.of(order).count() < self.goods[self.orders[order].goods].policy.devices as usize
    }

    /// What every request for a device begins with.
    fn is_registered(&self, device: usize) -> Result<(), Code> {
        match &self.devices[device] {
            Device { registered: true, .. } => Ok(()),
            Device { exchanged: true, .. } => Err(Code::DeviceExchanged),
            Device { .. } => Err(Code::DeviceNotRegistered),
        }
    }
}

fn definite<T: DeserializeOwned>(answer: Answer) -> Result<Result<T, Code>, Failure> {
    let outcome = answer.outcome.into_result::<T>().map_err(|error| Failure::Broken(format!("an answer of another shape: {error}")))?;
    Ok(outcome.map_err(|refusal| refusal.code))
}

/// Any of them, or none where there are none.
fn one_of<T: Copy>(choice: &[T], dice: &mut Dice) -> Option<T> {
    (!choice.is_empty()).then(|| choice[dice.below(choice.len() as u64) as usize])
}
