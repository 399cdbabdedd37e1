//! Copies of a medium, and devices that are exchanged (C7, C8, C11, C14): one live copy, wherever it is, and a free medium after a repair.

use super::{Device, Household, Link, State, definite};
use crate::authority::Failure;
use counterfoil_core::{
    Code, GrantId,
    wire::{self, AddDeviceResult, ClaimResult, ConfirmResult, Operation},
};
use std::time::{Duration, Instant};

/// The one copy that there is of the household's medium.
#[derive(Clone, Debug)]
pub(super) struct LiveCopy {
    /// At which device.
    pub(super) device: usize,
    pub(super) grants: Vec<GrantId>,
    pub(super) confirmed: bool,
}

/// How long a copy that was taken back may keep its medium from being copied again: as long as the jobs of a killed process need to be
/// taken over by another one. While processes are killed faster than a lease runs out, that is as long as they are.
const FREE_WITHIN: Duration = Duration::from_secs(300);

impl Household {
    /// Copies the medium at a device, or completes the copy.
    pub(super) fn copy(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        match self.copy.clone() {
            Some(copy) if !copy.confirmed && self.devices[copy.device].registered && self.dice.chance(40) => self.complete(link, copy),
            _ => self.claim(link),
        }
    }

    fn claim(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let device = self.any_device();
        let Some(medium) = &self.medium else { return Ok(()) };
        let want = match &self.copy {
            None => self.is_registered(device),
            Some(copy) if copy.device == device && !copy.confirmed => self.is_registered(device),
            Some(_) => self.is_registered(device).and(Err(Code::MediumSpent)),
        };
        let freeing = self.freed_at.is_some_and(|freed_at| freed_at.elapsed() < FREE_WITHIN) && want.is_ok();
        let envelope = self.devices[device].terminal.claim(&self.authority, &medium.clone(), &mut self.dice);
        let got = definite::<ClaimResult>(self.twice(link, &envelope)?)?;
        // What was exchanged is told to the medium after the commit: by the process that did it, or by whoever takes over. Until then the
        // household does something else: one that only asked again would keep its worker from all other work.
        if freeing && matches!(got, Err(Code::MediumSpent)) {
            return Ok(());
        }
        let Some(result) = self.agree("claim", want, got)? else { return Ok(()) };
        let opened = self.devices[device].terminal.granted(&result);
        let grants = opened.map_err(|error| Failure::Broken(format!("a grant that does not open: {error}")))?;
        match &self.copy {
            Some(copy) if copy.grants != grants => return Err(self.wrong("claim", &copy.grants, &grants)),
            Some(_) => {}
            None if !grants.iter().all(|grant| self.grants.insert(*grant)) => return Err(self.wrong("claim", &"new grants", &grants)),
            None => self.tally.copied += 1,
        }
        self.freed_at = None;
        self.copy = Some(LiveCopy { device, grants, confirmed: false });
        Ok(())
    }

    fn complete(&mut self, link: &mut dyn Link, copy: LiveCopy) -> Result<(), Failure> {
        let Some(medium) = self.medium.clone() else { return Ok(()) };
        let envelope = self.devices[copy.device].terminal.confirm(&self.authority, &medium, &copy.grants, &mut self.dice);
        let answer = self.twice(link, &envelope)?;
        let got = definite::<ConfirmResult>(answer)?;
        self.agree("confirm a copy", Ok(()), got)?;
        self.copy = Some(LiveCopy { confirmed: true, ..copy });
        Ok(())
    }

    /// From now on its medium may be copied again, as soon as it has heard so.
    #[expect(clippy::disallowed_methods, reason = "nobody waits for ever")]
    pub(super) fn freed(&mut self) {
        self.freed_at = Some(Instant::now());
    }

    /// C14: a new device in place of one; or an old one turns up.
    pub(super) fn repair(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let gone = (0..self.devices.len()).find(|device| self.devices[*device].exchanged);
        match gone.filter(|_| self.dice.chance(30)) {
            Some(gone) => self.turn_up(link, gone),
            None => self.exchange(link),
        }
    }

    fn exchange(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let old = self.registered_device();
        let terminal = self.devices[old].terminal.beside(&mut self.dice);
        let (user, old_id, new_id) = (terminal.user_id(), self.devices[old].terminal.device_id(), terminal.device_id());
        let key = format!("{user}-exchange-{}", self.tally.steps);
        link.exchange(user, old_id, new_id, &key)?;
        if self.dice.chance(super::TWICE) {
            link.exchange(user, old_id, new_id, &key)?;
        }
        self.devices.push(Device { terminal, registered: false, exchanged: false });
        let new = self.devices.len() - 1;
        // Not counted as a transfer, and under the same transaction IDs.
        for license in self.at(old).collect::<Vec<_>>() {
            let license = &mut self.licenses[license];
            license.device = new;
            license.state = if license.transaction.is_some() { State::Issued } else { State::Registered };
        }
        let device = &mut self.devices[old];
        (device.registered, device.exchanged) = (false, true);
        if self.copy.as_ref().is_some_and(|copy| copy.device == old) {
            self.copy = None;
            self.freed();
        }
        self.tally.exchanged += 1;
        self.register(link, new, Ok(()))
    }

    /// It does not come back by itself, nor by being announced.
    fn turn_up(&mut self, link: &mut dyn Link, gone: usize) -> Result<(), Failure> {
        self.register(link, gone, Err(Code::DeviceExchanged))?;
        let asker = self.registered_device();
        let terminal = &self.devices[asker].terminal;
        let operation = Operation::AddDevice(wire::AddDevice {
            user_id: terminal.user_id(),
            card_id: Some(terminal.card_id()),
            device_id: terminal.device_id(),
            new_device_id: self.devices[gone].terminal.device_id(),
            name: None,
        });
        let got = self.asked::<AddDeviceResult>(link, asker, operation)?;
        self.agree("announce an old device", Err(Code::DeviceExchanged), got).map(drop)
    }
}
