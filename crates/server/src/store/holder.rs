//! The holder's family: whose card (or device, or drive) this is (C2–C4).

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{HolderId, Timestamp, UserId};

use crate::db::{DbError, Tx};

/// The family of a holder.
pub fn family(holder: HolderId) -> String {
    holder.to_string()
}

/// What is known of a holder.
///
/// # Errors
/// A failure of the database.
pub async fn facts(tx: &mut Tx, holder: HolderId) -> Result<HolderFacts, DbError> {
    let row: Option<(String, Option<UserId>)> =
        tx.query("SELECT state, user_id FROM holder WHERE holder_id = $1").bind(holder.to_string()).opt().await?;
    Ok(match row {
        None => HolderFacts::Unknown,
        Some((state, _)) if state == "dead" => HolderFacts::Dead,
        Some((_, Some(user))) => HolderFacts::Registered(user),
        Some((_, None)) => HolderFacts::Issued,
    })
}

/// Reserves a holder for a user: one that nobody has registered.
///
/// # Errors
/// `Conflict` where somebody else was first; a failure of the database.
pub async fn reserve(tx: &mut Tx, holder: HolderId, kind: HolderKind, keys: &Public, user: UserId, now: Timestamp) -> Result<(), DbError> {
    let changed = tx
        .query(
            "INSERT INTO holder (holder_id, kind, sign_key, seal_key, user_id, state, created_at) VALUES ($1, $2, $3, $4, $5, 'registered', $6)
             ON CONFLICT (holder_id) DO UPDATE SET sign_key = excluded.sign_key, seal_key = excluded.seal_key, user_id = excluded.user_id,
                 state = 'registered'
             WHERE holder.user_id IS NULL AND holder.state = 'issued'",
        )
        .bind(holder.to_string())
        .bind(kind.as_str())
        .bind(keys.sign)
        .bind(keys.seal)
        .bind(user.to_string())
        .bind(now.0)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the holder")) }
}

/// The public halves of a holder's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public {
    /// Ed25519.
    pub sign: [u8; 32],
    /// X25519.
    pub seal: [u8; 32],
}

impl Public {
    /// The ID that follows from the keys.
    pub fn holder(&self) -> HolderId {
        HolderId::from_bytes(counterfoil_format::holder::id_of(&self.sign, &self.seal))
    }
}

/// Makes a card known as issued by the operator; says whether it was not known before.
///
/// # Errors
/// A failure of the database.
pub async fn issue(tx: &mut Tx, card: HolderId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO holder (holder_id, kind, sign_key, seal_key, user_id, state, created_at) VALUES ($1, 'card', NULL, NULL, NULL, 'issued', $2)
             ON CONFLICT (holder_id) DO NOTHING",
        )
        .bind(card.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Declares a holder dead: lost, replaced or revoked. Says whether it was known and alive.
///
/// # Errors
/// A failure of the database.
pub async fn kill(tx: &mut Tx, holder: HolderId) -> Result<bool, DbError> {
    let changed =
        tx.query("UPDATE holder SET state = 'dead' WHERE holder_id = $1 AND state <> 'dead'").bind(holder.to_string()).execute().await?;
    Ok(changed == 1)
}
