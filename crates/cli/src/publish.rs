//! `publish`: a directory becomes a release (C1): cut, compressed, sealed, signed here, and stored at the contents server; with patches
//! from the releases before it (A5).

mod authority;
mod compare;
mod deltas;
mod earlier;
mod neighbours;
mod patches;
mod prove;
mod report;
mod text;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use counterfoil_core::{Channel, Kind, ReleaseVersion, TitleId};
use counterfoil_format::content::{
    self, ContentKey, Encoder, Manifest, PackSink, PackedObject, PublishError, PublishOptions, PublishProgress, Published, Release,
    TreeError, publish,
};
use counterfoil_format::holder::HolderKeys;
use counterfoil_format::secret::{Secret, SystemRandom};

use crate::context::Context;
use crate::failure::Failure;
use crate::feed::Signer;
use crate::files;
use crate::progress::Progress;
use crate::publisher::api::Api;
use crate::publisher::profile::{self, Profile};
use authority::{content_key, find_title, format_kind, make_title, register};
use compare::State;
use earlier::{Earlier, Wanted};
use patches::{Way, Workshop, level_of};
use report::{Changes, Done};
use upload::{Uploaded, Uploads};

/// How hard to compress where nothing is said and no release came before, as zstd counts.
const LEVEL: i32 = 3;

/// Publish a directory as a release of a title
///
/// The files are cut, compressed, sealed under the title's content key and signed with the publisher's key on this machine; only
/// sealed bytes leave it. What the contents server holds already is not sent again, so repeating the command resumes it.
///
/// From the last releases of the channel patches are made, and deltas from some before those, so that devices fetch little. What would be no
/// smaller than the chunks that a device lacks is not made.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil publish ./sky-raider --title sky-raider --version 1.0.0 --entry bin/game --kind game
  counterfoil publish ./sky-raider --title sky-raider --version 1.0.1 --entry bin/game --dry-run
  counterfoil publish ./sky-raider --title sky-raider --version 1.0.1 --entry bin/game --notes 'Fixes a crash' --critical --rollout 10
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
    /// How hard to compress, as zstd counts; another one than before stores everything anew [default: as the release before; else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=22))]
    level: Option<i32>,
    /// From how many of the channel's last releases to make patches
    #[arg(long, value_name = "N", default_value_t = 3)]
    patches: u8,
    /// From how many releases before those to prepare deltas: chunks that are written against what a device has
    #[arg(long, value_name = "N", default_value_t = 5)]
    deltas: u8,
    /// Prepare the ways back to those releases as well, where their publisher allows it
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    saying: Saying,
    /// Say what would be published and what devices would fetch, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Show every file
    #[arg(long)]
    verbose: bool,
    /// Where sealed packs and patches wait to be sent [default: in the home]
    #[arg(long, value_name = "DIR")]
    staging: Option<PathBuf>,
}

/// What is said of the release; `counterfoil release` says it otherwise later.
#[derive(Args, Debug)]
pub struct Saying {
    /// For people: what is new
    #[arg(long, value_name = "TEXT")]
    notes: Option<String>,
    /// It mends something dangerous: devices are told so
    #[arg(long)]
    critical: bool,
    /// To how many percent of the devices it is offered at first
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    rollout: u8,
    /// Offer it to nobody until `counterfoil release resume`
    #[arg(long)]
    hold: bool,
}

/// The title, as far as publishing needs it.
struct Ground {
    kind: Kind,
    publisher: String,
    keys: HolderKeys,
    key: ContentKey,
    generation: u32,
    /// Newest first.
    earlier: Vec<Earlier>,
    level: i32,
}

impl Publish {
    /// Seals and uploads side by side, makes patches, then registers the release.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, profile) = Api::connect(context)?;
        self.check_directory()?;
        self.check_programs()?;
        let ground = self.ground(context, &api, &profile)?;
        let staging = Staging::make(&self.staging(context), &self.title)?;
        let (published, mut uploaded) = self.publish(context, &api, &ground, &staging)?;

