//! The authority's keys (`security.md`, "Keys"): root key, key-encryption keys per purpose and version, signing and sealing keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use counterfoil_core::Timestamp;
use counterfoil_core::wire::{AuthorityKeys, KEYS_TYP, KeysStatement, SealingKeyDocument};
use counterfoil_format::hpke::SealingKey;
use counterfoil_format::jws;
use counterfoil_format::jwt::{KeyList, ListedKey, MAX_KEYS};
use counterfoil_format::secret::{Random, Secret, SystemRandom};
use counterfoil_format::sign::{SigningKey, VerifyingKey};
use counterfoil_format::wrap::{self, Kek, RowId, WrapError};

use crate::db::{Db, DbError, Tx};
use crate::store::key;

pub use place::{Place, Purpose};
pub use root::{RootKey, RootSource};

mod place;
pub mod root;
pub mod rotate;
mod stated;

/// How long after its retirement a sealing key still opens envelopes: terminals learn of a new one within that time.
pub const SEALING_GRACE: i64 = 7 * Timestamp::DAY;

const DECOY: Place<'static> = Place::ClaimKey { batch: "decoy" };

/// The keys in memory. Cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    root: RootSource,
    ring: RwLock<Arc<Ring>>,
    refreshed: Mutex<Timestamp>,
}

/// One state of all keys.
struct Ring {
    keks: BTreeMap<(&'static str, u32), Kek>,
    signing: Vec<Signing>,
    sealing: Vec<Sealing>,
    /// How they followed one another; the last is what they are now.
    chain: Vec<(u64, String)>,
    decoy: Option<Vec<u8>>,
}

/// A key that the authority signs with.
pub struct Signing {
    /// Its name in tokens.
    pub kid: String,
    key: SigningKey,
    retired_at: Option<Timestamp>,
}

/// A key that envelopes are sealed to.
struct Sealing {
    kid: String,
    public: String,
    key: Arc<SealingKey>,
    retired_at: Option<Timestamp>,
}

/// Why a key could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The root key itself.
    #[error("root key: {0}")]
    Root(String),
    /// The root key is another one than the keys in the database were wrapped under.
    #[error("the root key does not open the keys in this database: the two do not belong together")]
    WrongRoot,
    /// The database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A wrapped secret that does not open where it lies.
    #[error("{place}: {error}")]
    Wrapped {
        /// Table and column.
        place: String,
        /// Why.
        error: WrapError,
    },
    /// No key where there must be one: `init` was not finished.
    #[error("there is no {0} key; was `counterfoild init` run to its end?")]
    Missing(&'static str),
}

impl Keys {
    /// Loads all keys.
    ///
    /// # Errors
    /// Where the root key cannot be read, does not fit, or a key is missing.
    pub async fn load(db: &Db, root: RootSource) -> Result<Self, KeysError> {
        let ring = load(db, &root).await?;
        Ok(Self(Arc::new(Shared { root, ring: RwLock::new(Arc::new(ring)), refreshed: Mutex::new(Timestamp(i64::MIN)) })))
    }

    /// No keys at all, for a process that shall hold nothing: whatever asks for one is told that it is missing.
    pub fn absent() -> Self {
        let ring = Ring { keks: BTreeMap::new(), signing: vec![], sealing: vec![], chain: vec![], decoy: None };
        let root = RootSource::Given(zeroize::Zeroizing::default());
        Self(Arc::new(Shared { root, ring: RwLock::new(Arc::new(ring)), refreshed: Mutex::new(Timestamp(i64::MIN)) }))
    }

    /// Loads them again, so that a rotation elsewhere is noticed.
    ///
    /// # Errors
    /// As for `load`; the keys stay as they were.
    pub async fn refresh(&self, db: &Db) -> Result<(), KeysError> {
        let ring = load(db, &self.0.root).await?;
        *self.0.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        Ok(())
    }

    /// As [`Self::refresh`], but at most once a second: strangers can ask for keys that do not exist. Says whether it was done.
    async fn refresh_rarely(&self, db: &Db, now: Timestamp) -> Result<bool, KeysError> {
        {
            let mut last = self.0.refreshed.lock().unwrap_or_else(PoisonError::into_inner);
            if now.distance(*last) < 1000 {
                return Ok(false);
            }
            *last = now;
        }
        self.refresh(db).await.map(|()| true)
    }

    /// Wraps a secret for its place, under the newest key of the place's purpose.
    ///
    /// # Errors
    /// `Missing`.
    pub fn wrap(&self, place: &Place<'_>, secret: &[u8], random: &mut dyn Random) -> Result<Vec<u8>, KeysError> {
        let ring = self.ring();
        let kek = ring.newest(place.purpose())?;
        Ok(place.row(|row| wrap::wrap(kek, row, secret, random)))
    }

    /// Opens a wrapped secret of `N` bytes where it lies.
    ///
    /// # Errors
    /// `Wrapped`: it was moved or changed, or its key is not known (yet; see [`Self::open`]).
    pub fn unwrap<const N: usize>(&self, place: &Place<'_>, wrapped: &[u8]) -> Result<Secret<N>, KeysError> {
        let ring = self.ring();
        ring.unwrap(place, wrapped).map_err(|error| KeysError::Wrapped { place: place.to_string(), error })
    }

