//! What was exchanged turns up again (C14, C15): an old device or drive is refused as such, whatever it asks for; an old card as ever; and
//! the entry that it was taken out of keeps a record of it.
//!
//! Every operation decides by the entry alone, in which what was exchanged is not: it says no, for want of a registration. Here, and nowhere
//! else, that no is looked at again, so that no operation can forget to.

use counterfoil_core::wire::{ExchangedKind, Operation};
use counterfoil_core::{CardId, Code, DeviceId, DriveId, HolderId, Refusal, Timestamp, UserId};
use serde_json::json;

use crate::actions::asked::Asked;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::repair::{self, RepairRow};
use crate::store::user::Presented;
use crate::store::{audit, holder, user};

/// The old thing that asks, and whose entry it was in.
struct Old {
    user: UserId,
    row: RepairRow,
}

/// The refusal as it stands, or `device_exchanged`, which is recorded in the entry. Somebody who only says to be an old device, and does not
/// sign as it did, is told nothing.
///
/// # Errors
/// A failure of the database.
pub async fn recognise(app: &App, asked: &Asked, operation: &Operation, refusal: Refusal, now: Timestamp) -> Result<Refusal, Problem> {
    let about_who_asks = [Code::DeviceNotRegistered, Code::UserInvalid, Code::CardUnknown, Code::ProofInvalid];
    if !about_who_asks.contains(&refusal.code) {
        return Ok(refusal);
    }
    let named = Named { user: operation.user_id(), device: operation.device_id(), drive: operation.drive_id(), cards: cards(asked) };
    let found = app.db.read("what was exchanged", async move |tx: &mut Tx| named.find(tx).await).await?;
    let Some(old) = found.into_iter().find(|found| found.is_proven(asked)).map(|found| found.old) else { return Ok(refusal) };
    let (family, name, kind) = (user::family(old.user), operation.name(), old.row.kind);
    app.db.write("old turned up", family, async move |tx: &mut Tx| note(tx, old.user, name, &old.row, "terminal", now).await).await?;
    Ok(if kind == ExchangedKind::Card { refusal } else { Code::DeviceExchanged.into() })
}

/// Records what registration has recognised by itself: there the card proves whose it is, and the device may have been wiped.
///
/// # Errors
/// A failure of the database.
pub async fn at_registration(
    tx: &mut Tx,
    user: UserId,
    device: Option<DeviceId>,
    drive: Option<DriveId>,
    actor: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    for row in repair::out(tx, user, device, drive).await? {
        note(tx, user, "register", &row, actor, now).await?;
    }
    Ok(())
}

async fn note(tx: &mut Tx, user: UserId, operation: &str, row: &RepairRow, actor: &str, now: Timestamp) -> Result<(), DbError> {
    let detail = json!({ "operation": operation, "kind": row.kind, "old": row.old_id, "new": row.new_id, "repair": row.repair });
    audit::append(tx, &user::family(user), now.0, actor, "device.old_turned_up", &detail).await.map(drop)
}

/// The cards that have signed, as far as they say.
fn cards(asked: &Asked) -> Vec<CardId> {
    asked.proofs.signers().filter_map(|(kid, _)| kid.parse().ok()).collect()
}

/// What a request names.
struct Named {
    user: Option<UserId>,
    device: Option<DeviceId>,
    drive: Option<DriveId>,
    cards: Vec<CardId>,
}

/// Something that was exchanged, and by whose signature it is known.
struct Found {
    old: Old,
    /// Any of them: name and key.
    keys: Vec<(String, counterfoil_format::signer::HolderVerifyingKey)>,
}

impl Found {
    fn is_proven(&self, asked: &Asked) -> bool {
        self.keys.iter().any(|(kid, key)| asked.signed(kid, key))
    }
}

impl Named {
    async fn find(&self, tx: &mut Tx) -> Result<Vec<Found>, DbError> {
        let mut found = vec![];
        if let Some(device) = self.device {
            self.device(tx, device, &mut found).await?;
        }
        if let (Some(user), Some(drive)) = (self.user, self.drive) {
            self.drive(tx, user, drive, &mut found).await?;
        }
        for card in &self.cards {
            self.card(tx, *card, &mut found).await?;
        }
        Ok(found)
    }

    /// A device, by the key that it had in the entry.
    async fn device(&self, tx: &mut Tx, device: DeviceId, found: &mut Vec<Found>) -> Result<(), DbError> {
        let mut users: Vec<UserId> = repair::by_old(tx, &device.to_string()).await?.into_iter().map(|(user, _)| user).collect();
        users.retain(|user| self.user.is_none_or(|named| named == *user));
        users.dedup();
        for user in users {
            let rows = repair::out(tx, user, Some(device), None).await?.into_iter();
            let known = rows.filter_map(|row| row.sign_key.map(|key| (key, row)));
            found.extend(known.map(|(key, row)| Found { old: Old { user, row }, keys: vec![(device.to_string(), key)] }));
        }
        Ok(())
    }

    /// A drive signs nothing by itself: by the device or the holder of the entry that names it.
    async fn drive(&self, tx: &mut Tx, user: UserId, drive: DriveId, found: &mut Vec<Found>) -> Result<(), DbError> {
        let Some(Presented { entry, device, .. }) = user::presented(tx, user, self.device, None).await? else { return Ok(()) };
        let mut keys: Vec<_> = device.map(|row| (row.device.to_string(), row.keys.sign)).into_iter().collect();
        keys.extend(entry.card().map(|card| (card.to_string(), entry.keys.sign)));
        let rows = repair::out(tx, user, None, Some(drive)).await?;
        found.extend(rows.into_iter().map(|row| Found { old: Old { user, row }, keys: keys.clone() }));
        Ok(())
    }

    /// A card, by the key that it was registered with.
    async fn card(&self, tx: &mut Tx, card: CardId, found: &mut Vec<Found>) -> Result<(), DbError> {
        let Some(keys) = holder::keys(tx, HolderId::from(card)).await? else { return Ok(()) };
        let rows = repair::by_old(tx, &card.to_string()).await?;
        let replaced = rows.into_iter().filter(|(_, row)| row.kind == ExchangedKind::Card);
        found.extend(replaced.map(|(user, row)| Found { old: Old { user, row }, keys: vec![(card.to_string(), keys.sign)] }));
        Ok(())
    }
}
