//! `/v1/providers`: third parties that offer services to media (B4).

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::ProviderId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::rfc3339;
use crate::actions::providers;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::provider::Provider;
use crate::store::publisher::PublisherId;

/// A provider to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvider {
    /// For people.
    #[schema(example = "North Arcade")]
    pub name: String,
    /// Where terminals reach it: `POST {url}/v1/challenge`.
    #[schema(example = "https://arcade.example")]
    pub url: String,
    /// Whose media it may have judged, 1 to 100.
    #[schema(value_type = Vec<String>, example = json!(["blue-fox"]))]
    pub publishers: Vec<PublisherId>,
}

/// A provider.
#[derive(Serialize, ToSchema)]
pub struct ProviderDocument {
    /// Its ID: the tenant of its tokens, and `aud` of the verdicts for it.
    #[schema(value_type = String)]
    pub provider: ProviderId,
    /// For people.
    pub name: String,
    /// Where terminals reach it.
    pub url: String,
    /// Whose media it may have judged.
    #[schema(value_type = Vec<String>)]
    pub publishers: Vec<PublisherId>,
    /// Since when.
    pub created_at: String,
}

impl ProviderDocument {
    /// A provider with its publishers.
    pub fn of(provider: Provider, publishers: Vec<PublisherId>) -> Self {
        let Provider { id, name, url, created_at } = provider;
        Self { provider: id, name, url, publishers, created_at: rfc3339(created_at) }
    }
}

/// All that are registered.
#[derive(Serialize, ToSchema)]
pub struct ProvidersDocument {
    /// By ID.
    pub items: Vec<ProviderDocument>,
}

/// Registers a provider. What it calls `/v1/verify` with is a token of role `provider` with its ID as tenant.
#[utoipa::path(
    post, path = "/v1/providers", tag = "providers", operation_id = "add_provider", request_body = NewProvider,
    responses((status = 201, body = ProviderDocument), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewProvider>) -> Result<Reply, Problem> {
    providers::create(&app, &caller, &once, new).await
}

/// Providers that are registered.
#[utoipa::path(
    get, path = "/v1/providers", tag = "providers", operation_id = "list_providers",
    responses((status = 200, body = ProvidersDocument)),
)]
pub async fn list(State(app): State<App>) -> Result<Json<ProvidersDocument>, Problem> {
    Ok(Json(providers::list(&app).await?))
}

/// A provider.
#[utoipa::path(
    get, path = "/v1/providers/{provider}", tag = "providers", operation_id = "get_provider",
    params(("provider" = String, Path, description = "Its ID")),
    responses((status = 200, body = ProviderDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ProviderDocument>, Problem> {
    Ok(Json(providers::get(&app, parsed(&id)?).await?))
}

/// Ends a provider: its tokens are good for nothing from this moment on. Verdicts that it was given stay good for their ten minutes.
#[utoipa::path(
    delete, path = "/v1/providers/{provider}", tag = "providers", operation_id = "end_provider",
    params(("provider" = String, Path, description = "Its ID")),
    responses((status = 204, description = "It is ended"), (status = 404)),
)]
pub async fn end(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    providers::end(&app, &caller, &once, parsed(&id)?).await
}

fn parsed(id: &str) -> Result<ProviderId, Problem> {
    id.parse().map_err(|_| ApiCode::NotFound.into())
}
