//! The right to send the bytes of one upload, sealed so that whoever holds it can neither read nor make one.

use counterfoil_core::{UploadId, UserId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::Secret;

use crate::app::App;
use crate::keys::{KeysError, Place};

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose upload.
    pub user: UserId,
    /// Which.
    pub upload: UploadId,
}

impl Ticket {
    /// Seals it: AEAD under a key of the authority, another text every time, base64url.
    ///
    /// # Errors
    /// Where there are no keys.
    pub fn seal(self, app: &App) -> Result<String, KeysError> {
        let said = [*self.user.as_bytes(), *self.upload.as_bytes()].concat();
        Ok(to_base64url(&app.keys.wrap(&Place::UploadTicket, &said, &mut app.rng.clone())?))
    }

    /// Opens it; `None`: not ours. A key that another process has made since is fetched, but rarely: strangers may name any.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn open(app: &App, text: &str) -> Result<Option<Self>, KeysError> {
        let Some(wrapped) = from_base64url(text) else { return Ok(None) };
        let opened: Option<Secret<32>> = app.keys.open_rarely(&app.db, &Place::UploadTicket, &wrapped, app.clock.now()).await?;
        Ok(opened.map(|said| {
            let (mut user, mut upload) = ([0; 16], [0; 16]);
            user.copy_from_slice(&said.expose()[..16]);
            upload.copy_from_slice(&said.expose()[16..]);
            Self { user: UserId::from_bytes(user), upload: UploadId::from_bytes(upload) }
        }))
    }
}
