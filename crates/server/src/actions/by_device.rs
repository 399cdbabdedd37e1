//! What a device asks of its user's family, in one transaction: asked once, by a device that is registered at that moment, and recorded.

use counterfoil_core::{Code, Refusal, Timestamp, UserId};
use serde::Serialize;
use serde_json::Value;

use super::asked::{self, Asked};
use crate::db::{DbError, Tx};
use crate::store::audit;
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, DeviceRow, Recipient};

/// HTTP's word for yes, in the record of a request.
const GRANTED: i64 = 200;

/// A request to a user's family, once it is known who asks.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Whose family.
    pub user: UserId,
    /// The same as text.
    pub family: String,
    /// Who acts, for the audit log.
    pub actor: String,
    /// What is asked for, likewise.
    pub operation: &'static str,
    /// Names the request for good.
    pub request_id: String,
    /// Over all of it.
    pub digest: [u8; 32],
    /// The device that has proven to ask, where a device does.
    pub device: Option<DeviceRow>,
    /// When.
    pub now: Timestamp,
}

/// What is known of a request when its transaction begins.
#[derive(Debug)]
pub enum Begun {
    /// Nobody has answered it.
    Fresh,
    /// It was answered with this.
    Repeat(Vec<u8>),
    /// Another request had this ID, or the device is registered no more; this is recorded.
    Refused(Refusal),
}

impl Turn {
    /// Of a device that has signed.
    pub fn of(asked: &Asked, operation: &'static str, user: UserId, recipient: &Recipient, now: Timestamp) -> Self {
        let family = user::family(user);
        Self {
            user,
            actor: family.clone(),
            family,
            operation,
            request_id: asked.request_id.to_string(),
            digest: asked.digest,
            device: Some(recipient.device.clone()),
            now,
        }
    }

    /// Looks whether the request was answered, and whether the device is still registered with the keys that it signed with: it may have
    /// been taken out since.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn begin(&self, tx: &mut Tx) -> Result<Begun, DbError> {
        match request::once(tx, &self.family, &self.request_id, &self.digest, self.now.0).await? {
            Once::Mismatch => return self.refuse(tx, Code::RequestMismatch.into()).await.map(Begun::Refused),
            Once::Repeat(Recorded { answer, .. }) => return Ok(Begun::Repeat(answer)),
            Once::Fresh => {}
        }
        if let Some(device) = &self.device
            && user::device(tx, self.user, device.device).await?.is_none_or(|row| row.keys != device.keys)
        {
            return self.refuse(tx, Code::DeviceNotRegistered.into()).await.map(Begun::Refused);
        }
        Ok(Begun::Fresh)
    }

    /// Records a no, and hands it on.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn refuse(&self, tx: &mut Tx, refusal: Refusal) -> Result<Refusal, DbError> {
        asked::audit_refusal(tx, &self.family, self.operation, &self.actor, refusal.code, self.now).await?;
        Ok(refusal)
    }

    /// Records what was done.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn note(&self, tx: &mut Tx, event: &str, detail: &Value) -> Result<(), DbError> {
        audit::append(tx, &self.family, self.now.0, &self.actor, event, detail).await.map(drop)
    }

    /// Records what the request is answered with. No secret belongs in it.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn answer<T: Serialize>(&self, tx: &mut Tx, answer: &T) -> Result<(), DbError> {
        let answer = serde_json::to_vec(answer).expect("an answer is JSON");
        let recorded = Recorded { status: GRANTED, answer };
        request::record(tx, &self.family, &self.request_id, &self.digest, &recorded, self.now.0, asked::expires(self.now)).await
    }
}
