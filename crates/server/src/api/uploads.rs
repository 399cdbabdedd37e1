//! `/v1/uploads/{ticket}`: the bytes of what users hand in, by tus 1.0 (docs/uploads.md). Whoever holds the ticket may send them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::Timestamp;
use counterfoil_core::rules::upload::MOST_BYTES;
use counterfoil_tus::{Error, Extension, Head, Request, Server, State as Reached};

use crate::actions::upload::{self, Failed};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::upload::{State as Standing, UploadRow};

/// What this server can do. Uploads are made by the operation `upload`, so not by `POST`.
const TUS: Server =
    Server { max_size: Some(MOST_BYTES), extensions: &[Extension::Termination, Extension::Expiration, Extension::Checksum] };

/// How far an upload is.
#[utoipa::path(
    head, path = "/v1/uploads/{ticket}", tag = "uploads", operation_id = "head_upload",
    params(("ticket" = String, Path, description = "As `upload` answered"), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 200, description = "`Upload-Offset`, `Upload-Length`, `Upload-Expires`"), (status = 404), (status = 410, description = "`upload_over`"),
              (status = 412, description = "`tus_version`")),
)]
pub async fn head(State(app): State<App>, Path(ticket): Path<String>, headers: HeaderMap) -> Response {
    let state = async {
        TUS.read(&Method::HEAD, &headers).map_err(Failed::Tus)?;
        let row = upload::find(&app, &ticket).await?;
        let reached = Reached { offset: row.received, length: row.length, metadata: None, expires: expires(&row) };
        Ok(TUS.state(&reached))
    };
    answer(state.await)
}

/// Takes the next bytes of an upload. What came before a request broke off is kept. The last bytes make a version of it.
#[utoipa::path(
    patch, path = "/v1/uploads/{ticket}", tag = "uploads", operation_id = "patch_upload",
    params(("ticket" = String, Path, description = "As `upload` answered"), ("Tus-Resumable" = String, Header, description = "1.0.0"),
           ("Upload-Offset" = u64, Header, description = "Where the bytes begin"),
           ("Upload-Checksum" = Option<String>, Header, description = "`sha1` or `sha256`, a space, and the hash of this body in base64")),
    request_body(content = Vec<u8>, content_type = "application/offset+octet-stream"),
    responses((status = 204, description = "Taken; `Upload-Offset` says how far the upload is"),
              (status = 404), (status = 409, description = "`upload_offset`: it stands elsewhere; `save_conflict`: another device was first, and the upload is over"),
              (status = 410, description = "`upload_over`"), (status = 412, description = "`tus_version`"), (status = 413, description = "`too_large`: more than was announced"),
              (status = 415), (status = 422, description = "`object_mismatch`: the bytes are not those that were announced, and the upload is over"),
              (status = 460, description = "`checksum_mismatch`"), (status = 503), (status = 507, description = "`storage_full`")),
)]
pub async fn patch(State(app): State<App>, Path(ticket): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let taken = async {
        let Request::Patch(patch) = TUS.read(&Method::PATCH, &headers).map_err(Failed::Tus)? else {
            return Err(Failed::Tus(Error::Method));
        };
        let row = upload::find(&app, &ticket).await?;
        let (length, until) = (row.length, expires(&row));
        let offset = upload::take(&app, row, &patch, body).await?;
        Ok(TUS.accepted(offset, until.filter(|_| offset < length)))
    };
    answer(taken.await)
}

/// Gives an upload up that is not complete.
#[utoipa::path(
    delete, path = "/v1/uploads/{ticket}", tag = "uploads", operation_id = "delete_upload",
    params(("ticket" = String, Path, description = "As `upload` answered"), ("Tus-Resumable" = String, Header, description = "1.0.0")),
    responses((status = 204, description = "It is over"), (status = 404), (status = 410, description = "`upload_over`"), (status = 412, description = "`tus_version`")),
)]
pub async fn delete(State(app): State<App>, Path(ticket): Path<String>, headers: HeaderMap) -> Response {
    let removed = async {
        let Request::Delete = TUS.read(&Method::DELETE, &headers).map_err(Failed::Tus)? else {
            return Err(Failed::Tus(Error::Method));
        };
        upload::cancel(&app, &ticket).await?;
        Ok(TUS.removed())
    };
    answer(removed.await)
}

/// What this server can do.
#[utoipa::path(
    options, path = "/v1/uploads/{ticket}", tag = "uploads", operation_id = "options_upload",
    params(("ticket" = String, Path, description = "Any")),
    responses((status = 204, description = "`Tus-Version`, `Tus-Extension`, `Tus-Max-Size`, `Tus-Checksum-Algorithm`")),
)]
pub async fn options() -> Response {
    answer(Ok(TUS.options()))
}

/// Until when an upload waits for bytes; one that is complete does not.
fn expires(row: &UploadRow) -> Option<SystemTime> {
    let Timestamp(at) = row.expires_at;
    (row.state == Standing::Open).then(|| UNIX_EPOCH + Duration::from_millis(at.unsigned_abs()))
}

fn answer(result: Result<Head, Failed>) -> Response {
    let (mut response, head) = match result {
        Ok(head) => return (head.status, head.headers).into_response(),
        Err(Failed::Tus(error)) => (problem(&error).into_response(), TUS.refused(&error)),
        // No error of the protocol, but an answer in it.
        Err(Failed::Problem(problem)) => (problem.into_response(), TUS.removed()),
    };
    response.headers_mut().extend(head.headers);
    response
}

/// The same as the status says, for people.
fn problem(error: &Error) -> Problem {
    let code = match error {
        Error::Version => ApiCode::TusVersion,
        Error::Method => ApiCode::MethodNotAllowed,
        Error::ContentType => {
            let hint = format!("Send `Content-Type: {}`.", counterfoil_tus::BODY_TYPE);
            return Problem { hint: hint.into(), ..ApiCode::UnsupportedMediaType.into() };
        }
        Error::Offset { .. } => ApiCode::UploadOffset,
        Error::TooLarge { .. } => ApiCode::TooLarge,
        Error::ChecksumMismatch => ApiCode::ChecksumMismatch,
        Error::Unknown => return ApiCode::NotFound.into(),
        Error::Gone => ApiCode::UploadOver,
        _ => ApiCode::InvalidRequest,
    };
    Problem::with(code, error.to_string())
}
