//! Copies that the authority itself charges for (C18): an order of the user's, placed before the copy is granted and named by what is granted.
//!
//! User and medium are two families, so there are two transactions: the order takes the charge and stays open; the copy is granted to it, or
//! refused; the order then stands, or is ended and its charge given back. Between them the request's record in the medium's family decides, as it
//! does between prepare and commit of a gateway. Who never comes back is looked after by [`sweep`].

use counterfoil_core::rules::gateway::{self, Priced};
use counterfoil_core::rules::order::{self as rules, Collection, Payment};
use counterfoil_core::wire::{ChargedCopy, Claim, ClaimResult};
use counterfoil_core::{Code, CopyOffer, Money, OrderId, Refusal, Timestamp, UserId};
use serde_json::json;

use super::{Facts, OPERATION, actor};
use crate::actions::asked::{self, Asked, Decided};
use crate::actions::order as orders;
use crate::actions::proof::{self, By};
use crate::actions::refund;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::balance::{self, Change, Reason};
use crate::store::medium::{self, Known, PressedTitle};
use crate::store::order::{self, OfCopy, OrderRow, Placed};
use crate::store::request::{self, Once};
use crate::store::{audit, grant, user};

/// How long an order may wait for its copy before it is looked after, in milliseconds.
const UNDER_WAY: i64 = 60_000;
/// Orders looked at together.
const PAGE: i64 = 500;
/// Who ends what nobody else does, in the audit log.
const ACTOR: &str = "authority";

/// The order that pays for what a claim asks for: the one that the request has, or one at the price that it agrees to. The refusal names the price
/// where nobody has agreed to one, and is recorded in the audit log only: the same request comes again with what was agreed to.
///
/// # Errors
/// Failures of the server.
pub(super) async fn order(
    app: &App,
    asked: &Asked,
    ask: &Claim,
    facts: &Facts,
    known: &Known,
    now: Timestamp,
) -> Result<Result<OrderRow, Refusal>, Problem> {
    let (user, request) = (ask.user_id, asked.request_id);
    let found = app.db.read("order of a copy", async move |tx: &mut Tx| order::of_request(tx, user, request).await).await?;
    if let Some(placed) = found {
        let same = placed.copy.as_ref().is_some_and(|copy| copy.digest == asked.digest && copy.medium == ask.medium_id);
        return Ok(if same { Ok(placed) } else { Err(Code::RequestMismatch.into()) });
    }
    let offer = offer(app, facts.titles(), user).await?;
    let refused = match (ask.pay, offer) {
        (_, None) => Refusal::with(Code::PaymentRequired, "this authority does not sell it itself"),
        (None, Some(offer)) => Refusal { offer: Some(Box::new(offer)), ..Code::PaymentRequired.into() },
        (Some(price), Some(offer)) => match place(app, asked, ask, facts, price, offer, now).await? {
            Ok(placed) => return Ok(Ok(placed)),
            Err(refusal) => refusal,
        },
    };
    let by = By { operation: OPERATION, actor: &actor(ask) };
    match proof::refuse_proven(app, by, &ask.medium_id, known, refused, now).await? {
        Err(refusal) => Ok(Err(refusal)),
        Ok(_) => Err(Problem::internal("a refusal was granted")),
    }
}

/// What a copy of those titles costs here, where it is sold here at all.
async fn offer(app: &App, titles: &[PressedTitle], user: UserId) -> Result<Option<CopyOffer>, Problem> {
    let (titles, payment) = (titles.to_vec(), app.config.store.payment);
    app.db
        .read("offer of a copy", async move |tx: &mut Tx| -> Result<Option<CopyOffer>, Problem> {
            let Some(Priced { title, name, prices }) = priced(tx, &titles).await?.filter(|sold| !sold.prices.is_empty()) else {
                return Ok(None);
            };
            let balance = if payment == Collection::Balance { balance::of_user(tx, user).await? } else { vec![] };
            Ok(Some(CopyOffer { title, name, prices, payment, balance }))
        })
        .await
}

