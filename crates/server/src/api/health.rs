//! Whether the process lives, and whether it can work.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::roles::{Roles, ServerRole};
use crate::store::lease;

/// How long whoever asks is kept waiting for a contents store.
const PATIENCE: Duration = Duration::from_secs(3);

/// All is well.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// What can be done here.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    /// `ok`, or `degraded` when something is missing that not everything needs
    status: &'static str,
    /// What does not answer, such as `contents`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'static str>,
    /// What this process serves
    #[schema(value_type = Vec<String>)]
    roles: Roles,
    /// Who does the jobs that one process at a time does: `here`, `elsewhere` or `nobody`. `counterfoild doctor` names the process; strangers
    /// need not know the names of hosts.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<&'static str>,
}

/// Whether it can work: what its roles need answers. A process whose contents store is away goes on with what needs no contents.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, body = Ready), (status = 503, body = crate::problem::ProblemDetails)))]
pub async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    let roles = &app.config.server.roles;
    let mut missing = vec![];
    if roles.has_any(&[ServerRole::Authority, ServerRole::Content])
        && let Err(reason) = contents(&app).await
    {
        tracing::warn!(%reason, "the contents store does not answer");
        missing.push("contents");
    }
    let mut jobs = None;
    if roles.need_database() {
        let lease = app.db.read("ready", async |tx| lease::find(tx, lease::JOBS).await).await.map_err(|error| {
            tracing::warn!(%error, "not ready");
            Problem::from(ApiCode::Unavailable)
        })?;
        jobs = Some(match lease.and_then(|lease| lease.holder) {
            _ if app.lead.holds() => "here",
            Some(_) => "elsewhere",
            None => "nobody",
        });
    } else if !missing.is_empty() {
        return Err(ApiCode::ContentsUnavailable.into());
    }
    Ok(Json(Ready { status: if missing.is_empty() { "ok" } else { "degraded" }, missing, roles: roles.clone(), jobs }))
}

async fn contents(app: &App) -> Result<(), String> {
    match tokio::time::timeout(PATIENCE, app.blobs.reach()).await {
        Ok(reached) => reached.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} seconds", PATIENCE.as_secs())),
    }
}
