//! Errors at the edge: problem details (RFC 9457) with a stable code, made here and nowhere else.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use counterfoil_core::wire::ChargeOnOffer;
use counterfoil_core::{Code, Refusal};
use serde::Serialize;

use crate::db::DbError;
use crate::keys::KeysError;
use crate::web::{self, site::Site};

macro_rules! problem_codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal, $title:literal, $hint:literal;)*) => {
        /// What can go wrong over HTTP besides the refusals of [`counterfoil_core::Code`]. Closed: programs may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ApiCode { $($(#[$doc])* $variant,)* }

        impl ApiCode {
            /// All there are.
            pub const ALL: &[ApiCode] = &[$(ApiCode::$variant),*];

            /// The stable name.
            pub fn as_str(self) -> &'static str {
                match self { $(ApiCode::$variant => $code),* }
            }

            fn parts(self) -> (u16, &'static str, &'static str) {
                match self { $(ApiCode::$variant => ($status, $title, $hint)),* }
            }
        }
    };
}

problem_codes! {
    /// No token, or none that is known.
    Unauthorized = 401 "unauthorized", "a valid bearer token is needed", "Send `Authorization: Bearer cft_…`. An operator makes tokens with `counterfoild token new`.";
    /// A token of another role.
    Forbidden = 403 "forbidden", "the token's role does not admit this", "Use a token of a role that the route names; see /reference.";
    /// A form that another site sent, or a page of another session.
    ForeignForm = 403 "foreign_form", "this form was not sent by a page of yours", "Open the page again, and send the form from there.";
    /// Nothing there, or nothing that the caller may see.
    NotFound = 404 "not_found", "there is nothing here", "Check the address and the IDs in it.";
    /// The path belongs to a role that this process has not.
    NotServed = 404 "not_served", "this process does not serve that", "Ask a server of the role that the detail names: `urls`, where they are given, say where.";
    /// The path is right, and what is asked for there belongs to a role that this process has not.
    Misdirected = 421 "misdirected", "this process does not do that", "Send the same request to one of `urls`; terminals do so by themselves. Where there are none, the operator must configure license_urls or public_urls.";
    /// The path exists, the method does not.
    MethodNotAllowed = 405 "method_not_allowed", "this method does not exist here", "See /reference.";
    /// The request took too long to arrive or to be answered.
    Timeout = 408 "timeout", "the request took too long", "Repeat it; every write is safe to send twice.";
    /// It cannot be read.
    InvalidRequest = 400 "invalid_request", "the request cannot be read", "Compare it with /reference.";
    /// It contradicts what is there.
    Conflict = 409 "conflict", "this contradicts what is already there", "Look at what is there first.";
    /// The version exists with other content.
    ReleaseExists = 409 "release_exists", "this version was published with other content", "Publish under a new version.";
    /// A request with the same Idempotency-Key is being worked on.
    InFlight = 409 "request_in_flight", "a request with this Idempotency-Key is being worked on", "Wait a moment, then repeat it.";
    /// A body larger than is taken here.
    TooLarge = 413 "too_large", "the request is too large", "The limit is in the server's configuration, section [limits].";
    /// Not the content type that is taken here.
    UnsupportedMediaType = 415 "unsupported_media_type", "this content type is not taken here", "Send `Content-Type: application/json`.";
    /// A range that is not there.
    RangeNotSatisfiable = 416 "range_not_satisfiable", "the range lies outside of the content", "Content-Range says how long it is.";
    /// Readable, and wrong.
    Unprocessable = 422 "unprocessable", "the request is wrong", "The detail says what.";
    /// The bytes are not those of the name.
    ObjectMismatch = 422 "object_mismatch", "the bytes do not have the hash that names them", "Send it again; if it fails again, the file was changed after it was made.";
    /// An upload that stands elsewhere.
    UploadOffset = 409 "upload_offset", "the upload does not stand where these bytes begin", "HEAD says in Upload-Offset where it does; go on from there.";
    /// An upload that has ended.
    UploadOver = 410 "upload_over", "this upload is over", "Begin another one.";
    /// Not the version of tus that is spoken.
    TusVersion = 412 "tus_version", "this server speaks tus 1.0.0", "Send `Tus-Resumable: 1.0.0`.";
    /// The bytes of one request are not those of its checksum.
    ChecksumMismatch = 460 "checksum_mismatch", "these bytes have another checksum than was sent with them", "Send them again; none were kept.";
    /// One Idempotency-Key, two requests.
    IdempotencyMismatch = 422 "idempotency_mismatch", "this Idempotency-Key was used for another request", "Use a fresh key for every request.";
    /// Something of this program; logged.
    Internal = 500 "internal", "the server has failed", "Tell the operator the request ID; the log says more.";
    /// The queue is full.
    Overloaded = 503 "overloaded", "the server is too busy", "Wait as long as Retry-After says, then repeat the request unchanged.";
    /// The database does not answer.
    Unavailable = 503 "unavailable", "the server cannot reach what it needs", "Wait as long as Retry-After says, then repeat the request unchanged.";
    /// The database is on its way to another place.
    StoreMoving = 503 "store_moving", "the server's database is being moved, and takes no writes meanwhile", "Wait as long as Retry-After says, then repeat the request unchanged.";
    /// The database is in another place.
    StoreMoved = 503 "store_moved", "the server's database was moved, and takes no more writes here", "Repeat the request unchanged at a server that uses the new database. Operators: the detail says where it is; configure it and restart.";
    /// The contents store does not answer.
    ContentsUnavailable = 503 "contents_unavailable", "the contents store does not answer", "Wait as long as Retry-After says, then repeat the request unchanged; a download goes on where it was, by range.";
    /// An address that was not signed as it stands.
    SignatureInvalid = 403 "signature_invalid", "this address is not signed", "Ask the authority for the object: it answers with an address that is.";
    /// A signed address after its time.
    UrlExpired = 403 "url_expired", "this address was good for a while that is over", "Ask the authority for the object again: it answers with a fresh address.";
    /// A gateway's own authority.
    AuthorityUnavailable = 503 "authority_unavailable", "the authority does not answer the gateway", "Repeat the request unchanged, by the same exchange ID: nothing is charged twice, and nothing is charged for what was not granted.";
    /// A gateway's own payment provider.
    PaymentsUnavailable = 503 "payments_unavailable", "the payment provider does not answer the gateway", "Repeat the request unchanged: nothing is paid twice, and nothing is taken from a card for what was not granted.";
    /// The disk of the contents is full.
    StorageFull = 507 "storage_full", "there is no space left for contents", "The operator must make room; nothing was stored.";
}

