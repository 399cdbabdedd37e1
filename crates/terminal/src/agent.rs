//! What an agent does for its device: jobs from the inbox carried out, and leases renewed before they end (D9, D10).

use crate::card::CardChoice;
use crate::error::{Error, Result};
use crate::fill::Step;
use crate::install::{InstallOptions, install};
use crate::library::{Library, Listed};
use crate::license::Held;
use crate::renew::{Contact, renew};
use crate::terminal::Terminal;
use counterfoil_core::rules::run::{self, Known};
use counterfoil_core::wire::{Job, JobDone, Work};
use counterfoil_core::{Code, LicenseId, ReleaseVersion, TitleId};

/// What came of a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Carried {
    /// The title is in the library.
    Installed {
        /// Which release of it.
        release: ReleaseVersion,
        /// Whether it was there before.
        already: bool,
    },
    /// The license has ended here, and what was installed by it starts no more.
    Ended,
    /// The license stands: it has come back since, or there was nothing to end.
    Stands,
    /// The authority says no, and would say so again.
    Refused(Box<Error>),
}

impl Carried {
    /// What the authority is told of it.
    pub fn done(&self, job: &Job) -> JobDone {
        let failed = match self {
            Carried::Refused(error) => Some(error.code().to_owned()),
            _ => None,
        };
        JobDone { job_id: job.job_id, failed }
    }
}

/// Carries out a job. Doing one twice is the same as doing it once.
///
/// # Errors
/// What may be otherwise the next time: no network, no room, another command that has the library. The job stays open.
pub fn carry_out(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    job: &Job,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Carried> {
    match &job.work {
        Work::Install { title, .. } => {
            let options = InstallOptions { card: card.clone(), ..InstallOptions::default() };
            match install(terminal, title, library, &options, progress) {
                Ok(installed) => Ok(Carried::Installed { release: installed.title.release, already: installed.already }),
                Err(error) if is_final(&error) => Ok(Carried::Refused(Box::new(error))),
                Err(error) => Err(error),
            }
        }
        Work::End { license_id, .. } => end(terminal, library, card, *license_id),
        Work::Update { .. } => Ok(Carried::Stands),
    }
}

/// What was ended may have come back since, so the authority is asked and not the job believed.
fn end(terminal: &Terminal, library: &Library, card: &CardChoice, license: LicenseId) -> Result<Carried> {
    let installed = library.list()?.into_iter().find(|listed| listed.complete && listed.origin.license() == Some(license));
    let Some(listed) = installed else { return Ok(Carried::Stands) };
    match renew(terminal, library, &listed.title, card)? {
        Contact::Ended => Ok(Carried::Ended),
        Contact::Unanswered(error) => Err(*error),
        Contact::Renewed | Contact::NotLicensed => Ok(Carried::Stands),
    }
}

/// Whether asking again brings nothing else.
fn is_final(error: &Error) -> bool {
    let codes = [
        Code::NotEntitled,
        Code::LicenseEnded,
        Code::TransactionUnknown,
        Code::DeviceNotRegistered,
        Code::ReleaseUnknown,
        Code::CopyNotPermitted,
    ];
    matches!(error, Error::Refused(refusal) if codes.contains(&refusal.code))
}

/// Renews every license that is past half of its lease, or over; gives what came of each.
///
/// # Errors
/// What is wrong with the library. That one license cannot be renewed is no error, and keeps none of the others from it.
pub fn renew_due(terminal: &Terminal, library: &Library, card: &CardChoice) -> Result<Vec<(TitleId, Contact)>> {
    renew_some(terminal, library, card, &|listed| is_due(terminal, library, listed))
}

/// Asks for every license, due or not.
///
/// # Errors
/// As [`renew_due`].
pub fn renew_all(terminal: &Terminal, library: &Library, card: &CardChoice) -> Result<Vec<(TitleId, Contact)>> {
    renew_some(terminal, library, card, &|_| Ok(true))
}

fn renew_some(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    wanted: &dyn Fn(&Listed) -> Result<bool>,
) -> Result<Vec<(TitleId, Contact)>> {
    let mut renewed = Vec::new();
    for listed in library.list()?.into_iter().filter(|listed| listed.complete && listed.origin.license().is_some()) {
        if !wanted(&listed)? {
            continue;
        }
        let contact = renew(terminal, library, &listed.title, card).unwrap_or_else(|error| Contact::Unanswered(Box::new(error)));
        renewed.push((listed.title, contact));
    }
    Ok(renewed)
}

fn is_due(terminal: &Terminal, library: &Library, listed: &Listed) -> Result<bool> {
    let copy = library.copy(&listed.title, listed.grant_id);
    // One that is not genuine is not renewed either: starting it says what is wrong.
    let Ok(Held { file, license, .. }) = Held::read(terminal, library, &copy, listed) else { return Ok(false) };
    let known = Known { signed: terminal.home().profile()?.latest_time, seen: file.seen };
    let now = run::trusted(terminal.clock().now(), known, &license).seconds();
    let half = license.exp.map(|exp| license.iat.saturating_add(exp.saturating_sub(license.iat) / 2));
    Ok(file.ended_at.is_none() && !license.ends && half.is_some_and(|half| now >= half))
}
