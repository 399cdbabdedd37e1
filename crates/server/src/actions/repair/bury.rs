//! A card that another one has taken the place of is dead in its own family too (C15).

use counterfoil_core::Timestamp;
use counterfoil_core::wire::BuryHolder;
use serde_json::json;

use crate::db::{DbError, Tx};
use crate::store::{audit, holder, user};

/// In the holder's family; again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn take_effect(tx: &mut Tx, told: &BuryHolder, now: Timestamp) -> Result<(), DbError> {
    if holder::kill(tx, told.holder).await? {
        let detail = json!({ "user": told.user, "new": told.new, "repair": told.repair });
        audit::append(tx, &holder::family(told.holder), now.0, &user::family(told.user), "card.replaced", &detail).await?;
    }
    Ok(())
}
