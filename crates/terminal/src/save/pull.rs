//! Taking a save: fetched, verified and opened beside its place, and only then put into it.

use super::bundle::{BLOCK, content_of, is_bundle};
use super::error::SaveError;
use super::local::{Here, Local};
use super::push::{Push, Pushed, Pushing};
use super::unbundle::{Failed, beside, clear, make_room, put_in_place, recover, unbundle};
use super::{Shelf, Slot};
use crate::card::CardChoice;
use crate::error::{Error, Result};
use crate::terminal::Terminal;
use crate::transport::{Part, TransportError};
use counterfoil_core::TitleId;
use counterfoil_core::wire::UploadedVersion;
use counterfoil_format::container::{Opening, read_up_to};
use counterfoil_format::content::{ObjectError, ObjectName, ObjectReader};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

/// What is to be taken.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// Which slot.
    pub slot: Slot,
    /// Where to; the path of the last push or pull where nothing is said.
    pub path: Option<PathBuf>,
    /// Which version; the newest where nothing is said.
    pub version: Option<u32>,
    /// Whatever was changed here is lost.
    pub over: bool,
}

/// What was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub version: UploadedVersion,
    /// Whether it lay there already.
    pub unchanged: bool,
    /// Whether it came sealed; else providers could read it.
    pub sealed: bool,
}

/// Takes a version of a slot; `told` hears how many of how many bytes have come. What lies there keeps to be the old until it is the new.
///
/// # Errors
/// [`SaveError`]; the refusals of `uploads`; [`TransportError`].
pub fn pull(terminal: &Terminal, card: &CardChoice, title: &TitleId, pull: &Pull, told: &dyn Fn(u64, u64)) -> Result<Pulled> {
    let shelf = Shelf::ask(terminal, card, title)?;
    let pulling = Pulling::new(terminal, &shelf, pull, told)?;
    let _slot = pulling.local.lock()?;
    pulling.run(pull)
}

/// Takes an older version, and hands it in as the newest for the other devices; the newest itself is only taken.
///
/// # Errors
/// As [`pull`], then as [`push`](super::push): what was taken stays, and a push goes on.
pub fn restore(
    terminal: &Terminal,
    card: &CardChoice,
    title: &TitleId,
    pull: &Pull,
    told: &dyn Fn(u64, u64),
) -> Result<(Pulled, Option<Pushed>)> {
    let shelf = Shelf::ask(terminal, card, title)?;
    let pulling = Pulling::new(terminal, &shelf, pull, told)?;
    let _slot = pulling.local.lock()?;
    let pulled = pulling.run(pull)?;
    let newest = shelf.version(&pull.slot, None)?;
    if newest.version == pulled.version.version {
        return Ok((pulled, None));
    }
    let note = Some(format!("version {} again", pulled.version.version));
    let push = Push { slot: pull.slot.clone(), path: Some(pulled.path.clone()), note, over: true };
    let local = shelf.local(terminal, pull.slot.as_str());
    let pushing = Pushing { terminal, local, slot: pull.slot.clone(), path: pulled.path.clone(), told, shelf };
    let pushed = pushing.run(&push)?;
    Ok((pulled, Some(pushed)))
}

struct Pulling<'a> {
    terminal: &'a Terminal,
    shelf: &'a Shelf,
    local: Local,
    path: PathBuf,
    told: &'a dyn Fn(u64, u64),
}

impl<'a> Pulling<'a> {
    fn new(terminal: &'a Terminal, shelf: &'a Shelf, pull: &Pull, told: &'a dyn Fn(u64, u64)) -> Result<Self> {
        let local = shelf.local(terminal, pull.slot.as_str());
        let path = shelf.path(terminal, &local, pull.path.as_deref())?;
        Ok(Self { terminal, shelf, local, path, told })
    }

