//! What the authority says of itself to everybody: its name, its addresses, its public keys.

use axum::Json;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::{AppendHeaders, IntoResponse};
use counterfoil_core::wire::AuthorityDocument;

use crate::app::App;

/// Short: a new key must be known everywhere before the old one stops being good.
const CACHE: AppendHeaders<[(axum::http::HeaderName, &str); 1]> = AppendHeaders([(CACHE_CONTROL, "public, max-age=60")]);

/// The authority's document, as on every medium (B9).
pub fn document(app: &App) -> AuthorityDocument {
    let server = &app.config.server;
    AuthorityDocument {
        name: app.name.clone(),
        urls: app.urls.clone(),
        license_urls: server.license_urls.clone(),
        contents_urls: server.contents_urls.clone(),
        keys: app.keys.document(app.clock.now()),
    }
}

/// Name, addresses and public keys of the authority, with how these followed one another.
#[utoipa::path(get, path = "/.well-known/counterfoil", tag = "authority", responses((status = 200, body = Object)))]
pub async fn authority(State(app): State<App>) -> impl IntoResponse {
    (CACHE, Json(AuthorityDocument { keys: app.keys.with_chain(app.clock.now()), ..document(&app) }))
}

/// Signing keys as a JWK set (RFC 7517), retired ones included.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "authority", responses((status = 200, body = Object)))]
pub async fn jwks(State(app): State<App>) -> impl IntoResponse {
    (CACHE, Json(app.keys.key_list()))
}
