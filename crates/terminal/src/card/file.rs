//! A holder that is one file: keys and what was sealed to them, 0600, replaced as a whole.

use super::{CardGrant, CardInfo, Holder, Sealed};
use crate::error::Result;
use crate::io::{Io, IoFailure, read_small, replace, write_private};
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{CardId, UserId};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::holder::{self, HolderKeys, HolderPublic, KeyFileError};
use counterfoil_format::hpke::{DiffieHellman, SealingKey};
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
}

impl HolderError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            HolderError::Missing { .. } => "no_keys",
            HolderError::Mode { .. } => "loose_mode",
            HolderError::Shape { .. } => "bad_key_file",
            HolderError::NotOpened => "keys_do_not_fit",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            HolderError::Missing { what: "card", .. } => "Make one with `counterfoil card new`, or name it: `--card FILE`.".into(),
            HolderError::Missing { .. } => "Run `counterfoil register`.".into(),
            HolderError::Mode { path, .. } => format!("Keys belong to you alone: `chmod 600 {}`.", path.display()),
            HolderError::Shape { .. } => "Name the right file, or restore it from a backup.".into(),
            HolderError::NotOpened => "Use the card and the device that they were sealed to.".into(),
        }
    }
}

/// A card, device store or drive store in a file.
pub struct FileHolder {
    io: Arc<dyn Io>,
    path: PathBuf,
    kind: HolderKind,
    keys: HolderKeys,
    signing: SigningKey,
    sealing: SealingKey,
    sealed: Sealed,
}

/// The file's members; `keys` is a key file as `counterfoil-format` defines it.
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
        let holder = Self::assemble(io, path, kind, keys, Sealed::default());
        write_private(&*holder.io, path, &holder.to_bytes(&holder.sealed))?;
        Ok(holder)
    }

    /// Opens a holder of this kind.
    ///
    /// # Errors
    /// [`HolderError`]; what the system said.
    pub fn open(io: Arc<dyn Io>, path: &Path, kind: HolderKind) -> Result<Self> {
        let what = what(kind);
        match io.metadata(path) {
            Ok(metadata) if metadata.mode & 0o077 != 0 => {
                return Err(HolderError::Mode { path: path.to_owned(), mode: metadata.mode }.into());
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
        let keys = HolderKeys::parse(document.keys.get().as_bytes()).map_err(|error: KeyFileError| shape(error.to_string()))?;
        if keys.kind != of_format(kind) {
            return Err(shape(format!("it belongs to a {}", keys.kind)).into());
        }
        Ok(Self::assemble(io, path, kind, keys, document.sealed))
    }

    fn assemble(io: Arc<dyn Io>, path: &Path, kind: HolderKind, keys: HolderKeys, sealed: Sealed) -> Self {
        let (signing, sealing) = (keys.signing_key(), keys.sealing_key());
        Self { io, path: path.to_owned(), kind, keys, signing, sealing, sealed }
    }

    /// What grants for this device are sealed under besides the holder's key; only a device has one.
    pub fn device_secret(&self) -> Option<&Secret<32>> {
        self.keys.device_secret()
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
            registered: self.sealed.user.is_some(),
            user_id: open_user(self).ok(),
            authority: self.sealed.user.as_ref().map(|user| user.authority.clone()),
            grants: self
                .sealed
                .grants
                .iter()
                .map(|grant| CardGrant {
                    title: grant.title.clone(),
                    origin: grant.origin.clone(),
                    grant_id: grant.grant_id,
                    content_key: grant.keys.has_content_key(),
                    issued_at: grant.issued_at,
                })
                .collect(),
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

impl Holder for FileHolder {
    fn kind(&self) -> HolderKind {
        self.kind
    }

    fn public(&self) -> HolderPublic {
        self.keys.public()
    }

    fn signer(&self) -> Signer<'_> {
        Signer::Key(&self.signing)
    }

    fn dh(&self) -> &dyn DiffieHellman {
        &self.sealing
    }

    fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    fn store(&mut self, sealed: Sealed) -> Result<()> {
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
pub(crate) fn open_user(holder: &dyn Holder) -> Result<UserId> {
    let user = holder.sealed().user.as_ref().ok_or(counterfoil_core::Refusal::from(counterfoil_core::Code::UserInvalid))?;
    let text = user.user.open(holder.dh(), &user_purpose(&user.holder)).map_err(|_| HolderError::NotOpened)?;
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
