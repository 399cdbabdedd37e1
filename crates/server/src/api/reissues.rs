//! New cards for lost ones, at the repair centre (C15): what waits, and what becomes of it.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{CardId, ReissueId, RepairId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::media::Reason;
use super::page::{Page, PageQuery, rfc3339};
use crate::actions::reissue;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::reissue::{self as rows, ReissueRow};

/// What a card is replaced by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCard {
    /// `rei-…`: the request that is carried out. Without one, the repair centre acts of its own accord.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub reissue_id: Option<ReissueId>,
    /// The new card; absent where the request has one.
    #[serde(default)]
    pub card: Option<CardKeys>,
    /// Why: 1 to 200 characters.
    pub reason: String,
    /// The repair centre's own number for it.
    #[serde(default)]
    pub reference: Option<String>,
}

/// The public halves of a card's keys, base64url.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CardKeys {
    /// What its signatures are verified with: Ed25519, or P-256 of a card in hardware.
    pub sign: String,
    /// What is sealed to: X25519, or P-256.
    pub seal: String,
}

/// What a replacement came to.
#[derive(Serialize, ToSchema)]
pub struct ReplacedCard {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Names what was done.
    #[schema(value_type = String)]
    pub repair_id: RepairId,
    /// The request that was carried out.
    #[schema(value_type = Option<String>)]
    pub reissue_id: Option<ReissueId>,
    /// The card that is dead from now on.
    #[schema(value_type = String)]
    pub old_card_id: CardId,
    /// The one that took its place.
    #[schema(value_type = String)]
    pub card_id: CardId,
    /// The entry's, raised by this.
    pub generation: u32,
}

impl ReplacedCard {
    /// As it was done for a user.
    pub fn new(user_id: UserId, done: &reissue::Replaced) -> Self {
        let reissue::Replaced { repair, request, old, new, generation } = *done;
        Self { user_id, repair_id: repair, reissue_id: request, old_card_id: old, card_id: new, generation }
    }
}

/// A request for a new card.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReissueDocument {
    /// Which.
    #[schema(value_type = String)]
    pub reissue_id: ReissueId,
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `waiting`, `done` or `declined`.
    pub state: &'static str,
    /// The new card; null where the repair centre is to make one.
    #[schema(value_type = Option<String>)]
    pub card_id: Option<CardId>,
    /// How the user is reached, in the user's own words.
    pub contact: Option<String>,
    /// When it was asked for.
    pub asked_at: String,
    /// When it was decided.
    pub decided_at: Option<String>,
    /// By whom.
    pub decided_by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The repair that carried it out.
    #[schema(value_type = Option<String>)]
    pub repair_id: Option<RepairId>,
}

impl From<ReissueRow> for ReissueDocument {
    fn from(row: ReissueRow) -> Self {
        Self {
            reissue_id: row.reissue,
            user_id: row.user,
            state: row.state.as_str(),
            card_id: row.card_id(),
            contact: row.contact,
            asked_at: rfc3339(row.created_at.0),
            decided_at: row.decided_at.map(|at| rfc3339(at.0)),
            decided_by: row.decided_by,
            reason: row.reason,
            repair_id: row.repair,
        }
    }
}

/// Requests that nobody has decided, oldest first.
#[utoipa::path(
    get, path = "/v1/reissues", tag = "entries", operation_id = "list_reissues", params(PageQuery),
    responses((status = 200, body = Page<ReissueDocument>), (status = 400)),
)]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Json<Page<ReissueDocument>>, Problem> {
    let after = after(query.after.as_deref())?;
    let limit = query.rows();
    let rows = app.db.read("requests for cards", async move |tx: &mut Tx| rows::waiting(tx, (after.0, &after.1), limit).await).await?;
    let cursor = |row: &ReissueRow| format!("{}/{}", row.created_at.0, row.reissue);
    Ok(Json(Page::of(rows, &query, cursor, ReissueDocument::from)))
}

/// The place after which a page begins: a moment and a request.
fn after(text: Option<&str>) -> Result<(Timestamp, String), Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok((Timestamp(i64::MIN), String::new())) };
    let place = text.split_once('/').and_then(|(at, id)| Some((Timestamp(at.parse().ok()?), id.parse::<ReissueId>().ok()?.to_string())));
    place.ok_or_else(|| Problem::with(ApiCode::InvalidRequest, "`after` is what a page has named as `next`"))
}

/// Puts a new card in the place of the entry's: the old one is dead at once, and everything that was copied plays with the new one.
#[utoipa::path(
    post, path = "/v1/entries/{user_id}/reissue", tag = "entries", operation_id = "reissue_card", request_body = NewCard,
    params(("user_id" = String, Path, description = "Whose")),
    responses((status = 200, body = ReplacedCard), (status = 403), (status = 404), (status = 409), (status = 422)),
)]
pub async fn replace(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(user): Path<String>,
    Body(new): Body<NewCard>,
) -> Result<Reply, Problem> {
    let user: UserId = user.parse().map_err(|_| ApiCode::NotFound)?;
    reissue::replace_by(&app, &caller.actor(), &once, user, new).await
}

/// Declines a request for a new card; the same again changes nothing.
#[utoipa::path(
    post, path = "/v1/entries/{user_id}/reissues/{reissue_id}/decline", tag = "entries", operation_id = "decline_reissue", request_body = Reason,
    params(("user_id" = String, Path, description = "Whose"), ("reissue_id" = String, Path, description = "Which")),
    responses((status = 200, body = ReissueDocument), (status = 404), (status = 409), (status = 422)),
)]
pub async fn decline(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path((user, id)): Path<(String, String)>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let user: UserId = user.parse().map_err(|_| ApiCode::NotFound)?;
    let id: ReissueId = id.parse().map_err(|_| ApiCode::NotFound)?;
    reissue::decline_by(&app, &caller.actor(), &once, user, id, reason.reason).await
}
