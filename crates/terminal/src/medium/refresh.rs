//! New identity for a medium that can be written (B7): the old one or the new one is there at any moment, never half of one.
//!
//! ```text
//! identity.next.json   the new one, whole and durable before anything else happens
//! identity.json        replaced by it; where a file system loses this name on the way (FAT), the other one is read, and put in place
//! ```
//!
//! The new claim secret replaces the one that the medium proved itself with: until the authority has seen it used, both are good.

use super::{Identity, Medium, layout, verified};
use crate::error::Result;
use crate::exchange::{ask, refused};
use crate::home::Authority;
use crate::io::{Create, IoFailure, Lock, read_small};
use crate::terminal::Terminal;
use counterfoil_core::Code;
use counterfoil_core::wire::{IdentityArea, Operation, Refresh, Refreshed, RefreshedResult};
use counterfoil_format::jws::Signer;
use counterfoil_format::refresh;
use serde::Serialize;
use std::cell::Cell;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Held by whoever writes to a medium.
pub(crate) const LOCK: &str = ".counterfoil.lock";

/// What became of a new identity that the authority has for a medium.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refreshing {
    /// It is on the medium.
    Written {
        /// Of its claim secret.
        epoch: u32,
        /// Whether the authority knows that already. Otherwise it learns it when the medium is presented next.
        told: bool,
    },
    /// It is not; the medium is as it was, and good. It is offered again the next time.
    Failed {
        /// Stable, for programs.
        code: &'static str,
        /// Why not.
        reason: String,
    },
}

/// A medium that a request is proven by, and that may come out of it with a new identity.
pub(crate) struct Presented<'a> {
    medium: &'a Medium,
    /// Whoever asks has the lock of the medium already.
    locked: bool,
    told: &'a dyn Fn(Refreshing),
    writable: Cell<Option<bool>>,
}

impl<'a> Presented<'a> {
    /// `told` hears what became of a new identity.
    pub fn new(medium: &'a Medium, told: &'a dyn Fn(Refreshing)) -> Self {
        Self { medium, locked: false, told, writable: Cell::new(None) }
    }

    /// The same, where the medium is locked already.
    pub fn locked(medium: &'a Medium, told: &'a dyn Fn(Refreshing)) -> Self {
        Self { locked: true, ..Self::new(medium, told) }
    }

    /// Of the claim secret that it proves itself with.
    pub fn epoch(&self) -> u32 {
        self.medium.identity().epoch
    }

    /// Whether a new identity could be written. Found out by writing: permissions and mounts are too many to be read off.
    pub fn is_refreshable(&self, terminal: &Terminal) -> bool {
        let writable = self.writable.get().unwrap_or_else(|| {
            let root = self.medium.root();
            root.is_some_and(|root| self.lock(terminal, root).and_then(|lock| try_out(terminal, root).map(|()| lock)).is_ok())
        });
        self.writable.set(Some(writable));
        writable
    }

    /// Writes what the authority has offered, and tells it so. Whatever was asked for has been answered: nothing of this makes it fail.
    pub fn take(&self, terminal: &Terminal, offered: &Refresh) {
        (self.told)(self.write(terminal, offered).unwrap_or_else(|error| {
            let code = error.code();
            Refreshing::Failed { code, reason: error.to_string() }
        }));
    }

    fn write(&self, terminal: &Terminal, offered: &Refresh) -> Result<Refreshing> {
        let Some(root) = self.medium.root() else { return Err(refused(Code::MediumUnknown, "it cannot be written")) };
        let _lock = self.lock(terminal, root)?;
        // What is asked of the authority in the meantime may have changed what is known of it.
        let authority = terminal.authority()?.ok_or(Code::MediumUnknown)?;
        let (bytes, next) = self.open(&authority, offered)?;
        put(terminal, root, &bytes)?;
        let medium_id = next.claims.medium_id.clone();
        let name = medium_id.to_string();
        let operation = Operation::Refreshed(Refreshed { medium_id, epoch: next.claims.epoch });
        let told = ask::<RefreshedResult>(terminal, &authority, &operation, &[(&name, Signer::ClaimSecret(&next.secret))]);
        Ok(Refreshing::Written { epoch: next.claims.epoch, told: told.is_ok() })
    }

