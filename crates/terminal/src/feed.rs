//! The publisher's feed: which releases are good. The newest that was accepted is kept in the home, title by title, and an update that does
//! not fit it is refused here, whatever the authority or a contents server says (A5).
//!
//! ```text
//! feeds/<title>/<key>/<number>.jws       as the publisher signed it; <key> is the beginning of the publisher's key's hash
//! feeds/<title>/publisher.json           who signs the title's releases, see [`crate::publisher`]
//! ```
//!
//! The number is in the name and older ones are removed last, so that two commands at once cannot put an older one in place of a newer.

use crate::error::Result;
use crate::exchange::refused;
use crate::home::Authority;
use crate::io::{Io, IoFailure, create_dirs, read_small, replace, wait_for_lock};
use crate::terminal::{Terminal, key_list};
use counterfoil_core::rules::feed::{self as rule, Known, Listed, Offered, Step, Word};
use counterfoil_core::wire::PublisherOnMedium;
use counterfoil_core::{Channel, Code, ReleaseVersion, TitleId};
use counterfoil_format::content::{Feed, FeedError, Fresh, ListedRelease, MAX_FEED, ObjectName};
use counterfoil_format::jws::JwsError;
use counterfoil_format::sign::VerifyingKey;
use std::io;
use std::path::PathBuf;

/// Digits of a key's hash that name the directory of its feeds.
const KEY_DIGITS: usize = 16;

/// What is handed over for a title: by an authority with its plan, or by a medium.
#[derive(Clone, Copy, Debug, Default)]
pub struct Handed<'a> {
    /// The publisher's feed, a compact JWS; absent where the one that is known here should do.
    pub feed: Option<&'a str>,
    /// The authority's word that it is the newest, a compact JWS.
    pub fresh: Option<&'a str>,
}

/// The feed that a title is updated by; none where its publisher has never signed one.
#[derive(Clone, Debug)]
pub struct Accepted {
    feed: Option<Feed>,
}

/// A release that a copy is to go to.
#[derive(Clone, Copy, Debug)]
pub struct Going<'a> {
    /// The release that is complete here.
    pub held: Option<&'a ReleaseVersion>,
    /// The one to go to.
    pub to: &'a ReleaseVersion,
    /// Its release document as text, a compact JWS.
    pub document: &'a str,
    /// The channel that is followed here.
    pub channel: &'a Channel,
    /// Whether the user has asked for this very release.
    pub asked_for: bool,
}

/// The number of the newest feed that was accepted here; 0 for none.
///
/// # Errors
/// What the system said.
pub fn known(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium) -> Result<u64> {
    Ok(Kept::of(terminal, title, publisher).newest()?.map_or(0, |(feed, _)| feed.sequence))
}

/// Decides whether what was handed over is to be gone by, and keeps it where it is newer than what is known here. Once a feed was seen,
/// there has to be one for ever. `authority` has been asked just now; without it, because there is no network, its word is not asked for.
///
/// # Errors
/// [`Code::UpdateNotAuthentic`]; what the system said.
pub fn accept(
    terminal: &Terminal,
    authority: Option<&Authority>,
    title: &TitleId,
    publisher: &PublisherOnMedium,
    handed: Handed<'_>,
) -> Result<Accepted> {
    let kept = Kept::of(terminal, title, publisher);
    let before = kept.newest()?;
    let offered = match handed.feed {
        Some(token) => {
            let feed = verify(token, publisher).map_err(|error| not_authentic(error.to_string()))?;
            Some((feed, ObjectName::of(token.as_bytes())))
        }
        None => before.clone(),
    };
    let Some((feed, name)) = offered else { return Ok(Accepted { feed: None }) };

    let now = crate::clock::latest(terminal.home().profile()?.latest_time, terminal.clock().now()).seconds();
    let word = authority.map(|authority| word(authority, handed.fresh, now)).transpose()?;
    let known = before.as_ref().map(|(feed, name)| Known { sequence: feed.sequence, digest: name.0 });
    let named = feed.title.parse().map_err(|_| not_authentic(format!("the list of releases is of {:?}", feed.title)))?;
    let facts = Offered { title: named, sequence: feed.sequence, digest: name.0, expires_at: feed.expires_at };
    rule::decide(title, known, &facts, word.as_ref(), now)?;
    if let Some(token) = handed.feed.filter(|_| before.is_none_or(|(_, known)| known != name)) {
        kept.keep(feed.sequence, token)?;
    }
    Ok(Accepted { feed: Some(feed) })
}

