//! The terminal as a library: who I am (card, device, drive), media, the library on a drive, and the way to the authority.
//!
//! Start at [`Terminal`]; then [`register()`], [`Medium::open`], [`copy()`], [`open_title`].

mod agent;
mod asker;
pub mod card;
mod claimant;
pub mod clock;
mod collect;
mod control;
mod copy;
mod devices;
mod error;
mod exchange;
pub mod feed;
mod fill;
pub mod gateway;
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
mod medium_update;
mod mount;
mod order;
mod origin;
mod play;
pub mod present;
mod price;
mod publisher;
pub mod received;
mod recovery;
mod register;
mod reissue;
mod renew;
pub mod save;
mod send;
mod source;
pub mod status;
pub mod store;
mod succession;
mod terminal;
mod transfer;
pub mod transport;
mod tus;
pub mod update;
mod verify;

pub use agent::{Carried, carry_out, renew_all, renew_due, update_all};
pub use card::{
    AskPin, CardChoice, CardGrant, CardInfo, NewKeys, Pin, PinWanted, TokenError, card_new, card_new_elsewhere, card_show, held_grants,
    registered_user, trust_module,
};
pub use collect::{Collected, collect};
pub use copy::{Copied, CopyError, CopyOptions, copy};
pub use devices::{add_device, devices};
pub use error::{Error, Result};
pub use exchange::ExchangeError;
pub use fill::{CopiedTitle, Progress, Step};
pub use gateway::TellStranger;
pub use hardware::{HardwareError, HardwareIds};
pub use home::{Authority, Home, HomeError, KeysBy, Profile};
pub use inbox::{acknowledge, listen, poll, tell_progress};
pub use inspect::inspect;
pub use install::{Control, Downloaded, InstallError, InstallOptions, Installed, download, install, uninstall_control};
pub use library::{Library, LibraryError, Listed, Unreadable, default_library};
pub use license::{LicenseFile, Permitted, Running, note_run, permitted, verify_license};
pub use medium::refresh::Refreshing;
pub use medium::{IDENTITY_TYP, Medium, MediumError, NOTICE_TYP, Opened, Signature, WithoutIdentity, layout};
pub use medium_update::{FromMedium, MediumUpdated, update_from_medium, update_medium};
pub use mount::{Mounted, mount, mount_private};
pub use order::{order, orders, refund};
pub use origin::Origin;
pub use play::{DirEntry, EntryType, FileInfo, PlayError, Title, open_title};
pub use price::{AskPrice, By, Charged, Consent, Price, PriceAsked, Unpaid};
pub use recovery::recovery_code;
pub use register::{Part, RegisterOptions, Registered, register};
pub use reissue::{ReissueError, Replaced, SealedReissue, WrittenDown, card_to_issue, has_asked, replace_card};
pub use renew::{Contact, renew};
pub use send::{send, sent};
pub use terminal::{Connect, Parts, Setup, Terminal};
pub use transfer::{Transferred, transfer};
pub use verify::{Damaged, Repaired, Report, repair, verify};