/// What the titles of a medium cost in the store, together.
///
/// # Errors
/// A failure of the database.
pub async fn priced(tx: &mut Tx, titles: &[PressedTitle]) -> Result<Option<Priced>, DbError> {
    let mut priced = vec![];
    for PressedTitle { title, name, .. } in titles {
        let prices = order::offer(tx, title).await?.filter(|offer| offer.on_sale).map(|offer| offer.prices);
        priced.push(Priced { title: title.clone(), name: name.clone(), prices: prices.unwrap_or_default() });
    }
    Ok(gateway::sold(&priced))
}

/// D3: the charge, and the order that stays open until the copy is granted. A refusal names the price there is.
async fn place(
    app: &App,
    asked: &Asked,
    ask: &Claim,
    facts: &Facts,
    price: Money,
    offer: CopyOffer,
    now: Timestamp,
) -> Result<Result<OrderRow, Refusal>, Problem> {
    let (id, entry) = (OrderId::from_bytes(app.rng.bytes()), app.rng.bytes());
    let copy = OfCopy { medium: ask.medium_id.clone(), request: asked.request_id, digest: asked.digest.to_vec() };
    let registered = facts.presented.as_ref().and_then(|presented| presented.device.as_ref()).map(|row| row.device);
    let (user, by, family) = (ask.user_id, actor(ask), user::family(ask.user_id));
    app.db
        .write("order a copy", family.clone(), async move |tx: &mut Tx| -> Result<_, Problem> {
            audit::hold(tx, &family).await?;
            if let Some(placed) = order::of_request(tx, user, copy.request).await? {
                return Ok(Ok(placed));
            }
            let (Some(device), decided) = (registered, rules::copy(price, &offer.prices, registered.is_some(), offer.payment)) else {
                return Ok(Err(Code::DeviceNotRegistered.into()));
            };
            let decision = match decided {
                Ok(decision) => decision,
                Err(refusal) => return Ok(Err(Refusal { offer: Some(Box::new(offer.clone())), ..refusal })),
            };
            let change = Change { entry, reason: Reason::Order(id), actor: &by, now };
            if !orders::take(tx, user, &decision, change).await? {
                let refusal = Refusal::with(Code::PaymentRefused, format!("what was paid in advance is less than {price}"));
                return Ok(Err(Refusal { offer: Some(Box::new(offer.clone())), ..refusal }));
            }
            let placed = Placed { order: id, title: &offer.title, device, actor: &by, exchange: None, copy: Some(&copy) };
            if !order::insert(tx, user, &placed, &decision, now).await? {
                return Err(tx.conflict("an order").into());
            }
            let detail = json!({ "order": id, "kind": decision.kind, "title": offer.title, "device": device, "charge": decision.charge,
                "payment": decision.payment, "medium": copy.medium });
            audit::append(tx, &family, now.0, &by, "order.placed", &detail).await?;
            let placed = order::of_request(tx, user, copy.request).await?;
            placed.map(Ok).ok_or_else(|| Problem::internal(format!("the order {id} is gone")))
        })
        .await
}

/// Ends the order of a claim by what came of it, and says in the answer what was charged. A claim that has been answered before, and was paid for
/// then, says it again.
///
/// # Errors
/// Failures of the server: the same request finds out again what came of it.
pub(super) async fn told(app: &App, asked: &Asked, ask: &Claim, placed: Option<OrderRow>, decided: Decided) -> Result<Decided, Problem> {
    let (user, request) = (ask.user_id, asked.request_id);
    let placed = match (placed, ask.pay) {
        (None, Some(_)) => app.db.read("order of a copy", async move |tx: &mut Tx| order::of_request(tx, user, request).await).await?,
        (placed, _) => placed,
    };
    let Some(placed) = placed.filter(|placed| placed.copy.as_ref().is_some_and(|copy| copy.digest == asked.digest)) else {
        return Ok(decided);
    };
    let refusal = decided.as_ref().err().cloned();
    let granted = settle(app, &placed, refusal.unwrap_or_else(|| Code::ExchangeEnded.into())).await?;
    end(app, &placed, granted).await?;
    match decided {
        Ok(value) if granted => {
            let mut result: ClaimResult = serde_json::from_value(value).map_err(Problem::internal)?;
            result.charged = charged(app, &placed).await?;
            Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
        }
        decided => Ok(decided),
    }
}

