//! Puts the keys of a grant into boxes that only its holder opens, outside of any transaction: nothing here is ever written down.

use counterfoil_core::wire::{GrantDocument, HolderKind};
use counterfoil_core::{DeviceId, DriveId, GrantId, HolderId, Timestamp, TitleId, UserId};
use counterfoil_format::grant::{GrantScope, HardwareBinding, seal_binding, seal_grant};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::secret::Secret;

use crate::app::App;
use crate::keys::{KeysError, Place};
use crate::problem::Problem;
use crate::store::medium::PressedTitle;
use crate::store::user::{self, EntryRow};

/// Whom the keys are sealed to, and what they are bound to.
pub struct Recipient {
    /// Who holds the keys.
    pub holder: HolderId,
    /// What holds the keys.
    pub kind: HolderKind,
    /// Its sealing key.
    pub seal: SealingPublicKey,
    /// The device, with its secret, where one is registered.
    pub device: Option<(DeviceId, Secret<32>)>,
    /// The drive, where one is registered.
    pub drive: Option<DriveId>,
}

impl Recipient {
    /// A user's device as it is registered, with the secret opened that its keys are sealed under; bound to `drive`, where one is named.
    ///
    /// # Errors
    /// A secret that does not open.
    pub async fn of(app: &App, user: UserId, facts: &user::Recipient, drive: Option<DriveId>) -> Result<Self, KeysError> {
        let user::Recipient { holder: EntryRow { holder, holder_kind, keys, .. }, device, .. } = facts;
        let place = Place::DeviceSecret { user: &user.to_string(), device: &device.device.to_string() };
        let secret = app.keys.open(&app.db, &place, &device.secret).await?;
        Ok(Self { holder: *holder, kind: *holder_kind, seal: keys.seal, device: Some((device.device, secret)), drive })
    }
}

/// One grant's keys.
pub struct Sealing<'a> {
    /// Its name.
    pub grant: GrantId,
    /// What it opens, with the content key that belongs to it.
    pub title: &'a PressedTitle,
    /// For the user's library.
    pub library_key: &'a Secret<32>,
    /// When it was issued.
    pub issued_at: Timestamp,
}

/// Seals one grant (C7).
///
/// # Errors
/// A content key that does not open.
pub async fn grant(app: &App, to: &Recipient, sealing: &Sealing<'_>) -> Result<GrantDocument, Problem> {
    let title = sealing.title;
    let place = Place::ContentKey { title: title.title.as_str(), generation: title.generation };
    let content_key: Secret<32> = app.keys.open(&app.db, &place, &title.content_key).await?;
    let boxes = Boxes { title: &title.title, generation: title.generation, content_key: Some(&content_key) };
    boxes.seal(app, to, sealing.grant, sealing.library_key, sealing.issued_at)
}

/// What goes into the boxes of a grant besides its library key.
pub struct Boxes<'a> {
    /// What it opens.
    pub title: &'a TitleId,
    /// Which of the title's content keys.
    pub generation: u32,
    /// That key; absent where the copy is complete.
    pub content_key: Option<&'a Secret<32>>,
}

impl Boxes<'_> {
    /// Seals them.
    ///
    /// # Errors
    /// A public key that is none.
    pub fn seal(
        &self,
        app: &App,
        to: &Recipient,
        grant_id: GrantId,
        library_key: &Secret<32>,
        issued_at: Timestamp,
    ) -> Result<GrantDocument, Problem> {
        let (grant, device) = (grant_id.to_string(), to.device.as_ref().map(|(id, _)| id.to_string()));
        let scope = GrantScope { title: self.title.as_str(), grant: &grant, device: device.as_deref().unwrap_or_default() };
        let rng = &mut app.rng.clone();
        let secret = to.device.as_ref().map(|(_, secret)| secret);
        let keys = seal_grant(&to.seal, secret, &scope, library_key, self.content_key, rng).map_err(Problem::internal)?;
        let binding = HardwareBinding { device_id: device, drive_id: to.drive.map(|id| id.to_string()) };
        let bound = binding.device_id.is_some() || binding.drive_id.is_some();
        Ok(GrantDocument {
            grant_id,
            title: self.title.clone(),
            generation: self.generation,
            holder: to.kind,
            with_device: to.device.is_some(),
            keys: serde_json::to_value(&keys).map_err(Problem::internal)?,
            // An entry of a card alone is bound to no hardware, and there is nothing to compare (C5).
            binding: if bound { seal_binding(library_key, &binding, rng) } else { String::new() },
            issued_at,
        })
    }
}

/// A fresh library key, and the same wrapped for the row of its grant.
///
/// # Errors
/// No key-encryption key.
pub fn library_key(app: &App, place: &Place<'_>) -> Result<(Secret<32>, Vec<u8>), KeysError> {
    let rng = &mut app.rng.clone();
    let key = Secret::random(rng);
    let wrapped = app.keys.wrap(place, key.expose(), rng)?;
    Ok((key, wrapped))
}

/// The title of a grant among those of its medium.
pub fn title_of<'a>(titles: &'a [PressedTitle], title: &TitleId) -> Option<&'a PressedTitle> {
    titles.iter().find(|pressed| pressed.title == *title)
}
