//! `/v1/cards`: cards that the operator issues, and those that are dead (C4).

use axum::extract::{Path, State};
use counterfoil_core::CardId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::media::Reason;
use crate::actions::card;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};

/// Cards that were issued.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuedCards {
    /// At most 1,000.
    pub cards: Vec<IssuedCard>,
}

/// A card that was issued.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub enum IssuedCard {
    /// `crd-…`
    Id(String),
    /// With its ID as a member.
    Card {
        /// `crd-…`
        card_id: String,
    },
}

/// What became of a list of cards.
#[derive(Serialize, ToSchema)]
pub struct ImportedCards {
    /// New here.
    pub imported: usize,
    /// Known already, or twice in this list.
    pub repeated: usize,
    /// Not taken; all others were.
    pub rejected: Vec<RejectedCard>,
}

/// A card that was not taken.
#[derive(Serialize, ToSchema)]
pub struct RejectedCard {
    /// Its place in the list, from 1.
    pub line: usize,
    /// As it was given.
    pub card_id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A card that opens nothing any more.
#[derive(Serialize, ToSchema)]
pub struct RevokedCard {
    /// Which.
    #[schema(value_type = String)]
    pub card_id: CardId,
    /// `dead`
    pub state: &'static str,
}

/// Makes cards known, so that they can be registered where only issued cards can.
#[utoipa::path(
    post, path = "/v1/cards", tag = "cards", operation_id = "import_cards", request_body = IssuedCards,
    responses((status = 200, body = ImportedCards), (status = 413)),
)]
pub async fn import(State(app): State<App>, caller: Caller, once: Once, Body(issued): Body<IssuedCards>) -> Result<Reply, Problem> {
    card::import(&app, &caller, &once, issued.cards).await
}

/// Declares a card dead: lost, stolen, replaced. It registers nobody and claims nothing any more.
#[utoipa::path(
    post, path = "/v1/cards/{card_id}/revoke", tag = "cards", operation_id = "revoke_card", request_body = Reason,
    params(("card_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = RevokedCard), (status = 404)),
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: CardId = id.parse().map_err(|_| ApiCode::NotFound)?;
    card::revoke(&app, &caller, &once, id, reason.reason).await
}
