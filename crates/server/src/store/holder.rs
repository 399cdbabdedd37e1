//! The holder's family: whose card (or device, or drive) this is (C2–C4).

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{HolderId, Timestamp, UserId};
use counterfoil_format::holder::HolderPublic;
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::signer::HolderVerifyingKey;

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

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
        .bind(keys.sign.as_bytes())
        .bind(keys.seal.as_bytes())
        .bind(user.to_string())
        .bind(now.0)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the holder")) }
}

/// The public halves of a holder's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Public {
    /// Ed25519, or P-256 where a token or TPM holds it.
    pub sign: HolderVerifyingKey,
    /// X25519, or P-256.
    pub seal: SealingPublicKey,
}

impl From<HolderPublic> for Public {
    fn from(HolderPublic { signing, sealing }: HolderPublic) -> Self {
        Self { sign: signing, seal: sealing }
    }
}

impl FromRow for Public {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { sign: row.column()?, seal: row.column()? })
    }
}

impl FromValue for HolderVerifyingKey {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        Self::from_bytes(&Vec::<u8>::from_value(value)?).map_err(|error| error.to_string())
    }
}

impl FromValue for SealingPublicKey {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        Self::from_bytes(&Vec::<u8>::from_value(value)?).map_err(|error| error.to_string())
    }
}

impl Public {
    /// The ID that follows from the keys.
    pub fn holder(&self) -> HolderId {
        HolderId::from_bytes(HolderPublic { signing: self.sign, sealing: self.seal }.id())
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

/// The keys that a holder was registered with; nothing where it never was.
///
/// # Errors
/// A failure of the database.
pub async fn keys(tx: &mut Tx, holder: HolderId) -> Result<Option<Public>, DbError> {
    tx.query("SELECT sign_key, seal_key FROM holder WHERE holder_id = $1 AND sign_key IS NOT NULL AND seal_key IS NOT NULL")
        .bind(holder.to_string())
        .opt()
        .await
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

/// A card that has been registered, alive or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredCard {
    /// Whose it is, or was.
    pub user: UserId,
    /// Its public keys.
    pub keys: Public,
    /// Whether it has been declared dead.
    pub dead: bool,
}

impl FromRow for RegisteredCard {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { user: row.column()?, keys: Public::from_row(row)?, dead: row.column::<String>()? == "dead" })
    }
}

/// Whose a card is; nobody's where it was never registered.
///
/// # Errors
/// A failure of the database.
pub async fn registered_card(tx: &mut Tx, card: HolderId) -> Result<Option<RegisteredCard>, DbError> {
    tx.query(
        "SELECT user_id, sign_key, seal_key, state FROM holder
         WHERE holder_id = $1 AND kind = 'card' AND user_id IS NOT NULL AND sign_key IS NOT NULL AND seal_key IS NOT NULL",
    )
    .bind(card.to_string())
    .opt()
    .await
}
