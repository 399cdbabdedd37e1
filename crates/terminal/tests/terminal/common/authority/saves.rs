//! What users hand in, at the authority in memory: the real rules, a map for a database (A4).

use super::*;
use counterfoil_core::rules::upload::{self, Allowed, Newest, Slots};
use counterfoil_format::container::{SaveKey, SaveKeyScope};
use counterfoil_format::content::ReadAt;

/// Bytes of one request.
const SEGMENT: usize = 4096;

/// What was handed in.
#[derive(Clone, Default)]
pub struct Uploads {
    /// Who has no more than this, or nothing.
    pub allowed: Option<Allowed>,
    keys: HashMap<(UserId, TitleId), Secret<32>>,
    /// By path.
    pub open: HashMap<String, Open>,
    pub versions: Vec<Version>,
    /// The highest number that a slot ever had.
    highest: HashMap<(UserId, TitleId, String), u32>,
    ever: u64,
}

/// What waits for its bytes.
#[derive(Clone)]
pub struct Open {
    ask: Upload,
    version: u32,
    received: Vec<u8>,
    complete: bool,
}

/// What is complete.
#[derive(Clone)]
pub struct Version {
    pub user: UserId,
    pub title: TitleId,
    pub item: UploadedVersion,
    pub bytes: Vec<u8>,
}

impl State {
    pub(super) fn upload(&mut self, ask: &Upload, opened: &General) -> Result<UploadResult, Refusal> {
        self.device_signed(ask.user_id, ask.device_id, opened)?;
        let wanted = upload::Wanted { slot: &ask.slot, parent: ask.parent, length: ask.length, note: ask.note.as_deref() };
        let version = upload::begin(wanted, self.uploads.allowed, &self.slots(ask))?;
        self.uploads.ever += 1;
        let path = format!("/v1/uploads/{}", self.uploads.ever);
        self.uploads.open.insert(path.clone(), Open { ask: ask.clone(), version, received: vec![], complete: false });
        let mut id = [0; 16];
        SystemRandom.fill(&mut id);
        Ok(UploadResult { upload_id: UploadId::from_bytes(id), path, version, expires_at: Timestamp(NOW.0 + upload::WAITS) })
    }

    pub(super) fn uploads(&mut self, ask: &counterfoil_core::wire::Uploads, opened: &General) -> Result<UploadsResult, Refusal> {
        self.device_signed(ask.user_id, ask.device_id, opened)?;
        let gone = |version: &Version| {
            let named = ask.remove.iter().any(|gone| gone.slot == version.item.slot && gone.version == version.item.version);
            version.user == ask.user_id && version.title == ask.title && named
        };
        if self.uploads.versions.iter().filter(|version| gone(version)).count() < ask.remove.len() {
            return Err(Code::UploadUnknown.into());
        }
        self.uploads.versions.retain(|version| !gone(version));
        let fresh = || Secret::random(&mut SystemRandom);
        let key = self.uploads.keys.entry((ask.user_id, ask.title.clone())).or_insert_with(fresh).clone();
        self.secrets.push(key.clone());
        let (device_key, secret) = self.devices[&(ask.user_id, ask.device_id)].clone();
        let holder = self
            .holders
            .values()
            .find(|(user, kind, public)| *user == ask.user_id && (*kind == HolderKind::Card || public.signing == device_key));
        let (user, device) = (ask.user_id.to_string(), ask.device_id.to_string());
        let scope = SaveKeyScope { user: &user, title: ask.title.as_str(), device: &device };
        let sealed = SaveKey::new(key).seal(&holder.unwrap().2.sealing, &secret, &scope, &mut SystemRandom).unwrap();
        let mine = self.uploads.versions.iter().filter(|version| version.user == ask.user_id && version.title == ask.title);
        Ok(UploadsResult {
            items: mine.map(|version| version.item.clone()).collect(),
            used: self.used(ask.user_id, &ask.title),
            quota: self.uploads.allowed.map_or(0, |allowed| allowed.bytes),
            readable: self.uploads.allowed.is_some_and(|allowed| allowed.readable),
            keys: serde_json::to_value(sealed).unwrap(),
        })
    }

    fn used(&self, user: UserId, title: &TitleId) -> u64 {
        let held = self.uploads.versions.iter().filter(|version| version.user == user && version.title == *title);
        let open = self.uploads.open.values().filter(|open| !open.complete && open.ask.user_id == user && open.ask.title == *title);
        held.map(|version| version.item.length).sum::<u64>() + open.map(|open| open.ask.length).sum::<u64>()
    }

