//! A holder that is one file: keys, or where they are, and what was sealed to them, 0600, replaced as a whole.

use super::token::{self, Hardware, KeysElsewhere, Means, NewKeys, TokenError};
use super::{CardInfo, Sealed, SealedGrant};
use crate::error::Result;
use crate::io::{Io, IoFailure, read_small, replace, write_private};
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{CardId, UserId};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::holder::{self, HolderKeys, HolderPublic, KeyFileError};
use counterfoil_format::hpke::{DiffieHellman, HpkeError, SealingKey};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::{Random, Secret};
use counterfoil_format::sign::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longest card file that is read, in bytes: room for thousands of grants.
const LONGEST: u64 = 16 << 20;
const VERSION: u32 = 1;

/// What is wrong with a holder of keys.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HolderError {
    /// There is none.
    #[error("there is no {what} at {}", path.display())]
    Missing {
        /// As `card`.
        what: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// Others can read it.
    #[error("{} can be read by others (mode {mode:04o})", path.display())]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is somebody else's.
    #[error("{} belongs to another user", path.display())]
    Owner {
        /// Which file.
        path: PathBuf,
    },
    /// Not such a file.
    #[error("{} is not a {what}: {reason}", path.display())]
    Shape {
        /// As `card`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A box does not open with these keys.
    #[error("the keys do not open what was sealed")]
    NotOpened,
    /// The token or TPM that holds them.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl From<HpkeError> for HolderError {
    fn from(error: HpkeError) -> Self {
        token::failed(&error).map_or(HolderError::NotOpened, HolderError::Token)
    }
}

impl HolderError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            HolderError::Missing { .. } => "no_keys",
            HolderError::Mode { .. } => "loose_mode",
            HolderError::Owner { .. } => "other_owner",
            HolderError::Shape { .. } => "bad_key_file",
            HolderError::NotOpened => "keys_do_not_fit",
            HolderError::Token(error) => error.code(),
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            HolderError::Missing { what: "card", .. } => "Make one with `counterfoil card new`, or name it: `--card FILE`.".into(),
            HolderError::Missing { .. } => "Run `counterfoil register`.".into(),
            HolderError::Mode { path, .. } => format!("Keys belong to you alone: `chmod 600 {}`.", path.display()),
            HolderError::Owner { path } => {
                format!(
                    "Run the command as whom it belongs to; or, where the card is handed to you, make it yours: `chown $USER {}`.",
                    path.display()
                )
            }
            HolderError::Shape { .. } => "Name the right file, or restore it from a backup.".into(),
            HolderError::NotOpened => "Use the card and the device that they were sealed to.".into(),
            HolderError::Token(error) => error.hint().into(),
        }
    }
}

/// A card, device store or drive store in a file.
pub struct FileHolder {
    io: Arc<dyn Io>,
    path: PathBuf,
    kind: HolderKind,
    keys: Keys,
    sealed: Sealed,
}

/// Both private keys: here, or where nobody takes them out.
enum Keys {
    Here { file: HolderKeys, signing: SigningKey, sealing: SealingKey },
    Elsewhere { file: KeysElsewhere, hardware: Box<dyn Hardware> },
}

impl Keys {
    fn here(file: HolderKeys) -> Self {
        Self::Here { signing: file.signing_key(), sealing: file.sealing_key(), file }
    }

    /// Reads the member `keys`, and reaches the token or TPM where they are in one.
    fn read(json: &str, kind: HolderKind, means: &Means<'_>, shape: &dyn Fn(String) -> HolderError) -> Result<Self> {
        if let Some(elsewhere) = KeysElsewhere::parse(json) {
            let file = elsewhere.map_err(shape)?;
            if kind != HolderKind::Card {
                return Err(shape("it belongs to a card".to_owned()).into());
            }
            let hardware = file.reach(means).map_err(HolderError::from)?;
            return Ok(Self::Elsewhere { file, hardware });
        }
        let keys = HolderKeys::parse(json.as_bytes()).map_err(|error: KeyFileError| shape(error.to_string()))?;
        if keys.kind != of_format(kind) {
            return Err(shape(format!("it belongs to a {}", keys.kind)).into());
        }
        Ok(Self::here(keys))
    }

    fn to_json(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Here { file, .. } => file.to_json(),
            Self::Elsewhere { file, .. } => Zeroizing::new(serde_json::to_vec(file).expect("texts and bytes have a JSON form")),
        }
    }
}

/// The file's members; `keys` is a key file as `counterfoil-format` defines it, or says which token or TPM has them.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    counterfoil_holder: u32,
    #[serde(borrow)]
    keys: &'a RawValue,
    #[serde(default)]
    sealed: Sealed,
}