/// One answer that is an error.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {title}{}", detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default())]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name.
    pub code: &'static str,
    /// The same for every case of the code.
    pub title: String,
    /// What can be done next.
    pub hint: Box<str>,
    /// This case in particular, without secrets.
    pub detail: Option<String>,
    /// When to try again, in seconds.
    pub retry_after: Option<u32>,
    /// Where to ask instead, best first.
    pub urls: Box<[String]>,
    /// What the account would be charged, and has not agreed to (C17).
    pub charge: Option<Box<ChargeOnOffer>>,
}

impl From<ApiCode> for Problem {
    fn from(code: ApiCode) -> Self {
        let (status, title, hint) = code.parts();
        let status = StatusCode::from_u16(status).expect("the table above holds statuses");
        let retry_after = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self {
            status,
            code: code.as_str(),
            title: title.to_owned(),
            hint: hint.into(),
            detail: None,
            retry_after,
            urls: Box::default(),
            charge: None,
        }
    }
}

impl Problem {
    /// With what was wrong in particular.
    pub fn with(code: ApiCode, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::from(code) }
    }

    /// One that is in no table, such as an HTTP status with a detail that only its handler knows.
    pub fn new(status: StatusCode, code: &'static str, title: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title: title.into(),
            hint: Box::default(),
            detail: None,
            retry_after: None,
            urls: Box::default(),
            charge: None,
        }
    }

    /// Something that must not happen: logged here, and answered without its words.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "internal error");
        Self::from(ApiCode::Internal)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            Code::MediumUnknown | Code::GrantUnknown | Code::NotInEntry => StatusCode::NOT_FOUND,
            Code::EnvelopeInvalid => StatusCode::BAD_REQUEST,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::AccountNeeded => StatusCode::UNAUTHORIZED,
            Code::ChargeUnconfirmed => StatusCode::PAYMENT_REQUIRED,
            Code::ExchangeEnded => StatusCode::GONE,
            Code::RequestMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Code::MediumSpent | Code::MediumRetired | Code::RefundNotAllowed | Code::LicenseEnded | Code::SaveConflict => {
                StatusCode::CONFLICT
            }
            _ => StatusCode::FORBIDDEN,
        };
        let Refusal { code, message, hint, detail, offer: _ } = refusal;
        Self {
            status,
            code: code.as_str(),
            title: message,
            hint: hint.into(),
            detail,
            retry_after: None,
            urls: Box::default(),
            charge: None,
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Overloaded => ApiCode::Overloaded.into(),
            DbError::Moving(to) => Self::with(ApiCode::StoreMoving, to),
            DbError::Moved(to) => Self::with(ApiCode::StoreMoved, to),
            error if error.try_later() => {
                tracing::warn!(%error, "the database is not available");
                ApiCode::Unavailable.into()
            }
            error => Self::internal(error),
        }
    }
}

