//! What an agent does for its device: jobs from the inbox carried out, everything brought up to date, and leases renewed before they end
//! (A2, A5, D9, D10).

use crate::card::CardChoice;
use crate::error::{Error, Result};
use crate::fill::Step;
use crate::install::{InstallOptions, install};
use crate::library::{Library, LibraryError, Listed};
use crate::license::Held;
use crate::renew::{Contact, renew};
use crate::terminal::Terminal;
use crate::update::{self, Brought, Planned, UpdateOptions};
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
    /// It was brought to another release.
    Updated(Brought),
    /// It is as it should be.
    UpToDate(ReleaseVersion),
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
        Work::Install { title, release, .. } => finally(install_one(terminal, library, card, title, release.clone(), progress)),
        Work::End { license_id, .. } => end(terminal, library, card, *license_id),
        Work::Update { title, release } => finally(update_one(terminal, library, card, title, release.clone(), progress)),
    }
}

fn install_one(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    title: &TitleId,
    release: Option<ReleaseVersion>,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Carried> {
    let options = InstallOptions { card: card.clone(), release, ..InstallOptions::default() };
    let installed = install(terminal, title, library, &options, progress)?;
    Ok(Carried::Installed { release: installed.title.release, already: installed.already })
}

/// What was begun and is not finished is installed first.
fn update_one(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    title: &TitleId,
    to: Option<ReleaseVersion>,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Carried> {
    let options = UpdateOptions { card: card.clone(), to, ..UpdateOptions::default() };
    match update::report(terminal, library, std::slice::from_ref(title), &options) {
        Ok(reported) => match reported.titles.into_iter().next() {
            Some(planned) => bring(terminal, library, &planned, &options, progress),
            None => Err(LibraryError::NoTitle { path: library.path().to_owned(), title: title.clone() }.into()),
        },
        Err(Error::Library(LibraryError::Incomplete(_))) => install_one(terminal, library, card, title, options.to, progress),
        Err(error) => Err(error),
    }
}

fn bring(
    terminal: &Terminal,
    library: &Library,
    planned: &Planned,
    options: &UpdateOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Result<Carried> {
    if let Some(refusal) = &planned.plan.refused {
        return Err(Error::Refused(refusal.clone()));
    }
    if planned.plan.to.is_none() {
        return Ok(Carried::UpToDate(planned.held.release.clone()));
    }
    update::bring(terminal, library, planned, options, progress).map(Carried::Updated)
}

/// Tells what is over from what may be otherwise the next time.
fn finally(carried: Result<Carried>) -> Result<Carried> {
    match carried {
        Err(error) if is_final(&error) => Ok(Carried::Refused(Box::new(error))),
        other => other,
    }
}

/// Brings everything in the library up to date that is offered, and installs what is selected by its status (A5, A6): title by title, with what
/// came of each.
///
/// # Errors
/// What is wrong with the library, or that nobody can be asked. That one title cannot be updated keeps none of the others from it.
pub fn update_all(
    terminal: &Terminal,
    library: &Library,
    card: &CardChoice,
    progress: &(dyn Fn(&TitleId, Step) + Sync),
) -> Result<Vec<(TitleId, Result<Carried>)>> {
    let options = UpdateOptions { card: card.clone(), ..UpdateOptions::default() };
    let reported = update::report(terminal, library, &[], &options)?;
    let mut done = Vec::new();
    for planned in &reported.titles {
        let title = &planned.held.title;
        done.push((title.clone(), finally(bring(terminal, library, planned, &options, &|step| progress(title, step)))));
    }
    for selected in reported.selected {
        let title = selected.title;
        let installed = install_one(terminal, library, card, &title, None, &|step| progress(&title, step));
        done.push((title, finally(installed)));
    }
    Ok(done)
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
        Code::GrantUnknown,
        Code::RightMissing,
        Code::ReleaseWithdrawn,
        Code::UpdateNotAuthentic,
    ];
    match error {
        Error::Refused(refusal) => codes.contains(&refusal.code),
        Error::Library(error) => matches!(error, LibraryError::NoTitle { .. }),
        _ => false,
    }
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
        let contact = match wanted(&listed) {
            Ok(false) => continue,
            Ok(true) => renew(terminal, library, &listed.title, card),
            Err(error) => Err(error),
        };
        renewed.push((listed.title, contact.unwrap_or_else(|error| Contact::Unanswered(Box::new(error)))));
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
