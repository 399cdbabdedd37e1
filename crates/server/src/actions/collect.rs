//! Everything that stands for a card (C14, C15): so a new card is filled, and one finds out what has ended.
//!
//! Nothing of it is kept: library keys are opened from their wrapped form and sealed to the card that asks, with the device's secret and
//! bound to the same hardware as at first. Each time is recorded before any key leaves, in the transaction that finds the card still in the
//! entry.

use counterfoil_core::rules::register::Combination;
use counterfoil_core::wire::{Collect, CollectResult, ReissueState};
use counterfoil_core::{CardId, Code, Refusal, Timestamp, UserId};
use counterfoil_format::grant::{purpose, seal_box};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::holder::{self, RegisteredCard};
use crate::store::reissue::{self, ReissueRow};
use crate::store::user::{self, EntryRow};

use page::{Cursor, Page};

mod page;
mod sealing;

/// Decides the request and answers with a page.
///
/// # Errors
/// Failures of the server, and `unavailable` while a grant from before the last repair is on its way to the entry; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Collect, now: Timestamp) -> Result<Decided, Problem> {
    let Some(cursor) = Cursor::parse(ask.after.as_deref()) else {
        let family = asked::stranger(&ask.card_id.to_string());
        return asked::refuse(app, family, "collect", "terminal", Refusal::with(Code::EnvelopeInvalid, "`after`"), now).await;
    };
    let card = ask.card_id;
    let known = app.db.read("whose card", async move |tx: &mut Tx| known(tx, card).await).await?;
    let (user, entry) = match admit(asked, card, known) {
        Ok(admitted) => admitted,
        Err((refusal, family)) => return asked::refuse(app, family, "collect", "terminal", refusal, now).await,
    };
    let facts = app.db.read("what stands", async move |tx: &mut Tx| load(tx, user, &cursor, now).await).await?;
    if facts.untold {
        return Err(ApiCode::Unavailable.into());
    }
    let result = seal(app, user, card, &entry, facts).await?;
    let grants: Vec<_> = result.grants.iter().map(|carried| carried.grant.grant_id).collect();
    let (family, actor) = (user::family(user), card.to_string());
    let detail = json!({ "card": card, "grants": grants, "more": result.more.is_some() });
    let still = app
        .db
        .write("collect", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
            audit::hold(tx, &family).await?;
            let still = user::find(tx, user).await?.is_some_and(|entry| entry.card() == Some(card));
            if still {
                audit::append(tx, &family, now.0, &actor, "card.collected", &detail).await?;
            } else {
                asked::audit_refusal(tx, &family, "collect", &actor, Code::CardUnknown, now).await?;
            }
            Ok(still)
        })
        .await?;
    // Replaced in between: what was sealed to it does not leave.
    if still { Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?)) } else { Ok(Err(Code::CardUnknown.into())) }
}

/// What is known of a card.
struct Known {
    card: Option<RegisteredCard>,
    /// The entry of whoever it belongs to, or belonged to.
    entry: Option<EntryRow>,
    /// What it was asked for.
    asked: Vec<ReissueRow>,
}

async fn known(tx: &mut Tx, card: CardId) -> Result<Known, DbError> {
    let registered = holder::registered_card(tx, card.into()).await?;
    let entry = match &registered {
        Some(registered) => user::find(tx, registered.user).await?,
        None => None,
    };
    let asked = reissue::of_card(tx, card.into()).await?;
    Ok(Known { card: registered, entry, asked })
}

/// The card that asks is the one that its user's entry names: nothing else is looked at. A refusal comes with the family that it is recorded
/// in.
fn admit(asked: &Asked, card: CardId, known: Known) -> Result<(UserId, EntryRow), (Refusal, String)> {
    let kid = card.to_string();
    let Known { card: registered, entry, asked: requests } = known;
    if let (Some(registered), Some(entry)) = (&registered, entry)
        && entry.card() == Some(card)
    {
        return if !asked.signed(&kid, &entry.keys.sign) {
            Err((Refusal::with(Code::ProofInvalid, "the card"), asked::stranger(&kid)))
        } else if registered.dead {
            Err((Code::CardUnknown.into(), user::family(registered.user)))
        } else {
            Ok((registered.user, entry))
        };
    }
    // A new card that is not the entry's yet, or never will be.
    if let Some(request) = requests.first()
        && request.card.is_some_and(|keys| asked.signed(&kid, &keys.sign))
    {
        let code = match request.state {
            ReissueState::Waiting => Code::ReissueWaiting,
            ReissueState::Declined => Code::ReissueDeclined,
            ReissueState::Done => Code::CardUnknown,
        };
        return Err((code.into(), user::family(request.user)));
    }
    // An old one is shown to whose it was, if it is that.
    let its_own = registered.filter(|registered| asked.signed(&kid, &registered.keys.sign));
    let family = its_own.map_or_else(|| asked::stranger(&kid), |registered| user::family(registered.user));
    Err((Code::CardUnknown.into(), family))
}

/// A page, with what else the answer says of the entry.
struct Facts {
    combination: Combination,
    exchanged_at: Option<Timestamp>,
    /// Whether a grant from before that is on its way to the entry: an answer without it would say that it has ended.
    untold: bool,
    page: Page,
}

async fn load(tx: &mut Tx, user: UserId, cursor: &Cursor, now: Timestamp) -> Result<Facts, Problem> {
    let (devices, drives) = (user::devices(tx, user).await?, user::drives(tx, user).await?);
    let combination = Combination { card: true, device: !devices.is_empty(), drive: !drives.is_empty() };
    let exchanged_at = reissue::exchanged_at(tx, user).await?;
    let untold = match exchanged_at {
        Some(at) => reissue::grants_untold(tx, user, at).await?,
        None => false,
    };
    let page = Page::load(tx, user, cursor, (devices, drives), now).await?;
    Ok(Facts { combination, exchanged_at, untold, page })
}

async fn seal(app: &App, user: UserId, card: CardId, entry: &EntryRow, facts: Facts) -> Result<CollectResult, Problem> {
    let kid = card.to_string();
    let sealed = seal_box(&entry.keys.seal, &[purpose::USER_ID, &kid], user.to_string().as_bytes(), &mut app.rng.clone());
    let Facts { combination, exchanged_at, page, .. } = facts;
    Ok(CollectResult {
        user: serde_json::to_value(sealed.map_err(Problem::internal)?).map_err(Problem::internal)?,
        combination,
        generation: entry.generation,
        exchanged_at,
        more: page.more.as_ref().map(Cursor::to_string),
        grants: sealing::seal_all(app, user, entry, page).await?,
    })
}
