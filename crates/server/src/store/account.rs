//! A person's account: the name that they sign in with, in a family of its own, and everything else in the user's family.

use counterfoil_core::{Timestamp, UserId};

use crate::db::{DbError, FromRow, Row, Tx};

/// Where somebody signs in. Each has names of its own, and sessions that are good nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Realm {
    /// `/account`: users, for their own things.
    Users,
    /// `/console`: who works for the operator or a publisher.
    Staff,
}

/// An e-mail address as people sign in with it: trimmed, lower case, something before and behind one `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    text: String,
    realm: Realm,
}

impl Email {
    /// Reads what a user typed; `None` is no address that mail can be sent to (RFC 5321 §4.5.3.1: at most 254 octets).
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_in(Realm::Users, text)
    }

    /// The same, of whoever signs in there.
    pub fn parse_in(realm: Realm, text: &str) -> Option<Self> {
        let text = text.trim().to_lowercase();
        let known: lettre::Address = text.parse().ok()?;
        (text.len() <= 254 && (known.domain().contains('.') || known.domain() == "localhost")).then_some(Self { text, realm })
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its family, and the row that it is found by: nobody who reads the table reads addresses. Whoever is both user and staff has two.
    pub fn family(&self) -> String {
        let prefix = match self.realm {
            Realm::Users => "",
            // No address holds a space.
            Realm::Staff => "staff ",
        };
        format!("/sign-in/{}", blake3::hash(format!("{prefix}{}", self.text).as_bytes()).to_hex())
    }
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRow {
    /// The user.
    pub user: UserId,
    /// Since when.
    pub created_at: Timestamp,
}

impl FromRow for NameRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { user: row.column()?, created_at: row.column()? })
    }
}

/// Whose name this is.
///
/// # Errors
/// A failure of the database.
pub async fn name(tx: &mut Tx, family: &str) -> Result<Option<NameRow>, DbError> {
    tx.query("SELECT user_id, created_at FROM sign_in_name WHERE name = $1").bind(family).opt().await
}

/// Takes a name that nobody has; says whether it is this user's now.
///
/// # Errors
/// A failure of the database.
pub async fn take_name(tx: &mut Tx, family: &str, user: UserId, now: Timestamp) -> Result<bool, DbError> {
    tx.query("INSERT INTO sign_in_name (name, user_id, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING")
        .bind(family)
        .bind(user.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(name(tx, family).await?.is_some_and(|row| row.user == user))
}

/// Gives up a name; says whether it was this user's.
///
/// # Errors
/// A failure of the database.
pub async fn release_name(tx: &mut Tx, family: &str, user: UserId) -> Result<bool, DbError> {
    let gone = tx.query("DELETE FROM sign_in_name WHERE name = $1 AND user_id = $2").bind(family).bind(user.to_string()).execute().await?;
    Ok(gone == 1)
}

/// An account.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// As it was typed, lower case.
    pub email: String,
    /// When the mail that was sent there was answered.
    pub confirmed_at: Option<Timestamp>,
    /// Of the password, as argon2 writes it (PHC string).
    pub password: Option<String>,
    /// The secret of one-time codes, wrapped; none: they are off.
    pub totp: Option<Vec<u8>>,
    /// Attempts that failed since the last that did not.
    pub failures: i64,
    /// Until when nobody is let in.
    pub locked_until: Option<Timestamp>,
    /// Sessions from before that are over.
    pub sessions_from: Timestamp,
    /// Since when.
    pub created_at: Timestamp,
}

impl FromRow for AccountRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            email: row.column()?,
            confirmed_at: row.column()?,
            password: row.column()?,
            totp: row.column()?,
            failures: row.column()?,
            locked_until: row.column()?,
            sessions_from: row.column()?,
            created_at: row.column()?,
        })
    }
}

/// The account of a user.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<AccountRow>, DbError> {
    tx.query(
        "SELECT email, confirmed_at, password, totp, failures, locked_until, sessions_from, created_at FROM account WHERE user_id = $1",
    )
    .bind(user.to_string())
    .opt()
    .await
}

/// Whether there is such a user: whom the shop has written down, or who is registered.
///
/// # Errors
/// A failure of the database.
pub async fn user_exists(tx: &mut Tx, user: UserId) -> Result<bool, DbError> {
    let (known,): (i64,) = tx
        .query("SELECT (SELECT count(*) FROM user_info WHERE user_id = $1) + (SELECT count(*) FROM user_entry WHERE user_id = $1)")
        .bind(user.to_string())
        .one()
        .await?;
    Ok(known > 0)
}

/// Makes the account; false where the user has one.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, email: &Email, password: &str, now: Timestamp) -> Result<bool, DbError> {
    let made = tx
        .query(
            "INSERT INTO account (user_id, email, password, failures, sessions_from, created_at) VALUES ($1, $2, $3, 0, $4, $4)
             ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(email.as_str())
        .bind(password)
        .bind(now.0)
        .execute()
        .await?;
    Ok(made == 1)
}

