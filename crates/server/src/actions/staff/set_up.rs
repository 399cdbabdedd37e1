//! Somebody of staff sets up what they sign in with, and comes back later.

use counterfoil_core::{Timestamp, UserId};
use serde_json::json;

use super::SET_UP;
use crate::actions::account::sessions::{self, SignedIn};
use crate::actions::account::{Denied, Why, password, sign_up};
use crate::app::App;
use crate::auth::staff_actor;
use crate::db::{DbError, Tx};
use crate::store::account::{self, Email, Realm};
use crate::store::session::{self, Presented};
use crate::store::staff::{self, StaffRow};
use crate::store::ticket::{self, Ticket};
use crate::store::{audit, passkey, user};

/// A session of staff ends when it was not used for so long, in milliseconds.
const IDLE: i64 = 2 * 60 * 60 * 1000;

/// Somebody of staff who is signed in.
pub struct SignedInStaff {
    /// By which session, with their account.
    pub by: SignedIn,
    /// Role and tenant.
    pub row: StaffRow,
    /// Whether there is more than a password: one-time codes or a passkey. Without, nothing is shown but the way to set it up.
    pub second: bool,
}

/// Who presents this session, while it is good.
///
/// # Errors
/// A failure of the database.
pub async fn who(app: &App, session: Presented, now: Timestamp) -> Result<Option<SignedInStaff>, DbError> {
    let (id, named) = (session.user, session.id.clone());
    let found = app
        .db
        .read("session of staff", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(row) = session::find(tx, id, &named).await? else { return Ok(None) };
            let Some(staff) = staff::live(tx, id).await? else { return Ok(None) };
            let Some(account) = account::find(tx, id).await? else { return Ok(None) };
            let second = account.totp.is_some() || !passkey::list(tx, id).await?.is_empty();
            Ok(Some((row, account, staff, second)))
        })
        .await?;
    let good = found
        .filter(|(row, account, ..)| sessions::is(&session, row) && row.live(account.sessions_from, now) && now.0 - row.used_at.0 <= IDLE);
    let Some((row, account, staff, second)) = good else { return Ok(None) };
    sessions::note_use(app, &session, &row, now).await?;
    Ok(Some(SignedInStaff { by: SignedIn { session, account }, row: staff, second }))
}

/// Whom a link is for, while it is good.
///
/// # Errors
/// `Link`, or a problem.
pub async fn look(app: &App, text: &str, now: Timestamp) -> Result<StaffRow, Denied> {
    let ticket = Ticket::parse(text).ok_or(Why::Link)?;
    let found = app
        .db
        .read("link of staff", async move |tx: &mut Tx| -> Result<Option<StaffRow>, DbError> {
            match ticket::purpose(tx, &ticket, now).await?.as_deref() {
                Some(SET_UP) => staff::live(tx, ticket.user).await,
                _ => Ok(None),
            }
        })
        .await?;
    found.ok_or(Denied::Why(Why::Link))
}

/// What somebody signs in with from now on.
pub struct Wanted {
    /// The address.
    pub email: String,
    /// The password; the second step comes next.
    pub password: password::Given,
    /// What the browser calls itself.
    pub agent: String,
}

/// Makes the account, in the place of whatever this one signed in with before, and begins a session.
///
/// # Errors
/// `Link`, `NoAddress`, `PasswordLength`, `PasswordCommon`, `Address`, or a problem.
pub async fn run(app: &App, text: &str, wanted: Wanted, now: Timestamp) -> Result<Presented, Denied> {
    let id = look(app, text, now).await?.id;
    let ticket = Ticket::parse(text).ok_or(Why::Link)?;
    let email = Email::parse_in(Realm::Staff, &wanted.email).ok_or(Why::NoAddress)?;
    password::check(&wanted.password, email.as_str())?;
    let hash = password::hash(wanted.password, &app.rng).await?;
    sign_up::take_name(app, &email, id, now).await?;
    let session = Presented::generate(Realm::Staff, id, &mut app.rng.clone());
    let (opening, taken, agent) = (session.clone(), email.clone(), wanted.agent);
    let before = app
        .db
        .write("set up staff", user::family(id), async move |tx: &mut Tx| -> Result<Option<String>, Denied> {
            if !ticket::spend(tx, &ticket, SET_UP, now).await? || staff::live(tx, id).await?.is_none() {
                // Run again because the answer of its COMMIT was lost, it finds its own session.
                return if session::find(tx, id, &opening.id).await?.is_some() { Ok(None) } else { Err(Why::Link.into()) };
            }
            let before = account::find(tx, id).await?.map(|account| account.email);
            staff::set_up(tx, id, taken.as_str(), &hash, now).await?;
            session::insert(tx, &opening, &agent, now).await?;
            let detail = json!({ "email": taken.as_str(), "session": opening.id });
            audit::append(tx, &user::family(id), now.0, &staff_actor(id), "staff.set_up", &detail).await?;
            Ok(before)
        })
        .await?;
    if let Some(old) = before.filter(|old| old != email.as_str()).and_then(|old| Email::parse_in(Realm::Staff, &old)) {
        sign_up::release_name(app, &old, id, now).await?;
    }
    Ok(session)
}

/// A new session in the place of all others: after somebody proved more than before, no older one counts.
///
/// # Errors
/// A failure of the database.
pub async fn renew(app: &App, id: UserId, agent: String, now: Timestamp) -> Result<Presented, DbError> {
    let session = Presented::generate(Realm::Staff, id, &mut app.rng.clone());
    let opening = session.clone();
    app.db
        .write("renew session", user::family(id), async move |tx: &mut Tx| -> Result<(), DbError> {
            account::end_sessions(tx, id, now).await?;
            session::delete_all(tx, id).await?;
            session::insert(tx, &opening, &agent, now).await?;
            let detail = json!({ "session": opening.id, "by": "second step set up" });
            audit::append(tx, &user::family(id), now.0, &staff_actor(id), "account.signed_in", &detail).await.map(drop)
        })
        .await?;
    Ok(session)
}
