//! What a terminal asks through a gateway: the same request, sealed anew for each try, with an answer that only it can open.

use super::{Medium, Terminal, now, request_id};
use crate::{
    authority::{Authority, Failure},
    random::Dice,
};
use counterfoil_core::{
    CardId, RequestId,
    wire::{Answer, Claim, Operation, Request},
};
use counterfoil_format::{
    envelope::{self, ANSWER_TYP, Envelope, ReplyKey},
    jws::{self, Signer},
};
use std::sync::Arc;

/// A request as it stands on the terminal's disk: with an ID for good, before anything is sent.
#[derive(Clone)]
pub struct Kept {
    request: Request,
    medium: Option<Arc<Medium>>,
}

/// One try of it.
pub struct Sealed {
    /// Which exchange.
    pub exchange: RequestId,
    /// The card that signs.
    pub card: CardId,
    /// What travels.
    pub envelope: Envelope,
    reply: ReplyKey,
}

impl Kept {
    /// The exchange that it is.
    pub fn exchange(&self) -> RequestId {
        self.request.request_id
    }

    /// The same under an ID of its own: what nobody may do who got no answer.
    pub fn renamed(&self, dice: &mut Dice) -> Kept {
        let request = Request { request_id: request_id(now(), dice), ..self.request.clone() };
        Kept { request, medium: self.medium.clone() }
    }
}

impl Terminal {
    /// Any request, which asks for a sealed answer, as it must through a gateway.
    pub fn keep(&self, operation: Operation, medium: Option<Arc<Medium>>, dice: &mut Dice) -> Kept {
        let issued_at = now();
        let request_id = request_id(issued_at, dice);
        let request = Request { request_id, issued_at, refreshable: false, seal_answer: true, by_gateway: true, operation };
        Kept { request, medium }
    }

    /// C3.
    pub fn keep_registration(&self, dice: &mut Dice) -> Kept {
        self.keep(self.registration(), None, dice)
    }

    /// C6, of a medium in the hand.
    pub fn keep_claim(&self, medium: Arc<Medium>, dice: &mut Dice) -> Kept {
        let operation = Operation::Claim(Claim {
            user_id: self.user_id(),
            medium_id: medium.claims.medium_id.clone(),
            epoch: medium.claims.epoch,
            card_id: Some(self.card_id()),
            device_id: Some(self.device_id),
            drive_id: None,
            pay: None,
            currency: None,
        });
        self.keep(operation, Some(medium), dice)
    }

    /// Seals a request anew.
    pub fn seal_kept(&self, authority: &Authority, kept: &Kept, dice: &mut Dice) -> Sealed {
        let payload = serde_json::to_vec(&kept.request).expect("has a JSON form");
        let (card_id, device_id) = (self.card_id().to_string(), self.device_id.to_string());
        let (card, device) = (self.card.signing_key(), self.device.signing_key());
        let mut proofs = vec![(card_id.as_str(), Signer::Key(&card)), (device_id.as_str(), Signer::Key(&device))];
        if let Some(medium) = &kept.medium {
            proofs.push((medium.claims.medium_id.as_str(), Signer::ClaimSecret(&medium.secret)));
        }
        let (kid, key) = &authority.sealing;
        let (envelope, reply) = envelope::seal(&payload, &proofs, kid, key, dice).expect("far below the limits");
        Sealed { exchange: kept.exchange(), card: self.card_id(), envelope, reply }
    }
}

impl Sealed {
    /// Opens what a gateway passed on, which the authority must have signed for this request.
    ///
    /// # Errors
    /// What does not fit.
    pub fn open(&self, authority: &Authority, answer: &str) -> Result<Answer, Failure> {
        let broken = |what: &dyn std::fmt::Display| Failure::Broken(format!("an answer that came through a gateway: {what}"));
        let signed = self.reply.open(answer).map_err(|error| broken(&error))?;
        let answer: Answer = jws::verify_compact(&signed, ANSWER_TYP, |kid| authority.keys.find(kid).and_then(|key| key.verifying_key()))
            .map_err(|error| broken(&error))?;
        if answer.request_id == self.exchange { Ok(answer) } else { Err(broken(&format!("it is for {}", answer.request_id))) }
    }
}
