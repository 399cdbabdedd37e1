//! `/v1/store`: what is sold, for everybody (D2).

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use counterfoil_core::{Channel, Kind, Money, Policy, ReleaseVersion, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::listing::{self, Listing, Shelved, Shown, ShownRelease};
use crate::store::picture::Picture;

/// For everybody alike, and out of date by a minute at most.
pub const A_MINUTE: [(HeaderName, &str); 1] = [(CACHE_CONTROL, "public, max-age=60")];
/// Longest search, in characters.
const MOST_WORDS: usize = 100;

/// What is looked for.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words in name, summary or publisher; capital or small letters from A to Z make no difference.
    #[serde(default)]
    pub q: String,
}

/// A price.
#[derive(ToSchema)]
#[schema(as = Price)]
#[expect(dead_code, reason = "describes `Money` to OpenAPI")]
pub struct PriceDocument {
    /// In minor units, such as cents.
    amount: u64,
    /// Three capital letters (ISO 4217).
    #[schema(example = "EUR")]
    currency: String,
}

/// A picture of a title.
#[derive(Clone, Serialize, ToSchema)]
pub struct PictureDocument {
    /// Its place.
    pub position: i64,
    /// Where it is, at this server.
    #[schema(example = "/pictures/…")]
    pub path: String,
    /// `image/…`
    pub media_type: String,
    /// What it shows, for people who do not see it.
    pub alt: String,
}

impl From<Picture> for PictureDocument {
    fn from(row: Picture) -> Self {
        Self { position: row.position, path: format!("/pictures/{}", row.object), media_type: row.media_type, alt: row.alt }
    }
}

/// A title in a list of what is sold.
#[derive(Serialize, ToSchema)]
pub struct ShelvedTitle {
    /// Its name in addresses and commands.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `game`, `music`, `movie` or `app`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// For people.
    pub publisher: String,
    /// One line.
    pub summary: String,
    /// One a currency.
    #[schema(value_type = Vec<PriceDocument>)]
    pub prices: Vec<Money>,
    /// The first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<PictureDocument>,
}

impl ShelvedTitle {
    /// Whether nothing is charged, in whatever currency.
    pub fn free(&self) -> bool {
        self.prices.iter().all(|price| price.amount == 0)
    }
}

impl From<Shelved> for ShelvedTitle {
    fn from(row: Shelved) -> Self {
        let Shelved { title, name, kind, publisher, summary, prices, picture } = row;
        Self { title, name, kind, publisher, summary, prices, picture: picture.map(Into::into) }
    }
}

/// A release of what is sold.
#[derive(Serialize, ToSchema)]
pub struct StoreRelease {
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Since when.
    pub created_at: String,
    /// What an installation from nothing fetches, in bytes.
    pub size: u64,
}

impl From<ShownRelease> for StoreRelease {
    fn from(row: ShownRelease) -> Self {
        let ShownRelease { version, channel, created_at, size } = row;
        Self { version, channel, created_at: rfc3339(created_at), size }
    }
}

/// All that the store says of a title.
#[derive(Serialize, ToSchema)]
pub struct StoreTitle {
    /// Its name in addresses and commands.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// `game`, `music`, `movie` or `app`.
    #[schema(value_type = String)]
    pub kind: Kind,
    /// For people.
    pub publisher: String,
    /// One line.
    pub summary: String,
    /// Plain text; a blank line begins a new paragraph.
    pub description: String,
    /// One a currency.
    #[schema(value_type = Vec<PriceDocument>)]
    pub prices: Vec<Money>,
    /// The terms.
    #[schema(value_type = Object)]
    pub policy: Policy,
    /// The terms in words, a sentence each.
    pub terms: Vec<String>,
    /// In order.
    pub pictures: Vec<PictureDocument>,
    /// The last ones and the newest on each channel, newest first.
    pub releases: Vec<StoreRelease>,
}

impl StoreTitle {
    /// Whether nothing is charged, in whatever currency.
    pub fn free(&self) -> bool {
        self.prices.iter().all(|price| price.amount == 0)
    }

    /// As it is read from the database.
    pub fn of(title: TitleId, row: Shown) -> Self {
        let Shown { name, kind, publisher, listing, pictures, releases } = row;
        let Listing { summary, description, on_sale: _, prices, policy } = listing;
        let (pictures, releases) = (pictures.into_iter().map(Into::into).collect(), releases.into_iter().map(Into::into).collect());
        Self { title, name, kind, publisher, summary, description, prices, terms: policy.in_words(), policy, pictures, releases }
    }
}

/// What is sold, by name.
#[utoipa::path(
    get, path = "/v1/store/titles", tag = "store", operation_id = "search_store", params(SearchQuery, PageQuery),
    responses((status = 200, body = Page<ShelvedTitle>)),
)]
pub async fn search(
    State(app): State<App>,
    Query(search): Query<SearchQuery>,
    Query(query): Query<PageQuery>,
) -> Result<([(HeaderName, &'static str); 1], Json<Page<ShelvedTitle>>), Problem> {
    Ok((A_MINUTE, Json(shelves(&app, search.q, query).await?)))
}

/// What is sold and fits the search.
///
/// # Errors
/// `invalid_request` for a search that is too long, or a failure of the database.
pub async fn shelves(app: &App, words: String, query: PageQuery) -> Result<Page<ShelvedTitle>, Problem> {
    if words.chars().count() > MOST_WORDS {
        return Err(Problem::with(ApiCode::InvalidRequest, format!("a search has at most {MOST_WORDS} characters")));
    }
    let (after, rows) = (query.after(), query.rows());
    let found = app.db.read_lagging("search_store", async move |tx: &mut Tx| listing::search(tx, &words, &after, rows).await).await?;
    let shown = |mut row: Shelved| {
        row.prices = named_first(app, row.prices);
        row.into()
    };
    Ok(Page::of(found, &query, |row| row.title.to_string(), shown))
}

/// The price in the operator's currency, and then the others.
fn named_first(app: &App, mut prices: Vec<Money>) -> Vec<Money> {
    prices.sort_by_key(|price| price.currency != app.config.store.currency);
    prices
}

/// One title that is sold.
#[utoipa::path(
    get, path = "/v1/store/titles/{title}", tag = "store", operation_id = "get_store_title",
    params(("title" = String, Path, description = "Its name")),
    responses((status = 200, body = StoreTitle), (status = 404)),
)]
pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<([(HeaderName, &'static str); 1], Json<StoreTitle>), Problem> {
    Ok((A_MINUTE, Json(sold(&app, &id).await?)))
}

/// One title that is sold.
///
/// # Errors
/// `not_found`, also for titles that are not on sale.
pub async fn sold(app: &App, id: &str) -> Result<StoreTitle, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let name = id.clone();
    let found = app.db.find_lagging("store_title", async move |tx: &mut Tx| listing::shown(tx, &name).await).await?;
    let title = StoreTitle::of(id, found.ok_or(ApiCode::NotFound)?);
    Ok(StoreTitle { prices: named_first(app, title.prices), ..title })
}
