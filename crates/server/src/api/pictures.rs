//! `/pictures/{object}`: pictures of titles, for everybody.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use counterfoil_format::content::ObjectName;

use super::range::{Selection, select};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::picture;

/// A picture of a title. It never changes at its address.
#[utoipa::path(
    get, path = "/pictures/{object}", tag = "store", operation_id = "get_picture",
    params(("object" = String, Path, description = "BLAKE3 of its bytes, 64 hexadecimal digits")),
    responses((status = 200, description = "The picture", content_type = "image/*"), (status = 304, description = "The caller has it"),
              (status = 404), (status = 503, description = "`contents_unavailable`")),
)]
pub async fn get(State(app): State<App>, Path(object): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let object: ObjectName = object.parse().map_err(|_| ApiCode::NotFound)?;
    // What no title shows is not handed out as a picture, whatever its bytes are.
    let found = app.db.find_lagging("picture", async move |tx: &mut Tx| picture::media_type(tx, object).await).await?;
    let media_type = HeaderValue::try_from(found.ok_or(ApiCode::NotFound)?).map_err(Problem::internal)?;
    let length = app.blobs.known_length(object).await?.ok_or(ApiCode::NotFound)?;
    let etag = HeaderValue::try_from(format!("\"{object}\"")).expect("hexadecimal digits in quotes");
    let about = [
        (ETAG, etag.clone()),
        (CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox")),
    ];
    if select(&headers, etag.to_str().unwrap_or_default(), length) == Selection::NotModified {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let body = app.blobs.read(object, 0..length).await?.ok_or(ApiCode::NotFound)?;
    Ok((about, [(CONTENT_TYPE, media_type), (CONTENT_LENGTH, length.into())], Body::from_stream(body)).into_response())
}
