//! Grants, in the medium's family: who was given the keys of what, bound to what. Library keys are wrapped; boxes are never kept.

use counterfoil_core::rules::claim::{Claimant, OpenClaim};
use counterfoil_core::rules::confirm::{GrantFacts, GrantState};
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{DeviceId, DriveId, GrantId, HolderId, MediumId, OrderId, RequestId, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, device_id, drive_id, state, library_key,
                    issued_at, exchange_id, order_id
             FROM grants ",
            $which
        )
    };
}

/// Grants of one user on one medium that are looked at: titles of a medium times copies under way.
const MOST: u32 = 1000;

/// A row of `grants`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// Which.
    pub grant: GrantId,
    /// Which copy of the medium, from 1.
    pub copy: u32,
    /// Of what.
    pub title: TitleId,
    /// Which of the title's content keys.
    pub generation: u32,
    /// To whom.
    pub user: UserId,
    /// Whom the keys are sealed to.
    pub holder: HolderId,
    /// What that is.
    pub holder_kind: HolderKind,
    /// Bound to which device.
    pub device: Option<DeviceId>,
    /// Bound to which drive.
    pub drive: Option<DriveId>,
    /// Where it stands.
    pub state: GrantState,
    /// Wrapped.
    pub library_key: Vec<u8>,
    /// When.
    pub issued_at: Timestamp,
    /// What paid for it.
    pub paid: Paid,
}

/// What paid for a copy: nothing, where it was paid for with its medium.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Paid {
    /// The exchange through a gateway (C17).
    pub exchange: Option<RequestId>,
    /// The order at the authority itself (C18).
    pub order: Option<OrderId>,
}

impl Paid {
    /// Whether anything did.
    pub fn is_paid(&self) -> bool {
        *self != Self::default()
    }
}

impl FromRow for GrantRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            grant: row.column()?,
            copy: row.column()?,
            title: row.column()?,
            generation: row.column()?,
            user: row.column()?,
            holder: row.column()?,
            holder_kind: row.column()?,
            device: row.column()?,
            drive: row.column()?,
            state: row.column()?,
            library_key: row.column()?,
            issued_at: row.column()?,
            paid: Paid { exchange: row.column()?, order: row.column()? },
        })
    }
}

impl GrantRow {
    /// Who claimed it.
    fn claimant(&self) -> Claimant {
        let card = (self.holder_kind == HolderKind::Card).then(|| self.holder.into());
        Claimant { user: self.user, card, device: self.device, drive: self.drive }
    }
}

/// Grants of a user on a medium, in the order of their copies.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, medium: &MediumId, user: &str) -> Result<Vec<GrantRow>, DbError> {
    tx.query(select!("WHERE medium_id = $1 AND user_id = $2 ORDER BY copy DESC, grant_id LIMIT $3"))
        .bind(medium.as_str())
        .bind(user)
        .bind(MOST)
        .all()
        .await
}

/// What was claimed and not confirmed, by copy, of grants in the order of [`of_user`].
pub fn open_claims(grants: &[GrantRow]) -> Vec<OpenClaim> {
    let mut claims: Vec<(u32, OpenClaim)> = vec![];
    for row in grants {
        if !matches!(row.state, GrantState::Issued | GrantState::Delivered) {
            continue;
        }
        match claims.last_mut() {
            Some((copy, claim)) if *copy == row.copy => claim.grants.push(row.grant),
            _ => claims.push((row.copy, OpenClaim { claimant: row.claimant(), grants: vec![row.grant] })),
        }
    }
    claims.into_iter().map(|(_, claim)| claim).collect()
}

/// What a user paid for a copy by which was taken back at a repair, and that no other copy has taken the place of since (C14). Of grants of one
/// user on one medium.
pub fn credit(grants: &[GrantRow]) -> Option<Paid> {
    let standing = |paid| grants.iter().any(|row| row.paid == paid && row.state != GrantState::Revoked);
    grants.iter().map(|row| row.paid).find(|paid| paid.is_paid() && !standing(*paid))
}

/// The grants that an exchange paid for, taken back or not.
///
/// # Errors
/// A failure of the database.
pub async fn of_exchange(tx: &mut Tx, medium: &MediumId, exchange: RequestId) -> Result<Vec<GrantRow>, DbError> {
    tx.query(select!("WHERE medium_id = $1 AND exchange_id = $2 ORDER BY copy DESC, grant_id LIMIT $3"))
        .bind(medium.as_str())
        .bind(exchange.to_string())
        .bind(MOST)
        .all()
        .await
}

/// The grants that an order paid for, taken back or not.
///
/// # Errors
/// A failure of the database.
pub async fn of_order(tx: &mut Tx, medium: &MediumId, order: OrderId) -> Result<Vec<GrantRow>, DbError> {
    tx.query(select!("WHERE medium_id = $1 AND order_id = $2 ORDER BY copy DESC, grant_id LIMIT $3"))
        .bind(medium.as_str())
        .bind(order.to_string())
        .bind(MOST)
        .all()
        .await
}

