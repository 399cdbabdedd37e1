//! Devices as shop or user describe them (D1): announced, expected until they register, and retired when they are taken out.

use counterfoil_core::{DeviceId, LicenseId, Policy, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Devices of one user that are looked at; the policy bounds those in use far below.
const MOST: i64 = 1000;

/// What is said of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Which.
    pub device: DeviceId,
    /// Who made it.
    pub maker: Option<String>,
    /// Which model.
    pub model: Option<String>,
    /// What its user calls it.
    pub name: Option<String>,
}

/// A device of a user, be it in the entry, described, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What is said of it.
    pub described: Described,
    /// Whether it is in the user entry.
    pub registered: bool,
    /// When it was taken out, where it has not been announced since.
    pub retired_at: Option<Timestamp>,
    /// Since when it is in the entry, or announced.
    pub since: Timestamp,
}

impl DeviceInfo {
    /// Whether it may register with keys that nobody knows yet.
    pub fn is_expected(&self) -> bool {
        !self.registered && self.retired_at.is_none()
    }

    /// Whether it counts as one of the user's devices.
    pub fn is_current(&self) -> bool {
        self.registered || self.is_expected()
    }
}

impl FromRow for DeviceInfo {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let described = Described { device: row.column()?, maker: row.column()?, model: row.column()?, name: row.column()? };
        let registered = row.column::<i64>()? != 0;
        // What is registered is not retired, whatever was once said of it.
        let retired_at = row.column::<Option<Timestamp>>()?.filter(|_| !registered);
        Ok(Self { described, registered, retired_at, since: row.column()? })
    }
}

/// All devices of a user, first registered or announced first; retired ones as well.
///
/// # Errors
/// A failure of the database.
pub async fn all(tx: &mut Tx, user: UserId) -> Result<Vec<DeviceInfo>, DbError> {
    tx.query(
        "SELECT d.device_id, i.maker, i.model, COALESCE(d.name, i.name), 1, i.retired_at, d.created_at AS since
         FROM user_device d LEFT JOIN device_info i ON i.user_id = $1 AND i.device_id = d.device_id WHERE d.user_id = $1
         UNION ALL
         SELECT i.device_id, i.maker, i.model, i.name, 0, i.retired_at, i.created_at AS since
         FROM device_info i WHERE i.user_id = $1
           AND NOT EXISTS (SELECT 1 FROM user_device d WHERE d.user_id = $1 AND d.device_id = i.device_id)
         ORDER BY since, 1 LIMIT $2",
    )
    .bind(user.to_string())
    .bind(MOST)
    .all()
    .await
}

/// One of them.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Option<DeviceInfo>, DbError> {
    Ok(all(tx, user).await?.into_iter().find(|info| info.described.device == device))
}

/// Announces a device, or describes it anew: from now on it is expected, unless it is in the entry.
///
/// # Errors
/// A failure of the database.
pub async fn announce(tx: &mut Tx, user: UserId, described: &Described, actor: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO device_info (user_id, device_id, maker, model, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (user_id, device_id) DO UPDATE SET maker = COALESCE(excluded.maker, device_info.maker),
             model = COALESCE(excluded.model, device_info.model), name = COALESCE(excluded.name, device_info.name),
             created_by = excluded.created_by, created_at = excluded.created_at, retired_at = NULL",
    )
    .bind(user.to_string())
    .bind(described.device.to_string())
    .bind(described.maker.as_deref())
    .bind(described.model.as_deref())
    .bind(described.name.as_deref())
    .bind(actor)
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// Takes a device out of the entry (D10): it can neither run nor order nor come back until it is announced again. Says whether it was in.
///
/// # Errors
/// A failure of the database.
pub async fn retire(tx: &mut Tx, user: UserId, device: DeviceId, actor: &str, now: Timestamp) -> Result<bool, DbError> {
    let taken_out = tx
        .query("DELETE FROM user_device WHERE user_id = $1 AND device_id = $2")
        .bind(user.to_string())
        .bind(device.to_string())
        .execute()
        .await?;
    tx.query(
        "INSERT INTO device_info (user_id, device_id, created_by, created_at, retired_at) VALUES ($1, $2, $3, $4, $4)
         ON CONFLICT (user_id, device_id) DO UPDATE SET retired_at = excluded.retired_at",
    )
    .bind(user.to_string())
    .bind(device.to_string())
    .bind(actor)
    .bind(now.0)
    .execute()
    .await?;
    Ok(taken_out == 1)
}

/// A title that is licensed to one of a user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licensed {
    /// By which license.
    pub license: LicenseId,
    /// To which device.
    pub device: DeviceId,
    /// What.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// Whether its installation was confirmed.
    pub installed: bool,
    /// The terms that it was bought under.
    pub policy: Policy,
    /// Transfers in the period that began last.
    pub transfers: u32,
    /// When that period began.
    pub transfers_since: Option<Timestamp>,
    /// When it runs out; absent where it never does.
    pub expires_at: Option<Timestamp>,
}

impl FromRow for Licensed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            license: row.column()?,
            device: row.column()?,
            title: row.column()?,
            name: row.column()?,
            installed: row.column::<String>()? == "settled",
            policy: row.column()?,
            transfers: row.column()?,
            transfers_since: row.column()?,
            expires_at: row.column()?,
        })
    }
}

/// What is licensed to a user's devices, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn licensed(tx: &mut Tx, user: UserId) -> Result<Vec<Licensed>, DbError> {
    tx.query(
        "SELECT l.license_id, l.device_id, l.title_id, t.name, l.state, e.policy, e.transfers, e.transfers_since, e.expires_at
         FROM license l JOIN entitlement e ON e.user_id = l.user_id AND e.entitlement_id = l.entitlement_id
           JOIN title t ON t.title_id = l.title_id
         WHERE l.user_id = $1 AND l.state <> 'ended' ORDER BY l.created_at, l.license_id LIMIT $2",
    )
    .bind(user.to_string())
    .bind(MOST)
    .all()
    .await
}
