//! `play --serve`: the title over HTTP on this computer only, with ranges, so that a media player can seek in it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Random as _, SystemRandom};
use counterfoil_terminal::{FileInfo, Running, Title};
use serde_json::json;

use super::range::ByteRange;
use super::{is_directory, signals};
use crate::context::Context;
use crate::failure::Failure;

/// Read and sent at a time.
const BLOCK: usize = 256 * 1024;

#[derive(Clone)]
struct Served {
    title: Arc<Title>,
    /// First part of every path, with slashes around it; `/` where there is none.
    base: Arc<str>,
    /// What a browser or player on this computer calls us; other names come from web pages that reach for local servers.
    hosts: Arc<[String]>,
}

/// How often it is looked whether it is to be noted that the title is in use.
const LOOK: Duration = Duration::from_secs(10);

/// Only this computer may be served: what is served is in plain.
pub fn check(address: SocketAddr) -> Result<(), Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!("{} is not an address of this computer alone", address.ip()))
            .hint("What is served is in plain, so it is served to this computer only: 127.0.0.1 or [::1]."));
    }
    Ok(())
}

/// Serves until interrupted.
pub fn serve(context: &Context, running: Option<Running>, title: Arc<Title>, address: SocketAddr, secret: bool) -> Result<(), Failure> {
    let mut signals = signals()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::operation("io", format!("cannot serve: {error}")))?;
    runtime.block_on(async {
        let cannot = |error: std::io::Error| Failure::operation("address", format!("cannot serve at {address}: {error}"));
        let listener = tokio::net::TcpListener::bind(address).await.map_err(cannot)?;
        let bound = listener.local_addr().map_err(cannot)?;
        let served = Served { title, base: base(secret).into(), hosts: [bound.to_string(), format!("localhost:{}", bound.port())].into() };
        let url = format!("http://{bound}{}", served.base);
        context.output.result(&json!({ "url": url }), || format!("{url}\n"))?;
        context.output.note("interrupt (Ctrl-C) to end");

        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            signals.forever().next();
            let _ = stop.send(());
        });
        let end = async { drop(stopped.await) };
        let looking = async {
            let mut often = tokio::time::interval(LOOK);
            loop {
                often.tick().await;
                running.iter().for_each(Running::look);
            }
        };
        // Not graceful: a player that keeps its connection open would keep us.
        tokio::select! {
            result = axum::serve(listener, router(served)) => result.map_err(cannot),
            () = end => Ok(()),
            () = looking => Ok(()),
        }
    })
}

fn base(secret: bool) -> String {
    if !secret {
        return "/".to_owned();
    }
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    format!("/{}/", to_base64url(&bytes))
}

fn router(served: Served) -> Router {
    // `GET` answers `HEAD` as well; the body is made as it is sent, so that nothing is read for it.
    let base = served.base.to_string();
    Router::new().route(&base, get(root)).route(&format!("{base}{{*path}}"), get(path)).with_state(served)
}

async fn root(State(served): State<Served>, method: Method, headers: HeaderMap) -> Response {
    answer(served, String::new(), method, headers).await
}

async fn path(State(served): State<Served>, Path(path): Path<String>, method: Method, headers: HeaderMap) -> Response {
    answer(served, path, method, headers).await
}

