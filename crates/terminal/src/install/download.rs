//! Fetches a release into one installation file, to be carried to where there is no network (D4, C18): all of it is public ciphertext.

use super::InstallError;
use crate::error::Result;
use crate::fill::{Progress, Step};
use crate::image::{END, InstallationFile, header, padding};
use crate::io::{Create, File, IoFailure, parent};
use crate::medium::layout;
use crate::source::network::broken;
use crate::terminal::{Terminal, absolute};
use crate::transport::{Part, Transport, TransportError};
use counterfoil_core::wire::PublisherOnMedium;
use counterfoil_core::{Code, Refusal, ReleaseVersion, TitleId};
use counterfoil_format::content::{ObjectName, ReadAt as _, Release};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::sign::VerifyingKey;
use serde::Deserialize;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes moved at once.
const BUFFER: usize = 256 * 1024;

/// What was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloaded {
    /// Which title.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Which release of it.
    pub release: ReleaseVersion,
    /// Length of the file, in bytes.
    pub size: u64,
    /// Bytes that were there from before.
    pub reused: u64,
    /// Bytes written now.
    pub written: u64,
}

/// A release on sale, as the authority tells everybody.
#[derive(Deserialize)]
struct Offer {
    name: String,
    version: ReleaseVersion,
    publisher: PublisherOnMedium,
    document: String,
    objects: Vec<Object>,
}

#[derive(Clone, Copy, Deserialize)]
struct Object {
    object: ObjectName,
    length: u64,
}

