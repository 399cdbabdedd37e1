//! Passkeys: the one part of the pages that a script does, which speaks JSON to these routes.

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;
use webauthn_rs::prelude::{PublicKeyCredential, RegisterPublicKeyCredential};

use crate::actions::account::passkeys::{self, Ceremony};
use crate::actions::account::sessions::SignedIn;
use crate::actions::account::{Denied, password};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::account::Realm;
use crate::web::visitor::{self, Fields, FromScript, Person, Sent, agent, next, see_other};

/// A page may load and ask what every page may, and run our script.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'",
);

/// A page with the script.
pub(in crate::web) fn with_script(mut page: Response) -> Response {
    page.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    page
}

/// As a script reads it.
fn told(denied: Denied) -> Problem {
    match denied {
        Denied::Why(why) => Problem::with(ApiCode::Unprocessable, why.to_string()),
        Denied::Problem(problem) => problem,
    }
}

/// Begins to sign in with a passkey.
///
/// # Errors
/// A failure of the keys.
pub async fn sign_in_begin(State(app): State<App>, FromScript(_): FromScript<serde_json::Value>) -> Result<Json<Ceremony>, Problem> {
    passkeys::ask(&app, Realm::Users).map(Json).map_err(told)
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
pub async fn sign_in(State(app): State<App>, headers: HeaderMap, FromScript(used): FromScript<Used>) -> Result<Response, Problem> {
    let session =
        passkeys::sign_in(&app, Realm::Users, &used.kept, &used.credential, agent(&headers), app.clock.now()).await.map_err(told)?;
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", &used.next).finish();
    let answer = Json(json!({ "next": next(&Fields::parse(query.as_bytes())) })).into_response();
    Ok(visitor::signed_in(&app, &session, answer))
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
pub async fn begin(State(app): State<App>, Person(by): Person, FromScript(wanted): FromScript<Wanted>) -> Result<Json<Ceremony>, Problem> {
    check_form(&by, &wanted.form)?;
    let given = password::Given::new(wanted.password);
    passkeys::begin(&app, &by, &wanted.name, &given, app.clock.now()).await.map(Json).map_err(told)
}

/// A passkey that was made.
#[derive(Deserialize)]
pub struct Made {
    form: String,
    kept: String,
    credential: RegisterPublicKeyCredential,
}

/// Keeps a passkey.
///
/// # Errors
/// `unprocessable`, or a failure of the database.
pub async fn finish(State(app): State<App>, Person(by): Person, FromScript(made): FromScript<Made>) -> Result<Response, Problem> {
    check_form(&by, &made.form)?;
    passkeys::finish(&app, &by, &made.kept, &made.credential, app.clock.now()).await.map_err(told)?;
    Ok(Json(json!({ "next": "/account/security?done=passkey" })).into_response())
}

/// Removes a passkey.
///
/// # Errors
/// `not_found`.
pub async fn remove(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let gone = passkeys::remove(&app, &by, fields.text("id").to_owned(), app.clock.now()).await.map_err(told)?;
    if !gone {
        return Err(ApiCode::NotFound.into());
    }
    Ok(see_other("/account/security?done=passkey-removed"))
}

fn check_form(by: &SignedIn, token: &str) -> Result<(), Problem> {
    if by.session.sent(token) { Ok(()) } else { Err(ApiCode::ForeignForm.into()) }
}
