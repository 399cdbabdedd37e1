//! Ways in that need no password: one-time links, and the sessions of whoever runs the gateway.

use counterfoil_core::{AccountId, Timestamp};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};
use zeroize::Zeroizing;

use crate::db::{DbError, Tx};

/// Family of what hangs from no account.
pub const FAMILY: &str = "/operator";
/// How long a link into the operator's pages is good.
pub const OPERATOR_LINK: i64 = 10 * 60 * 1000;
/// How long a link to a new password is good.
pub const PASSWORD_LINK: i64 = Timestamp::DAY;
/// How long the operator's session is good: a working day.
pub const SESSION: i64 = 12 * 60 * 60 * 1000;

const LINK: &str = "counterfoil 2026-11 hash of a one-time link of a gateway";
const OPERATOR: &str = "counterfoil 2026-11 hash of an operator's session at a gateway";
const FORM: &str = "counterfoil 2026-11 token of the forms of an operator's session at a gateway";

/// What a one-time link carries. It has no way to print itself but [`Link::reveal`].
#[derive(Clone)]
pub struct Link(Secret<32>);

impl Link {
    /// Draws a new one.
    pub fn generate(random: &mut dyn Random) -> Self {
        Self(Secret::random(random))
    }

    /// Reads what is presented.
    pub fn parse(text: &str) -> Option<Self> {
        Secret::from_slice(&Zeroizing::new(from_base64url(text)?)).map(Self)
    }

    /// As the link carries it.
    pub fn reveal(&self) -> String {
        to_base64url(self.0.expose())
    }

    fn hash(&self) -> [u8; 32] {
        blake3::derive_key(LINK, self.0.expose())
    }
}

/// What the operator's browser holds.
#[derive(Clone)]
pub struct Session(Secret<32>);

impl Session {
    /// Draws a new one.
    pub fn generate(random: &mut dyn Random) -> Self {
        Self(Secret::random(random))
    }

    /// Reads a cookie.
    pub fn parse(text: &str) -> Option<Self> {
        Secret::from_slice(&Zeroizing::new(from_base64url(text)?)).map(Self)
    }

    /// As the cookie holds it.
    pub fn reveal(&self) -> String {
        to_base64url(self.0.expose())
    }

    /// What every form of this session carries.
    pub fn form(&self) -> String {
        to_base64url(&blake3::derive_key(FORM, self.0.expose())[..16])
    }

    fn hash(&self) -> [u8; 32] {
        blake3::derive_key(OPERATOR, self.0.expose())
    }
}

/// Whether a form that carries `sent` is one of whoever's forms carry `ours`, in constant time.
pub fn is_form(ours: &str, sent: &str) -> bool {
    // Hashes are compared in constant time.
    blake3::hash(ours.as_bytes()) == blake3::hash(sent.as_bytes())
}

/// Keeps a link: into the operator's pages, or to a new password for an account, which has one at a time.
///
/// # Errors
/// A failure of the database.
pub async fn insert_link(tx: &mut Tx, link: &Link, account: Option<AccountId>, now: Timestamp) -> Result<(), DbError> {
    let (kind, life) = if account.is_some() { ("password", PASSWORD_LINK) } else { ("operator", OPERATOR_LINK) };
    tx.query("DELETE FROM link WHERE expires_at <= $1 OR account_id = $2")
        .bind(now.0)
        .bind(account.map(|account| account.to_string()))
        .execute()
        .await?;
    tx.query("INSERT INTO link (hash, kind, account_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (hash) DO NOTHING")
        .bind(link.hash())
        .bind(kind)
        .bind(account.map(|account| account.to_string()))
        .bind(now.0)
        .bind(now.0 + life)
        .execute()
        .await
        .map(drop)
}

/// Whose new password a link sets, while it is good.
///
/// # Errors
/// A failure of the database.
pub async fn password_link(tx: &mut Tx, link: &Link, now: Timestamp) -> Result<Option<AccountId>, DbError> {
    let sql = "SELECT account_id FROM link WHERE hash = $1 AND kind = 'password' AND expires_at > $2";
    Ok(tx.query(sql).bind(link.hash()).bind(now.0).opt::<(AccountId,)>().await?.map(|(account,)| account))
}

/// Whether a link leads into the operator's pages.
///
/// # Errors
/// A failure of the database.
pub async fn operator_link(tx: &mut Tx, link: &Link, now: Timestamp) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM link WHERE hash = $1 AND kind = 'operator' AND expires_at > $2";
    Ok(tx.query(sql).bind(link.hash()).bind(now.0).opt::<(i64,)>().await?.is_some())
}

/// Takes a link away, for good; false where somebody was faster, or it had ended.
///
/// # Errors
/// A failure of the database.
pub async fn use_link(tx: &mut Tx, link: &Link, kind: &'static str, now: Timestamp) -> Result<bool, DbError> {
    let sql = "DELETE FROM link WHERE hash = $1 AND kind = $2 AND expires_at > $3";
    Ok(tx.query(sql).bind(link.hash()).bind(kind).bind(now.0).execute().await? == 1)
}

/// Lets a browser in to the operator's pages, by a link, which is used up; false where it is not good.
///
/// # Errors
/// A failure of the database.
pub async fn enter(tx: &mut Tx, link: &Link, session: &Session, now: Timestamp) -> Result<bool, DbError> {
    if !use_link(tx, link, "operator", now).await? {
        return Ok(false);
    }
    tx.query("DELETE FROM operator_session WHERE expires_at <= $1").bind(now.0).execute().await?;
    tx.query("INSERT INTO operator_session (hash, created_at, expires_at) VALUES ($1, $2, $3)")
        .bind(session.hash())
        .bind(now.0)
        .bind(now.0 + SESSION)
        .execute()
        .await?;
    Ok(true)
}

/// Whether a session is good.
///
/// # Errors
/// A failure of the database.
pub async fn is_in(tx: &mut Tx, session: &Session, now: Timestamp) -> Result<bool, DbError> {
    let sql = "SELECT 1 FROM operator_session WHERE hash = $1 AND expires_at > $2";
    Ok(tx.query(sql).bind(session.hash()).bind(now.0).opt::<(i64,)>().await?.is_some())
}

/// Ends a session.
///
/// # Errors
/// A failure of the database.
pub async fn leave(tx: &mut Tx, session: &Session) -> Result<(), DbError> {
    tx.query("DELETE FROM operator_session WHERE hash = $1").bind(session.hash()).execute().await.map(drop)
}
