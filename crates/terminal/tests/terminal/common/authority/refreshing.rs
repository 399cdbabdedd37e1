//! The part of the authority in memory that refreshes media: which secrets prove them, and the identity that it has for them (B7).

use super::*;
use counterfoil_format::refresh;
use counterfoil_terminal::IDENTITY_TYP;

/// What may have changed an identity on its way.
pub type Changed = fn(&mut Refresh, &mut IdentityArea);

impl PressedMedium {
    /// As it comes from the press.
    pub fn new(secret: Secret<32>, claims: IdentityClaims) -> Self {
        let titles = claims.titles.iter().map(|title| title.title.clone()).collect();
        Self { secret, rights: claims.rights.clone(), titles, retired: false, claims, later: vec![], seen: 1 }
    }

    /// Orders a refresh.
    pub fn refresh(&mut self, rights: Rights) {
        self.rights = rights;
        self.later.push(Secret::random(&mut SystemRandom));
    }

    fn target(&self) -> u32 {
        1 + self.later.len() as u32
    }

    pub fn secret_of(&self, epoch: u32) -> &Secret<32> {
        if epoch == 1 { &self.secret } else { &self.later[epoch as usize - 2] }
    }

    /// The epoch whose secret it was proven by, newest first.
    pub(super) fn proven(&self, id: &MediumId, opened: &General) -> Option<u32> {
        let good = |epoch: &u32| opened.verify(id.as_str(), Verifier::ClaimSecret(self.secret_of(*epoch))).is_ok();
        (1..=self.target()).rev().find(good)
    }
}

pub(super) fn named(operation: &Operation) -> Option<&MediumId> {
    match operation {
        Operation::Inspect(ask) => ask.medium_id.as_ref(),
        Operation::Claim(ask) => Some(&ask.medium_id),
        Operation::Refreshed(ask) => Some(&ask.medium_id),
        _ => None,
    }
}

impl State {
    /// Moves a medium on that proves itself under a later secret; an earlier one is an old copy's.
    pub(super) fn see(&mut self, operation: &Operation, opened: &General) -> Result<(), Refusal> {
        let Some((id, medium)) = named(operation).and_then(|id| Some((id, self.media.get_mut(id)?))) else { return Ok(()) };
        let Some(epoch) = medium.proven(id, opened) else { return Ok(()) };
        if epoch < medium.seen {
            return Err(Code::MediumSuperseded.into());
        }
        medium.seen = epoch;
        Ok(())
    }

    pub(super) fn refreshed(&mut self, ask: &Refreshed, opened: &General) -> Result<RefreshedResult, Refusal> {
        let medium = self.medium(&ask.medium_id, opened)?;
        assert_eq!(medium.proven(&ask.medium_id, opened), Some(ask.epoch));
        Ok(RefreshedResult { rights: medium.rights.clone() })
    }

    /// What there is for the medium that a request is proven by.
    pub(super) fn offer(&mut self, request: &Request, opened: &General, document: &AuthorityDocument) -> Option<Refresh> {
        let id = named(&request.operation)?;
        self.refreshable.push(request.refreshable);
        let medium = self.media.get(id).filter(|_| request.refreshable)?;
        let proven = medium.proven(id, opened).filter(|proven| *proven < medium.target())?;
        let epoch = medium.target();
        let claims = IdentityClaims { epoch, rights: medium.rights.clone(), ..medium.claims.clone() };
        let (kid, key) = self.signs.as_ref()?;
        let identity = sign_compact(IDENTITY_TYP, kid, &claims, key);
        let claim_secret = claim_secret(medium.secret_of(epoch));
        let mut area = IdentityArea { counterfoil: 1, identity, claim_secret, authority: document.clone() };
        let mut offered = Refresh { epoch, sealed: String::new() };
        if let Some(changed) = self.changed {
            changed(&mut offered, &mut area);
        }
        let bytes = serde_json::to_vec(&area).unwrap();
        let sealed = refresh::seal(medium.secret_of(proven), id.as_str(), offered.epoch, &bytes, &mut SystemRandom);
        Some(Refresh { sealed: if offered.sealed.is_empty() { sealed } else { offered.sealed }, ..offered })
    }
}

impl Authority {
    /// What was sealed to it, where a medium's proof in it is good.
    pub fn opened(&self, envelope: &serde_json::Value) -> Option<Request> {
        let envelope = Envelope::parse(&serde_json::to_vec(envelope).unwrap()).ok()?;
        let (opened, _) = envelope.open(&self.sealing).ok()?;
        let request: Request = parse_strict(&opened.payload).ok()?;
        let Operation::Present(present) = &request.operation else { return None };
        let id = present.medium_id.as_ref()?;
        self.state.lock().unwrap().media.get(id)?.proven(id, &opened)?;
        Some(request)
    }
}
