//! `/v1/titles/{title}/listing` and `…/pictures`: how its publisher puts a title into the store.

use axum::Json;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use counterfoil_core::{Money, Policy, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::rfc3339;
use super::store::{PictureDocument, PriceDocument};
use crate::actions::listing;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::listing::Listing;
use crate::store::picture::Picture;

/// Largest picture, in bytes.
const MOST_BYTES: usize = 4 << 20;
/// What browsers show and what holds no script.
const TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/avif"];

/// A listing to be. What is left out is empty, not as it was before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewListing {
    /// One line.
    #[serde(default)]
    pub summary: String,
    /// Plain text; a blank line begins a new paragraph.
    #[serde(default)]
    pub description: String,
    /// Whether it stands in the store. It is seen there as soon as it has a release.
    #[serde(default)]
    pub on_sale: bool,
    /// One a currency.
    #[serde(default)]
    #[schema(value_type = Vec<PriceDocument>)]
    pub prices: Vec<Money>,
    /// The terms; what is absent in there has its default.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub policy: Policy,
}

/// What people see of a title, what it costs and under which terms it is sold.
#[derive(Serialize, ToSchema)]
pub struct ListingDocument {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// One line.
    pub summary: String,
    /// Plain text; a blank line begins a new paragraph.
    pub description: String,
    /// Whether it stands in the store.
    pub on_sale: bool,
    /// One a currency.
    #[schema(value_type = Vec<PriceDocument>)]
    pub prices: Vec<Money>,
    /// The terms, complete.
    #[schema(value_type = Object)]
    pub policy: Policy,
    /// In order.
    pub pictures: Vec<PictureDocument>,
    /// When the listing was written; absent where nobody has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

impl ListingDocument {
    /// A listing with its pictures.
    pub fn of(title: &TitleId, listing: Listing, pictures: Vec<Picture>, updated_at: Option<i64>) -> Self {
        let Listing { summary, description, on_sale, prices, policy } = listing;
        let pictures = pictures.into_iter().map(Into::into).collect();
        Self { title: title.clone(), summary, description, on_sale, prices, policy, pictures, updated_at: updated_at.map(rfc3339) }
    }
}

/// How a title is listed.
#[utoipa::path(
    get, path = "/v1/titles/{title}/listing", tag = "store", operation_id = "get_listing",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = ListingDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<ListingDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    // Not a replica's word: whoever edits reads first, and would write back what was there before.
    Ok(Json(app.db.read("get_listing", async move |tx: &mut Tx| listing::look(tx, &scope, &id).await).await?))
}

/// Lists a title, in place of how it was listed before. Orders keep the terms that they were made under.
#[utoipa::path(
    put, path = "/v1/titles/{title}/listing", tag = "store", operation_id = "put_listing", request_body = NewListing,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = ListingDocument), (status = 404), (status = 422)),
)]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewListing>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    listing::put(&app, &caller, &once, id, new).await
}

/// What a picture shows.
#[derive(Deserialize)]
pub struct PictureQuery {
    #[serde(default)]
    alt: String,
}

/// Puts a picture at a place of a title: PNG, JPEG, WebP or AVIF of at most 4 MiB.
#[utoipa::path(
    put, path = "/v1/titles/{title}/pictures/{position}", tag = "store", operation_id = "put_picture",
    params(("title" = String, Path, description = "Its name"),
           ("position" = i64, Path, description = "1 to 12; the first picture stands for the title in lists"),
           ("alt" = String, Query, description = "What it shows, for people who do not see it")),
    request_body(content = Vec<u8>, content_type = "image/*"),
    responses((status = 200, body = ListingDocument), (status = 404), (status = 422), (status = 503, description = "`contents_unavailable`"),
              (status = 507, description = "`storage_full`")),
)]
pub async fn put_picture(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, position)): Path<(String, i64)>,
    Query(query): Query<PictureQuery>,
    request: Request,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let given = request.headers().get(CONTENT_TYPE).and_then(|given| given.to_str().ok()).unwrap_or_default();
    let media_type = TYPES
        .into_iter()
        .find(|known| given.eq_ignore_ascii_case(known))
        .ok_or_else(|| Problem { hint: format!("Send one of {}.", TYPES.join(", ")).into(), ..ApiCode::UnsupportedMediaType.into() })?;
    let bytes = axum::body::to_bytes(request.into_body(), MOST_BYTES).await.map_err(|_| {
        let detail = format!("a picture has at most {MOST_BYTES} bytes");
        Problem { hint: "Make it smaller.".into(), ..Problem::with(ApiCode::TooLarge, detail) }
    })?;
    listing::put_picture(&app, &caller, &once, (id, position), (media_type, query.alt), bytes).await
}

/// Takes a picture away.
#[utoipa::path(
    delete, path = "/v1/titles/{title}/pictures/{position}", tag = "store", operation_id = "remove_picture",
    params(("title" = String, Path, description = "Its name"), ("position" = i64, Path, description = "Its place")),
    responses((status = 204, description = "It is gone"), (status = 404)),
)]
pub async fn remove_picture(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, position)): Path<(String, i64)>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    listing::remove_picture(&app, &caller, &once, id, position).await
}
