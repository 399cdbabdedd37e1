//! Cards that are lost and replaced (C15): from the answer on the old one is nobody's, and the new one is filled with exactly what stands.

use super::{Household, Link, State, TWICE, definite};
use crate::{
    authority::{Failure, NewCard},
    terminal::Terminal,
};
use counterfoil_core::{
    Code, GrantId, ReissueId,
    wire::{AskRecoveryCode, Collect, CollectResult, Operation, RecoveryCodeResult, Reissue, ReissueResult, ReissueState},
};
use counterfoil_format::grant::purpose;
use std::collections::BTreeSet;

impl Household {
    /// The card is lost: asked for with the recovery code, or replaced at the counter.
    pub(super) fn reissue(&mut self, link: &mut dyn Link) -> Result<(), Failure> {
        let code = if self.dice.chance(50) { Some(self.recovery_code(link)?) } else { None };
        let card = Terminal::new_card(&mut self.dice);
        let lost: Vec<Terminal> = self.devices.iter_mut().map(|device| device.terminal.swap_card(&card)).collect();
        let request = match code {
            Some(code) => Some(self.ask_for_card(link, code)?),
            None => None,
        };
        let terminal = &self.devices[0].terminal;
        let new = NewCard { user: terminal.user_id(), card: terminal.card_keys(), request };
        let key = format!("{}-reissue-{}", new.user, self.tally.steps);
        link.reissue(&new, &key)?;
        if self.dice.chance(TWICE) {
            link.reissue(&new, &key)?;
        }
        self.tally.reissued += 1;
        // What the old card has signed is not answered again, whatever it was answered before.
        self.told.clear();
        if self.copy.as_ref().is_some_and(|copy| !copy.confirmed) {
            self.freed();
        }
        let device = self.registered_device();
        self.is_dead(link, &lost[device])?;
        self.fill(link, device)
    }

    fn recovery_code(&mut self, link: &mut dyn Link) -> Result<String, Failure> {
        let device = self.registered_device();
        let terminal = &self.devices[device].terminal;
        let ask = AskRecoveryCode { user_id: terminal.user_id(), card_id: terminal.card_id(), device_id: Some(terminal.device_id()) };
        let got = self.asked::<RecoveryCodeResult>(link, device, Operation::RecoveryCode(ask))?;
        let result = self.agree("recovery code", Ok(()), got)?.ok_or_else(|| self.wrong("recovery code", &"a code", &"none"))?;
        self.devices[device].terminal.open_box(&result.code, purpose::RECOVERY_CODE)
    }

    fn ask_for_card(&mut self, link: &mut dyn Link, recovery_code: String) -> Result<ReissueId, Failure> {
        let device = self.registered_device();
        let terminal = &self.devices[device].terminal;
        let ask = Reissue { user_id: terminal.user_id(), recovery_code, card: terminal.card_keys(), contact: None };
        let got = self.asked::<ReissueResult>(link, device, Operation::Reissue(ask))?;
        match self.agree("ask for a card", Ok(()), got)? {
            Some(ReissueResult { reissue_id, state: ReissueState::Waiting }) => Ok(reissue_id),
            other => Err(self.wrong("ask for a card", &"waiting", &other)),
        }
    }

    fn is_dead(&mut self, link: &mut dyn Link, lost: &Terminal) -> Result<(), Failure> {
        let collect = Operation::Collect(Collect { card_id: lost.card_id(), after: None });
        let envelope = lost.ask(&self.authority, collect, &mut self.dice);
        let got = definite::<CollectResult>(link.ask(&envelope)?)?;
        self.agree("collect with the old card", Err(Code::CardUnknown), got).map(drop)
    }

    /// The new card says whose it is, and holds the licenses that were fetched and the copy that there is, and nothing else.
    fn fill(&mut self, link: &mut dyn Link, device: usize) -> Result<(), Failure> {
        let (card_id, mut held, mut after) = (self.devices[device].terminal.card_id(), BTreeSet::new(), None);
        loop {
            let got = self.asked::<CollectResult>(link, device, Operation::Collect(Collect { card_id, after }))?;
            let page = self.agree("collect", Ok(()), got)?.ok_or_else(|| self.wrong("collect", &"a page", &"none"))?;
            let terminal = &self.devices[device].terminal;
            let user = terminal.open_box(&page.user, purpose::USER_ID)?;
            if user != terminal.user_id().to_string() {
                return Err(self.wrong("user of a new card", &terminal.user_id(), &user));
            }
            held.extend(page.grants.iter().map(|collected| collected.grant.grant_id));
            after = page.more;
            if after.is_none() {
                break;
            }
        }
        let fetched = self.licenses.iter().filter_map(|license| match license.state {
            State::Delivered(grant) | State::Settled(grant) => Some(grant),
            State::Registered | State::Issued | State::Ended => None,
        });
        // Of a device that was taken out nothing can be sealed any more: its secret is gone from the entry.
        let live = self.copy.iter().filter(|copy| self.devices[copy.device].registered);
        let expected: BTreeSet<GrantId> = fetched.chain(live.flat_map(|copy| copy.grants.iter().copied())).collect();
        if held == expected { Ok(()) } else { Err(self.wrong("what a new card holds", &expected, &held)) }
    }
}
