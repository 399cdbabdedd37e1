//! Licenses, in the user's family: a row that has not ended is the registration of user, device and title together (D5), and moves with
//! the license from device to device (D8).

use counterfoil_core::rules::license::{LicenseFacts, LicenseState};
use counterfoil_core::rules::transfer::Held;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{DeviceId, DriveId, EntitlementId, GrantId, HolderId, LicenseId, Policy, Timestamp, TitleId, TransactionId, UserId};

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

pub use steps::{choose, deliver, deliver_again, end, issue, leave_drive, move_to, rebind, renew, reopen, settle};

mod steps;

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT l.license_id, l.entitlement_id, l.title_id, l.device_id, l.state, l.transaction_id, l.moves, l.generation, l.grant_id,
                    l.holder_id, l.holder_kind, l.drive_id, l.library_key, l.issued_at, l.lease_until,
                    e.state, e.policy, e.expires_at, e.transfers, e.transfers_since, o.kind
             FROM license l JOIN entitlement e ON e.user_id = l.user_id AND e.entitlement_id = l.entitlement_id
             LEFT JOIN orders o ON o.user_id = e.user_id AND o.order_id = e.order_id ",
            $which
        )
    };
}

/// Licenses of one device, or of one entitlement, that are looked at.
const MOST: i64 = 1000;

impl FromValue for LicenseState {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        LicenseState::parse(&String::from_value(value)?).ok_or_else(|| "expected the state of a license".to_owned())
    }
}

/// A row of `license`, with the entitlement behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseRow {
    /// Which.
    pub license: LicenseId,
    /// By what right.
    pub entitlement: EntitlementId,
    /// Of what.
    pub title: TitleId,
    /// Where it is.
    pub device: DeviceId,
    /// Where it stands.
    pub state: LicenseState,
    /// The ticket that it is fetched with; it stays the same for good (D9).
    pub transaction: Option<TransactionId>,
    /// How often it was moved.
    pub moves: u32,
    /// Which of the title's content keys it opens.
    pub generation: Option<u32>,
    /// What it was fetched as, since it came to this device.
    pub grant: Option<LicenseGrant>,
    /// The latest moment that any device was told it may run it until, without asking again.
    pub runs_until: Option<Timestamp>,
    /// Whether the entitlement was not ended.
    pub active: bool,
    /// The terms that it was bought under.
    pub policy: Policy,
    /// When the entitlement runs out, if it does.
    pub expires_at: Option<Timestamp>,
    /// Transfers in the period that began last.
    pub transfers: u32,
    /// When that period began.
    pub transfers_since: Option<Timestamp>,
    /// Whether nobody paid for it.
    pub trial: bool,
}

/// One issuance of keys by a license.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseGrant {
    /// Which.
    pub grant: GrantId,
    /// Whom the keys are sealed to.
    pub holder: HolderId,
    /// What that is.
    pub holder_kind: HolderKind,
    /// The drive that it is bound to, where the entry has one.
    pub drive: Option<DriveId>,
    /// Wrapped.
    pub library_key: Vec<u8>,
    /// When.
    pub issued_at: Timestamp,
}

impl FromRow for LicenseRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            license: row.column()?,
            entitlement: row.column()?,
            title: row.column()?,
            device: row.column()?,
            state: row.column()?,
            transaction: row.column()?,
            moves: row.column()?,
            generation: row.column()?,
            grant: {
                let (grant, holder): (Option<GrantId>, Option<HolderId>) = (row.column()?, row.column()?);
                let (kind, drive): (Option<HolderKind>, Option<DriveId>) = (row.column()?, row.column()?);
                let (key, issued): (Option<Vec<u8>>, Option<Timestamp>) = (row.column()?, row.column()?);
                match (grant, holder, kind, key, issued) {
                    (Some(grant), Some(holder), Some(holder_kind), Some(library_key), Some(issued_at)) => {
                        Some(LicenseGrant { grant, holder, holder_kind, drive, library_key, issued_at })
                    }
                    _ => None,
                }
            },
            runs_until: row.column()?,
            active: row.column::<String>()? == "active",
            policy: row.column()?,
            expires_at: row.column()?,
            transfers: row.column()?,
            transfers_since: row.column()?,
            trial: row.column::<Option<String>>()?.as_deref() == Some("trial"),
        })
    }
}

