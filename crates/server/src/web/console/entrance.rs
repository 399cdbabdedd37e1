//! The ways into the console: the one-time link, password and code, passkey; and out.

use askama::Template;
use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use webauthn_rs::prelude::PublicKeyCredential;

use super::staff::{self, Entering, EnteringSent, next};
use super::{icon, styles, told};
use crate::actions::account::passkeys::{self, Ceremony};
use crate::actions::account::sign_in::{self, Step};
use crate::actions::account::{Denied, Why, sessions};
use crate::actions::staff::set_up::{self, Wanted};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::account::Realm;
use crate::store::staff::StaffRow;
use crate::web::account::keys::with_script;
use crate::web::visitor::{Fields, FromScript, Posted, agent, see_other};
use crate::web::{assets, page_as};

/// What stands around a page before anybody is signed in: the field `door` of a template that extends `console/door.html`.
pub struct Door {
    /// Name of the authority, or of the gateway.
    pub authority: String,
    /// Where to go on.
    pub home: &'static str,
    /// Addresses of the styles.
    pub styles: [&'static str; 2],
    /// Address of the icon.
    pub icon: &'static str,
}

impl Door {
    /// Of this authority.
    pub fn new(authority: &str) -> Self {
        Self { authority: authority.to_owned(), home: "/console", styles: styles(), icon: icon() }
    }
}

#[derive(Template)]
#[template(path = "console/sign-in.html")]
struct SignInPage<'a> {
    frame: Door,
    script: String,
    told: Option<&'static str>,
    error: Option<String>,
    email: &'a str,
    next: &'a str,
}

fn sign_in_page(app: &App, told: Option<&'static str>, error: Option<Why>, fields: &Fields) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let (frame, script, error) = (Door::new(&app.name), assets::address("passkey.js"), error.map(|why| why.to_string()));
    Ok(with_script(page_as(status, &SignInPage { frame, script, told, error, email: fields.text("email"), next: next(fields) })?))
}

/// `/console/sign-in`
///
/// # Errors
/// A failure of the template.
pub async fn sign_in_form(State(app): State<App>, who: Result<Entering, Response>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    if who.is_ok() {
        return Ok(see_other(next(&fields)));
    }
    sign_in_page(&app, told(fields.text("done")), None, &fields)
}

/// Takes address and password. Whoever has no second step yet is led to it, and nowhere else.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let (email, given) = (fields.text("email"), fields.password("password"));
    match sign_in::with_password(&app, Realm::Staff, email, given, agent(&headers), app.clock.now()).await {
        Ok(Step::In(session)) => Ok(staff::signed_in(&app, &session, see_other("/console/second-step"))),
        Ok(Step::Code(kept)) => code_page(&app, &kept, false, None, next(&fields)),
        Ok(Step::Recovery(kept)) => code_page(&app, &kept, true, None, next(&fields)),
        Err(Denied::Why(why)) => sign_in_page(&app, None, Some(why), &fields),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "console/sign-in-code.html")]
struct CodePage<'a> {
    frame: Door,
    kept: &'a str,
    /// Whether there is no app: only a recovery code will do.
    recovery: bool,
    error: Option<String>,
    next: &'a str,
}

fn code_page(app: &App, kept: &str, recovery: bool, error: Option<Why>, next: &str) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_as(status, &CodePage { frame: Door::new(&app.name), kept, recovery, error: error.map(|why| why.to_string()), next })
}

/// Takes the code.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in_code(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let kept = fields.text("kept");
    match sign_in::with_code(&app, Realm::Staff, kept, fields.text("code"), agent(&headers), app.clock.now()).await {
        Ok(session) => Ok(staff::signed_in(&app, &session, see_other(next(&fields)))),
        Err(Denied::Why(Why::TooLate)) => sign_in_page(&app, None, Some(Why::TooLate), &fields),
        Err(Denied::Why(why)) => code_page(&app, kept, !fields.text("recovery").is_empty(), Some(why), next(&fields)),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

/// As a script reads it.
pub(super) fn to_script(denied: Denied) -> Problem {
    match denied {
        Denied::Why(why) => Problem::with(ApiCode::Unprocessable, why.to_string()),
        Denied::Problem(problem) => problem,
    }
}

/// Begins to sign in with a passkey.
///
/// # Errors
/// A failure of the keys.
pub async fn passkey_begin(State(app): State<App>, FromScript(_): FromScript<serde_json::Value>) -> Result<Json<Ceremony>, Problem> {
    passkeys::ask(&app, Realm::Staff).map(Json).map_err(to_script)
}

/// What the browser has signed.
#[derive(Deserialize)]
pub struct Used {
    kept: String,
    credential: PublicKeyCredential,
    next: String,
}

/// Signs in with a passkey.
///
/// # Errors
/// `unprocessable`, or a failure of the database.
pub async fn passkey(State(app): State<App>, headers: HeaderMap, FromScript(used): FromScript<Used>) -> Result<Response, Problem> {
    let session = passkeys::sign_in(&app, Realm::Staff, &used.kept, &used.credential, agent(&headers), app.clock.now()).await;
    let session = session.map_err(to_script)?;
    let goes = Fields::of(vec![("next".to_owned(), used.next)]);
    Ok(staff::signed_in(&app, &session, Json(json!({ "next": next(&goes) })).into_response()))
}

#[derive(Template)]
#[template(path = "console/set-up.html")]
struct SetUpPage<'a> {
    frame: Door,
    error: Option<String>,
    /// None: the link is not good any more.
    staff: Option<StaffRow>,
    role: &'static str,
    ticket: &'a str,
    email: &'a str,
}

async fn set_up_page(app: &App, ticket: &str, error: Option<Why>, email: &str) -> Result<Response, Problem> {
    let staff = match set_up::look(app, ticket, app.clock.now()).await {
        Ok(staff) => Some(staff),
        Err(Denied::Why(_)) => None,
        Err(Denied::Problem(problem)) => return Err(problem),
    };
    let status = match (&staff, error) {
        (None, _) => StatusCode::FORBIDDEN,
        (_, Some(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    let role = staff.as_ref().map_or("", |staff| super::words::role(staff.role));
    let error = error.map(|why| why.to_string());
    page_as(status, &SetUpPage { frame: Door::new(&app.name), error, staff, role, ticket, email })
}

/// `/console/set-up`: where the one-time link leads. Nothing happens yet, for programs that read mail open links as well.
///
/// # Errors
/// A failure of the database.
pub async fn set_up_form(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    set_up_page(&app, fields.text("ticket"), None, "").await
}

/// Makes the account, and leads on to the second step.
///
/// # Errors
/// A failure of the database.
pub async fn set_up(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let (ticket, email) = (fields.text("ticket"), fields.text("email"));
    let wanted = Wanted { email: email.to_owned(), password: fields.password("password"), agent: agent(&headers) };
    match set_up::run(&app, ticket, wanted, app.clock.now()).await {
        Ok(session) => Ok(staff::signed_in(&app, &session, see_other("/console/second-step"))),
        Err(Denied::Why(why)) => set_up_page(&app, ticket, Some(why), email).await,
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

/// Signs this browser out.
///
/// # Errors
/// A failure of the database.
pub async fn sign_out(State(app): State<App>, EnteringSent(sent): EnteringSent) -> Result<Response, Problem> {
    let by = sent.by.signed_in();
    sessions::end(&app, by, by.session.id.clone(), app.clock.now()).await?;
    Ok(staff::signed_out(&app, see_other("/console/sign-in?done=out")))
}