    /// Opens and verifies: it is this medium's, by the keys that its authority is known for here, and newer than what is on it.
    fn open(&self, authority: &Authority, offered: &Refresh) -> Result<(Zeroizing<Vec<u8>>, Identity)> {
        let now = self.medium.identity();
        let not = |reason: String| refused(Code::MediumUnknown, format!("the new identity for it is not good: {reason}"));
        let bytes = refresh::open(self.medium.secret(), now.medium_id.as_str(), offered.epoch, &offered.sealed)
            .map_err(|error| not(error.to_string()))?;
        let next = verified(&bytes, Some(authority), &mut true).map_err(|error| not(error.to_string()))?;
        let same = next.claims.medium_id == now.medium_id && next.claims.batch == now.batch && next.claims.serial == now.serial;
        if !same || next.claims.iss != now.iss || next.area.authority.name != authority.document.name {
            return Err(not("it is another medium's".into()));
        }
        if next.claims.epoch != offered.epoch || next.claims.epoch <= now.epoch || next.secret == *self.medium.secret() {
            return Err(not(format!("it is of epoch {}, and epoch {} is on it", next.claims.epoch, now.epoch)));
        }
        Ok((bytes, next))
    }

    fn lock(&self, terminal: &Terminal, root: &Path) -> Result<Option<Box<dyn Lock>>> {
        if self.locked {
            return Ok(None);
        }
        Ok(Some(terminal.io().lock(&root.join(LOCK)).map_err(IoFailure::at("write to", root))?))
    }
}

/// Makes a file beside the identity, and takes it away.
fn try_out(terminal: &Terminal, root: &Path) -> Result<()> {
    let (io, probe) = (terminal.io(), root.join(".counterfoil.probe"));
    // Left by somebody who was killed, or a link that leads anywhere: that is not written to.
    match io.remove_file(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(IoFailure::at("write to", root)(error).into()),
        _ => {}
    }
    let made = io.create(&probe, Create::New, 0o644).map(drop);
    made.and_then(|()| io.remove_file(&probe)).map_err(IoFailure::at("write to", root))?;
    Ok(())
}

/// Old or new. A name is durable before it takes the other's place, so that one of the two is there on any file system.
fn put(terminal: &Terminal, root: &Path, bytes: &[u8]) -> Result<()> {
    let io = &**terminal.io();
    let (next, place) = (root.join(layout::NEXT_IDENTITY), root.join(layout::IDENTITY));
    let mode = io.metadata(&place).map_or(0o644, |metadata| metadata.mode);
    let write = || -> io::Result<()> {
        // The identity that is there was read and found good; it is durable before the other one is touched.
        io.sync_dir(root)?;
        // Left by an attempt that was cut off.
        match io.remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = io.create(&next, Create::New, mode)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        io.sync_dir(root)?;
        io.rename(&next, &place)?;
        io.sync_dir(root)
    };
    Ok(write().map_err(IoFailure::at("write", &place))?)
}

/// The new identity, where the place that it belongs in holds none that is good: a file system has lost the name, or half of the file. It is
/// put in place where it can be; says whether it is there.
pub(super) fn recover(terminal: &Terminal, root: Option<&Path>, known: Option<&Authority>) -> Option<(Identity, bool)> {
    let (io, root) = (terminal.io(), root?);
    let next = root.join(layout::NEXT_IDENTITY);
    let bytes = Zeroizing::new(read_small(&**io, &next, IdentityArea::LIMIT as u64).ok()??);
    let identity = verified(&bytes, known, &mut true).ok()?;
    let in_place = io.rename(&next, &root.join(layout::IDENTITY)).and_then(|()| io.sync_dir(root)).is_ok();
    Some((identity, in_place))
}
