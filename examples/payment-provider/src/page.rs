//! A script in place of Stripe.js: as much of it as a page needs that mounts a payment element and confirms the payment.

use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};

/// `GET /v3/`
pub(crate) async fn script(_: Uri) -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("stripe.js")).into_response()
}