impl From<KeysError> for Problem {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Db(error) => error.into(),
            error => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    /// The body is written by [`render`], which knows the request's ID.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// As it travels.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// `urn:counterfoil:problem:` and the code.
    r#type: String,
    /// The same for every case of the code.
    pub title: String,
    /// HTTP status.
    status: u16,
    /// Stable, machine-readable.
    pub code: String,
    /// This case in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What can be done next.
    pub hint: String,
    /// Where to ask instead, best first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: Vec<String>,
    /// Only gateways charge, and their description says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    charge: Option<Box<ChargeOnOffer>>,
    /// Of the request, as in the header `x-request-id` and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// The outermost layer: writes the body of every problem, and makes problems of the errors that axum and tower answer by themselves.
/// A browser gets a page, everybody else problem details.
pub async fn render<S: Site>(State(site): State<S>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let page = web::wants_page(&path, request.headers());
    let mut answer = written(request, next, |status, body| page.then(|| site.problem(&path, status, body)).flatten()).await;
    web::protect(&site, &path, answer.headers_mut());
    answer
}

async fn written(request: Request, next: Next, page: impl FnOnce(StatusCode, &ProblemDetails) -> Option<Response>) -> Response {
    let request_id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| foreign(&response));
    let Some(problem) = problem else { return response };
    let body = ProblemDetails {
        r#type: format!("urn:counterfoil:problem:{}", problem.code),
        title: problem.title,
        status: problem.status.as_u16(),
        code: problem.code.to_owned(),
        detail: problem.detail,
        hint: problem.hint.into(),
        urls: problem.urls.into_vec(),
        charge: problem.charge,
        request_id,
    };
    let mut written = match page(problem.status, &body) {
        Some(page) => page,
        None => {
            let mut details = (problem.status, Json(body)).into_response();
            details.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            details
        }
    };
    for (name, value) in response.headers() {
        if *name != CONTENT_TYPE && *name != axum::http::header::CONTENT_LENGTH {
            written.headers_mut().insert(name, value.clone());
        }
    }
    *written.extensions_mut() = std::mem::take(response.extensions_mut());
    written
}

/// An error that no handler of ours made: it has no body of ours, so it is told by its status.
fn foreign(response: &Response) -> Option<Problem> {
    let code = match response.status() {
        StatusCode::NOT_FOUND => ApiCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED if response.headers().contains_key(ALLOW) => ApiCode::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => ApiCode::Timeout,
        StatusCode::PAYLOAD_TOO_LARGE => ApiCode::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ApiCode::UnsupportedMediaType,
        StatusCode::BAD_REQUEST => ApiCode::InvalidRequest,
        StatusCode::UNPROCESSABLE_ENTITY => ApiCode::Unprocessable,
        StatusCode::INTERNAL_SERVER_ERROR => ApiCode::Internal,
        _ => return None,
    };
    let ours = |kind: &HeaderValue| kind == "application/problem+json" || kind.as_bytes().starts_with(b"text/html");
    let ours = response.headers().get(CONTENT_TYPE).is_some_and(ours);
    (!ours).then(|| code.into())
}

/// Takes a JSON body; what is wrong with it is told as a problem.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: serde::de::DeserializeOwned> axum::extract::FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        use axum::extract::rejection::JsonRejection;
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(ApiCode::UnsupportedMediaType.into()),
            Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(ApiCode::TooLarge.into()),
            Err(error @ JsonRejection::JsonDataError(_)) => Err(Problem::with(ApiCode::Unprocessable, error.body_text())),
            Err(error) => Err(Problem::with(ApiCode::InvalidRequest, error.body_text())),
        }
    }
}
