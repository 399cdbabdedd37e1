//! `/v1/titles/{title}/releases`: what has been published of a title.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::page::{Page, PageQuery, rfc3339};
use crate::actions::{publish_release, release as change_release};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::release::{self, Release, ReleaseObject, Said};
use crate::store::title;

/// A release to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRelease {
    /// The release document: a compact JWS, `typ` `counterfoil-release+jwt`, by the publisher's key, `kid` the publisher's ID.
    pub document: String,
    /// The manifest and the packs, which must be in the contents store.
    #[schema(value_type = Vec<ReleaseObjectDocument>)]
    pub objects: Vec<ReleaseObject>,
    /// For whom: 1 to 32 of a-z, 0-9 and inner hyphens; `stable` where none is named.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "stable")]
    pub channel: Channel,
    /// For people: what is new.
    #[serde(default)]
    pub notes: String,
    /// Whether it mends something dangerous.
    #[serde(default)]
    pub critical: bool,
    /// Percent of the devices that it is offered to; 100 where nothing is said. Whoever has none yet gets the newest one of 100.
    #[serde(default = "everybody")]
    pub rollout: u32,
    /// Whether it is offered to nobody for now; whoever names it gets it.
    #[serde(default)]
    pub held: bool,
    /// What its chunks were compressed by, such as `zstd 1.5.7 level 3`. Only patches for devices that compress alike can be used.
    #[serde(default)]
    pub encoder: String,
}

fn everybody() -> u32 {
    100
}

/// What is to be said otherwise of a release. What is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseChange {
    /// For people: what is new.
    pub notes: Option<String>,
    /// Whether it mends something dangerous.
    pub critical: Option<bool>,
    /// Percent of the devices that it is offered to. Devices that are in stay in as it grows.
    pub rollout: Option<u32>,
    /// Whether it is offered to nobody for now; whoever names it gets it.
    pub held: Option<bool>,
    /// Whether nobody gets it any more. Devices that have it are offered the newest good one, be it an earlier one.
    pub withdrawn: Option<bool>,
    /// Whether devices that have a later release may go back to it.
    pub allow_back: Option<bool>,
}

/// An object of a release.
#[derive(ToSchema)]
#[schema(as = ReleaseObject)]
#[expect(dead_code, reason = "describes `ReleaseObject` to OpenAPI")]
pub struct ReleaseObjectDocument {
    /// Its name: BLAKE3 of its bytes, 64 hexadecimal digits.
    object: String,
    /// In bytes.
    length: u64,
}

/// A release.
#[derive(Serialize, ToSchema)]
pub struct ReleaseDocument {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Counts the title's releases from 1.
    pub number: i64,
    /// Of the content key that it is sealed under.
    pub generation: u32,
    /// As the publisher signed it: a compact JWS.
    pub document: String,
    /// The manifest and the packs.
    #[schema(value_type = Vec<ReleaseObjectDocument>)]
    pub objects: Vec<ReleaseObject>,
    /// Since when.
    pub created_at: String,
    /// What its chunks were compressed by; empty where nobody said.
    pub encoder: String,
    /// What its publisher says of it now.
    #[serde(flatten)]
    pub said: SaidDocument,
}

/// What the publisher says of a release.
#[derive(Serialize, ToSchema)]
pub struct SaidDocument {
    /// For people: what is new.
    pub notes: String,
    /// Whether it mends something dangerous.
    pub critical: bool,
    /// Percent of the devices that it is offered to.
    pub rollout: u32,
    /// Whether it is offered to nobody for now.
    pub held: bool,
    /// Whether nobody gets it any more.
    pub withdrawn: bool,
    /// Whether devices that have a later release may go back to it.
    pub allow_back: bool,
}

impl From<Said> for SaidDocument {
    fn from(said: Said) -> Self {
        let Said { notes, critical, rollout, held_at, withdrawn_at, allow_back } = said;
        Self { notes, critical, rollout, held: held_at.is_some(), withdrawn: withdrawn_at.is_some(), allow_back }
    }
}

impl ReleaseDocument {
    /// A release with its objects.
    pub fn of(title: &TitleId, row: Release, objects: Vec<ReleaseObject>) -> Self {
        let Release { version, channel, number, document, generation, created_at, said, encoder } = row;
        let (title, created_at) = (title.clone(), rfc3339(created_at));
        Self { title, version, channel, number, generation, document, objects, created_at, encoder, said: said.into() }
    }
}

/// A release in a list.
#[derive(Serialize, ToSchema)]
pub struct ReleaseSummary {
    /// Which.
    #[schema(value_type = String)]
    pub version: ReleaseVersion,
    /// For whom: `stable`, `beta`, …
    #[schema(value_type = String)]
    pub channel: Channel,
    /// Counts the title's releases from 1.
    pub number: i64,
    /// Of the content key that it is sealed under.
    pub generation: u32,
    /// Since when.
    pub created_at: String,
    /// What its chunks were compressed by; empty where nobody said.
    pub encoder: String,
    /// What its publisher says of it now.
    #[serde(flatten)]
    pub said: SaidDocument,
}

impl From<Release> for ReleaseSummary {
    fn from(row: Release) -> Self {
        let Release { version, channel, number, generation, created_at, said, encoder, .. } = row;
        Self { version, channel, number, generation, created_at: rfc3339(created_at), encoder, said: said.into() }
    }
}

