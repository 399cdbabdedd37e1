//! The license of an installed title, beside its copy in the library: read, verified with the pinned authority's keys, and judged (D6, D7).

use crate::clock::Clock;
use crate::error::Result;
use crate::exchange::refused;
use crate::home::Authority;
use crate::io::{IoFailure, read_small, replace, wait_for_lock};
use crate::library::{Copy, Library, Listed, damaged};
use crate::origin::Origin;
use crate::play::Title;
use crate::terminal::{Terminal, key_list};
use counterfoil_core::license::LICENSE_TYP;
use counterfoil_core::rules::binding::Binding;
use counterfoil_core::rules::run::{self, Facts, Known, Permission};
use counterfoil_core::{Code, DeviceId, License, LicenseId, Timestamp, TitleId, TransactionId};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::jws::JwsError;
use counterfoil_format::jwt::{JwtError, KeyList, verify_signature};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longest license file that is read, in bytes.
const LONGEST: u64 = 128 * 1024;

/// `license.json`, beside the copy that it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseFile {
    /// [`License`] as the authority signed it, a compact JWS: the newest that was fetched.
    pub license: String,
    /// Which license.
    pub license_id: LicenseId,
    /// What it was fetched by.
    pub transaction_id: TransactionId,
    /// The device that it was installed on: the authentication information of D7.
    pub device_id: DeviceId,
    /// Since when it is known to have ended on this device (D10).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<Timestamp>,
    /// Until when the title was run by it, as [`run::seen`] has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Timestamp>,
}

impl LicenseFile {
    /// As it is when it has just been fetched.
    pub fn new(license: String, license_id: LicenseId, transaction_id: TransactionId, device_id: DeviceId) -> Self {
        LicenseFile { license, license_id, transaction_id, device_id, ended_at: None, seen: None }
    }

    /// The same, noted as ended; `None` where it was before.
    pub(crate) fn ended(self, at: Timestamp) -> Option<Self> {
        self.ended_at.is_none().then_some(Self { ended_at: Some(at), ..self })
    }

    /// What a file holds that somebody names: such a document, or a license alone.
    ///
    /// # Errors
    /// [`Code::LicenseInvalid`]: neither.
    pub fn token_in(bytes: &[u8]) -> Result<String> {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not text"))?.trim();
        match text.starts_with('{') {
            true => {
                let file: LicenseFile = parse_strict(text.as_bytes()).map_err(|error| invalid(&error.to_string()))?;
                Ok(file.license)
            }
            false => Ok(text.to_owned()),
        }
    }
}

impl Copy {
    /// Where its license is.
    pub fn license_path(&self) -> PathBuf {
        self.directory.join("license.json")
    }

    /// Its license, where it has one: titles copied from a medium have none.
    pub fn license(&self) -> Result<Option<LicenseFile>> {
        let path = self.license_path();
        let Some(bytes) = read_small(&*self.io, &path, LONGEST)? else { return Ok(None) };
        Ok(Some(parse_strict(&bytes).map_err(|error| damaged(&path, error.to_string()))?))
    }

    /// Keeps the license that this copy was made by, all or nothing.
    pub fn store_license(&self, file: &LicenseFile) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(file).expect("a license file is strings and numbers");
        Ok(replace(&*self.io, &self.license_path(), &bytes, 0o644)?)
    }

    /// Changes what is kept of a license, all or nothing; `None` leaves it. An agent, commands and a running title learn of one at the same
    /// time: each sees what the others have noted, and none waits for a download to have the library.
    pub fn change_license(&self, change: impl FnOnce(LicenseFile) -> Option<LicenseFile>) -> Result<()> {
        let path = self.directory.join("license.lock");
        let _lock = wait_for_lock(&*self.io, &path).map_err(IoFailure::at("write to", &path))?;
        match self.license()?.and_then(change) {
            Some(changed) => self.store_license(&changed),
            None => Ok(()),
        }
    }
}

