//! A card whose keys are in a PKCS#11 token: one pair of P-256 keys that signs, one that does the Diffie-Hellman.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use counterfoil_format::holder::HolderPublic;
use counterfoil_format::hpke::{DiffieHellman, HpkeError, SealingPublicKey};
use counterfoil_format::secret::{Random, Secret, SystemRandom};
use counterfoil_format::signer::{Ecdsa, HolderVerifyingKey, SignError};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::pin::Pins;
use super::token::{Hardware, Means, TokenError};
use crate::home::Home;
use crate::terminal::absolute;

/// The object identifier of P-256 in DER (RFC 5480 §2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// A module may be initialized once in a process, whoever uses it.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// Which token, and which of its keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The driver.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Its serial number.
    pub serial: String,
    /// `CKA_ID` of the pair that signs, in hexadecimal digits.
    pub signing_id: String,
    /// `CKA_ID` of the other pair.
    pub sealing_id: String,
}

impl Place {
    fn words(&self) -> String {
        words(&self.token)
    }
}

fn words(label: &str) -> String {
    format!("the PKCS#11 token `{label}`")
}

/// A token that is plugged in and logged in to.
pub(crate) struct Token {
    session: Mutex<Session>,
    signing: ObjectHandle,
    sealing: ObjectHandle,
    public: SealingPublicKey,
}

impl Hardware for Token {}

impl Token {
    /// Finds the token and both keys in it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn reach(place: &Place, public: &HolderPublic, means: &Means<'_>) -> Result<Self, TokenError> {
        let what = place.words();
        let pkcs11 = load(&trusted(means.home, &place.module)?)?;
        let (slot, _) = find(&pkcs11, &what, |label, serial| label == place.token && serial == place.serial)?;
        let session = login(&pkcs11, slot, &what, means.pins, false)?;
        let other = || TokenError::OtherKeys { what: what.clone() };
        let key = |id: &str, public: &[u8]| -> Result<ObjectHandle, TokenError> {
            let id = unhex(id).ok_or_else(other)?;
            let one =
                |class| session.find_objects(&[Attribute::Class(class), Attribute::Id(id.clone())]).map_err(|error| failed(&what, &error));
            let (private, its_public) = (one(ObjectClass::PRIVATE_KEY)?, one(ObjectClass::PUBLIC_KEY)?);
            let (Some(private), Some(its_public)) = (private.first(), its_public.first()) else { return Err(other()) };
            let found = point(&session, *its_public).map_err(|error| failed(&what, &error))?;
            if found.as_deref() == Some(public) { Ok(*private) } else { Err(other()) }
        };
        let signing = key(&place.signing_id, public.signing.as_bytes())?;
        let sealing = key(&place.sealing_id, public.sealing.as_bytes())?;
        Ok(Self { session: Mutex::new(session), signing, sealing, public: public.sealing })
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `Z`, as an object that may be read, is read, and is gone.
    fn derive(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let session = self.session();
        let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), peer));
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(false),
            Attribute::Sensitive(false),
            Attribute::Extractable(true),
            Attribute::ValueLen(32.into()),
        ];
        let derived = session.derive_key(&mechanism, self.sealing, &template)?;
        let value = session.get_attributes(derived, &[AttributeType::Value]);
        session.destroy_object(derived)?;
        match value?.pop() {
            Some(Attribute::Value(value)) => Ok(Zeroizing::new(value)),
            _ => Err(Error::InvalidValue),
        }
    }
}

impl Ecdsa for Token {
    fn sign_digest(&self, digest: &[u8; 32]) -> Result<[u8; 64], SignError> {
        let signature = self.session().sign(&Mechanism::Ecdsa, self.signing, digest).map_err(|error| SignError(error.to_string()))?;
        signature.try_into().map_err(|_| SignError("its signature is not of 64 bytes".to_owned()))
    }
}

impl DiffieHellman for Token {
    fn public_key(&self) -> &SealingPublicKey {
        &self.public
    }

    fn agree(&self, peer: &SealingPublicKey) -> Result<Secret<32>, HpkeError> {
        // Not every token looks: with points of another curve its key could be taken from it bit by bit.
        if peer.kem() != self.public.kem() || !peer.is_on_curve() {
            return Err(HpkeError::Key);
        }
        let shared = self.derive(peer.as_bytes()).map_err(|error| HpkeError::Holder(error.to_string()))?;
        Secret::from_slice(&shared).ok_or_else(|| HpkeError::Holder("its secret is not of 32 bytes".to_owned()))
    }
}

