//! Bearer tokens over HTTP: made, listed, taken back, by the operator.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};

use crate::actions;
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem, ProblemDetails};
use crate::store::token::{self, TokenRow};

/// What a new token is for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What its bearer is.
    role: Role,
    /// For whom: a publisher's ID, where the role is `publisher`; a provider's, where it is `provider`.
    #[serde(default)]
    tenant: Option<String>,
    /// What the operator calls it, 1 to 100 characters.
    name: String,
    /// Days until it ends; without end where absent.
    #[serde(default)]
    expires_in_days: Option<u32>,
}

/// A token, without what it proves itself with.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Token {
    /// The part that is no secret.
    id: String,
    /// What its bearer is.
    role: Role,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// What the operator calls it.
    name: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

/// A new token, shown once.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MadeToken {
    /// `cft_<id>_<secret>`; never shown again.
    token: String,
    /// The rest.
    #[serde(flatten)]
    about: Token,
}

/// A page of tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub struct TokenPage {
    /// In the order of their IDs.
    items: Vec<Token>,
    /// `after` of the next page, where there is one.
    next: Option<String>,
}

/// Which page.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// `next` of the page before.
    #[serde(default)]
    after: String,
    /// At most this many, 1 to 200.
    #[serde(default = "fifty")]
    #[param(minimum = 1, maximum = 200)]
    limit: u32,
}

fn fifty() -> u32 {
    50
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        let written = crate::clock::rfc3339;
        Self {
            id: row.token_id,
            role: row.role,
            tenant: row.tenant,
            name: row.name,
            created_at: written(row.created_at),
            expires_at: row.expires_at.map(written),
            revoked_at: row.revoked_at.map(written),
        }
    }
}

/// Lists tokens, those taken back included.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", params(Page), responses((status = 200, body = TokenPage), (status = 403, body = ProblemDetails)))]
pub async fn list(State(app): State<App>, Query(page): Query<Page>) -> Result<Json<TokenPage>, Problem> {
    let limit = page.limit.clamp(1, 200);
    let mut rows = app.db.read("tokens", async move |tx| token::list(tx, &page.after, limit + 1).await).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| row.token_id.clone());
    Ok(Json(TokenPage { items: rows.into_iter().map(Token::from).collect(), next }))
}

/// Makes a token and shows it this once.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = MadeToken), (status = 422, body = ProblemDetails)))]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewToken>) -> Result<Reply, Problem> {
    let new = actions::token::New { role: new.role, tenant: new.tenant, name: new.name, expires_in_days: new.expires_in_days };
    let prepared = new.prepare(app.clock.now(), &app.rng)?;
    let (row, actor) = (prepared.row.clone(), caller.actor());
    let made = MadeToken { token: prepared.token, about: prepared.row.into() };
    once.write(&app, "make token", token::FAMILY.to_owned(), async move |tx: &mut Tx| {
        actions::token::make(tx, &row, &actor).await??;
        Ok(Reply::created(&made))
    })
    .await
}

/// Takes a token back. It stops being good at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path, description = "The part of the token that is no secret")),
    responses((status = 204), (status = 404, body = ProblemDetails)))]
pub async fn revoke(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    let (now, actor) = (app.clock.now(), caller.actor());
    once.write(&app, "revoke token", token::FAMILY.to_owned(), async move |tx: &mut Tx| {
        let there = actions::token::revoke(tx, &id, now, &actor).await?;
        if there { Ok(Reply::no_content()) } else { Err(ApiCode::NotFound.into()) }
    })
    .await
}
