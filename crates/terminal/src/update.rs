//! Updates (A5): says what the library holds, has the authority plan what brings it up to date, and does that.
//!
//! [`report()`] asks for plans and changes nothing; [`bring()`] carries one out; [`rollback`] goes back without asking anybody.

mod base;
mod bring;
mod counted;
mod deltas;
mod error;
mod heal;
mod patch;
mod prepared;
mod report;

use crate::card::{CardChoice, FileHolder, SealedGrant};
use crate::claimant::{Claimant, open_and_check};
use crate::copy::CopyError;
use crate::error::Result;
use crate::exchange::{exchange, refused};
use crate::feed::{self, Accepted, Going, Handed};
use crate::fill::Step;
use crate::home::Authority;
use crate::library::{Copy, Library, Listed, Pointer};
use crate::play::{Unsealed, unseal};
use crate::source::Source;
use crate::source::network::Network;
use crate::source::offered::Offered;
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::Purpose;
use counterfoil_core::wire::{AskUpdate, Operation, UpdateResult};
use counterfoil_core::{Channel, Code, ReleaseVersion, TitleId};
use counterfoil_format::content::{ContentKey, LibraryKey, Release};
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub(crate) use base::Base;
pub use bring::Brought;
pub(crate) use bring::{Bringing, Keys, pinned};
pub use error::UpdateError;
pub use report::{Offer, Planned, Reported, report};

/// How to update.
#[derive(Clone, Debug, Default)]
pub struct UpdateOptions {
    /// Whose keys.
    pub card: CardChoice,
    /// Which release; the one that the channel offers where none is named.
    pub to: Option<ReleaseVersion>,
    /// Which channel is followed from now on.
    pub channel: Option<Channel>,
    /// A directory, drive, image or installation file with the content, in place of the contents servers.
    pub from: Option<PathBuf>,
    /// Packs at once.
    pub jobs: Option<NonZeroUsize>,
    /// Do not keep the release that is played now to go back to.
    pub no_keep: bool,
}

/// Carries out a plan.
///
/// # Errors
/// The refusals of `update`; [`Code::UpdateNotAuthentic`]; [`UpdateError`]; [`CopyError::Space`]; [`crate::transport::TransportError`]; what the
/// system said. What is played is then as it was, and a repeat goes on.
pub fn bring(
    terminal: &Terminal,
    library: &Library,
    planned: &Planned,
    options: &UpdateOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Brought> {
    let _home = terminal.home().lock()?;
    let _library = library.lock()?;
    let authority = terminal.meet(&[])?;
    let title = &planned.held.title;
    let unsealed = unseal(terminal, library, title, &options.card)?;
    let (copy, record, held) = (&unsealed.copy, &unsealed.record, &unsealed.record.listed.release);
    let to = planned.plan.to.as_ref().ok_or_else(|| refused(Code::ReleaseUnknown, "there is nothing newer"))?;
    if let Some(channel) = &options.channel {
        copy.write(report::CHANNEL, channel)?;
    }

    let handed = Handed { feed: planned.plan.feed.as_deref(), fresh: planned.plan.fresh.as_deref() };
    // What the publisher does not stand behind is not shown as an offer either.
    let withdraw = |error: &crate::Error| {
        if error.refusal().is_some_and(|refusal| refusal.code == Code::UpdateNotAuthentic) {
            let _ = copy.forget(report::OFFER);
        }
    };
    let feed = feed::accept(terminal, Some(&authority), title, &record.publisher, handed).inspect_err(withdraw)?;
    let claimant = Claimant::new(terminal, &authority, &unsealed.holder, library.path())?;
    let asking = Asking { terminal, authority: &authority, claimant: &claimant, library, unsealed: &unsealed };
    let ask = |version: &ReleaseVersion| asking.keys(version);
    progress(Step::Claiming);
    let target = ask(&to.version).inspect_err(withdraw)?;
    let asked_for = asked_for(copy, &to.version, options)?;
    permit(&feed, held, &target, copy, options, asked_for).inspect_err(withdraw)?;

    let offered = options.from.as_deref().map(|path| Offered::open(terminal, path)).transpose()?;
    let transport = terminal.contents(&authority)?;
    let source: Box<dyn Source + '_> = match &offered {
        Some(offered) => {
            offered.check(title, &target.token)?;
            offered.source(title)
        }
        None => Box::new(Network { transport: transport.clone(), title: title.clone() }),
    };
    progress(Step::Title { title: title.clone(), release: to.version.clone(), resumed: pinned(copy)?.is_some() });
    let (library_key, jobs, keep) = (&unsealed.library_key, options.jobs, !options.no_keep);
    let patches = offered.is_none().then_some(&*transport);
    let record = record.clone();
    Bringing { terminal, library, copy, record, library_key, ask: &ask, source: &*source, patches, jobs, asked_for, keep, progress }
        .run(&target, &planned.plan.ways)
}

/// The publisher's own word on the release, by the feed.
pub(crate) fn permit(
    feed: &Accepted,
    held: &ReleaseVersion,
    target: &Keys,
    copy: &Copy,
    options: &UpdateOptions,
    asked_for: bool,
) -> Result<()> {
    let channel = options.channel.clone().or(report::channel(copy)?).unwrap_or_default();
    let going = Going { held: Some(held), to: &target.title.release, document: &target.token, channel: &channel, asked_for };
    feed.permit(&going)
}

/// Whether the user has named the release, now or when it was begun.
pub(crate) fn asked_for(copy: &Copy, to: &ReleaseVersion, options: &UpdateOptions) -> Result<bool> {
    Ok(options.to.is_some() || pinned(copy)?.is_some_and(|pin| pin.asked_for && pin.release == *to))
}

