//! Somebody who is signed in changes their password or their address.

use counterfoil_core::Timestamp;
use serde_json::json;

use super::sessions::SignedIn;
use super::{Denied, Why, ask_password, password, sign_up};
use crate::app::App;
use crate::db::Tx;
use crate::mail::{self, Letter, Post};
use crate::store::account::{self, Email};
use crate::store::session::{self, Presented};
use crate::store::ticket::{self, Ticket};
use crate::store::{audit, user};

/// Another password. Every session ends, and every link that was mailed; a new session begins for whoever did it.
///
/// # Errors
/// `Password`, `PasswordLength`, `PasswordCommon`, or a problem.
pub async fn set_password(
    app: &App,
    by: &SignedIn,
    old: &password::Given,
    new: password::Given,
    agent: String,
    now: Timestamp,
) -> Result<Presented, Denied> {
    password::check(&new, &by.account.email)?;
    let (user, actor) = (by.user(), by.actor());
    let account = ask_password(app, user, old, now).await?;
    let hash = password::hash(new, &app.rng).await?;
    let (session, post) = (Presented::generate(by.session.realm, user, &mut app.rng.clone()), Post::of(app));
    let opening = session.clone();
    app.db
        .write("change password", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !account::set_password(tx, user, account.password.as_deref(), &hash, now).await? {
                // Run again because the answer of its COMMIT was lost, it finds its own session.
                let done = session::find(tx, user, &opening.id).await?.is_some();
                return if done { Ok(()) } else { Err(Why::Password.into()) };
            }
            session::delete_all(tx, user).await?;
            ticket::delete_all(tx, user).await?;
            session::insert(tx, &opening, &agent, now).await?;
            mail::enqueue(tx, &post, user, &account.email, Letter::PasswordChanged, None, now).await?;
            audit::append(tx, &user::family(user), now.0, &actor, "account.password_changed", &json!({})).await?;
            Ok(())
        })
        .await?;
    Ok(session)
}

/// Another address. Where mail is sent, it counts when the mail to it is answered; says whether that is so.
///
/// # Errors
/// `Password`, `NoAddress`, `Address`, or a problem.
pub async fn ask_email(app: &App, by: &SignedIn, given: &password::Given, email: &str, now: Timestamp) -> Result<bool, Denied> {
    let email = Email::parse(email).ok_or(Why::NoAddress)?;
    let (user, actor) = (by.user(), by.actor());
    let account = ask_password(app, user, given, now).await?;
    if !app.config.mail.is_on() {
        let password = account.password.clone();
        app.db
            .write("forget attempts", user::family(user), async move |tx: &mut Tx| {
                account::forget_attempts(tx, user, password.as_deref()).await.map(drop)
            })
            .await?;
        set_email(app, by.user(), &account.email, &email, None, &actor, now).await?;
        return Ok(false);
    }
    let (post, ticket) = (Post::of(app), Ticket::generate(user, &mut app.rng.clone()));
    app.db
        .write("ask for address", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !account::forget_attempts(tx, user, account.password.as_deref()).await? {
                return Err(Why::Password.into());
            }
            let (letter, purpose) = (Letter::NewAddress, format!("email:{}", email.as_str()));
            ticket::insert(tx, &ticket, &purpose, now, Timestamp(now.0 + letter.link_life().unwrap_or(0))).await?;
            mail::enqueue(tx, &post, user, email.as_str(), letter, Some(&ticket), now).await?;
            audit::append(tx, &user::family(user), now.0, &actor, "account.address_asked", &json!({})).await?;
            Ok(())
        })
        .await?;
    Ok(true)
}

/// What a link does: confirms an address, makes another one the account's, or is for a new password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The account's address.
    Confirm,
    /// Another one.
    NewAddress(Email),
    /// A forgotten password.
    Reset,
}

impl Link {
    fn parse(purpose: &str) -> Option<Self> {
        match purpose {
            "confirm" => Some(Self::Confirm),
            "reset" => Some(Self::Reset),
            other => other.strip_prefix("email:").and_then(Email::parse).map(Self::NewAddress),
        }
    }

    fn purpose(&self) -> String {
        match self {
            Self::Confirm => "confirm".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::NewAddress(email) => format!("email:{}", email.as_str()),
        }
    }
}

/// What a link would do; nothing happens yet, for programs that read mail open links as well.
///
/// # Errors
/// `Link`, or a problem.
pub async fn look(app: &App, text: &str, now: Timestamp) -> Result<Link, Denied> {
    let ticket = Ticket::parse(text).ok_or(Why::Link)?;
    let purpose = app.db.read("ticket", async move |tx: &mut Tx| ticket::purpose(tx, &ticket, now).await).await?;
    purpose.as_deref().and_then(Link::parse).ok_or(Denied::Why(Why::Link))
}

/// Does what a link about an address is for.
///
/// # Errors
/// `Link`, `Address`, or a problem.
pub async fn follow(app: &App, text: &str, now: Timestamp) -> Result<(), Denied> {
    let link = look(app, text, now).await?;
    let ticket = Ticket::parse(text).ok_or(Why::Link)?;
    let user = ticket.user;
    if let Link::Reset = link {
        return Err(Why::Link.into());
    }
    let purpose = link.purpose();
    let confirms = link == Link::Confirm;
    let old = app
        .db
        .write("follow link", user::family(user), async move |tx: &mut Tx| -> Result<String, Denied> {
            if !ticket::spend(tx, &ticket, &purpose, now).await? {
                return Err(Why::Link.into());
            }
            if confirms {
                account::confirm_email(tx, user, now).await?;
                audit::append(tx, &user::family(user), now.0, "/web", "account.address_confirmed", &json!({})).await?;
            }
            Ok(account::find(tx, user).await?.ok_or(Why::Link)?.email)
        })
        .await?;
    match link {
        Link::NewAddress(email) => set_email(app, user, &old, &email, Some(now), "/web", now).await,
        _ => Ok(()),
    }
}

/// Takes the new name, then makes it the account's, then gives the old one up: cut anywhere, the account has one that works.
async fn set_email(
    app: &App,
    user: counterfoil_core::UserId,
    old: &str,
    email: &Email,
    confirmed_at: Option<Timestamp>,
    actor: &str,
    now: Timestamp,
) -> Result<(), Denied> {
    sign_up::take_name(app, email, user, now).await?;
    let (post, actor, old_text, new) = (Post::of(app), actor.to_owned(), old.to_owned(), email.clone());
    app.db
        .write("change address", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            account::set_email(tx, user, &new, confirmed_at).await?;
            // Whoever reads the old mailbox chooses no password with a link that lies there, and confirms no address.
            ticket::delete_all(tx, user).await?;
            mail::enqueue(tx, &post, user, &old_text, Letter::AddressChanged, None, now).await?;
            audit::append(tx, &user::family(user), now.0, &actor, "account.address_changed", &json!({})).await?;
            Ok(())
        })
        .await?;
    match Email::parse(old).filter(|old| old != email) {
        Some(old) => Ok(sign_up::release_name(app, &old, user, now).await?),
        None => Ok(()),
    }
}