/// The same for what is gone by only as far as it is good: an installation, which would do without a feed where none was ever seen, and a
/// title that is as it should be. What was handed over is kept, or said why not.
///
/// # Errors
/// What the system said.
pub(crate) fn take(
    terminal: &Terminal,
    authority: &Authority,
    title: &TitleId,
    publisher: &PublisherOnMedium,
    handed: Handed<'_>,
) -> Result<Option<crate::Error>> {
    match accept(terminal, Some(authority), title, publisher, handed) {
        Ok(_) => Ok(None),
        Err(error) if error.refusal().is_some() => Ok(Some(error)),
        Err(error) => Err(error),
    }
}

/// The newest feed that was ever accepted here, over or not: what it says of releases holds until there is a newer one.
///
/// # Errors
/// What the system said.
pub(crate) fn kept(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium) -> Result<Accepted> {
    let newest = Kept::of(terminal, title, publisher).newest()?;
    Ok(Accepted { feed: newest.map(|(feed, _)| feed) })
}

/// Whether feeds of a title are kept here, and none that this publisher has signed.
///
/// # Errors
/// What the system said.
pub(crate) fn is_strange(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium) -> Result<bool> {
    let directory = directory(terminal, title);
    let own = Kept::of(terminal, title, publisher).directory;
    let names = match terminal.io().list(&directory) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(IoFailure::at("read", &directory)(error).into()),
    };
    // What is made for a key is made when something was verified by it.
    let is_key = |name: &&str| name.len() == KEY_DIGITS && name.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut keys = names.iter().filter_map(|name| name.to_str()).filter(is_key).map(|name| directory.join(name)).peekable();
    Ok(keys.peek().is_some() && keys.all(|key| key != own))
}

/// What is known of a title's feeds and publisher.
pub(crate) fn directory(terminal: &Terminal, title: &TitleId) -> PathBuf {
    terminal.home().path().join("feeds").join(title.as_str())
}

