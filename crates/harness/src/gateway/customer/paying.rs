//! Orders, copies, and asking for them again; money that comes in.

use super::{Bought, Customer, Exchanged, Lot, State, What, agreed, refusal};
use crate::{
    authority::Failure,
    gateway::house::{COPY, price},
    gateway::street::Holder,
    terminal::through::Kept,
};
use counterfoil_core::{
    Code,
    wire::{ClaimResult, Operation, Order, OrderResult, Outcome},
};
use serde_json::Value;

/// What a request must come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    /// Granted, and charged where the account holds as much.
    Charged,
    /// Charged, or refused for this: somebody else may have been first.
    ChargedOr(Code),
    /// Granted, for nothing.
    Free,
    Refused(Code),
}

/// What is asked for, before it is known what comes of it.
enum Wish {
    Order(usize),
    Copy(std::sync::Arc<crate::terminal::Medium>, Option<usize>),
}

impl Customer<'_> {
    pub(super) fn order(&mut self) -> Result<(), Failure> {
        let goods = self.dice.below(self.street.goods.len() as u64) as usize;
        let cents = price(&self.street.goods[goods]);
        let has =
            |bought: &Bought| bought.state == State::Stands && matches!(bought.what, What::Order { goods: other, .. } if other == goods);
        let want = if self.bought.iter().any(has) { Want::Refused(Code::AlreadyLicensed) } else { Want::Charged };
        let kept = self.order_of(goods, cents);
        self.pay_for(&kept, Wish::Order(goods), cents, want)
    }

    pub(super) fn order_of(&mut self, goods: usize, cents: u64) -> Kept {
        let operation = Operation::Order(Order {
            user_id: self.terminal.user_id(),
            card_id: Some(self.terminal.card_id()),
            device_id: self.terminal.device_id(),
            title: self.street.goods[goods].title.clone(),
            price: agreed(cents),
            currency: None,
            trial: false,
        });
        self.terminal.keep(operation, None, &mut self.dice)
    }

    pub(super) fn copy(&mut self) -> Result<(), Failure> {
        let (medium, wanted, want) = match self.dice.below(100) {
            0..25 => {
                // Close together, so that many want the same.
                let reached = self.street.holders.lock().expect("no holder panics").len() as u64;
                let which = (reached.saturating_sub(3) + self.dice.below(6)).min(self.street.wanted.len() as u64 - 1) as usize;
                let own = Holder::Account(self.name.clone());
                let has = self.street.holders.lock().expect("no holder panics").get(&which) == Some(&own);
                let want = if has { Want::Free } else { Want::ChargedOr(Code::MediumSpent) };
                (self.street.wanted[which].clone(), Some(which), want)
            }
            25..50 => match self.once_copied() {
                Some(found) => found,
                None => return Ok(()),
            },
            _ => match self.street.media.lock().expect("no holder panics").pop() {
                Some(medium) => (medium, None, Want::Charged),
                None => return Ok(()),
            },
        };
        let kept = self.terminal.keep_claim(medium.clone(), &mut self.dice);
        self.pay_for(&kept, Wish::Copy(medium, wanted), COPY, want)
    }

    /// A medium that this customer has copied before: it can be copied again where the money went back, and not where the bank took it back.
    fn once_copied(&mut self) -> Option<(std::sync::Arc<crate::terminal::Medium>, Option<usize>, Want)> {
        let which = self.dice.below(self.bought.len().max(1) as u64) as usize;
        let What::Copy { medium, wanted: None, .. } = &self.bought.get(which)?.what else { return None };
        let same = |bought: &&Bought| matches!(&bought.what, What::Copy { medium: other, .. } if other.claims.medium_id == medium.claims.medium_id);
        let states: Vec<State> = self.bought.iter().filter(same).map(|bought| bought.state).collect();
        let want = match states {
            states if states.contains(&State::ChargedBack) => Want::Refused(Code::MediumSpent),
            states if states.contains(&State::Stands) => Want::Free,
            _ => Want::Charged,
        };
        Some((medium.clone(), None, want))
    }

    fn pay_for(&mut self, kept: &Kept, wish: Wish, cents: u64, want: Want) -> Result<(), Failure> {
        if self.dice.chance(25) && self.look_first(kept, cents, &want)? {
            return Ok(());
        }
        let before = self.available();
        let said = self.exchange(kept, Some(cents))?;
        match (said, &want) {
            (Ok(Exchanged { answer, charged: None }), Want::Refused(code) | Want::ChargedOr(code))
                if refusal(&answer.outcome) == Some(*code) =>
            {
                self.tally.refused += 1;
                Ok(())
            }
            (Ok(Exchanged { answer: counterfoil_core::wire::Answer { outcome: Outcome::Result(_), .. }, charged: None }), Want::Free) => {
                Ok(())
            }
            (Ok(Exchanged { answer, charged: Some((charged, left)) }), Want::Charged | Want::ChargedOr(_)) => {
                if charged != cents || before < cents || left != before - cents {
                    return Err(self.wrong("charge", &(cents, before as i64 - cents as i64), &(charged, left)));
                }
                let what = self.granted(wish, &answer.outcome)?;
                let parts = self.pay(cents);
                match what {
                    What::Order { .. } => self.tally.ordered += 1,
                    What::Copy { .. } => self.tally.copied += 1,
                }
                self.bought.push(Bought { kept: kept.clone(), what, price: cents, parts, state: State::Stands });
                Ok(())
            }
            (Err((code, _)), Want::Charged | Want::ChargedOr(_)) if code == "payment_refused" && before < cents => {
                self.tally.short += 1;
                Ok(())
            }
            (said, want) => Err(self.wrong("what came of an exchange", &(want, cents, before), &said)),
        }
    }

    /// Asks what it costs, or agrees to less: nothing is charged. True where that was the end of it.
    fn look_first(&mut self, kept: &Kept, cents: u64, want: &Want) -> Result<bool, Failure> {
        let less = self.dice.chance(50);
        let before = self.available();
        match (self.exchange(kept, less.then(|| cents - 1))?, want) {
            (Err((code, said)), Want::Charged | Want::ChargedOr(_)) => {
                let should = if less { "price_changed" } else { "charge_unconfirmed" };
                let named = |value: &Value| value["amount"].as_u64().unwrap_or_default();
                let (offered, balance) = (named(&said["charge"]["price"]), named(&said["charge"]["balance"]));
                if code != should || offered != cents || balance != before {
                    return Err(self.wrong("offer", &(should, cents, before), &(code, offered, balance)));
                }
                self.tally.unagreed += 1;
                Ok(false)
            }
            (Ok(Exchanged { answer, charged: None }), Want::Refused(code) | Want::ChargedOr(code))
                if refusal(&answer.outcome) == Some(*code) =>
            {
                self.tally.refused += 1;
                Ok(true)
            }
            (Ok(Exchanged { charged: None, .. }), Want::Free) => Ok(true),
            (said, want) => Err(self.wrong("what came of asking first", want, &said)),
        }
    }

    fn granted(&mut self, wish: Wish, outcome: &Outcome) -> Result<What, Failure> {
        let Outcome::Result(value) = outcome else { return Err(self.wrong("what was charged for", &"granted", outcome)) };
        let broken = |error: &dyn std::fmt::Display| Failure::Broken(format!("what was charged for does not open: {error}"));
        match wish {
            Wish::Order(goods) => {
                let result: OrderResult = serde_json::from_value(value.clone()).map_err(|error| broken(&error))?;
                Ok(What::Order { goods, order: result.order_id })
            }
            Wish::Copy(medium, wanted) => {
                let result: ClaimResult = serde_json::from_value(value.clone()).map_err(|error| broken(&error))?;
                let grants = self.terminal.granted(&result).map_err(|error| broken(&error))?;
                wanted.map_or(Ok(()), |which| self.street.hold(which, &self.name))?;
                Ok(What::Copy { medium, wanted, grants })
            }
        }
    }

    /// Takes a price from the oldest lots.
    fn pay(&mut self, cents: u64) -> Vec<(usize, u64)> {
        let (mut missing, mut parts) = (cents, Vec::new());
        for (number, lot) in self.lots.iter_mut().enumerate().filter(|(_, lot)| !lot.ended && lot.remaining > 0) {
            let part = lot.remaining.min(missing);
            lot.remaining -= part;
            missing -= part;
            parts.push((number, part));
            if missing == 0 {
                break;
            }
        }
        parts
    }

    /// The same exchange again: the same keys, and no second charge; what was undone is over.
    pub(super) fn again(&mut self) -> Result<(), Failure> {
        match self.bought.len() as u64 {
            0 => Ok(()),
            count => {
                let which = self.dice.below(count) as usize;
                self.ask_again(which)
            }
        }
    }

    pub(super) fn ask_again(&mut self, which: usize) -> Result<(), Failure> {
        let Bought { kept, what, price, state, .. } = &self.bought[which];
        let (kept, what, price, state) = (kept.clone(), what.clone(), *price, *state);
        if state == State::GivenBack {
            return Ok(());
        }
        self.tally.again += 1;
        let said = self.exchange(&kept, Some(price))?;
        let (answer, charged) = match (said, state) {
            (Err((code, _)), State::Refunded | State::ChargedBack) if code == "exchange_ended" => return Ok(()),
            (Ok(Exchanged { answer, charged: Some(charged) }), State::Stands) => (answer, charged),
            (said, state) => return Err(self.wrong("an exchange that was asked for again", &state, &said)),
        };
        let same = match (&what, &answer.outcome) {
            (What::Order { order, .. }, Outcome::Result(value)) => value["order_id"].as_str() == Some(order.to_string().as_str()),
            (What::Copy { grants, .. }, Outcome::Result(value)) => {
                let result: Result<ClaimResult, _> = serde_json::from_value(value.clone());
                result.is_ok_and(|result| self.terminal.granted(&result).is_ok_and(|again| again == *grants))
            }
            (_, Outcome::Refusal(_)) => false,
        };
        // Who has left has sent or given back something, and what it came to is the gateway's to say.
        match same && charged.0 == price && (self.left || charged.1 == self.available()) {
            true => Ok(()),
            false => Err(self.wrong("an exchange that was asked for again", &("the same", price, self.available()), &(answer, charged))),
        }
    }

    pub(super) fn voucher(&mut self) -> Result<(), Failure> {
        let Some(code) = self.street.vouchers.lock().expect("no holder panics").pop() else { return Ok(()) };
        let Customer { line, token, .. } = self;
        let mut redeemed = line.until(|counter, _| counter.redeem(token, &code))?;
        if self.dice.chance(20) {
            let Customer { line, token, .. } = self;
            redeemed = line.until(|counter, _| counter.redeem(token, &code))?;
        }
        let cents = redeemed.map_err(|(code, _)| Failure::Broken(format!("a voucher that nobody had was refused: {code}")))?;
        self.lots.push(Lot { posting: None, remaining: cents, ended: false });
        self.tally.vouchers += 1;
        self.check()
    }

    /// Pays in at the counter, whose operator books it, once for each reference.
    pub(super) fn top_up(&mut self, cents: u64) -> Result<(), Failure> {
        let (money, reference) = (format!("{}.{:02} EUR", cents / 100, cents % 100), format!("{}/{}", self.name, self.lots.len()));
        let arguments = ["top-up", &self.name, &money, "--reference", &reference];
        let mut said = self.street.house.done(&mut self.dice, &arguments)?;
        if self.dice.chance(20) {
            said = self.street.house.done(&mut self.dice, &arguments)?;
        }
        let posting = said["posting"].as_str().map(str::to_owned);
        self.lots.push(Lot { posting, remaining: cents, ended: false });
        self.tally.paid_in += 1;
        self.check()
    }
}
