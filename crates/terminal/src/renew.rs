//! A license renewed: silently, whenever the authority can be reached, so that a lease never ends under somebody who is online, and a license
//! that was moved or taken back is noticed at once (D10).

use crate::asker::Asker;
use crate::card::CardChoice;
use crate::error::{Error, Result};
use crate::exchange::ask;
use crate::library::{Copy, Library, Listed};
use crate::license::{Held, LicenseFile, verify_by};
use crate::origin::Origin;
use crate::terminal::Terminal;
use counterfoil_core::wire::{Operation, Renew, RenewResult};
use counterfoil_core::{Code, TitleId};

/// What came of asking.
#[derive(Debug)]
#[non_exhaustive]
pub enum Contact {
    /// Nobody is asked for a title that was copied from a medium.
    NotLicensed,
    /// It still stands, and is good for longer.
    Renewed,
    /// It has ended on this device, which is noted: it stays refused without a network as well.
    Ended,
    /// There was no answer, or none to this question: what is here has to do.
    Unanswered(Box<Error>),
}

/// Asks whether the license of a title still stands, and keeps the newer one.
///
/// # Errors
/// [`Code::RunNotPermitted`] (D7), [`Code::LicenseInvalid`]: then nobody is asked. [`crate::LibraryError`]; what the system said of the library.
/// That there was no answer is no error.
pub fn renew(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Result<Contact> {
    let copy = library.complete(title)?;
    let listed = copy.record()?.listed;
    if matches!(listed.origin, Origin::Medium { .. }) {
        return Ok(Contact::NotLicensed);
    }
    let held = Held::read(terminal, library, &copy, &listed)?;
    if held.file.ended_at.is_some() {
        return Ok(Contact::Ended);
    }
    match newer(terminal, library, card, &held, &listed) {
        Ok(token) => {
            // Where it has ended meanwhile, or another command has renewed it, that counts.
            keep(&copy, |file| {
                let is_news = token != file.license && file.license == held.file.license && file.ended_at.is_none();
                is_news.then_some(LicenseFile { license: token, seen: None, ..file })
            });
            Ok(Contact::Renewed)
        }
        // Only what the authority has signed ends a license: anybody in between could say no.
        Err(Error::Refused(refusal)) if matches!(refusal.code, Code::LicenseEnded | Code::DeviceNotRegistered | Code::NotEntitled) => {
            keep(&copy, |file| file.ended(terminal.clock().now()));
            Ok(Contact::Ended)
        }
        Err(error) => Ok(Contact::Unanswered(Box::new(error))),
    }
}

/// The license as it is now; an issue that is older than the one that is here is none.
fn newer(terminal: &Terminal, library: &Library, card: &CardChoice, held: &Held, listed: &Listed) -> Result<String> {
    let authority = terminal.meet(&[])?;
    let asker = Asker::new(terminal, &authority, card, Some(library.path())).map_err(not_said_by_the_authority)?;
    let operation = Operation::Renew(Renew { user_id: asker.user, device_id: asker.device, license_id: held.file.license_id });
    let result: RenewResult = ask(terminal, &authority, &operation, &asker.device_proof())?;
    let license = verify_by(&result.license, &terminal.meet(&[])?).map_err(not_said_by_the_authority)?;
    let old = &held.license;
    let same = license.sub == old.sub && license.title == listed.title && license.grant == listed.grant_id && license.cnf == old.cnf;
    if !same {
        return Err(crate::ExchangeError::Shape("the license is another one".into()).into());
    }
    match license.iat < old.iat {
        true => Ok(held.file.license.clone()),
        false => Ok(result.license),
    }
}

/// A "no" that this device has said itself ends no license.
fn not_said_by_the_authority(error: Error) -> Error {
    match error {
        Error::Refused(refusal) => Error::Transport(crate::transport::TransportError::Refused(refusal)),
        other => other,
    }
}

/// A library that cannot be written is played from all the same: what was learned now is learned again the next time.
fn keep(copy: &Copy, change: impl FnOnce(LicenseFile) -> Option<LicenseFile>) {
    let _ = copy.change_license(change);
}
