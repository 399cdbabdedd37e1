//! What a token is good for.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::auth::{Caller, Role};

/// A token's bearer.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Whoami {
    /// What it is.
    role: Role,
    /// For whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// What the operator calls the token.
    name: String,
    /// Name of the authority.
    authority: String,
}

/// What the token of this request is good for.
#[utoipa::path(get, path = "/v1/whoami", tag = "tokens",
    responses((status = 200, body = Whoami), (status = 401, body = crate::problem::ProblemDetails)))]
pub async fn whoami(State(app): State<App>, caller: Caller) -> Json<Whoami> {
    Json(Whoami { role: caller.role, tenant: caller.tenant, name: caller.name, authority: app.name.clone() })
}
