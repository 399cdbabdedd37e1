//! Entitlements that came from media, in the user's family: told by the medium's through the outbox, and ended by a repair (C14).

use counterfoil_core::{DeviceId, DriveId, GrantId, MediumId, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Copies of one user that are looked at: as many as there are in any household, and no more than memory holds.
const MOST: i64 = 10_000;

/// What a grant is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The device, where the entry is used from one.
    pub device: Option<DeviceId>,
    /// The drive, likewise.
    pub drive: Option<DriveId>,
}

/// A title of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// By which grant.
    pub grant: GrantId,
    /// From which medium.
    pub medium: MediumId,
    /// Of what.
    pub title: TitleId,
    /// Since when.
    pub at: Timestamp,
    /// To what, where that is known: what was told by a server of an earlier version does not say.
    pub bound: Option<Bound>,
}

impl FromRow for Copied {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (grant, medium, title, at) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let known = row.column::<i64>()? != 0;
        let bound = Bound { device: row.column()?, drive: row.column()? };
        Ok(Self { grant, medium, title, at, bound: Some(bound).filter(|_| known) })
    }
}

/// Notes what a grant entitles its user to; told by the medium's family, at least once. False: it was told before.
///
/// # Errors
/// A failure of the database.
pub async fn entitle(tx: &mut Tx, user: UserId, copied: &Copied) -> Result<bool, DbError> {
    let Copied { grant, medium, title, at, bound } = copied;
    let written = tx
        .query(
            "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at,
                                      bound, device_id, drive_id)
             VALUES ($1, $2, 'medium', $3, $4, 'active', 1, 0, $5, $6, $7, $8) ON CONFLICT (user_id, entitlement_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(grant.to_string())
        .bind(medium.as_str())
        .bind(title.as_str())
        .bind(at.0)
        .bind(i64::from(bound.is_some()))
        .bind(bound.and_then(|bound| bound.device).map(|id| id.to_string()))
        .bind(bound.and_then(|bound| bound.drive).map(|id| id.to_string()))
        .execute()
        .await?;
    Ok(written == 1)
}

/// What a user holds from media, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn active(tx: &mut Tx, user: UserId) -> Result<Vec<Copied>, DbError> {
    tx.query(
        "SELECT entitlement_id, medium_id, title_id, created_at, bound, device_id, drive_id FROM entitlement
         WHERE user_id = $1 AND source = 'medium' AND state = 'active' ORDER BY created_at, entitlement_id LIMIT $2",
    )
    .bind(user.to_string())
    .bind(MOST)
    .all()
    .await
}

/// Ends one, because the copy is taken back (C14); false where it has ended before.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, user: UserId, grant: GrantId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE entitlement SET state = 'ended', devices = 0, ended_at = $3
             WHERE user_id = $1 AND entitlement_id = $2 AND source = 'medium' AND state = 'active'",
        )
        .bind(user.to_string())
        .bind(grant.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}
