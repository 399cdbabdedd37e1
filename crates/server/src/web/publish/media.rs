//! `/publish/media`: what one medium is, what it allows, and what happened to it.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::{MediumId, Rights, Timestamp};
use serde::Deserialize;

use super::{DESK, filters, layout};
use crate::api::media::{self, MediumDocument};
use crate::api::page::rfc3339;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::web::visitor::see_other;
use crate::web::{Layout, page_as};

#[derive(Template)]
#[template(path = "publish-medium.html")]
struct MediumPage {
    layout: Layout,
    asked: String,
    found: Option<Shown>,
}

/// A medium as people read of it.
struct Shown {
    medium: MediumDocument,
    rights: Vec<(&'static str, String)>,
}

/// Which medium.
#[derive(Deserialize)]
pub struct Search {
    #[serde(default)]
    medium_id: String,
}

/// `/publish/media?medium_id=…`: where the search box leads.
///
/// # Errors
/// A failure of the database.
pub async fn search(State(app): State<App>, headers: HeaderMap, Query(search): Query<Search>) -> Result<Response, Problem> {
    if DESK.clerk(&app, &headers).await?.is_none() {
        return DESK.sign_in_page(&app, None);
    }
    let asked = search.medium_id.trim();
    match asked.parse::<MediumId>() {
        Ok(id) => Ok(see_other(&format!("/publish/media/{id}"))),
        Err(_) => show(&app, asked, None),
    }
}

/// `/publish/media/{medium_id}`.
///
/// # Errors
/// A failure of the database. Another publisher's medium is none.
pub async fn medium(State(app): State<App>, headers: HeaderMap, Path(asked): Path<String>) -> Result<Response, Problem> {
    let Some(clerk) = DESK.clerk(&app, &headers).await? else { return DESK.sign_in_page(&app, None) };
    let Ok(id) = asked.parse::<MediumId>() else { return show(&app, &asked, None) };
    let scope = clerk.caller().scope();
    match app.db.read("medium page", async move |tx: &mut Tx| media::load(tx, &scope, &id).await).await {
        Ok(medium) => show(&app, &asked, Some(Shown { rights: words(&medium.rights), medium })),
        Err(problem) if problem.code == ApiCode::NotFound.as_str() => show(&app, &asked, None),
        Err(problem) => Err(problem),
    }
}

fn show(app: &App, asked: &str, found: Option<Shown>) -> Result<Response, Problem> {
    let status = if found.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    page_as(status, &MediumPage { layout: layout(app), asked: asked.to_owned(), found })
}

/// Rights, one a line.
fn words(rights: &Rights) -> Vec<(&'static str, String)> {
    let yes = |allowed: bool| if allowed { "yes" } else { "no" }.to_owned();
    let mut words = vec![
        ("Copies", rights.copies.to_string()),
        ("Play", yes(rights.play)),
        ("Update", yes(rights.update)),
        ("Download", yes(rights.download)),
        ("Upload", yes(rights.upload)),
        ("Transfer", yes(rights.transfer)),
    ];
    words.extend(rights.expires_at.map(|Timestamp(at)| ("Copied until", rfc3339(at))));
    words
}
