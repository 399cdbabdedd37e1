//! What people do with their accounts in a browser: sign up, sign in, look after what keeps others out, and get in again.

use counterfoil_core::{Timestamp, UserId};
use serde_json::json;

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::KeysError;
use crate::problem::Problem;
use crate::store::account::{self, AccountRow, Email};
use crate::store::{audit, user};

pub mod between;
pub mod change;
pub mod codes;
pub mod passkeys;
pub mod password;
pub mod recover;
pub mod sessions;
pub mod sign_in;
pub mod sign_up;

/// Attempts that are looked at before nobody is let in for a while.
const ATTEMPTS: i64 = 10;
/// How long that is.
const LOCKED: i64 = 15 * 60 * 1000;

/// Why somebody was not let in, or something was not changed. What a person is told names no fact about another's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Sign-in: address or password, or too many attempts: nobody is told which.
    #[error("E-mail address or password is wrong. After ten attempts, nobody is let in for fifteen minutes.")]
    SignIn,
    /// The second step.
    #[error("The code is wrong, or was used before. After ten attempts, nobody is let in for fifteen minutes.")]
    Code,
    /// The form of the second step lay around for too long.
    #[error("That took too long. Sign in again.")]
    TooLate,
    /// A change that asks for the password.
    #[error("The password is wrong. After ten attempts, nobody is let in for fifteen minutes.")]
    Password,
    /// Sign-up: no such user, or one with an account.
    #[error(
        "There is no user of this ID who could still make an account. It is on the shop's receipt, and `counterfoil register` has shown it."
    )]
    User,
    /// Sign-up and change of address.
    #[error("This e-mail address cannot be used here.")]
    Address,
    /// What was typed is no address.
    #[error("This is no e-mail address.")]
    NoAddress,
    /// A new password that is too short or too long.
    #[error("A password has 10 to 256 characters.")]
    PasswordLength,
    /// A new password that everybody tries first.
    #[error("This password is one of the first that others would try. Take another.")]
    PasswordCommon,
    /// A link from a mail.
    #[error("This link is not good any more. Each is good once, for a while; ask for a new one.")]
    Link,
    /// A recovery code for a forgotten password.
    #[error("E-mail address or recovery code is wrong, or the code was used before.")]
    Recovery,
    /// A passkey.
    #[error("The passkey was not accepted.")]
    Passkey,
    /// Staff who have a passkey and no codes: the password alone is not enough.
    #[error("The password is not enough here. Sign in with your passkey.")]
    PasskeyOnly,
    /// A passkey that is kept already.
    #[error("This passkey is kept already.")]
    PasskeyKept,
    /// A name for a passkey.
    #[error("A name has 1 to 60 characters.")]
    Name,
    /// Staff would be left with a password alone.
    #[error("This is the only second step that you have. Set up another one before you remove it.")]
    OnlyStep,
}

/// Not done.
#[derive(Debug)]
pub enum Denied {
    /// By what was given.
    Why(Why),
    /// By something else.
    Problem(Problem),
}

impl From<Why> for Denied {
    fn from(why: Why) -> Self {
        Self::Why(why)
    }
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<DbError> for Denied {
    fn from(error: DbError) -> Self {
        Self::Problem(error.into())
    }
}

impl From<KeysError> for Denied {
    fn from(error: KeysError) -> Self {
        Self::Problem(error.into())
    }
}

/// The account that somebody signs in to by an address: found only while the account still has that address.
async fn by_email(app: &App, email: Email) -> Result<Option<(UserId, AccountRow)>, DbError> {
    app.db
        .read("find account", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(named) = account::name(tx, &email.family()).await? else { return Ok(None) };
            let found = account::find(tx, named.user).await?;
            Ok(found.filter(|found| found.email == email.as_str()).map(|found| (named.user, found)))
        })
        .await
}

/// Counts an attempt before it is looked at; false: it is not, because there were too many.
async fn attempt(app: &App, user: UserId, now: Timestamp) -> Result<bool, DbError> {
    let until = Timestamp(now.0 + LOCKED);
    let counted = async move |tx: &mut Tx| account::count_attempt(tx, user, ATTEMPTS, now, until).await;
    let counted: bool = app.db.write("count attempt", user::family(user), counted).await?;
    if !counted {
        metrics::counter!("counterfoil_sign_ins_locked_total").increment(1);
    }
    Ok(counted)
}

/// Writes down that an attempt failed: at most as many as are looked at.
async fn note_failure(app: &App, user: UserId, event: &'static str, now: Timestamp) -> Result<(), DbError> {
    app.db
        .write("note failure", user::family(user), async move |tx: &mut Tx| {
            audit::append(tx, &user::family(user), now.0, "/web", event, &json!({})).await.map(drop)
        })
        .await
}

/// Looks at the password of somebody who is signed in, for what asks for it again.
async fn ask_password(app: &App, user: UserId, given: &password::Given, now: Timestamp) -> Result<AccountRow, Denied> {
    if !attempt(app, user, now).await? {
        return Err(Why::Password.into());
    }
    let found = app.db.read("account", async move |tx: &mut Tx| account::find(tx, user).await).await?;
    let found = found.ok_or(Why::Password)?;
    if !password::verify(found.password.clone(), given.clone()).await? {
        note_failure(app, user, "account.password_refused", now).await?;
        return Err(Why::Password.into());
    }
    Ok(found)
}