impl FileHolder {
    /// Makes a holder with fresh keys.
    ///
    /// # Errors
    /// `exists` where the file is there already; what the system said.
    pub fn create(io: Arc<dyn Io>, path: &Path, kind: HolderKind, random: &mut dyn Random) -> Result<Self> {
        let keys = HolderKeys::generate(of_format(kind), random);
        let holder = Self { io, path: path.to_owned(), kind, keys: Keys::here(keys), sealed: Sealed::default() };
        write_private(&*holder.io, path, &holder.to_bytes(&holder.sealed))?;
        Ok(holder)
    }

    /// Makes a card whose keys are made in a token or TPM.
    ///
    /// # Errors
    /// `exists` where the file is there already: then nothing is made; [`TokenError`]; what the system said.
    pub(crate) fn create_elsewhere(io: Arc<dyn Io>, path: &Path, new: &NewKeys, means: &Means<'_>) -> Result<Self> {
        if io.metadata(path).is_ok() {
            return Err(IoFailure::at("make", path)(std::io::ErrorKind::AlreadyExists.into()).into());
        }
        let (file, hardware) = token::make(new, means).map_err(HolderError::from)?;
        let keys = Keys::Elsewhere { file, hardware };
        let holder = Self { io, path: path.to_owned(), kind: HolderKind::Card, keys, sealed: Sealed::default() };
        write_private(&*holder.io, path, &holder.to_bytes(&holder.sealed))?;
        Ok(holder)
    }

