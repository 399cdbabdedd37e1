//! The pages before one is signed in: sign in, sign up, forgotten password, links of mails.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::keys::with_script;
use crate::actions::account::change::{self, Link};
use crate::actions::account::sign_in::{self, Step};
use crate::actions::account::{Denied, Why, recover, sign_up};
use crate::app::App;
use crate::problem::Problem;
use crate::store::account::Realm;
use crate::store::recovery::Code;
use crate::web::visitor::{self, Fields, Posted, Visitor, agent, next, see_other};
use crate::web::{Layout, Section, assets, page, page_as};

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    layout: Layout,
    script: String,
    told: Option<&'static str>,
    error: Option<String>,
    email: &'a str,
    next: &'a str,
}

fn layout(app: &App) -> Layout {
    Layout::new(&app.name, Section::Account)
}

fn sign_in_page(app: &App, told: Option<&'static str>, error: Option<Why>, fields: &Fields) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let (email, error) = (fields.text("email"), error.map(|why| why.to_string()));
    let shown = SignInPage { layout: layout(app), script: assets::address("passkey.js"), told, error, email, next: next(fields) };
    Ok(with_script(page_as(status, &shown)?))
}

/// `/account/sign-in`
///
/// # Errors
/// A failure of the template.
pub async fn sign_in_form(State(app): State<App>, Visitor(who): Visitor, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    if who.is_some() {
        return Ok(see_other(next(&fields)));
    }
    sign_in_page(&app, super::told(query.as_deref()), None, &fields)
}

/// Takes address and password.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let step =
        sign_in::with_password(&app, Realm::Users, fields.text("email"), fields.password("password"), agent(&headers), app.clock.now())
            .await;
    match step {
        Ok(Step::In(session)) => Ok(visitor::signed_in(&app, &session, see_other(next(&fields)))),
        // Only of staff is a recovery code asked for by itself.
        Ok(Step::Code(kept) | Step::Recovery(kept)) => code_page(&app, &kept, None, next(&fields)),
        Err(Denied::Why(why)) => sign_in_page(&app, None, Some(why), &fields),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "sign-in-code.html")]
struct CodePage<'a> {
    layout: Layout,
    kept: &'a str,
    error: Option<String>,
    next: &'a str,
}

fn code_page(app: &App, kept: &str, error: Option<Why>, next: &str) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_as(status, &CodePage { layout: layout(app), kept, error: error.map(|why| why.to_string()), next })
}

/// Takes the code.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in_code(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let kept = fields.text("kept");
    match sign_in::with_code(&app, Realm::Users, kept, fields.text("code"), agent(&headers), app.clock.now()).await {
        Ok(session) => Ok(visitor::signed_in(&app, &session, see_other(next(&fields)))),
        Err(Denied::Why(Why::TooLate)) => sign_in_page(&app, None, Some(Why::TooLate), &fields),
        Err(Denied::Why(why)) => code_page(&app, kept, Some(why), next(&fields)),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "sign-up.html")]
struct SignUpPage<'a> {
    layout: Layout,
    error: Option<String>,
    user_id: &'a str,
    email: &'a str,
}

/// `/account/sign-up`
///
/// # Errors
/// A failure of the template.
pub async fn sign_up_form(State(app): State<App>, Visitor(who): Visitor) -> Result<Response, Problem> {
    if who.is_some() {
        return Ok(see_other("/account"));
    }
    page(&SignUpPage { layout: layout(&app), error: None, user_id: "", email: "" })
}

#[derive(Template)]
#[template(path = "recovery-codes.html")]
pub(super) struct RecoveryCodesPage<'a> {
    pub layout: Layout,
    pub new_account: bool,
    pub mailed: bool,
    pub email: &'a str,
    pub codes: Vec<String>,
}