        let manifest = Arc::new(published.manifest.clone());
        let workshop = self.workshop(context, &api, &ground, &manifest, &published);
        let of_channel: Vec<&Earlier> = ground.earlier.iter().filter(|earlier| earlier.channel == self.channel).collect();
        let count = usize::from(self.patches) + usize::from(self.deltas);
        let ways = workshop.make(&of_channel[..of_channel.len().min(count)], usize::from(self.patches), self.back)?;
        if self.dry_run {
            self.count_missing(&api, &published, &ways, &mut uploaded)?;
        } else {
            upload::manifest(&api, &staging.0, &published, &mut uploaded)?;
            workshop.upload(&ways, &mut uploaded)?;
            self.register(context, &api, &profile, &ground, &published, || workshop.register(&ways))?;
        }
        let done = self.done(&ground, of_channel.first().copied(), &published, uploaded, ways);
        context.output.result(&done, || done.words(self.verbose))
    }

    /// Title, keys and earlier releases. A dry run of a title that is not there yet does with a key of its own.
    fn ground(&self, context: &Context, api: &Api, profile: &Profile) -> Result<Ground, Failure> {
        let keys = profile::required_signing_key(&context.home)?;
        let publisher = profile.publisher.clone().ok_or_else(|| {
            Failure::operation("no_publisher", "the profile names no publisher").hint("Run `counterfoil publisher login --publisher ID`.")
        })?;
        let found = find_title(api, &self.title, self.kind)?;
        let kind = found.or(self.kind).unwrap_or_default();
        if found.is_none() && self.dry_run {
            let key = ContentKey::new(Secret::random(&mut SystemRandom));
            return Ok(Ground { kind, publisher, keys, key, generation: 1, earlier: vec![], level: self.level.unwrap_or(LEVEL) });
        }
        if found.is_none() {
            make_title(api, &self.title, self.name.as_deref(), kind, &publisher)?;
        }
        let (key, generation) = content_key(api, &self.title)?;
        let wanted = Wanted {
            title: &self.title,
            version: &self.version,
            channel: &self.channel,
            generation,
            publisher: &publisher,
            key: keys.signing_key().verifying_key(),
            // The one before is compared with even if no patch is made.
            count: (usize::from(self.patches) + usize::from(self.deltas)).max(1),
        };
        let earlier = earlier::releases(context, api, &key, &wanted)?;
        if let Some(last) =
            earlier.iter().find(|earlier| earlier.channel == self.channel).filter(|last| reads_as_before(&self.version, &last.version))
        {
            let (version, last, channel) = (&self.version, &last.version, &self.channel);
            context.output.note(&format!(
                "{version} reads as a release before {last}, the last one on {channel}; what is published last is what devices are brought to"
            ));
        }
        let before = earlier.first().and_then(|earlier| level_of(&earlier.encoder));
        let level = self.level.or(before).unwrap_or(LEVEL);
        Ok(Ground { kind, publisher, keys, key, generation, earlier, level })
    }

    fn workshop<'a>(
        &'a self,
        context: &'a Context,
        api: &'a Api,
        ground: &'a Ground,
        manifest: &'a Arc<Manifest>,
        published: &Published,
    ) -> Workshop<'a> {
        let staging = self.staging(context).join(format!("{}.patches", self.title));
        Workshop {
            context,
            api,
            title: &self.title,
            key: &ground.key,
            root: &self.directory,
            version: &self.version,
            manifest,
            reference: published.reference,
            level: ground.level,
            staging,
        }
    }

    fn staging(&self, context: &Context) -> PathBuf {
        self.staging.clone().unwrap_or_else(|| context.home.join("staging"))
    }

    /// A title is made once and keeps its kind: not for a path that was mistyped.
    fn check_directory(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            let failure = Failure::file("publish", &self.directory, &error);
            if error.kind() == std::io::ErrorKind::NotADirectory {
                failure.hint("Name the directory that holds the content.")
            } else {
                failure
            }
        };
        std::fs::read_dir(&self.directory).map(|_| ()).map_err(failed)
    }

    /// A wrong entry would be found by the first person who runs it; better now than after an hour of packing.
    fn check_programs(&self) -> Result<(), Failure> {
        for (option, path) in [("--entry", &self.entry), ("--control", &self.control)] {
            let Some(path) = path else { continue };
            content::check_path(path).map_err(|error| Failure::usage(format!("{option}: {error}")))?;
            let found = std::fs::metadata(self.directory.join(path)).ok().filter(std::fs::Metadata::is_file);
            let found = found.ok_or_else(|| {
                Failure::usage(format!("{option}: {path} is no file below {}", self.directory.display()))
                    .hint(format!("Give the path as it is below {0}: `bin/game` is {0}/bin/game.", self.directory.display()))
            })?;
            if option == "--control" && std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o111 == 0 {
                return Err(Failure::usage(format!("{option}: {path} is not a program")).hint("Make it executable: `chmod +x`."));
            }
        }
        Ok(())
    }

    fn publish(&self, context: &Context, api: &Api, ground: &Ground, staging: &Staging) -> Result<(Published, Uploaded), Failure> {
        let progress = Progress::new(&context.output, "published");
        let mut show = |at: &PublishProgress| progress.at(at.bytes, at.bytes_total);
        // Packs of the newest one only: those of older ones would be kept for a few chunks each.
        let earlier: Vec<&Manifest> = ground.earlier.first().map(|earlier| &*earlier.manifest).into_iter().collect();
        let options = PublishOptions { level: ground.level, earlier: &earlier, ..PublishOptions::default() };
        let mut make = |sink: &mut dyn PackSink| publish(&self.directory, &ground.key, &options, sink, &mut show);
        let (published, uploads) =
            if self.dry_run { (make(&mut Nowhere), Ok(Uploaded::default())) } else { Uploads::run(api, &staging.0, make) };
        // Where an upload failed, publishing failed because of it; the upload knows why.
        let uploaded = uploads?;
        let published = published.map_err(|error| unpublished(&self.directory, error))?;
        if published.manifest.files() == 0 {
            let empty = Failure::usage(format!("{} holds no files", self.directory.display()));
            return Err(empty.hint("Name the directory that holds the content."));
        }
        progress.finish();
        Ok((published, uploaded))
    }

    /// The release with all its objects there, then `patches`, which name it, then the feed, by which terminals accept it.
    fn register(
        &self,
        context: &Context,
        api: &Api,
        profile: &Profile,
        ground: &Ground,
        published: &Published,
        patches: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let release = Release {
            title: self.title.to_string(),
            version: self.version.to_string(),
            kind: format_kind(ground.kind),
            entry: self.entry.clone(),
            control: self.control.clone(),
            generation: ground.generation,
            size: published.manifest.size(),
            files: published.manifest.files(),
            manifest: published.reference,
        };
        let document = release.sign(&ground.publisher, &ground.keys.signing_key());
        let registered = register(api, &release, &self.channel, &self.saying, ground.level, published, &document)?;
        patches()?;
        Signer::new(context, profile)?.add(api, &self.title, &registered.listed(&release, &self.channel, &document)).map(|_| ())
    }

    /// What would have to be sent.
    fn count_missing(&self, api: &Api, published: &Published, ways: &[Way], uploaded: &mut Uploaded) -> Result<(), Failure> {
        let manifest = PackedObject { name: published.reference.object, length: published.reference.length };
        let patches = ways.iter().filter_map(Way::to_send);
        for object in published.packs.iter().copied().chain([manifest]).chain(patches) {
            let there = api.has_object(&object.name.to_string())?;
            uploaded.add(!there, object.length);
        }
        Ok(())
    }

    fn done(&self, ground: &Ground, before: Option<&Earlier>, published: &Published, uploaded: Uploaded, ways: Vec<Way>) -> Done {
        let stored: u64 = published.packs.iter().map(|pack| pack.length).sum();
        let nothing = Manifest::default();
        let mut compared = compare::compare(before.map_or(&nothing, |before| &before.manifest), &published.manifest);
        let mut changes = Changes::of(before.map(|before| before.version.clone()), vec![]);
        if before.is_some() || self.dry_run {
            changes = Changes::of(changes.against, std::mem::take(&mut compared));
        }
        if !self.dry_run && !self.verbose {
            changes.files.retain(|file| file.state != State::Same);
        }
        Done {
            title: self.title.clone(),
            version: self.version.clone(),
            channel: self.channel.clone(),
            dry_run: self.dry_run,
            files: published.manifest.files(),
            read: published.progress.bytes,
            unique: published.progress.bytes - published.progress.bytes_known,
            compressed: stored + published.reference.length,
            uploaded: uploaded.sent,
            reused: uploaded.there + published.reused.iter().map(|reused| reused.used).sum::<u64>(),
            manifest: published.reference.object,
            encoder: Encoder::name_at(ground.level),
            changes,
            full: published.manifest.packed_size() + published.reference.length,
            ways,
        }
    }
}

