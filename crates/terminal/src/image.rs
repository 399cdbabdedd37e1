//! The installation file (D4): one release with its manifest and packs, as a tar archive that is the same byte for byte whoever makes it.
//!
//! ```text
//! content/<title>/release.jws              as the publisher signed it
//! content/<title>/<object>.manifest        sealed under the content key
//! content/<title>/<object>.pack …          likewise, by name
//! ```
//!
//! Unpacked it is the content area of a medium. It is read more strictly than tar: every header must be the one that is written here, so
//! that there are no links, no paths that lead elsewhere, nothing twice, and nothing in between or behind.

use crate::error::Result;
use crate::install::InstallError;
use crate::io::Sequential;
use crate::medium::{LONGEST_MANIFEST, LONGEST_RELEASE, layout};
use crate::source::{Source, processors};
use counterfoil_core::TitleId;
use counterfoil_format::content::{ObjectName, ReadAt, Release, Transcrypter};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Bytes of a tar block.
const BLOCK: u64 = 512;
/// What an archive ends with: two blocks of zeros.
pub(crate) const END: u64 = 2 * BLOCK;
/// Longest pack, in bytes.
const LONGEST_PACK: u64 = counterfoil_format::content::limits::PACK_BYTES;
/// Most packs: some terabytes of them.
const MOST_PACKS: usize = 1 << 18;

/// The header of a file in the archive.
pub(crate) fn header(path: &str, length: u64) -> io::Result<[u8; BLOCK as usize]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(length);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Bytes of zeros behind a file of that length.
pub(crate) fn padding(length: u64) -> u64 {
    (BLOCK - length % BLOCK) % BLOCK
}

/// An installation file whose parts have been found. What is in them is verified when they are used.
pub(crate) struct InstallationFile {
    pub path: PathBuf,
    file: Box<dyn ReadAt>,
    pub title: TitleId,
    /// The release document, not verified.
    pub token: String,
    manifest: (ObjectName, Range<u64>),
    packs: BTreeMap<ObjectName, Range<u64>>,
}

/// What a file in the archive is.
enum Member {
    Release(TitleId),
    Manifest(ObjectName),
    Pack(ObjectName),
}

impl InstallationFile {
    /// Whether a file begins as one does; what is wrong with it then is told by [`open`](Self::open).
    pub fn is_one(file: &dyn ReadAt) -> bool {
        let mut block = [0; BLOCK as usize];
        file.read_exact_at(&mut block, 0).is_ok() && tar::Header::from_byte_slice(&block).as_ustar().is_some()
    }

    /// Finds its parts.
    pub fn open(path: &Path, file: Box<dyn ReadAt>) -> Result<Self> {
        let bad = |reason: String| InstallError::File { path: path.to_owned(), reason };
        Parts::read(&*file)
            .and_then(|parts| {
                let (title, range) = parts.release.ok_or("it holds no release document")?;
                let mut token = vec![0; (range.end - range.start) as usize];
                file.read_exact_at(&mut token, range.start).map_err(|error| error.to_string())?;
                let token = String::from_utf8(token).map_err(|_| "its release document is not text")?;
                let manifest = parts.manifest.ok_or("it holds no manifest")?;
                Ok((title, token, manifest, parts.packs))
            })
            .map(|(title, token, manifest, packs)| Self { path: path.to_owned(), file, title, token, manifest, packs })
            .map_err(|reason| bad(reason).into())
    }

    fn wrong(&self, reason: String) -> crate::Error {
        InstallError::File { path: self.path.clone(), reason }.into()
    }
}

/// The archive's parts, as they come.
#[derive(Default)]
struct Parts {
    release: Option<(TitleId, Range<u64>)>,
    manifest: Option<(ObjectName, Range<u64>)>,
    packs: BTreeMap<ObjectName, Range<u64>>,
}

