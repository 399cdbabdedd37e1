//! Registration of a user with card, device and drive, any non-empty subset of them (C3–C5).

use crate::card::{CardChoice, FileHolder, HolderError, Sealed, SealedUser, file::open_user, file::user_purpose};
use crate::collect::caught_up;
use crate::error::Result;
use crate::exchange::{ExchangeError, exchange};
use crate::hardware::check_typed;
use crate::home::{Authority, HomeError};
use crate::io::create_dirs;
use crate::terminal::{Terminal, absolute, drive_keys};
use counterfoil_core::rules::register::Combination;
use counterfoil_core::wire::{HolderKeys, HolderKind, Operation, Register, RegisterDevice, RegisterDrive, RegisterResult};
use counterfoil_core::{CardId, DeviceId, DriveId, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::grant::SealedBox;
use std::path::{Path, PathBuf};

/// Whether and how an ID takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part<T> {
    /// Read from the hardware.
    #[default]
    Read,
    /// Typed by hand; refused where the hardware can be read and says otherwise.
    Typed(T),
    /// Left out.
    Without,
}

/// What to register.
#[derive(Clone, Debug, Default)]
pub struct RegisterOptions {
    /// The card; [`CardChoice::Default`] takes the usual one where there is one.
    pub card: CardChoice,
    /// This device.
    pub device: Part<DeviceId>,
    /// The drive that `library` lies on. Left out where no library is named and none typed.
    pub drive: Part<DriveId>,
    /// Where the library is, or will be.
    pub library: Option<PathBuf>,
    /// For a user who exists: adds this device or drive. Where it is left out, the user ID that a shop has put into the profile counts.
    pub user: Option<UserId>,
    /// What the device is called.
    pub name: Option<String>,
}

/// What was registered.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// To be written down: it is asked for when a card is lost, and to add a device.
    pub user_id: UserId,
    /// Who holds the keys.
    pub holder: HolderKind,
    /// The card, where one was registered.
    pub card_id: Option<CardId>,
    /// The device, where one was registered.
    pub device: Option<DeviceId>,
    /// The drive, where one was registered.
    pub drive: Option<DriveId>,
    /// The library on it.
    pub library: Option<PathBuf>,
}

/// Registers. Repeating it changes nothing and succeeds.
///
/// # Errors
/// The refusals of `register`; [`crate::hardware::HardwareError`]; [`crate::transport::TransportError`].
pub fn register(terminal: &Terminal, options: &RegisterOptions) -> Result<Registered> {
    let _lock = terminal.home().lock()?;
    let authority = terminal.meet(&[])?;
    let library = options.library.as_deref().map(absolute);
    let device_id = device_id(terminal, options)?;
    let drive_id = drive_id(terminal, options, library.as_deref())?;

    let card = card(terminal, &options.card)?;
    let device = device_id.map(|_| open_or_create(terminal, &terminal.home().device(), HolderKind::Device)).transpose()?;
    let combination = Combination { card: card.is_some(), device: device.is_some(), drive: drive_id.is_some() };
    let drive = match (combination.holder(), &library) {
        (Some(HolderKind::Drive), Some(library)) => {
            create_dirs(&**terminal.io(), library, 0o755)?;
            Some(open_or_create(terminal, &drive_keys(library), HolderKind::Drive)?)
        }
        (None, _) => {
            return Err(HolderError::Missing { what: "card", path: terminal.default_card() }.into());
        }
        _ => None,
    };

    let user_id = match options.user {
        Some(user) => Some(user),
        None => assigned(terminal, device_id.is_some(), [&card, &device])?,
    };
    let operation = Register {
        user_id,
        card: card.as_ref().map(public),
        device: device_id.zip(device.as_ref()).map(|(id, keys)| RegisterDevice {
            id,
            keys: public(keys),
            secret: to_base64url(keys.device_secret().expect("a device's key file has a secret").expose()),
            name: options.name.clone(),
        }),
        drive: drive_id.map(|id| RegisterDrive { id, keys: drive.as_ref().map(public) }),
    };
    let card_id = card.as_ref().map(FileHolder::card_id);
    let names = [card_id.map(|id| id.to_string()), device_id.map(|id| id.to_string()), drive_id.map(|id| id.to_string())];
    let holders = [&card, &device, &drive];
    let proofs: Vec<_> =
        names.iter().zip(holders).filter_map(|(name, holder)| Some((name.as_deref()?, holder.as_ref()?.signer()))).collect();
    let accepted = exchange::<RegisterResult>(terminal, &authority, Operation::Register(operation), &proofs)?;

    let holder_name = names.iter().flatten().next().cloned().expect("a combination with a holder has an ID");
    let mut holder = [card, device, drive].into_iter().flatten().next().expect("a combination with a holder has one");
    let sealed = registered(terminal, &authority, &holder, holder_name, &accepted.result, combination)?;
    holder.store(sealed)?;
    remember(terminal, options, device_id, drive_id, library.as_deref())?;
    let result = Registered { user_id: open_user(&holder)?, holder: holder.kind(), card_id, device: device_id, drive: drive_id, library };
    accepted.applied(terminal);
    Ok(result)
}