    /// With the slot locked.
    fn run(&self, pull: &Pull) -> Result<Pulled> {
        let io = &**self.terminal.io();
        let version = self.shelf.version(&pull.slot, pull.version)?;
        recover(io, &self.path)?;
        clear(io, &self.path)?;
        let known = self.local.known()?;
        // With `--over` it may be anything, such as a link, and nobody has to read it.
        let lies = if pull.over { content_of(io, &self.path).ok().flatten() } else { content_of(io, &self.path)? };
        let as_known = lies.as_ref().and_then(|content| known.unchanged(&self.path, content));
        if let Some(here) = as_known.filter(|here| here.is(version)) {
            self.local.note(&self.path, here.clone())?;
            return Ok(Pulled { path: self.path.clone(), version: version.clone(), unchanged: true, sealed: !self.shelf.found.readable });
        }
        if lies.is_some() && as_known.is_none() && !pull.over {
            return Err(SaveError::LocalChanges(self.path.clone()).into());
        }
        make_room(io, &self.path)?;
        let fetched = self.fetch(&pull.slot, version);
        if fetched.is_err() {
            let _ = clear(io, &self.path);
        }
        let sealed = fetched?;
        let content = content_of(io, &beside(&self.path, "new"))?.ok_or_else(|| SaveError::Nothing(self.path.clone()))?;
        let here = Here { version: version.version, object: version.object.clone(), content };
        self.local.expect(&self.path, here.clone())?;
        put_in_place(io, &self.path)?;
        self.local.note(&self.path, here)?;
        Ok(Pulled { path: self.path.clone(), version: version.clone(), unchanged: false, sealed })
    }

    /// Fetches, verifies, opens, takes apart beside the path. Whether it was sealed.
    fn fetch(&self, slot: &Slot, version: &UploadedVersion) -> Result<bool> {
        let bad = |reason: String| SaveError::NotAuthentic { slot: slot.clone(), version: version.version, reason };
        let name: ObjectName = version.object.parse().map_err(|_| bad("it has no name".into()))?;
        let contents = self.terminal.contents(&self.shelf.authority)?;
        let body = contents.fetch(&version.object, Part::default())?;
        let mut arriving = ObjectReader::new(Arriving { body, come: 0, length: version.length, told: self.told, broken: None });
        let opened = self.open(slot, &mut arriving);
        // What came is judged by its name first: what a line or a store has damaged is nobody's forgery.
        let arrived = match arriving.finish(&name, version.length) {
            Ok(arrived) => arrived,
            Err(ObjectError::Io { source, .. }) => return Err(interrupted(&source)),
            Err(error) => return Err(bad(error.to_string()).into()),
        };
        match opened {
            Ok(sealed) => Ok(sealed),
            Err(Failed::Write(error)) => Err(error),
            Err(Failed::Bundle(_)) if arrived.broken.is_some() => Err(interrupted(&io::Error::other(arrived.broken.unwrap_or_default()))),
            Err(Failed::Bundle(error)) => Err(bad(error.to_string()).into()),
        }
    }

    fn open(&self, slot: &Slot, arriving: &mut impl Read) -> std::result::Result<bool, Failed> {
        let io = &**self.terminal.io();
        let new: &Path = &beside(&self.path, "new");
        let mut beginning = [0; BLOCK];
        let length = read_up_to(arriving, &mut beginning).map_err(Failed::Bundle)?;
        let sealed = !is_bundle(&beginning[..length]);
        let mut whole = Cursor::new(&beginning[..length]).chain(arriving);
        if sealed {
            let mut opening = Opening::new(whole, &self.shelf.container(slot)).map_err(Failed::Bundle)?;
            unbundle(io, &mut opening, new)?;
        } else {
            unbundle(io, &mut whole, new)?;
        }
        Ok(sealed)
    }
}

/// What comes, counted.
struct Arriving<'a> {
    body: Box<dyn Read + Send>,
    come: u64,
    length: u64,
    told: &'a dyn Fn(u64, u64),
    /// Why the line broke.
    broken: Option<String>,
}

impl Read for Arriving<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.body.read(into).inspect_err(|error| self.broken = Some(error.to_string()))?;
        self.come += count as u64;
        (self.told)(self.come.min(self.length), self.length);
        Ok(count)
    }
}

fn interrupted(error: &io::Error) -> Error {
    TransportError::Unreachable { url: "the contents server".into(), reason: crate::io::words(error) }.into()
}