impl Library {
    /// The license of a title's complete copy; none where it was copied from a medium.
    ///
    /// # Errors
    /// [`crate::LibraryError`]; what the system said.
    pub fn license(&self, title: &TitleId) -> Result<Option<LicenseFile>> {
        self.complete(title)?.license()
    }
}

/// Verifies a license by a list of keys: that the authority has made it, and that nothing of it was changed since. Whether it is good now, and
/// for whom, is [`run::decide`]'s.
///
/// # Errors
/// [`Code::LicenseInvalid`], with what is wrong.
pub fn verify_license(token: &str, keys: &KeyList) -> Result<License> {
    verify_signature(token, keys, LICENSE_TYP).map_err(|error| invalid(&reason(error)))
}

/// The same, by the authority that is pinned: signed by it, and in its name.
pub(crate) fn verify_by(token: &str, authority: &Authority) -> Result<License> {
    let license = verify_license(token, &key_list(&authority.document))?;
    match license.iss == authority.document.name {
        true => Ok(license),
        false => Err(invalid(&format!("it is of the authority `{}`", license.iss))),
    }
}

/// A licensed title that may be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// Its license, verified.
    pub license: License,
    /// The same as the authority signed it, for the program to verify itself.
    pub token: String,
    /// With or without a warning.
    pub permission: Permission,
    /// The time that it was judged at.
    pub at: Timestamp,
}

/// A license that is genuine, of the title that it lies beside, and on the device that it was installed on; good or not.
pub(crate) struct Held {
    pub file: LicenseFile,
    pub license: License,
    hardware: Option<DeviceId>,
}

impl Held {
    /// Reads the license of a copy, compares device and authentication information (D7), then looks whether it is genuine.
    ///
    /// # Errors
    /// [`Code::RunNotPermitted`]; [`Code::LicenseInvalid`]; what the system said.
    pub fn read(terminal: &Terminal, library: &Library, copy: &Copy, listed: &Listed) -> Result<Self> {
        let file = copy.license()?.ok_or_else(|| invalid("there is none in the library"))?;
        let binding = Binding { device_id: Some(file.device_id), drive_id: None };
        let hardware = terminal.hardware_for(&binding, library.path())?.device;
        run::compare(file.device_id, hardware)?;
        let authority = terminal.authority()?.ok_or_else(|| invalid("no authority is known here that could have made it"))?;
        let license = verify_by(&file.license, &authority)?;
        if license.title != listed.title || license.grant != listed.grant_id || license.sub != file.license_id {
            return Err(invalid("it belongs to another copy"));
        }
        Ok(Held { file, license, hardware })
    }

    /// Whether it is good now (D7, D10).
    ///
    /// # Errors
    /// [`Code::RunNotPermitted`], [`Code::LicenseEnded`], [`Code::LicenseExpired`].
    pub fn judge(self, terminal: &Terminal) -> Result<Permitted> {
        let known = Known { signed: terminal.home().profile()?.latest_time, seen: self.file.seen };
        let at = run::trusted(terminal.clock().now(), known, &self.license);
        let ended = self.file.ended_at.is_some();
        let facts = Facts { license: &self.license, stored: self.file.device_id, hardware: self.hardware, now: at, ended };
        let permission = run::decide(&facts)?;
        Ok(Permitted { license: self.license, token: self.file.license, permission, at })
    }
}

/// Whether a copy may be used here: that of a medium by its keys alone (C12), that of a license while the license is good (D7). Which of both it
/// is, the library says, and the card where its keys are opened.
///
/// # Errors
/// As [`Held::read`] and [`Held::judge`].
pub(crate) fn permit(terminal: &Terminal, library: &Library, copy: &Copy, listed: &Listed) -> Result<Option<Permitted>> {
    match listed.origin {
        Origin::Medium { .. } => Ok(None),
        Origin::License { .. } => Held::read(terminal, library, copy, listed)?.judge(terminal).map(Some),
    }
}

