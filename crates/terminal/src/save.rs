//! Saves (A4): what a title's user has made, handed in from one device and taken on another, sealed on the way and where it is kept.
//!
//! A title has slots, a slot has versions. The authority keeps them and draws the key that they are sealed under; that key comes sealed to
//! holder and device and is only ever in memory. Here is kept which version each file or directory stands at, so that what another device
//! has saved meanwhile is noticed and nothing is put over it:
//!
//! ```text
//! saves/<holder>/<title>/<slot>/known.json     which version each path stands at
//! saves/<holder>/<title>/<slot>/push.json      a push under way, and
//! saves/<holder>/<title>/<slot>/push.sealed    what it sends
//! ```

mod bundle;
mod error;
mod local;
mod pull;
mod push;
mod unbundle;

use crate::asker::Asker;
use crate::card::{CardChoice, FileHolder};
use crate::error::Result;
use crate::exchange::{ask, exchange, refused};
use crate::home::Authority;
use crate::terminal::{Terminal, absolute};
use counterfoil_core::rules::upload::is_slot;
use counterfoil_core::wire::{Operation, SlotVersion, UploadedVersion, Uploads, UploadsResult};
use counterfoil_core::{Code, TitleId};
use counterfoil_format::container::{Container, SaveKey, SaveKeyScope};
use counterfoil_format::grant::GrantBox;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use error::{Conflict, SaveError};
pub use pull::{Pull, Pulled, pull, restore};
pub use push::{Push, Pushed, push};

/// A slot of a title: 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot(String);

impl Slot {
    /// As the authority knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Slot {
    /// `main`
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl FromStr for Slot {
    type Err = &'static str;

    fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
        let good = is_slot(name).then(|| Self(name.to_owned()));
        good.ok_or("a slot is called 1 to 100 of a-z A-Z 0-9 . _ -, not beginning with a dot")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a program that is run from a library is told to save (`COUNTERFOIL_SAVE_DIR`), and what is pushed where nothing else is named.
pub fn directory(terminal: &Terminal, title: &TitleId) -> PathBuf {
    terminal.home().path().join("saved").join(title.as_str())
}

/// What there is of a title.
#[derive(Clone, Debug, PartialEq)]
pub struct Saves {
    /// By slot and version, oldest first.
    pub versions: Vec<Listed>,
    /// Bytes held, what is under way included.
    pub used: u64,
    /// Bytes that may be held.
    pub quota: u64,
    /// Whether what is handed in now is left readable for providers.
    pub readable: bool,
}

/// A version that the authority has.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// What the authority says of it.
    pub version: UploadedVersion,
    /// Paths of this device that stand at it.
    pub here: Vec<PathBuf>,
    /// Whether this device has handed it in.
    pub mine: bool,
}

/// What there is of a title, on whichever device it was saved.
///
/// # Errors
/// The refusals of `uploads`; [`crate::transport::TransportError`].
pub fn list(terminal: &Terminal, card: &CardChoice, title: &TitleId) -> Result<Saves> {
    let shelf = Shelf::ask(terminal, card, title)?;
    shelf.saves(terminal, &shelf.found)
}

/// Takes versions away for good, on all devices. What lies on this one stays.
///
/// # Errors
/// The refusals of `uploads`; [`crate::transport::TransportError`]: then a repeat has no second effect.
pub fn remove(terminal: &Terminal, card: &CardChoice, title: &TitleId, versions: Vec<SlotVersion>) -> Result<Saves> {
    let shelf = Shelf::ask(terminal, card, title)?;
    let _home = terminal.home().lock()?;
    let operation = shelf.operation(versions);
    let found = exchange(terminal, &shelf.authority, operation, &shelf.asker.device_proof())?.applied(terminal);
    shelf.saves(terminal, &found)
}

/// What the authority has of a title, and the key to it.
struct Shelf {
    authority: Authority,
    asker: Asker,
    title: TitleId,
    found: UploadsResult,
    key: SaveKey,
}

impl Shelf {
    fn ask(terminal: &Terminal, card: &CardChoice, title: &TitleId) -> Result<Self> {
        let authority = terminal.meet(&[])?;
        let asker = Asker::new(terminal, &authority, card, terminal.home().profile()?.library.as_deref())?;
        let operation = Operation::Uploads(Uploads { user_id: asker.user, device_id: asker.device, title: title.clone(), remove: vec![] });
        let found: UploadsResult = ask(terminal, &authority, &operation, &asker.device_proof())?;
        let key = open_key(terminal, &asker, title, &found)?;
        Ok(Self { authority, asker, title: title.clone(), found, key })
    }

