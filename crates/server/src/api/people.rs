//! `/v1/people`: people from elsewhere, everything that is held about one of them, and its deletion on request.

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::UserId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::media::Reason;
use crate::actions::{erase, export, import_users};
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::erased::Erased;

/// Whether anything is to be written.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DryRun {
    /// Says what would be wrong, and changes nothing.
    #[serde(default)]
    #[param(default = false)]
    pub dry_run: bool,
}

/// What became of people who were handed in.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct ImportedPeople {
    /// People who are new here.
    pub made: usize,
    /// Lines about people who were here already, and are as the line says.
    pub known: usize,
    /// Devices that were announced.
    pub devices: usize,
    /// Who is who: of every line that was taken. Empty for a dry run.
    pub users: Vec<ImportedPerson>,
    /// Lines that were not taken. Where a line cannot be read, or contradicts what is here, nothing of the whole request is taken.
    pub rejected: Vec<RejectedPerson>,
}

/// A line that was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedPerson {
    /// Its number, from 1.
    pub line: usize,
    /// Who it is.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Whether the person is new here.
    pub made: bool,
}

/// A line that was not taken.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RejectedPerson {
    /// Its number, from 1.
    pub line: usize,
    /// What of it is wrong: `user_id`, `reference`, `name`, `email`, `address`, `device_id`, `maker`, `model` or `device_name`, where it can
    /// be said.
    pub column: Option<&'static str>,
    /// What is wrong with it.
    pub reason: String,
}

/// Hands in people who were written down elsewhere, with their devices: at most 1,000 lines, each one JSON object.
///
/// `{"user_id": "…", "reference": "…", "name": "…", "email": "…", "address": "…", "devices": [{"device_id": "…", "maker": "…", "model": "…",
/// "name": "…"}]}`. All but the name may be left out; the name may be, where a user ID says whose devices these are. Without a user ID one is
/// made, which follows from the reference, or else from name, e-mail and address: the same line again is the same person, whoever hands it in.
#[utoipa::path(
    post, path = "/v1/people", tag = "users", operation_id = "import_people", params(DryRun),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = ImportedPeople), (status = 413)),
)]
pub async fn import(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Query(query): Query<DryRun>,
    body: Bytes,
) -> Result<Reply, Problem> {
    import_users::run(&app, &caller, &once, &body, query.dry_run).await
}

/// Everything that is held about one person, as one JSON document: an array for each kind of the export that hangs from a user, the grants of
/// their media, and their audit log. That it was asked for is recorded there.
#[utoipa::path(
    get, path = "/v1/people/{user_id}", tag = "users", operation_id = "export_person",
    params(("user_id" = String, Path, description = "Who")),
    responses((status = 200, description = "Everything", content_type = "application/json"), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let document = export::person(&app, &caller, id).await?;
    Ok(([(CONTENT_TYPE, "application/json")], HttpBody::from_stream(document)).into_response())
}

/// A person whose data was deleted.
#[derive(Serialize, ToSchema)]
pub struct ErasedPerson {
    /// Whose: the user ID stays, with what it owns.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// When.
    pub erased_at: String,
    /// How much that was.
    pub erased: Erased,
}

/// Deletes what is known of a person: name, e-mail, address, account, what devices are called and said, what was handed in. What the user
/// owns stays theirs; orders, balances, repairs and the audit log are kept for accounting.
#[utoipa::path(
    post, path = "/v1/people/{user_id}/erase", tag = "users", operation_id = "erase_person", request_body = Reason,
    params(("user_id" = String, Path, description = "Who")),
    responses((status = 200, body = ErasedPerson), (status = 404)),
)]
pub async fn erase(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    erase::run(&app, caller.actor(), &once, id, reason.reason).await
}
