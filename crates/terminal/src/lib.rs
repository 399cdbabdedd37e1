//! The terminal as a library: who I am (card, device, drive), media, the library on a drive, and the way to the authority.
//!
//! Start at [`Terminal`]; then [`register()`], [`Medium::open`], [`copy()`], [`open_title`].

mod agent;
mod asker;
pub mod card;
mod claimant;
pub mod clock;
mod control;
mod copy;
mod devices;
mod error;
mod exchange;
mod fill;
pub mod hardware;
pub mod home;
mod image;
mod inbox;
mod inspect;
mod install;
pub mod io;
mod library;
mod license;
mod medium;
mod mount;
mod origin;
mod play;
mod register;
mod renew;
mod source;
mod terminal;
mod transfer;
pub mod transport;
mod verify;

pub use agent::{Carried, carry_out, renew_due};
pub use card::{CardChoice, CardGrant, CardInfo, card_new, card_show};
pub use copy::{Copied, CopyError, CopyOptions, copy};
pub use devices::devices;
pub use error::{Error, Result};
pub use exchange::ExchangeError;
pub use fill::{CopiedTitle, Progress, Step};
pub use hardware::{HardwareError, HardwareIds};
pub use home::{Authority, Home, HomeError, Profile};
pub use inbox::{acknowledge, listen};
pub use inspect::inspect;
pub use install::{Control, Downloaded, InstallError, InstallOptions, Installed, download, install, uninstall_control};
pub use library::{Library, LibraryError, Listed, default_library};
pub use license::{LicenseFile, Permitted, note_run, verify_license};
pub use medium::{IDENTITY_TYP, Medium, MediumError, Signature, layout};
pub use mount::{Mounted, mount, mount_private};
pub use origin::Origin;
pub use play::{DirEntry, EntryType, FileInfo, PlayError, Title, open_title};
pub use register::{Part, RegisterOptions, Registered, register};
pub use renew::{Contact, renew};
pub use terminal::{Connect, Parts, Setup, Terminal};
pub use transfer::{Transferred, transfer};
pub use verify::{Damaged, Repaired, Report, repair, verify};
