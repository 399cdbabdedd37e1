//! `/v1/publishers`: who publishes here, and with which key.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_format::sign::VerifyingKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::publisher;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::publisher::{self as store, Publisher, PublisherId};

/// A publisher to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPublisher {
    /// 1 to 64 of a-z, 0-9 and inner hyphens; for good.
    #[schema(value_type = String, example = "blue-fox")]
    pub id: PublisherId,
    /// For people.
    #[schema(example = "Blue Fox Games")]
    pub name: String,
    /// Ed25519 public key, 32 bytes base64url; may be handed in later, and never changes.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub key: Option<VerifyingKey>,
}

/// The public half of a publisher's key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPublisherKey {
    /// Ed25519, 32 bytes base64url.
    #[schema(value_type = String)]
    pub key: VerifyingKey,
}

/// A publisher.
#[derive(Serialize, ToSchema)]
pub struct PublisherDocument {
    /// For good.
    #[schema(value_type = String)]
    pub id: PublisherId,
    /// For people.
    pub name: String,
    /// Ed25519 public key, 32 bytes base64url; null until it is handed in.
    #[schema(value_type = Option<String>)]
    pub key: Option<VerifyingKey>,
    /// Since when.
    pub created_at: String,
}

impl From<Publisher> for PublisherDocument {
    fn from(row: Publisher) -> Self {
        Self { id: row.id, name: row.name, key: row.key, created_at: rfc3339(row.created_at) }
    }
}

/// Admits a publisher.
#[utoipa::path(
    post, path = "/v1/publishers", tag = "publishers", operation_id = "create_publisher", request_body = NewPublisher,
    responses((status = 201, body = PublisherDocument), (status = 200, description = "It is there already, just so", body = PublisherDocument),
              (status = 409, description = "The ID is taken by another")),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewPublisher>) -> Result<Reply, Problem> {
    publisher::create(&app, &caller, &once, new).await
}

/// Publishers that the caller may see.
#[utoipa::path(
    get, path = "/v1/publishers", tag = "publishers", operation_id = "list_publishers", params(PageQuery),
    responses((status = 200, body = Page<PublisherDocument>)),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<PublisherDocument>>, Problem> {
    let (scope, after, rows) = (caller.scope(), query.after(), query.rows());
    let found = app
        .db
        .read_lagging("list_publishers", async move |tx: &mut Tx| -> Result<Vec<Publisher>, Problem> {
            match &scope {
                Scope::All => Ok(store::list(tx, &after, rows).await?),
                Scope::Publisher(own) => match own.parse() {
                    Ok(own) if own_after(&own, &after) => Ok(store::get(tx, &scope, &own).await?.into_iter().collect()),
                    _ => Ok(vec![]),
                },
            }
        })
        .await?;
    Ok(Json(Page::of(found, &query, |row| row.id.to_string(), Into::into)))
}

fn own_after(own: &PublisherId, after: &str) -> bool {
    own.as_str() > after
}

/// One publisher.
#[utoipa::path(
    get, path = "/v1/publishers/{publisher}", tag = "publishers", operation_id = "get_publisher",
    params(("publisher" = String, Path, description = "Its ID")),
    responses((status = 200, body = PublisherDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<PublisherDocument>, Problem> {
    let id: PublisherId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let found = app
        .db
        .find_lagging("get_publisher", async move |tx: &mut Tx| -> Result<Option<Publisher>, Problem> {
            Ok(store::get(tx, &scope, &id).await?)
        })
        .await?;
    found.map(|row| Json(row.into())).ok_or_else(|| ApiCode::NotFound.into())
}

/// Hands in the key that releases will be signed with; once and for all.
#[utoipa::path(
    put, path = "/v1/publishers/{publisher}/key", tag = "publishers", operation_id = "set_publisher_key", request_body = NewPublisherKey,
    params(("publisher" = String, Path, description = "Its ID")),
    responses((status = 200, body = PublisherDocument), (status = 404), (status = 409, description = "It has another key already")),
)]
pub async fn set_key(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewPublisherKey>,
) -> Result<Reply, Problem> {
    let id: PublisherId = id.parse().map_err(|_| ApiCode::NotFound)?;
    publisher::set_key(&app, &caller, &once, id, new.key).await
}
