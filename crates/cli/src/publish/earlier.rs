//! Earlier releases of a title: what their packs can be used for again, and what patches begin at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::{ContentKey, EntryKind, Manifest, PackRef, ReadAt, Reader, Release, check_object};
use counterfoil_format::sign::VerifyingKey;
use serde::Deserialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::files;
use crate::progress::Progress;
use crate::publisher::api::Api;

/// Plaintext of an earlier release that is kept in memory, in bytes.
const CACHE: usize = 64 << 20;

/// Which ones are wanted.
pub struct Wanted<'a> {
    /// Of which title.
    pub title: &'a TitleId,
    /// The release that is published: neither it nor what came after it is earlier.
    pub version: &'a ReleaseVersion,
    /// The channel that patches are made on.
    pub channel: &'a Channel,
    /// Generation of the content key.
    pub generation: u32,
    /// Who signed them.
    pub publisher: &'a str,
    /// And with which key.
    pub key: VerifyingKey,
    /// How many of the channel.
    pub count: usize,
}

/// An earlier release whose manifest was opened.
pub struct Earlier {
    /// Which.
    pub version: ReleaseVersion,
    /// For whom.
    pub channel: Channel,
    /// What its chunks were compressed by.
    pub encoder: String,
    /// Whether devices may go back to it.
    pub allow_back: bool,
    /// Its document.
    pub release: Release,
    /// What it consists of.
    pub manifest: Arc<Manifest>,
}

#[derive(Deserialize)]
struct Listed {
    version: ReleaseVersion,
    channel: Channel,
    generation: u32,
    #[serde(default)]
    encoder: String,
    #[serde(default)]
    withdrawn: bool,
    #[serde(default)]
    allow_back: bool,
}

#[derive(Deserialize)]
struct Document {
    document: String,
}

/// The last ones, newest first: the newest of all on whatever channel, and the newest `count` of the channel. One that cannot be read is
/// left out with a note: doing without only costs space and patches.
pub fn releases(context: &Context, api: &Api, key: &ContentKey, wanted: &Wanted<'_>) -> Result<Vec<Earlier>, Failure> {
    let mut opened = vec![];
    for listed in list(api, wanted)? {
        match open(api, key, wanted, &listed) {
            Ok((release, manifest)) => {
                let Listed { version, channel, encoder, allow_back, .. } = listed;
                opened.push(Earlier { version, channel, encoder, allow_back, release, manifest: Arc::new(manifest) });
            }
            Err(why) => context.output.note(&format!("release {} cannot be built on: {why}", listed.version)),
        }
    }
    Ok(opened)
}

fn list(api: &Api, wanted: &Wanted<'_>) -> Result<Vec<Listed>, Failure> {
    let mut chosen: Vec<Listed> = vec![];
    let mut of_channel = 0;
    // A title that is not there yet has none.
    for listed in api.find_all::<Listed>(&format!("/v1/titles/{}/releases", wanted.title)) {
        let listed = listed?;
        if listed.version == *wanted.version {
            // The same command again: what came since is not earlier.
            (chosen, of_channel) = (vec![], 0);
            continue;
        }
        if listed.generation != wanted.generation || listed.withdrawn {
            continue;
        }
        let counts = listed.channel == *wanted.channel && of_channel < wanted.count;
        of_channel += usize::from(counts);
        if counts || chosen.is_empty() {
            chosen.push(listed);
        }
    }
    Ok(chosen)
}

fn open(api: &Api, key: &ContentKey, wanted: &Wanted<'_>, listed: &Listed) -> Result<(Release, Manifest), String> {
    let path = format!("/v1/titles/{}/releases/{}", wanted.title, listed.version);
    let document: Document = api.get(&path).map_err(|failure| failure.message)?;
    let verified = Release::verify(&document.document, |kid| (kid == wanted.publisher).then_some(wanted.key));
    let release = verified.map_err(|error| error.to_string())?;
    let mut sealed = Vec::new();
    let limit = release.manifest.length;
    let body = api.object(&release.manifest.object.to_string(), 0).map_err(|failure| failure.message)?;
    body.take(limit + 1).read_to_end(&mut sealed).map_err(|error| error.to_string())?;
    release.check_manifest_object(&sealed).map_err(|error| error.to_string())?;
    let manifest = release.open_manifest(&key.chunk_keys(), &mut sealed).map_err(|error| error.to_string())?;
    Ok((release, manifest))
}

