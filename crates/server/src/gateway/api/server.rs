//! Whether a gateway lives and can work, and its figures.

use axum::Json;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use crate::db::Tx;
use crate::gateway::app::App;
use crate::gateway::store::exchange;
use crate::metrics;
use crate::problem::{ApiCode, Problem, ProblemDetails};

/// All is well.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "server", operation_id = "gateway_health", responses((status = 200, body = Health)))]
pub async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// What can be done here.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Ready {
    /// `ok`, or `degraded` while the authority does not answer: accounts can be looked at, and exchanges wait.
    status: &'static str,
    /// What does not answer: `authority`, `identity` (not enrolled, or the certificate has ended).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'static str>,
    /// Exchanges that are on their way.
    open: i64,
}

/// Whether it can work.
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "gateway_ready",
    responses((status = 200, body = Ready), (status = 503, body = ProblemDetails)))]
pub async fn readyz(State(app): State<App>) -> Result<Json<Ready>, Problem> {
    let (open, _) = app.db.read("ready", async |tx: &mut Tx| exchange::under_way(tx).await).await.map_err(|error| {
        tracing::warn!(%error, "not ready");
        Problem::from(ApiCode::Unavailable)
    })?;
    let mut missing = vec![];
    if !app.authority.identity().is_ok_and(|(_, _, until)| app.clock.now() < until) {
        missing.push("identity");
    }
    if !app.authority.answers() {
        missing.push("authority");
    }
    Ok(Json(Ready { status: if missing.is_empty() { "ok" } else { "degraded" }, missing, open }))
}

/// Figures for Prometheus, as text; for this machine only.
#[utoipa::path(get, path = "/metrics", tag = "server", operation_id = "gateway_metrics",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"),
              (status = 403, description = "Not from this machine")))]
pub async fn scrape(request: Request) -> Result<Response, Problem> {
    if !metrics::is_local(&request) {
        return Err(Problem::with(ApiCode::Forbidden, "a gateway shows its figures to its own machine only"));
    }
    Ok(metrics::shown())
}