/// The money for an order has gone back: nothing takes the place of what it paid for.
///
/// # Errors
/// A failure of the database.
pub async fn forget_order(tx: &mut Tx, medium: &MediumId, order: OrderId) -> Result<(), DbError> {
    let sql = "UPDATE grants SET order_id = NULL WHERE medium_id = $1 AND order_id = $2";
    tx.query(sql).bind(medium.as_str()).bind(order.to_string()).execute().await.map(drop)
}

/// The money for an exchange has gone back: nothing takes the place of what it paid for.
///
/// # Errors
/// A failure of the database.
pub async fn forget_exchange(tx: &mut Tx, medium: &MediumId, exchange: RequestId) -> Result<(), DbError> {
    let sql = "UPDATE grants SET exchange_id = NULL WHERE medium_id = $1 AND exchange_id = $2";
    tx.query(sql).bind(medium.as_str()).bind(exchange.to_string()).execute().await.map(drop)
}

/// What `confirm` is decided on.
///
/// # Errors
/// A failure of the database.
pub async fn confirm_facts(tx: &mut Tx, medium: &MediumId, user: &str) -> Result<Vec<GrantFacts>, DbError> {
    let facts = |row: GrantRow| GrantFacts { grant: row.grant, user: row.user, device: row.device, state: row.state };
    Ok(of_user(tx, medium, user).await?.into_iter().map(facts).collect())
}

/// Keeps a new grant of copy number `copy`, whatever the row says of it.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, medium: &MediumId, copy: u32, row: &GrantRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, device_id, drive_id,
                             state, library_key, issued_at, settled_at, exchange_id, order_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, NULL, $14, $15)",
    )
    .bind(medium.as_str())
    .bind(row.grant.to_string())
    .bind(copy)
    .bind(row.title.as_str())
    .bind(row.generation)
    .bind(row.user.to_string())
    .bind(row.holder.to_string())
    .bind(row.holder_kind.as_str())
    .bind(row.device.map(|id| id.to_string()))
    .bind(row.drive.map(|id| id.to_string()))
    .bind(row.state.as_str())
    .bind(&row.library_key)
    .bind(row.issued_at.0)
    .bind(row.paid.exchange.map(|id| id.to_string()))
    .bind(row.paid.order.map(|id| id.to_string()))
    .execute()
    .await
    .map(drop)
}

/// Settles a grant (C11).
///
/// # Errors
/// A failure of the database; `Conflict` where it changed meanwhile.
pub async fn settle(tx: &mut Tx, medium: &MediumId, grant: GrantId, now: Timestamp) -> Result<(), DbError> {
    let changed = tx
        .query(
            "UPDATE grants SET state = 'settled', settled_at = $3
             WHERE medium_id = $1 AND grant_id = $2 AND state IN ('issued', 'delivered')",
        )
        .bind(medium.as_str())
        .bind(grant.to_string())
        .bind(now.0)
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the grant")) }
}

/// Takes a grant back: its keys are given to nobody any more.
///
/// # Errors
/// A failure of the database; `Conflict` where it was taken back meanwhile.
pub async fn revoke(tx: &mut Tx, medium: &MediumId, grant: GrantId) -> Result<(), DbError> {
    let changed = tx
        .query("UPDATE grants SET state = 'revoked' WHERE medium_id = $1 AND grant_id = $2 AND state <> 'revoked'")
        .bind(medium.as_str())
        .bind(grant.to_string())
        .execute()
        .await?;
    if changed == 1 { Ok(()) } else { Err(tx.conflict("the grant")) }
}

/// Has a grant that was not taken back go on with another card (C15). False where it is with that one already, or was taken back.
///
/// # Errors
/// A failure of the database.
pub async fn rebind(tx: &mut Tx, medium: &MediumId, grant: GrantId, old: HolderId, new: HolderId) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE grants SET holder_id = $4, holder_kind = 'card'
             WHERE medium_id = $1 AND grant_id = $2 AND holder_id = $3 AND state <> 'revoked'",
        )
        .bind(medium.as_str())
        .bind(grant.to_string())
        .bind(old.to_string())
        .bind(new.to_string())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// The user who has all copies of a medium that were claimed and not taken back; nobody where there are none, or several people have one.
///
/// # Errors
/// A failure of the database.
pub async fn only_user(tx: &mut Tx, medium: &MediumId) -> Result<Option<UserId>, DbError> {
    let users: Vec<(UserId,)> = tx
        .query("SELECT DISTINCT user_id FROM grants WHERE medium_id = $1 AND state <> 'revoked' ORDER BY user_id LIMIT 2")
        .bind(medium.as_str())
        .all()
        .await?;
    Ok(match users[..] {
        [(user,)] => Some(user),
        _ => None,
    })
}

/// One grant.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, medium: &MediumId, grant: GrantId) -> Result<Option<GrantRow>, DbError> {
    tx.query(select!("WHERE medium_id = $1 AND grant_id = $2")).bind(medium.as_str()).bind(grant.to_string()).opt().await
}
