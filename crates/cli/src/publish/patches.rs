//! Prepares ways from earlier releases to the one that is published, and back: patches, or deltas; each only where it is the smallest way.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::{
    ContentKey, Encoder, Manifest, ManifestRef, ObjectName, PackedObject, PatchHeader, PatchWriter, SealedPatch,
};
use counterfoil_format::secret::SystemRandom;
use counterfoil_patch::MakeError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::compare::{self, Selection};
use super::deltas::Deltas;
use super::earlier::{self, Earlier, PackCache};
use super::prove::{NotProven, prove};
use super::text::Text;
use super::upload::{self, Uploaded};
use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;
use crate::publisher::api::Api;

/// What patches are made of and for.
pub struct Workshop<'a> {
    pub context: &'a Context,
    pub api: &'a Api,
    pub title: &'a TitleId,
    pub key: &'a ContentKey,
    /// The release that is published, as it lies here.
    pub root: &'a Path,
    pub version: &'a ReleaseVersion,
    pub manifest: &'a Arc<Manifest>,
    pub reference: ManifestRef,
    pub level: i32,
    /// Where patches wait until the release is published, and packs of earlier releases while patches are made.
    pub staging: PathBuf,
}

/// How a device that has one release comes to another.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// The release that it has.
    pub from: ReleaseVersion,
    /// The release that it goes to.
    pub to: ReleaseVersion,
    /// Bytes of everything.
    pub full: u64,
    /// Bytes of the chunks that it lacks, and of the manifest.
    pub chunks: u64,
    /// Bytes of the patch.
    pub patch: Option<u64>,
    /// Bytes of the deltas that are there in its stead, and of the chunks that they do not give.
    pub deltas: Option<u64>,
    /// Patch or deltas as an object.
    pub object: Option<ObjectName>,
    /// Why there is neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<String>,
    /// What the chunks of the release that it goes to were compressed by.
    #[serde(skip)]
    encoder: String,
    /// Where the object lies, if it is not at the authority yet; its length; of deltas, sealed bytes of the chunks that they give.
    #[serde(skip)]
    staged: Option<(PathBuf, u64)>,
    #[serde(skip)]
    covered: Option<u64>,
}

impl Way {
    /// The object, where the contents server may lack it.
    pub fn to_send(&self) -> Option<PackedObject> {
        let (_, length) = self.staged.as_ref()?;
        Some(PackedObject { name: self.object?, length: *length })
    }
}

/// One end of a way.
pub struct End<'a> {
    pub version: &'a ReleaseVersion,
    pub manifest: &'a Arc<Manifest>,
    pub reference: ManifestRef,
    /// Compressor and level, where it is known and ours.
    pub level: Option<i32>,
    pub in_packs: bool,
}

/// What a way is prepared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Patch,
    Deltas,
}

/// A patch that the authority knows, or deltas.
#[derive(Deserialize)]
struct Listed {
    from: ReleaseVersion,
    to: ReleaseVersion,
    object: ObjectName,
    length: u64,
    encoder: String,
    /// Of deltas.
    covered: Option<u64>,
}

