//! What ends something: a card, a medium, a license, an order, what is known of a person. Each asks first, with a reason.

use axum::extract::{Path, State};
use axum::response::Response;
use counterfoil_core::rules::refund::Why;
use counterfoil_core::{CardId, LicenseId, MediumId, OrderId, UserId};

use super::confirm::{Confirm, Field};
use super::tasks::{InAddress as _, mendable};
use super::{Section, Sees, Sent, Staff};
use crate::actions::{card, erase, refund, retire_medium};
use crate::api::media;
use crate::app::App;
use crate::db::Tx;
use crate::idempotency::Reply;
use crate::problem::{ApiCode, Problem};
use crate::store::license::{self, LicenseRow};
use crate::store::order::{self, Ordered};
use crate::web::visitor::see_other;

/// What stays the same of every page of this file.
fn confirm(section: Section, heading: &str, action: String, back: String, button: &'static str) -> Confirm {
    let fields = vec![Field::reason("")];
    let (facts, happens, hidden, error) = (vec![], vec![], vec![], None);
    Confirm { section, heading: heading.to_owned(), facts, happens, fields, hidden, action, button, danger: true, back, error }
}

fn sentences(said: &[&str]) -> Vec<String> {
    said.iter().map(|said| (*said).to_owned()).collect()
}

/// Goes on where it was done, and asks again where something that can be mended was wrong. Nothing is done without a reason.
async fn ended(
    app: &App,
    sent: &Sent,
    ask: Confirm,
    done: &str,
    work: impl Future<Output = Result<Reply, Problem>>,
) -> Result<Response, Problem> {
    let again = |error: String| {
        let fields = vec![Field::reason(sent.fields.text("reason"))];
        Confirm { fields, error: Some(error), ..ask.clone() }.page(app, &sent.by)
    };
    if sent.fields.some("reason").is_none() {
        return again("A reason is needed.".to_owned());
    }
    match work.await {
        Ok(_) => Ok(see_other(&format!("{}?done={done}", ask.back))),
        Err(problem) => again(mendable(problem)?),
    }
}

fn reason(sent: &Sent) -> String {
    sent.fields.text("reason").trim().to_owned()
}

fn card_ask(id: CardId) -> Confirm {
    let mut ask = confirm(
        Section::Things,
        "Revoke this card?",
        format!("/console/cards/{id}/revoke"),
        format!("/console/cards/{id}"),
        "Revoke the card",
    );
    ask.facts = vec![("Card", id.to_string())];
    ask.happens = sentences(&[
        "It registers nobody and claims nothing any more.",
        "What was copied with it plays on, without a network.",
        "It cannot be taken back. Where the user needs another card, replace this one from the user's page instead: then nothing is lost.",
    ]);
    ask
}

/// Asks before a card is declared dead.
///
/// # Errors
/// `not_found`.
pub async fn card_form(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    card_ask(CardId::read(&id)?).page(&app, &staff)
}

/// Declares it dead.
///
/// # Errors
/// `not_found`.
pub async fn card(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Operators)?;
    let (id, caller) = (CardId::read(&id)?, sent.by.caller());
    ended(&app, &sent, card_ask(id), "card-revoked", card::revoke(&app, &caller, &sent.once, id, reason(&sent))).await
}

async fn medium_ask(app: &App, staff: &Staff, id: &MediumId) -> Result<Confirm, Problem> {
    staff.needs(Sees::Operators)?;
    let (scope, medium) = (staff.scope(), id.clone());
    let found = app.db.read("medium to retire", async move |tx: &mut Tx| media::load(tx, &scope, &medium).await).await?;
    let (action, back) = (format!("/console/media/{id}/retire"), format!("/console/media/{id}"));
    let mut ask = confirm(Section::Things, "Take this medium out of use?", action, back, "Take it out of use");
    ask.facts = vec![
        ("Medium", id.to_string()),
        ("State", found.state),
        ("Copies claimed", format!("{} of {}", found.copies_claimed, found.rights.copies)),
    ];
    ask.happens = sentences(&[
        "Nothing can be claimed from it any more.",
        "Copies that were made before stay, and play.",
        "It cannot be taken back.",
    ]);
    Ok(ask)
}

/// Asks before a medium is taken out of use.
///
/// # Errors
/// `not_found`.
pub async fn medium_form(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    medium_ask(&app, &staff, &MediumId::read(&id)?).await?.page(&app, &staff)
}

/// Takes it out of use.
///
/// # Errors
/// `not_found`.
pub async fn medium(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let id = MediumId::read(&id)?;
    let (ask, caller) = (medium_ask(&app, &sent.by, &id).await?, sent.by.caller());
    ended(&app, &sent, ask, "medium-retired", retire_medium::run(&app, &caller, &sent.once, id, reason(&sent))).await
}

async fn order_ask(app: &App, staff: &Staff, (user, id): (UserId, OrderId), why: Why) -> Result<Confirm, Problem> {
    staff.needs(Sees::Operators)?;
    let found = app.db.read("order to end", async move |tx: &mut Tx| order::find(tx, user, id).await).await?;
    let Ordered { order, name, .. } = found.ok_or(ApiCode::NotFound)?;
    let (heading, word, button, money) = match why {
        Why::Chargeback => (
            "Charge this order back?",
            "chargeback",
            "Charge it back",
            "The money was taken back elsewhere: nothing is added to the user's balance.",
        ),
        _ => ("Refund this order?", "refund", "Refund the order", "What was paid is added to the user's balance."),
    };
    let (back, action) = (format!("/console/orders/{user}/{id}"), format!("/console/orders/{user}/{id}/{word}"));
    let mut ask = confirm(Section::Orders, heading, action, back, button);
    let charge = order.charge.map_or_else(|| "a trial".to_owned(), |money| money.to_string());
    ask.facts = vec![("Order", id.to_string()), ("Title", name), ("Charge", charge), ("User", user.to_string())];
    ask.happens = sentences(&["The order ends, and what the user owns by it.", "Every license by it ends; its devices are told.", money]);
    Ok(ask)
}