/// Packs of earlier releases on this machine, sealed as they are in the store.
pub struct PackCache(PathBuf);

impl PackCache {
    /// In a directory that it makes.
    pub fn open(directory: PathBuf) -> Result<Self, Failure> {
        files::create_directory(&directory)?;
        Ok(Self(directory))
    }

    /// Fetches the packs that the given files of a release lie in, going on where an earlier run was cut off.
    pub fn fetch(&self, context: &Context, api: &Api, manifest: &Manifest, entries: &[u32]) -> Result<(), Failure> {
        let missing: Vec<&PackRef> = packs_of(manifest, entries).into_iter().filter(|pack| !self.path(pack).is_file()).collect();
        let progress = Progress::new(&context.output, "fetched");
        progress.of(missing.iter().map(|pack| pack.length).sum());
        for pack in missing {
            self.fetch_pack(api, pack, &progress)?;
        }
        progress.finish();
        Ok(())
    }

    fn fetch_pack(&self, api: &Api, pack: &PackRef, progress: &Progress) -> Result<(), Failure> {
        let path = self.path(pack);
        let partial = path.with_extension("partial");
        let failed = |error: io::Error| Failure::file("write", &partial, &error);
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&partial).map_err(failed)?;
        let here = file.metadata().map_err(failed)?.len();
        if here < pack.length {
            let body = api.object(&pack.name.to_string(), here)?;
            io::copy(&mut Counted { body: body.take(pack.length - here), progress }, &mut file).map_err(failed)?;
        }
        let whole = File::open(&partial).map_err(failed)?;
        if let Err(error) = check_object(io::BufReader::new(whole), &pack.name, pack.length) {
            // What is there is of no use; what broke off is.
            if file.metadata().map_err(failed)?.len() >= pack.length {
                fs::remove_file(&partial).map_err(failed)?;
            }
            return Err(Failure::operation("object_mismatch", error.to_string()).hint("Repeat the command; it fetches the rest."));
        }
        fs::rename(&partial, &path).map_err(failed)
    }

    /// Reads the files whose packs were fetched.
    pub fn reader(&self, manifest: &Arc<Manifest>, key: &ContentKey) -> Reader {
        let directory = self.0.clone();
        Reader::new(Arc::clone(manifest), key.chunk_keys(), CACHE, move |name| {
            let file = File::open(directory.join(name.to_string()))?;
            Ok(Box::new(file) as Box<dyn ReadAt>)
        })
    }

    fn path(&self, pack: &PackRef) -> PathBuf {
        self.0.join(pack.name.to_string())
    }

    /// Takes all of it away.
    pub fn remove(self) {
        remove(&self.0);
    }
}

/// Takes away what only saves time when it is kept.
pub fn remove(directory: &Path) {
    let _ = fs::remove_dir_all(directory);
}

fn packs_of<'a>(manifest: &'a Manifest, entries: &[u32]) -> Vec<&'a PackRef> {
    let mut needed = vec![false; manifest.packs().len()];
    for &index in entries {
        let EntryKind::File { runs, .. } = manifest.entry(index as usize).kind else { continue };
        for run in runs {
            for chunk in &manifest.chunks()[run.first as usize..(run.first + run.count) as usize] {
                needed[chunk.pack as usize] = true;
            }
        }
    }
    manifest.packs().iter().zip(needed).filter(|(_, needed)| *needed).map(|(pack, _)| pack).collect()
}

struct Counted<'a, R> {
    body: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.body.read(into)?;
        self.progress.add(read as u64);
        Ok(read)
    }
}
