//! The model against all that the authority says of the user: devices, licenses, orders, balance.

use super::{Household, Link, State};
use crate::authority::Failure;
use counterfoil_core::{
    rules::order::OrderState,
    wire::{self, DevicesResult, Operation, OrdersResult},
};
use std::collections::BTreeMap;

impl Household {
    /// Asks one of the user's devices for everything, and compares.
    pub(crate) fn check(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let device = self.registered_device();
        let terminal = &self.devices[device].terminal;
        let (user_id, device_id) = (terminal.user_id(), terminal.device_id());
        let got = self.asked::<DevicesResult>(link, device, Operation::Devices(wire::Devices { user_id, device_id }))?;
        let devices = self.agree("devices", Ok(()), got)?.ok_or_else(|| self.wrong("devices", &"an answer", &"none"))?;
        self.compare_devices(&devices)?;
        let got = self.asked::<OrdersResult>(link, device, Operation::Orders(wire::Orders { user_id, device_id }))?;
        let orders = self.agree("orders", Ok(()), got)?.ok_or_else(|| self.wrong("orders", &"an answer", &"none"))?;
        self.compare_orders(&orders)
    }

    /// D5, D8: each license is at one device, and at the one where it should be.
    fn compare_devices(&self, told: &DevicesResult) -> Result<(), Failure> {
        let mut expected = BTreeMap::new();
        for (which, device) in self.devices.iter().enumerate().filter(|(_, device)| device.registered) {
            let installed =
                |license: usize| (self.licenses[license].id.to_string(), matches!(self.licenses[license].state, State::Settled(_)));
            let licenses: BTreeMap<String, bool> = self.at(which).map(installed).collect();
            expected.insert(device.terminal.device_id().to_string(), licenses);
        }
        let mut said = BTreeMap::new();
        for device in told.devices.iter().filter(|device| device.registered) {
            let licenses: BTreeMap<String, bool> =
                device.licenses.iter().map(|license| (license.license_id.to_string(), license.installed)).collect();
            said.insert(device.id.to_string(), licenses);
        }
        if said == expected { Ok(()) } else { Err(self.wrong("licenses at devices", &expected, &said)) }
    }

    /// D3: every order once, and a balance to the cent.
    fn compare_orders(&self, told: &OrdersResult) -> Result<(), Failure> {
        let expected: BTreeMap<String, bool> = self.orders.iter().map(|order| (order.id.to_string(), order.ended)).collect();
        let said: BTreeMap<String, bool> =
            told.orders.iter().map(|order| (order.order_id.to_string(), order.state == OrderState::Ended)).collect();
        if said != expected || told.orders.len() != expected.len() {
            return Err(self.wrong("orders", &expected, &said));
        }
        let balance: u64 = told.balance.iter().map(|money| money.amount).sum();
        if balance == self.balance { Ok(()) } else { Err(self.wrong("balance", &self.balance, &balance)) }
    }
}
