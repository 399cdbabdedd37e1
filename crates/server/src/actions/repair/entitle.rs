//! A user's family learns of a copy, and judges it by the entry as it is now: what was claimed while something was exchanged is taken back,
//! or goes on with the new card (C14, C15).

use counterfoil_core::wire::{ExchangedKind, FREE_COPIES, FreeCopies, REBIND_GRANTS, RebindGrants};
use counterfoil_core::{CardId, HolderId, Timestamp, UserId};
use serde_json::json;

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::jobs::Entitlement;
use crate::store::copied::{self, Bound, Copied};
use crate::store::repair::RepairRow;
use crate::store::{audit, grant, outbox, repair, user};

/// Looks up what a message of an earlier version did not say.
///
/// # Errors
/// A failure of the database.
pub async fn complete(app: &App, told: &mut Entitlement) -> Result<(), DbError> {
    if told.holder.is_some() {
        return Ok(());
    }
    let (medium, user, id) = (told.medium.clone(), told.user, told.grant);
    let rows =
        app.db.read("what a grant is bound to", async move |tx: &mut Tx| grant::of_user(tx, &medium, &user.to_string()).await).await?;
    if let Some(row) = rows.into_iter().find(|row| row.grant == id) {
        (told.holder, told.device, told.drive) = (Some(row.holder), row.device, row.drive);
    }
    Ok(())
}

/// Notes the entitlement. Told again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn take_effect(tx: &mut Tx, told: &Entitlement, now: Timestamp) -> Result<(), DbError> {
    let Entitlement { user, grant, medium, title, at, holder, device, drive } = told.clone();
    let bound = holder.map(|_| Bound { device, drive });
    let copied = Copied { grant, medium, title, at, bound };
    if !copied::entitle(tx, user, &copied).await? {
        return Ok(());
    }
    if let Some(row) = repair::out(tx, user, device, drive).await?.into_iter().next() {
        return take_back(tx, user, &copied, &row, now).await;
    }
    match holder {
        Some(holder) => follow_the_card(tx, user, &copied, holder, now).await,
        None => Ok(()),
    }
}

/// It was claimed by what had been exchanged, or was being exchanged at that moment.
async fn take_back(tx: &mut Tx, user: UserId, copied: &Copied, row: &RepairRow, now: Timestamp) -> Result<(), DbError> {
    let Copied { grant, medium, .. } = copied;
    copied::end(tx, user, *grant, now).await?;
    let repair = row.repair.to_string();
    let told = FreeCopies {
        medium: medium.clone(),
        user,
        kind: row.kind,
        old_id: row.old_id.clone(),
        repair: repair.clone(),
        grants: vec![*grant],
        at: now,
    };
    let family = user::family(user);
    outbox::enqueue(tx, &family, &format!("{grant}/free"), FREE_COPIES, &json!(told).to_string(), now.0, now.0).await?;
    let detail = json!({ "grant": grant, "medium": medium, "kind": row.kind, "old": row.old_id, "repair": repair });
    audit::append(tx, &family, now.0, &family, "copy.ended", &detail).await.map(drop)
}

/// It was claimed with a card that another one has taken the place of meanwhile.
async fn follow_the_card(tx: &mut Tx, user: UserId, copied: &Copied, holder: HolderId, now: Timestamp) -> Result<(), DbError> {
    let Some(new) = user::find(tx, user).await?.and_then(|entry| entry.card()).filter(|card| HolderId::from(*card) != holder) else {
        return Ok(());
    };
    let old = CardId::from(holder);
    let replaced = repair::by_old(tx, &old.to_string()).await?;
    let Some((_, row)) = replaced.into_iter().find(|(of, row)| *of == user && row.kind == ExchangedKind::Card) else { return Ok(()) };
    let Copied { grant, medium, .. } = copied;
    let told = RebindGrants { medium: medium.clone(), user, old, new, repair: row.repair.to_string(), grants: vec![*grant], at: now };
    let family = user::family(user);
    outbox::enqueue(tx, &family, &format!("{grant}/rebind"), REBIND_GRANTS, &json!(told).to_string(), now.0, now.0).await.map(drop)
}
