//! What staff sign in with besides a password, and the password: `/console/second-step` until there is one, `/console/security` after.

use askama::Template;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use webauthn_rs::prelude::RegisterPublicKeyCredential;

use super::entrance::to_script;
use super::staff::{self, Entering, EnteringSent};
use super::{Frame, Section, Sent, Staff, words};
use crate::actions::account::codes::Offer;
use crate::actions::account::passkeys::{self, Ceremony};
use crate::actions::account::{Denied, Why, change, codes, password, sessions};
use crate::actions::staff::set_up::renew;
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::recovery::Code;
use crate::web::account::keys::with_script;
use crate::web::account::security::{Own, picture};
use crate::web::visitor::{FromScript, agent, see_other};
use crate::web::{assets, page_as};

#[derive(Template)]
#[template(path = "console/second-step.html")]
struct SecondStepPage {
    frame: Frame,
    script: String,
    error: Option<String>,
    /// Whether this is the first one: until then nothing else is shown.
    first: bool,
    /// Whether it takes the place of another app.
    another: bool,
    email: String,
    /// Of the picture, and its path.
    size: i32,
    picture: String,
    offer: Offer,
}

fn second_step_page(app: &App, by: &Staff, error: Option<Why>) -> Result<Response, Problem> {
    let email = by.signed_in().account.email.clone();
    let offer = match codes::offer(app, by.id(), &email) {
        Ok(offer) => offer,
        Err(Denied::Problem(problem)) => return Err(problem),
        Err(Denied::Why(why)) => return Err(Problem::internal(why)),
    };
    let (size, picture) = picture(&offer.uri)?;
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let error = error.map(|why| format!("{why} Here is a new secret; scan it again."));
    let (first, script) = (!by.is_complete(), assets::address("passkey.js"));
    let another = by.signed_in().account.totp.is_some();
    let frame = if first { Frame::bare(app, by) } else { Frame::new(app, by, Section::Security) };
    Ok(with_script(page_as(status, &SecondStepPage { frame, script, error, first, another, email, size, picture, offer })?))
}

/// `/console/second-step`
///
/// # Errors
/// A failure of the keys.
pub async fn second_step(State(app): State<App>, Entering(by): Entering) -> Result<Response, Problem> {
    second_step_page(&app, &by, None)
}

