//! Orders and refunds (D2, D3).

use super::{Household, License, Link, Order, State, one_of};
use crate::{authority::Failure, goods::euros};
use counterfoil_core::{
    Code, OrderId,
    wire::{self, Operation, OrderResult, RefundResult},
};
use counterfoil_format::secret::Random;
use std::collections::BTreeSet;

impl Household {
    pub(super) fn order(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let device = self.any_device();
        let goods = self.dice.below(self.goods.len() as u64) as usize;
        let (trial, cheated) = (self.dice.chance(20), self.dice.chance(5));
        let want = self.may_order(device, goods, trial, cheated);
        let price = self.goods[goods].price.amount;
        let terminal = &self.devices[device].terminal;
        let operation = Operation::Order(wire::Order {
            user_id: terminal.user_id(),
            card_id: Some(terminal.card_id()),
            device_id: terminal.device_id(),
            title: self.goods[goods].title.clone(),
            price: (!trial).then(|| euros(price - u64::from(cheated))),
            currency: None,
            trial,
        });
        let got = self.effected::<OrderResult>(link, device, operation)?;
        let Some(result) = self.agree("order", want, got)? else { return Ok(()) };
        let cents = if trial { 0 } else { price };
        if result.charged != (!trial).then(|| euros(price)) {
            return Err(self.wrong("charge", &price, &result.charged));
        }
        if self.orders.iter().any(|order| order.id == result.order_id || order.entitlement == result.entitlement_id) {
            return Err(self.wrong("order", &"an ID of its own", &result.order_id));
        }
        if !trial {
            self.end_trials(device, goods);
        }
        self.balance -= cents;
        let (id, entitlement) = (result.order_id, result.entitlement_id);
        self.orders.push(Order { id, entitlement, goods, trial, cents, ended: false, transfers: 0 });
        let order = self.orders.len() - 1;
        self.licenses.push(License { id: result.license_id, order, device, transaction: None, state: State::Registered });
        self.tally.ordered += 1;
        Ok(())
    }

    fn may_order(&self, device: usize, goods: usize, trial: bool, cheated: bool) -> Result<(), Code> {
        self.is_registered(device)?;
        let of_title = |order: &usize| self.orders[*order].goods == goods;
        let bought = |order: &usize| of_title(order) && !self.orders[*order].trial && !self.orders[*order].ended;
        let mut bought = (0..self.orders.len()).filter(bought);
        if bought.any(|order| self.has_place(order) || self.of(order).any(|license| self.licenses[license].device == device)) {
            return Err(Code::AlreadyLicensed);
        }
        match trial {
            true if self.goods[goods].policy.trial_days == 0 => Err(Code::NotForSale),
            true if (0..self.orders.len()).any(|order| of_title(&order) && self.orders[order].trial) => Err(Code::TrialUsed),
            true => Ok(()),
            false if cheated => Err(Code::PriceChanged),
            false if self.balance < self.goods[goods].price.amount => Err(Code::PaymentRefused),
            false => Ok(()),
        }
    }

    /// Who buys for the device that tries the title tries it no more.
    fn end_trials(&mut self, device: usize, goods: usize) {
        let here: Vec<usize> = self.at(device).map(|license| self.licenses[license].order).collect();
        for order in here {
            if self.orders[order].trial && self.orders[order].goods == goods {
                self.end_order(order);
            }
        }
    }

    fn end_order(&mut self, order: usize) {
        self.orders[order].ended = true;
        let licenses: Vec<usize> = self.of(order).collect();
        licenses.into_iter().for_each(|license| self.licenses[license].state = State::Ended);
        self.tally.ended += 1;
    }

    pub(super) fn refund(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let device = self.any_device();
        let order = one_of(&(0..self.orders.len()).collect::<Vec<_>>(), &mut self.dice);
        let mut unknown = [0; 16];
        self.dice.fill(&mut unknown);
        let order_id = order.map_or(OrderId::from_bytes(unknown), |order| self.orders[order].id);
        let open = order.is_some_and(|order| !self.orders[order].ended && !self.orders[order].trial);
        let want = self.is_registered(device).and(if open { Ok(()) } else { Err(Code::RefundNotAllowed) });
        let terminal = &self.devices[device].terminal;
        let operation = Operation::Refund(wire::Refund {
            user_id: terminal.user_id(),
            card_id: Some(terminal.card_id()),
            device_id: terminal.device_id(),
            order_id,
        });
        let got = self.effected::<RefundResult>(link, device, operation)?;
        let (Some(result), Some(order)) = (self.agree("refund", want, got)?, order) else { return Ok(()) };
        let cents = self.orders[order].cents;
        let expected: BTreeSet<_> = self.of(order).map(|license| self.licenses[license].id.to_string()).collect();
        let ended: BTreeSet<_> = result.ended.iter().map(ToString::to_string).collect();
        if ended != expected || result.credited != Some(euros(cents)) {
            return Err(self.wrong("refund", &(expected, cents), &(ended, result.credited)));
        }
        self.balance += cents;
        self.end_order(order);
        Ok(())
    }
}