    fn slots(&self, ask: &Upload) -> Slots {
        let mine = self.uploads.versions.iter();
        let mine = mine.filter(|version| version.user == ask.user_id && version.title == ask.title && version.item.slot == ask.slot);
        let newest = mine.max_by_key(|version| version.item.version).map(|version| Newest {
            version: version.item.version,
            device: version.item.device_id,
            at: version.item.at,
        });
        let highest = self.uploads.highest.get(&(ask.user_id, ask.title.clone(), ask.slot.clone())).copied().unwrap_or(0);
        Slots { newest, highest, others: 0, used: self.used(ask.user_id, &ask.title) }
    }

    fn patch(&mut self, path: &str, at: u64, bytes: &[u8]) -> Result<(), TransportError> {
        let open = self.uploads.open.get_mut(path).ok_or_else(over)?;
        assert_eq!(open.received.len() as u64, at, "what is sent belongs where it is");
        open.received.extend_from_slice(bytes);
        if open.received.len() as u64 == open.ask.length { self.complete(path) } else { Ok(()) }
    }

    fn complete(&mut self, path: &str) -> Result<(), TransportError> {
        let open = self.uploads.open[path].clone();
        assert_eq!(blake3::hash(&open.received).to_hex().as_str(), open.ask.object, "these are the bytes that were announced");
        if let Err(refusal) = upload::complete(open.version, &self.slots(&open.ask)) {
            self.uploads.open.remove(path);
            return Err(TransportError::Refused(refusal));
        }
        let Upload { user_id, title, slot, device_id, length, object, note, .. } = open.ask;
        self.uploads.highest.insert((user_id, title.clone(), slot.clone()), open.version);
        let item = UploadedVersion { slot, version: open.version, length, object, device_id, device: None, note, at: self.now() };
        self.uploads.versions.push(Version { user: user_id, title, item, bytes: open.received });
        self.uploads.open.get_mut(path).unwrap().complete = true;
        Ok(())
    }
}

fn over() -> TransportError {
    TransportError::Status { url: "memory:".into(), status: 410, detail: "it is over".into() }
}

impl Link {
    /// One message, which may be lost with its effect or without.
    fn step<T>(&self, act: impl FnOnce(&mut State) -> Result<T, TransportError>) -> Result<T, TransportError> {
        let mut faults = self.faults.lock().unwrap();
        let number = faults.sent;
        faults.sent += 1;
        if faults.offline || faults.lose_requests.contains(&number) {
            return Err(lost());
        }
        let answer = act(&mut self.authority.state.lock().unwrap());
        if faults.lose_answers.contains(&number) { Err(lost()) } else { answer }
    }

    pub(super) fn put(&self, path: &str, source: &dyn ReadAt, length: u64, told: &dyn Fn(u64)) -> counterfoil_terminal::Result<()> {
        let head = |state: &mut State| Ok(state.uploads.open.get(path).ok_or_else(over)?.received.len() as u64);
        let mut at = self.step(head)?;
        while at < length {
            let mut bytes = vec![0; SEGMENT.min((length - at) as usize)];
            source.read_exact_at(&mut bytes, at).map_err(counterfoil_terminal::io::IoFailure::at("read", std::path::Path::new("it")))?;
            self.step(|state| state.patch(path, at, &bytes))?;
            at += bytes.len() as u64;
            told(at);
        }
        Ok(())
    }

    pub(super) fn give_up(&self, path: &str) -> Result<(), TransportError> {
        self.step(|state| state.uploads.open.remove(path).map(drop).ok_or_else(over))
    }

    /// What was handed in is fetched as contents are.
    pub(super) fn handed_in(&self, object: &str) -> Option<Vec<u8>> {
        let state = self.authority.state.lock().unwrap();
        state.uploads.versions.iter().find(|version| version.item.object == object).map(|version| version.bytes.clone())
    }
}

impl Uploads {
    /// The one user's key of a title.
    pub fn key_of(&self, title: &TitleId) -> (UserId, Secret<32>) {
        let ((user, _), key) = self.keys.iter().find(|((_, of), _)| of == title).unwrap();
        (*user, key.clone())
    }

    /// A version that nobody has handed in.
    pub fn forge(&mut self, user: UserId, title: &TitleId, bytes: Vec<u8>) {
        let object = blake3::hash(&bytes).to_hex().to_string();
        let slot = "main".to_owned();
        let item = UploadedVersion {
            slot,
            version: 99,
            length: bytes.len() as u64,
            object,
            device_id: DeviceId::from_bytes([1; 16]),
            device: None,
            note: None,
            at: NOW,
        };
        self.versions.push(Version { user, title: title.clone(), item, bytes });
    }
}
