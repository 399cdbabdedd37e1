//! What the library says of itself (A6), and the plans that the authority answers with.

use super::UpdateOptions;
use super::bring::pinned;
use crate::card::CardChoice;
use crate::claimant::Claimant;
use crate::error::Result;
use crate::exchange::ask;
use crate::feed::{self, Handed};
use crate::library::{Copy, Library, Listed};
use crate::publisher;
use crate::terminal::Terminal;
use counterfoil_core::wire::{Begun, Operation, Plan, Report, ReportResult, Selected, Status};
use counterfoil_core::{Channel, ReleaseVersion, Timestamp, TitleId};
use counterfoil_format::content::Encoder;
use counterfoil_format::envelope::MAX_PAYLOAD;
use serde::{Deserialize, Serialize};

/// Most bytes of statuses in one request; the rest of it takes a few hundred.
const MOST_BYTES: usize = MAX_PAYLOAD - 4096;
/// Names of small files below the directory of a copy.
pub(super) const CHANNEL: &str = "channel.json";
pub(super) const OFFER: &str = "offer.json";

/// What the authority answered.
#[derive(Debug)]
pub struct Reported {
    /// Title by title.
    pub titles: Vec<Planned>,
    /// Titles in the library that were never finished: they are gone on with, not updated.
    pub unfinished: Vec<Listed>,
    /// Supplementary titles that the status selects (A6), to be installed.
    pub selected: Vec<Selected>,
    /// Contents servers (A10) that did not answer as they should, and why: they select nothing this time.
    pub silent: Vec<(String, String)>,
}

/// A title, and what brings it up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What is played.
    pub held: Listed,
    /// What the authority says.
    pub plan: Plan,
}

/// `offer.json`: what was offered when the authority was asked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Which release.
    pub release: ReleaseVersion,
    /// It mends something dangerous.
    pub critical: bool,
    /// Bytes to fetch, the cheapest way.
    pub fetch: u64,
    /// When.
    pub at: Timestamp,
}

/// Says what the library holds, all of it or some titles, and asks what is offered. Nothing is fetched, and nothing changes but what
/// `list` shows, and which feed is the newest that is known.
///
/// # Errors
/// [`crate::LibraryError::NoTitle`], [`crate::LibraryError::Incomplete`] for a title that was named; the refusals of `report`;
/// [`crate::transport::TransportError`]; what the system said. What is refused title by title is in its plan.
pub fn report(terminal: &Terminal, library: &Library, titles: &[TitleId], options: &UpdateOptions) -> Result<Reported> {
    let mut reported = Reported { titles: vec![], unfinished: vec![], selected: vec![], silent: vec![] };
    let mut held = Vec::new();
    for title in titles {
        library.complete(title)?.record()?;
    }
    for listed in library.list()?.into_iter().filter(|listed| titles.is_empty() || titles.contains(&listed.title)) {
        match listed.complete {
            true => held.push(listed),
            false => reported.unfinished.push(listed),
        }
    }
    for listed in &held {
        // What cannot be removed now is removed the next time.
        let _ = super::finish(terminal, library, listed, &options.card);
    }
    let mut rest = &held[..];
    let all = held.iter().map(|listed| status(terminal, library, listed, options)).collect::<Result<Vec<_>>>()?;
    for statuses in in_parts(all) {
        let (some, later) = rest.split_at(statuses.len());
        rest = later;
        let answered = send(terminal, library, &options.card, statuses.clone())?;
        let shown = crate::status::show(terminal, library.path(), &options.card, &answered.contents, &statuses)?;
        for (listed, plan) in some.iter().zip(answered.plans) {
            let copy = library.copy(&listed.title, listed.grant_id);
            note_offer(terminal, &copy, &plan);
            learn(terminal, &copy, &plan)?;
            reported.titles.push(Planned { held: listed.clone(), plan });
        }
        reported.selected.extend(answered.selected.into_iter().chain(shown.selected));
        reported.silent.extend(shown.failed);
    }
    Ok(reported)
}