/// Takes packs that nobody is to have.
struct Nowhere;

impl PackSink for Nowhere {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: PackedObject) -> std::io::Result<()> {
        Ok(())
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

/// Whether a version reads as one before another, by the numbers that both begin with. Versions are names: it is people who read an order in them.
fn reads_as_before(version: &ReleaseVersion, other: &ReleaseVersion) -> bool {
    fn numbers(version: &ReleaseVersion) -> impl Iterator<Item = u64> {
        version.as_str().trim_start_matches('v').split(['.', '-', '+', '_']).map_while(|part| part.parse().ok())
    }
    numbers(version).zip(numbers(other)).find(|(one, other)| one != other).is_some_and(|(one, other)| one < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_reads_as_one_before_another_by_its_numbers() {
        let before = |one: &str, other: &str| reads_as_before(&one.parse().expect("a version"), &other.parse().expect("a version"));
        for (one, other) in [("1.0.1", "1.1.0"), ("1.9", "1.10"), ("v2.0", "3.0-rc1"), ("1.0.0-rc1", "1.0.1"), ("2025-12-31", "2026-01-01")]
        {
            assert!(before(one, other) && !before(other, one), "{one} {other}");
        }
        for (one, other) in [("1.0", "1.0"), ("1.2", "1.2.0"), ("1.0.0-rc1", "1.0.0"), ("sunday", "monday"), ("1.x", "1.0")] {
            assert!(!before(one, other) && !before(other, one), "{one} {other}");
        }
    }
}