/// What was charged by an order, and what is left.
async fn charged(app: &App, placed: &OrderRow) -> Result<Option<ChargedCopy>, Problem> {
    let Some(price) = placed.charge.filter(|price| price.amount > 0) else { return Ok(None) };
    let (row, copied) = (placed.clone(), placed.copy.clone());
    let found = app.db.read("what a copy has cost", async move |tx: &mut Tx| -> Result<_, DbError> {
        let balance = match row.payment {
            Payment::Balance => Some(balance::left(tx, row.user, price.currency).await?),
            _ => None,
        };
        let known = match &copied {
            Some(copy) => medium::known(tx, &copy.medium).await?,
            None => None,
        };
        let titles = match known {
            Some(known) => medium::titles(tx, known.batch).await?.into_iter().map(|title| title.name).collect::<Vec<_>>(),
            None => vec![],
        };
        Ok((balance, titles))
    });
    let (balance, titles) = found.await?;
    let name = if titles.is_empty() { placed.title.to_string() } else { titles.join(", ") };
    let (order_id, title, payment) = (placed.order, placed.title.clone(), placed.payment);
    Ok(Some(ChargedCopy { order_id, title, name, price, payment, balance }))
}

/// Whether a copy was granted for an order. Where none was, none will be: the request's record says that it was refused, before that is noted
/// anywhere else.
async fn settle(app: &App, placed: &OrderRow, refusal: Refusal) -> Result<bool, Problem> {
    let Some(copy) = placed.copy.clone() else { return Ok(false) };
    let (now, order, family) = (app.clock.now(), placed.order, medium::family(&copy.medium));
    app.db
        .write("settle copy", family.clone(), async move |tx: &mut Tx| -> Result<bool, Problem> {
            audit::hold(tx, &family).await?;
            if !grant::of_order(tx, &copy.medium, order).await?.is_empty() {
                return Ok(true);
            }
            let digest = copy.digest.as_slice().try_into().map_err(Problem::internal)?;
            let id = copy.request.to_string();
            if request::once(tx, &family, &id, digest, now.0).await? == Once::Fresh {
                // A claim takes a medium without a row for one without a record.
                if let Some(known) = medium::known(tx, &copy.medium).await? {
                    medium::touch(tx, &copy.medium, &known, now).await?;
                }
                request::record(tx, &family, &id, digest, &orders::refused(&refusal)?, now.0, asked::expires(now)).await?;
            }
            Ok(false)
        })
        .await
}

/// Has an order stand whose copy was granted, and gives the charge of any other back. Again, it changes nothing.
async fn end(app: &App, placed: &OrderRow, granted: bool) -> Result<(), Problem> {
    let (now, entry, user, id, payment) = (app.clock.now(), app.rng.bytes(), placed.user, placed.order, placed.payment);
    let family = user::family(user);
    app.db
        .write("end order of a copy", family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            audit::hold(tx, &family).await?;
            if !granted {
                return refund::not_copied(tx, (user, id), ACTOR, entry, now).await;
            }
            if order::granted(tx, user, id, rules::charged(payment), now).await? {
                audit::append(tx, &family, now.0, ACTOR, "order.granted", &json!({ "order": id })).await?;
            }
            Ok(())
        })
        .await
}

/// Ends the orders of copies that nobody has come back for: by what was granted for them, and where nothing was, their charge goes back.
///
/// # Errors
/// Failures of the database; what was done before stays so.
pub async fn sweep(app: &App) -> Result<(), Problem> {
    let before = Timestamp(app.clock.now().0.saturating_sub(UNDER_WAY));
    let mut after = (Timestamp(i64::MIN), String::new());
    loop {
        let from = after.clone();
        let list = async move |tx: &mut Tx| order::list(tx, Some(rules::OrderState::Open), &from, PAGE).await;
        let page = app.db.read("open orders", list).await?;
        for placed in &page {
            if placed.created_at > before {
                return Ok(());
            }
            let granted = settle(app, placed, Code::ExchangeEnded.into()).await?;
            end(app, placed, granted).await?;
        }
        match page.last() {
            Some(last) => after = (last.created_at, last.order.to_string()),
            None => return Ok(()),
        }
    }
}