impl Parts {
    fn read(file: &dyn ReadAt) -> std::result::Result<Self, String> {
        let size = file.size().map_err(|error| error.to_string())?;
        let mut parts = Self::default();
        let mut at = 0;
        loop {
            let mut block = [0; BLOCK as usize];
            file.read_exact_at(&mut block, at).map_err(|_| format!("it is cut off at {at}"))?;
            if block == [0; BLOCK as usize] {
                break;
            }
            let (member, length) = parts.member(&block).map_err(|reason| format!("{reason} (at {at})"))?;
            let range = at + BLOCK..at + BLOCK + length;
            at = range.end + padding(length);
            if at > size {
                return Err("it is cut off".into());
            }
            let mut rest = vec![1; padding(length) as usize];
            file.read_exact_at(&mut rest, range.end).map_err(|error| error.to_string())?;
            if rest.iter().any(|byte| *byte != 0) {
                return Err(format!("there is something between its parts, at {}", range.end));
            }
            match member {
                Member::Release(title) => parts.release = Some((title, range)),
                Member::Manifest(object) => parts.manifest = Some((object, range)),
                Member::Pack(object) => drop(parts.packs.insert(object, range)),
            }
        }
        let mut rest = [1; BLOCK as usize];
        let ends = file.read_exact_at(&mut rest, at + BLOCK).is_ok() && rest == [0; BLOCK as usize] && size == at + END;
        if ends { Ok(parts) } else { Err(format!("it does not end where it should, at {}", at + END)) }
    }

    /// What comes next, which must be what has to come next.
    fn member(&self, block: &[u8; BLOCK as usize]) -> std::result::Result<(Member, u64), String> {
        let found = tar::Header::from_byte_slice(block);
        let path = String::from_utf8(found.path_bytes().into_owned()).map_err(|_| "a path is not text")?;
        let length = found.entry_size().map_err(|_| "a length is none")?;
        let (member, most) = self.expect(&path).ok_or_else(|| format!("`{}` has no business there", path.escape_debug()))?;
        if length == 0 || length > most {
            return Err(format!("`{path}` has {length} bytes"));
        }
        // One spelling: no other kind of entry, owner, time or trick with the path comes through.
        match header(&path, length) {
            Ok(header) if header == *block => Ok((member, length)),
            _ => Err(format!("`{path}` has a header that no installation file has")),
        }
    }

    fn expect(&self, path: &str) -> Option<(Member, u64)> {
        let (title, name) = path.strip_prefix(layout::CONTENT)?.strip_prefix('/')?.split_once('/')?;
        let title: TitleId = title.parse().ok()?;
        let Some((known, _)) = &self.release else {
            return (name == layout::RELEASE).then_some((Member::Release(title), LONGEST_RELEASE));
        };
        let (object, kind) = name.split_once('.')?;
        let object: ObjectName = object.parse().ok()?;
        let last = self.packs.last_key_value();
        let (member, most, path_of) = match (kind, &self.manifest) {
            ("manifest", None) => (Member::Manifest(object), LONGEST_MANIFEST, layout::manifest(&title, &object)),
            ("pack", Some(_)) if self.packs.len() < MOST_PACKS && last.is_none_or(|(last, _)| last.0 < object.0) => {
                (Member::Pack(object), LONGEST_PACK, layout::pack(&title, &object))
            }
            _ => return None,
        };
        (*known == title && path_of == path).then_some((member, most))
    }
}

impl Source for &InstallationFile {
    fn manifest(&self, release: &Release) -> Result<Vec<u8>> {
        let (object, range) = &self.manifest;
        if *object != release.manifest.object || release.title != self.title.as_str() {
            return Err(self.wrong(format!("it is not of {} {}", release.title, release.version)));
        }
        let mut sealed = vec![0; (range.end - range.start) as usize];
        self.file.read_exact_at(&mut sealed, range.start).map_err(|error| self.unreadable(object, 0, error))?;
        release.check_manifest_object(&sealed).map_err(|error| self.not_authentic(error.to_string()))?;
        Ok(sealed)
    }

    fn pack(&self, pack: &ObjectName, range: Range<u64>) -> Result<Box<dyn Read + Send + '_>> {
        let found = self.packs.get(pack).ok_or_else(|| self.wrong(format!("pack {pack} is not in it")))?;
        if range.end > found.end - found.start {
            return Err(self.wrong(format!("pack {pack} is cut off")));
        }
        Ok(Box::new(Sequential::new(&*self.file, found.start + range.start).take(range.end - range.start)))
    }

    fn bulk(&self) -> usize {
        Transcrypter::BULK
    }

    fn at_once(&self) -> usize {
        processors()
    }

    fn not_authentic(&self, reason: String) -> crate::Error {
        self.wrong(format!("it is not as its publisher made it: {reason}"))
    }

    fn unreadable(&self, pack: &ObjectName, offset: u64, source: io::Error) -> crate::Error {
        self.wrong(format!("pack {pack} cannot be read at {offset}: {source}"))
    }

    fn damaged(&self, pack: &ObjectName, offset: u64, reason: String) -> crate::Error {
        self.wrong(format!("pack {pack} is damaged at {offset}: {reason}"))
    }
}