/// Turns one-time codes on, or has another app make them; begins a session that counts.
///
/// # Errors
/// A failure of the database.
pub async fn codes_on(State(app): State<App>, headers: HeaderMap, EnteringSent(sent): EnteringSent) -> Result<Response, Problem> {
    let (by, fields, now) = (&sent.by, &sent.fields, app.clock.now());
    match codes::turn_on(&app, by.id(), fields.text("kept"), fields.text("code"), &fields.password("password"), now).await {
        Ok(()) => {
            let session = renew(&app, by.id(), agent(&headers), now).await?;
            let goes = if by.is_complete() { "/console/security?done=codes-on" } else { "/console?done=codes-on" };
            Ok(staff::signed_in(&app, &session, see_other(goes)))
        }
        Err(Denied::Why(why)) => second_step_page(&app, by, Some(why)),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

/// A passkey that is wanted.
#[derive(Deserialize)]
pub struct Wanted {
    form: String,
    name: String,
    password: String,
}

/// Begins to make a passkey.
///
/// # Errors
/// `unprocessable`, or a failure of the database.
pub async fn passkey_begin(
    State(app): State<App>,
    Entering(by): Entering,
    FromScript(wanted): FromScript<Wanted>,
) -> Result<Json<Ceremony>, Problem> {
    check_form(&by, &wanted.form)?;
    let given = password::Given::new(wanted.password);
    passkeys::begin(&app, by.signed_in(), &wanted.name, &given, app.clock.now()).await.map(Json).map_err(to_script)
}

/// A passkey that was made.
#[derive(Deserialize)]
pub struct Made {
    form: String,
    kept: String,
    credential: RegisterPublicKeyCredential,
}

/// Keeps a passkey, and begins a session that counts.
///
/// # Errors
/// `unprocessable`, or a failure of the database.
pub async fn passkey_made(
    State(app): State<App>,
    headers: HeaderMap,
    Entering(by): Entering,
    FromScript(made): FromScript<Made>,
) -> Result<Response, Problem> {
    check_form(&by, &made.form)?;
    let now = app.clock.now();
    passkeys::finish(&app, by.signed_in(), &made.kept, &made.credential, now).await.map_err(to_script)?;
    let session = renew(&app, by.id(), agent(&headers), now).await?;
    let goes = if by.is_complete() { "/console/security?done=passkey" } else { "/console?done=passkey" };
    Ok(staff::signed_in(&app, &session, Json(json!({ "next": goes })).into_response()))
}

fn check_form(by: &Staff, token: &str) -> Result<(), Problem> {
    if by.signed_in().session.sent(token) { Ok(()) } else { Err(ApiCode::ForeignForm.into()) }
}

#[derive(Template)]
#[template(path = "console/security.html")]
struct SecurityPage {
    frame: Frame,
    script: String,
    error: Option<String>,
    own: Own,
}

/// `/console/security`: what one signs in with, and where one is signed in.
///
/// # Errors
/// A failure of the database.
pub async fn security(State(app): State<App>, by: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    security_page(&app, &by, query.as_deref(), None).await
}

async fn security_page(app: &App, by: &Staff, query: Option<&str>, error: Option<String>) -> Result<Response, Problem> {
    let own = Own::load(app, by.signed_in(), |at| format!("{} (UTC)", words::moment(&crate::clock::rfc3339(at)))).await?;
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let shown = SecurityPage { frame: Frame::told(app, by, Section::Security, query), script: assets::address("passkey.js"), error, own };
    Ok(with_script(page_as(status, &shown)?))
}

/// Says what was wrong on the page that the form stands on, or goes on.
async fn done<T>(app: &App, by: &Staff, result: Result<T, Denied>, goes: &str) -> Result<Response, Problem> {
    match result {
        Ok(_) => Ok(see_other(goes)),
        Err(Denied::Why(why)) => security_page(app, by, None, Some(why.to_string())).await,
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

/// Another password.
///
/// # Errors
/// A failure of the database.
pub async fn set_password(State(app): State<App>, headers: HeaderMap, sent: Sent) -> Result<Response, Problem> {
    let (by, fields) = (&sent.by, &sent.fields);
    let (old, new) = (fields.password("password"), fields.password("new"));
    match change::set_password(&app, by.signed_in(), &old, new, agent(&headers), app.clock.now()).await {
        Ok(session) => Ok(staff::signed_in(&app, &session, see_other("/console/security?done=password"))),
        Err(denied) => done(&app, by, Err::<(), _>(denied), "").await,
    }
}

/// Turns codes off, where there is a passkey.
///
/// # Errors
/// A failure of the database.
pub async fn codes_off(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let by = &sent.by;
    let off = codes::turn_off(&app, by.id(), &sent.fields.password("password"), app.clock.now()).await;
    done(&app, by, off, "/console/security?done=codes-off").await
}

#[derive(Template)]
#[template(path = "console/recovery-codes.html")]
struct RecoveryCodesPage {
    frame: Frame,
    codes: Vec<String>,
}

/// New recovery codes, shown once.
///
/// # Errors
/// A failure of the database.
pub async fn recovery_codes(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let by = &sent.by;
    match codes::draw_recovery(&app, by.id(), &sent.fields.password("password"), app.clock.now()).await {
        Ok(codes) => {
            let (frame, codes) = (Frame::new(&app, by, Section::Security), codes.iter().map(Code::reveal).collect());
            page_as(StatusCode::OK, &RecoveryCodesPage { frame, codes })
        }
        Err(denied) => done(&app, by, Err::<(), _>(denied), "").await,
    }
}

/// Removes a passkey that is not the only second step.
///
/// # Errors
/// A failure of the database.
pub async fn passkey_remove(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let by = &sent.by;
    let removed = passkeys::remove(&app, by.signed_in(), sent.fields.text("id").to_owned(), app.clock.now()).await;
    done(&app, by, removed, "/console/security?done=passkey-removed").await
}

/// Signs one browser out.
///
/// # Errors
/// `not_found`.
pub async fn end_session(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let (id, by) = (sent.fields.text("id").to_owned(), sent.by.signed_in());
    let here = id == by.session.id;
    if !sessions::end(&app, by, id, app.clock.now()).await? {
        return Err(ApiCode::NotFound.into());
    }
    let answer = if here { "/console/sign-in?done=out" } else { "/console/security?done=session" };
    Ok(if here { staff::signed_out(&app, see_other(answer)) } else { see_other(answer) })
}
