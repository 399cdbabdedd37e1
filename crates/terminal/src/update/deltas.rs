//! Deltas on their way: of each group of chunks that is still missing, what differs from the neighbourhood in the release that is here.
//!
//! Groups are fetched by ranges, each is written before the next one comes, and none is fetched again: what is in unfinished packs already
//! is not wanted. A group whose neighbourhood is damaged here is passed over, and its chunks come as they are.

use super::prepared::{CACHE, Placing, Prepared};
use crate::error::Result;
use crate::transport::Part;
use counterfoil_format::content::{DELTA_HEAD, DeltaError, DeltaFront, DeltaGroup, Encoder, Manifest, Reader, Run, delta_front_length};
use counterfoil_patch::{Limits, Sink};
use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;
use zeroize::Zeroizing;

/// Bytes that are asked for before it is known how long the front is.
const FIRST: u64 = 64 << 10;

/// Takes deltas, as far as their chunks are wanted.
pub(super) fn take(deltas: &Prepared<'_>) -> Result<()> {
    let mut object = Object { deltas, first: vec![] };
    let front = object.front()?;
    let index = front.index();
    if index.from != deltas.base.release.manifest.id || index.to != deltas.release.manifest.id || index.encoder != Encoder::name() {
        return Err(deltas.unusable(&"they are between other releases, or made with another compressor"));
    }
    let encoder = Encoder::new(index.level).map_err(|error| deltas.unusable(&error))?;
    let mut placing = Placing::new(deltas, encoder);
    let manifest = object.manifest(&front, &mut placing)?;
    index.check(&deltas.base.manifest, &manifest).map_err(|error| deltas.unusable(&error))?;

    let (wanted, old) = (deltas.wanted(&manifest)?, deltas.base.reader(CACHE)?);
    let mut taking = Taking { object: &object, front: &front, manifest: &manifest, wanted, old, placing };
    for adjacent in taking.needed()?.chunk_by(|one, next| one + 1 == *next) {
        taking.groups(adjacent)?;
    }
    Ok(())
}

/// The object at the contents servers.
struct Object<'a> {
    deltas: &'a Prepared<'a>,
    /// What it begins with: of a small change, all of it.
    first: Vec<u8>,
}

impl Object<'_> {
    fn front(&mut self) -> Result<DeltaFront> {
        let (deltas, length) = (self.deltas, self.deltas.offer.length);
        let unusable = |error: DeltaError| deltas.unusable(&error);
        self.first = self.range(0..length.min(FIRST))?;
        let head = self.first.first_chunk::<DELTA_HEAD>().ok_or_else(|| deltas.unusable(&"it is cut off"))?;
        let end = delta_front_length(&deltas.content_key.delta_key(), head, length).map_err(unusable)?;
        DeltaFront::open(deltas.content_key.delta_key(), &self.range(0..end)?, length).map_err(unusable)
    }

    /// The manifest as an earlier attempt has left it, or made of the one that is here.
    fn manifest(&self, front: &DeltaFront, placing: &mut Placing<'_>) -> Result<Manifest> {
        let Prepared { copy, release, base, begin, .. } = self.deltas;
        if let Ok(manifest) = copy.manifest(release, self.deltas.keys) {
            begin(&manifest)?;
            return Ok(manifest);
        }
        let mut sealed = self.range(front.manifest())?;
        let plain = front.open_manifest(&mut sealed).map_err(|error| self.deltas.unusable(&error))?;
        let made = apply(plain, &base.manifest.encode(), release.manifest.size).map_err(|error| self.deltas.unusable(&error))?;
        let made = placing.manifest(&made, release).map_err(|error| self.deltas.unusable(&error))?;
        let (manifest, sealed) = made.ok_or_else(|| self.deltas.unusable(&"they give another manifest than the publisher signed"))?;
        begin(&manifest)?;
        copy.store_manifest(&release.version, &sealed)?;
        Ok(manifest)
    }

    fn range(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        self.stream(range).read(&mut bytes)?;
        Ok(bytes)
    }

    fn stream(&self, range: Range<u64>) -> Stream<'_> {
        Stream { object: self, range, body: None }
    }
}

/// Part of it, read forward; only what is not here is fetched.
struct Stream<'a> {
    object: &'a Object<'a>,
    /// What is left of it.
    range: Range<u64>,
    body: Option<Box<dyn Read + Send>>,
}

impl Stream<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<()> {
        let deltas = self.object.deltas;
        let here = usize::try_from(self.range.start).ok().and_then(|start| self.object.first.get(start..)).unwrap_or_default();
        let (known, rest) = bytes.split_at_mut(here.len().min(bytes.len()));
        known.copy_from_slice(&here[..known.len()]);
        self.range.start += known.len() as u64;
        if rest.is_empty() {
            return Ok(());
        }
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                let part = Part { from: self.range.start, to: Some(self.range.end) };
                none.insert(deltas.transport.fetch(&deltas.object.to_string(), part).map_err(|error| deltas.lost(error))?)
            }
        };
        match body.read_exact(rest) {
            Ok(()) => {
                self.range.start += rest.len() as u64;
                (deltas.tell)(rest.len() as u64, 0);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(deltas.unusable(&"it was cut off")),
            Err(error) => Err(deltas.broken(error)),
        }
    }
}

