//! `publish`: a directory becomes a release (C1): cut, compressed, sealed, signed here, and stored at the contents server.

mod upload;

use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_core::{Channel, Kind, ReleaseVersion, TitleId};
use counterfoil_format::content::{
    self, ContentKey, ListedRelease, Manifest, PublishError, PublishOptions, PublishProgress, Published, Release, TreeError, publish,
};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::{SealedBox, purpose};
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey};
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::feed::Signer;
use crate::progress::Progress;
use crate::publisher::api::Api;
use crate::publisher::profile;
use crate::{files, units};
use upload::{Uploaded, Uploads};

/// Publish a directory as a release of a title
///
/// The files are cut, compressed, sealed under the title's content key and signed with the publisher's key on this machine; only
/// sealed bytes leave it. What the contents server holds already is not sent again, so repeating the command resumes it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil publish ./sky-raider --title sky-raider --version 1.0.0 --entry bin/game --kind game
  counterfoil publish ./sky-raider --title sky-raider --version 1.1.0-rc1 --channel beta --entry bin/game
  counterfoil publish ./album --title night-songs --version 1 --kind music --name 'Night Songs' --level 1")]
pub struct Publish {
    /// What to publish
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The title, by name; made at the authority if it is new
    #[arg(long)]
    title: TitleId,
    /// The release
    #[arg(long, value_name = "VERSION")]
    version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[arg(long, default_value_t)]
    channel: Channel,
    /// What people call the title, where it is new [default: its name]
    #[arg(long)]
    name: Option<String>,
    /// The file that is run or played first, as a path below DIR
    #[arg(long, value_name = "PATH")]
    entry: Option<String>,
    /// The program that runs on installation and removal, sandboxed, where the license allows it; as a path below DIR
    #[arg(long, value_name = "PATH")]
    control: Option<String>,
    /// game, music, movie or app [default: as the title is; app where it is new]
    #[arg(long)]
    kind: Option<Kind>,
    /// How hard to compress, as zstd counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Where sealed packs wait to be sent [default: in the home]
    #[arg(long, value_name = "DIR")]
    staging: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Title {
    kind: Kind,
}

#[derive(Deserialize)]
struct KeyAnswer {
    generation: u32,
    #[serde(rename = "box")]
    sealed: SealedBox,
}

#[derive(Deserialize)]
struct Releases {
    items: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    version: ReleaseVersion,
}

#[derive(Deserialize)]
struct Document {
    document: String,
}

#[derive(Serialize)]
struct Done {
    title: TitleId,
    version: ReleaseVersion,
    channel: Channel,
    files: u64,
    read: u64,
    unique: u64,
    compressed: u64,
    uploaded: u64,
    reused: u64,
    manifest: content::ObjectName,
}

impl Publish {
    /// Seals and uploads side by side, then registers the release.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, profile) = Api::connect(context)?;
        let keys = profile::required_signing_key(&context.home)?;
        let publisher = profile.publisher.clone().ok_or_else(|| {
            Failure::operation("no_publisher", "the profile names no publisher").hint("Run `counterfoil publisher login --publisher ID`.")
        })?;
        self.check_directory()?;
        self.check_programs()?;

        let kind = self.title(&api, &publisher)?;
        let (content_key, generation) = self.content_key(&api)?;
        let earlier = self.earlier(&api, &content_key, generation, &publisher, &keys);
        let staging = Staging::make(self.staging.as_deref().unwrap_or(&context.home.join("staging")), &self.title)?;
        let (published, uploaded) = self.publish(context, &api, &content_key, earlier.as_ref(), &staging)?;

        let release = Release {
            title: self.title.to_string(),
            version: self.version.to_string(),
            kind: format_kind(kind),
            entry: self.entry.clone(),
            control: self.control.clone(),
            generation,
            size: published.manifest.size(),
            files: published.manifest.files(),
            manifest: published.reference,
        };
        let document = release.sign(&publisher, &keys.signing_key());
        register(&api, &release, &self.channel, &published, &document)?;
        let listed = ListedRelease {
            version: self.version.to_string(),
            document: content::ObjectName::of(document.as_bytes()),
            channel: self.channel.to_string(),
            critical: false,
            notes: String::new(),
            withdrawn: false,
            allow_back: true,
        };
        Signer::new(context, &profile)?.add(&api, &self.title, &listed)?;
        let done = self.done(&published, uploaded);
        context.output.result(&done, || words(&done))
    }

