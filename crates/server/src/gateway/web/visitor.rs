//! Who asks for a page of a gateway, and that a form was sent from one of their pages.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::gateway::accounts;
use crate::gateway::app::App;
use crate::gateway::store::account::{AccountRow, BROWSER_LIFE, Holder, Token};
use crate::gateway::store::entry::is_form;
use crate::problem::Problem;
use crate::web::site::is_https;
use crate::web::visitor::{Fields, Posted, cookie, foreign, see_other, set_cookie};

/// Somebody who may be signed in.
pub struct Visitor(pub Option<Person>);

impl FromRequestParts<App> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(token) = cookie(&parts.headers, cookie_name(app)).as_deref().and_then(Token::parse) else { return Ok(Self(None)) };
        let held = accounts::holds(app, &token).await?;
        // The token of a terminal opens no page.
        let browser = held.filter(|(_, holder)| matches!(holder, Holder::Browser(_)));
        Ok(Self(browser.map(|(account, _)| Person { account, token })))
    }
}

/// Somebody who is signed in; who is not, is asked to, and comes back.
pub struct Person {
    /// Who.
    pub account: AccountRow,
    /// What their browser holds.
    pub token: Token,
}

impl FromRequestParts<App> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match Visitor::from_request_parts(parts, app).await {
            Ok(Visitor(Some(person))) => Ok(person),
            Ok(Visitor(None)) => {
                // What was sent with a form is lost, so its page is where to go on.
                let back = parts.uri.path_and_query().filter(|_| parts.method == Method::GET).map_or("/account", |path| path.as_str());
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", back).finish();
                Err(see_other(&format!("/account/sign-in?{query}")))
            }
            Err(problem) => Err(problem.into_response()),
        }
    }
}

/// A form of somebody who is signed in, sent from a page of theirs.
pub struct Sent {
    /// Who.
    pub by: Person,
    /// What.
    pub fields: Fields,
}

impl FromRequest<App> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let by = Person::from_request_parts(&mut parts, app).await?;
        let Posted(fields) = Posted::from_request(Request::from_parts(parts, body), app).await.map_err(IntoResponse::into_response)?;
        if !is_form(&by.token.form(), fields.text("form")) {
            return Err(foreign().into_response());
        }
        Ok(Self { by, fields })
    }
}

/// `__Host-` where it is served over HTTPS. Not the authority's name: both may be on one host, whose cookies all its ports share.
fn cookie_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-counterfoil-gateway" } else { "counterfoil-gateway" }
}

/// The answer with the cookie of a browser that was let in.
pub fn signed_in(app: &App, token: &Token, answer: Response) -> Response {
    with_cookie(app, &token.reveal(), BROWSER_LIFE / 1000, answer)
}

/// The answer that takes the cookie away.
pub fn signed_out(app: &App, answer: Response) -> Response {
    with_cookie(app, "", 0, answer)
}

fn with_cookie(app: &App, value: &str, seconds: i64, mut answer: Response) -> Response {
    // Lax: a payment provider leads back to a page by a link.
    let (name, value) = set_cookie(app, cookie_name(app), value, seconds, "Lax");
    answer.headers_mut().append(name, value);
    answer
}
