//! A customer of a gateway: a person with an account, a card and a device, who knows to the cent what the account holds and exactly what
//! every answer must be (C16–C18, testing.md rows 1, 2, 7 and 9).
//!
//! The model is a second, smaller telling of what a gateway does with money, lots included, that shares no code with it. Nobody else spends from
//! this account and every request is repeated until it is answered, so model and gateway must agree after each step, whatever is killed meanwhile.

use super::{
    counter::{Counter, Exchanged, Said, agreed},
    street::{Street, Tally},
};
use crate::{
    authority::Failure,
    random::Dice,
    terminal::{Medium, Terminal, through::Kept},
};
use counterfoil_core::{Code, GrantId, OrderId, wire::Outcome, wire::RegisterResult};
use serde_json::Value;
use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

mod giving_back;
mod paying;

/// How long a terminal waits that was asked to come again, or not answered.
const COME_AGAIN: Duration = Duration::from_millis(30);

/// The person, and what the gateway must think of them.
pub(super) struct Customer<'a> {
    street: &'a Street<'a>,
    line: Line<'a>,
    dice: Dice,
    name: String,
    token: String,
    terminal: Terminal,
    /// What was paid in, oldest first.
    lots: Vec<Lot>,
    bought: Vec<Bought>,
    /// What was sent and never asked after: charged or not, with what it would be paid from.
    abandoned: Option<u64>,
    left: bool,
    pub(super) tally: Tally,
}

/// A top-up, or a voucher.
struct Lot {
    /// Nothing where no bank can take it back.
    posting: Option<String>,
    remaining: u64,
    ended: bool,
}

/// What was charged.
struct Bought {
    kept: Kept,
    what: What,
    price: u64,
    /// From which lots.
    parts: Vec<(usize, u64)>,
    state: State,
}

#[derive(Clone)]
enum What {
    Order { goods: usize, order: OrderId },
    Copy { medium: Arc<Medium>, wanted: Option<usize>, grants: Vec<GrantId> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Stands,
    Refunded,
    ChargedBack,
    /// At the authority, by its owner; the gateway learns of it.
    GivenBack,
}

/// The processes of the gateway, and which one is asked.
struct Line<'a> {
    street: &'a Street<'a>,
    counters: Vec<Counter>,
    at: usize,
}

impl Line<'_> {
    /// Until there is a definite answer: the same request again, at another process where there is one.
    fn until<T>(&mut self, mut ask: impl FnMut(&Counter, u32) -> Result<Said<T>, Failure>) -> Result<Result<T, No>, Failure> {
        let (street, first) = (self.street, self.at);
        let mut tries = 0;
        while !street.given_up.load(SeqCst) {
            let said = ask(&self.counters[self.at], tries)?;
            tries += 1;
            let counted = match &said {
                Said::Done(_) | Said::No(..) => &street.acknowledged,
                Said::Lost => &street.lost,
                Said::Busy => &street.busy,
            };
            counted.fetch_add(1, SeqCst);
            match said {
                Said::Lost | Said::Busy => {
                    self.at = (self.at + 1) % self.counters.len();
                    std::thread::sleep(COME_AGAIN);
                }
                Said::Done(_) | Said::No(..) if self.at != first => {
                    street.elsewhere.fetch_add(1, SeqCst);
                    return Ok(definite(said));
                }
                said => return Ok(definite(said)),
            }
        }
        Err(Failure::Broken("the run was given up".into()))
    }
}

/// The gateway's own no: its code, and what it says besides.
type No = (String, Value);

fn definite<T>(said: Said<T>) -> Result<T, No> {
    match said {
        Said::Done(done) => Ok(done),
        Said::No(code, value) => Err((code, value)),
        Said::Lost | Said::Busy => unreachable!("is asked again"),
    }
}

impl<'a> Customer<'a> {
    /// Gets an account with money in it, and registers.
    pub(super) fn arrive(street: &'a Street<'a>, counters: Vec<Counter>, at: usize, name: String, mut dice: Dice) -> Result<Self, Failure> {
        let mut line = Line { street, counters, at };
        let token = line.until(|counter, _| counter.account(&name))?.map_err(|(code, _)| Failure::Broken(format!("an account: {code}")))?;
        let terminal = Terminal::new(&mut dice);
        let (lots, bought) = (Vec::new(), Vec::new());
        let mut customer =
            Customer { street, line, dice, name, token, terminal, lots, bought, abandoned: None, left: false, tally: Tally::default() };
        customer.register()?;
        customer.top_up(1500)?;
        Ok(customer)
    }

