//! Whether the process lives, and whether it can work.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::app::App;
use crate::db::DbError;
use crate::problem::Problem;

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

/// Whether it can work: the database answers.
#[utoipa::path(get, path = "/readyz", tag = "server",
    responses((status = 200, body = Health), (status = 503, body = crate::problem::ProblemDetails)))]
pub async fn readyz(State(app): State<App>) -> Result<Json<Health>, Problem> {
    let answered: Result<(), DbError> = app.db.read("ready", async |tx| tx.query("SELECT 1").one::<(i64,)>().await.map(drop)).await;
    answered.map_err(|error| {
        tracing::warn!(%error, "not ready");
        Problem::from(crate::problem::ApiCode::Unavailable)
    })?;
    Ok(Json(Health { status: "ok" }))
}
