//! `/v1/verify`: what a provider was presented with, judged (B4). Token introspection as in RFC 7662; `docs/providers.md` has the protocol.

use axum::extract::{FromRequest, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{AppendHeaders, IntoResponse};
use axum::{Form, Json};
use counterfoil_core::wire::{Presentation, TitleOnOffer, VERDICT_TYP, Verdict};
use counterfoil_core::{Refusal, Rights};
use counterfoil_format::encoding::from_base64url;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batches::RightsDocument;
use crate::actions::verify;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::Once;
use crate::problem::{ApiCode, Body, Problem, ProblemDetails};

/// What a provider was presented with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToVerify {
    /// As the terminal handed it in.
    #[schema(value_type = Object)]
    pub presentation: Presentation,
    /// What the provider challenged that terminal with.
    pub challenge: String,
}

/// The same as RFC 7662 has it, for clients that speak that.
#[derive(Deserialize, ToSchema)]
pub struct ToIntrospect {
    /// The presentation's JSON as base64url.
    pub token: String,
    /// What the provider challenged that terminal with.
    pub challenge: String,
    /// Not looked at.
    #[expect(dead_code, reason = "RFC 7662 lets clients send it")]
    token_type_hint: Option<String>,
}

impl<S: Send + Sync> FromRequest<S> for ToVerify {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Body::<Self>::from_request(request, state).await.map(|body| body.0);
        }
        let wrong = |what: String| Problem::with(ApiCode::Unprocessable, what);
        let Form(form) = Form::<ToIntrospect>::from_request(request, state).await.map_err(|error| wrong(error.body_text()))?;
        let json = from_base64url(&form.token).ok_or_else(|| wrong("`token` is no base64url".to_owned()))?;
        let presentation = serde_json::from_slice(&json).map_err(|error| wrong(format!("`token` holds no presentation: {error}")))?;
        Ok(Self { presentation, challenge: form.challenge })
    }
}

/// What the authority says of it (RFC 7662 §2.2). Where `active` is false, there is nothing but `reason` and `detail`.
#[derive(Default, Serialize, ToSchema)]
pub struct Introspection {
    /// Whether it is good.
    active: bool,
    /// Why not: a code of docs/refusals.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// This case in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten)]
    verdict: Option<VerdictDocument>,
}

/// A verdict, and the same signed.
#[derive(Serialize, ToSchema)]
struct VerdictDocument {
    /// The authority's name.
    iss: String,
    /// The provider's ID.
    aud: String,
    /// The holder: always the same at one provider, and another at each; absent where nobody has claimed the medium or shown who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    /// What is allowed: `download`, `upload`, `update`, `play`, `transfer`, with spaces between.
    scope: String,
    /// The medium; absent where only a user was presented.
    #[serde(skip_serializing_if = "Option::is_none")]
    medium_id: Option<String>,
    /// What it allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RightsDocument>)]
    rights: Option<Rights>,
    /// What lies on it, or what the user has of the provider's publishers.
    #[schema(value_type = Vec<Object>)]
    titles: Vec<TitleOnOffer>,
    /// The challenge that was answered.
    nonce: String,
    /// Seconds since 1970 UTC.
    iat: i64,
    /// Seconds since 1970 UTC, ten minutes later.
    exp: i64,
    /// Names the presentation.
    jti: String,
    /// All of this as a JWT by the authority, `typ: counterfoil-verdict+jwt`.
    verdict: String,
}

impl VerdictDocument {
    fn of(verdict: Verdict, signed: String) -> Self {
        let Verdict { active: _, iss, aud, sub, scope, medium_id, rights, titles, nonce, iat, exp, jti } = verdict;
        let (aud, medium_id) = (aud.to_string(), medium_id.map(|id| id.to_string()));
        Self { iss, aud, sub, scope, medium_id, rights, titles, nonce, iat, exp, jti, verdict: signed }
    }
}

/// Judges what a terminal has presented to the provider that calls. Safe to send twice: for ten minutes the same presentation gets the same
/// verdict, and none after that. What is wrong with a presentation is no error: the answer says that it is not active, and why.
#[utoipa::path(
    post, path = "/v1/verify", tag = "providers", operation_id = "verify",
    request_body(content((ToVerify = "application/json"), (ToIntrospect = "application/x-www-form-urlencoded"))),
    responses((status = 200, body = Introspection), (status = 422, body = ProblemDetails), (status = 429, body = ProblemDetails)),
)]
pub async fn verify(State(app): State<App>, caller: Caller, once: Once, asked: ToVerify) -> Result<impl IntoResponse, Problem> {
    let provider = caller.provider().ok_or_else(|| Problem::internal("somebody who is no provider was let in"))?;
    // The presentation has an ID of its own.
    once.by_nature();
    let judged = verify::run(&app, provider, &asked.presentation, &asked.challenge).await?;
    let introspection = match judged {
        Ok(verdict) => {
            // Signed when it is on record, and not before.
            let signed = app.keys.sign(VERDICT_TYP, &verdict, app.clock.now())?;
            Introspection { active: true, verdict: Some(VerdictDocument::of(verdict, signed)), ..Introspection::default() }
        }
        Err(Refusal { code, detail, .. }) => Introspection { reason: Some(code.as_str()), detail, ..Introspection::default() },
    };
    Ok((AppendHeaders([(CACHE_CONTROL, HeaderValue::from_static("no-store"))]), Json(introspection)))
}
