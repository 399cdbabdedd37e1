//! `/v1/titles/{title}/patches`: what turns one release into another.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::publish_patch;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::patch::{self, Patch};
use crate::store::title;

/// A patch to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPatch {
    /// The release that it is applied to.
    #[schema(value_type = String)]
    pub from: ReleaseVersion,
    /// The release that comes of it, under the same content key.
    #[schema(value_type = String)]
    pub to: ReleaseVersion,
    /// Its name in the contents store, where it must be: BLAKE3 of its bytes, 64 hexadecimal digits.
    #[schema(value_type = String)]
    pub object: ObjectName,
    /// In bytes.
    pub length: u64,
    /// What the chunks of `to` were compressed by, such as `zstd 1.5.7`: devices with another get no patch.
    #[schema(example = "zstd 1.5.7")]
    pub encoder: String,
}

/// A patch.
#[derive(Serialize, ToSchema)]
pub struct PatchDocument {
    /// The release that it is applied to.
    #[schema(value_type = String)]
    pub from: ReleaseVersion,
    /// The release that comes of it.
    #[schema(value_type = String)]
    pub to: ReleaseVersion,
    /// Its name in the contents store.
    #[schema(value_type = String)]
    pub object: ObjectName,
    /// In bytes.
    pub length: u64,
    /// What the chunks of `to` were compressed by.
    pub encoder: String,
    /// Since when.
    pub created_at: String,
}

impl From<Patch> for PatchDocument {
    fn from(row: Patch) -> Self {
        let Patch { from, to, object, length, encoder, created_at } = row;
        Self { from, to, object, length, encoder, created_at: rfc3339(created_at) }
    }
}

/// Publishes a patch between two releases. One that was there between them is replaced: terminals are offered the new one.
#[utoipa::path(
    post, path = "/v1/titles/{title}/patches", tag = "releases", operation_id = "publish_patch", request_body = NewPatch,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 201, body = PatchDocument), (status = 200, description = "It is there already, just so", body = PatchDocument),
              (status = 404), (status = 422)),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewPatch>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    publish_patch::run(&app, &caller, &once, id, new, None).await
}

/// Patches of a title, in order of their releases' versions as text.
#[utoipa::path(
    get, path = "/v1/titles/{title}/patches", tag = "releases", operation_id = "list_patches",
    params(("title" = String, Path, description = "Its name"), PageQuery),
    responses((status = 200, body = Page<PatchDocument>), (status = 404)),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PatchDocument>>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let after = query.after();
    let (scope, rows) = (caller.scope(), query.rows());
    let found = app
        .db
        .read_lagging("list_patches", async move |tx: &mut Tx| -> Result<Vec<Patch>, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            // No version has a colon.
            let after = after.split_once(':').unwrap_or_default();
            Ok(patch::list(tx, &id, after, rows).await?)
        })
        .await?;
    Ok(Json(Page::of(found, &query, |row| format!("{}:{}", row.from, row.to), |row| PatchDocument::from(row.clone()))))
}
