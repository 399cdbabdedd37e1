//! `/v1/titles/{title}/feed`: which releases are good, as the publisher signed it last; and the same for everybody where the title is sold.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderName;
use counterfoil_core::TitleId;
use counterfoil_format::content::Feed;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::rfc3339;
use super::store::A_MINUTE;
use crate::actions::feed;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::feed::Feed as Row;
use crate::store::listing;

/// A feed to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFeed {
    /// A compact JWS, `typ` `counterfoil-feed+jwt`, by the publisher's key, `kid` the publisher's ID.
    pub document: String,
    /// The number of the feed that it was made from, which has to be the one that is there; 0 where there is none.
    pub after: u64,
}

/// A feed that was taken.
#[derive(Serialize, ToSchema)]
pub struct FeedTaken {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Its number.
    pub sequence: u64,
    /// Not to be updated by from then on.
    pub expires_at: String,
}

impl FeedTaken {
    /// What is said of a feed that was taken.
    pub fn of(title: &TitleId, feed: &Feed) -> Self {
        Self { title: title.clone(), sequence: feed.sequence, expires_at: rfc3339(feed.expires_at.saturating_mul(1000)) }
    }
}

/// A feed.
#[derive(Serialize, ToSchema)]
pub struct FeedDocument {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Its number.
    pub sequence: u64,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// Not to be updated by from then on.
    pub expires_at: String,
    /// When it was handed in.
    pub updated_at: String,
    /// The authority's word that it is the newest: a compact JWS, `typ` `counterfoil-fresh+jwt`, good for a day.
    pub fresh: String,
}

impl FeedDocument {
    /// A feed with the word on it.
    pub fn of(title: &TitleId, row: Row, fresh: String) -> Self {
        let Row { sequence, document, expires_at, updated_at } = row;
        Self { title: title.clone(), sequence, document, expires_at: rfc3339(expires_at), updated_at: rfc3339(updated_at), fresh }
    }
}

/// The newest feed of a title.
#[utoipa::path(
    get, path = "/v1/titles/{title}/feed", tag = "releases", operation_id = "get_feed",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = FeedDocument), (status = 404, description = "Its publisher has signed none")),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<FeedDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (scope, title) = (caller.scope(), id.clone());
    // Not a replica's word: the next feed is made from this one.
    let row = app.db.read("get_feed", async move |tx: &mut Tx| feed::look(tx, &scope, &title).await).await?;
    Ok(Json(feed::document(&app, &id, row, app.clock.now())?))
}

/// Takes a feed in the place of the one before.
#[utoipa::path(
    put, path = "/v1/titles/{title}/feed", tag = "releases", operation_id = "put_feed", request_body = NewFeed,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = FeedTaken), (status = 404),
              (status = 409, description = "`conflict`: another feed was handed in meanwhile"), (status = 422)),
)]
pub async fn put(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewFeed>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    feed::put(&app, &caller, &once, id, new).await
}

/// The newest feed of a title that is sold.
#[utoipa::path(
    get, path = "/v1/store/titles/{title}/feed", tag = "store", operation_id = "get_store_feed",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = FeedDocument), (status = 404)),
)]
pub async fn get_on_sale(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<([(HeaderName, &'static str); 1], Json<FeedDocument>), Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let title = id.clone();
    let row = app
        .db
        .read("store_feed", async move |tx: &mut Tx| -> Result<Row, Problem> {
            let listed = listing::get(tx, &title).await?;
            listed.filter(|(listing, _)| listing.on_sale).ok_or(ApiCode::NotFound)?;
            feed::look(tx, &Scope::All, &title).await
        })
        .await?;
    Ok((A_MINUTE, Json(feed::document(&app, &id, row, app.clock.now())?)))
}
