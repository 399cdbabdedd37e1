//! `/v1/titles`: what can be owned, and the key that its content is sealed under.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{Kind, TitleId};
use counterfoil_format::hpke::SealingPublicKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::title;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::publisher::PublisherId;
use crate::store::title::{self as store, Title};

/// A title to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTitle {
    /// 1 to 64 of a-z, 0-9 and inner hyphens; for good.
    #[schema(value_type = String, example = "sky-raider")]
    pub title: TitleId,
    /// For people.
    #[schema(example = "Sky Raider")]
    pub name: String,
    /// `game`, `music`, `movie` or `app`.
    #[schema(value_type = String, example = "game")]
    pub kind: Kind,
    /// Whose; a publisher may leave it out.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub publisher: Option<PublisherId>,
}

/// A title.
#[derive(Serialize, ToSchema)]
pub struct TitleDocument {
    /// Its name in URLs, paths and key derivations.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `game`, `music`, `movie` or `app`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// Whose.
    #[schema(value_type = String)]
    pub publisher: PublisherId,
    /// Of the content key that new releases are sealed under.
    pub generation: u32,
    /// Since when.
    pub created_at: String,
}

impl From<Title> for TitleDocument {
    fn from(row: Title) -> Self {
        let Title { id, publisher, name, kind, generation, created_at } = row;
        Self { title: id, name, kind, publisher, generation, created_at: rfc3339(created_at) }
    }
}

/// Whom to seal a content key to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContentKeyRequest {
    /// X25519 public key, 32 bytes base64url.
    #[schema(value_type = String)]
    pub recipient: SealingPublicKey,
}

/// A content key, sealed.
#[derive(Serialize, ToSchema)]
pub struct ContentKeyDocument {
    /// Which of the title's content keys.
    pub generation: u32,
    /// HPKE box of the 32 bytes, for the purpose `counterfoil content key`, title, generation.
    #[serde(rename = "box")]
    #[schema(value_type = Object)]
    pub sealed: serde_json::Value,
}

/// Makes a title, with a content key of its own.
#[utoipa::path(
    post, path = "/v1/titles", tag = "titles", operation_id = "create_title", request_body = NewTitle,
    responses((status = 201, body = TitleDocument), (status = 200, description = "It is there already, just so", body = TitleDocument),
              (status = 409, description = "The name is taken"), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewTitle>) -> Result<Reply, Problem> {
    title::create(&app, &caller, &once, new).await
}

/// Titles that the caller may see, by name.
#[utoipa::path(
    get, path = "/v1/titles", tag = "titles", operation_id = "list_titles", params(PageQuery),
    responses((status = 200, body = Page<TitleDocument>)),
)]
pub async fn list(State(app): State<App>, caller: Caller, Query(query): Query<PageQuery>) -> Result<Json<Page<TitleDocument>>, Problem> {
    let (scope, after, rows) = (caller.scope(), query.after(), query.rows());
    let found = app
        .db
        .read_lagging("list_titles", async move |tx: &mut Tx| -> Result<Vec<Title>, Problem> {
            Ok(store::list(tx, &scope, &after, rows).await?)
        })
        .await?;
    Ok(Json(Page::of(found, &query, |row| row.id.to_string(), Into::into)))
}

/// One title.
#[utoipa::path(
    get, path = "/v1/titles/{title}", tag = "titles", operation_id = "get_title",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = TitleDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<TitleDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let found = app
        .db
        .find_lagging("get_title", async move |tx: &mut Tx| -> Result<Option<Title>, Problem> { Ok(store::get(tx, &scope, &id).await?) })
        .await?;
    found.map(|row| Json(row.into())).ok_or_else(|| ApiCode::NotFound.into())
}

/// Hands out the title's content key, sealed to a key of the publisher.
#[utoipa::path(
    post, path = "/v1/titles/{title}/content-key", tag = "titles", operation_id = "get_content_key", request_body = ContentKeyRequest,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = ContentKeyDocument), (status = 404), (status = 422)),
)]
pub async fn content_key(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(request): Body<ContentKeyRequest>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    title::content_key(&app, &caller, &once, id, request.recipient).await
}
