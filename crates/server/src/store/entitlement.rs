//! Entitlements that came from orders and selections, in the user's family: what was bought or given, under which terms, and how much of it
//! is used.
//!
//! Those that came from media are told by the medium's family, and are [`super::user`]'s.

use counterfoil_core::rules::license::Places;
use counterfoil_core::{EntitlementId, GrantId, MediumId, OrderId, Policy, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Entitlements of one user to one title that are looked at.
const MOST: i64 = 100;

/// A row of `entitlement` that came from an order or a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitlementRow {
    /// Which.
    pub entitlement: EntitlementId,
    /// The order that it came from; absent where it was selected.
    pub order: Option<OrderId>,
    /// To what.
    pub title: TitleId,
    /// Whether it has been ended; one that has run out has not.
    pub active: bool,
    /// The terms, as they were when it was bought.
    pub policy: Policy,
    /// Devices that have a license by it now.
    pub devices: u32,
    /// Transfers in the period that began last.
    pub transfers: u32,
    /// When that period began; absent where there was no transfer yet.
    pub transfers_since: Option<Timestamp>,
    /// When it runs out; absent where it never does.
    pub expires_at: Option<Timestamp>,
    /// Since when.
    pub created_at: Timestamp,
}

impl EntitlementRow {
    /// Whether it allows anything at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.active && self.expires_at.is_none_or(|end| end > now)
    }
}

impl FromRow for EntitlementRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            entitlement: row.column()?,
            order: row.column()?,
            title: row.column()?,
            active: row.column::<String>()? == "active",
            policy: row.column()?,
            devices: row.column()?,
            transfers: row.column()?,
            transfers_since: row.column()?,
            expires_at: row.column()?,
            created_at: row.column()?,
        })
    }
}

impl From<&EntitlementRow> for Places {
    fn from(row: &EntitlementRow) -> Self {
        Self { entitlement: row.entitlement, used: row.devices, allowed: row.policy.devices, expires_at: row.expires_at }
    }
}

/// Keeps a new entitlement, with one device in use and no transfer.
///
/// # Errors
/// A failure of the database.
pub async fn insert(
    tx: &mut Tx,
    user: UserId,
    (entitlement, order): (EntitlementId, OrderId),
    title: &TitleId,
    policy: &Policy,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO entitlement (user_id, entitlement_id, source, order_id, title_id, state, policy, devices, transfers, expires_at, created_at)
         VALUES ($1, $2, 'order', $3, $4, 'active', $5, 1, 0, $6, $7)",
    )
    .bind(user.to_string())
    .bind(entitlement.to_string())
    .bind(order.to_string())
    .bind(title.as_str())
    .bind(serde_json::to_string(policy).expect("terms are numbers and texts"))
    .bind(expires_at.map(|end| end.0))
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// One of the user's entitlements that came from no medium, ended or not.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, entitlement: EntitlementId) -> Result<Option<EntitlementRow>, DbError> {
    tx.query(
        "SELECT entitlement_id, order_id, title_id, state, policy, devices, transfers, transfers_since, expires_at, created_at
         FROM entitlement WHERE user_id = $1 AND entitlement_id = $2 AND source <> 'medium'",
    )
    .bind(user.to_string())
    .bind(entitlement.to_string())
    .opt()
    .await
}

/// The user's entitlements to a title that came from no medium and were not ended, newest first. Some may have run out.
///
/// # Errors
/// A failure of the database.
pub async fn active(tx: &mut Tx, user: UserId, title: &TitleId) -> Result<Vec<EntitlementRow>, DbError> {
    tx.query(
        "SELECT entitlement_id, order_id, title_id, state, policy, devices, transfers, transfers_since, expires_at, created_at
         FROM entitlement WHERE user_id = $1 AND title_id = $2 AND source <> 'medium' AND state = 'active'
         ORDER BY created_at DESC, entitlement_id LIMIT $3",
    )
    .bind(user.to_string())
    .bind(title.as_str())
    .bind(MOST)
    .all()
    .await
}

/// Takes a place for one more device; false where all places that the terms allow are taken, or the entitlement has ended or run out.
///
/// # Errors
/// A failure of the database.
pub async fn take_place(tx: &mut Tx, user: UserId, entitlement: EntitlementId, allowed: u32, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE entitlement SET devices = devices + 1 WHERE user_id = $1 AND entitlement_id = $2 AND state = 'active'
             AND devices < $3 AND (expires_at IS NULL OR expires_at > $4)",
        )
        .bind(user.to_string())
        .bind(entitlement.to_string())
        .bind(allowed)
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Gives a place back, because the license of a device has ended; false where there is none in use.
///
/// # Errors
/// A failure of the database.
pub async fn free_place(tx: &mut Tx, user: UserId, entitlement: EntitlementId) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE entitlement SET devices = devices - 1 WHERE user_id = $1 AND entitlement_id = $2 AND devices > 0")
        .bind(user.to_string())
        .bind(entitlement.to_string())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Counts a transfer (D8), in the period that runs or in a new one; false where the terms allow no more, or the entitlement has ended or
/// run out. A period begins with its first transfer and lasts `period` milliseconds.
///
/// # Errors
/// A failure of the database.
pub async fn count_transfer(
    tx: &mut Tx,
    user: UserId,
    entitlement: EntitlementId,
    allowed: u32,
    period: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE entitlement SET transfers = CASE WHEN transfers_since > $4 THEN transfers + 1 ELSE 1 END,
                 transfers_since = CASE WHEN transfers_since > $4 THEN transfers_since ELSE $5 END
             WHERE user_id = $1 AND entitlement_id = $2 AND state = 'active' AND (expires_at IS NULL OR expires_at > $5)
               AND CASE WHEN transfers_since > $4 THEN transfers ELSE 0 END < $3",
        )
        .bind(user.to_string())
        .bind(entitlement.to_string())
        .bind(allowed)
        .bind(now.0.saturating_sub(period))
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Ends an entitlement, with every place of it; false where it has ended before.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, user: UserId, entitlement: EntitlementId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE entitlement SET state = 'ended', devices = 0, ended_at = $3
             WHERE user_id = $1 AND entitlement_id = $2 AND source <> 'medium' AND state = 'active'",
        )
        .bind(user.to_string())
        .bind(entitlement.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// What a user holds from media, by medium and grant, after `after`.
///
/// # Errors
/// A failure of the database.
pub async fn of_media(
    tx: &mut Tx,
    user: UserId,
    after: Option<&(MediumId, GrantId)>,
    limit: i64,
) -> Result<Vec<(MediumId, GrantId)>, DbError> {
    tx.query(
        "SELECT medium_id, entitlement_id FROM entitlement
         WHERE user_id = $1 AND source = 'medium' AND state = 'active'
           AND (medium_id > $2 OR (medium_id = $2 AND entitlement_id > $3))
         ORDER BY medium_id, entitlement_id LIMIT $4",
    )
    .bind(user.to_string())
    .bind(after.map_or("", |(medium, _)| medium.as_str()))
    .bind(after.map(|(_, grant)| grant.to_string()).unwrap_or_default())
    .bind(limit)
    .all()
    .await
}
