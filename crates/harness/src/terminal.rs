//! A simulated terminal: card and device in memory, requests as a real one makes them.

use crate::{authority::Authority, random::Dice};
use counterfoil_core::{
    CardId, DeviceId, GrantId, HolderId, RequestId, Timestamp, UserId,
    wire::{
        Claim, ClaimResult, Confirm, HolderKeys as HolderKeysOnWire, IdentityArea, IdentityClaims, Inspect, Operation, Present,
        Presentation, Register, RegisterDevice, RegisterResult, Request,
    },
};
use counterfoil_format::{
    encoding::{from_base64url, to_base64url},
    envelope::{self, Envelope},
    grant::{GrantBox, GrantScope, SealedBox, purpose},
    holder::{HolderKeys, HolderKind},
    jws::Signer,
    jws::unverified_payload,
    secret::{Random, Secret},
};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

mod software;
pub mod through;

/// A person with a card and a device.
pub struct Terminal {
    card: Arc<HolderKeys>,
    device: HolderKeys,
    device_id: DeviceId,
    /// Known once registered.
    pub user: Option<UserId>,
}

/// A medium in the hand.
pub struct Medium {
    /// What the authority vouches for.
    pub claims: IdentityClaims,
    secret: Secret<32>,
}

impl Medium {
    /// Reads an identity area; the signature is the terminal crate's business and tested there.
    pub fn read(area: &IdentityArea) -> Option<Medium> {
        let payload = unverified_payload(&area.identity)?;
        let secret = Secret::from_slice(&from_base64url(&area.claim_secret)?)?;
        Some(Medium { claims: serde_json::from_slice(&payload).ok()?, secret })
    }

    /// B4: shows itself to a provider, with nobody's name to it.
    pub fn present(&self, authority: &Authority, present: Present, dice: &mut Dice) -> Presentation {
        let issued_at = now();
        let operation = Operation::Present(present);
        let request = Request {
            request_id: request_id(issued_at, dice),
            issued_at,
            refreshable: false,
            seal_answer: false,
            by_gateway: false,
            operation,
        };
        let payload = serde_json::to_vec(&request).expect("a request is JSON");
        let (kid, key) = &authority.sealing;
        let proofs = [(self.claims.medium_id.as_str(), Signer::ClaimSecret(&self.secret))];
        let (sealed, _) = envelope::seal(&payload, &proofs, kid, key, dice).expect("a presentation is short");
        let envelope = serde_json::to_value(&sealed).expect("an envelope is JSON");
        Presentation { medium_id: Some(self.claims.medium_id.clone()), status: Default::default(), envelope }
    }
}

impl Terminal {
    /// A new card and a new device.
    pub fn new(dice: &mut Dice) -> Terminal {
        let mut id = [0; 16];
        dice.fill(&mut id);
        Terminal {
            card: HolderKeys::generate(HolderKind::Card, dice).into(),
            device: HolderKeys::generate(HolderKind::Device, dice),
            device_id: DeviceId::from_bytes(id),
            user: None,
        }
    }

    /// Of the card.
    pub fn card_id(&self) -> CardId {
        HolderId::from_bytes(self.card.public().id()).into()
    }

    /// C3; where the user is known, for one more device.
    pub fn register(&self, authority: &Authority, dice: &mut Dice) -> Envelope {
        self.seal(authority, self.registration(), None, dice)
    }

    fn registration(&self) -> Operation {
        let keys =
            |keys: &HolderKeys| HolderKeysOnWire { sign: keys.public().signing.to_string(), seal: keys.public().sealing.to_string() };
        let device = RegisterDevice {
            id: self.device_id,
            keys: keys(&self.device),
            secret: to_base64url(self.device.device_secret().expect("made as a device").expose()),
            name: None,
        };
        Operation::Register(Register { user_id: self.user, card: Some(keys(&self.card)), device: Some(device), drive: None })
    }

    /// Takes the user ID out of the answer and keeps it.
    pub fn registered(&mut self, result: &RegisterResult) -> Result<UserId, String> {
        let user = self.open_user(result)?;
        self.user = Some(user);
        Ok(user)
    }

