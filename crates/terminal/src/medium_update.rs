//! Brings the content area of a medium that can be written up to date in place (A12), and a library from such a medium where there is no
//! network.
//!
//! ```text
//! content/<title>/release.jws     the release that counts; replaced atomically, last of all
//! content/<title>/feed.jws        the publisher's list of releases that it was checked by
//! content/<title>/<name>.pack     sealed under the content key; `.partial` while it is fetched
//! content/<title>/updates.json    keys for the copies of those who brought it up to date, sealed for each as at the claim
//! ```
//!
//! Whoever has the medium may do that: the medium itself asks, by its claim secret, and all that is written is ciphertext. Cut off anywhere, the
//! old release is there as before, and a repeat goes on.

mod carried;
mod writing;

use crate::card::CardChoice;
use crate::claimant::Claimant;
use crate::error::{Error, Result};
use crate::exchange::ask_presenting;
use crate::feed::{self, Going, Handed};
use crate::fill::{Step, check_space};
use crate::home::Authority;
use crate::inspect::check_authority;
use crate::install::InstallError;
use crate::io::{IoFailure, Lock, no_links, read_small, replace};
use crate::library::{Library, Listed};
use crate::medium::refresh::{LOCK, Presented};
use crate::medium::{Medium, layout};
use crate::terminal::Terminal;
use crate::update::ask_keys;
use counterfoil_core::wire::{ContentOnOffer, Operation, Plan, Report, ReportResult, Status, TitleOnMedium, UpdateResult};
use counterfoil_core::{Channel, Code, GrantId, Refusal, ReleaseVersion, TitleId};
use counterfoil_format::content::{Encoder, ObjectName, Release};
use counterfoil_format::jws::Signer;
use counterfoil_format::sign::VerifyingKey;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

pub use carried::{FromMedium, update_from_medium};
use writing::Writing;

/// Longest `updates.json`, in bytes: a grant for each of some thousand copies.
const LONGEST_UPDATES: u64 = 16 << 20;

/// What became of one title on a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumUpdated {
    /// Which.
    pub title: TitleId,
    /// The release that was on it, if one was.
    pub from: Option<ReleaseVersion>,
    /// The release that is on it now.
    pub to: Option<ReleaseVersion>,
    /// Why it gets no other.
    pub refused: Option<Refusal>,
    /// Bytes fetched.
    pub fetched: u64,
    /// Bytes that were there from before.
    pub reused: u64,
    /// Bytes freed.
    pub freed: u64,
    /// Whether it carries the keys for the copy in this device's library.
    pub keys: bool,
}

/// Keys on a medium, for one copy.
#[derive(Serialize, Deserialize)]
struct CarriedKeys {
    grant_id: GrantId,
    keys: UpdateResult,
}

