//! What a device keeps for itself: profile, keys, and requests under way, in one directory (`$COUNTERFOIL_HOME`).

use crate::clock;
use crate::io::{Io, IoFailure, Lock, create_dirs, read_small, replace, wait_for_lock};
use counterfoil_core::wire::AuthorityDocument;
use counterfoil_core::{DeviceId, DriveId, Timestamp, UserId};
use counterfoil_format::content::ObjectName;
use counterfoil_format::encoding::frame;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest profile that is read, in bytes.
const LONGEST_PROFILE: u64 = 1 << 20;

/// The directory. Holds no lock and keeps nothing in memory.
pub struct Home {
    io: Arc<dyn Io>,
    path: PathBuf,
}

/// What is remembered from command to command. No secrets: those are in the key files.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The authority that this home belongs to, pinned at first contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// Whose word the authority's keys are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_by: Option<KeysBy>,
    /// The gateway that it was met through (C16), which stands between from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Assigned by the shop that this device came from (D1), until the device has registered with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assigned_user: Option<UserId>,
    /// Typed at registration, where the hardware could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub typed_device: Option<DeviceId>,
    /// Likewise, by the library that the drive carries.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub typed_drives: BTreeMap<PathBuf, DriveId>,
    /// Devices registered from this home: one, unless its hardware changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// Drives registered from this home.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drives: Vec<DriveId>,
    /// Drivers of tokens that the person has named, where the system does not vouch for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<PathBuf>,
    /// The library that was last registered or copied to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<PathBuf>,
    /// Latest time that the authority has signed; only goes forward.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latest_time: Option<Timestamp>,
}

/// Whose word it is that an authority has the keys that are pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysBy {
    /// A medium's, which was at hand when the authority was met.
    Medium,
    /// Of whoever answered at this address at first contact.
    Contact(String),
}

/// An authority, and since when it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Authority {
    /// What it said of itself then, or when it was last refreshed.
    pub document: AuthorityDocument,
    /// When.
    pub pinned_at: Timestamp,
}

impl Authority {
    /// Of all keys that it uses now, for people to compare: 32 hexadecimal digits in groups of four.
    pub fn fingerprint(&self) -> String {
        let keys = crate::terminal::key_list(&self.document);
        let signing = keys.keys.iter().filter(|key| key.retired_at.is_none()).filter_map(|key| key.verifying_key());
        let sealing = self.document.keys.sealing.iter().filter(|key| key.retired_at.is_none());
        let mut all: Vec<String> = signing.map(|key| key.to_string()).chain(sealing.map(|key| key.key.clone())).collect();
        all.sort();
        all.insert(0, self.document.name.clone());
        let parts: Vec<&[u8]> = all.iter().map(String::as_bytes).collect();
        let digits = ObjectName::of(&frame(&parts)).to_string();
        digits.as_bytes()[..32].chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join("-")
    }

    /// Whether that is its fingerprint, however it is written.
    pub(crate) fn is_called(&self, fingerprint: &str) -> bool {
        let digits = |text: &str| text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_lowercase();
        digits(fingerprint) == digits(&self.fingerprint())
    }
}

/// What is wrong with a home.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// The profile cannot be read as one.
    #[error("{} is not a profile: {reason}", path.display())]
    Profile {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The authority at that address is another than the one pinned, or has changed all its keys.
    #[error("this home belongs to the authority `{pinned}`, and {found}")]
    OtherAuthority {
        /// Name of the one pinned.
        pinned: String,
        /// What was found instead, as a clause.
        found: String,
    },
    /// Who answers is not the authority that a medium at hand knows.
    #[error(
        "the medium is of the authority `{name}`, and does not vouch for the keys that {at} shows for `{shown}`; their fingerprint is {fingerprint}"
    )]
    NotByMedium {
        /// The medium's authority.
        name: String,
        /// Who answers: its address.
        at: String,
        /// What it calls itself.
        shown: String,
        /// Of the document that it shows.
        fingerprint: String,
    },
    /// A gateway, or whoever answers at an address that is not guarded, shows keys of the authority that nobody here knows.
    #[error("{gateway} shows keys of the authority that are not known here; their fingerprint is {fingerprint}")]
    KeysUnproven {
        /// Its address.
        gateway: String,
        /// Of the document that it shows.
        fingerprint: String,
    },
    /// What is shown is from before the keys that are known.
    #[error("these are the authority's keys of epoch {shown}, and those of epoch {known} are known here")]
    KeysOutdated {
        /// As shown.
        shown: u64,
        /// As known.
        known: u64,
    },
    /// A device has registered from this home already, or is about to for somebody else.
    #[error("{} belongs to another user or device already", path.display())]
    InUse {
        /// Which home.
        path: PathBuf,
    },
}