/// Counts an attempt before it is looked at, so that however many come at once, no more than `most` are looked at; then nobody is let in
/// until `until`. False: this one is not looked at.
///
/// # Errors
/// A failure of the database.
pub async fn count_attempt(tx: &mut Tx, user: UserId, most: i64, now: Timestamp, until: Timestamp) -> Result<bool, DbError> {
    let counted = tx
        .query(
            "UPDATE account SET failures = CASE WHEN locked_until IS NULL THEN failures + 1 ELSE 1 END,
                 locked_until = CASE WHEN locked_until IS NULL AND failures + 1 >= $2 THEN CAST($4 AS BIGINT) ELSE NULL END
             WHERE user_id = $1 AND (locked_until IS NULL OR locked_until <= $3)",
        )
        .bind(user.to_string())
        .bind(most)
        .bind(now.0)
        .bind(until.0)
        .execute()
        .await?;
    Ok(counted == 1)
}

/// Forgets the attempts before this one, which succeeded; false where the password was changed meanwhile.
///
/// # Errors
/// A failure of the database.
pub async fn forget_attempts(tx: &mut Tx, user: UserId, password: Option<&str>) -> Result<bool, DbError> {
    let forgotten = tx
        .query(
            "UPDATE account SET failures = 0, locked_until = NULL
             WHERE user_id = $1 AND COALESCE(password, '') = COALESCE(CAST($2 AS TEXT), '')",
        )
        .bind(user.to_string())
        .bind(password)
        .execute()
        .await?;
    Ok(forgotten == 1)
}

/// Another password, and no session from before `now` any more. Guarded by the old one where that was asked for.
///
/// # Errors
/// A failure of the database.
pub async fn set_password(tx: &mut Tx, user: UserId, old: Option<&str>, new: &str, now: Timestamp) -> Result<bool, DbError> {
    let set = tx
        .query(
            "UPDATE account SET password = $3, sessions_from = $4, failures = 0, locked_until = NULL
             WHERE user_id = $1 AND (CAST($2 AS TEXT) IS NULL OR password = $2)",
        )
        .bind(user.to_string())
        .bind(old)
        .bind(new)
        .bind(now.0)
        .execute()
        .await?;
    Ok(set == 1)
}

/// Another address.
///
/// # Errors
/// A failure of the database.
pub async fn set_email(tx: &mut Tx, user: UserId, email: &Email, confirmed_at: Option<Timestamp>) -> Result<bool, DbError> {
    let set = tx
        .query("UPDATE account SET email = $2, confirmed_at = $3 WHERE user_id = $1")
        .bind(user.to_string())
        .bind(email.as_str())
        .bind(confirmed_at.map(|at| at.0))
        .execute()
        .await?;
    Ok(set == 1)
}

/// The address is the person's.
///
/// # Errors
/// A failure of the database.
pub async fn confirm_email(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool, DbError> {
    let confirmed = tx
        .query("UPDATE account SET confirmed_at = $2 WHERE user_id = $1 AND confirmed_at IS NULL")
        .bind(user.to_string())
        .bind(now.0)
        .execute()
        .await?;
    Ok(confirmed == 1)
}

/// Turns one-time codes on with a wrapped secret, the step of the code that proved it being spent; or off.
///
/// # Errors
/// A failure of the database.
pub async fn set_totp(tx: &mut Tx, user: UserId, totp: Option<(&[u8], i64)>) -> Result<bool, DbError> {
    let set = tx
        .query("UPDATE account SET totp = $2, totp_step = $3 WHERE user_id = $1")
        .bind(user.to_string())
        .bind(totp.map(|(wrapped, _)| wrapped))
        .bind(totp.map(|(_, step)| step))
        .execute()
        .await?;
    Ok(set == 1)
}

/// Spends the code of a step; false where it, or a later one, was spent (RFC 6238 §5.2).
///
/// # Errors
/// A failure of the database.
pub async fn spend_step(tx: &mut Tx, user: UserId, step: i64) -> Result<bool, DbError> {
    let spent = tx
        .query("UPDATE account SET totp_step = $2 WHERE user_id = $1 AND totp IS NOT NULL AND (totp_step IS NULL OR totp_step < $2)")
        .bind(user.to_string())
        .bind(step)
        .execute()
        .await?;
    Ok(spent == 1)
}

/// Ends all sessions that began before `now`.
///
/// # Errors
/// A failure of the database.
pub async fn end_sessions(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<(), DbError> {
    tx.query("UPDATE account SET sessions_from = $2 WHERE user_id = $1 AND sessions_from < $2")
        .bind(user.to_string())
        .bind(now.0)
        .execute()
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Email, Realm};

    #[test]
    fn addresses_are_read_as_people_type_them() {
        for (typed, read) in
            [(" Ada@Example.ORG ", "ada@example.org"), ("a.b+c@mail.example", "a.b+c@mail.example"), ("x@localhost", "x@localhost")]
        {
            assert_eq!(Email::parse(typed).map(|email| email.as_str().to_owned()).as_deref(), Some(read), "{typed}");
        }
        for wrong in
            ["", "ada", "@example.org", "ada@", "a b@example.org", "ada@example", "ada@example.org\nBcc: x@y.example", "a@b@c.example"]
        {
            assert_eq!(Email::parse(wrong), None, "{wrong}");
        }
        let same = [Email::parse("ADA@example.org"), Email::parse("ada@example.org")];
        assert_eq!(same[0].as_ref().map(Email::family), same[1].as_ref().map(Email::family));
        let of_staff = Email::parse_in(Realm::Staff, "ada@example.org");
        assert_ne!(of_staff.as_ref().map(Email::family), same[0].as_ref().map(Email::family), "a name of staff is no user's");
    }
}
