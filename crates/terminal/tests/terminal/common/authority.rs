//! A small authority in memory for the terminal's own tests: the real rules of `core` over the real bytes of `format`, a map for a database.

mod claims;
mod entries;
pub mod leases;
mod link;
pub mod refreshing;
pub mod repair;
pub mod saves;
mod sold;
mod updates;

use counterfoil_core::rules::register::Combination;
use counterfoil_core::rules::{claim, confirm, freshness, heal, register};
use counterfoil_core::wire::*;
use counterfoil_core::*;
use counterfoil_format::content::{ChunkId, ContentKey, ReadAt};
use counterfoil_format::encoding::{from_base64url, parse_strict, to_base64url};
use counterfoil_format::envelope::{ANSWER_TYP, Envelope};
use counterfoil_format::grant::{GrantScope, HardwareBinding, seal_binding, seal_box, seal_grant};
use counterfoil_format::holder::HolderPublic;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey, SealingPublicKey};
use counterfoil_format::jws::{General, Verifier, sign_compact};
use counterfoil_format::jwt::{KeyList, ListedKey};
use counterfoil_format::secret::{Random as _, Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use counterfoil_format::signer::HolderVerifyingKey;
use counterfoil_terminal::transport::{Part, Transport, TransportError};
use std::collections::HashMap;
use std::marker::Send;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

pub use link::{Faults, Link};
pub use sold::{Contents, Licensed};

use entries::public;
use link::lost;

pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// Seed of the first signing key.
const FIRST: [u8; 32] = [0xA1; 32];

pub struct Authority {
    /// The contents servers.
    pub contents: Contents,
    pub signing: SigningKey,
    sealing: SealingKey,
    /// What took the place of the first keys, after [`rotate`](Self::rotate).
    rotated: Mutex<Option<Rotated>>,
    pub state: Mutex<State>,
    /// Whether it is from before answers were sealed.
    pub answers_plain: AtomicBool,
}

/// Keys that took the place of others.
#[derive(Clone, Copy)]
struct Rotated {
    number: u8,
    /// Whether the first signing key is still listed.
    listed: bool,
    /// Whether the first signing key vouches for it.
    stated: bool,
}

impl Rotated {
    fn signing(self) -> SigningKey {
        SigningKey::from_seed(&Secret::new([self.number; 32]))
    }

    fn sealing(self) -> SealingKey {
        SealingKey::from_seed(&Secret::new([self.number + 1; 32]))
    }
}

#[derive(Clone, Default)]
pub struct State {
    pub policy: register::Policy,
    pub media: HashMap<MediumId, PressedMedium>,
    pub content: HashMap<TitleId, Secret<32>>,
    holders: HashMap<HolderId, (UserId, HolderKind, HolderPublic)>,
    devices: HashMap<(UserId, DeviceId), (HolderVerifyingKey, Secret<32>)>,
    drives: Vec<(UserId, DriveId)>,
    pub dead: Vec<HolderId>,
    grants: Vec<Granted>,
    /// What is sold: by title, the newest release as it stands on a medium, and its document.
    pub on_sale: HashMap<TitleId, (TitleOnMedium, String)>,
    /// How long licenses are good; for good where nothing is said.
    pub lease: Option<leases::Lease>,
    /// The authority's clock, where it has moved on since [`NOW`].
    pub now: Option<Timestamp>,
    /// Whether licenses allow control programs.
    pub control_program: bool,
    pub licenses: Vec<Licensed>,
    /// Releases that there are keys for, each with its document.
    pub released: Vec<(TitleOnMedium, String)>,
    /// What whoever holds a release is offered.
    pub plans: HashMap<(TitleId, ReleaseVersion), (ReleaseOnOffer, Vec<Way>)>,
    /// What a release consists of that media are to be brought to.
    pub carried: HashMap<TitleId, ContentOnOffer>,
    /// What is handed over with a plan: the publisher's feed, and the word on it.
    pub feeds: HashMap<TitleId, (Option<String>, Option<String>)>,
    /// What was reported last.
    pub reported: Vec<Status>,
    /// Whether whoever reported knows the way by deltas.
    pub knows_deltas: bool,
    answers: HashMap<RequestId, Outcome>,
    /// Whether media could be written, of every request that one has proven.
    pub refreshable: Vec<bool>,
    /// What happens to refreshed identities on their way.
    pub changed: Option<refreshing::Changed>,
    /// What licenses are signed with.
    signs: Option<(&'static str, Arc<SigningKey>)>,
    /// What users have handed in.
    pub uploads: saves::Uploads,
    /// What was exchanged and asked for in entries.
    pub repairs: repair::Repairs,
    /// Every request that was carried out, by name; repeats are not.
    pub effects: Vec<&'static str>,
    /// Every library key that was ever made, and every device secret: what the canary search looks for.
    pub secrets: Vec<Secret<32>>,
}

#[derive(Clone)]
pub struct PressedMedium {
    pub secret: Secret<32>,
    pub rights: Rights,
    pub titles: Vec<TitleId>,
    pub retired: bool,
    /// What it says of itself.
    pub claims: IdentityClaims,
    /// Claim secrets of the epochs after the first.
    pub later: Vec<Secret<32>>,
    /// The latest epoch that it was proven in.
    pub seen: u32,
}

#[derive(Clone)]
struct Granted {
    document: GrantDocument,
    library: Secret<32>,
    /// None where it came from a license.
    medium: Option<MediumId>,
    claimant: claim::Claimant,
    state: confirm::GrantState,
}

/// What keys are from now on, as whoever has the first key says it.
pub fn stated_by(keys: AuthorityKeys, authority: &str, key: &SigningKey) -> String {
    sign_compact(KEYS_TYP, "sig-1", &KeysStatement { authority: authority.to_owned(), issued_at: NOW, keys }, key)
}

impl Authority {
    pub fn new() -> Arc<Self> {
        let sealing = SealingKey::from_seed(&Secret::new([0xA2; 32]));
        let signing = SigningKey::from_seed(&Secret::new(FIRST));
        let contents = Contents::default();
        Arc::new(Self {
            contents,
            signing,
            sealing,
            rotated: Mutex::default(),
            state: Mutex::default(),
            answers_plain: AtomicBool::default(),
        })
    }

    /// New keys from now on, and the first ones used no more; still `listed`, as an authority's own are, or not.
    pub fn rotate(&self, listed: bool) {
        *self.rotated.lock().unwrap() = Some(Rotated { number: 0xC1, listed, stated: false });
    }

    /// The same, as an authority does it that has the keys before vouch for the new ones.
    pub fn rotate_stated(&self, listed: bool) {
        *self.rotated.lock().unwrap() = Some(Rotated { number: 0xC1, listed, stated: true });
    }

    /// What it signs with now.
    pub fn signing_now(&self) -> (&'static str, SigningKey) {
        match *self.rotated.lock().unwrap() {
            Some(rotated) => ("sig-2", rotated.signing()),
            None => ("sig-1", SigningKey::from_seed(&Secret::new(FIRST))),
        }
    }

    pub fn document_of(&self) -> AuthorityDocument {
        let rotated = *self.rotated.lock().unwrap();
        let first = ListedKey::new("sig-1", &self.signing.verifying_key(), rotated.map(|_| NOW.seconds() - 1));
        let second = rotated.map(|rotated| ListedKey::new("sig-2", &rotated.signing().verifying_key(), None));
        let first = Some(first).filter(|_| rotated.is_none_or(|rotated| rotated.listed));
        let jwks = KeyList { keys: second.into_iter().chain(first).collect() };
        let (seal_kid, sealing) = match rotated {
            Some(rotated) => ("seal-2", rotated.sealing().public_key().to_string()),
            None => ("seal-1", self.sealing.public_key().to_string()),
        };
        let sealing = vec![SealingKeyDocument { kid: seal_kid.into(), key: sealing, retired_at: None }];
        let mut keys = AuthorityKeys { jwks: serde_json::to_value(jwks).unwrap(), sealing, epoch: 0, chain: vec![] };
        if let Some(rotated) = rotated.filter(|rotated| rotated.stated) {
            let list = KeyList { keys: vec![ListedKey::new("sig-2", &rotated.signing().verifying_key(), None)] };
            keys.epoch = 1;
            let stated = AuthorityKeys { jwks: serde_json::to_value(list).unwrap(), ..keys.clone() };
            keys.chain = vec![stated_by(stated, "test-authority", &self.signing)];
        }
        let urls = vec!["memory:".into()];
        AuthorityDocument { name: "test-authority".into(), urls, license_urls: vec![], contents_urls: vec![], keys }
    }

    /// What is asked, as it says to a gateway which asks what is charged for.
    pub fn asked(&self, envelope: &[u8]) -> Option<Request> {
        let envelope = Envelope::parse(envelope).ok()?;
        let rotated = self.rotated.lock().unwrap().map(Rotated::sealing);
        let (opened, _) = envelope.open(rotated.as_ref().unwrap_or(&self.sealing)).ok()?;
        parse_strict(&opened.payload).ok()
    }

    pub fn answer(&self, envelope: &[u8]) -> Result<String, TransportError> {
        let refuse = |code: Code| TransportError::Refused(code.into());
        let envelope = Envelope::parse(envelope).map_err(|_| refuse(Code::EnvelopeInvalid))?;
        let rotated = self.rotated.lock().unwrap().map(Rotated::sealing);
        let (opened, reply) = envelope.open(rotated.as_ref().unwrap_or(&self.sealing)).map_err(|_| refuse(Code::EnvelopeInvalid))?;
        let request: Request = parse_strict(&opened.payload).map_err(|_| refuse(Code::EnvelopeInvalid))?;
        let mut state = self.state.lock().unwrap();
        let now = state.now();
        let outcome = match state.answers.get(&request.request_id) {
            Some(outcome) => outcome.clone(),
            None => {
                let (kid, key) = self.signing_now();
                state.signs = Some((kid, Arc::new(key)));
                let decided = freshness::decide(request.issued_at, now).and_then(|()| {
                    state.see(&request.operation, &opened)?;
                    state.carry_out(&request.operation, &opened)
                });
                let outcome = decided.map_or_else(Outcome::Refusal, Outcome::Result);
                if matches!(outcome, Outcome::Result(_)) {
                    state.effects.push(request.operation.name());
                }
                state.answers.insert(request.request_id, outcome.clone());
                outcome
            }
        };
        let refresh = state.offer(&request, &opened, &self.document_of());
        let answer = Answer { request_id: request.request_id, server_time: now, refresh, outcome };
        let (kid, key) = self.signing_now();
        let signed = sign_compact(ANSWER_TYP, kid, &answer, &key);
        let sealed = request.seal_answer && !self.answers_plain.load(Ordering::SeqCst);
        Ok(if sealed { reply.seal(&signed, &mut SystemRandom) } else { signed })
    }
}

impl State {
    fn carry_out(&mut self, operation: &Operation, opened: &General) -> Result<serde_json::Value, Refusal> {
        match operation {
            Operation::Register(ask) => self.register(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Inspect(ask) => self.inspect(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Claim(ask) => self.claim(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Confirm(ask) => self.confirm(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Heal(ask) => self.heal(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::License(ask) => self.license(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Redeem(ask) => self.redeem(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Renew(ask) => self.renew(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Report(ask) => self.report(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Refreshed(ask) => self.refreshed(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Update(ask) => self.update(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Upload(ask) => self.upload(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Uploads(ask) => self.uploads(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::RecoveryCode(ask) => self.recovery_code(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Reissue(ask) => self.reissue(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            Operation::Collect(ask) => self.collect(ask, opened).map(|result| serde_json::to_value(result).unwrap()),
            // What else is bought and moved is tested with the authority itself.
            other => Err(Refusal::with(Code::EnvelopeInvalid, other.name())),
        }
    }
}

/// What a medium proves itself with, as it stands in its identity area.
pub fn claim_secret(secret: &Secret<32>) -> String {
    to_base64url(secret.expose())
}
