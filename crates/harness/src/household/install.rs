//! Licenses: asked for, fetched, confirmed, renewed (D5, D6, D10).

use super::{Household, License, Link, State, Told, one_of};
use crate::authority::Failure;
use counterfoil_core::{
    Code, GrantId, TransactionId,
    wire::{self, ConfirmResult, LicenseResult, Operation, RedeemResult, RenewResult},
};

/// What the authority may do with a request for a license.
enum Licensed {
    /// One of these, which are at the device.
    OneOf(Vec<usize>),
    /// A new one of this order, which allows one more device.
    New(usize),
}

impl Household {
    pub(super) fn license(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let (device, goods) = self.likely();
        let again = self.dice.chance(20);
        let Some(plan) = self.may_license(device, goods) else { return Ok(()) };
        let want = plan.as_ref().map(|_| ()).map_err(|code| *code);
        let terminal = &self.devices[device].terminal;
        let operation = Operation::License(wire::AskLicense {
            user_id: terminal.user_id(),
            device_id: terminal.device_id(),
            title: self.goods[goods].title.clone(),
            release: None,
            channel: None,
            again,
            feed: 0,
        });
        let got = self.asked::<LicenseResult>(link, device, operation)?;
        let (Some(result), Ok(plan)) = (self.agree("license", want, got)?, plan) else { return Ok(()) };
        let license = match plan {
            Licensed::New(order) => {
                self.licenses.push(License { id: result.license_id, order, device, transaction: None, state: State::Registered });
                self.licenses.len() - 1
            }
            Licensed::OneOf(choice) => {
                let chosen = choice.iter().copied().find(|license| self.licenses[*license].id == result.license_id);
                chosen.ok_or_else(|| self.wrong("license", &"one that is at the device", &result.license_id))?
            }
        };
        self.has_transaction(license, result.transaction_id)?;
        let state = &mut self.licenses[license].state;
        if *state == State::Registered || (again && matches!(state, State::Settled(_))) {
            *state = State::Issued;
        }
        Ok(())
    }

    /// Nothing where the authority has a choice that its answer does not tell.
    fn may_license(&self, device: usize, goods: usize) -> Option<Result<Licensed, Code>> {
        if let Err(code) = self.is_registered(device) {
            return Some(Err(code));
        }
        let order_of = |license: &usize| &self.orders[self.licenses[*license].order];
        let (trials, bought): (Vec<usize>, Vec<usize>) =
            self.at(device).filter(|license| order_of(license).goods == goods).partition(|license| order_of(license).trial);
        if !bought.is_empty() || !trials.is_empty() {
            return Some(Ok(Licensed::OneOf(if bought.is_empty() { trials } else { bought })));
        }
        let free = |order: &usize| self.orders[*order].goods == goods && !self.orders[*order].ended && self.has_place(*order);
        let free: Vec<usize> = (0..self.orders.len()).filter(free).collect();
        match free[..] {
            [] => Some(Err(Code::NotEntitled)),
            [order] => Some(Ok(Licensed::New(order))),
            _ => None,
        }
    }

    /// D9: a license has one transaction ID for ever, and no other license has it.
    fn has_transaction(&mut self, license: usize, transaction: TransactionId) -> Result<(), Failure> {
        let known = self.licenses[license].transaction;
        let others = self.licenses.iter().enumerate().any(|(other, row)| other != license && row.transaction == Some(transaction));
        if others || known.is_some_and(|known| known != transaction) {
            return Err(self.wrong("transaction ID", &known, &transaction));
        }
        self.licenses[license].transaction = Some(transaction);
        Ok(())
    }

