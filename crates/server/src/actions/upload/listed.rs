//! What a user has handed in of a title, with the key to it; and versions that are taken away (A4).
//!
//! The save key is drawn when it is asked for first. No key leaves before its record in the audit log is durable, every time.

use counterfoil_core::rules::upload::{Allowed, is_slot};
use counterfoil_core::wire::{SlotVersion, UploadedVersion, Uploads, UploadsResult};
use counterfoil_core::{Code, Refusal, Timestamp, UserId};
use counterfoil_format::container::{SaveKey, SaveKeyScope};
use counterfoil_format::secret::Secret;
use serde_json::{Value, json};

use super::super::asked::{self, Asked, Decided};
use super::super::by_device::{Begun, Turn};
use super::super::seal;
use super::super::signed::{self, Besides};
use super::finish;
use crate::app::App;
use crate::db::Tx;
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::upload::{self, State, UploadRow};
use crate::store::user::Recipient;

/// What was found in the transaction.
struct Found {
    wrapped: Vec<u8>,
    items: Vec<UploadedVersion>,
    used: u64,
}

/// Takes away what is asked for, and lists the rest.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Uploads, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        Ok(recipient) if recipient.dead => {
            let family = asked::stranger(&ask.user_id.to_string());
            return asked::refuse(app, family, "uploads", "terminal", Code::UserInvalid.into(), now).await;
        }
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "uploads", "terminal", refusal, now).await,
    };
    let allowed = super::right(app, ask.user_id, &ask.title, now).await?;
    let user = ask.user_id.to_string();
    let place = Place::SaveKey { user: &user, title: ask.title.as_str() };
    let (_, fresh) = seal::library_key(app, &place)?;
    let turn = Turn::of(asked, "uploads", ask.user_id, &recipient, now);
    let (told, family) = (ask.clone(), turn.family.clone());
    let found = app.db.write("uploads", family, async move |tx: &mut Tx| write(tx, &turn, &told, allowed, &fresh).await).await?;
    let Found { wrapped, items, used } = match found {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let key: Secret<32> = app.keys.open(&app.db, &place, &wrapped).await?;
    let result = UploadsResult {
        items,
        used,
        quota: allowed.map_or(0, |allowed| allowed.bytes),
        readable: allowed.is_some_and(|allowed| allowed.readable),
        keys: sealed(app, ask, &recipient, &key).await?,
    };
    Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
}

/// The save key as a grant's library key: with the device's secret, so that the holder's key alone opens nothing (C13).
async fn sealed(app: &App, ask: &Uploads, recipient: &Recipient, key: &Secret<32>) -> Result<Value, Problem> {
    let to = seal::Recipient::of(app, ask.user_id, recipient, None).await?;
    let Some((device, secret)) = &to.device else { return Err(Problem::internal("a device asked, and is none")) };
    let (user, device) = (ask.user_id.to_string(), device.to_string());
    let scope = SaveKeyScope { user: &user, title: ask.title.as_str(), device: &device };
    let keys = SaveKey::new(key.clone()).seal(&to.seal, secret, &scope, &mut app.rng.clone()).map_err(Problem::internal)?;
    serde_json::to_value(keys).map_err(Problem::internal)
}

async fn write(tx: &mut Tx, turn: &Turn, ask: &Uploads, allowed: Option<Allowed>, fresh: &[u8]) -> Result<Result<Found, Refusal>, Problem> {
    let repeated = match turn.begin(tx).await? {
        Begun::Fresh => false,
        Begun::Repeat(_) => true,
        Begun::Refused(refusal) => return Ok(Err(refusal)),
    };
    let known = upload::find_save_key(tx, turn.user, &ask.title).await?.is_some();
    // Whoever has lost the right still gets what they have saved.
    if allowed.is_none() && !known {
        return Ok(Err(turn.refuse(tx, Code::RightMissing.into()).await?));
    }
    let gone = match to_remove(tx, turn.user, ask, repeated).await? {
        Ok(gone) => gone,
        Err(refusal) => return Ok(Err(turn.refuse(tx, refusal).await?)),
    };
    let detail = json!({ "title": ask.title, "device": ask.device_id, "drawn": !known });
    turn.note(tx, "save_key.sealed", &detail).await?;
    for row in &gone {
        finish::remove(tx, row, &turn.actor, "asked for", turn.now).await?;
    }
    if !repeated {
        turn.answer(tx, &Value::Null).await?;
    }
    Ok(Ok(Found {
        wrapped: upload::save_key(tx, turn.user, &ask.title, fresh, turn.now).await?,
        items: upload::versions(tx, turn.user, &ask.title).await?,
        used: upload::used(tx, turn.user, &ask.title).await?,
    }))
}

/// The versions that are to go: every one must be there. A repeat takes nothing away again.
async fn to_remove(tx: &mut Tx, user: UserId, ask: &Uploads, repeated: bool) -> Result<Result<Vec<UploadRow>, Refusal>, Problem> {
    let mut gone: Vec<UploadRow> = vec![];
    for SlotVersion { slot, version } in ask.remove.iter().filter(|_| !repeated) {
        let rows = if is_slot(slot) { upload::in_slot(tx, user, &ask.title, slot).await? } else { vec![] };
        let found = rows.into_iter().find(|row| row.state == State::Complete && row.version == *version);
        match found {
            Some(row) if gone.iter().any(|known| known.upload == row.upload) => {}
            Some(row) => gone.push(row),
            None => return Ok(Err(Refusal::with(Code::UploadUnknown, "no such version of this slot"))),
        }
    }
    Ok(Ok(gone))
}
