//! Moves contents between a directory and an object store, while servers use both: objects never change, so each is copied once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use counterfoil_format::content::ObjectName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::super::{Failure, Global};
use crate::blobs::{BlobError, Blobs};

/// Objects on their way at once.
const AT_ONCE: usize = 4;
/// How often one is told how far it is.
const TOLD: Duration = Duration::from_secs(2);

/// An object, and whether it lies among what users have handed in.
type Named = (bool, ObjectName);

/// Every object of a store with its length, in order.
type Listing = BTreeMap<Named, u64>;

/// What was found and done.
#[derive(Serialize)]
struct Moved {
    from: Side,
    to: Side,
    /// Objects that were copied now.
    copied: u64,
    /// Bytes of them.
    bytes: u64,
    /// Objects of the source whose bytes do not hash to their name: left where they are.
    damaged: Vec<ObjectName>,
    /// Objects of the target that the source does not have.
    only_in_target: u64,
}

/// One of the two stores, as far as the sound objects of the source go.
#[derive(PartialEq, Eq, Serialize)]
struct Digest {
    objects: u64,
    bytes: u64,
    /// BLAKE3 over a line `{name} {length}\n` for each object, sorted by name; what users have handed in after everything else.
    digest: String,
}

#[derive(Serialize)]
struct Side {
    place: String,
    #[serde(flatten)]
    digest: Digest,
}

/// Whether an address of this scheme may hold contents.
pub fn is_place(scheme: &str) -> bool {
    ["dir", "file", "s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"].contains(&scheme)
}

/// Copies every object that the target does not have with that length, verifies each on the way, and compares both listings at the end.
pub async fn run(from: &str, to: &str, global: &Global) -> Result<(), Failure> {
    if let Some(path) = from.strip_prefix("dir:").filter(|path| !std::path::Path::new(path).is_dir()) {
        return Err(Failure::operation(format!("there is no directory {path}")).hint("The directory of the contents is [contents] dir."));
    }
    if from == to {
        return Err(Failure::usage("that is one and the same place").hint("--from and --to name two."));
    }
    let (source, target) = (Blobs::at(from, &options(from, global)?)?, Blobs::at(to, &options(to, global)?)?);
    let mut wanted = listed(&source).await?;
    let there = listed(&target).await?;
    let missing: Vec<_> =
        wanted.iter().filter(|(name, length)| there.get(name) != Some(length)).map(|(name, length)| (*name, *length)).collect();
    let (damaged, copied, bytes) = copy_all(&source, &target, missing).await?;
    for name in &damaged {
        wanted.remove(name);
    }
    let mut found = listed(&target).await?;
    let before = found.len();
    found.retain(|name, _| wanted.contains_key(name));
    let moved = Moved {
        from: Side { place: source.to_string(), digest: digest(&wanted) },
        to: Side { place: target.to_string(), digest: digest(&found) },
        copied,
        bytes,
        only_in_target: (before - found.len()) as u64,
        damaged: damaged.into_iter().map(|(_, name)| name).collect(),
    };
    global.print(&moved, told)?;
    if moved.from.digest != moved.to.digest {
        return Err(Failure::operation("the two places do not hold the same objects")
            .hint("Somebody changes one of them. Run the command again: it goes on where it was."));
    }
    match moved.damaged.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} objects do not have the hash that names them, and were left where they are"))
            .hint("Have their publishers send them again (`counterfoil publish` sends what is missing), or restore them from a backup.")),
    }
}

/// The settings of [contents] where they are for a store of this kind; everything else comes from the environment.
fn options(place: &str, global: &Global) -> Result<BTreeMap<String, String>, Failure> {
    if !global.config_path().exists() {
        return Ok(BTreeMap::new());
    }
    let contents = global.config()?.contents;
    let scheme = |address: &str| address.split(':').next().map(str::to_owned);
    let other_kind = contents.url.as_deref().is_some_and(|url| scheme(url) != scheme(place));
    if other_kind { Ok(BTreeMap::new()) } else { Ok(contents.all_options()?) }
}

async fn listed(blobs: &Blobs) -> Result<Listing, Failure> {
    let mut listing = Listing::new();
    for saves in [false, true] {
        let named = part(blobs, saves).list().map_ok(|(name, length)| ((saves, name), length));
        let found: Vec<_> = named.try_collect().await.map_err(|error| cannot(blobs, &error))?;
        listing.extend(found);
    }
    Ok(listing)
}