/// What the address says of an order.
type OfOrder = Path<(String, String)>;

fn ids(user: &str, order: &str) -> Result<(UserId, OrderId), Problem> {
    Ok((UserId::read(user)?, OrderId::read(order)?))
}

/// Asks before an order is refunded.
///
/// # Errors
/// `not_found`.
pub async fn refund_form(State(app): State<App>, staff: Staff, Path((user, order)): OfOrder) -> Result<Response, Problem> {
    order_ask(&app, &staff, ids(&user, &order)?, Why::Refund).await?.page(&app, &staff)
}

/// Refunds it.
///
/// # Errors
/// `not_found`.
pub async fn refund(State(app): State<App>, Path((user, order)): OfOrder, sent: Sent) -> Result<Response, Problem> {
    end_order(&app, sent, ids(&user, &order)?, Why::Refund).await
}

/// Asks before an order is charged back.
///
/// # Errors
/// `not_found`.
pub async fn chargeback_form(State(app): State<App>, staff: Staff, Path((user, order)): OfOrder) -> Result<Response, Problem> {
    order_ask(&app, &staff, ids(&user, &order)?, Why::Chargeback).await?.page(&app, &staff)
}

/// Charges it back.
///
/// # Errors
/// `not_found`.
pub async fn chargeback(State(app): State<App>, Path((user, order)): OfOrder, sent: Sent) -> Result<Response, Problem> {
    end_order(&app, sent, ids(&user, &order)?, Why::Chargeback).await
}

async fn end_order(app: &App, sent: Sent, of: (UserId, OrderId), why: Why) -> Result<Response, Problem> {
    let (ask, caller) = (order_ask(app, &sent.by, of, why).await?, sent.by.caller());
    ended(app, &sent, ask, "order-ended", refund::by_operator(app, &caller, &sent.once, of, why, reason(&sent))).await
}

async fn license_ask(app: &App, staff: &Staff, (user, id): (UserId, LicenseId)) -> Result<Confirm, Problem> {
    staff.needs(Sees::Operators)?;
    let found = app.db.read("license to end", async move |tx: &mut Tx| license::find(tx, user, id).await).await?;
    let LicenseRow { title, device, .. } = found.ok_or(ApiCode::NotFound)?;
    let (back, action) = (format!("/console/users/{user}"), format!("/console/users/{user}/licenses/{id}/revoke"));
    let mut ask = confirm(Section::Things, "End this license?", action, back, "End the license");
    ask.facts = vec![("License", id.to_string()), ("Title", title.to_string()), ("Device", device.to_string())];
    ask.happens = sentences(&[
        "The title runs on this device no more, once it has heard of it.",
        "Its place is free for another device of the user.",
    ]);
    Ok(ask)
}

/// Asks before a license is ended.
///
/// # Errors
/// `not_found`.
pub async fn license_form(State(app): State<App>, staff: Staff, Path((user, id)): OfOrder) -> Result<Response, Problem> {
    license_ask(&app, &staff, (UserId::read(&user)?, LicenseId::read(&id)?)).await?.page(&app, &staff)
}

/// Ends it.
///
/// # Errors
/// `not_found`.
pub async fn license(State(app): State<App>, Path((user, id)): OfOrder, sent: Sent) -> Result<Response, Problem> {
    let of = (UserId::read(&user)?, LicenseId::read(&id)?);
    let (ask, caller) = (license_ask(&app, &sent.by, of).await?, sent.by.caller());
    ended(&app, &sent, ask, "license-ended", refund::revoke(&app, &caller, &sent.once, of, reason(&sent))).await
}

fn erase_ask(user: UserId) -> Confirm {
    let (action, back) = (format!("/console/users/{user}/erase"), format!("/console/users/{user}"));
    let mut ask = confirm(Section::Things, "Erase this person?", action, back, "Erase the person");
    ask.facts = vec![("User", user.to_string())];
    ask.fields[0].help = "It is kept in the audit log; name nobody in it.";
    ask.happens = sentences(&[
        "Name, e-mail address, postal address and account are deleted, with what devices are called and what was handed in.",
        "What the user owns stays theirs: it hangs from the card.",
        "Orders, balances, repairs and the audit log are kept for accounting.",
        "It cannot be taken back.",
    ]);
    ask
}

/// Asks before a person is erased.
///
/// # Errors
/// `not_found`.
pub async fn erase_form(State(app): State<App>, staff: Staff, Path(user): Path<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    erase_ask(UserId::read(&user)?).page(&app, &staff)
}

/// Erases them.
///
/// # Errors
/// `not_found`.
pub async fn erase(State(app): State<App>, Path(user): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Operators)?;
    let user = UserId::read(&user)?;
    ended(&app, &sent, erase_ask(user), "erased", erase::run(&app, sent.by.actor(), &sent.once, user, reason(&sent))).await
}
