//! Copies at a device or drive that was exchanged are taken back (C14), in the medium's family: their grants end, their flags are free.

use std::collections::BTreeSet;

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::wire::{ExchangedKind, FreeCopies};
use counterfoil_core::{GrantId, Timestamp};
use serde_json::json;

use crate::db::{DbError, Tx};
use crate::store::grant::GrantRow;
use crate::store::{audit, grant, medium, user};

/// Takes back every copy that one of the grants is of, where it is bound so: all titles of a copy together. Again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn take_effect(tx: &mut Tx, told: &FreeCopies, now: Timestamp) -> Result<(), DbError> {
    let rows = grant::of_user(tx, &told.medium, &told.user.to_string()).await?;
    let standing = |row: &&GrantRow| row.state != GrantState::Revoked && is_bound(row, told.kind, &told.old_id);
    let copies: BTreeSet<u32> = rows.iter().filter(standing).filter(|row| told.grants.contains(&row.grant)).map(|row| row.copy).collect();
    let ended: Vec<GrantId> = rows.iter().filter(standing).filter(|row| copies.contains(&row.copy)).map(|row| row.grant).collect();
    if ended.is_empty() {
        return Ok(());
    }
    for grant in &ended {
        grant::revoke(tx, &told.medium, *grant).await?;
    }
    medium::free_copies(tx, &told.medium, u32::try_from(copies.len()).unwrap_or(u32::MAX)).await?;
    let detail = json!({ "user": told.user, "kind": told.kind, "old": told.old_id, "repair": told.repair, "copies": copies.len(),
        "grants": ended });
    audit::append(tx, &medium::family(&told.medium), now.0, &user::family(told.user), "medium.freed", &detail).await.map(drop)
}

fn is_bound(row: &GrantRow, kind: ExchangedKind, old_id: &str) -> bool {
    let bound = match kind {
        ExchangedKind::Device => row.device.map(|id| id.to_string()),
        ExchangedKind::Drive => row.drive.map(|id| id.to_string()),
        // Everything stays, sealed to the new one.
        ExchangedKind::Card => None,
    };
    bound.as_deref() == Some(old_id)
}
