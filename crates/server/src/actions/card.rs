//! Cards: made known when they are issued, declared dead when they are lost.

use std::collections::BTreeSet;

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::{CardId, HolderId};
use serde_json::json;

use super::checks::check_text;
use crate::api::cards::{ImportedCards, IssuedCard, RejectedCard, RevokedCard};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::{audit, holder};

/// Cards of one call: a transaction that others need not wait for long.
const MAX_CARDS: usize = 1000;
/// Family of lists of cards: each row is the first of its holder's family, which nobody else writes yet.
const FAMILY: &str = "/cards";

/// Takes every ID that is right, and says what is wrong with the others.
///
/// # Errors
/// `too_large` for too many.
pub async fn import(app: &App, caller: &Caller, once: &Once, issued: Vec<IssuedCard>) -> Result<Reply, Problem> {
    if issued.len() > MAX_CARDS {
        return Err(Problem::with(ApiCode::TooLarge, format!("at most {MAX_CARDS} cards a call")));
    }
    let now = app.clock.now();
    let actor = caller.actor();
    once.write(app, "import_cards", FAMILY.to_owned(), async move |tx: &mut Tx| {
        let mut rejected = vec![];
        // In order, so that two lists never wait for each other's rows.
        let mut cards = BTreeSet::new();
        for (line, card) in (1..).zip(&issued) {
            let (IssuedCard::Id(text) | IssuedCard::Card { card_id: text }) = card;
            match text.parse::<CardId>() {
                Ok(card) => drop(cards.insert(card)),
                Err(error) => rejected.push(RejectedCard { line, card_id: text.clone(), reason: error.to_string() }),
            }
        }
        let mut new = vec![];
        for card in cards {
            if holder::issue(tx, card.into(), now).await? {
                new.push(card);
            }
        }
        if !new.is_empty() {
            audit::append(tx, FAMILY, now.0, &actor, "cards.issued", &json!({ "cards": new })).await?;
        }
        let repeated = issued.len() - new.len() - rejected.len();
        Ok(Reply::ok(&ImportedCards { imported: new.len(), repeated, rejected }))
    })
    .await
}

/// Declares a card dead; the same again changes nothing.
///
/// # Errors
/// `not_found` for a card that is not known.
pub async fn revoke(app: &App, caller: &Caller, once: &Once, id: CardId, reason: String) -> Result<Reply, Problem> {
    check_text(&reason)?;
    let now = app.clock.now();
    let (actor, holder) = (caller.actor(), HolderId::from(id));
    let family = holder::family(holder);
    once.write(app, "revoke_card", family.clone(), async move |tx: &mut Tx| {
        if holder::facts(tx, holder).await? == HolderFacts::Unknown {
            return Err(ApiCode::NotFound.into());
        }
        if holder::kill(tx, holder).await? {
            audit::append(tx, &family, now.0, &actor, "card.revoked", &json!({ "reason": reason })).await?;
        }
        Ok(Reply::ok(&RevokedCard { card_id: id, state: "dead" }))
    })
    .await
}
