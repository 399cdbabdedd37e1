//! The description of this API, and pages to read it in; nothing of it comes from elsewhere.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// The description, written once.
#[derive(Clone)]
pub struct Description(Arc<str>);

impl Description {
    /// Of these routes.
    pub fn of(openapi: &utoipa::openapi::OpenApi) -> Self {
        Self(openapi.to_pretty_json().expect("a description is JSON").into())
    }
}

/// This description, OpenAPI 3.1.
#[utoipa::path(
    get, path = "/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")),
)]
pub async fn document(Extension(description): Extension<Description>) -> Response {
    ([(CONTENT_TYPE, "application/json")], description.0.to_string()).into_response()
}

/// `/reference`: Swagger UI, from inside of this program.
pub fn reference<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = SwaggerUi::new("/reference").config(Config::from("/openapi.json").validator_url("none"));
    Router::from(pages).layer(from_fn(policy))
}

/// Swagger UI styles its elements one by one, and draws with images that are part of its style.
async fn policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}
