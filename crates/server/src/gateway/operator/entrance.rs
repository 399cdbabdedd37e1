//! The way in: a one-time link that `counterfoild gateway operator link` prints; and out.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Desk;
use super::visitor::{Sent, signed_in, signed_out};
use crate::db::Tx;
use crate::gateway::store::entry::{self, FAMILY, Link, Session};
use crate::problem::Problem;
use crate::web::console::entrance::Door;
use crate::web::page_as;
use crate::web::visitor::{Fields, Posted, see_other};

#[derive(Template)]
#[template(path = "gateway/enter.html")]
struct EnterPage<'a> {
    frame: Door,
    /// Whether there was a link at all.
    asked: bool,
    good: bool,
    link: &'a str,
}

fn enter_page(desk: &Desk, link: &str, good: bool) -> Result<Response, Problem> {
    let asked = !link.is_empty();
    let status = if asked && !good { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_as(status, &EnterPage { frame: desk.door(), asked, good, link })
}

/// `/enter`: where the link leads. Nothing happens yet, for programs open links as well.
///
/// # Errors
/// A failure of the database.
pub async fn form(State(desk): State<Desk>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let fields = Fields::parse(query.as_deref().unwrap_or_default().as_bytes());
    let (text, now) = (fields.text("link"), desk.clock.now());
    let good = match Link::parse(text) {
        Some(link) => desk.db.read("operator's link", async move |tx: &mut Tx| entry::operator_link(tx, &link, now).await).await?,
        None => false,
    };
    enter_page(&desk, text, good)
}

/// Lets the browser in: the link is used up.
///
/// # Errors
/// A failure of the database.
pub async fn enter(State(desk): State<Desk>, Posted(fields): Posted) -> Result<Response, Problem> {
    let (text, now) = (fields.text("link"), desk.clock.now());
    let Some(link) = Link::parse(text) else { return enter_page(&desk, text, false) };
    let session = Session::generate(&mut desk.rng.clone());
    let begun = session.clone();
    let enter = async move |tx: &mut Tx| entry::enter(tx, &link, &begun, now).await;
    match desk.db.write("operator enters", FAMILY, enter).await? {
        true => Ok(signed_in(&desk, &session, see_other("/operator"))),
        false => enter_page(&desk, text, false),
    }
}

/// Ends the session.
///
/// # Errors
/// A failure of the database.
pub async fn leave(State(desk): State<Desk>, Sent { by, .. }: Sent) -> Result<Response, Problem> {
    let session = by.session().clone();
    desk.db.write("operator leaves", FAMILY, async move |tx: &mut Tx| entry::leave(tx, &session).await).await?;
    Ok(signed_out(&desk, see_other("/enter")))
}