/// The newest feed that is known here, as the publisher signed it.
///
/// # Errors
/// What the system said.
pub(crate) fn newest(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium) -> Result<Option<String>> {
    let kept = Kept::of(terminal, title, publisher);
    let Some((feed, _)) = kept.newest()? else { return Ok(None) };
    let bytes = read_small(kept.io, &kept.path(feed.sequence), MAX_FEED as u64)?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// Whether the newest feed that is known here says that a release is withdrawn. Nobody is asked.
///
/// # Errors
/// What the system said.
pub(crate) fn withdrawn(terminal: &Terminal, title: &TitleId, publisher: &PublisherOnMedium, version: &ReleaseVersion) -> Result<bool> {
    let newest = Kept::of(terminal, title, publisher).newest()?;
    Ok(newest.is_some_and(|(feed, _)| feed.find(version.as_str()).is_some_and(|listed| listed.withdrawn)))
}

impl Accepted {
    /// Decides whether a copy may go to a release. Where there is no feed, that the publisher has signed the release has to do.
    ///
    /// # Errors
    /// [`Code::UpdateNotAuthentic`].
    pub fn permit(&self, going: &Going<'_>) -> Result<()> {
        let Some(feed) = &self.feed else { return Ok(()) };
        let listed: Vec<Listed> = feed.releases.iter().filter_map(fact).collect();
        let document = ObjectName::of(going.document.as_bytes()).0;
        let Going { held, to, channel, asked_for, .. } = *going;
        Ok(rule::permit(&listed, &Step { held, to, document, channel, asked_for })?)
    }

    /// What the publisher says of a release, where there is a feed that lists it.
    pub fn listed(&self, version: &ReleaseVersion) -> Option<&ListedRelease> {
        self.feed.as_ref()?.find(version.as_str())
    }
}

/// A version that no release here can have is nothing that one could go to.
fn fact(listed: &ListedRelease) -> Option<Listed> {
    Some(Listed {
        version: listed.version.parse().ok()?,
        document: listed.document.0,
        channel: listed.channel.parse().ok()?,
        withdrawn: listed.withdrawn,
        allow_back: listed.allow_back,
    })
}

/// The authority's word: signed by it, in its name, and not over.
fn word(authority: &Authority, token: Option<&str>, now: i64) -> Result<Word> {
    let token = token.ok_or_else(|| not_authentic("the authority does not say which list of releases is the newest".to_owned()))?;
    let fresh = Fresh::verify(token, &key_list(&authority.document), now)
        .map_err(|error| not_authentic(format!("the authority's word on the list of releases: {error}")))?;
    if fresh.iss != authority.document.name {
        return Err(not_authentic(format!("the word on the list of releases is of the authority `{}`", fresh.iss)));
    }
    let title = fresh.title.parse().map_err(|_| not_authentic(format!("the authority's word is about {:?}", fresh.title)))?;
    Ok(Word { title, sequence: fresh.sequence, digest: fresh.feed.0 })
}

fn verify(token: &str, publisher: &PublisherOnMedium) -> std::result::Result<Feed, FeedError> {
    let key: VerifyingKey = publisher.key.parse().map_err(|_| FeedError::Signature(JwsError::UnknownKey))?;
    Feed::verify(token, |kid| (kid == publisher.id).then_some(key))
}

fn not_authentic(detail: String) -> crate::Error {
    refused(Code::UpdateNotAuthentic, detail)
}

/// Where the feeds of a title are kept that its publisher has signed with one key.
struct Kept<'a> {
    io: &'a dyn Io,
    directory: PathBuf,
    publisher: &'a PublisherOnMedium,
}

impl<'a> Kept<'a> {
    fn of(terminal: &'a Terminal, title: &TitleId, publisher: &'a PublisherOnMedium) -> Self {
        let key = &ObjectName::of(format!("{}\n{}", publisher.id, publisher.key).as_bytes()).to_string()[..KEY_DIGITS];
        let directory = directory(terminal, title).join(key);
        Self { io: &**terminal.io(), directory, publisher }
    }

    /// The newest one, with its name. What cannot be verified was not kept by this program, and counts for nothing.
    fn newest(&self) -> Result<Option<(Feed, ObjectName)>> {
        let mut numbers = self.numbers()?;
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        for number in numbers {
            let Some(bytes) = read_small(self.io, &self.path(number), MAX_FEED as u64)? else { continue };
            let Ok(token) = String::from_utf8(bytes) else { continue };
            match verify(&token, self.publisher) {
                Ok(feed) if feed.sequence == number => return Ok(Some((feed, ObjectName::of(token.as_bytes())))),
                _ => {}
            }
        }
        Ok(None)
    }

    fn keep(&self, number: u64, token: &str) -> Result<()> {
        create_dirs(self.io, &self.directory, 0o700)?;
        let path = self.directory.join("lock");
        let _lock = wait_for_lock(self.io, &path).map_err(IoFailure::at("write to", &path))?;
        replace(self.io, &self.path(number), token.as_bytes(), 0o600)?;
        for old in self.numbers()?.into_iter().filter(|old| *old < number) {
            let path = self.path(old);
            match self.io.remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(IoFailure::at("remove", &path)(error).into()),
                _ => {}
            }
        }
        Ok(())
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        match self.io.list(&self.directory) {
            Ok(names) => Ok(names.iter().filter_map(|name| name.to_str()?.strip_suffix(".jws")?.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
            Err(error) => Err(IoFailure::at("read", &self.directory)(error).into()),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.jws"))
    }
}