/// Downloads a release of a title on sale; the newest on the channel where none is named. What was interrupted is gone on with.
///
/// # Errors
/// [`InstallError`]; [`crate::transport::TransportError`]; what the system said.
pub fn download(
    terminal: &Terminal,
    title: &TitleId,
    release: Option<&ReleaseVersion>,
    channel: Option<&str>,
    to: &Path,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Downloaded> {
    let authority = terminal.meet(&[])?;
    let way = terminal.transport(&authority.document.urls)?;
    let version = release.map_or_else(|| newest(&*way, title, channel.unwrap_or("stable")), |version| Ok(version.clone()))?;
    let bytes = offered(way.get(&format!("/v1/store/titles/{title}/releases/{version}")), title)?;
    let not = |reason: String| InstallError::NotAuthentic { title: title.clone(), reason };
    let offer: Offer = parse_strict(&bytes).map_err(|error| not(error.to_string()))?;
    let key: VerifyingKey = offer.publisher.key.parse().map_err(|_| not("its publisher's key is none".into()))?;
    let signed =
        Release::verify(&offer.document, |kid| (kid == offer.publisher.id).then_some(key)).map_err(|error| not(error.to_string()))?;
    if signed.title != title.as_str() || signed.version != version.as_str() || offer.version != version {
        return Err(not(format!("it is release {} of `{}`", signed.version, signed.title)).into());
    }

    let members = members(title, &signed, &offer)?;
    // What the store says is not signed: longer than any drive is refused below.
    let size = members.iter().map(Member::span).fold(END, u64::saturating_add);
    let to = absolute(to);
    let done = |reused, written| Downloaded {
        title: title.clone(),
        name: offer.name.clone(),
        release: offer.version.clone(),
        size,
        reused,
        written,
    };
    if is_there(terminal, &to, &offer.document) {
        return Ok(done(size, 0));
    }
    let partial = partial(&to);
    let _lock = terminal.io().lock(&partial).map_err(IoFailure::at("write", &partial))?;
    let file = terminal.io().create(&partial, Create::Resume, 0o644).map_err(IoFailure::at("write", &partial))?;
    check_space(terminal, &partial, size, &*file)?;
    progress(Step::Title { title: title.clone(), release: offer.version.clone(), resumed: file.size().is_ok_and(|size| size > 0) });
    let contents = terminal.contents(&authority)?;
    let mut writer =
        Writer { file, path: &partial, contents, title, at: 0, tell: progress, state: Progress { total: size, ..Progress::default() } };
    for member in &members {
        writer.member(member)?;
    }
    writer.end()?;
    let state = writer.state;
    let fail = || IoFailure::at("write", &to);
    terminal.io().rename(&partial, &to).map_err(fail())?;
    terminal.io().sync_dir(parent(&to)).map_err(fail())?;
    Ok(done(state.reused, state.written))
}

/// The release that was published last on a channel.
fn newest(way: &dyn Transport, title: &TitleId, channel: &str) -> Result<ReleaseVersion> {
    #[derive(Deserialize)]
    struct OnSale {
        releases: Vec<Listed>,
    }
    #[derive(Deserialize)]
    struct Listed {
        version: ReleaseVersion,
        channel: String,
    }
    let bytes = offered(way.get(&format!("/v1/store/titles/{title}")), title)?;
    let on_sale: OnSale =
        parse_strict(&bytes).map_err(|error| InstallError::NotAuthentic { title: title.clone(), reason: error.to_string() })?;
    let found = on_sale.releases.into_iter().find(|release| release.channel == channel);
    Ok(found.ok_or_else(|| Refusal::with(Code::ReleaseUnknown, format!("nothing was published on `{channel}` of late")))?.version)
}

/// What the store answers, and in its own words where it has nothing.
fn offered(answer: std::result::Result<Vec<u8>, TransportError>, title: &TitleId) -> Result<Vec<u8>> {
    match answer {
        Err(TransportError::Status { status: 404, .. }) => Err(Refusal::with(Code::NotForSale, title.to_string()).into()),
        other => Ok(other?),
    }
}

/// A file to be in the archive.
struct Member {
    path: String,
    length: u64,
    content: Content,
}

enum Content {
    Here(Vec<u8>),
    Fetched(ObjectName),
}

impl Member {
    /// Bytes that it takes up in the archive.
    fn span(&self) -> u64 {
        self.length.saturating_add(512 + padding(self.length))
    }
}

/// In the order of the archive.
fn members(title: &TitleId, release: &Release, offer: &Offer) -> Result<Vec<Member>> {
    let token = offer.document.clone().into_bytes();
    let mut members = vec![Member { path: layout::release(title), length: token.len() as u64, content: Content::Here(token) }];
    let manifest = release.manifest.object;
    let path = layout::manifest(title, &manifest);
    members.push(Member { path, length: release.manifest.length, content: Content::Fetched(manifest) });
    let mut packs: Vec<Object> = offer.objects.iter().filter(|object| object.object != manifest).copied().collect();
    packs.sort_unstable_by_key(|pack| pack.object.0);
    packs.dedup_by_key(|pack| pack.object.0);
    let pack =
        |pack: Object| Member { path: layout::pack(title, &pack.object), length: pack.length, content: Content::Fetched(pack.object) };
    members.extend(packs.into_iter().map(pack));
    Ok(members)
}

/// Whether the file is there already, of this release; it got its name when it was complete.
fn is_there(terminal: &Terminal, path: &Path, document: &str) -> bool {
    let Ok(file) = terminal.io().open(path) else { return false };
    InstallationFile::open(path, file).is_ok_and(|found| found.token == document)
}

fn partial(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    to.with_file_name(name)
}

fn check_space(terminal: &Terminal, path: &Path, size: u64, file: &dyn File) -> Result<()> {
    let free = terminal.io().free_space(parent(path)).map_err(IoFailure::at("look at", parent(path)))?;
    let needed = size.saturating_sub(file.size().unwrap_or(0));
    if free < needed { Err(crate::copy::CopyError::Space { needed, free }.into()) } else { Ok(()) }
}

/// Writes the archive from its beginning, and uses what is there of it.
struct Writer<'a> {
    file: Box<dyn File>,
    path: &'a Path,
    contents: Arc<dyn Transport>,
    title: &'a TitleId,
    at: u64,
    tell: &'a (dyn Fn(Step) + Sync),
    state: Progress,
}

