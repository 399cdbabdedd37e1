//! `/v1/contents-servers`: contents servers of others, which select supplements for themselves (A8, A10).

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::{ContentsServerId, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::rfc3339;
use crate::actions::contents_servers;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::contents_server::ContentsServer;

/// A contents server to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContentsServer {
    /// For people.
    pub name: String,
    /// Where it is reached: `POST {url}/v1/select`.
    #[schema(example = "https://contents.example")]
    pub url: String,
    /// Whether terminals do not reach it, and the authority asks it for them.
    #[serde(default)]
    pub relayed: bool,
    /// What it signs its selections with: an Ed25519 public key, 32 bytes as base64url.
    pub key: String,
    /// What it may select.
    pub titles: Vec<ListedSupplement>,
}

/// A supplement that may be selected for a title.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListedSupplement {
    /// Whose status it is shown.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// What it may select.
    #[schema(value_type = String)]
    pub supplement: TitleId,
}

/// A contents server.
#[derive(Serialize, ToSchema)]
pub struct ContentsServerDocument {
    /// Its ID: `kid` and `iss` of its selections, `aud` of the verdicts that it is shown.
    #[schema(value_type = String)]
    pub server: ContentsServerId,
    /// For people.
    pub name: String,
    /// Where it is reached.
    pub url: String,
    /// Whether the authority asks it for terminals.
    pub relayed: bool,
    /// What it signs with.
    pub key: String,
    /// What it may select.
    pub titles: Vec<ListedSupplement>,
    /// Since when.
    pub created_at: String,
}

impl ContentsServerDocument {
    /// A contents server with its list.
    pub fn of(server: ContentsServer, titles: &[(TitleId, TitleId)]) -> Self {
        let listed = |(title, supplement): &(TitleId, TitleId)| ListedSupplement { title: title.clone(), supplement: supplement.clone() };
        Self {
            server: server.id,
            name: server.name,
            url: server.url,
            relayed: server.relayed,
            key: server.key.to_string(),
            titles: titles.iter().map(listed).collect(),
            created_at: rfc3339(server.created_at),
        }
    }
}

/// All that are registered.
#[derive(Serialize, ToSchema)]
pub struct ContentsServersDocument {
    /// By ID.
    pub items: Vec<ContentsServerDocument>,
}

/// Registers a contents server. Terminals show it the status of titles on its list, with a verdict token.
#[utoipa::path(
    post, path = "/v1/contents-servers", tag = "selection", operation_id = "add_contents_server", request_body = NewContentsServer,
    responses((status = 201, body = ContentsServerDocument), (status = 422)),
)]
pub async fn create(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewContentsServer>) -> Result<Reply, Problem> {
    contents_servers::create(&app, &caller, &once, new).await
}

/// Contents servers that are registered.
#[utoipa::path(
    get, path = "/v1/contents-servers", tag = "selection", operation_id = "list_contents_servers",
    responses((status = 200, body = ContentsServersDocument)),
)]
pub async fn list(State(app): State<App>) -> Result<Json<ContentsServersDocument>, Problem> {
    Ok(Json(contents_servers::list(&app).await?))
}

/// Ends one: it is asked no more, and nothing that it signed is accepted. What it has selected stays with whoever has it.
#[utoipa::path(
    delete, path = "/v1/contents-servers/{server}", tag = "selection", operation_id = "end_contents_server",
    params(("server" = String, Path, description = "Its ID")),
    responses((status = 204, description = "It is ended"), (status = 404)),
)]
pub async fn end(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    let id: ContentsServerId = id.parse().map_err(|_| ApiCode::NotFound)?;
    contents_servers::end(&app, &caller, &once, id).await
}
