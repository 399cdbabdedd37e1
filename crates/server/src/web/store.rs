//! `/store`: the sales pages (D2). The same for everybody, signed in or not.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};

use super::{Layout, Section, filters, page};
use crate::api::page::PageQuery;
use crate::api::store::{A_MINUTE, SearchQuery, ShelvedTitle, StoreTitle, shelves, sold};
use crate::app::App;
use crate::problem::Problem;

/// Titles on a page: whole rows of two, three and four.
const SHOWN: u32 = 24;

#[derive(Template)]
#[template(path = "store.html")]
struct StorePage {
    layout: Layout,
    words: String,
    titles: Vec<ShelvedTitle>,
    next: Option<String>,
}

/// What is sold, to be searched.
///
/// # Errors
/// As for [`shelves`].
pub async fn store(State(app): State<App>, Query(search): Query<SearchQuery>, Query(query): Query<PageQuery>) -> Result<Response, Problem> {
    let words = search.q.trim().to_owned();
    let found = shelves(&app, words.clone(), PageQuery { limit: Some(SHOWN), ..query }).await?;
    let next = found.next.map(|after| {
        let next = SearchQuery { q: words.clone() };
        format!("/store?{}&after={after}", query_string(&next.q))
    });
    let layout = Layout::new(&app.name, Section::Store);
    Ok((A_MINUTE, page(&StorePage { layout, words, titles: found.items, next })?).into_response())
}

/// `q=…`, as a form sends it.
fn query_string(words: &str) -> String {
    let mut query = "q=".to_owned();
    for byte in words.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
            _ => query.push_str(&format!("%{byte:02X}")),
        }
    }
    query
}

#[derive(Template)]
#[template(path = "title.html")]
struct TitlePage {
    layout: Layout,
    sold: StoreTitle,
}

/// One title.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn title(State(app): State<App>, Path(title): Path<String>) -> Result<Response, Problem> {
    let sold = sold(&app, &title).await?;
    Ok((A_MINUTE, page(&TitlePage { layout: Layout::new(&app.name, Section::Store), sold })?).into_response())
}
