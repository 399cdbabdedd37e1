//! Who asks for the operator's pages, and that a form was sent from one of them.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::Desk;
use crate::db::Tx;
use crate::gateway::store::entry::{self, Session, is_form};
use crate::problem::Problem;
use crate::web::site::is_https;
use crate::web::visitor::{Fields, Posted, cookie, foreign, see_other, set_cookie};

/// Whoever was let in by a link; others are told how to get one.
pub struct Operator(Session);

impl Operator {
    /// What every form of this session carries.
    pub fn form(&self) -> String {
        self.0.form()
    }

    /// What their browser holds.
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl FromRequestParts<Desk> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Response> {
        let presented = cookie(&parts.headers, cookie_name(desk)).as_deref().and_then(Session::parse);
        let Some(session) = presented else { return Err(see_other("/enter")) };
        let (asked, now) = (session.clone(), desk.clock.now());
        let is_in = desk.db.read("operator's session", async move |tx: &mut Tx| entry::is_in(tx, &asked, now).await).await;
        match is_in {
            Ok(true) => Ok(Self(session)),
            Ok(false) => Err(see_other("/enter")),
            Err(error) => Err(Problem::from(error).into_response()),
        }
    }
}

/// A form of the operator, sent from a page of their session.
pub struct Sent {
    /// Whose.
    pub by: Operator,
    /// What.
    pub fields: Fields,
}

impl FromRequest<Desk> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, desk: &Desk) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let by = Operator::from_request_parts(&mut parts, desk).await?;
        let Posted(fields) = Posted::from_request(Request::from_parts(parts, body), desk).await.map_err(IntoResponse::into_response)?;
        if !is_form(&by.form(), fields.text("form")) {
            return Err(foreign().into_response());
        }
        Ok(Self { by, fields })
    }
}

/// Its own: cookies do not know ports, and the customers' pages may be on the same host.
fn cookie_name(desk: &Desk) -> &'static str {
    if is_https(desk) { "__Host-counterfoil-operator" } else { "counterfoil-operator" }
}

/// The answer with the cookie of a session that begins.
pub fn signed_in(desk: &Desk, session: &Session, answer: Response) -> Response {
    with_cookie(desk, &session.reveal(), entry::SESSION / 1000, answer)
}

/// The answer that takes the cookie away.
pub fn signed_out(desk: &Desk, answer: Response) -> Response {
    with_cookie(desk, "", 0, answer)
}

fn with_cookie(desk: &Desk, value: &str, seconds: i64, mut answer: Response) -> Response {
    // Strict: no link of another site opens a page as the operator.
    let (name, value) = set_cookie(desk, cookie_name(desk), value, seconds, "Strict");
    answer.headers_mut().append(name, value);
    answer
}
