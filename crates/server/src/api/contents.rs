//! `/contents`: sealed objects for everybody, by name and range; `/v1/contents`: where publishers put them.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use counterfoil_format::content::ObjectName;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use utoipa::ToSchema;

use super::range::{Selection, select};
use crate::app::App;
use crate::blobs::{Blobs, Put};
use crate::delivery::{Asker, Elsewhere, Signed};
use crate::problem::{ApiCode, Problem};

/// How long an upload may say nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// An object never changes under its name.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Sealed bytes of an object, or a range of them; or where they are to be had.
#[utoipa::path(
    get, path = "/contents/{object}", tag = "contents", operation_id = "get_object",
    params(("object" = String, Path, description = "BLAKE3 of its bytes, 64 hexadecimal digits"),
           ("expires" = Option<String>, Query, description = "Of a signed address: until when it is good, in seconds since 1970"),
           ("signature" = Option<String>, Query, description = "Of a signed address (docs/contents.md)"),
           ("Range" = Option<String>, Header, description = "One range of bytes (RFC 9110 §14.2)"),
           ("If-Range" = Option<String>, Header, description = "The range only if the ETag is this one")),
    responses((status = 200, description = "All of it", content_type = "application/octet-stream"),
              (status = 206, description = "The range", content_type = "application/octet-stream"),
              (status = 304, description = "The caller has it"),
              (status = 307, description = "`Location` has it for a while: repeat the request there, without authorization"),
              (status = 403, description = "`signature_invalid`, `url_expired`"), (status = 404), (status = 416),
              (status = 503, description = "`contents_unavailable`")),
)]
pub async fn get(
    State(app): State<App>,
    Path(object): Path<String>,
    Query(signed): Query<Signed>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse(&object)?;
    let asker = app.delivery.asker(name, &signed, app.clock.now())?;
    let (blobs, length) = found(&app, name).await?.ok_or(ApiCode::NotFound)?;
    let etag = format!("\"{name}\"");
    let (status, range) = match select(&headers, &etag, length) {
        Selection::Whole => (StatusCode::OK, 0..length),
        Selection::Part { first, last } => (StatusCode::PARTIAL_CONTENT, first..last + 1),
        Selection::NotModified => return Ok((StatusCode::NOT_MODIFIED, about(&etag)).into_response()),
        Selection::Unsatisfiable => {
            let mut response = Problem::from(ApiCode::RangeNotSatisfiable).into_response();
            response.headers_mut().insert(CONTENT_RANGE, ascii(format!("bytes */{length}")));
            return Ok(response);
        }
    };
    if asker == Asker::Plain
        && let Some(elsewhere) = app.delivery.elsewhere(&blobs, name, app.clock.now()).await?
    {
        return Ok(redirect(elsewhere));
    }
    let body = blobs.read(name, range.clone()).await?.ok_or(ApiCode::NotFound)?;
    let mut response = (status, about(&etag), Body::from_stream(body)).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, (range.end - range.start).into());
    if status == StatusCode::PARTIAL_CONTENT {
        response.headers_mut().insert(CONTENT_RANGE, ascii(format!("bytes {}-{}/{length}", range.start, range.end - 1)));
    }
    Ok(response)
}

/// Where an object lies, with its length: among those of publishers, or among what users have handed in.
async fn found(app: &App, name: ObjectName) -> Result<Option<(Blobs, u64)>, Problem> {
    for blobs in [app.blobs.clone(), app.blobs.saves()] {
        if let Some(length) = blobs.known_length(name).await? {
            return Ok(Some((blobs, length)));
        }
    }
    Ok(None)
}

fn redirect(elsewhere: Elsewhere) -> Response {
    let cache = format!("private, max-age={}", elsewhere.reusable.as_secs());
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, ascii(elsewhere.url)), (CACHE_CONTROL, ascii(cache))]).into_response()
}

/// Whether an object is there, and how long it is. Never sent elsewhere.
#[utoipa::path(
    head, path = "/contents/{object}", tag = "contents", operation_id = "head_object",
    params(("object" = String, Path, description = "BLAKE3 of its bytes, 64 hexadecimal digits"),
           ("expires" = Option<String>, Query, description = "As for GET"), ("signature" = Option<String>, Query, description = "As for GET")),
    responses((status = 200, description = "It is there"), (status = 403, description = "As for GET"), (status = 404),
              (status = 503, description = "`contents_unavailable`")),
)]
pub async fn head(State(app): State<App>, Path(object): Path<String>, Query(signed): Query<Signed>) -> Result<Response, Problem> {
    let name = parse(&object)?;
    app.delivery.asker(name, &signed, app.clock.now())?;
    told(found(&app, name).await?.map(|(_, length)| length), name)
}

fn told(length: Option<u64>, name: ObjectName) -> Result<Response, Problem> {
    let mut response = about(&format!("\"{name}\"")).into_response();
    response.headers_mut().insert(CONTENT_LENGTH, length.ok_or(ApiCode::NotFound)?.into());
    Ok(response)
}

/// An object in the store.
#[derive(Serialize, ToSchema)]
pub struct StoredObject {
    /// Its name.
    #[schema(value_type = String)]
    object: ObjectName,
    /// In bytes.
    length: u64,
}

/// Whether an object is there already, before it is sent.
#[utoipa::path(
    head, path = "/v1/contents/{object}", tag = "contents", operation_id = "head_stored_object",
    params(("object" = String, Path, description = "BLAKE3 of its bytes, 64 hexadecimal digits")),
    responses((status = 200, description = "It is there"), (status = 404), (status = 503, description = "`contents_unavailable`")),
)]
pub async fn head_stored(State(app): State<App>, Path(object): Path<String>) -> Result<Response, Problem> {
    let name = parse(&object)?;
    told(app.blobs.length(name).await?, name)
}

/// Stores an object of any size. Safe to send twice: its name says what it holds.
#[utoipa::path(
    put, path = "/v1/contents/{object}", tag = "contents", operation_id = "put_object",
    params(("object" = String, Path, description = "BLAKE3 of its bytes, 64 hexadecimal digits")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, description = "Stored", body = StoredObject), (status = 200, description = "It was there", body = StoredObject),
              (status = 422, description = "`object_mismatch`: the bytes have another name"), (status = 503, description = "`contents_unavailable`"),
              (status = 507, description = "`storage_full`")),
)]
pub async fn put(State(app): State<App>, Path(object): Path<String>, request: Request) -> Result<Response, Problem> {
    let name = parse(&object)?;
    let put = app.blobs.put(name, pieces(request.into_body())).await?;
    let length = app.blobs.length(name).await?.ok_or_else(|| Problem::internal("an object is gone right after it was stored"))?;
    let status = match put {
        Put::Stored => StatusCode::CREATED,
        Put::Present => StatusCode::OK,
    };
    Ok((status, Json(StoredObject { object: name, length })).into_response())
}

/// What a body yields; one that is silent for too long has failed.
fn pieces(body: Body) -> impl Stream<Item = Result<bytes::Bytes, String>> {
    stream::unfold(body.into_data_stream(), |mut body| async move {
        match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(piece) => piece.map(|piece| (piece.map_err(|error| error.to_string()), body)),
            Err(_) => Some((Err(format!("nothing came for {} seconds", SILENCE.as_secs())), body)),
        }
    })
}

fn parse(object: &str) -> Result<ObjectName, Problem> {
    object.parse().map_err(|_| ApiCode::NotFound.into())
}

fn about(etag: &str) -> [(HeaderName, HeaderValue); 4] {
    [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (ETAG, ascii(etag.to_owned())),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE)),
    ]
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("addresses, names and numbers are printable ASCII")
}