/// Makes both pairs in a token.
///
/// # Errors
/// [`TokenError`].
pub(crate) fn make(module: &Path, label: &str, means: &Means<'_>) -> Result<(HolderPublic, Place), TokenError> {
    // By its full name, as a card is used from everywhere; with its links, which survive an update of the driver.
    let (module, what) = (absolute(module), words(label));
    let pkcs11 = introduce(means.home, &module)?;
    let (slot, serial) = find(&pkcs11, &what, |found, _| found == label)?;
    let session = login(&pkcs11, slot, &what, means.pins, true)?;
    let first = pair(&session, &what, "counterfoil card, signs", Attribute::Sign(true), Attribute::Verify(true))?;
    let second = pair(&session, &what, "counterfoil card, opens", Attribute::Derive(true), Attribute::Derive(true));
    // One pair alone is no card, and is not left behind.
    let second = second.inspect_err(|_| discard(&session, first.handles))?;
    let (Pair { point: signing, id: signing_id, .. }, Pair { point: sealing, id: sealing_id, .. }) = (first, second);
    let unsuitable = |_| TokenError::Unsuitable { what: what.clone(), reason: "its public keys are none of P-256".to_owned() };
    let signing = HolderVerifyingKey::from_bytes(&signing).map_err(unsuitable)?;
    let sealing = SealingPublicKey::from_bytes(&sealing).map_err(unsuitable)?;
    let public = HolderPublic::new(signing, sealing).map_err(unsuitable)?;
    Ok((public, Place { module, token: label.to_owned(), serial, signing_id, sealing_id }))
}

/// A pair just made.
struct Pair {
    /// Its public half.
    point: Vec<u8>,
    /// What it is found by.
    id: String,
    handles: [ObjectHandle; 2],
}

fn discard(session: &Session, handles: [ObjectHandle; 2]) {
    // Keys that stay where they cannot be removed are of no card, and open nothing.
    handles.into_iter().for_each(|handle| drop(session.destroy_object(handle)));
}

fn pair(session: &Session, what: &str, label: &str, private_use: Attribute, public_use: Attribute) -> Result<Pair, TokenError> {
    let mut id = [0; 16];
    SystemRandom.fill(&mut id);
    let common = |class| {
        [
            Attribute::Class(class),
            Attribute::KeyType(KeyType::EC),
            Attribute::Token(true),
            Attribute::Id(id.to_vec()),
            Attribute::Label(label.into()),
        ]
    };
    let public =
        [&common(ObjectClass::PUBLIC_KEY)[..], &[Attribute::EcParams(P256.to_vec()), Attribute::Private(false), public_use]].concat();
    let secrecy = [Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false), private_use];
    let private = [&common(ObjectClass::PRIVATE_KEY)[..], &secrecy].concat();
    let unsuitable = |reason: String| TokenError::Unsuitable { what: what.to_owned(), reason };
    let (public, private) =
        session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(|error| unsuitable(error.to_string()))?;
    match kept_secret(session, private) {
        Ok(true) => {}
        kept => {
            discard(session, [private, public]);
            return Err(unsuitable(kept.err().map_or("it would let the key be exported".to_owned(), |error| error.to_string())));
        }
    }
    let point = point(session, public).map_err(|error| failed(what, &error))?;
    let point = point.ok_or_else(|| unsuitable("its public key cannot be read".to_owned()))?;
    Ok(Pair { point, id: hex(&id), handles: [private, public] })
}

/// Whether the token itself says that the key was made in it and can never leave.
fn kept_secret(session: &Session, key: ObjectHandle) -> Result<bool, Error> {
    use AttributeType::{AlwaysSensitive, Extractable, Local, NeverExtractable, Sensitive};
    let found = session.get_attributes(key, &[Sensitive, Extractable, AlwaysSensitive, NeverExtractable, Local])?;
    let demanded = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Local(true),
    ];
    Ok(demanded.iter().all(|attribute| found.contains(attribute)))
}

/// The uncompressed point of a public key: in DER as an octet string, or as some tokens have it bare.
fn point(session: &Session, public: ObjectHandle) -> Result<Option<Vec<u8>>, Error> {
    Ok(session.get_attributes(public, &[AttributeType::EcPoint])?.into_iter().find_map(|attribute| match attribute {
        Attribute::EcPoint(point) => match &point[..] {
            [4, 65, point @ ..] if point.len() == 65 => Some(point.to_vec()),
            bare if bare.len() == 65 => Some(bare.to_vec()),
            _ => None,
        },
        _ => None,
    }))
}

/// Loads a module that the person has named, and remembers that where the system does not vouch for it.
///
/// # Errors
/// [`TokenError::Module`].
pub(crate) fn introduce(home: &Home, module: &Path) -> Result<Pkcs11, TokenError> {
    // By its full name, as a card's file has it.
    let module = absolute(module);
    let real = real(&module)?;
    let loaded = load(&real)?;
    if !is_the_systems(&real) {
        let remembered = home.remember(|profile| {
            if !profile.modules.contains(&module) {
                profile.modules.push(module.clone());
            }
        });
        remembered.map_err(|error| TokenError::Module { module: module.clone(), reason: error.to_string() })?;
    }
    Ok(loaded)
}

