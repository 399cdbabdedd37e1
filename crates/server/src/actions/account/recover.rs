//! Somebody forgot their password: by a mailed link, or by a recovery code.

use std::time::Duration;

use counterfoil_core::Timestamp;
use serde_json::json;

use super::{Denied, Why, attempt, by_email, note_failure, password};
use crate::app::App;
use crate::db::Tx;
use crate::mail::{self, Letter, Post};
use crate::store::account::{self, Email};
use crate::store::recovery::{self, Code};
use crate::store::ticket::{self, Ticket};
use crate::store::{audit, session, user};

/// Answers take so long at least, whether there is such an account or not.
const FLOOR: Duration = Duration::from_millis(250);

/// Mails a link, where there is such an account; nobody is told whether there is.
///
/// # Errors
/// A problem.
pub async fn ask(app: &App, email: &str, now: Timestamp) -> Result<(), Denied> {
    let (done, ()) = tokio::join!(send_link(app, email, now), tokio::time::sleep(FLOOR));
    done
}

async fn send_link(app: &App, email: &str, now: Timestamp) -> Result<(), Denied> {
    let Some(email) = Email::parse(email) else { return Ok(()) };
    let Some((user, found)) = by_email(app, email).await? else { return Ok(()) };
    // Counted with the attempts to sign in: nobody's mailbox is filled.
    if !attempt(app, user, now).await? {
        return Ok(());
    }
    let (post, ticket) = (Post::of(app), Ticket::generate(user, &mut app.rng.clone()));
    app.db
        .write("mail link", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            let letter = Letter::Reset;
            ticket::insert(tx, &ticket, "reset", now, Timestamp(now.0 + letter.link_life().unwrap_or(0))).await?;
            mail::enqueue(tx, &post, user, &found.email, letter, Some(&ticket), now).await?;
            audit::append(tx, &user::family(user), now.0, "/web", "account.reset_asked", &json!({})).await?;
            Ok(())
        })
        .await
}

/// A new password by a mailed link. Every session ends. One-time codes stay on.
///
/// # Errors
/// `Link`, `PasswordLength`, `PasswordCommon`, or a problem.
pub async fn by_link(app: &App, text: &str, new: password::Given, now: Timestamp) -> Result<(), Denied> {
    let ticket = Ticket::parse(text).ok_or(Why::Link)?;
    if super::change::look(app, text, now).await? != super::change::Link::Reset {
        return Err(Why::Link.into());
    }
    let user = ticket.user;
    let found = app.db.read("account", async move |tx: &mut Tx| account::find(tx, user).await).await?.ok_or(Why::Link)?;
    password::check(&new, &found.email)?;
    let hash = password::hash(new, &app.rng).await?;
    let post = Post::of(app);
    app.db
        .write("reset password", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !ticket::spend(tx, &ticket, "reset", now).await? {
                // Run again because the answer of its COMMIT was lost, it finds its own hash: no other has this salt.
                let done = account::find(tx, user).await?.is_some_and(|found| found.password.as_deref() == Some(&hash));
                return if done { Ok(()) } else { Err(Why::Link.into()) };
            }
            // Whoever reads mail at the address has shown it.
            account::confirm_email(tx, user, now).await?;
            replace(tx, &post, user, &found.email, &hash, "link", now).await
        })
        .await
}

/// A new password by a recovery code. Every session ends. One-time codes stay on: signing in takes another recovery code where they are lost.
///
/// # Errors
/// `Recovery`, `PasswordLength`, `PasswordCommon`, or a problem.
pub async fn by_code(app: &App, email: &str, code: &str, new: password::Given, now: Timestamp) -> Result<(), Denied> {
    password::check(&new, email)?;
    let (done, ()) = tokio::join!(spend_code(app, email, code, new, now), tokio::time::sleep(FLOOR));
    done
}

async fn spend_code(app: &App, email: &str, code: &str, new: password::Given, now: Timestamp) -> Result<(), Denied> {
    // Hashed before anything is looked up: it takes the same time for everybody.
    let hash = password::hash(new, &app.rng).await?;
    let code = Code::parse(code).ok_or(Why::Recovery)?;
    let email = Email::parse(email).ok_or(Why::Recovery)?;
    let (user, found) = by_email(app, email).await?.ok_or(Why::Recovery)?;
    if !attempt(app, user, now).await? {
        return Err(Why::Recovery.into());
    }
    let post = Post::of(app);
    let done = app
        .db
        .write("recover account", user::family(user), async move |tx: &mut Tx| -> Result<bool, Denied> {
            if !recovery::spend(tx, user, &code, now).await? {
                return Ok(account::find(tx, user).await?.is_some_and(|found| found.password.as_deref() == Some(&hash)));
            }
            replace(tx, &post, user, &found.email, &hash, "recovery code", now).await?;
            Ok(true)
        })
        .await?;
    if done {
        return Ok(());
    }
    note_failure(app, user, "account.recovery_refused", now).await?;
    Err(Why::Recovery.into())
}

async fn replace(
    tx: &mut Tx,
    post: &Post,
    user: counterfoil_core::UserId,
    email: &str,
    hash: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), Denied> {
    account::set_password(tx, user, None, hash, now).await?;
    session::delete_all(tx, user).await?;
    ticket::delete_all(tx, user).await?;
    mail::enqueue(tx, post, user, email, Letter::PasswordChanged, None, now).await?;
    audit::append(tx, &user::family(user), now.0, "/web", "account.password_reset", &json!({ "by": by })).await?;
    Ok(())
}
