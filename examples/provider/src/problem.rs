//! A "no", as problem details (RFC 9457) with a stable code.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use counterfoil_tus::Error as Tus;
use serde::Serialize;

/// Closed: programs may match on the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// It cannot be read.
    InvalidRequest,
    /// No session, none that is known, or one that is over.
    SessionUnknown,
    /// The authority says no; `reason` is its own code.
    Inactive,
    /// The verdict does not allow it.
    RightMissing,
    /// Nothing there, or nothing for this session.
    NotFound,
    /// The address is right, the method is not.
    MethodNotAllowed,
    /// Not given here, over, or presented before.
    ChallengeUnknown,
    /// More bytes than are taken, or than may be held.
    TooLarge,
    /// As many uploads are under way as may be.
    TooManyUploads,
    /// Another request writes to this upload.
    Busy,
    /// What tus says of a request for which nothing else is said here.
    Tus(Tus),
    /// A range that is not there.
    RangeNotSatisfiable,
    /// More at once than is remembered.
    Overloaded,
    /// The authority does not take this provider's token.
    NotAdmitted,
    /// The authority does not answer, or has too much to do.
    AuthorityUnreachable,
    /// The authority answers with something that is no verdict on what was asked.
    AuthorityFailed,
    /// The disk is full or broken.
    StorageFailed,
}

impl Code {
    /// Status, stable name, and words for people.
    fn parts(&self) -> (u16, &'static str, &'static str) {
        match self {
            Code::InvalidRequest => (400, "invalid_request", "the request cannot be read"),
            Code::SessionUnknown => (401, "session_unknown", "there is no such session: present the medium again"),
            Code::Inactive => (403, "inactive", "the authority does not vouch for this presentation"),
            Code::RightMissing => (403, "right_missing", "the right to this is missing"),
            Code::NotFound => (404, "not_found", "there is nothing here for you"),
            Code::MethodNotAllowed => (405, "method_not_allowed", "this method does not exist here"),
            Code::ChallengeUnknown => {
                (409, "challenge_unknown", "this challenge was not given, is over or was presented before: ask for another")
            }
            Code::TooLarge => (413, "too_large", "this is more than is taken"),
            Code::TooManyUploads => (429, "too_many_uploads", "finish or delete an upload first"),
            Code::Busy => (423, "busy", "another request writes to this upload"),
            Code::Tus(error) => (error.status().as_u16(), tus_name(error), "the request is not as tus 1.0 wants it"),
            Code::RangeNotSatisfiable => (416, "range_not_satisfiable", "the range lies outside of the content"),
            Code::Overloaded => (503, "overloaded", "too many at once"),
            Code::NotAdmitted => (502, "not_admitted", "the authority does not admit this provider"),
            Code::AuthorityUnreachable => (503, "authority_unreachable", "the authority does not answer"),
            Code::AuthorityFailed => (502, "authority_failed", "the authority's answer makes no sense"),
            Code::StorageFailed => (507, "storage_failed", "this cannot be kept at the moment"),
        }
    }
}

fn tus_name(error: &Tus) -> &'static str {
    match error {
        Tus::Version => "tus_version",
        Tus::Method => "method_not_allowed",
        Tus::ContentType => "unsupported_media_type",
        Tus::Offset { .. } => "offset_conflict",
        Tus::TooLarge { .. } => "too_large",
        Tus::Unknown => "not_found",
        Tus::Gone => "gone",
        _ => "invalid_request",
    }
}

/// One refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub code: Code,
    /// For people.
    pub detail: Option<String>,
    /// The authority's code, where it is the one that refuses.
    pub reason: Option<String>,
    /// Seconds after which it may be tried again.
    pub retry_after: Option<u32>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Problem { code, detail: None, reason: None, retry_after: None }
    }
}

impl Problem {
    /// With what is to be said of this one.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem { detail: Some(detail.into()), ..code.into() }
    }

    /// Something that may be over in some seconds.
    pub fn passing(code: Code, detail: impl Into<String>, seconds: u32) -> Self {
        Problem { retry_after: Some(seconds), ..Problem::new(code, detail) }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code, title) = self.code.parts();
        let (detail, reason) = (self.detail.as_deref(), self.reason.as_deref());
        let body = Body { r#type: "about:blank", title, status, code, detail, reason };
        if status >= 500 {
            eprintln!("warning: {title}: {}", detail.unwrap_or("no more is known"));
        }
        // A structure of numbers and texts has a JSON form.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.code == Code::SessionUnknown {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
