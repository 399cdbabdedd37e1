//! `/v1/titles/{title}/releases`: what has been published of a title.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::publish_release;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::release::{self, Release, ReleaseObject};
use crate::store::title;

/// A release to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRelease {
    /// The release document: a compact JWS, `typ` `counterfoil-release+jwt`, by the publisher's key, `kid` the publisher's ID.
    pub document: String,
    /// The manifest and the packs, which must be in the contents store.
    #[schema(value_type = Vec<ReleaseObjectDocument>)]
    pub objects: Vec<ReleaseObject>,
    /// For whom: 1 to 32 of a-z, 0-9 and inner hyphens; `stable` where none is named.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "stable")]
    pub channel: Channel,
}

/// An object of a release.
#[derive(ToSchema)]
#[schema(as = ReleaseObject)]
#[expect(dead_code, reason = "describes `ReleaseObject` to OpenAPI")]
pub struct ReleaseObjectDocument {
    /// Its name: BLAKE3 of its bytes, 64 hexadecimal digits.
    object: String,
    /// In bytes.
    length: u64,
}

/// A release.
#[derive(Serialize, ToSchema)]
pub struct ReleaseDocument {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Counts the title's releases from 1.
    pub number: i64,
    /// Of the content key that it is sealed under.
    pub generation: u32,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// The manifest and the packs.
    #[schema(value_type = Vec<ReleaseObjectDocument>)]
    pub objects: Vec<ReleaseObject>,
    /// Since when.
    pub created_at: String,
}

impl ReleaseDocument {
    /// A release with its objects.
    pub fn of(title: &TitleId, row: Release, objects: Vec<ReleaseObject>) -> Self {
        let Release { version, channel, number, document, generation, created_at } = row;
        Self { title: title.clone(), version, channel, number, generation, document, objects, created_at: rfc3339(created_at) }
    }
}

/// A release in a list.
#[derive(Serialize, ToSchema)]
pub struct ReleaseSummary {
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Counts the title's releases from 1.
    pub number: i64,
    /// Of the content key that it is sealed under.
    pub generation: u32,
    /// Since when.
    pub created_at: String,
}

/// Publishes a release.
#[utoipa::path(
    post, path = "/v1/titles/{title}/releases", tag = "releases", operation_id = "publish_release", request_body = NewRelease,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 201, body = ReleaseDocument), (status = 200, description = "It is there already, just so", body = ReleaseDocument),
              (status = 404), (status = 409, description = "`release_exists`: this version has another document"), (status = 422)),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewRelease>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    publish_release::run(&app, &caller, &once, id, new).await
}

/// Releases of a title, newest first.
#[utoipa::path(
    get, path = "/v1/titles/{title}/releases", tag = "releases", operation_id = "list_releases",
    params(("title" = String, Path, description = "Its name"), PageQuery),
    responses((status = 200, body = Page<ReleaseSummary>), (status = 404)),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ReleaseSummary>>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let before = match query.after.as_deref() {
        None | Some("") => i64::MAX,
        Some(after) => after.parse().map_err(|_| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of the page before"))?,
    };
    let (scope, rows) = (caller.scope(), query.rows());
    let found = app
        .db
        .read_lagging("list_releases", async move |tx: &mut Tx| -> Result<Vec<Release>, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            Ok(release::list(tx, &id, before, rows).await?)
        })
        .await?;
    Ok(Json(Page::of(
        found,
        &query,
        |row| row.number.to_string(),
        |Release { version, channel, number, generation, created_at, .. }| ReleaseSummary {
            version,
            channel,
            number,
            generation,
            created_at: rfc3339(created_at),
        },
    )))
}

/// One release.
#[utoipa::path(
    get, path = "/v1/titles/{title}/releases/{version}", tag = "releases", operation_id = "get_release",
    params(("title" = String, Path, description = "Its name"), ("version" = String, Path, description = "Which")),
    responses((status = 200, body = ReleaseDocument), (status = 404)),
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<ReleaseDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let version: ReleaseVersion = version.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let document = app
        .db
        .read_lagging("get_release", async move |tx: &mut Tx| -> Result<ReleaseDocument, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            let row = release::get(tx, &id, &version).await?.ok_or(ApiCode::NotFound)?;
            let objects = release::objects(tx, &id, &version).await?;
            Ok(ReleaseDocument::of(&id, row, objects))
        })
        .await?;
    Ok(Json(document))
}