/// As many as one sealed request carries, in their order: variables and damage may be long.
fn in_parts(statuses: Vec<Status>) -> Vec<Vec<Status>> {
    let mut parts: Vec<(usize, Vec<Status>)> = vec![];
    for status in statuses {
        let bytes = serde_json::to_vec(&status).expect("a status is texts and numbers").len() + 1;
        match parts.last_mut() {
            Some((taken, part)) if *taken + bytes <= MOST_BYTES && part.len() < Report::MOST => {
                *taken += bytes;
                part.push(status);
            }
            _ => parts.push((bytes, vec![status])),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

fn send(terminal: &Terminal, library: &Library, card: &CardChoice, statuses: Vec<Status>) -> Result<ReportResult> {
    let authority = terminal.meet(&[])?;
    let holder = terminal.holder(card, Some(library.path()))?;
    let claimant = Claimant::new(terminal, &authority, &holder, library.path())?;
    let device_name = claimant.device_name();
    let titles: Vec<TitleId> = statuses.iter().map(|status| status.title.clone()).collect();
    let operation = Operation::Report(Report {
        user_id: Some(claimant.user),
        device_id: claimant.device,
        medium_id: None,
        encoder: Encoder::name(),
        deltas: true,
        titles: statuses,
    });
    let answered: ReportResult = ask(terminal, &authority, &operation, &claimant.proof(&holder, &device_name))?;
    if !answered.plans.iter().map(|plan| &plan.title).eq(&titles) {
        return Err(crate::ExchangeError::Shape("not one plan for each title".into()).into());
    }
    Ok(answered)
}

/// What is known of one copy. A release that was begun is finished before anything else is offered, unless it is offered no more.
fn status(terminal: &Terminal, library: &Library, listed: &Listed, options: &UpdateOptions) -> Result<Status> {
    let copy = library.copy(&listed.title, listed.grant_id);
    let pin = pinned(&copy)?.filter(|pin| pin.release != listed.release);
    let begun = match &pin {
        Some(pin) => Some(begun(&copy, &pin.release)?),
        None => None,
    };
    let damaged = copy.known_damage()?.filter(|damage| damage.release == listed.release);
    let publisher = copy.record()?.publisher;
    Ok(Status {
        title: listed.title.clone(),
        grant_id: Some(listed.grant_id),
        medium_id: listed.origin.medium().cloned(),
        release: Some(listed.release.clone()),
        damaged: damaged.map(|damage| damage.chunks).unwrap_or_default(),
        begun,
        channel: options.channel.clone().or(channel(&copy)?),
        wanted: options.to.clone(),
        feed: feed::known(terminal, &listed.title, &publisher)?,
        variables: crate::status::variables(terminal, library, &listed.title)?,
    })
}

/// How much of a release is there already: unfinished packs, and patches.
fn begun(copy: &Copy, release: &ReleaseVersion) -> Result<Begun> {
    let sum = |directory: &std::path::Path, extension: &str| -> Result<u64> {
        let mut bytes = 0;
        for name in copy.io.list(directory).unwrap_or_default() {
            let path = directory.join(name);
            if path.extension().is_some_and(|found| found == extension) {
                bytes += copy.length(&path)?.unwrap_or(0);
            }
        }
        Ok(bytes)
    };
    let fetched = sum(&copy.directory.join("update"), "patch")?;
    Ok(Begun { release: release.clone(), have: sum(&copy.packs(), "partial")?, fetched })
}

/// The channel that is followed, where one was ever named.
pub(super) fn channel(copy: &Copy) -> Result<Option<Channel>> {
    copy.read(CHANNEL)
}

/// What the publisher says holds from now on, also where nothing is to be done: going back asks nobody. A feed that is not good is refused
/// where something would come of it.
fn learn(terminal: &Terminal, copy: &Copy, plan: &Plan) -> Result<()> {
    if plan.refused.is_some() {
        return Ok(());
    }
    let publisher = copy.record()?.publisher;
    publisher::note(terminal, &plan.title, &publisher)?;
    let handed = Handed { feed: plan.feed.as_deref(), fresh: plan.fresh.as_deref() };
    feed::take(terminal, &terminal.meet(&[])?, &plan.title, &publisher, handed)?;
    Ok(())
}

/// For `list`. A library that cannot be written is asked about all the same.
fn note_offer(terminal: &Terminal, copy: &Copy, plan: &Plan) {
    let _ = match plan.to.as_ref().zip(plan.ways.first()) {
        Some((to, way)) => {
            let offer = Offer { release: to.version.clone(), critical: to.critical, fetch: way.fetch, at: terminal.clock().now() };
            copy.write(OFFER, &offer)
        }
        None => copy.forget(OFFER),
    };
}

impl Library {
    /// What a title was offered when the authority was asked last.
    ///
    /// # Errors
    /// [`crate::LibraryError`]; what the system said.
    pub fn offer(&self, listed: &Listed) -> Result<Option<Offer>> {
        self.copy(&listed.title, listed.grant_id).read(OFFER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::wire::Variable;

    #[test]
    fn a_report_is_cut_into_what_can_be_sealed() {
        let status = |title: String, bytes: usize| Status {
            title: title.parse().expect("a title"),
            grant_id: None,
            medium_id: None,
            release: None,
            damaged: vec![],
            begun: None,
            channel: None,
            wanted: None,
            feed: 0,
            variables: [("a".to_owned(), Variable::Text("x".repeat(bytes)))].into(),
        };
        let many: Vec<Status> = (0..450).map(|number| status(format!("title-{number}"), number % 7 * 1000)).collect();
        let parts = in_parts(many.clone());
        for part in &parts {
            let bytes: usize = part.iter().map(|status| serde_json::to_vec(status).expect("JSON").len() + 1).sum();
            assert!(bytes <= MOST_BYTES && (1..=Report::MOST).contains(&part.len()), "{bytes} in {}", part.len());
        }
        assert_eq!(parts.concat(), many, "each once, in order");
        assert_eq!(in_parts((0..201).map(|number| status(format!("t{number}"), 0)).collect()).len(), 2);
        assert_eq!(in_parts(vec![]), Vec::<Vec<Status>>::new());
    }
}
