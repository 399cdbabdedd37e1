//! A person makes an account for the user that they are: with an address, a password, and the user ID, which only they and the shop know.

use counterfoil_core::{Timestamp, UserId};
use serde_json::json;

use super::{Denied, Why, password};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::mail::{self, Letter, Post};
use crate::store::account::{self, Email, Realm};
use crate::store::recovery::{self, Code};
use crate::store::session::{self, Presented};
use crate::store::ticket::{self, Ticket};
use crate::store::{audit, user};

/// How long after it was taken a name without an account behind it is given to somebody else: longer than any sign-up takes.
const ABANDONED: i64 = 60 * 60 * 1000;

/// What a person gives.
pub struct Wanted {
    /// To sign in with.
    pub email: String,
    /// Too.
    pub password: password::Given,
    /// As the shop or the terminal showed it.
    pub user_id: String,
    /// What the browser calls itself.
    pub agent: String,
}

/// An account that was made.
#[derive(Clone)]
pub struct Made {
    /// Its first session.
    pub session: Presented,
    /// To be shown once.
    pub codes: Vec<Code>,
    /// Whether a mail was sent to confirm the address.
    pub mailed: bool,
}

/// Makes the account and signs in. First the name, in its own family; whoever is cut off after that does it again.
///
/// # Errors
/// `NoAddress`, `PasswordLength`, `PasswordCommon`, `User`, `Address`, or a problem.
pub async fn run(app: &App, wanted: Wanted, now: Timestamp) -> Result<Made, Denied> {
    let email = Email::parse(&wanted.email).ok_or(Why::NoAddress)?;
    password::check(&wanted.password, email.as_str())?;
    let user: UserId = wanted.user_id.parse().map_err(|_| Why::User)?;
    let free = app
        .db
        .read("user without account", async move |tx: &mut Tx| -> Result<bool, DbError> {
            Ok(account::user_exists(tx, user).await? && account::find(tx, user).await?.is_none())
        })
        .await?;
    if !free {
        return Err(Why::User.into());
    }
    let hash = password::hash(wanted.password, &app.rng).await?;
    take_name(app, &email, user, now).await?;
    let made = Made {
        session: Presented::generate(Realm::Users, user, &mut app.rng.clone()),
        codes: (0..recovery::COUNT).map(|_| Code::generate(&mut app.rng.clone())).collect(),
        mailed: app.config.mail.is_on(),
    };
    write(app, made, &email, hash, wanted.agent, now).await
}

/// Takes a name, or one that somebody gave up half way.
///
/// # Errors
/// `Address`: it is another's.
pub(in crate::actions) async fn take_name(app: &App, email: &Email, user: UserId, now: Timestamp) -> Result<(), Denied> {
    let family = email.family();
    let there = family.clone();
    let named = app.db.read("find name", async move |tx: &mut Tx| account::name(tx, &there).await).await?;
    if let Some(named) = named.filter(|named| named.user != user) {
        let (other, text) = (named.user, email.as_str().to_owned());
        let used = app.db.read("whose name", async move |tx: &mut Tx| account::find(tx, other).await).await?;
        if used.is_some_and(|used| used.email == text) || now.0 - named.created_at.0 < ABANDONED {
            return Err(Why::Address.into());
        }
        release_name(app, email, other, now).await?;
    }
    let key = family.clone();
    let taken = app
        .db
        .write("take name", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
            if account::name(tx, &key).await?.is_some_and(|named| named.user == user) {
                return Ok(true);
            }
            if !account::take_name(tx, &key, user, now).await? {
                return Ok(false);
            }
            audit::append(tx, &key, now.0, "/web", "sign_in_name.taken", &json!({})).await?;
            Ok(true)
        })
        .await?;
    if taken { Ok(()) } else { Err(Why::Address.into()) }
}

/// Gives a name up.
///
/// # Errors
/// A failure of the database.
pub(in crate::actions) async fn release_name(app: &App, email: &Email, user: UserId, now: Timestamp) -> Result<(), DbError> {
    let family = email.family();
    app.db
        .write("release name", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            if account::release_name(tx, &family, user).await? {
                audit::append(tx, &family, now.0, "/web", "sign_in_name.released", &json!({})).await?;
            }
            Ok(())
        })
        .await
}

async fn write(app: &App, made: Made, email: &Email, hash: String, agent: String, now: Timestamp) -> Result<Made, Denied> {
    let user = made.session.user;
    let (post, ticket) = (Post::of(app), Ticket::generate(user, &mut app.rng.clone()));
    let (given, address) = (made.clone(), email.clone());
    let done = app
        .db
        .write("sign up", user::family(user), async move |tx: &mut Tx| -> Result<bool, Denied> {
            if !account::insert(tx, user, &address, &hash, now).await? {
                // Run again because the answer of its COMMIT was lost, it finds its own row: no other has this salt.
                return Ok(account::find(tx, user).await?.is_some_and(|found| found.password.as_deref() == Some(&hash)));
            }
            recovery::replace(tx, user, &given.codes).await?;
            session::insert(tx, &given.session, &agent, now).await?;
            if given.mailed {
                let letter = Letter::Confirm;
                ticket::insert(tx, &ticket, "confirm", now, Timestamp(now.0 + letter.link_life().unwrap_or(0))).await?;
                mail::enqueue(tx, &post, user, address.as_str(), letter, Some(&ticket), now).await?;
            }
            audit::append(tx, &user::family(user), now.0, "/web", "account.made", &json!({ "session": given.session.id })).await?;
            Ok(true)
        })
        .await?;
    if !done {
        // Two signed up for one user at once, with different names: this one was second.
        let text = email.as_str().to_owned();
        let kept = app.db.read("account", async move |tx: &mut Tx| account::find(tx, user).await).await?;
        if kept.is_none_or(|kept| kept.email != text) {
            release_name(app, email, user, now).await?;
        }
        return Err(Why::User.into());
    }
    Ok(made)
}
