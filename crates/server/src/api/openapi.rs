//! The description of this API.

use std::sync::Arc;

use axum::Extension;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

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
