//! The pages before one is signed in: sign in, make an account, a new password by a one-time link; and out.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::AccountId;
use counterfoil_format::encoding::frame;

use super::visitor::{Sent, Visitor, signed_in, signed_out};
use super::{Section, layout};
use crate::actions::account::password;
use crate::db::Tx;
use crate::gateway::accounts;
use crate::gateway::app::App;
use crate::gateway::store::account::{self, AccountRow, Holder};
use crate::gateway::store::customer;
use crate::gateway::store::entry::{self, Link};
use crate::problem::{ApiCode, Problem};
use crate::web::console::staff::draw_once;
use crate::web::visitor::{Fields, Posted, agent, next, see_other};
use crate::web::{Layout, page_as};

#[derive(Template)]
#[template(path = "gateway/sign-in.html")]
struct SignInPage<'a> {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    open: bool,
    name: &'a str,
    next: &'a str,
}

fn sign_in_page(app: &App, told: Option<&'static str>, error: Option<String>, fields: &Fields) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let (layout, open) = (layout(app, Section::Account, None), app.config.accounts.open);
    page_as(status, &SignInPage { layout, told, error, open, name: fields.text("name"), next: next(fields) })
}

/// `/account/sign-in`
///
/// # Errors
/// A failure of the database.
pub async fn sign_in_form(State(app): State<App>, Visitor(who): Visitor, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    if who.is_some() {
        return Ok(see_other(next(&fields)));
    }
    let told = match fields.text("done") {
        "out" => Some("You are signed out."),
        "password" => Some("The password is set. Sign in with it."),
        _ => None,
    };
    sign_in_page(&app, told, None, &fields)
}

/// Takes name and password.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let holder = Holder::Browser(agent(&headers));
    match accounts::sign_in(&app, fields.text("name"), fields.password("password"), holder).await {
        Ok(signed) => Ok(signed_in(&app, &signed.token, see_other(next(&fields)))),
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let error = "Name or password is wrong. After ten attempts, nobody is let in for fifteen minutes.".to_owned();
            sign_in_page(&app, None, Some(error), &fields)
        }
        Err(problem) => Err(problem),
    }
}

#[derive(Template)]
#[template(path = "gateway/sign-up.html")]
struct SignUpPage<'a> {
    layout: Layout,
    error: Option<String>,
    name: &'a str,
    once: String,
}

fn open(app: &App) -> Result<(), Problem> {
    if app.config.accounts.open {
        Ok(())
    } else {
        Err(Problem::with(ApiCode::Forbidden, "accounts are made by this gateway's operator only"))
    }
}

/// `/account/sign-up`
///
/// # Errors
/// `forbidden` where accounts are made by the operator only.
pub async fn sign_up_form(State(app): State<App>, Visitor(who): Visitor) -> Result<Response, Problem> {
    open(&app)?;
    if who.is_some() {
        return Ok(see_other("/account"));
    }
    page_as(StatusCode::OK, &SignUpPage { layout: layout(&app, Section::Account, None), error: None, name: "", once: draw_once(&app.rng) })
}

/// Makes an account and signs in to it. A form that is sent twice makes one account: its ID is derived from the form.
///
/// # Errors
/// `forbidden`, or a failure of the database.
pub async fn sign_up(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    open(&app)?;
    let (now, name) = (app.clock.now(), fields.text("name").trim().to_ascii_lowercase());
    let id = match fields.some("once") {
        // With everything that was typed: whoever has seen the form has not seen the password.
        Some(_) => id_of(&fields),
        None => app.rng.bytes(),
    };
    let id = AccountId::from_bytes(id);
    match accounts::make(&app.db, &app.rng, id, &name, fields.password("password"), None, now).await {
        Ok(id) => {
            let signed = accounts::let_in(&app, id, name, Holder::Browser(agent(&headers)), now).await?.ok_or(ApiCode::Conflict)?;
            Ok(signed_in(&app, &signed.token, see_other("/account?done=made")))
        }
        Err(problem) if matches!(problem.status, StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY) => {
            let (error, once) = (Some(said(problem)), draw_once(&app.rng));
            let shown = SignUpPage { layout: layout(&app, Section::Account, None), error, name: fields.text("name"), once };
            page_as(StatusCode::UNPROCESSABLE_ENTITY, &shown)
        }
        Err(problem) => Err(problem),
    }
}

