//! Holders of keys: the card, or where there is none the device's or the drive's own store (C2, C5).
//!
//! A holder has a signing key, does the Diffie-Hellman that its boxes need, and keeps what was sealed to it: the user ID and the grants.
//! [`FileHolder`] is all of it: in its file, or with the keys in a token or TPM that they never leave ([`NewKeys`]); the card is a file still, which
//! says where they are and holds what was sealed to them.
//! The holder's copy of a grant is the one that counts: a library keeps only the grant's name.

pub(crate) mod file;
pub(crate) mod pin;
mod pkcs11;
pub(crate) mod token;
mod tpm;

use crate::error::Result;
use crate::io::{create_dirs, parent};
use crate::library::Library;
use crate::origin::Origin;
use crate::reissue::SealedReissue;
use crate::terminal::Terminal;
use counterfoil_core::rules::register::Combination;
use counterfoil_core::wire::{GrantDocument, HolderKind};
use counterfoil_core::{CardId, GrantId, MediumId, Timestamp, TitleId, UserId};
use counterfoil_format::grant::{GrantBox, GrantScope, SealedBox};
use counterfoil_format::secret::Secret;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub use file::{FileHolder, HolderError};
pub use pin::{AskPin, Pin, PinWanted};
pub use token::{NewKeys, TokenError};

/// What was sealed to a holder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sealed {
    /// The registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<SealedUser>,
    /// Grants, one for each title and medium.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<SealedGrant>,
    /// What a new card has asked for in place of a lost one (C15); gone when it is filled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reissue: Option<SealedReissue>,
}

/// A registration, as its holder keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedUser {
    /// Name of the authority.
    pub authority: String,
    /// The user ID, sealed to the holder.
    pub user: SealedBox,
    /// ID of the holder that it is sealed for, as in the signatures.
    pub holder: String,
    /// What was registered together with it: what a claim has to name.
    pub combination: Combination,
    /// The entry's generation when the holder last heard of it; raised by every repair and reissue.
    #[serde(skip_serializing_if = "first", default)]
    pub generation: u32,
    /// When its owner was given a recovery code (C15).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recovery_at: Option<Timestamp>,
}

fn first(generation: &u32) -> bool {
    *generation == 0
}

/// A grant, as its holder keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SealedGrant {
    /// Name of the authority.
    pub authority: String,
    /// What it came from.
    #[serde(flatten)]
    pub origin: Origin,
    /// ID of the device that takes part in the sealing; empty where none does.
    pub device: String,
    /// What it is for.
    pub title: TitleId,
    /// Its name.
    pub grant_id: GrantId,
    /// Generation of the content key.
    pub generation: u32,
    /// Whether the device's secret is needed besides the holder's key.
    pub with_device: bool,
    /// Library key and, until the copy is confirmed, content key.
    pub keys: GrantBox,
    /// Device ID and drive ID under the library key; empty where it is bound to neither.
    pub binding: String,
    /// When.
    pub issued_at: Timestamp,
}

impl SealedGrant {
    /// Takes a grant out of an authority's answer.
    ///
    /// # Errors
    /// What is wrong with its box.
    pub fn new(document: &GrantDocument, authority: &str, origin: impl Into<Origin>, device: Option<String>) -> serde_json::Result<Self> {
        Ok(Self {
            authority: authority.to_owned(),
            origin: origin.into(),
            device: device.unwrap_or_default(),
            title: document.title.clone(),
            grant_id: document.grant_id,
            generation: document.generation,
            with_device: document.with_device,
            keys: serde_json::from_value(document.keys.clone())?,
            binding: document.binding.clone(),
            issued_at: document.issued_at,
        })
    }

    /// As the card's owner sees it.
    pub fn shown(&self) -> CardGrant {
        CardGrant {
            title: self.title.clone(),
            origin: self.origin.clone(),
            grant_id: self.grant_id,
            content_key: self.keys.has_content_key(),
            issued_at: self.issued_at,
        }
    }

    /// Opens library key and, where it is still there, content key. `device_secret` is this device's own.
    ///
    /// # Errors
    /// [`HolderError::NotOpened`]: it is sealed to another holder or with another device; [`HolderError::Token`].
    pub fn open(
        &self,
        holder: &FileHolder,
        device_secret: Option<&Secret<32>>,
    ) -> std::result::Result<(Secret<32>, Option<Secret<32>>), HolderError> {
        let grant = self.grant_id.to_string();
        let scope = GrantScope { title: self.title.as_str(), grant: &grant, device: &self.device };
        let secret = if self.with_device { Some(device_secret.ok_or(HolderError::NotOpened)?) } else { None };
        let open = self.keys.open(holder.dh(), secret, &scope)?;
        let library = open.library_key()?;
        let content = open.content_key()?;
        Ok((library, content))
    }
}

impl Sealed {
    /// The grants claimed from a medium whose copy is not finished: their content keys are still there.
    pub fn unfinished<'a>(&'a self, medium: &'a MediumId) -> impl Iterator<Item = &'a SealedGrant> {
        self.grants.iter().filter(move |grant| grant.origin.medium() == Some(medium) && grant.keys.has_content_key())
    }