impl Writer<'_> {
    fn member(&mut self, member: &Member) -> Result<()> {
        let header = header(&member.path, member.length).map_err(IoFailure::at("write", self.path))?;
        self.known(&header)?;
        match &member.content {
            Content::Here(bytes) => self.known(bytes)?,
            Content::Fetched(object) => self.fetched(object, member.length)?,
        }
        let zeros = usize::try_from(padding(member.length)).unwrap_or_default();
        self.known(&vec![0; zeros])
    }

    fn end(&mut self) -> Result<()> {
        self.known(&vec![0; usize::try_from(END).unwrap_or_default()])?;
        self.file.set_len(self.at).map_err(IoFailure::at("write", self.path))?;
        Ok(self.file.sync().map_err(IoFailure::at("write", self.path))?)
    }

    /// Bytes that are known without being fetched. Where something else stands, all from there on is of another release.
    fn known(&mut self, bytes: &[u8]) -> Result<()> {
        let mut there = vec![0; bytes.len()];
        if self.there()? >= bytes.len() as u64 && self.file.read_exact_at(&mut there, self.at).is_ok() && there == bytes {
            self.reused(bytes.len() as u64);
            return Ok(());
        }
        self.file.set_len(self.at).map_err(IoFailure::at("write", self.path))?;
        self.write(bytes)
    }

    /// An object, of which part may be there, checked against its name.
    fn fetched(&mut self, object: &ObjectName, length: u64) -> Result<()> {
        let start = self.at;
        let before = self.state;
        for attempt in 0..2 {
            let mut hasher = blake3::Hasher::new();
            self.hash_there(&mut hasher, length)?;
            let had = self.at - start;
            if had < length {
                self.fetch(object, Part::from(had), length - had, &mut hasher)?;
            }
            if ObjectName(*hasher.finalize().as_bytes()) == *object {
                return Ok(());
            }
            // What was there was of something else, or damaged: once more, from its beginning.
            (self.at, self.state) = (start, before);
            self.file.set_len(start).map_err(IoFailure::at("write", self.path))?;
            if had == 0 || attempt == 1 {
                break;
            }
        }
        Err(InstallError::NotAuthentic {
            title: self.title.clone(),
            reason: format!("the contents server's object {object} is another one"),
        }
        .into())
    }

    fn hash_there(&mut self, hasher: &mut blake3::Hasher, length: u64) -> Result<()> {
        let end = self.at + length.min(self.there()?);
        let mut buffer = vec![0; BUFFER];
        while self.at < end {
            let count = buffer.len().min(usize::try_from(end - self.at).unwrap_or(usize::MAX));
            self.file.read_exact_at(&mut buffer[..count], self.at).map_err(IoFailure::at("read", self.path))?;
            hasher.update(&buffer[..count]);
            self.reused(count as u64);
        }
        Ok(())
    }

    fn fetch(&mut self, object: &ObjectName, part: Part, length: u64, hasher: &mut blake3::Hasher) -> Result<()> {
        let mut body = self.contents.fetch(&object.to_string(), part)?.take(length);
        let mut buffer = vec![0; BUFFER];
        let mut left = length;
        while left > 0 {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Err(broken(object, io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(object, error)),
            };
            hasher.update(&buffer[..count]);
            self.write(&buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all_at(bytes, self.at).map_err(IoFailure::at("write", self.path))?;
        self.at += bytes.len() as u64;
        self.state.written += bytes.len() as u64;
        self.told();
        Ok(())
    }

    fn reused(&mut self, bytes: u64) {
        self.at += bytes;
        self.state.reused += bytes;
        self.told();
    }

    fn told(&mut self) {
        self.state.done = self.state.reused + self.state.written;
        (self.tell)(Step::Bytes(self.state));
    }

    /// Bytes that are there behind where it is.
    fn there(&self) -> Result<u64> {
        Ok(self.file.size().map_err(IoFailure::at("read", self.path))?.saturating_sub(self.at))
    }
}
