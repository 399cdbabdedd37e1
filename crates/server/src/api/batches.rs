//! `/v1/batches`: pressing runs, and the identities of their media.

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use counterfoil_core::{BatchId, ReleaseVersion, Rights, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use super::people::DryRun;
use crate::actions::{create_batch, import_media, press};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::batch::{self, Batch, BatchTitle, Origin};

/// A pressing run to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBatch {
    /// For people.
    #[serde(default)]
    pub name: String,
    /// What lies on its media, in this order; all of one publisher.
    pub titles: Vec<NewBatchTitle>,
    /// How many media, whose IDs are made here. Either this or `imported`.
    #[serde(default)]
    pub count: Option<i64>,
    /// The IDs were made elsewhere, and are handed in one by one.
    #[serde(default)]
    pub imported: bool,
    /// What each of its media allows.
    #[serde(default)]
    #[schema(value_type = RightsDocument)]
    pub rights: Rights,
    /// The media are given away: their keys are paid for when they are copied, at a gateway that sells them (C18). It cannot be changed later.
    #[serde(default)]
    pub paid_on_copy: bool,
}

/// A title on the media of a batch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBatchTitle {
    /// Which.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// In which release; the newest if it is not said.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub version: Option<ReleaseVersion>,
}

/// What media allow (B2). What is left out has its default.
#[derive(ToSchema)]
#[schema(as = Rights)]
#[expect(dead_code, reason = "describes `Rights` to OpenAPI")]
pub struct RightsDocument {
    /// Managed copies that may be claimed.
    #[schema(default = 1)]
    copies: Option<u32>,
    /// Fetching releases from the network.
    #[schema(default = true)]
    download: Option<bool>,
    /// Handing content in.
    #[schema(default = false)]
    upload: Option<bool>,
    /// How much of it may be held for each title and user, in MiB.
    #[schema(default = 64)]
    upload_mib: Option<u32>,
    /// Whether it leaves the device so that providers can read it.
    #[schema(default = false)]
    upload_readable: Option<bool>,
    /// Being brought to later releases.
    #[schema(default = true)]
    update: Option<bool>,
    /// Playing from the library.
    #[schema(default = true)]
    play: Option<bool>,
    /// Moving the entitlement to another device.
    #[schema(default = true)]
    transfer: Option<bool>,
    /// When no copy may be claimed any more: milliseconds since 1970 UTC, as terminals read it.
    expires_at: Option<i64>,
    /// Whatever else publisher and program agree on.
    attributes: Option<std::collections::BTreeMap<String, String>>,
}

/// A pressing run.
#[derive(Serialize, ToSchema)]
pub struct BatchDocument {
    /// Which.
    #[schema(value_type = String)]
    pub batch: BatchId,
    /// Whose.
    #[schema(value_type = String)]
    pub publisher: String,
    /// For people.
    pub name: String,
    /// `pressed` or `imported`.
    pub origin: &'static str,
    /// How many media.
    pub count: i64,
    /// What lies on them.
    pub titles: Vec<BatchTitleDocument>,
    /// What each of them allows that has no rights of its own.
    #[schema(value_type = RightsDocument)]
    pub rights: Rights,
    /// Refreshes that were ordered of all of them.
    pub refreshes: u32,
    /// Whether their keys are paid for when they are copied.
    pub paid_on_copy: bool,
    /// Since when.
    pub created_at: String,
}

/// A title on the media of a batch.
#[derive(Clone, Serialize, ToSchema)]
pub struct BatchTitleDocument {
    /// Which.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// In which release.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
}

impl BatchDocument {
    /// A batch with its titles.
    pub fn of(row: Batch, titles: &[BatchTitle]) -> Self {
        Self {
            batch: row.id,
            publisher: row.publisher.into(),
            name: row.name,
            origin: row.origin.as_str(),
            count: row.count,
            titles: titles.iter().map(|on| BatchTitleDocument { title: on.title.clone(), version: on.version.clone() }).collect(),
            rights: row.rights,
            refreshes: row.refreshes,
            paid_on_copy: row.paid_on_copy,
            created_at: rfc3339(row.created_at),
        }
    }
}

/// Makes a batch.
#[utoipa::path(
    post, path = "/v1/batches", tag = "batches", operation_id = "create_batch", request_body = NewBatch,
    responses((status = 201, body = BatchDocument), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewBatch>) -> Result<Reply, Problem> {
    create_batch::run(&app, &caller, &once, new).await
}