/// What the holder keeps from now on.
fn registered(
    terminal: &Terminal,
    authority: &Authority,
    holder: &FileHolder,
    holder_name: String,
    answer: &RegisterResult,
    combination: Combination,
) -> Result<Sealed> {
    let user: SealedBox = serde_json::from_value(answer.user.clone()).map_err(|error| ExchangeError::Shape(error.to_string()))?;
    user.open(holder.dh(), &user_purpose(&holder_name)).map_err(HolderError::from)?;
    let name = authority.document.name.clone();
    let before = holder.sealed().user.as_ref();
    if let Some(other) = before.filter(|before| before.authority != name) {
        return Err(HomeError::OtherAuthority { pinned: name, found: format!("the card is registered with `{}`", other.authority) }.into());
    }
    // A later registration adds to the entry and takes nothing away.
    let (generation, recovery_at) = before.map_or((0, None), |before| (before.generation, before.recovery_at));
    let before = before.map(|before| before.combination);
    let combination = Combination {
        card: combination.card,
        device: combination.device || before.is_some_and(|before| before.device),
        drive: combination.drive || before.is_some_and(|before| before.drive),
    };
    // Where the entry was repaired since the card last heard of it, what was exchanged takes its grants along (C14).
    Ok(match caught_up(terminal, authority, holder, &[], answer.generation)? {
        Some(sealed) => sealed,
        None => {
            let user = SealedUser { authority: name, user, holder: holder_name, combination, generation, recovery_at };
            Sealed { user: Some(user), ..holder.sealed().clone() }
        }
    })
}

/// What was typed or registered stands in the profile from now on.
fn remember(
    terminal: &Terminal,
    options: &RegisterOptions,
    device_id: Option<DeviceId>,
    drive_id: Option<DriveId>,
    library: Option<&Path>,
) -> Result<()> {
    terminal.home().remember(|profile| {
        if let Part::Typed(id) = options.device {
            profile.typed_device = Some(id);
        }
        if let (Part::Typed(id), Some(library)) = (options.drive, library) {
            profile.typed_drives.insert(library.to_owned(), id);
        }
        // It is sealed to the holder now, and no longer lies about in the open.
        profile.assigned_user = None;
        profile.devices.extend(device_id.filter(|id| !profile.devices.contains(id)));
        profile.drives.extend(drive_id.filter(|id| !profile.drives.contains(id)));
        profile.library = library.map(Path::to_owned).or(profile.library.take());
    })
}

/// The user ID that came with the device from the shop (D1), where the device registers and none of these holders is anybody's yet.
fn assigned(terminal: &Terminal, with_device: bool, holders: [&Option<FileHolder>; 2]) -> Result<Option<UserId>> {
    let new = holders.into_iter().flatten().all(|holder| holder.sealed().user.is_none());
    Ok(if with_device && new { terminal.home().profile()?.assigned_user } else { None })
}

fn card(terminal: &Terminal, choice: &CardChoice) -> Result<Option<FileHolder>> {
    let (path, demanded) = match choice {
        CardChoice::None => return Ok(None),
        CardChoice::File(path) => (path.clone(), true),
        CardChoice::Default => (terminal.default_card(), false),
    };
    if !demanded && !terminal.exists(&path)? {
        return Ok(None);
    }
    terminal.open_holder(&path, HolderKind::Card).map(Some)
}

fn device_id(terminal: &Terminal, options: &RegisterOptions) -> Result<Option<DeviceId>> {
    Ok(match options.device {
        Part::Without => None,
        Part::Typed(id) => Some(check_typed("device", id, &terminal.hardware().devices())?),
        Part::Read => Some(terminal.device_id()?),
    })
}

fn drive_id(terminal: &Terminal, options: &RegisterOptions, library: Option<&Path>) -> Result<Option<DriveId>> {
    Ok(match (options.drive, library) {
        (Part::Without, _) | (Part::Read, None) => None,
        (Part::Typed(id), Some(library)) => Some(check_typed("drive", id, &terminal.hardware().drives(library))?),
        (Part::Typed(id), None) => Some(id),
        (Part::Read, Some(library)) => Some(terminal.drive_id(library)?),
    })
}

fn open_or_create(terminal: &Terminal, path: &Path, kind: HolderKind) -> Result<FileHolder> {
    let io = terminal.io();
    if terminal.exists(path)? {
        terminal.open_holder(path, kind)
    } else {
        terminal.with_random(|random| FileHolder::create(io.clone(), path, kind, random))
    }
}

fn public(holder: &FileHolder) -> HolderKeys {
    let public = holder.public();
    HolderKeys { sign: public.signing.to_string(), seal: public.sealing.to_string() }
}
