//! What a terminal asks about software bought online: the device of a household that shares one card.

use super::Terminal;
use crate::{
    authority::{Authority, Failure},
    random::Dice,
};
use counterfoil_core::{
    DeviceId, GrantId, LicenseId, UserId,
    wire::{self, Operation, RedeemResult},
};
use counterfoil_format::{
    envelope::Envelope,
    grant::{GrantBox, GrantScope, SealedBox},
    holder::{HolderKeys, HolderKind},
    secret::Random,
};
use std::sync::Arc;

impl Terminal {
    /// Another device of the same user, with the same card; not registered yet.
    pub fn beside(&self, dice: &mut Dice) -> Terminal {
        let mut id = [0; 16];
        dice.fill(&mut id);
        Terminal {
            card: self.card.clone(),
            device: HolderKeys::generate(HolderKind::Device, dice),
            device_id: DeviceId::from_bytes(id),
            user: self.user,
        }
    }

    /// A card that is nobody's yet.
    pub fn new_card(dice: &mut Dice) -> Arc<HolderKeys> {
        HolderKeys::generate(HolderKind::Card, dice).into()
    }

    /// Has another card in it from now on; answers with the same device and the one before.
    pub fn swap_card(&mut self, card: &Arc<HolderKeys>) -> Terminal {
        let before = std::mem::replace(&mut self.card, card.clone());
        Terminal { card: before, device: self.device.clone(), device_id: self.device_id, user: self.user }
    }

    /// The public halves of its card, as they travel.
    pub fn card_keys(&self) -> wire::HolderKeys {
        wire::HolderKeys { sign: self.card.public().signing.to_string(), seal: self.card.public().sealing.to_string() }
    }

    /// Opens a box to its card.
    ///
    /// # Errors
    /// What does not fit.
    pub fn open_box(&self, sealed: &serde_json::Value, purpose: &str) -> Result<String, Failure> {
        let broken = |what: String| Failure::Broken(format!("a box to a card that does not open: {what}"));
        let sealed: SealedBox = serde_json::from_value(sealed.clone()).map_err(|error| broken(error.to_string()))?;
        let opened = sealed.open(&self.card.sealing_key(), &[purpose, &self.card_id().to_string()]);
        let opened = opened.map_err(|error| broken(error.to_string()))?;
        String::from_utf8(opened.to_vec()).map_err(|error| broken(error.to_string()))
    }

    /// Of the device.
    pub fn device_id(&self) -> DeviceId {
        self.device_id
    }

    /// Who is registered with it.
    pub fn user_id(&self) -> UserId {
        self.user.expect("registers first")
    }

    /// Any request, signed by card and device.
    pub fn ask(&self, authority: &Authority, operation: Operation, dice: &mut Dice) -> Envelope {
        self.seal(authority, operation, None, dice)
    }

    /// Opens the keys of a license and checks its document, as an installation would (D6): it is signed, for this device and this license.
    ///
    /// # Errors
    /// What does not fit.
    pub fn redeemed(&self, authority: &Authority, license_id: LicenseId, result: &RedeemResult) -> Result<GrantId, Failure> {
        let broken = |what: String| Failure::Broken(format!("a license that does not open: {what}"));
        let license = authority.license(&result.license)?;
        let grant = &result.grant;
        if license.sub != license_id || license.cnf.kid != self.device_id || license.title != grant.title || license.grant != grant.grant_id
        {
            return Err(broken(format!("asked for {license_id} on {}, got {license:?}", self.device_id)));
        }
        let (device, id) = (self.device_id.to_string(), grant.grant_id.to_string());
        let keys: GrantBox = serde_json::from_value(grant.keys.clone()).map_err(|error| broken(error.to_string()))?;
        let scope = GrantScope { title: grant.title.as_str(), grant: &id, device: &device };
        let opened = keys.open(&self.card.sealing_key(), self.device.device_secret(), &scope).map_err(|error| broken(error.to_string()))?;
        opened.library_key().map_err(|error| broken(error.to_string()))?;
        opened.content_key().map_err(|error| broken(error.to_string()))?.ok_or_else(|| broken("without content key".into()))?;
        Ok(grant.grant_id)
    }
}
