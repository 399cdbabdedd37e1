//! What the authority in memory sells: contents, licenses and their keys (D4–D6).

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

/// Objects by name, and what was sent of them.
#[derive(Default)]
pub struct Contents {
    pub objects: Mutex<HashMap<String, Vec<u8>>>,
    /// Bytes that were asked for.
    pub sent: AtomicU64,
    /// What breaks off after so many bytes of an answer.
    pub breaks_after: Mutex<Option<u64>>,
    /// What is not there any more.
    pub gone: Mutex<Vec<String>>,
}

impl Contents {
    pub fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn std::io::Read + Send>, TransportError> {
        if self.gone.lock().unwrap().iter().any(|gone| gone == object) {
            return Err(TransportError::Status { url: "memory:".into(), status: 404, detail: "not found".into() });
        }
        let objects = self.objects.lock().unwrap();
        let bytes = objects.get(object).ok_or_else(lost)?;
        let to = part.to.map_or(bytes.len(), |to| to as usize).min(bytes.len());
        let mut bytes = bytes[(part.from as usize).min(to)..to].to_vec();
        if let Some(length) = *self.breaks_after.lock().unwrap() {
            bytes.truncate(length as usize);
        }
        self.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(Box::new(std::io::Cursor::new(bytes)))
    }
}

/// A title that was bought: it is registered with the first device that asks.
#[derive(Clone)]
pub struct Licensed {
    pub license: LicenseId,
    pub transaction: TransactionId,
    pub title: TitleId,
    pub user: UserId,
    pub device: DeviceId,
    pub grant: Option<GrantId>,
    /// Taken back.
    pub ended: bool,
}

impl State {
    pub(super) fn device_signed(&self, user: UserId, device: DeviceId, opened: &General) -> Result<(), Refusal> {
        let (key, _) = self.devices.get(&(user, device)).ok_or(Code::DeviceNotRegistered)?;
        opened.verify(&device.to_string(), Verifier::Key(key)).map_err(|_| Code::ProofInvalid.into())
    }

    pub(super) fn license(&mut self, ask: &AskLicense, opened: &General) -> Result<LicenseResult, Refusal> {
        self.device_signed(ask.user_id, ask.device_id, opened)?;
        let (title, release) = self.on_sale.get(&ask.title).cloned().ok_or(Code::NotEntitled)?;
        if ask.release.as_ref().is_some_and(|wanted| *wanted != title.release) {
            return Err(Code::ReleaseUnknown.into());
        }
        let mut fresh = [0; 32];
        SystemRandom.fill(&mut fresh);
        let (license, transaction) = fresh.split_at(16);
        let found = self.licenses.iter_mut().find(|license| license.user == ask.user_id && license.title == ask.title);
        let found = match found {
            Some(found) => found,
            None => {
                let license = LicenseId::from_bytes(license.try_into().unwrap());
                let transaction = TransactionId::from_bytes(transaction.try_into().unwrap());
                let (title, user, device) = (ask.title.clone(), ask.user_id, ask.device_id);
                self.licenses.push(Licensed { license, transaction, title, user, device, grant: None, ended: false });
                self.licenses.last_mut().unwrap()
            }
        };
        if found.ended || found.device != ask.device_id {
            return Err(Code::NotEntitled.into());
        }
        let settled =
            |id: &GrantId| self.grants.iter().any(|grant| grant.document.grant_id == *id && grant.state == confirm::GrantState::Settled);
        if ask.again && found.grant.as_ref().is_some_and(settled) {
            found.grant = None;
        }
        let (feed, fresh) = self.feeds.get(&ask.title).cloned().unwrap_or_default();
        Ok(LicenseResult { transaction_id: found.transaction, license_id: found.license, title, release, feed, fresh })
    }

    pub(super) fn redeem(&mut self, ask: &Redeem, opened: &General) -> Result<RedeemResult, Refusal> {
        self.device_signed(ask.user_id, ask.device_id, opened)?;
        let at = self.licenses.iter().position(|license| license.transaction == ask.transaction_id && license.device == ask.device_id);
        let licensed = self.licenses[at.ok_or(Code::TransactionUnknown)?].clone();
        if licensed.ended {
            return Err(Code::LicenseEnded.into());
        }
        let earlier = licensed.grant.and_then(|id| self.grants.iter().find(|grant| grant.document.grant_id == id));
        let document = match earlier {
            Some(grant) if grant.state == confirm::GrantState::Settled => return Err(Code::TransactionSpent.into()),
            Some(grant) => grant.document.clone(),
            None => {
                let (holder, (_, kind, public)) = self.holders.iter().find(|(_, (user, ..))| *user == ask.user_id).unwrap();
                let (kind, public) = (*kind, *public);
                let card = (kind == HolderKind::Card).then(|| (*holder).into());
                let claimant = claim::Claimant { user: ask.user_id, card, device: Some(ask.device_id), drive: ask.drive_id };
                self.issue(&licensed.title, kind, &public, &claimant, None)
            }
        };
        self.licenses[at.unwrap()].grant = Some(document.grant_id);
        Ok(RedeemResult { license: self.sign_license(&licensed, document.grant_id), grant: document })
    }
}