async fn answer(served: Served, path: String, method: Method, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !served.hosts.iter().any(|known| known == host) {
        return StatusCode::MISDIRECTED_REQUEST.into_response();
    }
    let looked = tokio::task::spawn_blocking(move || look(&served, &path, &method, &headers)).await;
    looked.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// A file, or a page that lists a directory.
fn look(served: &Served, path: &str, method: &Method, headers: &HeaderMap) -> Response {
    let plain = path.trim_end_matches('/');
    if let (false, Ok(file)) = (plain.is_empty(), served.title.file(plain)) {
        return match path.ends_with('/') {
            true => StatusCode::NOT_FOUND.into_response(),
            false => send(served, plain, file, method, headers),
        };
    }
    match served.title.list(plain) {
        // Links in the page are relative to the directory.
        Ok(_) if !path.is_empty() && !path.ends_with('/') => {
            let place = format!("{}{}/", served.base, encode(plain, true));
            (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, place)]).into_response()
        }
        Ok(entries) => {
            let listed = served.title.listed();
            let mut rows = String::new();
            for entry in entries {
                let slash = if is_directory(&entry) { "/" } else { "" };
                let size = if slash.is_empty() { crate::units::bytes(entry.size) } else { String::new() };
                let (link, name) = (encode(&entry.name, false), escape(&entry.name));
                rows += &format!("<tr><td><a href=\"./{link}{slash}\">{name}{slash}</a></td><td>{size}</td></tr>\n");
            }
            let heading = escape(&format!("{} {}", listed.name, listed.release));
            let page = PAGE.replace("{heading}", &heading).replace("{path}", &escape(plain)).replace("{rows}", &rows);
            let policy = (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
            ([policy, (header::REFERRER_POLICY, "no-referrer")], Html(page)).into_response()
        }
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

const PAGE: &str = "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\"><title>{heading}</title>
<style>:root{color-scheme:light dark}body{font:16px system-ui;margin:2rem auto;max-width:50rem;padding:0 1rem}td{padding:.2rem 1rem .2rem 0}
td+td{text-align:right;font-variant-numeric:tabular-nums}</style>
<h1>{heading}</h1><p>/{path}</p><table>{rows}</table>\n";

/// A file, or the part of it that is asked for (RFC 9110 §14.2).
fn send(served: &Served, path: &str, file: FileInfo, method: &Method, headers: &HeaderMap) -> Response {
    let listed = served.title.listed();
    let tag = format!("\"{}\"", blake3::hash(format!("{}\n{}\n{}", listed.grant_id, listed.release, file.path()).as_bytes()).to_hex());
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(|range| range.strip_prefix("bytes="));
    // Several ranges at once, and what is no range, are answered with the whole, as the RFC allows.
    let asked = asked.and_then(|range| range.trim().parse::<ByteRange>().ok());
    let asked = asked.filter(|_| headers.get(header::IF_RANGE).is_none_or(|known| known.as_bytes() == tag.as_bytes()));
    let (status, range) = match asked.map(|asked| asked.within(file.size())) {
        None => (StatusCode::OK, 0..file.size()),
        Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(None) => {
            let size = format!("bytes */{}", file.size());
            return (StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, size)]).into_response();
        }
    };
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, mime_guess::from_path(path).first_or_octet_stream().as_ref())
        .header(header::CONTENT_LENGTH, range.end - range.start)
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::ETAG, tag)
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if status == StatusCode::PARTIAL_CONTENT {
        response = response.header(header::CONTENT_RANGE, format!("bytes {}-{}/{}", range.start, range.end - 1, file.size()));
    }
    let body = if method == Method::HEAD { Body::empty() } else { stream(served.title.clone(), file, range) };
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Opens the next block when the one before is sent: memory is one block, however slow the player is.
fn stream(title: Arc<Title>, file: FileInfo, range: std::ops::Range<u64>) -> Body {
    let file = Arc::new(file);
    Body::from_stream(futures_util::stream::try_unfold(range, move |left| {
        let (title, file) = (title.clone(), file.clone());
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let block = tokio::task::spawn_blocking(move || {
                let mut buffer = vec![0; BLOCK.min(usize::try_from(left.end - left.start).unwrap_or(BLOCK))];
                let read = title.read(&file, left.start, &mut buffer).map_err(std::io::Error::other)?;
                if read == 0 {
                    return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
                }
                buffer.truncate(read);
                Ok((Bytes::from(buffer), left.start + read as u64..left.end))
            });
            block.await.map_err(std::io::Error::other)?.map(Some)
        }
    }))
}

/// For a URL's path; slashes stay where they part names.
fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            b'/' if keep_slashes => encoded.push('/'),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// For HTML text and quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_links_and_pages() {
        assert_eq!(encode("a b/ü?.mp3", true), "a%20b/%C3%BC%3F.mp3");
        assert_eq!(encode("a/b", false), "a%2Fb");
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }

    #[test]
    fn the_secret_path_cannot_be_guessed() {
        assert_eq!(base(false), "/");
        let (one, two) = (base(true), base(true));
        assert!(one != two && one.len() == 24 && one.starts_with('/') && one.ends_with('/'));
    }
}
