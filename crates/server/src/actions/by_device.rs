//! What a device asks of its user's family, in one transaction: asked once, by a device that is registered at that moment, and recorded.
//!
//! Several processes may work on one family at once, and on PostgreSQL each statement sees what was committed before it. So the end of the
//! family's audit log is read first and its record is appended before anything else is written: where another record came in between, what
//! was decided stands on something that has changed, and the transaction is run again. From then on the row of the head keeps others out.
//! ([`audit::hold`] does the same by waiting from the start; here two seldom meet, and nothing is written to find that out.)

use std::cell::Cell;

use counterfoil_core::{Code, HolderId, Refusal, Timestamp, UserId};
use serde::Serialize;
use serde_json::{Value, json};

use super::asked::{self, Asked};
use crate::db::{DbError, Tx};
use crate::store::audit::{self, Head};
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
    /// Who held the keys of the entry then.
    holder: Option<HolderId>,
    /// When.
    pub now: Timestamp,
    /// Where the family's audit log ended when the transaction began.
    begun: Cell<Option<Head>>,
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
        let (actor, request_id) = (user::family(user), asked.request_id.to_string());
        let (device, holder) = (Some(recipient.device.clone()), Some(recipient.holder.holder));
        Self { device, holder, ..Self::by(actor, operation, user, request_id, asked.digest, now) }
    }

    /// Of somebody whose right to ask has been established.
    pub fn by(actor: String, operation: &'static str, user: UserId, request_id: String, digest: [u8; 32], now: Timestamp) -> Self {
        Self {
            user,
            family: user::family(user),
            actor,
            operation,
            request_id,
            digest,
            device: None,
            holder: None,
            now,
            begun: Cell::new(None),
        }
    }

    /// Looks whether the request was answered, and whether the device is still registered with the keys that it signed with, and the card
    /// still the entry's: the one may have been taken out since, and the other replaced.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn begin(&self, tx: &mut Tx) -> Result<Begun, DbError> {
        self.begun.set(Some(audit::head(tx, &self.family).await?));
        match request::once(tx, &self.family, &self.request_id, &self.digest, self.now.0).await? {
            Once::Mismatch => return self.refuse(tx, Code::RequestMismatch.into()).await.map(Begun::Refused),
            Once::Repeat(Recorded { answer, .. }) => return Ok(Begun::Repeat(answer)),
            Once::Fresh => {}
        }
        if let Some(device) = &self.device {
            let presented = user::presented(tx, self.user, Some(device.device), None).await?;
            let (holder, row) = presented.map_or((None, None), |presented| (Some(presented.entry.holder), presented.device));
            if row.is_none_or(|row| row.keys != device.keys) {
                return self.refuse(tx, Code::DeviceNotRegistered.into()).await.map(Begun::Refused);
            }
            if holder != self.holder {
                return self.refuse(tx, Code::UserInvalid.into()).await.map(Begun::Refused);
            }
        }
        Ok(Begun::Fresh)
    }

    /// Records a no, and hands it on.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn refuse(&self, tx: &mut Tx, refusal: Refusal) -> Result<Refusal, DbError> {
        self.note(tx, &format!("{}.refused", self.operation), &json!({ "code": refusal.code })).await?;
        Ok(refusal)
    }

    /// Records what is done, before it is done.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn note(&self, tx: &mut Tx, event: &str, detail: &Value) -> Result<(), DbError> {
        let (family, at, actor) = (&self.family, self.now.0, &self.actor);
        match self.begun.take() {
            Some(head) => audit::append_after(tx, family, head, at, actor, event, detail).await.map(drop),
            // Nothing was decided in this transaction.
            None => audit::append(tx, family, at, actor, event, detail).await.map(drop),
        }
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
