//! The stream of a device's jobs: an envelope in, signed answers out for as long as both sides stay (server-sent events).

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use counterfoil_core::{Code, Refusal};
use counterfoil_format::envelope::Envelope;
use futures_util::{StreamExt as _, stream};

use crate::actions::inbox::{self, Listener};
use crate::app::App;
use crate::problem::{Problem, ProblemDetails};

/// How often a stream says that it is still there, while there is nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Takes a sealed envelope with the operation `inbox` and answers with a stream: each event is a signed answer, a compact JWS as at
/// `/v1/terminal/exchange`. The first is sent at once, the next ones when there is something new to do. A refusal ends the stream.
#[utoipa::path(post, path = "/v1/terminal/inbox", tag = "terminal", request_body(content = Object, description = "A sealed envelope: kid, enc, ct"),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = 400, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub async fn listen(State(app): State<App>, body: Bytes) -> Result<Response, Problem> {
    let envelope = Envelope::parse(&body).map_err(|error| Refusal::with(Code::EnvelopeInvalid, error.to_string()))?;
    let (first, listener) = inbox::listen(&app, &envelope).await?;
    let rest = stream::unfold(listener, |listener: Option<Listener>| async move {
        let mut listener = listener?;
        listener.next().await.map(|answer| (answer, Some(listener)))
    });
    let events = stream::iter([first]).chain(rest).map(|answer| Ok::<_, Infallible>(Event::default().data(answer)));
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers before they pass them on would keep this one for good.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