    /// As [`Self::unwrap`]; a key that was made elsewhere in the meantime is fetched.
    ///
    /// # Errors
    /// As for `unwrap`, and failures of the database.
    pub async fn open<const N: usize>(&self, db: &Db, place: &Place<'_>, wrapped: &[u8]) -> Result<Secret<N>, KeysError> {
        match self.unwrap(place, wrapped) {
            Err(KeysError::Wrapped { error: WrapError::KeyVersion, .. }) => {
                self.refresh(db).await?;
                self.unwrap(place, wrapped)
            }
            done => done,
        }
    }

    /// As [`Self::open`], for what anybody may hand in: `None` where it does not open, and keys are fetched at most once a second.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn open_rarely<const N: usize>(
        &self,
        db: &Db,
        place: &Place<'_>,
        wrapped: &[u8],
        now: Timestamp,
    ) -> Result<Option<Secret<N>>, KeysError> {
        match self.ring().unwrap(place, wrapped) {
            Err(WrapError::KeyVersion) if self.refresh_rarely(db, now).await? => Ok(self.ring().unwrap(place, wrapped).ok()),
            done => Ok(done.ok()),
        }
    }

    /// A claim key that nobody holds secrets under, opened as a real one is: so that a medium that does not exist takes as long.
    ///
    /// # Errors
    /// `Missing`.
    pub fn decoy(&self) -> Result<Secret<32>, KeysError> {
        let ring = self.ring();
        let wrapped = ring.decoy.as_ref().ok_or(KeysError::Missing("claim"))?;
        ring.unwrap(&DECOY, wrapped).map_err(|error| KeysError::Wrapped { place: DECOY.to_string(), error })
    }

    /// Signs a document with the current key, as compact JWS.
    ///
    /// # Errors
    /// `Missing`.
    pub fn sign<T: serde::Serialize + ?Sized>(&self, typ: &str, payload: &T, now: Timestamp) -> Result<String, KeysError> {
        self.with_signing_key(now, |kid, key| counterfoil_format::jws::sign_compact(typ, kid, payload, key))
    }

    /// Does something with the current signing key and its name.
    ///
    /// # Errors
    /// `Missing`.
    pub fn with_signing_key<R>(&self, now: Timestamp, then: impl FnOnce(&str, &SigningKey) -> R) -> Result<R, KeysError> {
        let ring = self.ring();
        // Of a key and its successor the old one, until it is retired: by then everybody has heard of the new one.
        let usable = ring.signing.iter().filter(|key| key.retired_at.is_none_or(|at| now < at));
        let current = usable.min_by_key(|key| key.retired_at.map_or(i64::MAX, |at| at.0)).ok_or(KeysError::Missing("signing"))?;
        Ok(then(&current.kid, &current.key))
    }

    /// The public half of a signing key, retired ones included.
    pub fn verifying_key(&self, kid: &str) -> Option<VerifyingKey> {
        self.ring().signing.iter().find(|key| key.kid == kid).map(|key| key.key.verifying_key())
    }

