//! Tickets: what a link in a mail carries. Each is good once, for a while, for one purpose.

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};

use crate::db::{DbError, Tx};

const HASH: &str = "counterfoil 2026-11 hash of a ticket";

/// A ticket as its link carries it: `<user ID>.<secret>`.
#[derive(Clone)]
pub struct Ticket {
    /// Whose.
    pub user: UserId,
    secret: Secret<32>,
}

impl Ticket {
    /// Draws a new one.
    pub fn generate(user: UserId, random: &mut dyn Random) -> Self {
        Self { user, secret: Secret::random(random) }
    }

    /// One whose secret was kept wrapped.
    pub fn of(user: UserId, secret: Secret<32>) -> Self {
        Self { user, secret }
    }

    /// Reads what a link carried.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, secret) = text.split_once('.')?;
        let secret = Secret::from_slice(&zeroize::Zeroizing::new(from_base64url(secret)?))?;
        Some(Self { user: user.parse().ok()?, secret })
    }

    /// As the link carries it.
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.user, to_base64url(self.secret.expose()))
    }

    /// To be wrapped, for the mail that waits.
    pub fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    fn hash(&self) -> [u8; 32] {
        blake3::derive_key(HASH, self.secret.expose())
    }
}

/// Keeps a ticket; those of the user that have expired go, and those of the same purpose: the newest link counts.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, ticket: &Ticket, purpose: &str, now: Timestamp, expires_at: Timestamp) -> Result<(), DbError> {
    tx.query("DELETE FROM ticket WHERE user_id = $1 AND (expires_at <= $2 OR purpose = $3)")
        .bind(ticket.user.to_string())
        .bind(now.0)
        .bind(purpose)
        .execute()
        .await?;
    tx.query("INSERT INTO ticket (user_id, hash, purpose, expires_at) VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, hash) DO NOTHING")
        .bind(ticket.user.to_string())
        .bind(ticket.hash())
        .bind(purpose)
        .bind(expires_at.0)
        .execute()
        .await
        .map(drop)
}

/// What a ticket is for, while it is good.
///
/// # Errors
/// A failure of the database.
pub async fn purpose(tx: &mut Tx, ticket: &Ticket, now: Timestamp) -> Result<Option<String>, DbError> {
    let found: Option<(String,)> = tx
        .query("SELECT purpose FROM ticket WHERE user_id = $1 AND hash = $2 AND expires_at > $3")
        .bind(ticket.user.to_string())
        .bind(ticket.hash())
        .bind(now.0)
        .opt()
        .await?;
    Ok(found.map(|(purpose,)| purpose))
}

/// Spends a ticket; false where it is none, or was spent, or has expired.
///
/// # Errors
/// A failure of the database.
pub async fn spend(tx: &mut Tx, ticket: &Ticket, purpose: &str, now: Timestamp) -> Result<bool, DbError> {
    let spent = tx
        .query("DELETE FROM ticket WHERE user_id = $1 AND hash = $2 AND purpose = $3 AND expires_at > $4")
        .bind(ticket.user.to_string())
        .bind(ticket.hash())
        .bind(purpose)
        .bind(now.0)
        .execute()
        .await?;
    Ok(spent == 1)
}

/// Ends all tickets of a user: after a change of password, no link from before it counts.
///
/// # Errors
/// A failure of the database.
pub async fn delete_all(tx: &mut Tx, user: UserId) -> Result<u64, DbError> {
    tx.query("DELETE FROM ticket WHERE user_id = $1").bind(user.to_string()).execute().await
}
