//! A terminal: home, hardware, clock, randomness, and the way to the authority; what every operation hangs from.

use crate::card::pin::Pins;
use crate::card::token::Means;
use crate::card::{AskPin, CardChoice, FileHolder};
use crate::clock::{Clock, SystemClock};
use crate::error::Result;
use crate::gateway::TellStranger;
use crate::hardware::{HardwareIds, Read};
use crate::home::{Authority, Home};
use crate::io::{Io, IoFailure, RealIo};
use crate::price::{AskPrice, Charged};
use crate::transport::{Elsewhere, HttpTransport, Pace, Paced, Timeouts, Transport, TransportError};
use counterfoil_core::rules::binding::{Binding, Hardware};
use counterfoil_core::wire::{AuthorityDocument, HolderKind};
use counterfoil_core::{DeviceId, DriveId};
use counterfoil_format::jwt::KeyList;
use counterfoil_format::secret::{Random, SystemRandom};
use counterfoil_format::sign::VerifyingKey;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

mod meeting;

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// State of this device.
    pub home: PathBuf,
    /// Below which the hardware is read.
    pub hardware_root: PathBuf,
    /// The authority's address, in place of those that are known.
    pub server: Option<String>,
    /// PEM file of the certificate authority that vouches for the server.
    pub ca: Option<PathBuf>,
    /// The card, where none is named on the command line.
    pub card: Option<PathBuf>,
    /// A gateway's address, to go through in place of speaking with the authority directly (C16).
    pub via: Option<String>,
}

impl Setup {
    /// From `COUNTERFOIL_HOME`, `COUNTERFOIL_HARDWARE_ROOT`, `COUNTERFOIL_SERVER`, `COUNTERFOIL_CA`, `COUNTERFOIL_CARD` and
    /// `COUNTERFOIL_VIA`.
    pub fn from_env() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let data = || {
            let data = path("XDG_DATA_HOME").filter(|path| path.is_absolute());
            data.or_else(|| path("HOME").map(|home| home.join(".local/share"))).unwrap_or_else(|| PathBuf::from("."))
        };
        Self {
            home: path("COUNTERFOIL_HOME").unwrap_or_else(|| data().join("counterfoil")),
            hardware_root: path("COUNTERFOIL_HARDWARE_ROOT").unwrap_or_else(|| PathBuf::from("/")),
            server: env::var("COUNTERFOIL_SERVER").ok().filter(|value| !value.is_empty()),
            ca: path("COUNTERFOIL_CA"),
            card: path("COUNTERFOIL_CARD"),
            via: env::var("COUNTERFOIL_VIA").ok().filter(|value| !value.is_empty()),
        }
    }
}

/// Makes the way to an authority from its addresses, or to a gateway from its own.
pub type Connect = Box<dyn Fn(&[String], Elsewhere) -> std::result::Result<Arc<dyn Transport>, TransportError> + Send + Sync>;

/// What a terminal stands on, each replaceable in tests.
pub struct Parts {
    /// Files.
    pub io: Arc<dyn Io>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Box<dyn Random + Send>,
    /// The network.
    pub connect: Connect,
}

/// A terminal.
pub struct Terminal {
    pub(crate) setup: Setup,
    io: Arc<dyn Io>,
    clock: Arc<dyn Clock>,
    random: Mutex<Box<dyn Random + Send>>,
    connect: Connect,
    home: Home,
    hardware: HardwareIds,
    pace: Option<Arc<Pace>>,
    pins: Pins,
    pub(crate) prices: Option<AskPrice>,
    pub(crate) strangers: Option<TellStranger>,
    pub(crate) charged: Mutex<Vec<Charged>>,
}

impl Terminal {
    /// On this computer.
    ///
    /// # Errors
    /// What the system said of the home.
    pub fn open(setup: Setup) -> Result<Self> {
        Self::open_within(setup, Timeouts::default())
    }

    /// The same, waiting for the network no longer than that.
    ///
    /// # Errors
    /// What the system said of the home.
    pub fn open_within(setup: Setup, timeouts: Timeouts) -> Result<Self> {
        let ca = setup.ca.clone();
        let connect: Connect = Box::new(move |urls, elsewhere| {
            let transport = HttpTransport::new(urls.to_vec(), ca.as_deref(), timeouts)?.going(elsewhere);
            Ok(Arc::new(transport) as Arc<dyn Transport>)
        });
        Self::with_parts(setup, Parts { io: Arc::new(RealIo), clock: Arc::new(SystemClock), random: Box::new(SystemRandom), connect })
    }

