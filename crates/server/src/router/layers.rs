//! What every request passes through, whatever its route: IDs, logs, limits.

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use tower::ServiceBuilder;
use tower::layer::util::{Identity, Stack};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::clock::Rng;
use crate::config;
use crate::limits::crowd::{self, Crowd};
use crate::limits::{self, Limits, Rate};
use crate::problem::{ApiCode, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// What stands before the ticket of an upload.
const UPLOADS: &str = "/v1/uploads/";
/// Longest request ID that is taken over from a caller, in characters.
const MAX_REQUEST_ID: usize = 128;

/// Limits and logs, inside of the layer that renders problems.
pub fn around(routes: Router, limits: &config::Limits) -> Router {
    let address = Rate { per_second: limits.requests_per_second, burst: limits.burst };
    let token = Rate { per_second: limits.token_requests_per_second, burst: limits.token_burst };
    routes
        .layer(DefaultBodyLimit::max(limits.body_bytes))
        .layer(from_fn(without_nul))
        .layer(from_fn_with_state(Duration::from_secs(limits.request_seconds), in_time))
        .layer(from_fn_with_state(Crowd::new(limits.requests_at_once), crowd::layer))
        .layer(from_fn_with_state(Limits::new(address, token, limits.trusted_proxies.clone()), limits::layer))
        .layer(TraceLayer::new_for_http().make_span_with(span).on_request(()).on_response(done).on_failure(()))
}

/// No ID, name or cursor holds NUL, which PostgreSQL does not keep in texts.
async fn without_nul(request: axum::extract::Request, next: Next) -> Response {
    if request.uri().path_and_query().is_some_and(|target| target.as_str().contains("%00")) {
        return Problem::with(ApiCode::InvalidRequest, "the address holds a NUL character").into_response();
    }
    next.run(request).await
}

/// How long a request may take until its answer begins. Uploads take as long as they go on.
async fn in_time(State(limit): State<Duration>, request: axum::extract::Request, next: Next) -> Response {
    let path = request.uri().path();
    if (request.method() == Method::PUT && path.starts_with("/v1/contents/"))
        || (request.method() == Method::PATCH && path.starts_with(UPLOADS))
    {
        return next.run(request).await;
    }
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::from(ApiCode::Timeout).into_response(),
    }
}

/// Takes an ID away that is not one of 1 to 128 visible ASCII characters, so that a new one is made: it stands in every line of the log.
pub async fn only_good_ids(mut request: axum::extract::Request) -> axum::extract::Request {
    let mut given = request.headers().get_all(REQUEST_ID).iter().map(HeaderValue::as_bytes);
    let good = |id: &[u8]| (1..=MAX_REQUEST_ID).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    if !(given.next().is_none_or(good) && given.next().is_none()) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

/// Gives every request an ID, unless it brings a good one, and hands it back with the answer.
pub fn request_ids() -> ServiceBuilder<Stack<PropagateRequestIdLayer, Stack<SetRequestIdLayer<Fresh>, Identity>>> {
    ServiceBuilder::new().layer(SetRequestIdLayer::new(REQUEST_ID, Fresh)).layer(PropagateRequestIdLayer::new(REQUEST_ID))
}

/// Makes request IDs: 128 random bits.
#[derive(Clone, Copy, Debug)]
pub struct Fresh;

impl MakeRequestId for Fresh {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        // Names lines of a log and decides nothing, so it need not be an argument.
        let id = uuid::Builder::from_random_bytes(Rng::System.bytes()).into_uuid();
        HeaderValue::from_str(&id.to_string()).ok().map(RequestId::new)
    }
}

/// The path without its query, which may hold what people typed; never a header.
fn span<B>(request: &Request<B>) -> tracing::Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    // The ticket of an upload is a right.
    let path = if request.uri().path().starts_with(UPLOADS) { UPLOADS } else { request.uri().path() };
    tracing::info_span!("request", method = %request.method(), path, request_id = id)
}

fn done<B>(response: &axum::http::Response<B>, latency: Duration, _: &tracing::Span) {
    tracing::info!(status = response.status().as_u16(), microseconds = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), "answered");
}