impl HomeError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            HomeError::Profile { .. } => "bad_profile",
            HomeError::OtherAuthority { .. } => "other_authority",
            HomeError::NotByMedium { name, shown, .. } if name != shown => "other_authority",
            HomeError::KeysUnproven { .. } | HomeError::NotByMedium { .. } => "keys_unproven",
            HomeError::KeysOutdated { .. } => "keys_outdated",
            HomeError::InUse { .. } => "profile_in_use",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            HomeError::Profile { .. } => "Restore the file from a backup, or move it away: it is made again at the next contact.",
            HomeError::KeysUnproven { .. } => {
                "Compare it with what the operator says, or with `counterfoil authority show` on a device that speaks with the authority directly. Where it is the same: `counterfoil authority refresh --fingerprint FINGERPRINT`."
            }
            HomeError::NotByMedium { .. } => {
                "Name the authority's address with TLS: `--server https://…`. Where it has none, compare the fingerprint with what the operator says; where it is the same: `counterfoil --server http://… authority refresh --fingerprint FINGERPRINT`."
            }
            HomeError::KeysOutdated { .. } => {
                "Try again in five minutes: not every server may have heard of the newest keys yet. If it stays so, whoever is between shows old ones; tell the operator. After a restored backup of the authority: `counterfoil authority refresh --fingerprint FINGERPRINT`, as the operator tells it."
            }
            HomeError::InUse { .. } => "Name another directory for the profile of the device that is sold: `--profile DIR`.",
            HomeError::OtherAuthority { .. } => {
                "Use another home for another authority: `--home DIR`. If the operator says that all keys were replaced, begin a new home."
            }
        }
    }
}

impl Home {
    /// Opens the directory, and makes it (0700) where there is none.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(io: Arc<dyn Io>, path: &Path) -> Result<Self, IoFailure> {
        create_dirs(&*io, path, 0o700)?;
        Ok(Self { io, path: path.to_owned() })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the card lies unless another place is named.
    pub fn card(&self) -> PathBuf {
        self.path.join("card.json")
    }

    /// The device's own key file.
    pub fn device(&self) -> PathBuf {
        self.path.join("device.json")
    }

    /// Where requests under way are kept.
    pub(crate) fn requests(&self) -> PathBuf {
        self.path.join("requests")
    }

    /// One command at a time changes a home; others wait for it, but not for long.
    ///
    /// # Errors
    /// `WouldBlock` (code `busy`) where another one still does.
    pub fn lock(&self) -> Result<Box<dyn Lock>, IoFailure> {
        let path = self.lock_file();
        wait_for_lock(&*self.io, &path).map_err(IoFailure::at("use", &path))
    }

    /// The same for what can be left: `None` where another command has it.
    ///
    /// # Errors
    /// What the system said.
    pub(crate) fn lock_if_free(&self) -> Result<Option<Box<dyn Lock>>, IoFailure> {
        let path = self.lock_file();
        match self.io.lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            locked => locked.map(Some).map_err(IoFailure::at("use", &path)),
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// What is remembered.
    ///
    /// # Errors
    /// [`HomeError::Profile`], or what the system said.
    pub fn profile(&self) -> crate::Result<Profile> {
        let path = self.path.join("profile.json");
        let Some(bytes) = read_small(&*self.io, &path, LONGEST_PROFILE)? else { return Ok(Profile::default()) };
        let profile = counterfoil_format::encoding::parse_strict(&bytes);
        Ok(profile.map_err(|error| HomeError::Profile { path, reason: error.to_string() })?)
    }

    /// Changes what is remembered, all or nothing; not written where nothing changes.
    ///
    /// # Errors
    /// As [`profile`](Self::profile).
    pub fn remember(&self, change: impl Fn(&mut Profile)) -> crate::Result<()> {
        let changed = || -> crate::Result<Option<Profile>> {
            let before = self.profile()?;
            let mut profile = before.clone();
            change(&mut profile);
            Ok((profile != before).then_some(profile))
        };
        if changed()?.is_none() {
            return Ok(());
        }
        // An agent and commands learn things at the same time; what the others have noted meanwhile stays.
        let path = self.path.join("profile.lock");
        let _lock = wait_for_lock(&*self.io, &path).map_err(IoFailure::at("use", &path))?;
        let Some(profile) = changed()? else { return Ok(()) };
        let bytes = serde_json::to_vec_pretty(&profile).expect("a profile is strings and numbers");
        Ok(replace(&*self.io, &self.path.join("profile.json"), &bytes, 0o600)?)
    }

    /// Prepares a device that is sold (D1): it knows its authority and its user's ID, and registers without anything being typed. Doing so again
    /// changes nothing.
    ///
    /// # Errors
    /// [`HomeError::OtherAuthority`], [`HomeError::InUse`]; `busy` where another command uses the home; what the system said.
    pub fn provision(&self, authority: &Authority, user: UserId) -> crate::Result<()> {
        let _lock = self.lock()?;
        let profile = self.profile()?;
        if let Some(pinned) = profile.authority.as_ref().filter(|pinned| pinned.document.name != authority.document.name) {
            let found = format!("`{}` has assigned the user ID", authority.document.name);
            return Err(HomeError::OtherAuthority { pinned: pinned.document.name.clone(), found }.into());
        }
        if !profile.devices.is_empty() || profile.assigned_user.is_some_and(|other| other != user) {
            return Err(HomeError::InUse { path: self.path.clone() }.into());
        }
        self.remember(|profile| {
            profile.authority.get_or_insert_with(|| authority.clone());
            profile.assigned_user = Some(user);
        })
    }

    /// Notes the time that an authority has signed.
    pub(crate) fn note_time(&self, seen: Timestamp) -> crate::Result<()> {
        self.remember(|profile| profile.latest_time = Some(clock::latest(profile.latest_time, seen)))
    }
}
