//! A library brought up to date from a medium that carries releases and the keys to them, without asking anybody (A12).

use super::carried_keys;
use crate::error::{Error, Result};
use crate::exchange::refused;
use crate::feed::{self, Handed};
use crate::fill::Step;
use crate::io::read_small;
use crate::library::{Library, Listed};
use crate::medium::{MediumError, find_area, layout};
use crate::play::unseal;
use crate::source::area::OnArea;
use crate::terminal::Terminal;
use crate::update::{Bringing, Brought, UpdateOptions, asked_for, keys_of, permit};
use counterfoil_core::wire::{Way, WayKind};
use counterfoil_core::{Code, ReleaseVersion, TitleId};
use counterfoil_format::content::{MAX_FEED, Release};
use std::path::Path;

/// What a medium has brought to one title of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromMedium {
    /// Another release.
    Brought(Brought),
    /// The one that is there already.
    UpToDate(ReleaseVersion),
    /// The medium has another release, and no keys to it for this copy: the authority has to be asked.
    NoKeys(ReleaseVersion),
}

/// Brings titles of a library, or all of them, to the releases on a medium. Titles that are not on it are left out.
///
/// # Errors
/// [`Code::UpdateNotAuthentic`], [`Code::CopyNotPermitted`]; [`MediumError`]; [`crate::CopyError`]; what the system said.
pub fn update_from_medium(
    terminal: &Terminal,
    library: &Library,
    medium: &Path,
    titles: &[TitleId],
    options: &UpdateOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Vec<(TitleId, FromMedium)>> {
    let _home = terminal.home().lock()?;
    let _library = library.lock()?;
    for title in titles {
        library.complete(title)?.record()?;
    }
    let mut done = Vec::new();
    for listed in library.list()?.into_iter().filter(|listed| listed.complete) {
        if !titles.is_empty() && !titles.contains(&listed.title) {
            continue;
        }
        if let Some(came) = bring(terminal, library, medium, &listed, options, progress)? {
            done.push((listed.title, came));
        }
    }
    Ok(done)
}

/// Nothing where the medium does not have the title.
fn bring(
    terminal: &Terminal,
    library: &Library,
    medium: &Path,
    listed: &Listed,
    options: &UpdateOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Option<FromMedium>> {
    let (title, held) = (&listed.title, &listed.release);
    let area = find_area(terminal, medium)?;
    let source = OnArea { area: &*area, title };
    let token = match source.token() {
        Ok(token) => token,
        Err(Error::Medium(MediumError::NoContent(_))) => return Ok(None),
        Err(error) => return Err(error),
    };
    let not = |reason: String| refused(Code::UpdateNotAuthentic, format!("{title} on {}: {reason}", medium.display()));
    let to = release_of(&token, library, listed, options, &not)?;
    if to == *held {
        return Ok(Some(FromMedium::UpToDate(to)));
    }
    let directory = medium.join(layout::title(title));
    let carried = carried_keys(terminal, &directory.join(layout::UPDATES)).unwrap_or_default();
    let keys = carried.into_iter().find(|keys| keys.grant_id == listed.grant_id && keys.keys.title.release == to);
    // It was registered with an authority, or it would have no library.
    let (Some(keys), Some(authority)) = (keys, terminal.authority()?) else { return Ok(Some(FromMedium::NoKeys(to))) };

    let unsealed = unseal(terminal, library, title, &options.card)?;
    let (copy, record, library_key) = (&unsealed.copy, &unsealed.record, &unsealed.library_key);
    let feed =
        read_small(&**terminal.io(), &directory.join(layout::FEED), MAX_FEED as u64)?.and_then(|bytes| String::from_utf8(bytes).ok());
    // Nobody is here to say that it is the newest: that it is newer than what is known, and not over, has to do.
    let accepted = feed::accept(terminal, None, title, &record.publisher, Handed { feed: feed.as_deref(), fresh: None })?;
    let target = keys_of(terminal, &authority, library, &unsealed, keys.keys, &to)?;
    let asked_for = asked_for(copy, &to, options)?;
    permit(&accepted, held, &target, copy, options, asked_for)?;
    if target.token != token {
        return Err(not("the keys on it are to another release document".into()));
    }
    progress(Step::Title { title: title.clone(), release: to.clone(), resumed: false });
    let ask = |version: &ReleaseVersion| Err(refused(Code::ReleaseUnknown, format!("{title} {version}: nobody can be asked here")));
    // All of it comes from the medium, and nothing over a network.
    let way = Way { kind: WayKind::Chunks, patches: vec![], fetch: 0, reuse: 0, write: target.release.manifest.length };
    let (jobs, keep, record) = (options.jobs, !options.no_keep, record.clone());
    let bringing = Bringing {
        terminal,
        library,
        copy,
        record,
        library_key,
        ask: &ask,
        source: &source,
        patches: None,
        jobs,
        asked_for,
        keep,
        progress,
    };
    bringing.run(&target, &[way]).map(|brought| Some(FromMedium::Brought(brought)))
}

/// The release of a document on a medium: signed by the publisher of the copy in the library, and the one that is wanted.
fn release_of(
    token: &str,
    library: &Library,
    listed: &Listed,
    options: &UpdateOptions,
    not: &dyn Fn(String) -> Error,
) -> Result<ReleaseVersion> {
    let publisher = library.copy(&listed.title, listed.grant_id).record()?.publisher;
    let key = publisher.key.parse().map_err(|_| not("its publisher's key in the library is none".into()))?;
    let release = Release::verify(token, |kid| (kid == publisher.id).then_some(key)).map_err(|error| not(error.to_string()))?;
    let to: ReleaseVersion = release.version.parse().map_err(|_| not("its version is none".into()))?;
    if release.title != listed.title.as_str() || options.to.as_ref().is_some_and(|wanted| *wanted != to) {
        return Err(not(format!("it is release {to} of `{}`", release.title)));
    }
    Ok(to)
}