/// Where the module lies that a card's file names: to load it is to run it, so the file's word is not enough. The system's administrator vouches
/// for it, or the person has named it before.
fn trusted(home: &Home, module: &Path) -> Result<PathBuf, TokenError> {
    let real = real(module)?;
    if is_the_systems(&real) {
        return Ok(real);
    }
    let profile = home.profile().map_err(|error| TokenError::Module { module: module.to_owned(), reason: error.to_string() })?;
    match profile.modules.iter().any(|named| named == module) {
        true => Ok(real),
        false => Err(TokenError::ModuleUntrusted { module: module.to_owned() }),
    }
}

/// Links followed, so that what is looked at is what is loaded.
fn real(module: &Path) -> Result<PathBuf, TokenError> {
    module.canonicalize().map_err(|error| TokenError::Module { module: module.to_owned(), reason: crate::io::words(&error) })
}

/// Where systems have their libraries.
const SYSTEM: &[&str] =
    if cfg!(target_os = "macos") { &["/usr", "/Library", "/usr/local", "/opt/homebrew"] } else { &["/usr", "/lib", "/lib64", "/opt"] };

/// Whether a module lies among the system's own, and nobody but its administrator can have put it there.
fn is_the_systems(real: &Path) -> bool {
    let guarded = |part: &Path| part.metadata().is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0);
    SYSTEM.iter().any(|root| real.starts_with(root)) && real.ancestors().all(guarded)
}

fn load(module: &Path) -> Result<Pkcs11, TokenError> {
    let wrong = |error: &Error| TokenError::Module { module: module.to_owned(), reason: error.to_string() };
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = modules.get(module) {
        return Ok(loaded.clone());
    }
    let loaded = Pkcs11::new(module).map_err(|error| wrong(&error))?;
    match loaded.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(wrong(&error)),
    }
    modules.insert(module.to_owned(), loaded.clone());
    Ok(loaded)
}

/// The slot of the token that is meant, and its serial number.
fn find(pkcs11: &Pkcs11, what: &str, meant: impl Fn(&str, &str) -> bool) -> Result<(Slot, String), TokenError> {
    let missing = |reason: Option<String>| TokenError::Missing { what: what.to_owned(), reason };
    let slots = pkcs11.get_slots_with_initialized_token().map_err(|error| missing(Some(error.to_string())))?;
    let mut found = slots.into_iter().filter_map(|slot| {
        let info = pkcs11.get_token_info(slot).ok()?;
        meant(info.label().trim_end(), info.serial_number().trim_end()).then(|| (slot, info.serial_number().trim_end().to_owned()))
    });
    let first = found.next().ok_or_else(|| missing(None))?;
    match found.next() {
        None => Ok(first),
        Some(_) => Err(TokenError::Unsuitable { what: what.to_owned(), reason: "another one has the same label".to_owned() }),
    }
}

/// A session of the token's user. Who is logged in already, in this process, is not asked again.
fn login(pkcs11: &Pkcs11, slot: Slot, what: &str, pins: &Pins, write: bool) -> Result<Session, TokenError> {
    let broken = |error: &Error| failed(what, error);
    let info = pkcs11.get_token_info(slot).map_err(|error| broken(&error))?;
    if !info.user_pin_initialized() {
        return Err(TokenError::Unsuitable { what: what.to_owned(), reason: "its user has no PIN yet".to_owned() });
    }
    if info.user_pin_locked() {
        return Err(TokenError::PinLocked { what: what.to_owned() });
    }
    let session = if write { pkcs11.open_rw_session(slot) } else { pkcs11.open_ro_session(slot) }.map_err(|error| broken(&error))?;
    let state = session.get_session_info().map_err(|error| broken(&error))?.session_state();
    if matches!(state, SessionState::RoUser | SessionState::RwUser) {
        return Ok(session);
    }
    let refused = |error: Error| match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            let last = pkcs11.get_token_info(slot).is_ok_and(|info| info.user_pin_final_try());
            TokenError::PinWrong { what: what.to_owned(), last }
        }
        Error::Pkcs11(RvError::PinLocked, _) => TokenError::PinLocked { what: what.to_owned() },
        error => broken(&error),
    };
    let log_in = |pin: Option<&AuthPin>| match session.login(UserType::User, pin) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(refused(error)),
    };
    // A reader with a keypad asks by itself, and the PIN never comes here.
    match info.protected_authentication_path() {
        true => log_in(None)?,
        false => pins.with(what, info.serial_number(), |pin| log_in(Some(&AuthPin::new(pin.expose().into()))))?,
    }
    Ok(session)
}

fn failed(what: &str, error: &Error) -> TokenError {
    TokenError::Failed(format!("{what}: {error}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2));
    digits.map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect()
}

#[cfg(test)]
mod tests;