    /// A grant by its name.
    pub fn grant(&self, id: GrantId) -> Option<&SealedGrant> {
        self.grants.iter().find(|grant| grant.grant_id == id)
    }

    /// Deletes the content keys of grants (C11).
    pub fn forget_content_keys(&mut self, grants: &[GrantId]) {
        for grant in self.grants.iter_mut().filter(|grant| grants.contains(&grant.grant_id)) {
            grant.keys.forget_content_key();
        }
    }

    /// Takes in grants just received, in place of earlier ones of the same names.
    pub fn add(&mut self, grants: Vec<SealedGrant>) {
        self.grants.retain(|old| grants.iter().all(|new| new.grant_id != old.grant_id));
        self.grants.extend(grants);
    }
}

/// Which card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CardChoice {
    /// `--card FILE`.
    File(PathBuf),
    /// The one that `COUNTERFOIL_CARD` names, else `card.json` in the home; where there is none, the device's or drive's own store.
    #[default]
    Default,
    /// `--no-card`: the device's or drive's own store.
    None,
}

/// A card as its owner sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct CardInfo {
    /// To be written down.
    pub card_id: CardId,
    /// Where it lies.
    pub path: PathBuf,
    /// The token or TPM that its keys are in; `None` where they are in the file.
    pub keys_in: Option<String>,
    /// Whether it is registered.
    pub registered: bool,
    /// Whose it is; readable with the card alone.
    pub user_id: Option<UserId>,
    /// Name of the authority that it is registered with.
    pub authority: Option<String>,
    /// What it holds keys for.
    pub grants: Vec<CardGrant>,
    /// When its owner was given a recovery code (C15).
    pub recovery_at: Option<Timestamp>,
    /// Whether it waits to take the place of a lost one (C15).
    pub reissuing: bool,
}

/// A grant on a card.
#[derive(Clone, Debug, PartialEq)]
pub struct CardGrant {
    /// What for.
    pub title: TitleId,
    /// What it came from.
    pub origin: Origin,
    /// Its name.
    pub grant_id: GrantId,
    /// Whether the content key is still there: the copy is not finished.
    pub content_key: bool,
    /// When.
    pub issued_at: Timestamp,
}

/// Makes a card. Its key never leaves the file.
///
/// # Errors
/// `exists` where the file is there already; code `busy`; what the system said.
pub fn card_new(terminal: &Terminal, out: Option<&Path>) -> Result<CardInfo> {
    let _home = terminal.home().lock()?;
    Ok(make_card(terminal, &out.map_or_else(|| terminal.default_card(), Path::to_owned))?.info())
}

/// The same for who has the home's lock already.
pub(crate) fn make_card(terminal: &Terminal, path: &Path) -> Result<FileHolder> {
    create_dirs(&**terminal.io(), parent(path), 0o700)?;
    terminal.with_random(|random| FileHolder::create(terminal.io().clone(), path, HolderKind::Card, random))
}

/// Makes a card whose keys are made in a token or TPM and never leave it; the file says where they are.
///
/// # Errors
/// `exists` where the file is there already; code `busy`; [`TokenError`]; what the system said.
pub fn card_new_elsewhere(terminal: &Terminal, out: Option<&Path>, keys: &NewKeys) -> Result<CardInfo> {
    let _home = terminal.home().lock()?;
    let path = out.map_or_else(|| terminal.default_card(), Path::to_owned);
    create_dirs(&**terminal.io(), parent(&path), 0o700)?;
    Ok(FileHolder::create_elsewhere(terminal.io().clone(), &path, keys, &terminal.means())?.info())
}

/// Takes a token's driver as one that the person trusts: cards may name it from now on.
///
/// # Errors
/// [`TokenError::Module`]: it is not there, or none.
pub fn trust_module(terminal: &Terminal, module: &Path) -> Result<()> {
    pkcs11::introduce(terminal.home(), module).map_err(HolderError::from)?;
    Ok(())
}

/// What a card holds.
///
/// # Errors
/// [`HolderError`]; what the system said.
pub fn card_show(terminal: &Terminal, choice: &CardChoice) -> Result<CardInfo> {
    let path = match choice {
        CardChoice::File(path) => path.clone(),
        CardChoice::Default | CardChoice::None => terminal.default_card(),
    };
    Ok(terminal.open_holder(&path, HolderKind::Card)?.info())
}

/// Who is registered here: by the card, or where there is none by the keys in the device's own store or the drive's. Asks nobody.
///
/// # Errors
/// [`counterfoil_core::Code::UserInvalid`] where nobody is; [`HolderError`]; what the system said.
pub fn registered_user(terminal: &Terminal, choice: &CardChoice, library: Option<&Path>) -> Result<UserId> {
    file::open_user(&terminal.holder(choice, library)?)
}

/// The grants that the holder at hand has keys for; none where there is no holder, or it is nobody's.
pub fn held_grants(terminal: &Terminal, choice: &CardChoice, library: &Library) -> Option<HashSet<GrantId>> {
    let holder = terminal.holder(choice, Some(library.path())).ok()?;
    holder.sealed().user.as_ref()?;
    Some(holder.sealed().grants.iter().map(|grant| grant.grant_id).collect())
}