/// Whether a title of the library may be started now, as far as is known here; none where it was copied from a medium.
///
/// # Errors
/// [`Code::RunNotPermitted`] (D7), [`Code::LicenseInvalid`], [`Code::LicenseEnded`], [`Code::LicenseExpired`]; [`crate::LibraryError`].
pub fn permitted(terminal: &Terminal, library: &Library, title: &TitleId) -> Result<Option<Permitted>> {
    let copy = library.complete(title)?;
    permit(terminal, library, &copy, &copy.record()?.listed)
}

/// Notes that licenses have ended on this device (D10): what was installed by them stays where it is, and starts no more.
///
/// # Errors
/// What is wrong with the library; what the system said.
pub(crate) fn end(terminal: &Terminal, library: &Library, ended: &[LicenseId]) -> Result<()> {
    let licensed = |listed: &Listed| listed.origin.license().is_some_and(|id| ended.contains(&id));
    // Where one cannot be noted, the others are.
    let mut noted = Ok(());
    for listed in library.list()?.iter().filter(|listed| licensed(listed)) {
        noted = noted.and(library.copy(&listed.title, listed.grant_id).change_license(|file| file.ended(terminal.clock().now())));
    }
    noted
}

/// How often it is noted of a running title how long it has run: so much is lost at most when it is killed.
const NOTED_EVERY: Duration = Duration::from_secs(60);

/// A licensed title in use. How long, by time that no clock turns back, is noted once a minute where somebody looks, and when it is dropped.
pub struct Running {
    library: Library,
    title: TitleId,
    permitted: Permitted,
    clock: Arc<dyn Clock>,
    begun: Duration,
    noted: Mutex<Duration>,
}

impl Running {
    /// From now on; none where it was copied from a medium.
    pub fn begin(terminal: &Terminal, library: &Library, title: &Title) -> Option<Self> {
        let permitted = title.permitted()?.clone();
        let clock = terminal.clock_to_keep();
        let begun = clock.passed();
        Some(Self { library: library.clone(), title: title.listed().title.clone(), permitted, clock, begun, noted: Mutex::new(begun) })
    }

    /// Notes it, where that is due.
    pub fn look(&self) {
        // Who finds somebody at it has nothing to do.
        let Ok(mut noted) = self.noted.try_lock() else { return };
        let now = self.clock.passed();
        if now.saturating_sub(*noted) >= NOTED_EVERY {
            *noted = now;
            self.note(now);
        }
    }

    fn note(&self, now: Duration) {
        let elapsed = i64::try_from(now.saturating_sub(self.begun).as_millis()).unwrap_or(i64::MAX);
        // Of a library that cannot be written, nothing is noted.
        let _ = note_run(&self.library, &self.title, &self.permitted, elapsed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.note(self.clock.passed());
    }
}

/// Remembers that a title has run for `elapsed` milliseconds since it was permitted, so that a clock turned back stretches no lease.
///
/// # Errors
/// What the system said: of a library that cannot be written, for one.
pub fn note_run(library: &Library, title: &TitleId, permitted: &Permitted, elapsed: i64) -> Result<()> {
    library.complete(title)?.change_license(|file| {
        let seen = run::seen(&permitted.license, Known { signed: None, seen: file.seen }, permitted.at, elapsed);
        // Renewed meanwhile, it is another issue, and begins anew.
        (file.license == permitted.token && seen != file.seen).then_some(LicenseFile { seen, ..file })
    })
}

/// In words for who presents a license, and not for who speaks JWS.
fn reason(error: JwtError) -> String {
    match error {
        JwtError::Signed(JwsError::UnknownKey) => "it is signed by another authority, or with a key that is not known here".into(),
        JwtError::Signed(JwsError::Signature) => "it was changed after it was signed".into(),
        JwtError::Signed(_) => "it is not in the form of a license".into(),
        other => other.to_string(),
    }
}

pub(crate) fn invalid(reason: &str) -> crate::Error {
    refused(Code::LicenseInvalid, reason)
}
