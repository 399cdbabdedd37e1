//! A small authority in memory for the terminal's own tests: the real rules of `core` over the real bytes of `format`, a map for a database.

pub mod leases;
pub mod refreshing;
pub mod repair;

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

pub mod saves;
mod sold;
mod updates;

pub use sold::{Contents, Licensed};

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

    fn register(&mut self, ask: &Register, opened: &General) -> Result<RegisterResult, Refusal> {
        let device = ask.device.as_ref().map(|device| &device.keys);
        let drive = ask.drive.as_ref().and_then(|drive| drive.keys.as_ref());
        let combination = Combination { card: ask.card.is_some(), device: device.is_some(), drive: ask.drive.is_some() };
        let (kind, keys) = match (&ask.card, device, drive) {
            (Some(keys), ..) => (HolderKind::Card, keys),
            (None, Some(keys), _) => (HolderKind::Device, keys),
            (None, None, Some(keys)) => (HolderKind::Drive, keys),
            _ => return Err(Code::RegistrationNotAllowed.into()),
        };
        let public = public(keys);
        let holder = HolderId::from_bytes(public.id());
        let name = match kind {
            HolderKind::Card => CardId::from(holder).to_string(),
            HolderKind::Device => ask.device.as_ref().unwrap().id.to_string(),
            HolderKind::Drive => ask.drive.as_ref().unwrap().id.to_string(),
        };
        let proven =
            |name: &str, key: &HolderVerifyingKey| opened.verify(name, Verifier::Key(key)).map_err(|_| Refusal::from(Code::ProofInvalid));
        proven(&name, &public.signing)?;
        if let Some(device) = &ask.device {
            proven(&device.id.to_string(), &self::public(&device.keys).signing)?;
        }
        let facts = match self.holders.get(&holder) {
            _ if self.dead.contains(&holder) => register::HolderFacts::Dead,
            Some((user, ..)) => register::HolderFacts::Registered(*user),
            None => register::HolderFacts::Unknown,
        };
        let mut fresh = [0; 16];
        SystemRandom.fill(&mut fresh);
        let decision = register::decide_holder(&self.policy, combination, &facts, ask.user_id, false, UserId::from_bytes(fresh))?;
        let (register::HolderDecision::Reserve(user) | register::HolderDecision::Continue(user)) = decision;
        let device_id = ask.device.as_ref().map(|device| device.id);
        let drive_id = ask.drive.as_ref().map(|drive| drive.id);
        let facts = register::EntryFacts {
            holder: matches!(decision, register::HolderDecision::Continue(_)).then_some(kind),
            established: matches!(decision, register::HolderDecision::Continue(_)),
            has_device: device_id.is_some_and(|id| self.devices.contains_key(&(user, id))),
            has_drive: drive_id.is_some_and(|id| self.drives.contains(&(user, id))),
            devices: self.devices.keys().filter(|(owner, _)| *owner == user).count() as u32,
            drives: self.drives.iter().filter(|(owner, _)| *owner == user).count() as u32,
            expected: device_id.is_some_and(|id| self.repairs.expected.contains(&(user, id))),
            exchanged: device_id.is_some_and(|id| self.repairs.exchanged.contains(&(user, id))),
            ..register::EntryFacts::default()
        };
        register::decide_entry(&self.policy, &facts, kind, device_id, drive_id, ask.user_id.is_some())?;
        self.holders.insert(holder, (user, kind, public));
        if let Some(device) = &ask.device {
            let secret = Secret::from_slice(&from_base64url(&device.secret).unwrap()).unwrap();
            self.secrets.push(secret.clone());
            self.devices.insert((user, device.id), (self::public(&device.keys).signing, secret));
        }
        self.drives.extend(drive_id.map(|id| (user, id)));
        let sealed = seal_box(&public.sealing, &["user ID", &name], user.to_string().as_bytes(), &mut SystemRandom).unwrap();
        let card_id = (kind == HolderKind::Card).then(|| holder.into());
        Ok(RegisterResult { holder: kind, user: serde_json::to_value(sealed).unwrap(), card_id, generation: self.generation(user) })
    }

    fn medium(&self, id: &MediumId, opened: &General) -> Result<&PressedMedium, Refusal> {
        let medium = self.media.get(id).ok_or(Code::MediumUnknown)?;
        medium.proven(id, opened).ok_or(Code::MediumUnknown)?;
        Ok(medium)
    }

    fn inspect(&mut self, ask: &Inspect, opened: &General) -> Result<InspectResult, Refusal> {
        let medium = match &ask.medium_id {
            None => None,
            Some(id) => {
                let medium = self.medium(id, opened)?;
                let title = |title: &TitleId| TitleOnOffer { title: title.clone(), name: "A title".into(), kind: Kind::App, newest: None };
                let titles = medium.titles.iter().map(title).collect();
                let left = medium.rights.copies - self.copies(id);
                Some(MediumVerdict {
                    titles,
                    rights: medium.rights.clone(),
                    copies_left: left,
                    yours: false,
                    paid_on_copy: false,
                    prices: vec![],
                })
            }
        };
        let user = ask.user_id.map(|_| UserVerdict { devices: vec![], titles: vec![] });
        Ok(InspectResult { medium, user, device: None })
    }

    fn copies(&self, medium: &MediumId) -> u32 {
        let mut claimants: Vec<claim::Claimant> = Vec::new();
        for grant in self.grants.iter().filter(|grant| grant.medium.as_ref() == Some(medium) && grant.state != confirm::GrantState::Revoked)
        {
            if !claimants.contains(&grant.claimant) {
                claimants.push(grant.claimant);
            }
        }
        claimants.len() as u32
    }

    /// The holder of an entry, once it and the device have signed.
    fn entry(&self, claimant: &claim::Claimant, opened: &General) -> Result<(HolderKind, HolderPublic), Refusal> {
        let found = self.holders.iter().find(|(_, (user, ..))| *user == claimant.user);
        let facts = found.map(|(holder, (user, kind, _))| {
            let device = claimant.device.and_then(|id| self.devices.get(&(*user, id)).map(|device| (id, device)));
            let proven = device.is_some_and(|(id, (key, _))| opened.verify(&id.to_string(), Verifier::Key(key)).is_ok());
            claim::EntryFacts {
                card: (*kind == HolderKind::Card).then(|| (*holder).into()),
                holder_dead: self.dead.contains(holder),
                has_devices: self.devices.keys().any(|(owner, _)| owner == user),
                device_registered: proven,
                has_drives: self.drives.iter().any(|(owner, _)| owner == user),
                drive_registered: claimant.drive.is_some_and(|id| self.drives.contains(&(*user, id))),
            }
        });
        claim::decide_entry(claimant, facts.as_ref())?;
        let (holder, (_, kind, public)) = found.unwrap();
        let name = match kind {
            HolderKind::Card => CardId::from(*holder).to_string(),
            HolderKind::Device => claimant.device.unwrap().to_string(),
            HolderKind::Drive => claimant.drive.unwrap().to_string(),
        };
        opened.verify(&name, Verifier::Key(&public.signing)).map_err(|_| Code::ProofInvalid)?;
        Ok((*kind, *public))
    }

    fn claim(&mut self, ask: &Claim, opened: &General) -> Result<ClaimResult, Refusal> {
        let claimant = claim::Claimant { user: ask.user_id, card: ask.card_id, device: ask.device_id, drive: ask.drive_id };
        let (kind, public) = self.entry(&claimant, opened)?;
        let medium = self.medium(&ask.medium_id, opened)?;
        let open = self
            .grants
            .iter()
            .filter(|grant| grant.medium.as_ref() == Some(&ask.medium_id) && grant.state == confirm::GrantState::Delivered);
        let facts = claim::MediumFacts {
            retired: medium.retired,
            rights: medium.rights.clone(),
            copies_claimed: self.copies(&ask.medium_id),
            unsettled: open.map(|grant| claim::OpenClaim { grants: vec![grant.document.grant_id], claimant: grant.claimant }).collect(),
        };
        match claim::decide(&claimant, &facts, NOW)? {
            claim::Decision::Again(_) => {
                let mine = self.grants.iter().filter(|grant| grant.medium.as_ref() == Some(&ask.medium_id) && grant.claimant == claimant);
                Ok(ClaimResult {
                    grants: mine.map(|grant| grant.document.clone()).collect(),
                    generation: self.generation(claimant.user),
                    charged: None,
                })
            }
            claim::Decision::Issue => {
                let titles = medium.titles.clone();
                let grants: Vec<_> = titles.iter().map(|title| self.issue(title, kind, &public, &claimant, Some(&ask.medium_id))).collect();
                Ok(ClaimResult { grants, generation: self.generation(claimant.user), charged: None })
            }
        }
    }

    fn issue(
        &mut self,
        title: &TitleId,
        holder: HolderKind,
        public: &HolderPublic,
        claimant: &claim::Claimant,
        medium: Option<&MediumId>,
    ) -> GrantDocument {
        let mut id = [0; 16];
        SystemRandom.fill(&mut id);
        let grant_id = GrantId::from_bytes(id);
        let library_key = Secret::random(&mut SystemRandom);
        self.secrets.push(library_key.clone());
        let device = claimant.device.map(|id| id.to_string()).unwrap_or_default();
        let secret = claimant.device.map(|id| self.devices[&(claimant.user, id)].1.clone());
        let grant = grant_id.to_string();
        let scope = GrantScope { title: title.as_str(), grant: &grant, device: &device };
        let content = &self.content[title];
        let keys = seal_grant(&public.sealing, secret.as_ref(), &scope, &library_key, Some(content), &mut SystemRandom).unwrap();
        let bound =
            HardwareBinding { device_id: claimant.device.map(|id| id.to_string()), drive_id: claimant.drive.map(|id| id.to_string()) };
        let binding = if bound.device_id.is_none() && bound.drive_id.is_none() {
            String::new()
        } else {
            seal_binding(&library_key, &bound, &mut SystemRandom)
        };
        let document = GrantDocument {
            grant_id,
            title: title.clone(),
            generation: 1,
            holder,
            with_device: secret.is_some(),
            keys: serde_json::to_value(keys).unwrap(),
            binding,
            issued_at: self.now(),
        };
        let state = confirm::GrantState::Delivered;
        self.grants.push(Granted { document: document.clone(), library: library_key, medium: medium.cloned(), claimant: *claimant, state });
        document
    }

    fn confirm(&mut self, ask: &Confirm, opened: &General) -> Result<ConfirmResult, Refusal> {
        if let Some(device) = ask.device_id {
            let (key, _) = self.devices.get(&(ask.user_id, device)).ok_or(Code::DeviceNotRegistered)?;
            opened.verify(&device.to_string(), Verifier::Key(key)).map_err(|_| Code::ProofInvalid)?;
        }
        let ended = |license: &Licensed| license.ended && license.grant.is_some_and(|grant| ask.grant_ids.contains(&grant));
        if self.licenses.iter().any(ended) {
            return Err(Code::LicenseEnded.into());
        }
        let facts: Vec<_> = self.grants.iter().map(grant_facts).collect();
        let settle = confirm::decide(&ask.grant_ids, ask.user_id, ask.device_id, &facts)?;
        for grant in self.grants.iter_mut().filter(|grant| settle.contains(&grant.document.grant_id)) {
            grant.state = confirm::GrantState::Settled;
        }
        // What was answered with keys is not answered again.
        self.answers
            .retain(|_, outcome| !matches!(outcome, Outcome::Result(value) if value.get("grants").or(value.get("grant")).is_some()));
        Ok(ConfirmResult { settled: ask.grant_ids.clone() })
    }

    fn heal(&mut self, ask: &Heal, opened: &General) -> Result<HealResult, Refusal> {
        let grant = self.grants.iter().find(|grant| grant.document.grant_id == ask.grant_id);
        let facts = grant.map(grant_facts);
        heal::decide(ask.grant_id, ask.user_id, ask.device_id, ask.chunks.len(), facts.as_ref())?;
        let grant = grant.unwrap();
        let (_, public) = self.entry(&grant.claimant, opened)?;
        let content = ContentKey::new(self.content[&grant.document.title].clone());
        let ids: Vec<ChunkId> = ask.chunks.iter().map(|id| ChunkId(from_base64url(id).unwrap().try_into().unwrap())).collect();
        let keys: Vec<u8> = content.keys_of(&ids).iter().flat_map(|key| *key.expose()).collect();
        let sealed = seal_box(&public.sealing, &["heal", &ask.grant_id.to_string()], &keys, &mut SystemRandom).unwrap();
        Ok(HealResult { keys: serde_json::to_value(sealed).unwrap() })
    }
}