    /// The sealing key that an envelope names, while it is still opened. A key made elsewhere in the meantime is fetched.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn sealing_key(&self, db: &Db, kid: &str, now: Timestamp) -> Result<Option<Arc<SealingKey>>, KeysError> {
        let found = self.ring().sealing(kid, now);
        if found.is_none() && self.refresh_rarely(db, now).await? {
            return Ok(self.ring().sealing(kid, now));
        }
        Ok(found)
    }

    /// Whether there is no key of a kind at all.
    fn lacks(&self, kind: rotate::Kind) -> bool {
        match kind {
            rotate::Kind::Signing => self.ring().signing.is_empty(),
            rotate::Kind::Sealing => self.ring().sealing.is_empty(),
        }
    }

    /// Signing keys for others to verify by, retired ones included: as many as a list may have, the ones retired last.
    pub fn key_list(&self) -> KeyList {
        let listed = |key: &Signing| ListedKey::new(&key.kid, &key.key.verifying_key(), key.retired_at.map(Timestamp::seconds));
        KeyList { keys: self.ring().signing.iter().take(MAX_KEYS).map(listed).collect() }
    }

    /// Signs what the keys are from an epoch on with the key of that name; nothing where it is not known here.
    fn state(&self, authority: &str, stated: AuthorityKeys, now: Timestamp, kid: &str) -> Option<String> {
        let ring = self.ring();
        let key = &ring.signing.iter().find(|key| key.kid == kid)?.key;
        let statement = KeysStatement { authority: authority.to_owned(), issued_at: now, keys: stated };
        Some(jws::sign_compact(KEYS_TYP, kid, &statement, key))
    }

    /// As [`Self::document`], with the statements by which terminals follow from one key to the next.
    pub fn with_chain(&self, now: Timestamp) -> AuthorityKeys {
        let chain = self.ring().chain.iter().map(|(_, statement)| statement.clone()).collect();
        AuthorityKeys { chain, ..self.document(now) }
    }

    /// All public keys, as in the authority's document: current first, those that nothing is accepted under any more left out.
    pub fn document(&self, now: Timestamp) -> AuthorityKeys {
        let ring = self.ring();
        let open = ring.sealing.iter().filter(|key| key.opens(now));
        let sealing =
            open.map(|key| SealingKeyDocument { kid: key.kid.clone(), key: key.public.clone(), retired_at: key.retired_at }).collect();
        let jwks = serde_json::to_value(self.key_list()).expect("a list of strings has a JSON form");
        AuthorityKeys { jwks, sealing, epoch: ring.chain.last().map_or(0, |(epoch, _)| *epoch), chain: vec![] }
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ring {
    fn newest(&self, purpose: Purpose) -> Result<&Kek, KeysError> {
        let name = purpose.as_str();
        self.keks.range((name, 0)..=(name, u32::MAX)).next_back().map(|(_, kek)| kek).ok_or(KeysError::Missing(name))
    }

    fn unwrap<const N: usize>(&self, place: &Place<'_>, wrapped: &[u8]) -> Result<Secret<N>, WrapError> {
        let version = wrap::kek_version(wrapped)?;
        let kek = self.keks.get(&(place.purpose().as_str(), version)).ok_or(WrapError::KeyVersion)?;
        place.row(|row| wrap::unwrap_secret(kek, row, wrapped))
    }

    fn sealing(&self, kid: &str, now: Timestamp) -> Option<Arc<SealingKey>> {
        self.sealing.iter().find(|key| key.kid == kid && key.opens(now)).map(|key| Arc::clone(&key.key))
    }
}

impl Sealing {
    fn opens(&self, now: Timestamp) -> bool {
        self.retired_at.is_none_or(|at| now.0 < at.0.saturating_add(SEALING_GRACE))
    }
}

/// Reads the root key, then all keys of the database.
async fn load(db: &Db, source: &RootSource) -> Result<Ring, KeysError> {
    let read = async |tx: &mut Tx| Ok::<_, DbError>((key::keks(tx).await?, key::authority_keys(tx).await?, key::statements(tx).await?));
    let (keks, authority, chain) = db.read("keys", read).await?;
    let version = keks.first().map(|row| wrap::kek_version(&row.wrapped)).transpose().map_err(|_| KeysError::WrongRoot)?;
    let root = source.read(version)?;
    let mut ring = Ring { keks: unwrap_keks(&root, &keks)?, signing: vec![], sealing: vec![], chain, decoy: None };
    ring.decoy = match ring.newest(Purpose::Claim) {
        Ok(kek) => Some(DECOY.row(|row| wrap::wrap(kek, row, Secret::<32>::random(&mut SystemRandom).expose(), &mut SystemRandom))),
        Err(_) => None,
    };
    for row in authority {
        let place = Place::AuthorityKey { kid: &row.kid };
        let seed = ring.unwrap(&place, &row.wrapped).map_err(|error| KeysError::Wrapped { place: place.to_string(), error })?;
        match row.purpose.as_str() {
            "signing" => ring.signing.push(Signing { key: SigningKey::from_seed(&seed), retired_at: row.retired_at, kid: row.kid }),
            _ => ring.sealing.push(sealing(&row, &seed)),
        }
    }
    // Current first: a key that is not retired, then the one retired last.
    ring.signing.sort_by_key(|key| std::cmp::Reverse(key.retired_at.map_or(i64::MAX, |at| at.0)));
    ring.sealing.sort_by_key(|key| std::cmp::Reverse(key.retired_at.map_or(i64::MAX, |at| at.0)));
    Ok(ring)
}

fn sealing(row: &key::AuthorityKeyRow, seed: &Secret<32>) -> Sealing {
    use counterfoil_format::hpke::DiffieHellman as _;
    let key = SealingKey::from_seed(seed);
    Sealing { kid: row.kid.clone(), public: key.public_key().to_string(), key: Arc::new(key), retired_at: row.retired_at }
}

fn unwrap_keks(root: &RootKey, rows: &[key::KekRow]) -> Result<BTreeMap<(&'static str, u32), Kek>, KeysError> {
    let mut keks = BTreeMap::new();
    for row in rows {
        // A purpose that this version does not know is one of a later version.
        let Some(purpose) = Purpose::parse(&row.purpose) else { continue };
        let key = root.unwrap(row).map_err(|_| KeysError::WrongRoot)?;
        keks.insert((purpose.as_str(), row.version), Kek { purpose: purpose.as_str().to_owned(), version: row.version, key });
    }
    Ok(keks)
}

/// Where a key-encryption key lies.
fn kek_row<R>(purpose: &str, version: u32, then: impl FnOnce(&RowId<'_>) -> R) -> R {
    let text = version.to_string();
    then(&RowId { table: "key_encryption_key", key: &[purpose, &text], column: "wrapped", version })
}
