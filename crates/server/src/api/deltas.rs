//! `/v1/titles/{title}/deltas`: chunks of one release, written against those of another.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery};
use super::patches::{NewPatch, PatchDocument};
use crate::actions::publish_patch;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::delta::{self, Delta};
use crate::store::title;

/// Deltas to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDelta {
    /// The release that devices have.
    #[schema(value_type = String)]
    pub from: ReleaseVersion,
    /// The release whose chunks they are, under the same content key.
    #[schema(value_type = String)]
    pub to: ReleaseVersion,
    /// The object in the contents store, where it must be: BLAKE3 of its bytes, 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub object: ObjectName,
    /// In bytes.
    pub length: u64,
    /// What the chunks of `to` were compressed by, such as `zstd 1.5.7`: devices with another are not offered them.
    #[schema(example = "zstd 1.5.7")]
    pub encoder: String,
    /// Sealed bytes of the chunks that it gives: what else is missing comes as it is.
    pub covered: u64,
}

/// Deltas between two releases.
#[derive(Serialize, ToSchema)]
pub struct DeltaDocument {
    /// Between which releases, and the object.
    #[serde(flatten)]
    pub patch: PatchDocument,
    /// Sealed bytes of the chunks that it gives.
    pub covered: u64,
}

impl From<Delta> for DeltaDocument {
    fn from(Delta { patch, covered }: Delta) -> Self {
        Self { patch: patch.into(), covered }
    }
}

/// Publishes deltas between two releases. Those that were there between them are replaced.
#[utoipa::path(
    post, path = "/v1/titles/{title}/deltas", tag = "releases", operation_id = "publish_deltas", request_body = NewDelta,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 201, body = DeltaDocument), (status = 200, description = "They are there already, just so", body = DeltaDocument),
              (status = 404), (status = 422)),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewDelta>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let NewDelta { from, to, object, length, encoder, covered } = new;
    publish_patch::run(&app, &caller, &once, id, NewPatch { from, to, object, length, encoder }, Some(covered)).await
}

/// Deltas of a title, in order of their releases' versions as text.
#[utoipa::path(
    get, path = "/v1/titles/{title}/deltas", tag = "releases", operation_id = "list_deltas",
    params(("title" = String, Path, description = "Its name"), PageQuery),
    responses((status = 200, body = Page<DeltaDocument>), (status = 404)),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<DeltaDocument>>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let after = query.after();
    let (scope, rows) = (caller.scope(), query.rows());
    let found = app
        .db
        .read_lagging("list_deltas", async move |tx: &mut Tx| -> Result<Vec<Delta>, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            // No version has a colon.
            let after = after.split_once(':').unwrap_or_default();
            Ok(delta::list(tx, &id, after, rows).await?)
        })
        .await?;
    let cursor = |row: &Delta| format!("{}:{}", row.patch.from, row.patch.to);
    Ok(Json(Page::of(found, &query, cursor, |row| DeltaDocument::from(row.clone()))))
}
