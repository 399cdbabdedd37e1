//! Objects fetched into a directory of a medium, each checked against its name; what an earlier attempt has brought is used.

use crate::error::Result;
use crate::fill::{Progress, Step};
use crate::home::Authority;
use crate::install::InstallError;
use crate::io::{Create, File, IoFailure, create_dirs_in};
use crate::source::network::broken;
use crate::terminal::Terminal;
use crate::transport::{Part, Transport};
use counterfoil_format::content::ObjectName;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;

/// The objects of one release, on their way.
pub(super) struct Writing<'a> {
    terminal: &'a Terminal,
    contents: Arc<dyn Transport>,
    directory: PathBuf,
    /// Name, length and file.
    objects: Vec<(ObjectName, u64, String)>,
}

impl<'a> Writing<'a> {
    /// Into the directory `below` of a medium, no part of which is a link.
    pub fn new(
        terminal: &'a Terminal,
        authority: &Authority,
        root: &Path,
        below: &Path,
        objects: Vec<(ObjectName, u64, String)>,
    ) -> Result<Self> {
        create_dirs_in(&**terminal.io(), root, below, 0o755)?;
        Ok(Self { terminal, contents: terminal.contents(authority)?, directory: root.join(below), objects })
    }

    /// Bytes that are still to be fetched.
    pub fn missing(&self) -> Result<u64> {
        let mut missing = 0;
        for (_, length, file) in &self.objects {
            if !self.is_there(file, *length)? {
                let there = self.length(&partial(file))?.unwrap_or(0);
                missing = u64::saturating_add(missing, length.saturating_sub(there));
            }
        }
        Ok(missing)
    }

    /// Whether an earlier attempt has left something.
    pub fn is_begun(&self) -> Result<bool> {
        for (_, _, file) in &self.objects {
            if self.length(&partial(file))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Brings all of them; durable when it returns.
    pub fn run(&self, progress: &(dyn Fn(Step) + Sync)) -> Result<Progress> {
        let total = self.objects.iter().map(|(_, length, _)| *length).fold(0, u64::saturating_add);
        let mut state = Progress { total, ..Progress::default() };
        for (name, length, file) in &self.objects {
            if self.is_there(file, *length)? {
                state.reused += length;
            } else {
                self.bring(name, *length, file, &mut state, progress)?;
            }
            tell(&mut state, progress);
        }
        self.terminal.io().sync_dir(&self.directory).map_err(IoFailure::at("write", &self.directory))?;
        Ok(state)
    }

    /// Removes objects that are not among these; answers with the bytes freed.
    pub fn sweep(&self) -> Result<u64> {
        let io = self.terminal.io();
        let mut freed = 0;
        for name in io.list(&self.directory).map_err(IoFailure::at("read", &self.directory))? {
            let Some(name) = name.to_str() else { continue };
            let ours = [".pack", ".manifest", ".partial"].iter().any(|end| name.ends_with(end));
            if !ours || self.objects.iter().any(|(_, _, file)| file == name) {
                continue;
            }
            let path = self.directory.join(name);
            freed += self.length(name)?.unwrap_or(0);
            io.remove_file(&path).map_err(IoFailure::at("remove", &path))?;
        }
        Ok(freed)
    }

    /// What has its name was complete and durable before it got it.
    fn is_there(&self, file: &str, length: u64) -> Result<bool> {
        Ok(self.length(file)? == Some(length))
    }

    fn length(&self, file: &str) -> Result<Option<u64>> {
        let path = self.directory.join(file);
        match self.terminal.io().metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.length)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoFailure::at("read", &path)(error).into()),
        }
    }

    /// Goes on with what is there of it; where that turns out to be something else, once more from its beginning.
    fn bring(&self, name: &ObjectName, length: u64, file: &str, state: &mut Progress, progress: &(dyn Fn(Step) + Sync)) -> Result<()> {
        let (path, before) = (self.directory.join(partial(file)), *state);
        // A link by that name is not followed.
        if matches!(self.terminal.io().is_plain(&path), Ok(false)) {
            self.terminal.io().remove_file(&path).map_err(IoFailure::at("remove", &path))?;
        }
        for how in [Create::Resume, Create::Truncate] {
            *state = before;
            let opened = self.terminal.io().create(&path, how, 0o644).map_err(IoFailure::at("write", &path))?;
            if self.fill(&*opened, name, length, state, progress, &path)? {
                opened.sync().map_err(IoFailure::at("write", &path))?;
                drop(opened);
                let done = self.directory.join(file);
                return Ok(self.terminal.io().rename(&path, &done).map_err(IoFailure::at("write", &done))?);
            }
        }
        Err(InstallError::Damaged { what: "the contents server".into(), pack: *name, offset: 0, reason: "it is another object".into() }
            .into())
    }

    fn fill(
        &self,
        opened: &dyn File,
        name: &ObjectName,
        length: u64,
        state: &mut Progress,
        progress: &(dyn Fn(Step) + Sync),
        path: &Path,
    ) -> Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; BUFFER];
        let there = opened.size().map_err(IoFailure::at("read", path))?;
        if there > length {
            return Ok(false);
        }
        let mut at = 0;
        while at < there {
            let count = buffer.len().min(usize::try_from(there - at).unwrap_or(usize::MAX));
            opened.read_exact_at(&mut buffer[..count], at).map_err(IoFailure::at("read", path))?;
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        state.reused += there;
        if at < length {
            let mut body = self.contents.fetch(&name.to_string(), Part::from(at))?.take(length - at);
            while at < length {
                let count = match body.read(&mut buffer) {
                    Ok(0) => return Err(broken(name, io::ErrorKind::UnexpectedEof.into())),
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(broken(name, error)),
                };
                opened.write_all_at(&buffer[..count], at).map_err(IoFailure::at("write", path))?;
                hasher.update(&buffer[..count]);
                at += count as u64;
                state.written += count as u64;
                tell(state, progress);
            }
        }
        Ok(ObjectName(*hasher.finalize().as_bytes()) == *name)
    }
}

fn partial(file: &str) -> String {
    format!("{file}.partial")
}

fn tell(state: &mut Progress, progress: &(dyn Fn(Step) + Sync)) {
    state.done = state.reused + state.written;
    state.fetched = state.written;
    progress(Step::Bytes(*state));
}