fn id_of(fields: &Fields) -> [u8; 16] {
    let name = fields.text("name").trim().to_ascii_lowercase();
    let parts = frame(&[fields.text("once"), &name, fields.text("password")].map(str::as_bytes));
    let hash = blake3::derive_key("counterfoil 2026-11 ID of an account that a form makes", &parts);
    std::array::from_fn(|at| hash[at])
}

/// What a problem says in particular, as a sentence.
pub(super) fn said(problem: Problem) -> String {
    let text = problem.detail.unwrap_or(problem.title);
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let sentence: String = first.chain(letters).collect();
    if sentence.ends_with('.') { sentence } else { format!("{sentence}.") }
}

/// Ends what this browser holds.
///
/// # Errors
/// A failure of the database.
pub async fn sign_out(State(app): State<App>, Sent { by, .. }: Sent) -> Result<Response, Problem> {
    accounts::sign_out(&app, by.account.id, &by.token).await?;
    Ok(signed_out(&app, see_other("/account/sign-in?done=out")))
}

#[derive(Template)]
#[template(path = "gateway/new-password.html")]
struct NewPasswordPage<'a> {
    layout: Layout,
    error: Option<String>,
    /// None: the link is not good any more.
    name: Option<String>,
    link: &'a str,
}

async fn whose(app: &App, link: &str) -> Result<Option<(Link, AccountRow)>, Problem> {
    let (Some(link), now) = (Link::parse(link), app.clock.now()) else { return Ok(None) };
    let asked = link.clone();
    let found = app
        .db
        .read("whose link", async move |tx: &mut Tx| match entry::password_link(tx, &asked, now).await? {
            Some(account) => account::find(tx, account).await,
            None => Ok(None),
        })
        .await?;
    Ok(found.filter(|row| row.closed_at.is_none()).map(|row| (link, row)))
}

fn new_password_page(app: &App, link: &str, name: Option<String>, error: Option<String>) -> Result<Response, Problem> {
    let status = match (&name, &error) {
        (None, _) => StatusCode::FORBIDDEN,
        (_, Some(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    page_as(status, &NewPasswordPage { layout: layout(app, Section::Account, None), error, name, link })
}

/// `/account/new-password`: where a link of the gateway's operator leads. Nothing happens yet, for programs open links as well.
///
/// # Errors
/// A failure of the database.
pub async fn new_password_form(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    let link = fields.text("link");
    let name = whose(&app, link).await?.map(|(_, row)| row.name);
    new_password_page(&app, link, name, None)
}

/// Sets it: the link is used up, and every browser and terminal is signed out.
///
/// # Errors
/// A failure of the database.
pub async fn new_password(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    let (text, given, now) = (fields.text("link"), fields.password("password"), app.clock.now());
    let Some((link, row)) = whose(&app, text).await? else { return new_password_page(&app, text, None, None) };
    if let Err(why) = password::check(&given, &row.name) {
        return new_password_page(&app, text, Some(row.name), Some(why.to_string()));
    }
    let (hash, id) = (password::hash(given, &app.rng).await?, row.id);
    let set = async move |tx: &mut Tx| -> Result<bool, crate::db::DbError> {
        Ok(entry::use_link(tx, &link, "password", now).await? && customer::set_password(tx, id, &hash).await?)
    };
    match app.db.write("set password by link", account::family(id), set).await? {
        true => Ok(see_other("/account/sign-in?done=password")),
        false => new_password_page(&app, text, None, None),
    }
}