fn grant_facts(grant: &Granted) -> confirm::GrantFacts {
    confirm::GrantFacts { grant: grant.document.grant_id, user: grant.claimant.user, device: grant.claimant.device, state: grant.state }
}

fn public(keys: &HolderKeys) -> HolderPublic {
    let sealing: SealingPublicKey = keys.seal.parse().unwrap();
    HolderPublic { signing: keys.sign.parse().unwrap(), sealing }
}

/// The way to it, which can lose requests and answers.
#[derive(Default)]
pub struct Faults {
    /// Requests with these numbers (from 0) never arrive.
    pub lose_requests: Vec<u64>,
    /// Requests with these numbers are carried out, and the answer is lost.
    pub lose_answers: Vec<u64>,
    /// Nothing arrives.
    pub offline: bool,
    /// Requests so far.
    pub sent: u64,
    /// Whoever stands in between can answer in the authority's place.
    pub unguarded: bool,
}

pub struct Link {
    pub authority: Arc<Authority>,
    pub faults: Arc<Mutex<Faults>>,
}

impl Transport for Link {
    fn document(&self) -> Result<AuthorityDocument, TransportError> {
        if self.faults.lock().unwrap().offline { Err(lost()) } else { Ok(self.authority.document_of()) }
    }

    fn exchange(&self, envelope: &[u8]) -> Result<String, TransportError> {
        let mut faults = self.faults.lock().unwrap();
        let number = faults.sent;
        faults.sent += 1;
        if faults.offline || faults.lose_requests.contains(&number) {
            return Err(lost());
        }
        let answer = self.authority.answer(envelope);
        if faults.lose_answers.contains(&number) { Err(lost()) } else { answer }
    }