impl LicenseRow {
    /// What a request for it is decided on.
    pub fn facts(&self) -> LicenseFacts {
        LicenseFacts {
            license: self.license,
            device: self.device,
            state: self.state,
            grant: self.grant.as_ref().map(|grant| grant.grant),
            active: self.active,
            expires_at: self.expires_at,
            trial: self.trial,
        }
    }

    /// What its transfer to a device that holds `there` is decided on.
    pub fn held(&self, there: &[LicenseRow]) -> Held {
        Held {
            license: self.license,
            title: self.title.clone(),
            policy: self.policy.clone(),
            transfers: self.transfers,
            transfers_since: self.transfers_since,
            expires_at: self.expires_at,
            at_destination: there.iter().any(|other| other.entitlement == self.entitlement),
            fetched: self.grant.is_some(),
            runs_until: self.runs_until,
        }
    }
}

/// Registers user, device and title together (D5).
///
/// # Errors
/// `Constraint` where the device has a license by this entitlement already; a failure of the database.
pub async fn register(
    tx: &mut Tx,
    user: UserId,
    license: LicenseId,
    entitlement: EntitlementId,
    title: &TitleId,
    device: DeviceId,
    now: Timestamp,
) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at)
         VALUES ($1, $2, $3, $4, $5, 'registered', 0, $6)",
    )
    .bind(user.to_string())
    .bind(license.to_string())
    .bind(entitlement.to_string())
    .bind(title.as_str())
    .bind(device.to_string())
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}

/// One of the user's licenses, ended or not.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, license: LicenseId) -> Result<Option<LicenseRow>, DbError> {
    tx.query(select!("WHERE l.user_id = $1 AND l.license_id = $2")).bind(user.to_string()).bind(license.to_string()).opt().await
}

/// The license that is fetched with a transaction ID, ended or not.
///
/// # Errors
/// A failure of the database.
pub async fn of_transaction(tx: &mut Tx, user: UserId, transaction: TransactionId) -> Result<Option<LicenseRow>, DbError> {
    tx.query(select!("WHERE l.user_id = $1 AND l.transaction_id = $2")).bind(user.to_string()).bind(transaction.to_string()).opt().await
}

/// The licenses at a device that have not ended, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn at_device(tx: &mut Tx, user: UserId, device: DeviceId) -> Result<Vec<LicenseRow>, DbError> {
    tx.query(select!("WHERE l.user_id = $1 AND l.device_id = $2 AND l.state <> 'ended' ORDER BY l.created_at, l.license_id LIMIT $3"))
        .bind(user.to_string())
        .bind(device.to_string())
        .bind(MOST)
        .all()
        .await
}

/// The licenses by an entitlement that have not ended.
///
/// # Errors
/// A failure of the database.
pub async fn of_entitlement(tx: &mut Tx, user: UserId, entitlement: EntitlementId) -> Result<Vec<LicenseRow>, DbError> {
    tx.query(select!("WHERE l.user_id = $1 AND l.entitlement_id = $2 AND l.state <> 'ended' ORDER BY l.created_at, l.license_id LIMIT $3"))
        .bind(user.to_string())
        .bind(entitlement.to_string())
        .bind(MOST)
        .all()
        .await
}

/// The user's licenses whose keys are out, after `after` in the order of their IDs.
///
/// # Errors
/// A failure of the database.
pub async fn fetched(tx: &mut Tx, user: UserId, after: Option<LicenseId>, limit: i64) -> Result<Vec<LicenseRow>, DbError> {
    tx.query(select!(
        "WHERE l.user_id = $1 AND l.license_id > $2 AND l.grant_id IS NOT NULL AND l.state <> 'ended' ORDER BY l.license_id LIMIT $3"
    ))
    .bind(user.to_string())
    .bind(after.map(|license| license.to_string()).unwrap_or_default())
    .bind(limit)
    .all()
    .await
}