    /// A title is made once and keeps its kind: not for a path that was mistyped.
    fn check_directory(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::file("publish", &self.directory, &error);
        std::fs::read_dir(&self.directory).map(|_| ()).map_err(failed)
    }

    /// A wrong entry would be found by the first person who runs it; better now than after an hour of packing.
    fn check_programs(&self) -> Result<(), Failure> {
        for (option, path) in [("--entry", &self.entry), ("--control", &self.control)] {
            let Some(path) = path else { continue };
            content::check_path(path).map_err(|error| Failure::usage(format!("{option}: {error}")))?;
            let found = std::fs::metadata(self.directory.join(path)).ok().filter(std::fs::Metadata::is_file);
            let found = found.ok_or_else(|| Failure::usage(format!("{option}: {path} is no file below {}", self.directory.display())))?;
            if option == "--control" && std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o111 == 0 {
                return Err(Failure::usage(format!("{option}: {path} is not a program")).hint("Make it executable: `chmod +x`."));
            }
        }
        Ok(())
    }

    /// The title at the authority, made if it is new.
    fn title(&self, api: &Api, publisher: &str) -> Result<Kind, Failure> {
        if let Some(found) = api.find::<Title>(&format!("/v1/titles/{}", self.title))? {
            return match self.kind {
                Some(kind) if kind != found.kind => {
                    Err(Failure::usage(format!("{} is of kind {} at the authority, not {kind}", self.title, found.kind))
                        .hint("Leave `--kind` out."))
                }
                _ => Ok(found.kind),
            };
        }
        let kind = self.kind.unwrap_or_default();
        let name = self.name.clone().unwrap_or_else(|| self.title.to_string());
        let body = json!({ "title": self.title, "name": name, "kind": kind, "publisher": publisher });
        api.post::<serde_json::Value>("/v1/titles", None, &body)?;
        Ok(kind)
    }

    /// The title's content key, sealed on its way to a key made for this one answer.
    fn content_key(&self, api: &Api) -> Result<(ContentKey, u32), Failure> {
        let recipient = SealingKey::generate(Kem::X25519, &mut SystemRandom);
        let body = json!({ "recipient": to_base64url(recipient.public_key().as_bytes()) });
        let answer: KeyAnswer = api.post(&format!("/v1/titles/{}/content-key", self.title), None, &body)?;
        let sealed_for = [purpose::CONTENT_KEY, self.title.as_str(), &answer.generation.to_string()];
        let opened = answer.sealed.open(&recipient, &sealed_for).ok().and_then(|key| Secret::from_slice(&key));
        let secret = opened.ok_or_else(|| Failure::operation("answer_invalid", "the content key that the authority sent does not open"))?;
        Ok((ContentKey::new(secret), answer.generation))
    }

    /// The newest other release, so that what it has in common with this one need not be stored again. Doing without only costs space.
    fn earlier(&self, api: &Api, key: &ContentKey, generation: u32, publisher: &str, keys: &HolderKeys) -> Option<Manifest> {
        let releases: Releases = api.get(&format!("/v1/titles/{}/releases?limit=2", self.title)).ok()?;
        let newest = releases.items.into_iter().find(|listed| listed.version != self.version)?;
        let newest: Document = api.get(&format!("/v1/titles/{}/releases/{}", self.title, newest.version)).ok()?;
        let own = keys.public().signing;
        let release = Release::verify(&newest.document, |kid| Some(own).filter(|_| kid == publisher)).ok()?;
        if release.generation != generation {
            return None;
        }
        let mut sealed = Vec::new();
        let limit = release.manifest.length;
        let body = api.object(&release.manifest.object.to_string(), 0).ok()?;
        std::io::Read::read_to_end(&mut std::io::Read::take(body, limit + 1), &mut sealed).ok()?;
        release.check_manifest_object(&sealed).ok()?;
        release.open_manifest(&key.chunk_keys(), &mut sealed).ok()
    }

