//! The managed copy (C6–C11): claim, keys onto the card, packs under the library key, confirmation, content key gone.
//!
//! A crash at any moment is repaired by repeating the command: the claim is stored before it is sent, its grants are on the card before
//! the stored claim goes, packs are complete when they have their name, the title when `current` points at it, and the content key
//! leaves the card only when the authority has noted the copy.

mod error;

use crate::card::{CardChoice, FileHolder, SealedGrant};
use crate::claimant::{Claimant, open_and_check};
use crate::collect::{caught_up, compare};
use crate::error::Result;
use crate::exchange::{exchange, exchange_presenting};
use crate::fill::{CopiedTitle, Filling, Step, check_space as check_drive};
use crate::home::Authority;
use crate::inspect::check_authority;
use crate::library::{Library, Listed};
use crate::medium::refresh::Presented;
use crate::medium::{Medium, MediumError};
use crate::publisher;
use crate::terminal::Terminal;
use counterfoil_core::rules::binding::Purpose;
use counterfoil_core::wire::{Claim, ClaimResult, Confirm, ConfirmResult, HolderKind, Operation, TitleOnMedium};
use counterfoil_core::{Currency, GrantId};
use counterfoil_format::content::{ContentKey, LibraryKey, Release};
use counterfoil_format::jws::Signer;
use counterfoil_format::secret::Secret;
use std::borrow::Cow;
use std::num::NonZeroUsize;

pub use error::CopyError;

/// How to copy.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// Whose keys.
    pub card: CardChoice,
    /// Threads; as many as there are cores where nothing is said.
    pub jobs: Option<NonZeroUsize>,
    /// What to pay in, where it is paid for when it is copied and has prices in several currencies.
    pub currency: Option<Currency>,
    /// Use up the medium's copy even where the library holds the same releases from another medium.
    pub again: bool,
}

/// What was copied.
#[derive(Clone, Debug, PartialEq)]
pub struct Copied {
    /// Title by title.
    pub titles: Vec<CopiedTitle>,
    /// Whether an earlier attempt was gone on with.
    pub resumed: bool,
}

/// A title on the medium, verified.
struct Source<'m> {
    /// With the release that lies there, which may be a later one than it was pressed with.
    on_medium: Cow<'m, TitleOnMedium>,
    token: String,
    release: Release,
}

/// Copies every title of a medium into a library.
///
/// # Errors
/// The refusals of `claim`, [`counterfoil_core::Code::CopyNotPermitted`] (C10), [`counterfoil_core::Code::UpdateNotAuthentic`]; [`CopyError`]; [`crate::medium::MediumError`]; what the system said.
pub fn copy(
    terminal: &Terminal,
    medium: &Medium,
    library: &Library,
    options: &CopyOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Copied> {
    let _home = terminal.home().lock()?;
    let _library = library.lock()?;
    // Everything that can be found wrong is found before the one copy of the medium is used.
    let sources = sources(medium)?;
    let authority = terminal.meet_by(&medium.area().authority)?;
    check_authority(medium, &authority.document.name)?;
    for Source { on_medium, .. } in &sources {
        publisher::check(terminal, library, &on_medium.title, &on_medium.publisher)?;
    }
    let mut holder = terminal.holder(&options.card, Some(library.path()))?;

    // An earlier attempt may have brought the keys onto the holder. Whose hardware they are for is asked before anything else (C10).
    let resumed = match grants_for(&holder, medium, &sources) {
        Ok(grants) => match open_all(terminal, &holder, &grants, library) {
            Err(refused @ crate::Error::Refused(_)) if !wiped(terminal, &authority, &mut holder, &grants) => return Err(refused),
            Err(crate::Error::Refused(_)) => false,
            opened => opened.map(|_| true)?,
        },
        Err(_) => false,
    };
    let claimant = Claimant::new(terminal, &authority, &holder, library.path())?;
    if !resumed {
        if !options.again {
            check_wanted(&holder, medium, library, &sources)?;
        }
        check_space(terminal, medium, library, &sources)?;
        progress(Step::Claiming);
        claim(terminal, &authority, &mut holder, &claimant, (medium, &sources), options, progress)?;
    }
    let grants = grants_for(&holder, medium, &sources)?;
    let keys = open_all(terminal, &holder, &grants, library)?;
    let mut titles = Vec::new();
    let mut superseded = Vec::new();
    for ((source, grant), (library_key, content_key)) in sources.iter().zip(&grants).zip(keys) {
        let content_key = ContentKey::new(content_key.ok_or_else(|| CopyError::Grant("it holds no content key".into()))?);
        let content = medium.content(&source.on_medium.title);
        let (on_medium, token, release) = (&*source.on_medium, &source.token, &source.release);
        let filling = Filling { terminal, library, source: &content, donor: None, on_medium, token, release, grant };
        titles.push(filling.run(&LibraryKey::new(library_key), &content_key, options.jobs, progress)?);
        superseded.extend(library.set_current(&source.on_medium.title, grant.grant_id)?);
    }
    let path = library.path().to_owned();
    terminal.home().remember(|profile| profile.library = Some(path.clone()))?;
    progress(Step::Confirming);
    confirm(terminal, &authority, &mut holder, &claimant, medium, &grants, &superseded)?;
    Ok(Copied { titles, resumed })
}

fn sources(medium: &Medium) -> Result<Vec<Source<'_>>> {
    let mut sources = Vec::new();
    for pressed in &medium.identity().titles {
        let (token, release) = medium.release(pressed)?;
        sources.push(Source { on_medium: as_it_lies(pressed, &release)?, token, release });
    }
    Ok(sources)
}