/// Batches that the caller may see, by ID.
#[utoipa::path(
    get, path = "/v1/batches", tag = "batches", operation_id = "list_batches", params(PageQuery),
    responses((status = 200, body = Page<BatchDocument>)),
)]
pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<PageQuery>) -> Result<Json<Page<BatchDocument>>, Problem> {
    let (scope, after, rows) = (caller.scope(), query.after(), query.rows());
    let found = app
        .db
        .read_lagging("list_batches", async move |tx: &mut Tx| -> Result<Vec<(Batch, Vec<BatchTitle>)>, Problem> {
            let mut found = vec![];
            for row in batch::list(tx, &scope, &after, rows).await? {
                let titles = batch::titles(tx, row.id).await?;
                found.push((row, titles));
            }
            Ok(found)
        })
        .await?;
    Ok(Json(Page::of(found, &query, |(row, _)| row.id.to_string(), |(row, titles)| BatchDocument::of(row, &titles))))
}

/// One batch.
#[utoipa::path(
    get, path = "/v1/batches/{batch}", tag = "batches", operation_id = "get_batch",
    params(("batch" = String, Path, description = "Its ID")),
    responses((status = 200, body = BatchDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<BatchDocument>, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let document = app
        .db
        .read_lagging("get_batch", async move |tx: &mut Tx| -> Result<BatchDocument, Problem> {
            let row = batch::get(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            let titles = batch::titles(tx, id).await?;
            Ok(BatchDocument::of(row, &titles))
        })
        .await?;
    Ok(Json(document))
}

/// What became of a list of IDs that was handed in.
#[derive(Serialize, ToSchema)]
pub struct Imported {
    /// IDs that are new here.
    pub imported: usize,
    /// IDs that were here already, or twice in this list.
    pub repeated: usize,
    /// Lines that were not taken; all others were.
    pub rejected: Vec<RejectedLine>,
}

/// A line that was not taken.
#[derive(Serialize, ToSchema)]
pub struct RejectedLine {
    /// Its number, from 1.
    pub line: usize,
    /// The ID in it, where there is one.
    pub medium_id: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

/// Hands in IDs of media that were made elsewhere: one JSON object a line, `{"medium_id": "…"}`, at most 10,000 lines.
#[utoipa::path(
    post, path = "/v1/batches/{batch}/media", tag = "batches", operation_id = "import_media",
    params(("batch" = String, Path, description = "Its ID"), DryRun),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, body = Imported), (status = 404), (status = 413), (status = 422)),
)]
pub async fn import(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Query(query): Query<DryRun>,
    body: Bytes,
) -> Result<Reply, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    import_media::run(&app, &caller, &once, id, &body, query.dry_run).await
}

/// Which identities.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IdentitiesQuery {
    /// First serial, from 1.
    #[serde(default = "one")]
    #[param(minimum = 1)]
    from: i64,
    /// How many; all that are left if it is not said.
    #[serde(default)]
    #[param(minimum = 1)]
    count: Option<i64>,
}

fn one() -> i64 {
    1
}

/// Identity areas of a batch's media, one a line, by serial. The same bytes until rights, refreshes or the signing key change.
#[utoipa::path(
    get, path = "/v1/batches/{batch}/identities", tag = "batches", operation_id = "press_identities",
    params(("batch" = String, Path, description = "Its ID"), IdentitiesQuery),
    responses((status = 200, description = "One identity area a line", body = String, content_type = "application/x-ndjson"),
              (status = 404), (status = 422)),
)]
pub async fn identities(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<IdentitiesQuery>,
) -> Result<Response, Problem> {
    let id: BatchId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let wrong = |what: &str| Err(Problem::with(ApiCode::Unprocessable, what));
    if query.from < 1 {
        return wrong("serials begin with 1");
    }
    if query.count.is_some_and(|count| count < 1) {
        return wrong("`count` is at least 1");
    }
    let lines = press::identities(app, &caller, id, query.from, query.count).await?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], HttpBody::from_stream(lines)).into_response())
}

/// The origin of a batch from what was asked for.
impl NewBatch {
    /// Where the IDs come from, and how many there are at first.
    ///
    /// # Errors
    /// `unprocessable` unless exactly one of `count` and `imported` is given.
    pub fn origin(&self) -> Result<(Origin, i64), Problem> {
        match (self.count, self.imported) {
            (Some(count @ 1..=1_000_000_000), false) => Ok((Origin::Pressed, count)),
            (Some(_), false) => Err(Problem::with(ApiCode::Unprocessable, "`count` is 1 to 1,000,000,000")),
            (None, true) => Ok((Origin::Imported, 0)),
            _ => Err(Problem::with(ApiCode::Unprocessable, "either `count`, or `imported: true`")),
        }
    }
}
