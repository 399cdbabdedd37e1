//! `/v1/gateways/{gateway}/terms`: shares that change from a day on (C17).

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parsed;
use crate::actions::gateways::terms;
use crate::api::page::{Page, PageQuery, rfc3339};
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{Body, Problem};
use crate::store::gateway::terms::Terms;

/// Another share, from a moment on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTerms {
    /// Its share of every price, in hundredths of a percent.
    #[schema(minimum = 0, maximum = 10000)]
    pub share: u32,
    /// From when on, RFC 3339; from now on where it is not said. What was prepared before keeps the share that it was made under.
    #[serde(default)]
    #[schema(example = "2026-12-01T00:00:00Z")]
    pub from: Option<String>,
}

/// A share that held, holds or will hold from a moment on.
#[derive(Serialize, ToSchema)]
pub struct TermsDocument {
    /// From when on.
    pub since: String,
    /// The gateway's share, in hundredths of a percent.
    pub share: u32,
    /// When that was said.
    pub created_at: String,
}

impl From<Terms> for TermsDocument {
    fn from(terms: Terms) -> Self {
        Self { since: rfc3339(terms.since.0), share: terms.share, created_at: rfc3339(terms.created_at.0) }
    }
}

/// Shares of a gateway from moment to moment, as they were, are and will be; the first is the one that it began with.
#[utoipa::path(
    get, path = "/v1/gateways/{gateway}/terms", tag = "gateways", operation_id = "list_gateway_terms",
    params(("gateway" = String, Path, description = "Its ID"), PageQuery),
    responses((status = 200, body = Page<TermsDocument>), (status = 404)),
)]
pub async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<TermsDocument>>, Problem> {
    Ok(Json(terms::list(&app, parsed(&id)?, query).await?))
}

/// Changes a gateway's share from now or a later moment on. What was charged before, and statements of it, stay as they are.
#[utoipa::path(
    post, path = "/v1/gateways/{gateway}/terms", tag = "gateways", operation_id = "set_gateway_terms", request_body = NewTerms,
    params(("gateway" = String, Path, description = "Its ID")),
    responses((status = 201, body = TermsDocument), (status = 404), (status = 409), (status = 422)),
)]
pub async fn set(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewTerms>,
) -> Result<Reply, Problem> {
    terms::put(&app, &caller, &once, parsed(&id)?, new).await
}