fn as_it_lies<'m>(pressed: &'m TitleOnMedium, release: &Release) -> Result<Cow<'m, TitleOnMedium>> {
    if release.version == pressed.release.as_str() {
        return Ok(Cow::Borrowed(pressed));
    }
    let not = |_| MediumError::NotAuthentic { title: pressed.title.clone(), reason: "its version is none".into() };
    Ok(Cow::Owned(TitleOnMedium { release: release.version.parse().map_err(not)?, ..pressed.clone() }))
}

/// Opens every grant on the hardware that it is bound to: library key, and content key while it is there.
fn open_all(
    terminal: &Terminal,
    holder: &FileHolder,
    grants: &[SealedGrant],
    library: &Library,
) -> Result<Vec<(Secret<32>, Option<Secret<32>>)>> {
    grants.iter().map(|grant| open_and_check(terminal, holder, grant, library.path(), Purpose::Copy)).collect()
}

/// Whether keys that are for other hardware have been ended by a repair (C14), so that the medium can be claimed anew. Where the authority
/// cannot be asked, they have not.
fn wiped(terminal: &Terminal, authority: &Authority, holder: &mut FileHolder, grants: &[SealedGrant]) -> bool {
    if holder.kind() != HolderKind::Card {
        return false;
    }
    let Ok((sealed, _)) = compare(terminal, authority, holder) else { return false };
    grants.iter().all(|grant| sealed.grant(grant.grant_id).is_none()) && holder.store(sealed).is_ok()
}

/// The grants whose copies are not finished, one for each title on the medium.
fn grants_for(holder: &FileHolder, medium: &Medium, sources: &[Source<'_>]) -> Result<Vec<SealedGrant>> {
    let unfinished: Vec<&SealedGrant> = holder.sealed().unfinished(&medium.identity().medium_id).collect();
    let find = |source: &Source<'_>| {
        let title = &source.on_medium.title;
        let found = unfinished.iter().find(|grant| grant.title == *title && grant.generation == source.release.generation);
        found.map(|grant| (*grant).clone()).ok_or_else(|| CopyError::Grant(format!("nothing for `{title}`")).into())
    };
    sources.iter().map(find).collect()
}