    /// The user ID in an answer, as only this card can read it.
    pub fn open_user(&self, result: &RegisterResult) -> Result<UserId, String> {
        let sealed: SealedBox = serde_json::from_value(result.user.clone()).map_err(|error| error.to_string())?;
        let text =
            sealed.open(&self.card.sealing_key(), &[purpose::USER_ID, &self.card_id().to_string()]).map_err(|error| error.to_string())?;
        std::str::from_utf8(&text).map_err(|error| error.to_string())?.parse().map_err(|error| format!("{error}"))
    }

    /// C6.
    pub fn claim(&self, authority: &Authority, medium: &Medium, dice: &mut Dice) -> Envelope {
        let operation = Operation::Claim(Claim {
            user_id: self.user.expect("registers first"),
            medium_id: medium.claims.medium_id.clone(),
            epoch: medium.claims.epoch,
            card_id: Some(self.card_id()),
            device_id: Some(self.device_id),
            drive_id: None,
            pay: None,
            currency: None,
        });
        self.seal(authority, operation, Some(medium), dice)
    }

    /// A1, A7: what the authority says of this user, this device and a medium in the hand.
    pub fn inspect(&self, authority: &Authority, medium: &Medium, dice: &mut Dice) -> Envelope {
        let operation = Operation::Inspect(Inspect {
            medium_id: Some(medium.claims.medium_id.clone()),
            user_id: self.user,
            device_id: Some(self.device_id),
        });
        self.seal(authority, operation, Some(medium), dice)
    }

    /// Opens every box of a grant, as a copy would; what does not open is a finding.
    pub fn granted(&self, result: &ClaimResult) -> Result<Vec<GrantId>, String> {
        let device = self.device_id.to_string();
        for grant in &result.grants {
            let keys: GrantBox = serde_json::from_value(grant.keys.clone()).map_err(|error| error.to_string())?;
            let id = grant.grant_id.to_string();
            let scope = GrantScope { title: grant.title.as_str(), grant: &id, device: &device };
            let opened = keys.open(&self.card.sealing_key(), self.device.device_secret(), &scope).map_err(|error| error.to_string())?;
            opened.library_key().map_err(|error| error.to_string())?;
            opened.content_key().map_err(|error| error.to_string())?.ok_or("a grant without content key")?;
        }
        Ok(result.grants.iter().map(|grant| grant.grant_id).collect())
    }

    /// C11.
    pub fn confirm(&self, authority: &Authority, medium: &Medium, grants: &[GrantId], dice: &mut Dice) -> Envelope {
        let operation = Operation::Confirm(Confirm {
            user_id: self.user.expect("registers first"),
            medium_id: Some(medium.claims.medium_id.clone()),
            grant_ids: grants.to_vec(),
            device_id: Some(self.device_id),
        });
        self.seal(authority, operation, None, dice)
    }

    fn seal(&self, authority: &Authority, operation: Operation, medium: Option<&Medium>, dice: &mut Dice) -> Envelope {
        let now = now();
        let request = Request {
            request_id: request_id(now, dice),
            issued_at: now,
            refreshable: false,
            seal_answer: false,
            by_gateway: false,
            operation,
        };
        let payload = serde_json::to_vec(&request).expect("has a JSON form");
        let (card_id, device_id) = (self.card_id().to_string(), self.device_id.to_string());
        let (card, device) = (self.card.signing_key(), self.device.signing_key());
        let mut proofs = vec![(card_id.as_str(), Signer::Key(&card)), (device_id.as_str(), Signer::Key(&device))];
        if let Some(medium) = medium {
            proofs.push((medium.claims.medium_id.as_str(), Signer::ClaimSecret(&medium.secret)));
        }
        envelope::seal(&payload, &proofs, &authority.sealing.0, &authority.sealing.1, dice).expect("far below the limits").0
    }
}

fn request_id(now: Timestamp, dice: &mut Dice) -> RequestId {
    let mut random = [0; 10];
    dice.fill(&mut random);
    RequestId(uuid::Builder::from_unix_timestamp_millis(now.0.unsigned_abs(), &random).into_uuid())
}

#[expect(clippy::disallowed_methods, reason = "the harness is an edge: its terminals have real clocks")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("for the next 292 million years"))
}
