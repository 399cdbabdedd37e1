//! Desks: pages for those who have a token of the API and no account, such as shops and publishers. Whoever signs in shows the token once;
//! the browser keeps which one it was, sealed.

use askama::Template;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_format::encoding::to_base64url;
use serde::{Deserialize, Serialize};

use super::visitor::{self, Fields, see_other};
use super::{Layout, Section, page_as};
use crate::actions::account::between;
use crate::app::App;
use crate::auth::{Admit, Caller};
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::token::{self, TokenRow};

/// How long somebody stays signed in, in milliseconds: a working day.
pub const LIFE: i64 = 12 * 60 * 60 * 1000;

/// What is said where nobody is signed in any more.
pub const AGAIN: &str = "Sign in again.";

/// One desk.
pub struct Desk {
    /// Where it is; it signs in at `sign-in` below that.
    pub path: &'static str,
    /// Names its cookie, and what is sealed in there.
    pub name: &'static str,
    /// Whose tokens it takes.
    pub admit: Admit,
    /// As people read it.
    pub heading: &'static str,
    /// What it is for, and where tokens come from.
    pub about: &'static str,
    /// What is said of another token.
    pub wrong: &'static str,
}

/// What the browser keeps: which token, and never the token. It is good while the token is.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
}

/// Somebody who is signed in at a desk.
pub struct Clerk {
    /// By which token.
    pub token: TokenRow,
    cookie: String,
}

impl Clerk {
    /// As if the token had come with the request.
    pub fn caller(&self) -> Caller {
        let TokenRow { token_id, role, tenant, name, .. } = self.token.clone();
        Caller { token_id, role, tenant, name }
    }

    /// What forms of this desk carry.
    pub fn form_token(&self) -> String {
        to_base64url(&blake3::derive_key("counterfoil 2026-11 token of a desk's forms", self.cookie.as_bytes())[..16])
    }

    /// Whether a form was sent from a page of this sign-in.
    ///
    /// # Errors
    /// `foreign_form`.
    pub fn check(&self, fields: &Fields) -> Result<(), Problem> {
        if self.form_token() == fields.text("form") { Ok(()) } else { Err(ApiCode::ForeignForm.into()) }
    }
}

#[derive(Template)]
#[template(path = "desk-sign-in.html")]
struct SignInPage<'a> {
    layout: Layout,
    desk: &'a Desk,
    error: Option<&'static str>,
}

impl Desk {
    /// Who is signed in.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn clerk(&self, app: &App, headers: &HeaderMap) -> Result<Option<Clerk>, Problem> {
        let Some(cookie) = visitor::cookie(headers, &self.cookie_name(app)) else { return Ok(None) };
        let Some(Kept { token }) = between::open::<Kept>(app, self.name, &cookie) else { return Ok(None) };
        let now = app.clock.now();
        let row = app.db.read("token", async move |tx: &mut Tx| token::find(tx, &token).await).await?;
        Ok(row.filter(|row| row.live(now) && self.admit.admits(row.role)).map(|token| Clerk { token, cookie }))
    }

    /// The page that asks for a token.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn sign_in_page(&self, app: &App, error: Option<&'static str>) -> Result<Response, Problem> {
        let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
        page_as(status, &SignInPage { layout: Layout::new(&app.name, Section::Elsewhere), desk: self, error })
    }

    /// Takes a token, once; the browser keeps none.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn sign_in(&self, app: &App, fields: &Fields) -> Result<Response, Problem> {
        let wrong = || self.sign_in_page(app, Some(self.wrong));
        let Some(presented) = token::Presented::parse(fields.text("token").trim()) else { return wrong() };
        let (id, now) = (presented.id().to_owned(), app.clock.now());
        let row = app.db.read("token", async move |tx: &mut Tx| token::find(tx, &id).await).await?;
        let good = |row: &TokenRow| presented.matches(&row.hash) && row.live(now) && self.admit.admits(row.role);
        let Some(row) = row.filter(good) else { return wrong() };
        let kept = between::seal_for(app, self.name, &Kept { token: row.token_id }, LIFE)?;
        Ok(self.answer_with(app, &kept, LIFE / 1000))
    }

    /// Forgets who was signed in in this browser.
    ///
    /// # Errors
    /// `foreign_form`, or a failure of the database.
    pub async fn sign_out(&self, app: &App, headers: &HeaderMap, fields: &Fields) -> Result<Response, Problem> {
        if let Some(clerk) = self.clerk(app, headers).await? {
            clerk.check(fields)?;
        }
        Ok(self.answer_with(app, "", 0))
    }

    fn answer_with(&self, app: &App, cookie: &str, seconds: i64) -> Response {
        let mut answer = see_other(self.path);
        let (name, value) = visitor::set_cookie(app, &self.cookie_name(app), cookie, seconds, "Strict");
        answer.headers_mut().append(name, value);
        answer
    }

    fn cookie_name(&self, app: &App) -> String {
        let host = if visitor::is_https(app) { "__Host-" } else { "" };
        format!("{host}counterfoil-{}", self.name)
    }
}
