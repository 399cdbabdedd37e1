//! What media allow, and their refreshes: of one medium, of a batch, of those that a query finds.

use axum::extract::{Path, State};
use counterfoil_core::rules::rights::RightsChange;
use counterfoil_core::{BatchId, MediumId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batches::{BatchDocument, RightsDocument};
use super::media::{MediumDocument, Reason};
use crate::actions::rights::{self, query};
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};

/// A change of rights.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRights {
    /// Only what is named changes. `null` takes away `upload_mib`, `expires_at` or an attribute.
    #[schema(value_type = RightsDocument)]
    pub rights: RightsChange,
    /// For the audit log; up to 200 characters.
    #[serde(default)]
    pub reason: String,
    /// Whether writable media are to be brought the new rights, with a new claim secret, when they are next heard of.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub refresh: bool,
}

/// A change of rights of the media that fit.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaQuery {
    /// As for one medium.
    #[schema(value_type = RightsDocument)]
    pub rights: RightsChange,
    /// For the audit log; up to 200 characters.
    #[serde(default)]
    pub reason: String,
    /// As for one medium.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub refresh: bool,
    /// First serial; 1 if it is not said.
    #[serde(default)]
    #[schema(minimum = 1)]
    pub from: Option<i64>,
    /// Last serial; the batch's last if it is not said.
    #[serde(default)]
    pub until: Option<i64>,
    /// `unclaimed`, `claimed` or `retired`; any if it is not said.
    #[serde(default)]
    pub state: Option<String>,
}

fn yes() -> bool {
    true
}

/// What became of a query.
#[derive(Serialize, ToSchema)]
pub struct ChangedMedia {
    /// Media that fit, of at most 1,000 serials.
    pub matched: usize,
    /// Those whose rights are others now.
    pub changed: usize,
    /// Where to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}

/// Changes what one medium allows. It has rights of its own from then on, whatever becomes of its batch's.
#[utoipa::path(
    patch, path = "/v1/media/{medium_id}/rights", tag = "media", operation_id = "change_medium_rights", request_body = ChangeRights,
    params(("medium_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = MediumDocument), (status = 404), (status = 422)),
)]
pub async fn of_medium(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(change): Body<ChangeRights>,
) -> Result<Reply, Problem> {
    let id: MediumId = id.parse().map_err(|_| ApiCode::NotFound)?;
    rights::of_medium(&app, &caller, &once, id, change).await
}

/// Changes what the media of a batch allow, those excepted that have rights of their own.
#[utoipa::path(
    patch, path = "/v1/batches/{batch}/rights", tag = "batches", operation_id = "change_batch_rights", request_body = ChangeRights,
    params(("batch" = String, Path, description = "Its ID")),
    responses((status = 200, body = BatchDocument), (status = 404), (status = 422)),
)]
pub async fn of_batch(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(change): Body<ChangeRights>,
) -> Result<Reply, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    rights::of_batch(&app, &caller, &once, id, change).await
}

/// Changes what those media of a batch allow that fit: each has rights of its own from then on. It looks at 1,000 serials; `next` says where
/// to go on.
#[utoipa::path(
    post, path = "/v1/batches/{batch}/media/rights", tag = "batches", operation_id = "change_media_rights", request_body = MediaQuery,
    params(("batch" = String, Path, description = "Its ID")),
    responses((status = 200, body = ChangedMedia), (status = 404), (status = 422)),
)]
pub async fn of_query(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(query): Body<MediaQuery>,
) -> Result<Reply, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    query::run(&app, &caller, &once, id, query).await
}

/// Has one writable medium brought a new claim secret, and its rights as they are, when it is next heard of. Once it has proven itself under
/// the new secret, the old one is good no more.
#[utoipa::path(
    post, path = "/v1/media/{medium_id}/refresh", tag = "media", operation_id = "refresh_medium", request_body = Reason,
    params(("medium_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = MediumDocument), (status = 404), (status = 422)),
)]
pub async fn refresh_medium(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: MediumId = id.parse().map_err(|_| ApiCode::NotFound)?;
    rights::refresh_medium(&app, &caller, &once, id, reason.reason).await
}

/// Has all writable media of a batch refreshed, each when it is next heard of.
#[utoipa::path(
    post, path = "/v1/batches/{batch}/refresh", tag = "batches", operation_id = "refresh_batch", request_body = Reason,
    params(("batch" = String, Path, description = "Its ID")),
    responses((status = 200, body = BatchDocument), (status = 404), (status = 422)),
)]
pub async fn refresh_batch(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    rights::refresh_batch(&app, &caller, &once, id, reason.reason).await
}
