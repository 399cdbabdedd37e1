//! Somebody signs in: with address and password, and a second step where one-time codes are on; or with a passkey, which is both.

use std::time::Duration;

use counterfoil_core::{Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::codes::{self, Second};
use super::{Denied, Why, between, by_email, note_failure, password};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::account::{self, AccountRow, Email, Realm};
use crate::store::session::{self, Presented};
use crate::store::{audit, passkey, recovery, staff, user};

/// No attempt is answered sooner, so that an unknown address, a locked account and a wrong password take the same time.
const FLOOR: Duration = Duration::from_millis(250);

/// How far somebody got.
pub enum Step {
    /// Signed in.
    In(Presented),
    /// The password was right; the code is next. What the browser keeps until then.
    Code(String),
    /// The same for staff who have a passkey and no app: a recovery code takes its place.
    Recovery(String),
}

/// What the browser keeps between password and code.
#[derive(Serialize, Deserialize)]
struct Known {
    user: UserId,
    /// Of the hash that the password fitted: after a change, it is asked for again.
    password: [u8; 32],
}

/// Purposes of what is sealed: half a sign-in here is nothing there.
fn purpose(realm: Realm) -> &'static str {
    match realm {
        Realm::Users => "sign-in",
        Realm::Staff => "sign-in of staff",
    }
}

/// With address and password.
///
/// # Errors
/// `SignIn`, of staff `PasskeyOnly` as well, or a problem.
pub async fn with_password(
    app: &App,
    realm: Realm,
    email: &str,
    given: password::Given,
    agent: String,
    now: Timestamp,
) -> Result<Step, Denied> {
    let (step, ()) = tokio::join!(look(app, realm, email, given, agent, now), tokio::time::sleep(FLOOR));
    step
}

async fn look(app: &App, realm: Realm, email: &str, given: password::Given, agent: String, now: Timestamp) -> Result<Step, Denied> {
    let found = match Email::parse_in(realm, email) {
        Some(email) => by_email(app, email).await?,
        None => None,
    };
    let Some((user, found)) = found else {
        password::verify(None, given).await?;
        return Err(Why::SignIn.into());
    };
    let admitted = super::attempt(app, user, now).await?;
    let right = password::verify(found.password.clone().filter(|_| admitted), given).await?;
    if !right {
        if admitted {
            note_failure(app, user, "account.sign_in_refused", now).await?;
        }
        return Err(Why::SignIn.into());
    }
    let known = Known { user, password: fingerprint(&found) };
    if found.totp.is_some() {
        return Ok(Step::Code(between::seal(app, purpose(realm), &known)?));
    }
    if realm == Realm::Staff && !app.db.read("passkeys", async move |tx: &mut Tx| passkey::list(tx, user).await).await?.is_empty() {
        return match codes::recovery_left(app, user).await? {
            0 => Err(Why::PasskeyOnly.into()),
            _ => Ok(Step::Recovery(between::seal(app, purpose(realm), &known)?)),
        };
    }
    let session = Presented::generate(realm, user, &mut app.rng.clone());
    open(app, session, found.password, None, agent, now).await?.map(Step::In).ok_or(Denied::Why(Why::SignIn))
}

fn fingerprint(account: &AccountRow) -> [u8; 32] {
    blake3::derive_key("counterfoil 2026-11 fingerprint of a password's hash", account.password.as_deref().unwrap_or_default().as_bytes())
}

/// The second step: a one-time code, or a recovery code in its place.
///
/// # Errors
/// `Code`, `TooLate`, or a problem.
pub async fn with_code(app: &App, realm: Realm, kept: &str, code: &str, agent: String, now: Timestamp) -> Result<Presented, Denied> {
    let Known { user, password } = between::open(app, purpose(realm), kept).ok_or(Why::TooLate)?;
    if !super::attempt(app, user, now).await? {
        return Err(Why::Code.into());
    }
    let found = app.db.read("account", async move |tx: &mut Tx| account::find(tx, user).await).await?;
    let found = found.filter(|found| fingerprint(found) == password).ok_or(Why::TooLate)?;
    let second = Second::read(app, user, &found, code, now).await?;
    let session = Presented::generate(realm, user, &mut app.rng.clone());
    let opened = match second {
        Some(second) => open(app, session, found.password, Some(second), agent, now).await?,
        None => None,
    };
    match opened {
        Some(session) => Ok(session),
        None => {
            note_failure(app, user, "account.code_refused", now).await?;
            Err(Why::Code.into())
        }
    }
}

/// Begins a session in one transaction with what it stands on; `None` where that was used up or changed meanwhile.
async fn open(
    app: &App,
    session: Presented,
    password: Option<String>,
    second: Option<Second>,
    agent: String,
    now: Timestamp,
) -> Result<Option<Presented>, Denied> {
    let user = session.user;
    let opening = session.clone();
    let opened = app
        .db
        .write("sign in", user::family(user), async move |tx: &mut Tx| -> Result<bool, Denied> {
            // Run again because the answer of its COMMIT was lost, it finds its own session.
            if session::find(tx, user, &opening.id).await?.is_some_and(|row| row.hash == opening.hash()) {
                return Ok(true);
            }
            if opening.realm == Realm::Staff && !may_open(tx, user, second.is_some()).await? {
                return Ok(false);
            }
            let spent = match &second {
                Some(Second::Step(step)) => account::spend_step(tx, user, *step).await?,
                Some(Second::Recovery(code)) => recovery::spend(tx, user, code, now).await?,
                None => true,
            };
            if !spent || !account::forget_attempts(tx, user, password.as_deref()).await? {
                return Ok(false);
            }
            session::insert(tx, &opening, &agent, now).await?;
            let by = match &second {
                Some(Second::Step(_)) => "password and code",
                Some(Second::Recovery(_)) => "password and recovery code",
                None => "password",
            };
            let detail = json!({ "session": opening.id, "by": by });
            audit::append(tx, &user::family(user), now.0, "/web", "account.signed_in", &detail).await?;
            Ok(true)
        })
        .await?;
    Ok(opened.then_some(session))
}

/// Whether a session of staff may begin: of one who has not ended, and by the password alone only while there is nothing else.
async fn may_open(tx: &mut Tx, user: UserId, second: bool) -> Result<bool, DbError> {
    if staff::live(tx, user).await?.is_none() {
        return Ok(false);
    }
    let codes = account::find(tx, user).await?.is_some_and(|account| account.totp.is_some());
    Ok(second || !codes && passkey::list(tx, user).await?.is_empty())
}