    /// Opens a holder of this kind; a card whose keys are in a token or TPM with that.
    ///
    /// # Errors
    /// [`HolderError`]; what the system said.
    pub(crate) fn open(io: Arc<dyn Io>, path: &Path, kind: HolderKind, means: &Means<'_>) -> Result<Self> {
        let what = what(kind);
        match io.metadata(path) {
            Ok(metadata) if metadata.mode & 0o077 != 0 => {
                return Err(HolderError::Mode { path: path.to_owned(), mode: metadata.mode }.into());
            }
            // What a card says decides what is loaded and whom is spoken with, so nobody else may have written it.
            Ok(metadata) if kind == HolderKind::Card && !metadata.own => {
                return Err(HolderError::Owner { path: path.to_owned() }.into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(HolderError::Missing { what, path: path.to_owned() }.into());
            }
            Err(error) => return Err(IoFailure::at("read", path)(error).into()),
        }
        let bytes = read_small(&*io, path, LONGEST)?.ok_or_else(|| HolderError::Missing { what, path: path.to_owned() })?;
        let bytes = Zeroizing::new(bytes);
        let shape = |reason: String| HolderError::Shape { what, path: path.to_owned(), reason };
        // Walked once for doubled members, then borrowed from.
        parse_strict::<serde::de::IgnoredAny>(&bytes).map_err(|error| shape(error.to_string()))?;
        let document: Document<'_> = serde_json::from_slice(&bytes).map_err(|error| shape(error.to_string()))?;
        if document.counterfoil_holder != VERSION {
            return Err(shape(format!("version {} is not known", document.counterfoil_holder)).into());
        }
        let keys = Keys::read(document.keys.get(), kind, means, &shape)?;
        Ok(Self { io, path: path.to_owned(), kind, keys, sealed: document.sealed })
    }

    /// Where its keys are, for people; `None` where they are in the file itself.
    pub fn keys_in(&self) -> Option<String> {
        match &self.keys {
            Keys::Here { .. } => None,
            Keys::Elsewhere { file, .. } => Some(file.place().words()),
        }
    }

    /// What grants for this device are sealed under besides the holder's key; only a device has one.
    pub fn device_secret(&self) -> Option<&Secret<32>> {
        match &self.keys {
            Keys::Here { file, .. } => file.device_secret(),
            Keys::Elsewhere { .. } => None,
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ID of a card; of a device or drive it only names the keys.
    pub fn card_id(&self) -> CardId {
        CardId::from_bytes(self.public().id())
    }

    /// As its owner sees it.
    pub fn info(&self) -> CardInfo {
        CardInfo {
            card_id: self.card_id(),
            path: self.path.clone(),
            keys_in: self.keys_in(),
            registered: self.sealed.user.is_some(),
            user_id: open_user(self).ok(),
            authority: self.sealed.user.as_ref().map(|user| user.authority.clone()),
            grants: self.sealed.grants.iter().map(SealedGrant::shown).collect(),
            recovery_at: self.sealed.user.as_ref().and_then(|user| user.recovery_at),
            reissuing: self.sealed.reissue.is_some(),
        }
    }

    fn to_bytes(&self, sealed: &Sealed) -> Zeroizing<Vec<u8>> {
        let keys = self.keys.to_json();
        let keys: &RawValue = serde_json::from_slice(&keys).expect("a key file is JSON");
        let document = Document { counterfoil_holder: VERSION, keys, sealed: sealed.clone() };
        // Sized first, so that growing leaves no copy of the secrets behind.
        let mut counter = Counter(0);
        serde_json::to_writer(&mut counter, &document).expect("counting cannot fail, and all members have a JSON form");
        let mut bytes = Zeroizing::new(Vec::with_capacity(counter.0 + 1));
        serde_json::to_writer(&mut *bytes, &document).expect("a vector takes everything");
        bytes.push(b'\n');
        bytes
    }
}

impl FileHolder {
    /// Card, device or drive.
    pub fn kind(&self) -> HolderKind {
        self.kind
    }

    /// Public halves of both keys.
    pub fn public(&self) -> HolderPublic {
        match &self.keys {
            Keys::Here { file, .. } => file.public(),
            Keys::Elsewhere { file, .. } => file.public(),
        }
    }

    /// Signs requests.
    pub fn signer(&self) -> Signer<'_> {
        match &self.keys {
            Keys::Here { signing, .. } => Signer::Key(signing),
            Keys::Elsewhere { hardware, .. } => Signer::Token(&**hardware),
        }
    }

    /// Opens boxes.
    pub fn dh(&self) -> &dyn DiffieHellman {
        match &self.keys {
            Keys::Here { sealing, .. } => sealing,
            Keys::Elsewhere { hardware, .. } => &**hardware,
        }
    }

    /// What was sealed to it.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Changes that, all or nothing, durable when it returns.
    ///
    /// # Errors
    /// What the store of the holder said; nothing has changed then.
    pub fn store(&mut self, sealed: Sealed) -> Result<()> {
        if sealed == self.sealed {
            return Ok(());
        }
        replace(&*self.io, &self.path, &self.to_bytes(&sealed), 0o600)?;
        self.sealed = sealed;
        Ok(())
    }
}

/// The user ID that was sealed to a holder.
///
/// # Errors
/// [`counterfoil_core::Code::UserInvalid`] (C6) where there is none or it was sealed to another.
pub(crate) fn open_user(holder: &FileHolder) -> Result<UserId> {
    let user = holder.sealed().user.as_ref().ok_or(counterfoil_core::Refusal::from(counterfoil_core::Code::UserInvalid))?;
    let text = user.user.open(holder.dh(), &user_purpose(&user.holder)).map_err(HolderError::from)?;
    let id = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    Ok(id.ok_or(HolderError::NotOpened)?)
}

/// What the box of a user ID says that it is for.
pub(crate) fn user_purpose(holder: &str) -> [&str; 2] {
    [counterfoil_format::grant::purpose::USER_ID, holder]
}

fn of_format(kind: HolderKind) -> holder::HolderKind {
    match kind {
        HolderKind::Card => holder::HolderKind::Card,
        HolderKind::Device => holder::HolderKind::Device,
        HolderKind::Drive => holder::HolderKind::Drive,
    }
}

fn what(kind: HolderKind) -> &'static str {
    match kind {
        HolderKind::Card => "card",
        HolderKind::Device => "device key",
        HolderKind::Drive => "drive key",
    }
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::pin::Pins;
    use crate::home::Home;
    use crate::io::RealIo;

    /// proves: C2
    #[test]
    fn c2_a_card_of_another_user_is_not_opened() {
        let directory = tempfile::tempdir().expect("a directory");
        let mine = directory.path().join("card.json");
        let io: Arc<dyn Io> = Arc::new(RealIo);
        FileHolder::create(io.clone(), &mine, HolderKind::Card, &mut counterfoil_format::secret::SystemRandom).expect("made");
        let (pins, home) = (Pins::default(), Home::open(io.clone(), directory.path()).expect("a home"));
        let means = Means { pins: &pins, home: &home };
        let open = |path: &Path| FileHolder::open(io.clone(), path, HolderKind::Card, &means);
        open(&mine).expect("one's own");
        // Root can give a file away; everybody else finds one of root's that is as private.
        let others = match std::os::unix::fs::chown(&mine, Some(65_534), None) {
            Ok(()) => mine,
            Err(_) => PathBuf::from("/proc/1/environ"),
        };
        let refused = open(&others).err().expect("another user's");
        assert_eq!(refused.code(), "other_owner", "{refused}");
    }
}
