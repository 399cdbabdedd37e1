//! Handing a save in: bundled, sealed into a file of this device, announced, sent. Cut off anywhere, the same command goes on.

use super::bundle::{bundle, content_of};
use super::error::{Conflict, SaveError};
use super::local::{Here, Local, Pending};
use super::unbundle::recover;
use super::{Shelf, Slot};
use crate::card::CardChoice;
use crate::error::{Error, Result};
use crate::exchange::exchange;
use crate::io::{Create, Io, IoFailure, Sequential};
use crate::terminal::Terminal;
use crate::transport::TransportError;
use counterfoil_core::wire::{Operation, Upload, UploadResult, UploadedVersion};
use counterfoil_core::{Code, TitleId};
use counterfoil_format::container::{Container, Sealing};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is to be handed in.
#[derive(Clone, Debug, Default)]
pub struct Push {
    /// Which slot.
    pub slot: Slot,
    /// File or directory; the one of the last push or pull where nothing is said.
    pub path: Option<PathBuf>,
    /// For people.
    pub note: Option<String>,
    /// Above whatever other devices have handed in since.
    pub over: bool,
}

/// What was handed in.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// Which file or directory.
    pub path: PathBuf,
    /// The version that it is now.
    pub version: u32,
    /// Whether it was that version already: nothing was sent.
    pub unchanged: bool,
    /// Whether it was sealed; else providers can read it.
    pub sealed: bool,
    /// Whether a push that was cut off has been brought to its end.
    pub resumed: bool,
    /// Bytes held of the title now.
    pub used: u64,
    /// Bytes that may be held.
    pub quota: u64,
}

/// Hands a file or directory in as the newest version of a slot; `told` hears how many of how many bytes the authority has.
///
/// # Errors
/// [`SaveError`]; the refusals of `upload`; [`TransportError`]: repeated, it goes on where it was.
pub fn push(terminal: &Terminal, card: &CardChoice, title: &TitleId, push: &Push, told: &dyn Fn(u64, u64)) -> Result<Pushed> {
    let shelf = Shelf::ask(terminal, card, title)?;
    let local = shelf.local(terminal, push.slot.as_str());
    let _slot = local.lock()?;
    let path = shelf.path(terminal, &local, push.path.as_deref())?;
    recover(&**terminal.io(), &path)?;
    Pushing { terminal, shelf, local, slot: push.slot.clone(), path, told }.run(push)
}

pub(super) struct Pushing<'a> {
    pub terminal: &'a Terminal,
    pub shelf: Shelf,
    pub local: Local,
    pub slot: Slot,
    pub path: PathBuf,
    pub told: &'a dyn Fn(u64, u64),
}