/// Who asks for the keys of an update.
struct Asking<'a> {
    terminal: &'a Terminal,
    authority: &'a Authority,
    claimant: &'a Claimant,
    library: &'a Library,
    unsealed: &'a Unsealed,
}

impl Asking<'_> {
    fn keys(&self, version: &ReleaseVersion) -> Result<Keys> {
        let Unsealed { holder, record, .. } = self.unsealed;
        let answered = ask_keys(self.terminal, self.authority, self.claimant, holder, &record.listed, version)?;
        keys_of(self.terminal, self.authority, self.library, self.unsealed, answered, version)
    }
}

/// A5: the same grant with the content key, sealed as at the claim.
pub(crate) fn ask_keys(
    terminal: &Terminal,
    authority: &Authority,
    claimant: &Claimant,
    holder: &FileHolder,
    listed: &Listed,
    release: &ReleaseVersion,
) -> Result<UpdateResult> {
    let operation = AskUpdate {
        user_id: claimant.user,
        medium_id: listed.origin.medium().cloned(),
        grant_id: listed.grant_id,
        device_id: claimant.device,
        drive_id: claimant.drive,
        release: release.clone(),
    };
    let device_name = claimant.device_name();
    let proofs = claimant.proofs(holder, &device_name);
    Ok(exchange::<UpdateResult>(terminal, authority, Operation::Update(operation), &proofs)?.applied(terminal))
}

/// Verifies and opens what the authority has answered. Nothing of it is kept.
pub(crate) fn keys_of(
    terminal: &Terminal,
    authority: &Authority,
    library: &Library,
    unsealed: &Unsealed,
    answered: UpdateResult,
    version: &ReleaseVersion,
) -> Result<Keys> {
    let Unsealed { copy, record, holder, .. } = unsealed;
    let listed = &record.listed;
    let not = |reason: &str| refused(Code::UpdateNotAuthentic, reason);
    let UpdateResult { grant, title, release: token } = answered;
    // The publisher is the one that the copy came from: another one's signature is none.
    let key = record.publisher_key().ok_or_else(|| not("the publisher's key in the library is none"))?;
    let release = Release::verify(&token, |kid| (kid == record.publisher.id).then_some(key)).map_err(|error| not(&error.to_string()))?;
    let asked = release.title == listed.title.as_str() && title.title == listed.title && release.version == version.as_str();
    if !asked || title.release != *version || title.publisher != record.publisher {
        return Err(not("it is another release than was asked for"));
    }
    let device = holder.sealed().grant(listed.grant_id).map(|grant| grant.device.clone());
    let sealed = SealedGrant::new(&grant, &authority.document.name, listed.origin.clone(), device)
        .map_err(|error| CopyError::Grant(error.to_string()))?;
    if sealed.grant_id != listed.grant_id || sealed.title != listed.title || sealed.generation != release.generation {
        return Err(CopyError::Grant("it is for something else".into()).into());
    }
    // C10: whose hardware the keys are for is asked before anything is written.
    let (opened, content_key) = open_and_check(terminal, holder, &sealed, library.path(), Purpose::Copy)?;
    let content_key = ContentKey::new(content_key.ok_or_else(|| CopyError::Grant("it holds no content key".into()))?);
    // The library key is the one that this copy is sealed under.
    copy.keys(record, &LibraryKey::new(opened))?;
    Ok(Keys { title, token, release, content_key })
}

/// Finishes an update of a title that was cut off when its release was current already: what nobody needs is removed.
///
/// # Errors
/// As [`crate::open_title`]; what the system said.
pub fn finish(terminal: &Terminal, library: &Library, listed: &Listed, card: &CardChoice) -> Result<()> {
    let copy = library.copy(&listed.title, listed.grant_id);
    if pinned(&copy)?.is_none_or(|pin| pin.release != listed.release) {
        return Ok(());
    }
    let _library = library.lock()?;
    let unsealed = unseal(terminal, library, &listed.title, card)?;
    Bringing::finish(&unsealed.copy, &unsealed.library_key)?;
    Ok(())
}

/// Goes back to the release that was played before the last update, which is here as a whole: nobody is asked, and the newest feed that is
/// known has to allow it. Going back once more goes forward again.
///
/// # Errors
/// [`UpdateError::NothingBefore`]; [`Code::ReleaseWithdrawn`], and [`Code::UpdateNotAuthentic`] where its publisher lets nobody go back to it; as [`crate::open_title`]; what the system said.
pub fn rollback(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Listed> {
    let _library = library.lock()?;
    let unsealed = unseal(terminal, library, title, card)?;
    let copy = &unsealed.copy;
    let pointer = copy.pointer()?;
    let before = pointer.and_then(|pointer| pointer.previous).ok_or_else(|| UpdateError::NothingBefore(title.clone()))?;
    let record = copy.record_of(&before)?;
    let base = Base::open(copy, record, &unsealed.library_key)?;
    if !copy.has_all(&base.manifest)? {
        return Err(UpdateError::NothingBefore(title.clone()).into());
    }
    let publisher = &base.record.publisher;
    if feed::withdrawn(terminal, title, publisher, &before)? {
        return Err(refused(Code::ReleaseWithdrawn, format!("{title} {before}")));
    }
    let now = unsealed.record.listed.release.clone();
    let (document, _) = copy.release_document(&base.record)?;
    let channel = report::channel(copy)?.unwrap_or_default();
    let going = Going { held: Some(&now), to: &before, document: &document, channel: &channel, asked_for: true };
    feed::kept(terminal, title, publisher)?.permit(&going)?;
    copy.forget("damaged.json")?;
    copy.forget("offer.json")?;
    copy.point(&Pointer { release: before, previous: Some(now.clone()) })?;
    Ok(Listed { complete: true, previous: Some(now), ..base.record.listed })
}
