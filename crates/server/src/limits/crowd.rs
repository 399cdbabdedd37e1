//! How many requests are worked on at once, whoever sends them: what is too much is told to come again, and its body is not looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;

use crate::problem::{ApiCode, Problem};

/// Bytes that are taken from the wire of a request that is not worked on, and how long that may take: an envelope.
const DISCARDED: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(1);

/// What is worked on. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Crowd(Arc<Counted>);

struct Counted {
    most: usize,
    now: AtomicUsize,
}

impl Crowd {
    /// At most so many; 0 is no limit.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Counted { most, now: AtomicUsize::new(0) }))
    }

    fn is_full(&self) -> bool {
        self.0.most != 0 && self.0.now.load(Ordering::Relaxed) >= self.0.most
    }
}

/// Takes a short body from the wire and forgets it: a connection that is closed with bytes unread is reset, and the answer is lost with it.
async fn discard(body: Body) {
    let mut left = DISCARDED;
    let reading = async {
        let mut body = body.into_data_stream();
        while let Some(Ok(piece)) = body.next().await
            && piece.len() <= left
        {
            left -= piece.len();
        }
    };
    // Whoever is slower, or has more to say, may lose the answer, and no more.
    let _ = tokio::time::timeout(PATIENCE, reading).await;
}

/// One request's place. It counts from when its body has arrived: whoever sends slowly keeps nobody else out.
struct Place {
    crowd: Crowd,
    taken: AtomicBool,
}

impl Place {
    fn take(&self) {
        if !self.taken.swap(true, Ordering::Relaxed) {
            self.crowd.0.now.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.taken.load(Ordering::Relaxed) {
            self.crowd.0.now.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The layer: 503 with Retry-After where enough is being worked on. Whoever asks whether the process lives is always answered.
pub async fn layer(State(crowd): State<Crowd>, request: Request, next: Next) -> Response {
    if matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
        return next.run(request).await;
    }
    if crowd.is_full() {
        metrics::counter!("counterfoil_overloaded_total").increment(1);
        discard(request.into_body()).await;
        return Problem::from(ApiCode::Overloaded).into_response();
    }
    let place = Arc::new(Place { crowd, taken: AtomicBool::new(false) });
    if request.body().is_end_stream() {
        place.take();
    }
    let arriving = Arc::clone(&place);
    let request = request.map(|body| match body.is_end_stream() {
        true => body,
        // What is done at its end, which is where trailers would be.
        false => Body::new(body.with_trailers(async move {
            arriving.take();
            None
        })),
    });
    let response = next.run(request).await;
    drop(place);
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use axum::Router;
    use axum::body::Bytes;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tokio::sync::Semaphore;
    use tower::ServiceExt as _;

    fn request(body: Body) -> Request {
        Request::post("/").body(body).unwrap()
    }

    /// Two requests at once; each waits for a permit after it was read.
    fn server() -> (Router, Crowd, Arc<Semaphore>) {
        let (crowd, gate) = (Crowd::new(2), Arc::new(Semaphore::new(0)));
        let at_gate = Arc::clone(&gate);
        let handler = move |_: Bytes| async move { at_gate.acquire().await.unwrap().forget() };
        let routes = Router::new().route("/", post(handler)).layer(from_fn_with_state(crowd.clone(), layer));
        (routes, crowd, gate)
    }

    async fn worked_on(crowd: &Crowd, count: usize) {
        while crowd.0.now.load(Ordering::Relaxed) != count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_too_many_is_told_to_come_again_and_let_in_when_another_is_done() {
        let (routes, crowd, gate) = server();
        let working: Vec<_> = (0..2).map(|_| tokio::spawn(routes.clone().oneshot(request(Body::from("x"))))).collect();
        worked_on(&crowd, 2).await;
        let refused = routes.clone().oneshot(request(Body::from("x"))).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        gate.add_permits(3);
        for one in working {
            assert_eq!(one.await.unwrap().unwrap().status(), StatusCode::OK);
        }
        worked_on(&crowd, 0).await;
        assert_eq!(routes.oneshot(request(Body::empty())).await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn slow_bodies_keep_nobody_out_and_an_abandoned_request_frees_its_place() {
        let (routes, crowd, gate) = server();
        let silent = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let slow: Vec<_> = (0..5).map(|_| tokio::spawn(routes.clone().oneshot(request(silent())))).collect();
        let abandoned = tokio::spawn(routes.clone().oneshot(request(Body::from("x"))));
        worked_on(&crowd, 1).await;
        abandoned.abort();
        worked_on(&crowd, 0).await;
        gate.add_permits(1);
        assert_eq!(routes.oneshot(request(Body::from("x"))).await.unwrap().status(), StatusCode::OK);
        slow.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