    pub(super) fn redeem(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let with_transaction = |license: &usize| self.licenses[*license].transaction.is_some();
        let open = |license: &usize| matches!(self.licenses[*license].state, State::Issued | State::Delivered(_));
        let known: Vec<usize> = (0..self.licenses.len()).filter(with_transaction).collect();
        let waiting: Vec<usize> = known.iter().copied().filter(open).collect();
        let among = if self.dice.chance(70) { waiting } else { known };
        let Some(license) = one_of(&among, &mut self.dice) else { return Ok(()) };
        let here = self.licenses[license].device;
        let device = if self.dice.chance(80) { here } else { self.any_device() };
        let want = self.may_redeem(license, device);
        let terminal = &self.devices[device].terminal;
        let operation = Operation::Redeem(wire::Redeem {
            user_id: terminal.user_id(),
            device_id: terminal.device_id(),
            drive_id: None,
            transaction_id: self.licenses[license].transaction.expect("chosen for having one"),
        });
        let got = self.asked::<RedeemResult>(link, device, operation)?;
        let Some(result) = self.agree("redeem", want, got)? else { return Ok(()) };
        let grant = self.devices[device].terminal.redeemed(&self.authority, self.licenses[license].id, &result)?;
        match self.licenses[license].state {
            State::Delivered(before) if before != grant => return Err(self.wrong("grant", &before, &grant)),
            State::Delivered(_) => {}
            _ if !self.grants.insert(grant) => return Err(self.wrong("grant", &"a new one", &grant)),
            _ => self.tally.fetched += 1,
        }
        self.licenses[license].state = State::Delivered(grant);
        Ok(())
    }

    fn may_redeem(&self, license: usize, device: usize) -> Result<(), Code> {
        self.is_registered(device)?;
        let license = &self.licenses[license];
        match license.state {
            _ if license.device != device => Err(Code::TransactionUnknown),
            State::Ended => Err(Code::LicenseEnded),
            State::Settled(_) => Err(Code::TransactionSpent),
            State::Registered => Err(Code::TransactionUnknown),
            State::Issued | State::Delivered(_) => Ok(()),
        }
    }

    pub(super) fn confirm(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let granted = |license: &License| match license.state {
            State::Delivered(grant) | State::Settled(grant) => Some(grant),
            _ => None,
        };
        let choice: Vec<(usize, GrantId)> =
            self.licenses.iter().enumerate().filter_map(|(which, license)| Some((which, granted(license)?))).collect();
        let Some((license, grant)) = one_of(&choice, &mut self.dice) else { return Ok(()) };
        let here = self.licenses[license].device;
        let device = if self.dice.chance(90) { here } else { self.any_device() };
        let want = match self.is_registered(device) {
            Ok(()) if device != here => Err(Code::GrantUnknown),
            registered => registered,
        };
        let terminal = &self.devices[device].terminal;
        let operation = Operation::Confirm(wire::Confirm {
            user_id: terminal.user_id(),
            medium_id: None,
            grant_ids: vec![grant],
            device_id: Some(terminal.device_id()),
        });
        let got = self.asked::<ConfirmResult>(link, device, operation)?;
        let Some(result) = self.agree("confirm", want, got)? else { return Ok(()) };
        if result.settled != [grant] {
            return Err(self.wrong("confirm", &grant, &result.settled));
        }
        self.licenses[license].state = State::Settled(grant);
        Ok(())
    }

    pub(super) fn renew(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let Some(license) = one_of(&(0..self.licenses.len()).collect::<Vec<_>>(), &mut self.dice) else { return Ok(()) };
        let here = self.licenses[license].device;
        let device = if self.dice.chance(70) { here } else { self.any_device() };
        let held = device == here && matches!(self.licenses[license].state, State::Delivered(_) | State::Settled(_));
        let want = self.is_registered(device).and(if held { Ok(()) } else { Err(Code::LicenseEnded) });
        let terminal = &self.devices[device].terminal;
        let operation = Operation::Renew(wire::Renew {
            user_id: terminal.user_id(),
            device_id: terminal.device_id(),
            license_id: self.licenses[license].id,
        });
        let got = self.asked::<RenewResult>(link, device, operation)?;
        let Some(result) = self.agree("renew", want, got)? else { return Ok(()) };
        let document = self.authority.license(&result.license)?;
        if document.sub != self.licenses[license].id || document.cnf.kid != self.devices[device].terminal.device_id() {
            return Err(self.wrong("renew", &self.licenses[license].id, &document));
        }
        Ok(())
    }

    /// A request that had an effect is answered as it was before, however long ago that is.
    pub(super) fn repeat(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let Some(which) = one_of(&(0..self.told.len()).collect::<Vec<_>>(), &mut self.dice) else { return Ok(()) };
        let Told { asker, envelope, result } = self.told[which].clone();
        let got = super::definite::<serde_json::Value>(link.ask(&envelope)?)?;
        let want = asker.map_or(Ok(()), |asker| self.is_registered(asker)).map(|()| result);
        if want == got { Ok(()) } else { Err(self.wrong("a request repeated", &want, &got)) }
    }
}
