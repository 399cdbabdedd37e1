//! Whether a program may run: by a license alone, or by the library and home of this device (D6, D7, D10). Offline.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use counterfoil_core::rules::run::{Facts, Known, Permission, compare, decide, trusted};
use counterfoil_core::{Code, DeviceId, Refusal, Timestamp, TitleId};
use counterfoil_format::jwt::KeyList;
use counterfoil_format::secret::SystemRandom;
use counterfoil_terminal::clock::{Clock as _, SystemClock};
use counterfoil_terminal::io::RealIo;
use counterfoil_terminal::transport::TransportError;
use counterfoil_terminal::{
    CardChoice, HardwareIds, Library, LicenseFile, Parts, Permitted, Setup, Terminal, default_library, open_title, permitted,
    verify_license,
};

use crate::{Failure, c_string};

/// A license that was found good.
#[derive(Debug)]
pub struct License {
    token: CString,
    claims: CString,
    attributes: BTreeMap<String, CString>,
    good_until: i64,
    grace_until: i64,
    trial: bool,
}

impl License {
    fn new(token: &str, license: &counterfoil_core::License, permission: Permission) -> Self {
        let claims = serde_json::to_string(license).expect("claims are strings and numbers");
        let attributes = license.attributes.iter().map(|(name, value)| (name.clone(), c_string(value))).collect();
        let grace_until = match permission {
            Permission::Run => 0,
            Permission::Grace { until } => until.seconds(),
        };
        let good_until = license.exp.unwrap_or(0);
        Self { token: c_string(token), claims: c_string(&claims), attributes, good_until, grace_until, trial: license.trial }
    }

    /// As the authority signed it, a compact JWS.
    pub fn token(&self) -> &CStr {
        &self.token
    }

    /// What it says, as JSON: the claims of docs/licenses.md.
    pub fn claims(&self) -> &CStr {
        &self.claims
    }

    /// A feature flag.
    pub fn attribute(&self, name: &str) -> Option<&CStr> {
        self.attributes.get(name).map(CString::as_c_str)
    }

    /// The end of its lease, in seconds since 1970; 0 where it is good for good.
    pub fn good_until(&self) -> i64 {
        self.good_until
    }

    /// Until when it starts though its lease is over, in seconds since 1970; 0 while it is not over.
    pub fn grace_until(&self) -> i64 {
        self.grace_until
    }

    /// Whether it is for trying.
    pub fn trial(&self) -> bool {
        self.trial
    }
}

/// Judges a license by a list of keys; files, network and clock are not touched where `device` and `at` are given.
///
/// `token`: the license, or what `license.json` of a library holds. `device`: who presents it; `None`: this computer, as its hardware says.
/// `at`: when; `None`: now. The time that the license was made counts where that is later.
///
/// # Errors
/// [`Code::LicenseInvalid`], [`Code::RunNotPermitted`], [`Code::LicenseExpired`].
pub fn verify(token: &str, keys: &KeyList, title: &TitleId, device: Option<DeviceId>, at: Option<Timestamp>) -> Result<License, Failure> {
    let token = LicenseFile::token_in(token.as_bytes())?;
    let license = verify_license(&token, keys)?;
    if license.title != *title {
        return Err(Refusal::with(Code::LicenseInvalid, format!("it is for `{}`", license.title)).into());
    }
    let Some(presented) = device.or_else(|| this_computer(license.cnf.kid)) else {
        return Err(compare(license.cnf.kid, None).err().map_or_else(Failure::panicked, Failure::from));
    };
    let now = trusted(at.unwrap_or_else(|| SystemClock.now()), Known::default(), &license);
    let permission = decide(&Facts { license: &license, stored: presented, hardware: Some(presented), now, ended: false })?;
    Ok(License::new(&token, &license, permission))
}

/// Any of the hardware's sources may speak for the device, as when a title is run; where none does, the first says who this is.
fn this_computer(licensed: DeviceId) -> Option<DeviceId> {
    let found = HardwareIds::new(Setup::from_env().hardware_root).devices();
    found.iter().find(|read| read.id == licensed).or(found.first()).map(|read| read.id)
}

/// What is asked of a device's library.
pub struct Asked<'a> {
    /// Which title.
    pub title: &'a TitleId,
    /// Whose licenses count; `None`: those of the authority that the home knows.
    pub keys: Option<&'a KeyList>,
    /// `None`: the one that the program was started from, or the one used last.
    pub library: Option<&'a Path>,
    /// `None`: as the command line finds it.
    pub home: Option<&'a Path>,
}

/// Whether the title may be started on this device now, as `counterfoil run` judges it when there is no network. `None` where the copy is a
/// medium's, which has no license: then its keys were opened in place of it.
///
/// # Errors
/// [`Code::RunNotPermitted`], [`Code::LicenseInvalid`], [`Code::LicenseEnded`], [`Code::LicenseExpired`], [`Code::PlayNotPermitted`]; what is
/// wrong with home or library.
pub fn check(asked: &Asked<'_>) -> Result<Option<License>, Failure> {
    let (terminal, library) = asked.place()?;
    let found = permitted(&terminal, &library, asked.title)?;
    if found.is_none() {
        open_title(&terminal, &library, asked.title, &CardChoice::Default)?;
    }
    asked.judged(found.as_ref())
}

impl Asked<'_> {
    /// Home and library, with no way to the network: nothing in this crate asks anybody.
    pub(crate) fn place(&self) -> Result<(Terminal, Library), Failure> {
        let mut setup = Setup::from_env();
        if let Some(home) = self.home {
            setup.home = home.to_owned();
        }
        // Opening a home makes one where there is none; who only looks leaves no traces.
        if !setup.home.is_dir() {
            let message = format!("Counterfoil has not been used here: there is no {}", setup.home.display());
            return Err(Failure::failed("no_home", &message, "Start the title with `counterfoil run`, as the user who installed it."));
        }
        let connect = Box::new(|_: &[String], _| Err(TransportError::NoAddress));
        let parts = Parts { io: Arc::new(RealIo), clock: Arc::new(SystemClock), random: Box::new(SystemRandom), connect };
        let terminal = Terminal::with_parts(setup, parts)?;
        let path = match self.library.map(Path::to_owned).or_else(started_from) {
            Some(path) => Some(path),
            None => default_library(&terminal)?,
        };
        let none = || Failure::failed("no_library", "no library is known here", "Start the title with `counterfoil run`.");
        let library = Library::open(&terminal, &path.ok_or_else(none)?)?;
        Ok((terminal, library))
    }

    /// The license that a title is permitted by, held against the keys that the program insists on.
    pub(crate) fn judged(&self, found: Option<&Permitted>) -> Result<Option<License>, Failure> {
        match (found, self.keys) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Refusal::with(Code::LicenseInvalid, "there is none: it was copied from a medium").into()),
            (Some(found), keys) => {
                if let Some(keys) = keys {
                    verify_license(&found.token, keys)?;
                }
                Ok(Some(License::new(&found.token, &found.license, found.permission)))
            }
        }
    }
}

/// The library of the program that this is called from, where `counterfoil run` started it.
fn started_from() -> Option<PathBuf> {
    std::env::var_os("COUNTERFOIL_LIBRARY").filter(|path| !path.is_empty()).map(PathBuf::from)
}