/// What publishers have sent, or what users have handed in.
fn part(blobs: &Blobs, saves: bool) -> Blobs {
    if saves { blobs.saves() } else { blobs.clone() }
}

fn cannot(blobs: &Blobs, error: &BlobError) -> Failure {
    Failure::operation(format!("{blobs}: {error}"))
        .hint("Check address, [contents] options and environment (docs/contents.md), then run the command again: it goes on where it was.")
}

/// Answers with the damaged ones, and with objects and bytes that were copied.
async fn copy_all(source: &Blobs, target: &Blobs, missing: Vec<(Named, u64)>) -> Result<(Vec<Named>, u64, u64), Failure> {
    let (count, total) = (missing.len(), missing.iter().map(|(_, length)| length).sum::<u64>());
    let (objects, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut damaged = vec![];
    let mut copies = stream::iter(missing)
        .map(|(name, length)| {
            let (objects, bytes) = (&objects, &bytes);
            let (source, target) = (part(source, name.0), part(target, name.0));
            async move {
                let sound = copy(&source, &target, name.1, length, bytes).await?;
                objects.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Failure>((name, sound))
            }
        })
        .buffer_unordered(AT_ONCE);
    let mut tick = tokio::time::interval(TOLD);
    // The first tick comes at once, and there is nothing to tell yet.
    tick.tick().await;
    loop {
        tokio::select! {
            copied = copies.next() => match copied {
                None => break,
                Some(result) => {
                    let (name, sound) = result?;
                    if !sound {
                        damaged.push(name);
                    }
                }
            },
            _ = tick.tick() => tell(&format!(
                "{} of {count} objects, {} of {total} bytes",
                objects.load(Ordering::Relaxed),
                bytes.load(Ordering::Relaxed)
            )),
        }
    }
    drop(copies);
    damaged.sort_unstable();
    let copied = count as u64 - damaged.len() as u64;
    Ok((damaged, copied, bytes.into_inner()))
}

/// Copies one object; `false` when its bytes are not those of its name.
async fn copy(source: &Blobs, target: &Blobs, name: ObjectName, length: u64, bytes: &AtomicU64) -> Result<bool, Failure> {
    let pieces = source.read(name, 0..length).await.map_err(|error| cannot(source, &error))?;
    let Some(pieces) = pieces else {
        return Err(Failure::operation(format!("{source}: {name} is gone")).hint("What users have handed in goes when they take it away: run the command again. Nothing else goes by itself: find out who did it."));
    };
    let pieces = pieces.inspect_ok(|piece| {
        bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
    });
    match target.replace(name, pieces).await {
        Ok(()) => Ok(true),
        Err(BlobError::Name(_)) => {
            bytes.fetch_sub(length.min(bytes.load(Ordering::Relaxed)), Ordering::Relaxed);
            Ok(false)
        }
        Err(error @ BlobError::Upload(_)) => Err(cannot(source, &error)),
        Err(error) => Err(cannot(target, &error)),
    }
}

fn digest(listing: &Listing) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for ((_, name), length) in listing {
        hasher.update(format!("{name} {length}\n").as_bytes());
    }
    Digest { objects: listing.len() as u64, bytes: listing.values().sum(), digest: hasher.finalize().to_string() }
}

fn told(moved: &Moved) -> String {
    let side = |name: &str, side: &Side| {
        let Digest { objects, bytes, digest } = &side.digest;
        format!("{name}  {objects} objects, {bytes} bytes, digest {digest}  {}", side.place)
    };
    let mut lines =
        vec![format!("copied {} objects, {} bytes", moved.copied, moved.bytes), side("from", &moved.from), side("to  ", &moved.to)];
    if moved.only_in_target > 0 {
        lines.push(format!("      and {} objects that are in the target only", moved.only_in_target));
    }
    lines.extend(moved.damaged.iter().map(|name| format!("damaged  {name}")));
    if moved.damaged.is_empty() && moved.from.digest == moved.to.digest {
        lines.push("Next: say where contents are, [contents] url or dir, restart the servers, and run this command once more for what came meanwhile.".to_owned());
    }
    lines.join("\n")
}

/// Progress, for people; where standard error is closed, nobody wants it.
fn tell(text: &str) {
    let _ = std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{text}\n"));
}