impl Pushing<'_> {
    /// With the slot locked.
    pub fn run(mut self, push: &Push) -> Result<Pushed> {
        let content = content_of(self.io(), &self.path)?.ok_or_else(|| SaveError::Nothing(self.path.clone()))?;
        if let Some(pending) = self.local.pending()? {
            if pending.path == self.path && pending.content == content {
                if let Some(pushed) = self.resume(pending, push.over)? {
                    return Ok(pushed);
                }
            } else {
                self.take_back(pending)?;
            }
        }
        let known = self.local.known()?;
        let known = known.unchanged(&self.path, &content).or(known.paths.get(&self.path)).cloned();
        let newest = self.shelf.newest(&self.slot).cloned();
        if let (Some(here), Some(newest)) = (&known, &newest)
            && here.is(newest)
            && here.content == content
        {
            return Ok(self.pushed(newest.version, true, !self.shelf.found.readable, false));
        }
        let there = newest.as_ref().map_or(0, |newest| newest.version);
        let follows = match (&known, &newest) {
            _ if push.over => there,
            // What it followed was taken away, and nothing has come since.
            (Some(here), _) if here.version > there => there,
            (Some(here), Some(newest)) if here.version == there && !here.is(newest) => 0,
            (Some(here), _) => here.version,
            (None, _) => 0,
        };
        if follows != there {
            return Err(self.conflict(follows));
        }
        let pending = self.seal(follows, push.note.clone())?;
        self.send(pending, false)
    }

    /// Goes on with a push that was cut off; `None` where it is over, and a new one is to be made.
    fn resume(&mut self, pending: Pending, over: bool) -> Result<Option<Pushed>> {
        if self.listed(&pending).is_some() {
            return self.done(pending, true).map(Some);
        }
        match self.send(pending, true) {
            // What it was to follow is not the newest any more.
            Err(Error::Save(SaveError::Conflict(_))) if over => Ok(None),
            other => other.map(Some),
        }
    }

    /// Bundles and seals into a file of this device, and notes what it is for.
    fn seal(&self, parent: u32, note: Option<String>) -> Result<Pending> {
        self.local.forget()?;
        let place = self.local.sealed();
        let container = Some(self.shelf.container(&self.slot)).filter(|_| !self.shelf.found.readable);
        let made = self.write_sealed(&place, container.as_ref());
        if made.is_err() {
            let _ = self.io().remove_file(&place);
        }
        let (content, object, length) = made?;
        let pending = Pending { path: self.path.clone(), content, parent, object, length, note, sealed: container.is_some(), answer: None };
        self.local.keep(&pending)?;
        Ok(pending)
    }

    fn write_sealed(&self, place: &Path, container: Option<&Container>) -> Result<(String, String, u64)> {
        let written = IoFailure::at;
        let file = self.io().create(place, Create::Truncate, 0o600).map_err(written("write", place))?;
        let mut object =
            Hashing { into: BufWriter::with_capacity(256 * 1024, Sequential::new(&*file, 0)), hasher: blake3::Hasher::new(), length: 0 };
        let content = match container {
            Some(container) => {
                let sealing = self.terminal.with_random(|random| Sealing::new(&mut object, container, random));
                let mut content = Hashing::new(sealing.map_err(written("write", place))?);
                bundle(self.io(), &self.path, &mut content, place)?;
                content.into.finish().map_err(written("write", place))?;
                content.hasher
            }
            None => {
                bundle(self.io(), &self.path, &mut object, place)?;
                object.hasher.clone()
            }
        };
        object.into.flush().map_err(written("write", place))?;
        file.sync().map_err(written("write", place))?;
        Ok((content.finalize().to_hex().to_string(), object.hasher.finalize().to_hex().to_string(), object.length))
    }

    /// Announces it, unless that was done, and sends what the authority has not got.
    fn send(&mut self, mut pending: Pending, resumed: bool) -> Result<Pushed> {
        let mut again = true;
        loop {
            let answer = match &pending.answer {
                Some(answer) => answer.clone(),
                None => self.announce(&mut pending)?,
            };
            match self.upload(&pending, &answer) {
                Ok(()) => return self.done(pending, resumed),
                // It has waited too long, and may be announced once more.
                Err(error) if is_over(&error) && std::mem::take(&mut again) => {
                    pending.answer = None;
                    self.local.keep(&pending)?;
                }
                Err(error) => return Err(self.refused(error, pending.parent)),
            }
        }
    }

    fn announce(&mut self, pending: &mut Pending) -> Result<UploadResult> {
        let home = self.terminal.home().lock()?;
        let asker = &self.shelf.asker;
        let accepted = match exchange::<UploadResult>(self.terminal, &self.shelf.authority, self.operation(pending), &asker.device_proof())
        {
            Ok(accepted) => accepted,
            Err(error) => {
                drop(home);
                return Err(self.refused(error, pending.parent));
            }
        };
        pending.answer = Some(accepted.result.clone());
        self.local.keep(pending)?;
        Ok(accepted.applied(self.terminal))
    }

    fn operation(&self, pending: &Pending) -> Operation {
        Operation::Upload(Upload {
            user_id: self.shelf.asker.user,
            device_id: self.shelf.asker.device,
            title: self.shelf.title.clone(),
            slot: self.slot.as_str().to_owned(),
            parent: pending.parent,
            length: pending.length,
            object: pending.object.clone(),
            note: pending.note.clone(),
        })
    }

    fn upload(&self, pending: &Pending, answer: &UploadResult) -> Result<()> {
        let place = self.local.sealed();
        let file = self.io().open(&place).map_err(IoFailure::at("read", &place))?;
        let transport = self.terminal.transport(&self.shelf.authority.document.urls)?;
        transport.upload(&answer.path, &*file, pending.length, &|at| (self.told)(at, pending.length))
    }

    /// Notes what the path stands at, once the authority lists it.
    fn done(&mut self, pending: Pending, resumed: bool) -> Result<Pushed> {
        self.shelf.again(self.terminal)?;
        let version = self.listed(&pending).ok_or(SaveError::NotListed)?;
        self.local.note(&self.path, Here { version, object: pending.object, content: pending.content })?;
        self.local.forget()?;
        Ok(self.pushed(version, false, pending.sealed, resumed))
    }

    /// The version that it has become.
    fn listed(&self, pending: &Pending) -> Option<u32> {
        let is = |item: &&UploadedVersion| item.slot == self.slot.as_str() && item.object == pending.object;
        self.shelf.found.items.iter().find(is).map(|item| item.version)
    }

    fn pushed(&self, version: u32, unchanged: bool, sealed: bool, resumed: bool) -> Pushed {
        let found = &self.shelf.found;
        Pushed { path: self.path.clone(), version, unchanged, sealed, resumed, used: found.used, quota: found.quota }
    }

    /// What a "no" means for the push: it is over, and of a conflict both sides are told.
    fn refused(&mut self, error: Error, parent: u32) -> Error {
        let Some(refusal) = error.refusal().filter(|refusal| refusal.code != Code::RateLimited) else { return error };
        let conflict = refusal.code == Code::SaveConflict;
        if let Err(error) = self.local.forget() {
            return error;
        }
        if conflict && self.shelf.again(self.terminal).is_ok() { self.conflict(parent) } else { error }
    }

    fn conflict(&self, follows: u32) -> Error {
        match self.shelf.newest(&self.slot) {
            Some(newest) => SaveError::Conflict(Box::new(Conflict { slot: self.slot.clone(), newest: newest.clone(), follows })).into(),
            None => Code::SaveConflict.into(),
        }
    }

    /// Gives up a push of what does not lie there any more: it would count until it had waited too long.
    fn take_back(&mut self, mut pending: Pending) -> Result<()> {
        let answer = match &pending.answer {
            Some(answer) => Some(answer.clone()),
            // It may be announced, and the answer lost.
            None => match self.announce(&mut pending) {
                Ok(answer) => Some(answer),
                Err(error) if error.refusal().is_some() || matches!(error, Error::Save(_)) => None,
                Err(error) => return Err(error),
            },
        };
        if let Some(answer) = answer {
            let transport = self.terminal.transport(&self.shelf.authority.document.urls)?;
            match transport.take_back(&answer.path) {
                // Nothing is lost where it cannot be: it ends by itself.
                Ok(()) | Err(TransportError::Status { .. } | TransportError::Refused(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.local.forget()?;
        self.shelf.again(self.terminal)
    }

    fn io(&self) -> &dyn Io {
        &**self.terminal.io()
    }
}

/// Whether an upload is not there any more.
fn is_over(error: &Error) -> bool {
    match error {
        Error::Transport(TransportError::Status { status, .. }) => matches!(status, 404 | 410),
        _ => error.refusal().is_some_and(|refusal| refusal.code == Code::UploadUnknown),
    }
}

/// Passes bytes on while hashing them.
struct Hashing<W> {
    into: W,
    hasher: blake3::Hasher,
    length: u64,
}

impl<W> Hashing<W> {
    fn new(into: W) -> Self {
        Self { into, hasher: blake3::Hasher::new(), length: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.into.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}
