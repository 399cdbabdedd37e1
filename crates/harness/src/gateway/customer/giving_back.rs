//! Refunds and chargebacks, which the gateway's operator carries out, and what its owner gives back or walks away from.

use super::{Customer, State, What};
use crate::{
    authority::Failure,
    gateway::house::{COPY, price},
    gateway::street::Holder,
};
use counterfoil_core::wire::{Operation, Outcome, Refund};
use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst};

impl Customer<'_> {
    pub(super) fn refund(&mut self) -> Result<(), Failure> {
        let Some(which) = self.any_that_stands() else { return Ok(()) };
        // From now on somebody else may get it.
        self.let_go(which, None);
        let exchange = self.bought[which].kept.exchange().to_string();
        self.until_undone(&["refund", &exchange, "--note", "harness"], |said| said["state"] == "undone")?;
        self.put_back(which, State::Refunded);
        self.tally.refunded += 1;
        self.check()
    }

    /// The bank takes a top-up back: exactly what it paid for ends, be it in part.
    pub(super) fn charge_back(&mut self) -> Result<(), Failure> {
        let open: Vec<usize> = (0..self.lots.len()).filter(|lot| !self.lots[*lot].ended && self.lots[*lot].posting.is_some()).collect();
        if open.len() < 2 {
            return Ok(());
        }
        let lot = open[self.dice.below(open.len() as u64) as usize];
        let posting = self.lots[lot].posting.clone().unwrap_or_default();
        let paid_for: Vec<usize> = (0..self.bought.len())
            .filter(|which| self.bought[*which].state == State::Stands && self.bought[*which].parts.iter().any(|(from, _)| *from == lot))
            .collect();
        let expected: BTreeSet<String> = paid_for.iter().map(|which| self.bought[*which].kept.exchange().to_string()).collect();
        let mut ended = BTreeSet::new();
        self.until_undone(&["chargeback", &posting, "--fee", "0.50 EUR"], |said| {
            ended.extend(said["ended"].as_array().into_iter().flatten().filter_map(|id| id.as_str()).map(str::to_owned));
            said["under_way"].as_array().is_none_or(Vec::is_empty) && said["reserved"].as_array().is_none_or(Vec::is_empty)
        })?;
        if !ended.is_subset(&expected) {
            return Err(self.wrong("what a chargeback ended", &expected, &ended));
        }
        (self.lots[lot].ended, self.lots[lot].remaining) = (true, 0);
        for which in paid_for {
            self.let_go(which, Some(Holder::Nobody));
            self.put_back(which, State::ChargedBack);
            self.tally.ended += 1;
        }
        self.tally.charged_back += 1;
        self.check()
    }

    /// The operator repeats a command until what it began has come to its end.
    fn until_undone(&mut self, arguments: &[&str], mut is_over: impl FnMut(&serde_json::Value) -> bool) -> Result<(), Failure> {
        while !self.street.given_up.load(SeqCst) {
            if is_over(&self.street.house.done(&mut self.dice, arguments)?) {
                return Ok(());
            }
            std::thread::sleep(super::COME_AGAIN);
        }
        Err(Failure::Broken("the run was given up".into()))
    }

    /// By its owner, at the authority, through the gateway, which cannot see it.
    pub(super) fn give_back(&mut self) -> Result<(), Failure> {
        let stands = |which: &usize| self.bought[*which].state == State::Stands && matches!(self.bought[*which].what, What::Order { .. });
        let Some(which) = (0..self.bought.len()).find(stands) else { return Ok(()) };
        let What::Order { order, .. } = self.bought[which].what else { return Ok(()) };
        let (user_id, device_id) = (self.terminal.user_id(), self.terminal.device_id());
        let refund = Refund { user_id, card_id: Some(self.terminal.card_id()), device_id, order_id: order };
        let kept = self.terminal.keep(Operation::Refund(refund), None, &mut self.dice);
        let answered = self.exchange(&kept, None)?.map_err(|no| self.wrong("give back", &"an answer", &no))?;
        let Outcome::Result(_) = answered.answer.outcome else { return Err(self.wrong("give back", &"granted", &answered)) };
        self.bought[which].state = State::GivenBack;
        self.tally.given_back += 1;
        self.street.given_back.store(true, SeqCst);
        Ok(())
    }

    /// Sends something once, and is never heard of again.
    pub(super) fn abandon(&mut self) -> Result<(), Failure> {
        let (kept, cents) = match self.street.media.lock().expect("no holder panics").pop() {
            Some(medium) => (self.terminal.keep_claim(medium, &mut self.dice), COPY),
            None => {
                let cents = price(&self.street.goods[0]);
                (self.order_of(0, cents), cents)
            }
        };
        let Customer { street, line, dice, token, terminal, .. } = self;
        let sealed = terminal.seal_kept(&street.authority, &kept, dice);
        // Whatever is said: nobody listens.
        line.counters[line.at].exchange(&street.authority, &sealed, token, super::agreed(cents)).map(drop)?;
        self.abandoned = Some(cents);
        self.tally.abandoned += 1;
        Ok(())
    }

    fn any_that_stands(&mut self) -> Option<usize> {
        let standing: Vec<usize> = (0..self.bought.len()).filter(|which| self.bought[*which].state == State::Stands).collect();
        (!standing.is_empty()).then(|| standing[self.dice.below(standing.len() as u64) as usize])
    }

    /// The copy of a medium that others want, too, is not this customer's any more.
    fn let_go(&mut self, which: usize, now: Option<Holder>) {
        let What::Copy { wanted: Some(medium), .. } = self.bought[which].what else { return };
        let mut holders = self.street.holders.lock().expect("no holder panics");
        match now {
            None => drop(holders.remove(&medium)),
            Some(holder) => drop(holders.insert(medium, holder)),
        }
    }

    /// Each part of a price goes back to where it came from.
    pub(super) fn put_back(&mut self, which: usize, state: State) {
        self.bought[which].state = state;
        for (lot, part) in self.bought[which].parts.clone() {
            if !self.lots[lot].ended {
                self.lots[lot].remaining += part;
            }
        }
    }
}
