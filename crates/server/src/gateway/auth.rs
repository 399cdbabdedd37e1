//! Whom a gateway's route admits, and who asks.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::{Code, Refusal};

use super::accounts;
use super::app::App;
use super::store::account::{AccountRow, Token};
use crate::auth::bearer;
use crate::problem::Problem;

/// Whom a route admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// Everybody.
    Public,
    /// Whoever is signed in to an account.
    Account,
}

/// Who asks: exists behind routes that admit accounts only.
#[derive(Clone)]
pub struct Caller {
    /// The account.
    pub account: AccountRow,
    /// What it was presented by.
    pub token: Token,
}

/// The layer of routes that admit accounts only.
pub async fn require(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match presented(&app, request.headers()).await {
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Ok(None) => Problem::from(Code::AccountNeeded).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Who asks, where a token is presented at all.
///
/// # Errors
/// `account_needed`: a token that is not good.
pub async fn presented(app: &App, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
    if !headers.contains_key(AUTHORIZATION) {
        return Ok(None);
    }
    let unknown = || Problem::from(Refusal::with(Code::AccountNeeded, "this is no token of an account here"));
    let token = bearer(headers).and_then(Token::parse).ok_or_else(unknown)?;
    Ok(Some(Caller { account: accounts::who(app, &token).await?, token }))
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::internal("a route that admits accounts only has no layer for it"))
    }
}