    /// Asks again what there is.
    fn again(&mut self, terminal: &Terminal) -> Result<()> {
        self.found = ask(terminal, &self.authority, &self.operation(vec![]), &self.asker.device_proof())?;
        Ok(())
    }

    fn operation(&self, remove: Vec<SlotVersion>) -> Operation {
        Operation::Uploads(Uploads { user_id: self.asker.user, device_id: self.asker.device, title: self.title.clone(), remove })
    }

    fn newest(&self, slot: &Slot) -> Option<&UploadedVersion> {
        self.found.items.iter().filter(|item| item.slot == slot.0).max_by_key(|item| item.version)
    }

    /// That version of a slot, or the newest.
    fn version(&self, slot: &Slot, version: Option<u32>) -> Result<&UploadedVersion> {
        let found = match version {
            None => self.newest(slot),
            Some(version) => self.found.items.iter().find(|item| item.slot == slot.0 && item.version == version),
        };
        Ok(found.ok_or_else(|| SaveError::NoVersion { slot: slot.clone(), version })?)
    }

    fn container(&self, slot: &Slot) -> Container {
        self.key.container(&self.asker.user.to_string(), self.title.as_str(), &slot.0)
    }

    fn local(&self, terminal: &Terminal, slot: &str) -> local::Local {
        local::Local::new(terminal, &self.asker.holder.public().id(), &self.title, slot)
    }

    /// The path that is meant: the one that is named, that of the last push or pull, or where a program is told to save.
    fn path(&self, terminal: &Terminal, local: &local::Local, named: Option<&Path>) -> Result<PathBuf> {
        let path = match named {
            Some(path) => Some(path.to_owned()),
            None => local.known()?.latest,
        };
        Ok(absolute(&path.unwrap_or_else(|| directory(terminal, &self.title))))
    }

    fn saves(&self, terminal: &Terminal, found: &UploadsResult) -> Result<Saves> {
        let mut versions = Vec::new();
        for version in &found.items {
            // Whatever a server calls a slot, it is no path here.
            let here = if is_slot(&version.slot) { self.local(terminal, &version.slot).known()?.at(version) } else { vec![] };
            versions.push(Listed { here, mine: version.device_id == self.asker.device, version: version.clone() });
        }
        Ok(Saves { versions, used: found.used, quota: found.quota, readable: found.readable })
    }
}

fn open_key(terminal: &Terminal, asker: &Asker, title: &TitleId, found: &UploadsResult) -> Result<SaveKey> {
    let not_opened = || refused(Code::UserInvalid, "the key to the saves is sealed to another card or device");
    let sealed: GrantBox = serde_json::from_value(found.keys.clone()).map_err(|_| not_opened())?;
    let device_keys = terminal.device_keys()?;
    let device_secret = device_keys.as_ref().and_then(FileHolder::device_secret).ok_or_else(not_opened)?;
    let (user, device) = (asker.user.to_string(), asker.device.to_string());
    let scope = SaveKeyScope { user: &user, title: title.as_str(), device: &device };
    SaveKey::open(&sealed, asker.holder.dh(), device_secret, &scope)
        .map_err(|error| crate::claimant::not_opened(error.into(), not_opened()))
}
