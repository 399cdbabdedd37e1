//! Transfers from device to device, and devices that come back (D8–D10).

use super::{Household, Link, State};
use crate::authority::Failure;
use counterfoil_core::{
    Code, SourceDevice,
    wire::{self, AddDeviceResult, Operation, TransferResult},
};
use std::collections::BTreeSet;

/// What a transfer comes to.
#[derive(Default)]
struct Plan {
    moves: Vec<usize>,
    ends: Vec<usize>,
    deregister: bool,
}

impl Household {
    pub(super) fn transfer(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let (source, goods) = self.likely();
        let (asker, destination) = (self.any_device(), self.any_device());
        let goods = (!self.dice.chance(15)).then_some(goods);
        let preview = self.dice.chance(15);
        let plan = self.is_registered(asker).and_then(|()| self.may_move(source, destination, goods));
        let terminal = &self.devices[asker].terminal;
        let id = |device: usize| self.devices[device].terminal.device_id();
        let operation = Operation::Transfer(wire::Transfer {
            user_id: terminal.user_id(),
            card_id: Some(terminal.card_id()),
            device_id: terminal.device_id(),
            source: id(source),
            destination: id(destination),
            title: goods.map(|goods| self.goods[goods].title.clone()),
            preview,
        });
        let want = plan.as_ref().map(|_| ()).map_err(|code| *code);
        let got = match preview {
            true => self.asked::<TransferResult>(link, asker, operation)?,
            false => self.effected::<TransferResult>(link, asker, operation)?,
        };
        let (Some(result), Ok(plan)) = (self.agree("transfer", want, got)?, plan) else { return Ok(()) };
        let expected: BTreeSet<_> = plan.moves.iter().map(|license| self.licenses[*license].id.to_string()).collect();
        let moved: BTreeSet<_> = result.moved.iter().map(|moved| moved.license_id.to_string()).collect();
        if moved != expected || result.source_deregistered != plan.deregister {
            return Err(self.wrong("transfer", &(expected, plan.deregister), &(moved, result.source_deregistered)));
        }
        if !preview {
            self.move_all(&plan, source, destination);
        }
        Ok(())
    }

    fn may_move(&self, source: usize, destination: usize, goods: Option<usize>) -> Result<Plan, Code> {
        // Of another device than the one that asks, nothing more is told.
        if !self.devices[source].registered || !self.devices[destination].registered {
            return Err(Code::DeviceNotRegistered);
        }
        let refused = Err(Code::TransferNotAllowed);
        if source == destination {
            return refused;
        }
        let order_of = |license: usize| &self.orders[self.licenses[license].order];
        let there = |license: usize| self.of(self.licenses[license].order).any(|other| self.licenses[other].device == destination);
        let (wanted, others): (Vec<usize>, Vec<usize>) =
            self.at(source).partition(|license| goods.is_none_or(|goods| order_of(*license).goods == goods));
        let mut plan = Plan::default();
        for license in wanted {
            if !there(license) {
                plan.moves.push(license);
            } else if goods.is_none() {
                plan.ends.push(license);
            } else {
                return refused;
            }
        }
        let spent = |license: &usize| order_of(*license).transfers >= self.goods[order_of(*license).goods].policy.transfers;
        // What ends at the source frees a place for another device, and counts as well.
        if plan.moves.iter().chain(&plan.ends).any(spent) {
            return refused;
        }
        plan.deregister = match goods {
            None => true,
            Some(_) if plan.moves.is_empty() => return refused,
            Some(goods) => self.goods[goods].policy.source == SourceDevice::Deregistered,
        };
        if goods.is_some() && plan.deregister && !others.is_empty() { refused } else { Ok(plan) }
    }

    fn move_all(&mut self, plan: &Plan, source: usize, destination: usize) {
        for &license in &plan.moves {
            let license = &mut self.licenses[license];
            license.device = destination;
            license.state = if license.transaction.is_some() { State::Issued } else { State::Registered };
            self.orders[license.order].transfers += 1;
            self.tally.moved += 1;
        }
        for &license in &plan.ends {
            let license = &mut self.licenses[license];
            license.state = State::Ended;
            self.orders[license.order].transfers += 1;
        }
        self.devices[source].registered &= !plan.deregister;
    }

    /// A device that was taken out is announced by another one, and only then registers again.
    pub(super) fn readmit(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let Some(retired) = (0..self.devices.len()).find(|device| !self.devices[*device].registered && !self.devices[*device].exchanged)
        else {
            return Ok(());
        };
        self.register(link, retired, Err(Code::UserInvalid))?;
        let asker = self.registered_device();
        let terminal = &self.devices[asker].terminal;
        let operation = Operation::AddDevice(wire::AddDevice {
            user_id: terminal.user_id(),
            card_id: Some(terminal.card_id()),
            device_id: terminal.device_id(),
            new_device_id: self.devices[retired].terminal.device_id(),
            name: None,
        });
        let got = self.asked::<AddDeviceResult>(link, asker, operation)?;
        self.agree("add device", Ok(()), got)?;
        self.register(link, retired, Ok(()))
    }
}