/// Groups on their way.
struct Taking<'a> {
    object: &'a Object<'a>,
    front: &'a DeltaFront,
    manifest: &'a Manifest,
    /// Chunks of the new release that are in no pack yet, by index.
    wanted: Vec<bool>,
    old: Reader,
    placing: Placing<'a>,
}

impl Taking<'_> {
    /// The groups that are worth fetching: chunks of which more is wanted than the delta is long, and whose neighbourhood is not known to be damaged.
    fn needed(&self) -> Result<Vec<usize>> {
        let known =
            self.object.deltas.copy.known_damage()?.filter(|damage| damage.release.as_str() == self.object.deltas.base.release.version);
        let damaged: HashSet<u32> = known.map(|damage| damage.indices(self.old.manifest())).unwrap_or_default().into_iter().collect();
        let bytes = |group: &DeltaGroup| -> u64 {
            let wanted = chunks(&group.new).filter(|index| self.wanted[*index as usize]);
            wanted.map(|index| u64::from(self.manifest.chunks()[index as usize].sealed_len)).sum()
        };
        let is_needed =
            |group: &DeltaGroup| bytes(group) > u64::from(group.sealed) && !chunks(&group.old).any(|index| damaged.contains(&index));
        let groups = self.front.index().groups.iter().enumerate();
        Ok(groups.filter(|(_, group)| is_needed(group)).map(|(index, _)| index).collect())
    }

    /// Groups that lie one behind the other: fetched in one go, each written before the next one comes.
    fn groups(&mut self, adjacent: &[usize]) -> Result<()> {
        let (Some(&first), Some(&last)) = (adjacent.first(), adjacent.last()) else { return Ok(()) };
        let mut stream = self.object.stream(self.front.group(first).start..self.front.group(last).end);
        let mut sealed = Zeroizing::new(vec![]);
        for &index in adjacent {
            sealed.resize(self.front.index().groups[index].sealed as usize, 0);
            stream.read(&mut sealed)?;
            self.group(index, &mut sealed)?;
        }
        Ok(())
    }

    fn group(&mut self, index: usize, sealed: &mut [u8]) -> Result<()> {
        let group = &self.front.index().groups[index];
        let plain = self.front.open_group(index, sealed).map_err(|error| self.object.deltas.unusable(&error))?;
        let mut old = Zeroizing::new(vec![]);
        // What is damaged here is found out now, and is no fault of the delta.
        if chunks(&group.old).any(|index| self.old.read_chunk(index, &mut old).is_err()) {
            return Ok(());
        }
        let length = chunks(&group.new).map(|index| u64::from(self.manifest.chunks()[index as usize].plain_len)).sum();
        let made = apply(plain, &old, length).map_err(|error| self.object.deltas.unusable(&error))?;
        let mut rest = &made[..];
        for index in chunks(&group.new) {
            let chunk = &self.manifest.chunks()[index as usize];
            let (text, after) = rest.split_at(chunk.plain_len as usize);
            rest = after;
            if !std::mem::take(&mut self.wanted[index as usize]) {
                continue;
            }
            let pack = &self.manifest.packs()[chunk.pack as usize].name;
            match self.placing.chunk(text, chunk, pack)? {
                Some(length) => (self.object.deltas.tell)(0, length),
                None => return Err(self.object.deltas.unusable(&"they give other chunks than the publisher signed")),
            }
        }
        Ok(())
    }
}

fn chunks(runs: &[Run]) -> impl Iterator<Item = u32> {
    runs.iter().flat_map(|run| run.indices())
}

/// What the engine's bytes make of a text: `length` bytes, or they are wrong.
fn apply(delta: &[u8], old: &[u8], length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut made = Made { text: Zeroizing::new(vec![]), length };
    let limits = Limits { files: 1, bytes: length };
    let applied = counterfoil_patch::apply(&vec![old], &delta, &limits, &mut made, &mut |_| {});
    applied.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    match made.text.len() as u64 == length {
        true => Ok(made.text),
        false => Err(wrong()),
    }
}

/// The one file that comes of it.
struct Made {
    text: Zeroizing<Vec<u8>>,
    length: u64,
}

impl Sink for Made {
    fn begin(&mut self, file: usize, length: u64) -> io::Result<()> {
        if file != 0 || length != self.length {
            return Err(wrong());
        }
        self.text.reserve_exact(usize::try_from(length).map_err(|_| wrong())?);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.text.extend_from_slice(bytes);
        Ok(())
    }
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it gives text of another length")
}