/// What holds for a channel.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// The oldest release that is still good: to whoever has an older one, the update is critical. Null for none.
    #[schema(value_type = Option<String>)]
    pub minimum: Option<ReleaseVersion>,
}

/// A channel of a title.
#[derive(Serialize, ToSchema)]
pub struct ChannelDocument {
    /// Of which title.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// By name.
    #[schema(value_type = String)]
    pub channel: Channel,
    /// The oldest release that is still good; null where none was named.
    #[schema(value_type = Option<String>)]
    pub minimum: Option<ReleaseVersion>,
}

/// Publishes a release.
#[utoipa::path(
    post, path = "/v1/titles/{title}/releases", tag = "releases", operation_id = "publish_release", request_body = NewRelease,
    params(("title" = String, Path, description = "Its name")),
    responses((status = 201, body = ReleaseDocument), (status = 200, description = "It is there already, just so", body = ReleaseDocument),
              (status = 404), (status = 409, description = "`release_exists`: this version has another document"), (status = 422)),
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewRelease>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    publish_release::run(&app, &caller, &once, id, new).await
}

/// Releases of a title, newest first.
#[utoipa::path(
    get, path = "/v1/titles/{title}/releases", tag = "releases", operation_id = "list_releases",
    params(("title" = String, Path, description = "Its name"), PageQuery),
    responses((status = 200, body = Page<ReleaseSummary>), (status = 404)),
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ReleaseSummary>>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let before = match query.after.as_deref() {
        None | Some("") => i64::MAX,
        Some(after) => after.parse().map_err(|_| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of the page before"))?,
    };
    let (scope, rows) = (caller.scope(), query.rows());
    let found = app
        .db
        .read_lagging("list_releases", async move |tx: &mut Tx| -> Result<Vec<Release>, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            Ok(release::list(tx, &id, before, rows).await?)
        })
        .await?;
    Ok(Json(Page::of(found, &query, |row| row.number.to_string(), ReleaseSummary::from)))
}

/// One release.
#[utoipa::path(
    get, path = "/v1/titles/{title}/releases/{version}", tag = "releases", operation_id = "get_release",
    params(("title" = String, Path, description = "Its name"), ("version" = String, Path, description = "Which")),
    responses((status = 200, body = ReleaseDocument), (status = 404)),
)]
pub async fn get(
    State(app): State<App>,
    caller: Caller,
    Path((id, version)): Path<(String, String)>,
) -> Result<Json<ReleaseDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let version: ReleaseVersion = version.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let document = app
        .db
        .read_lagging("get_release", async move |tx: &mut Tx| -> Result<ReleaseDocument, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            let row = release::get(tx, &id, &version).await?.ok_or(ApiCode::NotFound)?;
            let objects = release::objects(tx, &id, &version).await?;
            Ok(ReleaseDocument::of(&id, row, objects))
        })
        .await?;
    Ok(Json(document))
}

/// Says something else of a release: whether it is offered, to how many, and what it is good for.
#[utoipa::path(
    patch, path = "/v1/titles/{title}/releases/{version}", tag = "releases", operation_id = "change_release", request_body = ReleaseChange,
    params(("title" = String, Path, description = "Its name"), ("version" = String, Path, description = "Which")),
    responses((status = 200, body = ReleaseSummary), (status = 404), (status = 422)),
)]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, version)): Path<(String, String)>,
    Body(change): Body<ReleaseChange>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let version: ReleaseVersion = version.parse().map_err(|_| ApiCode::NotFound)?;
    change_release::change(&app, &caller, &once, id, version, change).await
}

/// What holds for a channel of a title.
#[utoipa::path(
    get, path = "/v1/titles/{title}/channels/{channel}", tag = "releases", operation_id = "get_channel",
    params(("title" = String, Path, description = "Its name"), ("channel" = String, Path, description = "By name")),
    responses((status = 200, body = ChannelDocument), (status = 404)),
)]
pub async fn channel(
    State(app): State<App>,
    caller: Caller,
    Path((id, channel)): Path<(String, String)>,
) -> Result<Json<ChannelDocument>, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let channel: Channel = channel.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let document = app
        .db
        .read_lagging("get_channel", async move |tx: &mut Tx| -> Result<ChannelDocument, Problem> {
            title::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
            let minimum = match release::minimum(tx, &id, &channel).await? {
                Some(number) => release::numbered(tx, &id, number).await?.map(|release| release.version),
                None => None,
            };
            Ok(ChannelDocument { title: id.clone(), channel: channel.clone(), minimum })
        })
        .await?;
    Ok(Json(document))
}

/// Names the oldest release that is still good on a channel, or none.
#[utoipa::path(
    put, path = "/v1/titles/{title}/channels/{channel}", tag = "releases", operation_id = "set_channel", request_body = NewChannel,
    params(("title" = String, Path, description = "Its name"), ("channel" = String, Path, description = "By name")),
    responses((status = 200, body = ChannelDocument), (status = 404), (status = 422)),
)]
pub async fn set_channel(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((id, channel)): Path<(String, String)>,
    Body(new): Body<NewChannel>,
) -> Result<Reply, Problem> {
    let id: TitleId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let channel: Channel = channel.parse().map_err(|_| ApiCode::NotFound)?;
    change_release::set_channel(&app, &caller, &once, id, channel, new).await
}
