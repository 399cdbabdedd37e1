//! Grants go on with the card that has taken another one's place (C15), in the medium's family.

use counterfoil_core::wire::RebindGrants;
use counterfoil_core::{CardId, GrantId, HolderId, Timestamp};
use serde_json::json;

use crate::db::{DbError, Tx};
use crate::store::{audit, grant, medium, user};

/// Has all grants of the user that are with the old card, and were not taken back, go on with the new one: all titles of a copy with the
/// same card, confirmed or not. Again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn take_effect(tx: &mut Tx, told: &RebindGrants, now: Timestamp) -> Result<(), DbError> {
    // Told late, after that card was replaced as well: then its grants are with the card that the entry has now.
    let entry = user::find(tx, told.user).await?;
    let (old, new) = (HolderId::from(told.old), entry.map_or(HolderId::from(told.new), |entry| entry.holder));
    let mut rebound: Vec<GrantId> = vec![];
    for row in grant::of_user(tx, &told.medium, &told.user.to_string()).await? {
        if row.holder == old && grant::rebind(tx, &told.medium, row.grant, old, new).await? {
            rebound.push(row.grant);
        }
    }
    if !rebound.is_empty() {
        let detail = json!({ "user": told.user, "old": told.old, "new": CardId::from(new), "repair": told.repair, "grants": rebound });
        audit::append(tx, &medium::family(&told.medium), now.0, &user::family(told.user), "grant.rebound", &detail).await?;
    }
    Ok(())
}