    /// On other parts.
    ///
    /// # Errors
    /// What the system said of the home.
    pub fn with_parts(setup: Setup, parts: Parts) -> Result<Self> {
        let Parts { io, clock, random, connect } = parts;
        let home = Home::open(io.clone(), &setup.home)?;
        let hardware = HardwareIds::new(&setup.hardware_root);
        Ok(Self {
            setup,
            io,
            clock,
            random: Mutex::new(random),
            connect,
            home,
            hardware,
            pace: None,
            pins: Pins::default(),
            prices: None,
            strangers: None,
            charged: Mutex::default(),
        })
    }

    /// Has everything that is downloaded come at a pace, and lets whoever has that hold it back.
    pub fn set_pace(&mut self, pace: Arc<Pace>) {
        self.pace = Some(pace);
    }

    /// Has the PINs of tokens and TPMs asked for like that. Otherwise nobody knows them.
    pub fn set_pins(&mut self, ask: AskPin) {
        self.pins = Pins::new(ask);
    }

    /// What tokens and TPMs are reached with.
    pub(crate) fn means(&self) -> Means<'_> {
        Means { pins: &self.pins, home: &self.home }
    }

    /// Opens a holder of this kind in a file.
    ///
    /// # Errors
    /// [`crate::card::HolderError`]; what the system said.
    pub(crate) fn open_holder(&self, path: &Path, kind: HolderKind) -> Result<FileHolder> {
        FileHolder::open(self.io.clone(), path, kind, &self.means())
    }

    /// State of this device.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// What the hardware says of itself.
    pub fn hardware(&self) -> &HardwareIds {
        &self.hardware
    }

    /// Files.
    pub fn io(&self) -> &Arc<dyn Io> {
        &self.io
    }

    /// Time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The same, for what outlives the terminal.
    pub(crate) fn clock_to_keep(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Runs something that needs randomness.
    pub fn with_random<T>(&self, run: impl FnOnce(&mut dyn Random) -> T) -> T {
        run(&mut **self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The authority that this home knows, without asking anybody.
    ///
    /// # Errors
    /// [`crate::HomeError::Profile`]; what the system said.
    pub fn authority(&self) -> Result<Option<Authority>> {
        Ok(self.home.profile()?.authority)
    }

    /// The keys that this authority signs with, retired ones included.
    ///
    /// # Errors
    /// [`crate::HomeError::Profile`]; what the system said.
    pub fn signing_keys(&self) -> Result<Option<KeyList>> {
        Ok(self.authority()?.map(|authority| key_list(&authority.document)))
    }

    /// The way to the contents servers, or else to `--server`.
    ///
    /// # Errors
    /// [`TransportError::NoAddress`], [`TransportError::Certificates`].
    pub fn contents(&self, authority: &Authority) -> Result<Arc<dyn Transport>> {
        let way = self.transport(&authority.document.urls_for_contents())?;
        Ok(match &self.pace {
            Some(pace) => Arc::new(Paced { inner: way, pace: Arc::clone(pace) }),
            None => way,
        })
    }

    /// The way to addresses that somebody who was asked has named, whom nobody in between could have spoken for.
    pub(crate) fn transport_elsewhere(&self, asked: &dyn Transport, urls: &[String]) -> Option<Arc<dyn Transport>> {
        let known = !urls.is_empty() && asked.is_guarded() && self.via().is_ok_and(|via| via.is_none());
        known.then(|| (self.connect)(urls, Elsewhere::Follow).ok()).flatten()
    }

    /// The way to an address that an answer of the authority names, signed; whatever `--server` says is the authority's address.
    pub(crate) fn transport_to(&self, url: &str) -> Result<Arc<dyn Transport>> {
        Ok((self.connect)(&[url.to_owned()], Elsewhere::Follow)?)
    }

    /// What HTTP is spoken through with others than the authority.
    pub(crate) fn agent(&self) -> std::result::Result<ureq::Agent, TransportError> {
        crate::transport::agent(self.setup.ca.as_deref(), Timeouts::default())
    }

    /// The way to the gateway, where one stands between: then no other address is asked, whatever the authority says of itself. Else to
    /// `--server`, or else to `urls`.
    pub(crate) fn transport(&self, urls: &[String]) -> Result<Arc<dyn Transport>> {
        if let Some(gateway) = self.via()? {
            return Ok((self.connect)(&[gateway], Elsewhere::Stay)?);
        }
        let named = self.setup.server.as_ref().map(std::slice::from_ref);
        let urls = named.unwrap_or(urls);
        if urls.is_empty() {
            return Err(TransportError::NoAddress.into());
        }
        Ok((self.connect)(urls, Elsewhere::Follow)?)
    }

    /// Where the card lies when the command line does not say.
    pub fn default_card(&self) -> PathBuf {
        self.setup.card.clone().unwrap_or_else(|| self.home.card())
    }

    /// The holder of keys: the card chosen, or where there is none the device's or the drive's own store (C5). What is registered comes
    /// before what is not.
    ///
    /// # Errors
    /// [`crate::card::HolderError`]; what the system said.
    pub fn holder(&self, choice: &CardChoice, library: Option<&Path>) -> Result<FileHolder> {
        let mut places = Vec::new();
        match choice {
            CardChoice::File(path) => return self.open_holder(path, HolderKind::Card),
            CardChoice::Default => places.push((self.default_card(), HolderKind::Card)),
            CardChoice::None => {}
        }
        places.push((self.home.device(), HolderKind::Device));
        places.extend(library.map(|library| (drive_keys(library), HolderKind::Drive)));
        let mut first = None;
        for (path, kind) in &places {
            if !self.exists(path)? {
                continue;
            }
            let holder = self.open_holder(path, *kind)?;
            if holder.sealed().user.is_some() {
                return Ok(holder);
            }
            first.get_or_insert(holder);
        }
        match (first, places.first()) {
            (Some(holder), _) => Ok(holder),
            (None, Some((path, kind))) => self.open_holder(path, *kind),
            (None, None) => unreachable!("the device's own store is always a place"),
        }
    }

    /// The device's own keys, where it has been registered once.
    ///
    /// # Errors
    /// [`crate::card::HolderError`]; what the system said.
    pub fn device_keys(&self) -> Result<Option<FileHolder>> {
        let path = self.home.device();
        if self.exists(&path)? { self.open_holder(&path, HolderKind::Device).map(Some) } else { Ok(None) }
    }

    /// This device as it was registered, while its hardware still says so; else as its hardware or what was typed says.
    ///
    /// # Errors
    /// [`crate::hardware::HardwareError`]; [`crate::HomeError::Profile`].
    pub fn device_id(&self) -> Result<DeviceId> {
        let profile = self.home.profile()?;
        pick(self.hardware.devices(), &profile.devices, profile.typed_device).map_or_else(|| Ok(self.hardware.device()?.id), Ok)
    }

    /// The drive under `library`, likewise.
    ///
    /// # Errors
    /// As [`device_id`](Self::device_id).
    pub fn drive_id(&self, library: &Path) -> Result<DriveId> {
        let profile = self.home.profile()?;
        let typed = profile.typed_drives.get(&absolute(library)).copied();
        pick(self.hardware.drives(library), &profile.drives, typed).map_or_else(|| Ok(self.hardware.drive(library)?.id), Ok)
    }

    /// The hardware as it compares with what keys are bound to (C10, C12): any of its sources may speak for it.
    pub(crate) fn hardware_for(&self, binding: &Binding, library: &Path) -> Result<Hardware> {
        let profile = self.home.profile()?;
        let bound_device: Vec<_> = binding.device_id.into_iter().collect();
        let bound_drive: Vec<_> = binding.drive_id.into_iter().collect();
        let typed_drive = profile.typed_drives.get(&absolute(library)).copied();
        Ok(Hardware {
            device: pick(self.hardware.devices(), &bound_device, profile.typed_device),
            drive: pick(self.hardware.drives(library), &bound_drive, typed_drive),
        })
    }

    pub(crate) fn exists(&self, path: &Path) -> Result<bool> {
        match self.io.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(IoFailure::at("read", path)(error).into()),
        }
    }
}

/// Of all that the hardware says, what is wanted, else the first; what was typed only where it says nothing.
fn pick<T: Copy + PartialEq>(read: Vec<Read<T>>, wanted: &[T], typed: Option<T>) -> Option<T> {
    let known = read.iter().find(|one| wanted.contains(&one.id)).or(read.first());
    known.map(|one| one.id).or(typed)
}

/// Where the keys of a drive lie that is a holder itself (C5).
pub(crate) fn drive_keys(library: &Path) -> PathBuf {
    library.join("drive.json")
}

/// A path that means the same from every working directory.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The keys that an authority signs with; none where its document is not as it should be.
pub(crate) fn key_list(document: &AuthorityDocument) -> KeyList {
    serde_json::to_vec(&document.keys.jwks).ok().and_then(|json| KeyList::parse(&json).ok()).unwrap_or_default()
}

/// The key of that name, to verify what an authority signed.
pub(crate) fn signing_key(document: &AuthorityDocument, kid: &str) -> Option<VerifyingKey> {
    key_list(document).find(kid).and_then(|key| key.verifying_key())
}