    fn fetch(&self, object: &str, part: Part) -> Result<Box<dyn std::io::Read + Send>, TransportError> {
        if self.faults.lock().unwrap().offline {
            return Err(lost());
        }
        if let Some(bytes) = self.handed_in(object) {
            self.authority.contents.objects.lock().unwrap().entry(object.to_owned()).or_insert(bytes);
        }
        self.authority.contents.fetch(object, part)
    }

    fn upload(&self, path: &str, source: &dyn ReadAt, length: u64, told: &dyn Fn(u64)) -> counterfoil_terminal::Result<()> {
        self.put(path, source, length, told)
    }

    fn take_back(&self, path: &str) -> Result<(), TransportError> {
        self.give_up(path)
    }

    fn get(&self, path: &str) -> Result<Vec<u8>, TransportError> {
        let missing = || TransportError::Status { url: "memory:".into(), status: 404, detail: "not found".into() };
        let path: Vec<&str> = path.strip_prefix("/v1/store/titles/").ok_or_else(missing)?.split('/').collect();
        let state = self.authority.state.lock().unwrap();
        let (title, document) = state.on_sale.get(&path[0].parse().unwrap()).ok_or_else(missing)?;
        let found = match path[1..] {
            [] => serde_json::json!({ "releases": [{ "version": title.release, "channel": "stable" }] }),
            ["releases", version] if version == title.release.as_str() => {
                let objects = self.authority.contents.objects.lock().unwrap();
                let objects: Vec<_> =
                    objects.iter().map(|(name, bytes)| serde_json::json!({ "object": name, "length": bytes.len() })).collect();
                serde_json::json!({ "title": title.title, "name": title.name, "kind": title.kind, "version": title.release,
                                    "publisher": title.publisher, "document": document, "objects": objects })
            }
            _ => return Err(missing()),
        };
        Ok(serde_json::to_vec(&found).unwrap())
    }

    fn is_guarded(&self) -> bool {
        !self.faults.lock().unwrap().unguarded
    }
}

fn lost() -> TransportError {
    TransportError::Unreachable { url: "memory:".into(), reason: "lost on the way".into() }
}

/// What a medium proves itself with, as it stands in its identity area.
pub fn claim_secret(secret: &Secret<32>) -> String {
    to_base64url(secret.expose())
}