/// Makes an account; shows the recovery codes, once.
///
/// # Errors
/// A failure of the database.
pub async fn sign_up(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let wanted = sign_up::Wanted {
        email: fields.text("email").to_owned(),
        password: fields.password("password"),
        user_id: fields.text("user_id").to_owned(),
        agent: agent(&headers),
    };
    match sign_up::run(&app, wanted, app.clock.now()).await {
        Ok(made) => {
            let email = fields.text("email").trim();
            let layout = Layout { person: Some(email.to_owned()), ..layout(&app) };
            let codes = made.codes.iter().map(Code::reveal).collect();
            let shown = page(&RecoveryCodesPage { layout, new_account: true, mailed: made.mailed, email, codes })?;
            Ok(visitor::signed_in(&app, &made.session, shown))
        }
        Err(Denied::Why(why)) => {
            let (user_id, email) = (fields.text("user_id"), fields.text("email"));
            page_as(StatusCode::UNPROCESSABLE_ENTITY, &SignUpPage { layout: layout(&app), error: Some(why.to_string()), user_id, email })
        }
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "forgotten.html")]
struct ForgottenPage<'a> {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    mail: bool,
    email: &'a str,
}

fn forgotten_page(app: &App, told: Option<&'static str>, error: Option<Why>, email: &str) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let error = error.map(|why| why.to_string());
    page_as(status, &ForgottenPage { layout: layout(app), told, error, mail: app.config.mail.is_on(), email })
}

/// `/account/forgotten`
///
/// # Errors
/// A failure of the template.
pub async fn forgotten_form(State(app): State<App>) -> Result<Response, Problem> {
    forgotten_page(&app, None, None, "")
}

/// Mails a link, where there is such an account.
///
/// # Errors
/// A failure of the database.
pub async fn forgotten(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    match recover::ask(&app, fields.text("email"), app.clock.now()).await {
        Err(Denied::Problem(problem)) => Err(problem),
        _ => forgotten_page(
            &app,
            Some("If there is an account with this address, a mail is on its way. Its link is good for one hour."),
            None,
            "",
        ),
    }
}

/// Takes a recovery code and a new password.
///
/// # Errors
/// A failure of the database.
pub async fn recover(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    let email = fields.text("email");
    match recover::by_code(&app, email, fields.text("code"), fields.password("password"), app.clock.now()).await {
        Ok(()) => Ok(see_other("/account/sign-in?done=reset")),
        Err(Denied::Why(why)) => forgotten_page(&app, None, Some(why), email),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage<'a> {
    layout: Layout,
    heading: &'static str,
    button: &'static str,
    reset: bool,
    ticket: &'a str,
    error: Option<String>,
}

/// `/account/link`: says what the link of a mail does. It is done when the button is pressed, because programs open links as well.
///
/// # Errors
/// A failure of the database.
pub async fn link_form(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    link_page(&app, fields.text("ticket"), None).await
}

async fn link_page(app: &App, ticket: &str, error: Option<Why>) -> Result<Response, Problem> {
    let (heading, button, reset) = match change::look(app, ticket, app.clock.now()).await {
        Ok(Link::Confirm) => ("Confirm your e-mail address", "It is mine", false),
        Ok(Link::NewAddress(_)) => ("Use this e-mail address", "Use it", false),
        Ok(Link::Reset) => ("Choose a new password", "Set the new password", true),
        Err(Denied::Why(why)) => return forgotten_page(app, None, Some(why), ""),
        Err(Denied::Problem(problem)) => return Err(problem),
    };
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let error = error.map(|why| why.to_string());
    page_as(status, &LinkPage { layout: layout(app), heading, button, reset, ticket, error })
}

/// Does what the link is for.
///
/// # Errors
/// A failure of the database.
pub async fn link(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    let (ticket, now) = (fields.text("ticket"), app.clock.now());
    let (done, goes) = match change::look(&app, ticket, now).await {
        Ok(Link::Reset) => (recover::by_link(&app, ticket, fields.password("password"), now).await, "/account/sign-in?done=reset"),
        Ok(Link::Confirm) => (change::follow(&app, ticket, now).await, "/account?done=confirmed"),
        Ok(Link::NewAddress(_)) => (change::follow(&app, ticket, now).await, "/account/security?done=email"),
        Err(denied) => (Err(denied), ""),
    };
    match done {
        Ok(()) => Ok(see_other(goes)),
        Err(Denied::Why(why)) => link_page(&app, ticket, Some(why)).await,
        Err(Denied::Problem(problem)) => Err(problem),
    }
}
