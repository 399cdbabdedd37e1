//! Presenting a medium, or user and device, to a provider, taking what it has for them and giving it what it asks for (B4–B6).
//!
//! The provider is told the medium's ID and progress, and nothing that proves it anywhere else: the proof lies in an envelope that only the
//! authority opens, and is good for this provider and this challenge. Nothing that a provider answers is believed before it was looked at.

mod error;
mod http;
mod take;

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::Result;
use crate::exchange::envelope;
use crate::home::Authority;
use crate::inspect::check_authority;
use crate::io::IoFailure;
use crate::medium::Medium;
use crate::received::Place;
use crate::status::variables_on_medium;
use crate::terminal::Terminal;
use counterfoil_core::rules::upload::is_slot;
use counterfoil_core::wire::{Challenge, Operation, Present, Presentation, ProviderContent, ProviderSession, provider_address};
use counterfoil_core::{ProviderId, TitleId};
use counterfoil_format::content::ReadAt as _;
use counterfoil_format::jws::Signer;
use http::Provider;
use std::collections::BTreeMap;
use std::path::Path;

pub use error::PresentError;
pub use take::{Taken, take};

/// Longest text of a provider that is shown, in characters, and most things in one offer.
const SHOWN: usize = 500;
const MOST_OFFERED: usize = 10_000;
/// Longest token that is sent back, in bytes.
const LONGEST_TOKEN: usize = 4096;

/// What is presented.
#[derive(Clone, Copy)]
pub struct Who<'a> {
    /// The medium, by its claim secret.
    pub medium: Option<&'a Medium>,
    /// User and device, by this card and this device's keys.
    pub user: Option<&'a CardChoice>,
    /// Whether progress noted on the medium goes along, which nobody vouches for.
    pub status: bool,
}

/// To whom.
pub struct At<'a> {
    /// Who it says that it is.
    pub provider: ProviderId,
    /// Where it is.
    pub url: &'a str,
    /// What it gave to be answered.
    pub challenge: &'a str,
}

/// Somebody who has had a presentation judged, and answers by it.
pub struct Session {
    provider: Provider,
    /// Who it is.
    pub id: ProviderId,
    /// What the verdict allows, as words with spaces between.
    pub scope: String,
    /// For people.
    pub message: Option<String>,
    /// What there is to be had.
    pub contents: Vec<ProviderContent>,
    /// The most that one upload may have, in bytes; none are taken where nothing is said.
    pub upload_bytes: Option<u64>,
    token: String,
}

/// Presents to the provider at `url`.
///
/// # Errors
/// [`PresentError`]; [`crate::transport::TransportError`]; of a medium as [`Medium::open`]; of a user
/// [`counterfoil_core::Code::UserInvalid`], [`counterfoil_core::Code::DeviceNotRegistered`].
pub fn present(terminal: &Terminal, url: &str, who: &Who<'_>) -> Result<Session> {
    let provider = Provider::at(terminal.agent()?, url)?;
    let authority = authority(terminal, who)?;
    let asked: Challenge = provider.challenge()?;
    if asked.authority != authority.document.name {
        let (asked, known) = (shown(&asked.authority), authority.document.name.clone());
        return Err(PresentError::OtherAuthority { url: url.to_owned(), asked, known }.into());
    }
    check_challenge(&asked.challenge)?;
    let presentation = sealed(terminal, &authority, who, &At { provider: asked.provider, url, challenge: &asked.challenge })?;
    let session = provider.present(&asked.challenge, &presentation)?;
    checked(provider, asked.provider, session)
}

/// What [`present`] would hand over, for whoever speaks to a provider by other means.
///
/// # Errors
/// As [`present`].
pub fn presentation(terminal: &Terminal, who: &Who<'_>, at: &At<'_>) -> Result<Presentation> {
    check_challenge(at.challenge)?;
    sealed(terminal, &authority(terminal, who)?, who, at)
}

fn authority(terminal: &Terminal, who: &Who<'_>) -> Result<Authority> {
    let authority = who.medium.map_or_else(|| terminal.meet(&[]), |medium| terminal.meet_by(&medium.area().authority))?;
    if let Some(medium) = who.medium {
        check_authority(medium, &authority.document.name)?;
    }
    Ok(authority)
}

