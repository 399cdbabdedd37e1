//! Accounts (C16): who is charged, how they get in, and which cards have signed for them. Everything of one hangs from its ID.

use counterfoil_core::{AccountId, CardId, Timestamp};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::secret::{Random, Secret};
use zeroize::Zeroizing;

use crate::db::{DbError, FromRow, Row, Tx};

const HASH: &str = "counterfoil 2026-11 hash of an account's token at a gateway";
const PREFIX: &str = "cga_";
const FORM: &str = "counterfoil 2026-11 token of the forms of a browser at a gateway";
/// How long a terminal's token is good after it was used last.
pub const LIFE: i64 = 90 * Timestamp::DAY;
/// The same of a browser's.
pub const BROWSER_LIFE: i64 = 30 * Timestamp::DAY;
/// How exact `last_used_at` is kept: not every request writes.
const USED: i64 = 60 * 60 * 1000;
/// Tokens that one account has at most: with one more the one that was used longest ago ends.
const MOST: i64 = 50;

/// The family of an account's rows.
pub fn family(account: AccountId) -> String {
    account.to_string()
}

/// What people sign in with: 3 to 60 of `a-z 0-9 . _ - @`, in lower case, so that two names that look alike are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// Reads what was typed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '@');
        ((3..=60).contains(&text.len()) && text.chars().all(good)).then_some(Self(text))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a terminal holds instead of the password: `cga_<secret>`. It has no way to print itself but [`Token::reveal`].
#[derive(Clone)]
pub struct Token(Secret<32>);

impl Token {
    /// Draws a new one.
    pub fn generate(random: &mut dyn Random) -> Self {
        Self(Secret::random(random))
    }

    /// Reads what is presented.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Zeroizing::new(from_base64url(text.strip_prefix(PREFIX)?)?);
        Secret::from_slice(&secret).map(Self)
    }

    /// As the terminal keeps it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", to_base64url(self.0.expose()))
    }

    /// What is kept here. The secret is random, so that a plain hash cannot be reversed by guessing.
    pub fn hash(&self) -> [u8; 32] {
        blake3::derive_key(HASH, self.0.expose())
    }

    /// What every form of the browser that holds it carries, so that no other page can send one.
    pub fn form(&self) -> String {
        to_base64url(&blake3::derive_key(FORM, self.0.expose())[..16])
    }
}

/// Who holds a token. One is not taken where the other is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A terminal, in place of the password.
    Terminal,
    /// A browser, as a cookie; what it calls itself.
    Browser(String),
}

impl Holder {
    /// How long a token is good after it was used last, in milliseconds.
    pub fn life(&self) -> i64 {
        match self {
            Self::Terminal => LIFE,
            Self::Browser(_) => BROWSER_LIFE,
        }
    }

    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Terminal => ("terminal", ""),
            Self::Browser(agent) => ("browser", agent),
        }
    }
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Which.
    pub id: AccountId,
    /// What they sign in with.
    pub name: String,
    /// Of the password, as argon2 writes it (PHC string).
    pub password: String,
    /// Where to reach them.
    pub email: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// Since when nobody gets in any more.
    pub closed_at: Option<Timestamp>,
}

impl FromRow for AccountRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            name: row.column()?,
            password: row.column()?,
            email: row.column()?,
            created_at: row.column()?,
            closed_at: row.column()?,
        })
    }
}

/// Makes an account; says whether the name is its own now, also where this call had made it before.
///
/// # Errors
/// A failure of the database.
pub async fn insert(
    tx: &mut Tx,
    account: AccountId,
    name: &Name,
    hash: &str,
    email: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    tx.query(
        "INSERT INTO account (account_id, name, password_hash, email, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING",
    )
    .bind(account.to_string())
    .bind(name.as_str())
    .bind(hash)
    .bind(email)
    .bind(now.0)
    .execute()
    .await?;
    Ok(by_name(tx, name).await?.is_some_and(|found| found.id == account))
}

