//! The one endpoint of terminals: an envelope in, a signed answer out.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use counterfoil_core::{Code, Refusal};
use counterfoil_format::envelope::Envelope;
use serde::Serialize;

use crate::actions::exchange;
use crate::app::App;
use crate::problem::{Problem, ProblemDetails};

/// What came of a request, granted or refused.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Answer {
    /// Compact JWS, `typ: counterfoil-answer+jwt`; every secret in it is sealed to the holder that may open it. Where the request says
    /// `seal_answer`, all of it is sealed besides, and this begins with `sealed.`.
    answer: String,
}

/// Takes a sealed envelope and returns the authority's signed answer. Safe to send twice: the same request gets the same answer.
#[utoipa::path(post, path = "/v1/terminal/exchange", tag = "terminal", request_body(content = Object, description = "A sealed envelope: kid, enc, ct"),
    responses((status = 200, body = Answer), (status = 400, body = ProblemDetails), (status = 503, body = ProblemDetails)))]
pub async fn exchange(State(app): State<App>, body: Bytes) -> Result<Json<Answer>, Problem> {
    let envelope = Envelope::parse(&body).map_err(|error| Refusal::with(Code::EnvelopeInvalid, error.to_string()))?;
    Ok(Json(Answer { answer: exchange::answer(&app, &envelope).await? }))
}