/// Proven by medium, holder and device, as far as they are presented.
fn sealed(terminal: &Terminal, authority: &Authority, who: &Who<'_>, at: &At<'_>) -> Result<Presentation> {
    let library = terminal.home().profile()?.library;
    let asker = who.user.map(|card| Asker::new(terminal, authority, card, library.as_deref())).transpose()?;
    let medium_id = who.medium.map(|medium| medium.identity().medium_id.clone());
    let operation = Operation::Present(Present {
        provider: at.provider,
        // Where it is in truth, not where it says: a proof that it would pass on as its own names it.
        url: provider_address(at.url),
        challenge: at.challenge.to_owned(),
        medium_id: medium_id.clone(),
        user_id: asker.as_ref().map(|asker| asker.user),
        device_id: asker.as_ref().map(|asker| asker.device),
    });
    let name = medium_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut proofs: Vec<(&str, Signer<'_>)> = asker.as_ref().map(Asker::proofs).unwrap_or_default();
    if let Some(medium) = who.medium {
        proofs.push((&name, Signer::ClaimSecret(medium.secret())));
    }
    let mut status = BTreeMap::new();
    for title in who.medium.filter(|_| who.status).map_or(&[][..], |medium| &medium.identity().titles) {
        // A note that cannot be read keeps nobody from presenting.
        let noted = who.medium.and_then(|medium| variables_on_medium(terminal, medium, &title.title).ok()).unwrap_or_default();
        if !noted.is_empty() {
            status.insert(title.title.clone(), noted);
        }
    }
    Ok(Presentation { medium_id, status, envelope: envelope(terminal, authority, &operation, &proofs)? })
}

fn check_challenge(challenge: &str) -> Result<()> {
    let visible = challenge.bytes().all(|byte| byte.is_ascii_graphic());
    let good = visible && (16..=128).contains(&challenge.len());
    if good { Ok(()) } else { Err(PresentError::Strange("its challenge is not 16 to 128 visible characters".into()).into()) }
}

/// Takes a provider's answer for what it may be, and no more.
fn checked(provider: Provider, id: ProviderId, answered: ProviderSession) -> Result<Session> {
    let strange = |what: &str| crate::Error::from(PresentError::Strange(what.to_owned()));
    let ProviderSession { session: token, scope, message, contents, upload_bytes } = answered;
    if token.is_empty() || token.len() > LONGEST_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(strange("its session is no token"));
    }
    if contents.len() > MOST_OFFERED {
        return Err(strange("it offers more than anybody could take"));
    }
    let mut names = std::collections::BTreeSet::new();
    for content in &contents {
        if !is_slot(&content.name) || !names.insert((&content.title, &content.name)) {
            return Err(strange("it offers something under a name that none can be, or twice"));
        }
        if content.blake3.len() != 64 || !content.blake3.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(strange("it does not say what the BLAKE3 of its contents is"));
        }
    }
    let contents = contents.into_iter().map(|content| {
        let description = content.description.as_deref().map(shown);
        ProviderContent { description, ..content }
    });
    let contents = contents.collect();
    Ok(Session { provider, id, scope: shown(&scope), message: message.as_deref().map(shown), contents, upload_bytes, token })
}

/// Nothing in it moves a cursor or goes on for ever.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SHOWN).collect()
}

/// What of the offer is called so; all of it where nothing is said.
///
/// # Errors
/// [`PresentError::NotOffered`].
pub fn offered<'s>(session: &'s Session, names: &[String]) -> Result<Vec<&'s ProviderContent>> {
    let find = |name: &String| {
        let found: Vec<_> = session.contents.iter().filter(|content| content.name == *name).collect();
        if found.is_empty() { Err(PresentError::NotOffered(name.clone()).into()) } else { Ok(found) }
    };
    if names.is_empty() {
        return Ok(session.contents.iter().collect());
    }
    Ok(names.iter().map(find).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Hands a file in, by tus 1.0, under `name`, and tells how many bytes the provider has by now.
///
/// # Errors
/// [`PresentError::NotTaken`] where it takes none, or none so long; [`crate::transport::TransportError`]; what the system said of the file.
pub fn give(
    terminal: &Terminal,
    session: &Session,
    file: &Path,
    name: &str,
    title: Option<&TitleId>,
    told: &dyn Fn(u64, u64),
) -> Result<u64> {
    let not = |reason: String| crate::Error::from(PresentError::NotTaken { name: shown(name), reason });
    if !is_slot(name) {
        return Err(not("a name is 1 to 100 of a-z A-Z 0-9 . _ -, and does not begin with a dot".into()));
    }
    let source = terminal.io().open(file).map_err(IoFailure::at("read", file))?;
    let length = source.size().map_err(IoFailure::at("read", file))?;
    match session.upload_bytes {
        None => return Err(not("it takes nothing from this medium".into())),
        Some(most) if most < length => return Err(not(format!("it has {length} bytes, and {most} are the most that it takes"))),
        Some(_) => {}
    }
    let mut metadata = vec![("name", name)];
    metadata.extend(title.map(|title| ("title", title.as_str())));
    let upload = session.provider.upload(&session.token, length, &metadata)?;
    upload.send(&*source, length, &|at| told(at, length)).map_err(error::refused)?;
    Ok(length)
}

/// Where something for a title would be put: on the medium that was presented, where that can be written, or else in the library.
///
/// # Errors
/// [`PresentError::NoPlace`]; of a library as [`crate::open_title`].
pub fn place<'a>(
    terminal: &Terminal,
    who: &Who<'a>,
    library: Option<&'a crate::Library>,
    card: &CardChoice,
    title: &TitleId,
) -> Result<Place> {
    let on_medium = |medium: &&Medium| medium.identity().titles.iter().any(|on| on.title == *title) && medium.is_writable(terminal);
    if let Some(medium) = who.medium.filter(on_medium) {
        return Place::on_medium(terminal, medium, title);
    }
    match library {
        Some(library) if library.complete(title).is_ok() => Place::in_library(terminal, library, title, card),
        _ => Err(PresentError::NoPlace(title.clone()).into()),
    }
}
