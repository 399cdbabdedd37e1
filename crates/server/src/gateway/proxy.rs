//! What terminals need of the authority besides exchanges, passed through (C16): as it comes, in constant memory, without what is the
//! gateway's own business.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::wire::{CARD_HEADER, EXCHANGE_HEADER, PAY_HEADER};
use serde_json::{Value, json};

use super::app::App;
use super::client::{self, Failed};
use crate::problem::{ApiCode, Problem};

/// Of one connection, and not of what it carries (RFC 9110 §7.6.1).
const HOP: [HeaderName; 7] = [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];
/// Between terminal and gateway: whose account it is and where somebody is are nothing that the authority needs to know.
const OURS: [&str; 7] = [EXCHANGE_HEADER, CARD_HEADER, PAY_HEADER, "keep-alive", "proxy-connection", "x-forwarded-for", "x-real-ip"];
/// The authority's document is some kilobytes.
const DOCUMENT: usize = 256 * 1024;

/// Passes a request on, with its body as it comes, and the answer back.
pub async fn pass(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let has_body = parts.headers.contains_key(CONTENT_LENGTH) || parts.headers.contains_key(TRANSFER_ENCODING);
    let body = has_body.then(|| reqwest::Body::wrap_stream(body.into_data_stream()));
    send(&app, parts.method, &parts.uri, &parts.headers, body).await
}

/// The same for a request of a known, small size: what is too large is refused here.
pub async fn pass_small(State(app): State<App>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    send(&app, method, &uri, &headers, Some(body.into())).await
}

async fn send(app: &App, method: Method, uri: &Uri, headers: &HeaderMap, body: Option<reqwest::Body>) -> Result<Response, Problem> {
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    if !is_plain(target) {
        return Err(ApiCode::NotFound.into());
    }
    let headers = passed_on(headers);
    let sent = app.authority.pass(|client, url| {
        let request = client.request(method, format!("{url}{target}")).headers(headers);
        match body {
            Some(body) => request.body(body),
            None => request,
        }
    });
    let answered = sent.await?;
    if answered.status() == StatusCode::UNAUTHORIZED {
        // It is the gateway that is not let in, and not the terminal.
        return Err(Failed::Shut("401".to_owned()).into());
    }
    if answered.status() == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failed::Busy(client::wait(answered.headers())).into());
    }
    let mut response = Response::builder().status(answered.status());
    if let Some(into) = response.headers_mut() {
        *into = answered.headers().clone();
        for name in HOP.iter().chain([&SET_COOKIE]) {
            into.remove(name);
        }
        into.remove("keep-alive");
    }
    response.body(Body::from_stream(answered.bytes_stream())).map_err(Problem::internal)
}

/// Whether what is asked for at the authority is what the route was chosen by. Whoever sends it on would take `/v1/store/../gateway/exchanges` for
/// `/v1/gateway/exchanges`, which is this gateway's own affair, and is let in with its certificate.
fn is_plain(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    reqwest::Url::parse(&format!("https://authority.invalid{target}")).is_ok_and(|url| url.path() == path)
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    for name in HOP.iter().chain([&HOST, &AUTHORIZATION, &COOKIE, &FORWARDED]) {
        passed.remove(name);
    }
    for name in OURS {
        passed.remove(name);
    }
    passed
}

/// The authority's document, with the gateway's addresses in place of its own: terminals that come through a gateway reach nothing else.
pub async fn document(State(app): State<App>, method: Method, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let (mut parts, body) = send(&app, method, &uri, &headers, None).await?.into_parts();
    if parts.status != StatusCode::OK {
        return Ok(Response::from_parts(parts, body));
    }
    let read =
        axum::body::to_bytes(body, DOCUMENT).await.map_err(|error| Problem::with(ApiCode::AuthorityUnavailable, error.to_string()))?;
    let mut document: Value = serde_json::from_slice(&read).map_err(Problem::internal)?;
    document["urls"] = json!(app.urls);
    for list in ["license_urls", "contents_urls"] {
        document[list] = json!([]);
    }
    // They are those of other bytes.
    for name in ["content-length", "etag", "last-modified", "content-encoding"] {
        parts.headers.remove(name);
    }
    Ok((parts.status, parts.headers, document.to_string()).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// proves: C16
    #[test]
    fn nothing_is_asked_for_by_another_name_than_it_was_let_in_by() {
        for good in ["/v1/store/titles?q=a%20b&after=..", "/contents/0a1b", "/v1/store/titles/night-garden/releases/1.0.0", "/"] {
            assert!(is_plain(good), "{good}");
        }
        let hostile = [
            "/v1/store/../gateway/exchanges",
            "/v1/store/%2e%2e/gateway/exchanges",
            "/v1/store/.%2E/gateway/statement?period=2026-01",
            "/pictures/..\\v1\\gateway\\prices",
            "/contents/..",
            "/v1/store/./titles",
            "/v1/uploads/%2E%2e",
            "//other.example/v1/store/../../x",
        ];
        for bad in hostile {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
