//! A device's jobs as they come: an envelope in, signed answers out for as long as both sides stay (server-sent events), or one answer as soon
//! as there is something new (long poll), where something in between lets no stream through.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use counterfoil_core::{Code, Refusal};
use counterfoil_format::envelope::Envelope;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use crate::actions::inbox::{self, Listener, Told};
use crate::app::App;
use crate::gateways;
use crate::problem::{Problem, ProblemDetails};

/// How often a stream says that it is still there, while there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a poll waits for something new: less than proxies have patience.
const WAIT: Duration = Duration::from_secs(25);

/// What a poll has been told before, and need not be told again (as WHATWG HTML §9.2.4 has it for streams).
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Takes a sealed envelope with the operation `inbox` and answers with a stream: each event is a signed answer, a compact JWS, sealed where the
/// request says so, as at `/v1/terminal/exchange`. The first is sent at once, the next ones when there is something new to do. A refusal ends the stream.
///
/// Asked with `Accept: application/json`, it gives one answer, as `{"answer": …, "id": …}`: at once, or where `Last-Event-ID` names what there
/// is to do already, when that changes, or after 25 seconds.
#[utoipa::path(post, path = "/v1/terminal/inbox", tag = "terminal", request_body(content = Object, description = "A sealed envelope: kid, enc, ct"),
    responses((status = 200, content((String = "text/event-stream"), (Object = "application/json"))), (status = 400, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub async fn listen(
    State(app): State<App>,
    through: Option<Extension<gateways::Caller>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let envelope = Envelope::parse(&body).map_err(|error| Refusal::with(Code::EnvelopeInvalid, error.to_string()))?;
    let (first, listener) = inbox::listen(&app, &envelope, through.is_some()).await?;
    let mut response = if is_poll(&headers) {
        let known = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
        // No longer than any request may take.
        let wait = WAIT.min(Duration::from_secs(app.config.limits.request_seconds) * 4 / 5);
        let Told { id, answer } = news(first, listener, known, wait).await;
        Json(json!({ "answer": answer, "id": id })).into_response()
    } else {
        streamed(first, listener)
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn is_poll(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.starts_with("application/json"))
}

/// What is not known yet, or after a while what is.
async fn news(first: Told, listener: Option<Listener>, known: Option<&str>, wait: Duration) -> Told {
    let Some(mut listener) = listener.filter(|_| known == Some(first.id.as_str())) else { return first };
    match tokio::time::timeout(wait, listener.next()).await {
        Ok(Some(told)) => told,
        Ok(None) | Err(_) => first,
    }
}

fn streamed(first: Told, listener: Option<Listener>) -> Response {
    let rest = stream::unfold(listener, |listener: Option<Listener>| async move {
        let mut listener = listener?;
        listener.next().await.map(|told| (told, Some(listener)))
    });
    let event = |Told { id, answer }| Ok::<_, Infallible>(Event::default().id(id).data(answer));
    let events = stream::iter([first]).chain(rest).map(event);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Proxies that gather answers before they pass them on would keep this one for good.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