    fn register(&mut self) -> Result<(), Failure> {
        let kept = self.terminal.keep_registration(&mut self.dice);
        let Exchanged { answer, charged } = self.exchange(&kept, None)?.map_err(|no| self.wrong("register", &"an answer", &no))?;
        match (answer.outcome.into_result::<RegisterResult>(), charged) {
            (Ok(Ok(result)), None) => self.terminal.registered(&result).map(drop).map_err(Failure::Broken),
            other => Err(self.wrong("register", &"registered, for nothing", &other)),
        }
    }

    /// Lives for so many steps, or until told to stop, and leaves.
    pub(super) fn live(&mut self, steps: u64) -> Result<(), Failure> {
        while self.tally.steps < steps && !self.street.stop.load(SeqCst) {
            self.step()?;
        }
        // What is given back at the very end would have to be waited for.
        if self.tally.steps < steps { Ok(()) } else { self.leave() }
    }

    /// Does one thing, and holds the answer against the model.
    fn step(&mut self) -> Result<(), Failure> {
        self.tally.steps += 1;
        match self.dice.below(100) {
            0..28 => self.order(),
            28..60 => self.copy(),
            60..74 => self.again(),
            74..79 => self.voucher(),
            79..85 => self.top_up(700),
            85..92 => self.refund(),
            92..95 => self.charge_back(),
            _ => self.check(),
        }
    }

    /// The last thing that it does: it gives something back by itself, or sends something and is never heard of again.
    fn leave(&mut self) -> Result<(), Failure> {
        self.left = true;
        if self.dice.chance(50) { self.give_back() } else { self.abandon() }
    }

    /// What was ever bought is asked for once more.
    pub(super) fn ask_for_all(&mut self) -> Result<(), Failure> {
        for which in 0..self.bought.len() {
            self.ask_again(which)?;
        }
        Ok(())
    }

    /// The account, to the cent, once the gateway has learned what there is to learn.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        for which in 0..self.bought.len() {
            if self.bought[which].state == State::GivenBack {
                self.put_back(which, State::Refunded);
            }
        }
        let (should, is) = (self.available(), self.shown()?);
        let or = self.abandoned.map(|price| should.saturating_sub(price));
        if is == should || or == Some(is) { Ok(()) } else { Err(self.wrong("account at the end", &(should, or), &is)) }
    }

    fn check(&mut self) -> Result<(), Failure> {
        let (should, is) = (self.available(), self.shown()?);
        if is == should { Ok(()) } else { Err(self.wrong("account", &should, &is)) }
    }

    fn shown(&mut self) -> Result<u64, Failure> {
        let token = &self.token;
        self.line.until(|counter, _| counter.available(token))?.map_err(|(code, _)| Failure::Broken(format!("an account: {code}")))
    }

    /// Hands a request in until there is a definite answer, sealed anew now and then.
    fn exchange(&mut self, kept: &Kept, pay: Option<u64>) -> Result<Result<Exchanged, No>, Failure> {
        let Customer { street, line, dice, token, terminal, .. } = self;
        let (authority, mut kept) = (&street.authority, kept.clone());
        let mut sealed = terminal.seal_kept(authority, &kept, dice);
        line.until(|counter, tries| {
            if tries > 0 && street.forgetful {
                kept = kept.renamed(dice);
            }
            if tries > 0 && (street.forgetful || dice.chance(50)) {
                sealed = terminal.seal_kept(authority, &kept, dice);
            }
            counter.exchange(authority, &sealed, token, pay.and_then(agreed))
        })
    }

    fn available(&self) -> u64 {
        self.lots.iter().filter(|lot| !lot.ended).map(|lot| lot.remaining).sum()
    }

    fn wrong(&self, what: &str, want: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug) -> Failure {
        Failure::Broken(format!("{}, step {}: {what}: should be {want:?}, was {got:?}", self.name, self.tally.steps))
    }
}

/// A refusal of the authority's own.
fn refusal(outcome: &Outcome) -> Option<Code> {
    match outcome {
        Outcome::Refusal(refusal) => Some(refusal.code),
        Outcome::Result(_) => None,
    }
}