    fn publish(
        &self,
        context: &Context,
        api: &Api,
        key: &ContentKey,
        earlier: Option<&Manifest>,
        staging: &Staging,
    ) -> Result<(Published, Uploaded), Failure> {
        let progress = Progress::new(&context.output, "published");
        let mut show = |at: &PublishProgress| progress.at(at.bytes, at.bytes_total);
        let earlier: Vec<&Manifest> = earlier.into_iter().collect();
        let options = PublishOptions { level: self.level, earlier: &earlier, ..PublishOptions::default() };
        let (published, uploads) = Uploads::run(api, &staging.0, |sink| publish(&self.directory, key, &options, sink, &mut show));
        // Where an upload failed, publishing failed because of it; the upload knows why.
        let mut uploaded = uploads?;
        let published = published.map_err(|error| unpublished(&self.directory, error))?;
        progress.finish();
        upload::manifest(api, &staging.0, &published, &mut uploaded)?;
        Ok((published, uploaded))
    }

    fn done(&self, published: &Published, uploaded: Uploaded) -> Done {
        let stored: u64 = published.packs.iter().map(|pack| pack.length).sum();
        Done {
            title: self.title.clone(),
            version: self.version.clone(),
            channel: self.channel.clone(),
            files: published.manifest.files(),
            read: published.progress.bytes,
            unique: published.progress.bytes - published.progress.bytes_known,
            compressed: stored + published.reference.length,
            uploaded: uploaded.sent,
            reused: uploaded.there + published.reused.iter().map(|reused| reused.used).sum::<u64>(),
            manifest: published.reference.object,
        }
    }
}

/// Where packs wait; gone afterwards.
struct Staging(PathBuf);

impl Staging {
    fn make(parent: &Path, title: &TitleId) -> Result<Self, Failure> {
        let path = parent.join(format!("{title}.publish"));
        // Left behind by a run that was killed: sealing is quicker than checking.
        let _ = std::fs::remove_dir_all(&path);
        files::create_directory(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn register(api: &Api, release: &Release, channel: &Channel, published: &Published, document: &str) -> Result<(), Failure> {
    let packs = published.manifest.packs().iter().map(|pack| json!({ "object": pack.name, "length": pack.length }));
    let manifest = json!({ "object": release.manifest.object, "length": release.manifest.length });
    let objects: Vec<_> = std::iter::once(manifest).chain(packs).collect();
    let body = json!({ "document": document, "objects": objects, "channel": channel });
    api.post::<serde_json::Value>(&format!("/v1/titles/{}/releases", release.title), None, &body).map(|_| ())
}

fn unpublished(directory: &Path, error: PublishError) -> Failure {
    let fact = format!("cannot publish {}: {error}", directory.display());
    match &error {
        PublishError::Tree(TreeError::Path(_)) => Failure::refused("path_refused", fact)
            .hint("Rename or remove it: every name must work on every platform, and links must stay inside the directory."),
        PublishError::Tree(_) => Failure::operation("io", fact),
        PublishError::Changed(_) => Failure::operation("changed", fact).hint("Publish from a directory that nothing writes to."),
        PublishError::Read { source, .. } | PublishError::Sink(source) => Failure::file("publish", directory, source),
        _ => Failure::operation("publish", fact),
    }
}

fn format_kind(kind: Kind) -> content::Kind {
    match kind {
        Kind::Game => content::Kind::Game,
        Kind::Music => content::Kind::Music,
        Kind::Movie => content::Kind::Movie,
        Kind::App => content::Kind::App,
    }
}

fn words(done: &Done) -> String {
    format!(
        "published {} {} ({}): {}\n  read        {}\n  unique      {}\n  compressed  {}\n  uploaded    {}\n  reused      {}\n",
        done.title,
        done.version,
        done.channel,
        units::count(done.files, "file", "files"),
        units::bytes(done.read),
        units::bytes(done.unique),
        units::bytes(done.compressed),
        units::bytes(done.uploaded),
        units::bytes(done.reused),
    )
}