impl Workshop<'_> {
    /// Makes a patch from each of the first `patches` of the earlier releases, deltas from the others; with `back` also to each that may be
    /// gone back to.
    ///
    /// What was made by an interrupted run, or a dry one, is not made again.
    pub fn make(&self, earlier: &[&Earlier], patches: usize, back: bool) -> Result<Vec<Way>, Failure> {
        files::create_directory(&self.staging)?;
        let cache = PackCache::open(self.staging.join("packs"))?;
        let here =
            End { version: self.version, manifest: self.manifest, reference: self.reference, level: Some(self.level), in_packs: false };
        let known = self.known()?;
        let mut ways = vec![];
        for (at, &before) in earlier.iter().enumerate() {
            let by = if at < patches { By::Patch } else { By::Deltas };
            let there = End {
                version: &before.version,
                manifest: &before.manifest,
                reference: before.release.manifest,
                level: level_of(&before.encoder),
                in_packs: true,
            };
            ways.push(self.way(by, &there, &here, &known, &cache)?);
            if back && before.allow_back {
                ways.push(self.way(by, &here, &there, &known, &cache)?);
            }
        }
        cache.remove();
        self.forget_others(&ways);
        Ok(ways)
    }

    /// Sends what the contents server lacks.
    pub fn upload(&self, ways: &[Way], uploaded: &mut Uploaded) -> Result<(), Failure> {
        for way in ways {
            if let (Some((path, _)), Some(object)) = (&way.staged, way.to_send()) {
                upload::object(self.api, path, &object, uploaded)?;
            }
        }
        Ok(())
    }

    /// Tells the authority of them, now that it knows both releases of each.
    pub fn register(&self, ways: &[Way]) -> Result<(), Failure> {
        for way in ways {
            let Some((_, length)) = &way.staged else { continue };
            let mut body = json!({ "from": way.from, "to": way.to, "object": way.object, "length": length, "encoder": way.encoder });
            let mut kind = "patches";
            if let Some(covered) = way.covered {
                (kind, body["covered"]) = ("deltas", covered.into());
            }
            self.api.post::<serde_json::Value>(&format!("/v1/titles/{}/{kind}", self.title), None, &body)?;
        }
        earlier::remove(&self.staging);
        Ok(())
    }

    fn known(&self) -> Result<Vec<Listed>, Failure> {
        let of = |kind| self.api.find_all(&format!("/v1/titles/{}/{kind}", self.title));
        of("patches").chain(of("deltas")).collect()
    }

    fn way(&self, by: By, from: &End<'_>, to: &End<'_>, known: &[Listed], cache: &PackCache) -> Result<Way, Failure> {
        let full = to.manifest.packed_size() + to.reference.length;
        let missing = compare::missing(from.manifest, to.manifest);
        let chunks = missing + to.reference.length;
        let mut way = Way {
            from: from.version.clone(),
            to: to.version.clone(),
            full,
            chunks,
            patch: None,
            deltas: None,
            object: None,
            without: None,
            encoder: Encoder::name(),
            staged: None,
            covered: None,
        };
        let is_it = |known: &&Listed| known.from == way.from && known.to == way.to && known.encoder == way.encoder;
        // A patch that is there is the better way.
        if let Some(there) = known.iter().filter(is_it).find(|known| by == By::Deltas || known.covered.is_none()) {
            way.object = Some(there.object);
            match there.covered {
                None => way.patch = Some(there.length),
                Some(covered) => way.deltas = Some(there.length + missing.saturating_sub(covered)),
            }
            return Ok(way);
        }
        let Some(level) = to.level else {
            way.without = Some(format!("{} was not compressed by {}", to.version, way.encoder));
            return Ok(way);
        };
        let path = self.staged_path(by, &way, from, to);
        match by {
            By::Patch => {
                // What saves hardly anything is not worth the work of applying it.
                let least = full.min(chunks);
                match self.patch(&path, from, to, level, least - least / 64, cache)? {
                    Ok(object) => {
                        (way.patch, way.object, way.staged) = (Some(object.length), Some(object.name), Some((path, object.length)))
                    }
                    Err(why) => way.without = Some(why),
                }
            }
            By::Deltas => match self.deltas(&path, from, to, level, cache)? {
                Ok(Deltas { object, covered }) => {
                    way.deltas = Some(object.length + missing.saturating_sub(covered));
                    (way.object, way.staged, way.covered) = (Some(object.name), Some((path, object.length)), Some(covered));
                }
                Err(why) => way.without = Some(why),
            },
        }
        Ok(way)
    }

    /// The patch at `path`, made if it is not there; or why there is none.
    fn patch(
        &self,
        path: &Path,
        from: &End<'_>,
        to: &End<'_>,
        level: i32,
        limit: u64,
        cache: &PackCache,
    ) -> Result<Result<PackedObject, String>, Failure> {
        if path.is_file() {
            return named(path).map(Ok).map_err(|error| Failure::file("read", path, &error));
        }
        let chosen = compare::select(from.manifest, to.manifest);
        let (old, new) = (self.text(from, &chosen.old, cache)?, self.text(to, &chosen.new, cache)?);
        let Selection { old: old_entries, new: new_entries } = chosen;
        let header = PatchHeader {
            from: from.reference.id,
            to: to.reference.id,
            encoder: Encoder::name(),
            level,
            old: old_entries,
            new: new_entries,
        };
        let partial = path.with_extension("partial");
        if !self.write(&partial, &header, &old, &new, limit).map_err(|error| unmade(&partial, &error))? {
            let _ = fs::remove_file(&partial);
            return Ok(Err("it would not be smaller than chunks".to_owned()));
        }
        let failed = |error: io::Error| Failure::file("read", &partial, &error);
        let sealed = SealedPatch::open(self.key.patch_key(), File::open(&partial).map_err(failed)?).map_err(failed)?;
        let progress = Progress::new(&self.context.output, "proved");
        let proof = prove(&sealed, self.key, &old, to.manifest, &mut |at| progress.at(at.done, at.total));
        progress.finish();
        match proof {
            Ok(()) => {}
            Err(NotProven::Io(error)) => return Err(failed(error)),
            Err(wrong @ NotProven::Wrong(_)) => {
                let _ = fs::remove_file(&partial);
                self.context.output.note(&format!("no patch from {} to {}: {wrong}", from.version, to.version));
                return Ok(Err(wrong.to_string()));
            }
        }
        fs::rename(&partial, path).and_then(|()| files::sync_directory(path)).map_err(|error| Failure::file("write", path, &error))?;
        named(path).map(Ok).map_err(|error| Failure::file("read", path, &error))
    }

    fn text(&self, end: &End<'_>, entries: &[u32], cache: &PackCache) -> Result<Text, Failure> {
        if !end.in_packs {
            return Ok(Text::of_directory(end.manifest, entries, self.root));
        }
        cache.fetch(self.context, self.api, end.manifest, entries)?;
        Ok(Text::of_packs(cache.reader(end.manifest, self.key), entries))
    }

    /// Makes and seals; false where it comes to more than `limit` bytes.
    fn write(&self, partial: &Path, header: &PatchHeader, old: &Text, new: &Text, limit: u64) -> Result<bool, MakeError> {
        let progress = Progress::new(&self.context.output, "compared");
        progress.of(new.total());
        let target = Bounded { file: BufWriter::new(File::create(partial)?), left: limit };
        let made =
            PatchWriter::new(self.key.patch_key(), header, &mut SystemRandom, target).map_err(MakeError::from).and_then(|mut writer| {
                let options = counterfoil_patch::Options::default();
                counterfoil_patch::make(old, new, &options, &mut writer, &mut |at| progress.at(at.done, at.total))?;
                let (target, _) = writer.finish()?;
                target.file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                Ok(())
            });
        progress.finish();
        match made {
            Ok(()) => Ok(true),
            Err(MakeError::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn staged_path(&self, by: By, way: &Way, from: &End<'_>, to: &End<'_>) -> PathBuf {
        let short = |end: &End<'_>| end.reference.id.to_string()[..16].to_owned();
        let kind = if by == By::Deltas { "-deltas" } else { "" };
        self.staging.join(format!("{}-{}-{}{kind}", short(from), short(to), way.encoder.replace(' ', "-")))
    }

    /// What an earlier run made for a directory that has changed since.
    fn forget_others(&self, ways: &[Way]) {
        let kept: HashSet<&Path> = ways.iter().filter_map(|way| way.staged.as_ref().map(|(path, _)| path.as_path())).collect();
        for entry in fs::read_dir(&self.staging).into_iter().flatten().flatten() {
            if !kept.contains(entry.path().as_path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The level of a release's chunks, if this program would compress them to the same bytes.
pub fn level_of(encoder: &str) -> Option<i32> {
    encoder.strip_prefix(&Encoder::name())?.strip_prefix(" level ")?.parse().ok()
}

pub fn named(path: &Path) -> io::Result<PackedObject> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(BufReader::new(file))?;
    Ok(PackedObject { name: ObjectName(*hasher.finalize().as_bytes()), length })
}

fn unmade(path: &Path, error: &MakeError) -> Failure {
    match error {
        MakeError::Io(error) => Failure::file("make", path, error),
        error => Failure::operation("publish", format!("cannot make a patch: {error}")),
    }
}

/// Stops what grows larger than it is worth.
struct Bounded {
    file: BufWriter<File>,
    left: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