/// Brings every title on a medium up to date. Where `library` holds one of them, the keys for that are brought along.
///
/// # Errors
/// The refusals of `report`; [`Code::UpdateNotAuthentic`]; [`crate::MediumError`]; [`crate::CopyError::Space`]; what the system said, as that the
/// medium cannot be written; [`crate::transport::TransportError`].
pub fn update_medium(
    terminal: &Terminal,
    path: &Path,
    library: Option<&Library>,
    card: &CardChoice,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Vec<MediumUpdated>> {
    let _home = terminal.home().lock()?;
    let medium = Medium::open_online(terminal, path)?;
    let authority = terminal.meet_by(&medium.area().authority)?;
    check_authority(&medium, &authority.document.name)?;
    let (root, _medium) = writable(terminal, path)?;
    let titles = &medium.identity().titles;
    let held: Vec<Option<Release>> = titles.iter().map(|title| held(&medium, title)).collect::<Result<_>>()?;
    let plans = report(terminal, &authority, &medium, titles, &held, progress)?;
    let mut done = Vec::new();
    for ((title, held), plan) in titles.iter().zip(&held).zip(&plans) {
        let updating = Updating { terminal, authority: &authority, root: &root, title, held: held.as_ref(), progress };
        let mut updated = updating.run(plan)?;
        if let (Some(library), Some(to)) = (library, &updated.to) {
            updated.keys = updating.bring_keys(library, card, to)?;
        }
        done.push(updated);
    }
    Ok(done)
}

/// Where it is, if something can be written there, and nobody else does.
fn writable(terminal: &Terminal, path: &Path) -> Result<(PathBuf, Box<dyn Lock>)> {
    let io = terminal.io();
    let directory = io.metadata(path).map_err(IoFailure::at("read", path))?.directory;
    if !directory {
        // An image, or what is burnt from one.
        return Err(IoFailure::at("write to", path)(io::ErrorKind::ReadOnlyFilesystem.into()).into());
    }
    let lock = io.lock(&path.join(LOCK)).map_err(IoFailure::at("write to", path))?;
    Ok((path.to_owned(), lock))
}

/// The release that lies on it, whichever that is; nothing where there is none.
fn held(medium: &Medium, title: &TitleOnMedium) -> Result<Option<Release>> {
    match medium.content(&title.title).token() {
        Ok(token) => verified(title, &token).map(Some),
        Err(Error::Medium(crate::MediumError::NoContent(_))) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A release of a title, by the key of the publisher that the authority vouches for.
fn verified(title: &TitleOnMedium, token: &str) -> Result<Release> {
    let not = |reason: String| InstallError::NotAuthentic { title: title.title.clone(), reason };
    let key: VerifyingKey = title.publisher.key.parse().map_err(|_| not("its publisher's key is none".into()))?;
    let release = Release::verify(token, |kid| (kid == title.publisher.id).then_some(key)).map_err(|error| not(error.to_string()))?;
    if release.title != title.title.as_str() {
        return Err(not(format!("it is a release of `{}`", release.title)).into());
    }
    Ok(release)
}

/// Asks for itself, by its claim secret.
fn report(
    terminal: &Terminal,
    authority: &Authority,
    medium: &Medium,
    titles: &[TitleOnMedium],
    held: &[Option<Release>],
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Vec<Plan>> {
    let status = |(title, held): (&TitleOnMedium, &Option<Release>)| -> Result<Status> {
        Ok(Status {
            title: title.title.clone(),
            grant_id: None,
            medium_id: None,
            release: held.as_ref().and_then(|release| release.version.parse().ok()),
            damaged: vec![],
            begun: None,
            channel: None,
            wanted: None,
            feed: feed::known(terminal, &title.title, &title.publisher)?,
            // A note that cannot be read keeps no update back.
            variables: crate::status::variables_on_medium(terminal, medium, &title.title).unwrap_or_default(),
        })
    };
    let medium_id = medium.identity().medium_id.clone();
    let name = medium_id.to_string();
    let operation = Operation::Report(Report {
        user_id: None,
        device_id: None,
        medium_id: Some(medium_id),
        encoder: Encoder::name(),
        // Whoever has no keys to it gets whole packs.
        deltas: false,
        titles: titles.iter().zip(held).map(status).collect::<Result<_>>()?,
    });
    let told = |refreshing| progress(Step::Refreshing(refreshing));
    let presented = Presented::locked(medium, &told);
    let proofs = [(name.as_str(), Signer::ClaimSecret(medium.secret()))];
    let answered: ReportResult = ask_presenting(terminal, authority, &operation, &proofs, Some(&presented))?;
    let same = |(plan, title): (&Plan, &TitleOnMedium)| plan.title == title.title;
    if answered.plans.len() != titles.len() || !answered.plans.iter().zip(titles).all(same) {
        return Err(crate::ExchangeError::Shape("not one plan for each title".into()).into());
    }
    Ok(answered.plans)
}

/// One title on its way onto a medium.
struct Updating<'a> {
    terminal: &'a Terminal,
    authority: &'a Authority,
    root: &'a Path,
    title: &'a TitleOnMedium,
    held: Option<&'a Release>,
    progress: &'a (dyn Fn(Step) + Sync),
}

impl Updating<'_> {
    fn run(&self, plan: &Plan) -> Result<MediumUpdated> {
        let title = self.title.title.clone();
        let from: Option<ReleaseVersion> = self.held.and_then(|release| release.version.parse().ok());
        let mut updated =
            MediumUpdated { title, to: from.clone(), from, refused: plan.refused.clone(), fetched: 0, reused: 0, freed: 0, keys: false };
        let Some(to) = plan.to.as_ref().filter(|_| plan.refused.is_none()) else { return Ok(updated) };
        let (content, release) = self.offered(plan, &to.version)?;
        let objects = self.objects(content, &release)?;
        let writing = Writing::new(self.terminal, self.authority, self.root, &self.below(), objects)?;
        check_space(self.terminal, self.root, writing.missing()?)?;
        (self.progress)(Step::Title { title: updated.title.clone(), release: to.version.clone(), resumed: writing.is_begun()? });
        let done = writing.run(self.progress)?;
        self.switch(plan, &content.document)?;
        (updated.fetched, updated.reused, updated.to) = (done.written, done.reused, Some(to.version.clone()));
        updated.freed = writing.sweep()?;
        Ok(updated)
    }

    /// What the authority offers, as far as the publisher has signed it: a release of this title, which the feed lists.
    fn offered<'p>(&self, plan: &'p Plan, to: &ReleaseVersion) -> Result<(&'p ContentOnOffer, Release)> {
        let content = plan.content.as_ref().ok_or_else(|| self.not("the authority does not say what the release consists of"))?;
        let release = verified(self.title, &content.document)?;
        if release.version != to.as_str() {
            return Err(self.not("the authority offers one release and tells of another"));
        }
        let handed = Handed { feed: plan.feed.as_deref(), fresh: plan.fresh.as_deref() };
        let feed = feed::accept(self.terminal, Some(self.authority), &self.title.title, &self.title.publisher, handed)?;
        let held = self.held.and_then(|release| release.version.parse().ok());
        let (document, channel) = (content.document.as_str(), Channel::default());
        feed.permit(&Going { held: held.as_ref(), to, document, channel: &channel, asked_for: false })?;
        Ok((content, release))
    }

    /// Manifest and packs by name and file.
    fn objects(&self, content: &ContentOnOffer, release: &Release) -> Result<Vec<(ObjectName, u64, String)>> {
        let mut objects = vec![(release.manifest.object, release.manifest.length, format!("{}.manifest", release.manifest.object))];
        for object in &content.objects {
            let name: ObjectName = object.object.parse().map_err(|_| self.not("the authority names an object that none can be"))?;
            if name != release.manifest.object {
                objects.push((name, object.length, format!("{name}.pack")));
            }
        }
        Ok(objects)
    }

    /// The moment in which it counts: everything else is there and durable.
    fn switch(&self, plan: &Plan, document: &str) -> Result<()> {
        let io = &**self.terminal.io();
        if let Some(feed) = feed::newest(self.terminal, &self.title.title, &self.title.publisher)?.or_else(|| plan.feed.clone()) {
            replace(io, &self.directory().join(layout::FEED), feed.as_bytes(), 0o644)?;
        }
        Ok(replace(io, &self.directory().join(layout::RELEASE), document.as_bytes(), 0o644)?)
    }

    /// Asks for the keys to the release for the copy in a library, where it holds the title and the user has it by right; says whether the
    /// medium carries them now.
    fn bring_keys(&self, library: &Library, card: &CardChoice, to: &ReleaseVersion) -> Result<bool> {
        let held = library.list()?.into_iter().find(|listed| listed.complete && listed.title == self.title.title);
        let Some(listed) = held else { return Ok(false) };
        let path = self.directory().join(layout::UPDATES);
        let mut carried = carried_keys(self.terminal, &path)?;
        if carried.iter().any(|known| known.grant_id == listed.grant_id && known.keys.title.release == *to) {
            return Ok(true);
        }
        let keys = match self.ask_keys(library, card, &listed, to) {
            Ok(keys) => keys,
            // Another card is in it, or the rights do not allow it: the content is there all the same.
            Err(Error::Refused(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        carried.retain(|known| known.grant_id != listed.grant_id);
        carried.push(CarriedKeys { grant_id: listed.grant_id, keys });
        let bytes = serde_json::to_vec(&carried).expect("documents and sealed boxes are JSON");
        no_links(&**self.terminal.io(), self.root, &self.below())?;
        replace(&**self.terminal.io(), &path, &bytes, 0o644)?;
        Ok(true)
    }

    fn ask_keys(&self, library: &Library, card: &CardChoice, listed: &Listed, release: &ReleaseVersion) -> Result<UpdateResult> {
        let holder = self.terminal.holder(card, Some(library.path()))?;
        let claimant = Claimant::new(self.terminal, self.authority, &holder, library.path())?;
        ask_keys(self.terminal, self.authority, &claimant, &holder, listed, release)
    }

    fn directory(&self) -> PathBuf {
        self.root.join(self.below())
    }

    fn below(&self) -> PathBuf {
        layout::title(&self.title.title).into()
    }

    fn not(&self, reason: &str) -> Error {
        crate::exchange::refused(Code::UpdateNotAuthentic, format!("{}: {reason}", self.title.title))
    }
}

/// What a medium carries for copies. What cannot be read as that is nothing: it may be damaged, and is asked for again.
fn carried_keys(terminal: &Terminal, path: &Path) -> Result<Vec<CarriedKeys>> {
    let bytes = read_small(&**terminal.io(), path, LONGEST_UPDATES)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}