/// C6–C8: asks for the keys, and has them on the holder when it returns.
fn claim(
    terminal: &Terminal,
    authority: &Authority,
    holder: &mut FileHolder,
    claimant: &Claimant,
    (medium, sources): (&Medium, &[Source<'_>]),
    options: &CopyOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<()> {
    let identity = medium.identity();
    let operation = Claim {
        user_id: claimant.user,
        medium_id: identity.medium_id.clone(),
        epoch: identity.epoch,
        card_id: claimant.combination.card.then(|| holder.card_id()),
        device_id: claimant.device,
        drive_id: claimant.drive,
        pay: None,
        currency: options.currency,
    };
    let (device_name, medium_name) = (claimant.device_name(), identity.medium_id.to_string());
    let mut proofs = claimant.proofs(holder, &device_name);
    proofs.push((&medium_name, Signer::ClaimSecret(medium.secret())));
    let told = |refreshing| progress(Step::Refreshing(refreshing));
    let presented = Presented::new(medium, &told);
    let accepted = exchange_presenting::<ClaimResult>(terminal, authority, Operation::Claim(operation), &proofs, Some(&presented))?;

    if let Some(charged) = accepted.result.charged.clone() {
        terminal.note_charged(charged.into());
    }
    let device = claimant.device.map(|id| id.to_string());
    let mut grants = Vec::new();
    for document in &accepted.result.grants {
        let grant = SealedGrant::new(document, &authority.document.name, identity.medium_id.clone(), device.clone());
        grants.push(grant.map_err(|error| CopyError::Grant(error.to_string()))?);
    }
    // Where the entry was repaired since the card last heard of it, what was exchanged takes its grants along (C14).
    let sealed = match caught_up(terminal, authority, holder, &grants, accepted.result.generation)? {
        Some(sealed) => sealed,
        None => {
            let mut sealed = holder.sealed().clone();
            sealed.add(grants);
            sealed
        }
    };
    holder.store(sealed)?;
    grants_for(holder, medium, sources)?;
    accepted.applied(terminal);
    Ok(())
}

/// Whether the copy brings anything: a medium has only one, and its owner may want to give it away.
fn check_wanted(holder: &FileHolder, medium: &Medium, library: &Library, sources: &[Source<'_>]) -> Result<()> {
    let listed = library.list()?;
    let same = |source: &Source<'_>| {
        listed.iter().find(|copy| {
            let plays = copy.complete && holder.sealed().grant(copy.grant_id).is_some();
            plays && copy.title == source.on_medium.title && copy.release == source.on_medium.release
        })
    };
    let found: Option<Vec<&Listed>> = sources.iter().map(same).collect();
    match found.as_deref() {
        Some([first, ..]) if first.origin.medium() != Some(&medium.identity().medium_id) => {
            Err(CopyError::Present { title: first.title.clone(), release: first.release.clone() }.into())
        }
        _ => Ok(()),
    }
}

/// Looks at the lengths on the medium: nothing of it can be opened yet.
fn check_space(terminal: &Terminal, medium: &Medium, library: &Library, sources: &[Source<'_>]) -> Result<()> {
    let mut needed = 0;
    for source in sources {
        needed += source.release.manifest.length + medium.packed_size(&source.on_medium.title)?;
    }
    check_drive(terminal, library.path(), needed)
}

/// C11: the authority notes the copy, then the content keys leave the holder.
fn confirm(
    terminal: &Terminal,
    authority: &Authority,
    holder: &mut FileHolder,
    claimant: &Claimant,
    medium: &Medium,
    grants: &[SealedGrant],
    superseded: &[GrantId],
) -> Result<()> {
    let grant_ids: Vec<GrantId> = grants.iter().map(|grant| grant.grant_id).collect();
    let operation = Confirm {
        user_id: claimant.user,
        medium_id: Some(medium.identity().medium_id.clone()),
        grant_ids: grant_ids.clone(),
        device_id: claimant.device,
    };
    let device_name = claimant.device_name();
    let proofs = claimant.proofs(holder, &device_name);
    let accepted = match exchange::<ConfirmResult>(terminal, authority, Operation::Confirm(operation), &proofs) {
        Ok(accepted) => accepted,
        Err(refused @ crate::Error::Refused(_)) => return Err(refused),
        Err(error) => return Err(CopyError::NotConfirmed(Box::new(error)).into()),
    };
    let mut sealed = holder.sealed().clone();
    sealed.forget_content_keys(&grant_ids);
    // What these copies stood in for opens nothing any more.
    sealed.grants.retain(|grant| !superseded.contains(&grant.grant_id));
    holder.store(sealed)?;
    accepted.applied(terminal);
    Ok(())
}