/// The account of a name.
///
/// # Errors
/// A failure of the database.
pub async fn by_name(tx: &mut Tx, name: &Name) -> Result<Option<AccountRow>, DbError> {
    tx.query("SELECT account_id, name, password_hash, email, created_at, closed_at FROM account WHERE name = $1")
        .bind(name.as_str())
        .opt()
        .await
}

/// An account.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, account: AccountId) -> Result<Option<AccountRow>, DbError> {
    tx.query("SELECT account_id, name, password_hash, email, created_at, closed_at FROM account WHERE account_id = $1")
        .bind(account.to_string())
        .opt()
        .await
}

/// Accounts behind a name, by name.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<AccountRow>, DbError> {
    tx.query("SELECT account_id, name, password_hash, email, created_at, closed_at FROM account WHERE name > $1 ORDER BY name LIMIT $2")
        .bind(after)
        .bind(limit)
        .all()
        .await
}

/// Counts an attempt before it is looked at, so that however many come at once, no more than `most` are looked at; then nobody is let in
/// until `until`. False: this one is not looked at.
///
/// # Errors
/// A failure of the database.
pub async fn count_attempt(tx: &mut Tx, account: AccountId, most: i64, now: Timestamp, until: Timestamp) -> Result<bool, DbError> {
    let counted = tx
        .query(
            "UPDATE account SET failures = CASE WHEN locked_until IS NULL THEN failures + 1 ELSE 1 END,
                 locked_until = CASE WHEN locked_until IS NULL AND failures + 1 >= $2 THEN CAST($4 AS BIGINT) ELSE NULL END
             WHERE account_id = $1 AND (locked_until IS NULL OR locked_until <= $3)",
        )
        .bind(account.to_string())
        .bind(most)
        .bind(now.0)
        .bind(until.0)
        .execute()
        .await?;
    Ok(counted == 1)
}

/// Forgets the attempts before this one, which succeeded; false where the account was closed meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn forget_attempts(tx: &mut Tx, account: AccountId) -> Result<bool, DbError> {
    let sql = "UPDATE account SET failures = 0, locked_until = NULL WHERE account_id = $1 AND closed_at IS NULL";
    Ok(tx.query(sql).bind(account.to_string()).execute().await? == 1)
}

/// Closes an account and ends its tokens; false where it was closed before, or never was.
///
/// # Errors
/// A failure of the database.
pub async fn close(tx: &mut Tx, account: AccountId, now: Timestamp) -> Result<bool, DbError> {
    let sql = "UPDATE account SET closed_at = $2 WHERE account_id = $1 AND closed_at IS NULL";
    let closed = tx.query(sql).bind(account.to_string()).bind(now.0).execute().await? == 1;
    tx.query("DELETE FROM account_token WHERE account_id = $1").bind(account.to_string()).execute().await?;
    Ok(closed)
}

/// Lets a terminal or a browser in for as long as it comes back.
///
/// # Errors
/// A failure of the database.
pub async fn insert_token(tx: &mut Tx, account: AccountId, hash: &[u8; 32], holder: &Holder, now: Timestamp) -> Result<(), DbError> {
    let (kind, agent) = holder.columns();
    tx.query(
        "INSERT INTO account_token (account_id, hash, kind, agent, created_at, last_used_at, expires_at) VALUES ($1, $2, $5, $6, $3, $3, $4)
         ON CONFLICT (account_id, hash) DO NOTHING",
    )
    .bind(account.to_string())
    .bind(hash)
    .bind(now.0)
    .bind(now.0 + holder.life())
    .bind(kind)
    .bind(agent)
    .execute()
    .await?;
    tx.query(
        "DELETE FROM account_token WHERE account_id = $1 AND hash NOT IN
           (SELECT hash FROM account_token WHERE account_id = $1 ORDER BY last_used_at DESC, hash LIMIT $2)",
    )
    .bind(account.to_string())
    .bind(MOST)
    .execute()
    .await?;
    Ok(())
}

/// A token, as kept.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// Whose.
    pub account: AccountId,
    /// Of its secret.
    pub hash: [u8; 32],
    /// Who holds it.
    pub holder: Holder,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to an hour.
    pub used_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

