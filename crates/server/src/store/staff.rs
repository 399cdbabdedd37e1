//! Who works at the console: a role, and for whom. What they sign in with is their account, in the same family.

use counterfoil_core::{Timestamp, UserId};

use crate::auth::Role;
use crate::db::{DbError, FromRow, Row, Tx};

/// Somebody who works at the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffRow {
    /// Names account, sessions and passkeys; no user has it.
    pub id: UserId,
    /// What they may do.
    pub role: Role,
    /// For whom: a publisher's ID.
    pub tenant: Option<String>,
    /// What they are called.
    pub name: String,
    /// Who added them.
    pub created_by: String,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when no more.
    pub ended_at: Option<Timestamp>,
}

impl FromRow for StaffRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            role: row.column()?,
            tenant: row.column()?,
            name: row.column()?,
            created_by: row.column()?,
            created_at: row.column()?,
            ended_at: row.column()?,
        })
    }
}

/// Whoever has this ID, and has not ended.
///
/// # Errors
/// A failure of the database.
pub async fn live(tx: &mut Tx, id: UserId) -> Result<Option<StaffRow>, DbError> {
    Ok(find(tx, id).await?.filter(|row| row.ended_at.is_none()))
}

/// Whoever has this ID, or had it.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: UserId) -> Result<Option<StaffRow>, DbError> {
    tx.query("SELECT user_id, role, tenant, name, created_by, created_at, ended_at FROM staff WHERE user_id = $1")
        .bind(id.to_string())
        .opt()
        .await
}

/// Somebody in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Who.
    pub staff: StaffRow,
    /// What they sign in with, where they have set it up.
    pub email: Option<String>,
}

impl FromRow for Listed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { staff: StaffRow::from_row(row)?, email: row.column()? })
    }
}

/// Everybody, in the order of their IDs, those who have ended as well.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Listed>, DbError> {
    tx.query(
        "SELECT s.user_id, s.role, s.tenant, s.name, s.created_by, s.created_at, s.ended_at, a.email
         FROM staff s LEFT JOIN account a ON a.user_id = s.user_id WHERE s.user_id > $1 ORDER BY s.user_id LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// An operator who has not set up yet what they sign in with; and whether any has.
///
/// # Errors
/// A failure of the database.
pub async fn first_operator(tx: &mut Tx) -> Result<(Option<UserId>, bool), DbError> {
    let rows: Vec<(UserId, i64)> = tx
        .query(
            "SELECT s.user_id, CASE WHEN a.user_id IS NULL THEN 0 ELSE 1 END FROM staff s LEFT JOIN account a ON a.user_id = s.user_id
             WHERE s.role = 'operator' AND s.ended_at IS NULL ORDER BY s.created_at, s.user_id LIMIT 1000",
        )
        .all()
        .await?;
    Ok((rows.iter().find(|(_, set_up)| *set_up == 0).map(|(id, _)| *id), rows.iter().any(|(_, set_up)| *set_up != 0)))
}

/// Whether a link is good that lets this one set up their account.
///
/// # Errors
/// A failure of the database.
pub async fn has_link(tx: &mut Tx, id: UserId, purpose: &str, now: Timestamp) -> Result<bool, DbError> {
    let (links,): (i64,) = tx
        .query("SELECT count(*) FROM ticket WHERE user_id = $1 AND purpose = $2 AND expires_at > $3")
        .bind(id.to_string())
        .bind(purpose)
        .bind(now.0)
        .one()
        .await?;
    Ok(links > 0)
}

/// Adds somebody; false where the ID is taken.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, row: &StaffRow) -> Result<bool, DbError> {
    let made = tx
        .query(
            "INSERT INTO staff (user_id, role, tenant, name, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(row.id.to_string())
        .bind(row.role.as_str())
        .bind(row.tenant.as_deref())
        .bind(&row.name)
        .bind(&row.created_by)
        .bind(row.created_at.0)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Ends somebody's work here; says whether they had not ended.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool, DbError> {
    let ended = tx
        .query("UPDATE staff SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(ended == 1)
}

/// Makes their account, or puts other things to sign in with in the place of all that there were: password, codes, passkeys, sessions.
///
/// # Errors
/// A failure of the database.
pub async fn set_up(tx: &mut Tx, id: UserId, email: &str, password: &str, now: Timestamp) -> Result<(), DbError> {
    for sql in
        ["DELETE FROM passkey WHERE user_id = $1", "DELETE FROM session WHERE user_id = $1", "DELETE FROM recovery_code WHERE user_id = $1"]
    {
        tx.query(sql).bind(id.to_string()).execute().await?;
    }
    tx.query(
        "INSERT INTO account (user_id, email, password, failures, sessions_from, created_at) VALUES ($1, $2, $3, 0, $4, $4)
         ON CONFLICT (user_id) DO UPDATE SET email = excluded.email, password = excluded.password, totp = NULL, totp_step = NULL, failures = 0,
             locked_until = NULL, sessions_from = excluded.sessions_from",
    )
    .bind(id.to_string())
    .bind(email)
    .bind(password)
    .bind(now.0)
    .execute()
    .await
    .map(drop)
}
