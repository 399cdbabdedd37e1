//! Sessions of people who are signed in: shown once as a cookie, kept as a hash.

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};

use super::account::Realm;
use crate::db::{DbError, FromRow, Row, Tx};

const HASH: &str = "counterfoil 2026-11 hash of a session";
const STAFF_HASH: &str = "counterfoil 2026-11 hash of a session of staff";
const ANSWERS: &str = "counterfoil 2026-11 recorded answers to a session's forms";
const FORM: &str = "counterfoil 2026-11 token of a session's forms";

/// How long a user's session is good.
pub const LIFE: i64 = 30 * Timestamp::DAY;
/// How long one of staff is good: a working day.
pub const STAFF_LIFE: i64 = 12 * 60 * 60 * 1000;
/// What the cookie of staff begins with: no user ID does.
const STAFF: &str = "staff.";
/// Sessions that one account has at most: with one more the oldest ends.
const MOST: i64 = 50;
/// How exact `used_at` is kept: not every request writes.
const USED: i64 = 5 * 60 * 1000;

/// A session as a browser presents it: `<user ID>.<session ID>.<secret>`, of staff behind `staff.`.
#[derive(Clone)]
pub struct Presented {
    /// Where it is good: elsewhere its cookie is not read, and its secret has another hash.
    pub realm: Realm,
    /// Whose.
    pub user: UserId,
    /// Which; no secret.
    pub id: String,
    secret: Secret<32>,
}

impl Presented {
    /// Draws a new one.
    pub fn generate(realm: Realm, user: UserId, random: &mut dyn Random) -> Self {
        let mut id = [0; 8];
        random.fill(&mut id);
        Self { realm, user, id: id.iter().map(|byte| format!("{byte:02x}")).collect(), secret: Secret::random(random) }
    }

    /// Reads a cookie.
    pub fn parse(realm: Realm, text: &str) -> Option<Self> {
        let text = match realm {
            Realm::Users => text,
            Realm::Staff => text.strip_prefix(STAFF)?,
        };
        let mut parts = text.split('.');
        let (user, id, secret) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let valid = parts.next().is_none() && id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let secret = Secret::from_slice(&zeroize::Zeroizing::new(from_base64url(secret)?))?;
        valid.then(|| Self { realm, user, id: id.to_owned(), secret })
    }

    /// As the cookie holds it.
    pub fn reveal(&self) -> String {
        let prefix = match self.realm {
            Realm::Users => "",
            Realm::Staff => STAFF,
        };
        format!("{prefix}{}.{}.{}", self.user, self.id, to_base64url(self.secret.expose()))
    }

    /// What is kept. The secret is random, so that a plain hash cannot be reversed by guessing.
    pub fn hash(&self) -> [u8; 32] {
        let context = match self.realm {
            Realm::Users => HASH,
            Realm::Staff => STAFF_HASH,
        };
        blake3::derive_key(context, self.secret.expose())
    }

    /// How long it is good, in milliseconds.
    pub fn life(&self) -> i64 {
        match self.realm {
            Realm::Users => LIFE,
            Realm::Staff => STAFF_LIFE,
        }
    }

    /// What answers to forms of this session are sealed under, where they are recorded.
    pub fn answers(&self) -> Secret<32> {
        Secret::new(blake3::derive_key(ANSWERS, self.secret.expose()))
    }

    /// What every form of this session carries, so that no other page can send one.
    pub fn form_token(&self) -> String {
        to_base64url(&blake3::derive_key(FORM, self.secret.expose())[..16])
    }

    /// Whether a form of this session was sent, in constant time.
    pub fn sent(&self, token: &str) -> bool {
        let (ours, theirs) = (blake3::hash(self.form_token().as_bytes()), blake3::hash(token.as_bytes()));
        // Hashes are compared in constant time.
        ours == theirs
    }
}

/// A session, as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Which.
    pub id: String,
    /// Of its secret.
    pub hash: [u8; 32],
    /// What the browser calls itself.
    pub agent: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to a few minutes.
    pub used_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

impl SessionRow {
    /// Whether it is good at `now`, of an account whose sessions begin at `from`.
    pub fn live(&self, from: Timestamp, now: Timestamp) -> bool {
        now < self.expires_at && from <= self.created_at
    }

    /// Whether its use should be noted.
    pub fn stale(&self, now: Timestamp) -> bool {
        now.0 - self.used_at.0 > USED
    }
}

impl FromRow for SessionRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            hash: row.column()?,
            agent: row.column()?,
            created_at: row.column()?,
            used_at: row.column()?,
            expires_at: row.column()?,
        })
    }
}

/// One session.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, id: &str) -> Result<Option<SessionRow>, DbError> {
    tx.query("SELECT session_id, hash, agent, created_at, used_at, expires_at FROM session WHERE user_id = $1 AND session_id = $2")
        .bind(user.to_string())
        .bind(id)
        .opt()
        .await
}

/// The sessions of a user, last used first.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, user: UserId) -> Result<Vec<SessionRow>, DbError> {
    tx.query(
        "SELECT session_id, hash, agent, created_at, used_at, expires_at FROM session WHERE user_id = $1
         ORDER BY used_at DESC, session_id LIMIT 100",
    )
    .bind(user.to_string())
    .all()
    .await
}

/// Begins a session; those that have expired go, and the oldest where there are too many.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, session: &Presented, agent: &str, now: Timestamp) -> Result<(), DbError> {
    let user = session.user.to_string();
    tx.query("DELETE FROM session WHERE user_id = $1 AND expires_at <= $2").bind(&user).bind(now.0).execute().await?;
    tx.query(
        "DELETE FROM session WHERE user_id = $1 AND session_id IN
         (SELECT o.session_id FROM session o WHERE o.user_id = $1 ORDER BY o.created_at DESC, o.session_id LIMIT 1000 OFFSET $2)",
    )
    .bind(&user)
    .bind(MOST - 1)
    .execute()
    .await?;
    tx.query(
        "INSERT INTO session (user_id, session_id, hash, agent, created_at, used_at, expires_at) VALUES ($1, $2, $3, $4, $5, $5, $6)
         ON CONFLICT (user_id, session_id) DO NOTHING",
    )
    .bind(&user)
    .bind(&session.id)
    .bind(session.hash())
    .bind(agent)
    .bind(now.0)
    .bind(now.0 + session.life())
    .execute()
    .await
    .map(drop)
}

/// Notes that a session was used.
///
/// # Errors
/// A failure of the database.
pub async fn touch(tx: &mut Tx, user: UserId, id: &str, now: Timestamp) -> Result<(), DbError> {
    tx.query("UPDATE session SET used_at = $3 WHERE user_id = $1 AND session_id = $2")
        .bind(user.to_string())
        .bind(id)
        .bind(now.0)
        .execute()
        .await
        .map(drop)
}

/// Ends a session; says whether there was one.
///
/// # Errors
/// A failure of the database.
pub async fn delete(tx: &mut Tx, user: UserId, id: &str) -> Result<bool, DbError> {
    let gone = tx.query("DELETE FROM session WHERE user_id = $1 AND session_id = $2").bind(user.to_string()).bind(id).execute().await?;
    Ok(gone == 1)
}

/// Ends all sessions of a user.
///
/// # Errors
/// A failure of the database.
pub async fn delete_all(tx: &mut Tx, user: UserId) -> Result<u64, DbError> {
    tx.query("DELETE FROM session WHERE user_id = $1").bind(user.to_string()).execute().await
}