impl TokenRow {
    /// Whether its use should be noted.
    pub fn stale(&self, now: Timestamp) -> bool {
        now.0 - self.used_at.0 > USED
    }
}

impl FromRow for TokenRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, hash, kind, agent): (_, _, String, _) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let holder = if kind == "browser" { Holder::Browser(agent) } else { Holder::Terminal };
        Ok(Self { account, hash, holder, created_at: row.column()?, used_at: row.column()?, expires_at: row.column()? })
    }
}

/// The token of this hash.
///
/// # Errors
/// A failure of the database.
pub async fn token(tx: &mut Tx, hash: &[u8; 32]) -> Result<Option<TokenRow>, DbError> {
    let sql = "SELECT account_id, hash, kind, agent, created_at, last_used_at, expires_at FROM account_token WHERE hash = $1";
    tx.query(sql).bind(hash).opt().await
}

/// All tokens of an account that are good, the one that was used last first.
///
/// # Errors
/// A failure of the database.
pub async fn tokens(tx: &mut Tx, account: AccountId, now: Timestamp) -> Result<Vec<TokenRow>, DbError> {
    let sql = "SELECT account_id, hash, kind, agent, created_at, last_used_at, expires_at FROM account_token
               WHERE account_id = $1 AND expires_at > $2 ORDER BY last_used_at DESC, hash";
    tx.query(sql).bind(account.to_string()).bind(now.0).all().await
}

/// Notes that a token was used: it is good for as long again.
///
/// # Errors
/// A failure of the database.
pub async fn touch_token(tx: &mut Tx, account: AccountId, hash: &[u8; 32], life: i64, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE account_token SET last_used_at = $3, expires_at = $4 WHERE account_id = $1 AND hash = $2";
    tx.query(sql).bind(account.to_string()).bind(hash).bind(now.0).bind(now.0 + life).execute().await.map(drop)
}

/// Ends a token.
///
/// # Errors
/// A failure of the database.
pub async fn delete_token(tx: &mut Tx, account: AccountId, hash: &[u8; 32]) -> Result<(), DbError> {
    let sql = "DELETE FROM account_token WHERE account_id = $1 AND hash = $2";
    tx.query(sql).bind(account.to_string()).bind(hash).execute().await.map(drop)
}

/// Notes a card that was named beside an exchange that is charged.
///
/// # Errors
/// A failure of the database.
pub async fn note_card(tx: &mut Tx, account: AccountId, card: CardId, now: Timestamp) -> Result<(), DbError> {
    let sql = "INSERT INTO account_card (account_id, card_id, first_at) VALUES ($1, $2, $3) ON CONFLICT (account_id, card_id) DO NOTHING";
    tx.query(sql).bind(account.to_string()).bind(card.to_string()).bind(now.0).execute().await.map(drop)
}

/// The cards that have signed for an account.
///
/// # Errors
/// A failure of the database.
pub async fn cards(tx: &mut Tx, account: AccountId) -> Result<Vec<(CardId, Timestamp)>, DbError> {
    let sql = "SELECT card_id, first_at FROM account_card WHERE account_id = $1 ORDER BY first_at, card_id LIMIT 1000";
    tx.query(sql).bind(account.to_string()).all().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::clock::Rng;

    #[test]
    fn names_are_plain_and_in_lower_case() {
        assert_eq!(Name::parse(" Ada@Example.org ").unwrap().as_str(), "ada@example.org");
        for bad in ["ab", "a b c", "ädä", "x/y", "<script>", &"a".repeat(61)] {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_read_as_it_was_shown() {
        let token = Token::generate(&mut Rng::seeded(1));
        assert_eq!(Token::parse(&token.reveal()).unwrap().hash(), token.hash());
        for bad in ["", "cga_", "cga_x", &token.reveal()[4..], &format!("{}A", token.reveal())] {
            assert!(Token::parse(bad).is_none(), "{bad}");
        }
    }
}
