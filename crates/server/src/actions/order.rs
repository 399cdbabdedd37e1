//! Orders (D2, D3): charge, order, entitlement and license come into being in one transaction of the user's family, or none of them does.

use counterfoil_core::rules::gateway::{self, Pay};
use counterfoil_core::rules::order::{self, Collection, Decision, Facts, OrderKind, Owned, Payment, Wanted};
use counterfoil_core::rules::refund::{Why, refundable_until};
use counterfoil_core::wire::{Order, OrderResult};
use counterfoil_core::{
    CardId, Code, Currency, DeviceId, EntitlementId, LicenseId, Money, OrderId, Refusal, RequestId, Timestamp, TitleId, UserId,
};
use serde_json::json;

use super::asked::{self, Asked, Decided, Through};
use super::gateway::price::{self, Foreseen};
use super::refund;
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::gateways::Caller;
use crate::problem::Problem;
use crate::store::balance::{Change, Reason};
use crate::store::order::{Had, Placed};
use crate::store::request::{self, Once, Recorded};
use crate::store::{audit, balance, entitlement, inbox, license, user};

/// Who orders or gives back, whatever they do it with.
#[derive(Clone, Debug)]
pub struct Buyer {
    /// Whose order it is.
    pub user: UserId,
    /// As in the audit log.
    pub actor: String,
    /// Names the request: the same again is answered alike and has no second effect.
    pub request_id: String,
    /// Over all of the request that matters.
    pub digest: [u8; 32],
}

/// What is ordered.
#[derive(Clone, Debug)]
pub struct Basket {
    /// What.
    pub title: TitleId,
    /// For which of the user's devices.
    pub device: DeviceId,
    /// To buy or to try.
    pub wanted: Wanted,
    /// What to pay in, where a gateway names the price.
    pub currency: Option<Currency>,
    /// Whether the device is told to install it, because it is not the one that asks.
    pub tell_device: bool,
}

/// Decides a terminal's order and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Order, now: Timestamp) -> Result<Decided, Problem> {
    let (buyer, basket, card) = match admit(app, asked, ask, now).await? {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let placed = place_with(app, &buyer, &basket, card, &Terms::of(app, asked), now).await?;
    placed
        .map(|result| serde_json::to_value(result).map_err(Problem::internal))
        .map_or_else(|refusal| Ok(Err(refusal)), |value| Ok(Ok(value?)))
}

/// Who orders what with which card, once they have signed; a refusal is recorded.
async fn admit(app: &App, asked: &Asked, ask: &Order, now: Timestamp) -> Result<Result<(Buyer, Basket, Option<CardId>), Refusal>, Problem> {
    let card = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Card(ask.card_id)).await? {
        Ok(recipient) => recipient.card(),
        Err((refusal, family)) => {
            return Ok(asked::refuse(app, family, "order", "terminal", refusal.clone(), now).await?.and(Err(refusal)));
        }
    };
    let buyer =
        Buyer { user: ask.user_id, actor: ask.device_id.to_string(), request_id: asked.request_id.to_string(), digest: asked.digest };
    let wanted = if ask.trial { Wanted::Trial } else { Wanted::Purchase(ask.price) };
    Ok(Ok((buyer, Basket { title: ask.title.clone(), device: ask.device_id, wanted, currency: ask.currency, tell_device: false }, card)))
}

/// At which prices an order is made, and who collects the charge.
#[derive(Clone, Debug)]
struct Terms {
    through: Through,
    collection: Collection,
    exchange: Option<RequestId>,
}

impl Terms {
    fn of(app: &App, asked: &Asked) -> Self {
        let collection = if asked.through == Through::Direct { app.config.store.payment } else { Collection::Gateway };
        Self { through: asked.through.clone(), collection, exchange: asked.exchange() }
    }
}

/// Decides an order through a gateway as [`run`] does, and places none: what it would be charged for (C17).
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub(super) async fn foresee(app: &App, gateway: &Caller, asked: &mut Asked, ask: &Order, now: Timestamp) -> Result<Foreseen, Problem> {
    let found = price::of_title(app, gateway, &ask.title).await?;
    // Of a title that there is not, nothing is charged: it is refused below, as it is without a gateway.
    let (name, prices) = found.unwrap_or_else(|| (ask.title.to_string(), vec![]));
    asked.through = Through::Owed(prices);
    let (buyer, basket, card) = match admit(app, asked, ask, now).await? {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(Foreseen::Refused(refusal)),
    };
    let (terms, family, actor) = (Terms::of(app, asked), user::family(buyer.user), buyer.actor.clone());
    let decided = app
        .db
        .read("foresee order", async move |tx: &mut Tx| -> Result<_, Problem> {
            if once(tx, &buyer, &terms, now).await? != Once::Fresh {
                return Ok(Ok(None));
            }
            let had = crate::store::order::had(tx, buyer.user, &basket.title, basket.device, now).await?;
            let decided = decide(tx, &buyer, &basket, card, &had, &terms, now).await?;
            Ok(decided.map(|decision| decision.charge.filter(|_| decision.payment == Payment::Gateway)))
        })
        .await?;
    Ok(match decided {
        Ok(None) => Foreseen::Free,
        Ok(Some(price)) => Foreseen::Charged(price::charge(gateway, &ask.title, &name, price)?),
        Err(refusal) => Foreseen::Refused(asked::refused(app, family, "order", &actor, refusal, now).await?),
    })
}

/// What is drawn before the transaction, so that each run of it writes the same.
#[derive(Clone, Copy)]
struct Fresh {
    order: OrderId,
    entitlement: EntitlementId,
    license: LicenseId,
    entry: [u8; 16],
}

/// Places an order. Who asks must have proven to be the user already; that user and device are registered together is decided here.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn place(app: &App, buyer: &Buyer, basket: &Basket, now: Timestamp) -> Result<Result<OrderResult, Refusal>, Problem> {
    let terms = Terms { through: Through::Direct, collection: app.config.store.payment, exchange: None };
    place_with(app, buyer, basket, None, &terms, now).await
}

/// The same, with the card that has signed: it may have been replaced since it was looked at.
async fn place_with(
    app: &App,
    buyer: &Buyer,
    basket: &Basket,
    card: Option<CardId>,
    terms: &Terms,
    now: Timestamp,
) -> Result<Result<OrderResult, Refusal>, Problem> {
    let fresh = Fresh {
        order: OrderId::from_bytes(app.rng.bytes()),
        entitlement: EntitlementId::from_bytes(app.rng.bytes()),
        license: LicenseId::from_bytes(app.rng.bytes()),
        entry: app.rng.bytes(),
    };
    let (buyer, basket, terms) = (buyer.clone(), basket.clone(), terms.clone());
    let (family, told) = (user::family(buyer.user), basket.tell_device.then_some((buyer.user, basket.device)));
    let placed = app
        .db
        .write("order", family.clone(), async move |tx: &mut Tx| -> Result<_, Problem> {
            // Two orders at once at two processes: the second one decides on what the first has left.
            audit::hold(tx, &family).await?;
            let refused = match once(tx, &buyer, &terms, now).await? {
                Once::Repeat(recorded) => return answered(&recorded),
                Once::Mismatch => Code::RequestMismatch.into(),
                Once::Fresh => {
                    let had = crate::store::order::had(tx, buyer.user, &basket.title, basket.device, now).await?;
                    match decide(tx, &buyer, &basket, card, &had, &terms, now).await? {
                        Err(refusal) => refusal,
                        Ok(decision) if decision.payment == Payment::Gateway && terms.through.pay() != Pay::Paid => {
                            Code::PaymentRequired.into()
                        }
                        Ok(decision) if !charge(tx, &buyer, &decision, fresh, now).await? => {
                            let price = decision.charge.map(|price| format!("the balance holds less than {price}"));
                            Refusal { detail: price, ..Code::PaymentRefused.into() }
                        }
                        Ok(decision) => {
                            end_trials(tx, &buyer, &basket, &decision, &had, now).await?;
                            return write(tx, &buyer, &basket, &decision, &terms, fresh, now).await.map(Ok);
                        }
                    }
                }
            };
            asked::audit_refusal(tx, &family, "order", &buyer.actor, refused.code, now).await?;
            Ok(Err(refused))
        })
        .await?;
    if let (Ok(_), Some((user, device))) = (&placed, told) {
        app.inbox.wake(user, device);
    }
    Ok(placed)
}

/// What is known of the request. What an exchange has paid for is made once, also after the record of the request is gone.
async fn once(tx: &mut Tx, buyer: &Buyer, terms: &Terms, now: Timestamp) -> Result<Once, Problem> {
    let once = request::once(tx, &user::family(buyer.user), &buyer.request_id, &buyer.digest, now.0).await?;
    let (Once::Fresh, Some(exchange)) = (&once, terms.exchange) else { return Ok(once) };
    let Some(id) = crate::store::order::of_exchange(tx, buyer.user, exchange).await? else { return Ok(once) };
    let Some(made) = crate::store::order::find(tx, buyer.user, id).await? else { return Ok(once) };
    let Some(entitlement_id) = made.entitlement else { return Ok(once) };
    let licenses = license::of_entitlement(tx, buyer.user, entitlement_id).await?;
    let Some(license) = licenses.first() else { return Ok(Once::Repeat(refused(&Code::LicenseEnded.into())?)) };
    let order = made.order;
    let result = OrderResult {
        order_id: id,
        entitlement_id,
        license_id: license.license,
        charged: order.charge,
        balance: None,
        expires_at: made.expires_at,
        refundable_until: refundable_until(order.kind, made.policy.refund_days, order.created_at),
    };
    Ok(Once::Repeat(Recorded { status: PLACED, answer: serde_json::to_vec(&result).map_err(Problem::internal)? }))
}

/// Recorded answers of orders: what was placed. Refusals are kept only where an exchange ended by one.
const PLACED: i64 = 200;
const REFUSED: i64 = 403;

/// As it is kept.
pub(super) fn refused(refusal: &Refusal) -> Result<Recorded, Problem> {
    Ok(Recorded { status: REFUSED, answer: serde_json::to_vec(refusal).map_err(Problem::internal)? })
}

fn answered(recorded: &Recorded) -> Result<Result<OrderResult, Refusal>, Problem> {
    match recorded.status {
        REFUSED => serde_json::from_slice(&recorded.answer).map(Err).map_err(Problem::internal),
        _ => serde_json::from_slice(&recorded.answer).map(Ok).map_err(Problem::internal),
    }
}

/// What an order comes to, by what is there now.
async fn decide(
    tx: &mut Tx,
    buyer: &Buyer,
    basket: &Basket,
    card: Option<CardId>,
    had: &[Had],
    terms: &Terms,
    now: Timestamp,
) -> Result<Result<Decision, Refusal>, Problem> {
    if card.is_some() && user::find(tx, buyer.user).await?.and_then(|entry| entry.card()) != card {
        return Ok(Err(Code::UserInvalid.into()));
    }
    let mut facts = facts(tx, buyer, basket, had).await?;
    let mut wanted = basket.wanted.clone();
    if let (Some(offer), Wanted::Purchase(shown)) = (&mut facts.offer, &mut wanted) {
        match &terms.through {
            Through::Direct => {}
            Through::Owed(prices) => match gateway::offered(prices, &offer.prices) {
                // Who did not say a price has it shown by the gateway, and agrees to it there.
                Ok(prices) => {
                    match basket.currency.filter(|_| shown.is_none()).map(|wanted| gateway::in_currency(&prices, wanted)).transpose() {
                        Ok(named) => (*shown, offer.prices) = (shown.or(named).or(prices.first().copied()), prices),
                        Err(refusal) => return Ok(Err(refusal)),
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            },
            Through::Ordered(_) => {}
            // The price that the charge was promised at, whatever it costs by now.
            Through::Paid(price) => (*shown, offer.prices) = (Some(*price), vec![*price]),
        }
    }
    Ok(order::decide(&wanted, &facts, terms.collection, now))
}

async fn facts(tx: &mut Tx, buyer: &Buyer, basket: &Basket, had: &[Had]) -> Result<Facts, Problem> {
    let owned = |had: &Had| Owned { trial: had.kind == OrderKind::Trial, here: had.here, free_place: had.devices < had.policy.devices };
    Ok(Facts {
        registered: user::device(tx, buyer.user, basket.device).await?.is_some(),
        offer: crate::store::order::offer(tx, &basket.title).await?,
        tried: crate::store::order::tried(tx, buyer.user, &basket.title).await?,
        owned: had.iter().map(owned).collect(),
    })
}

/// D3: takes the charge from the balance, where that is how it is paid; false where there is not enough.
async fn charge(tx: &mut Tx, buyer: &Buyer, decision: &Decision, fresh: Fresh, now: Timestamp) -> Result<bool, Problem> {
    let change = Change { entry: fresh.entry, reason: Reason::Order(fresh.order), actor: &buyer.actor, now };
    Ok(take(tx, buyer.user, decision, change).await?)
}

/// Takes what was decided from the balance, where that is how it is paid; false where there is not enough.
pub(super) async fn take(tx: &mut Tx, user: UserId, decision: &Decision, change: Change<'_>) -> Result<bool, DbError> {
    match (decision.payment, decision.charge) {
        (Payment::Balance, Some(price)) => balance::take(tx, user, price, change).await,
        _ => Ok(true),
    }
}

/// What is left of the balance that the charge was taken from.
async fn left(tx: &mut Tx, user: UserId, decision: &Decision) -> Result<Option<Money>, DbError> {
    match decision.charge.filter(|_| decision.payment == Payment::Balance) {
        Some(charge) => balance::left(tx, user, charge.currency).await.map(Some),
        None => Ok(None),
    }
}

/// Who buys what is being tried on the same device has one license of it there, not two. Other devices that try it by the same order stop.
async fn end_trials(tx: &mut Tx, buyer: &Buyer, basket: &Basket, decision: &Decision, had: &[Had], now: Timestamp) -> Result<(), Problem> {
    let user = buyer.user;
    let trials = had.iter().filter(|had| decision.kind == OrderKind::Purchase && had.kind == OrderKind::Trial && had.here);
    for trial in trials {
        let Some(order) = trial.order else { continue };
        crate::store::order::end(tx, user, order, Why::Bought, now).await?;
        let ended = refund::end_entitlement(tx, user, trial.entitlement, now).await?;
        for license in &ended {
            if license.device == basket.device {
                inbox::withdraw(tx, user, license.device, license.license, now).await?;
            } else {
                inbox::end(tx, user, license.device, license.license, &license.title, now).await?;
            }
        }
        let ended: Vec<LicenseId> = ended.into_iter().map(|row| row.license).collect();
        let detail = json!({ "order": order, "why": Why::Bought, "licenses": ended });
        audit::append(tx, &user::family(user), now.0, &buyer.actor, "order.ended", &detail).await?;
    }
    Ok(())
}

async fn write(
    tx: &mut Tx,
    buyer: &Buyer,
    basket: &Basket,
    decision: &Decision,
    terms: &Terms,
    fresh: Fresh,
    now: Timestamp,
) -> Result<OrderResult, Problem> {
    let (user, family) = (buyer.user, user::family(buyer.user));
    let exchange = terms.exchange.filter(|_| decision.payment == Payment::Gateway);
    let placed = Placed { order: fresh.order, title: &basket.title, device: basket.device, actor: &buyer.actor, exchange, copy: None };
    if !crate::store::order::insert(tx, user, &placed, decision, now).await? {
        return Err(tx.conflict("a trial").into());
    }
    let ids = (fresh.entitlement, fresh.order);
    entitlement::insert(tx, user, ids, &basket.title, &decision.policy, decision.expires_at, now).await?;
    license::register(tx, user, fresh.license, fresh.entitlement, &basket.title, basket.device, now).await?;
    if basket.tell_device {
        inbox::install(tx, user, basket.device, fresh.license, &basket.title, None, now).await?;
    }
    let result = OrderResult {
        order_id: fresh.order,
        entitlement_id: fresh.entitlement,
        license_id: fresh.license,
        charged: decision.charge,
        balance: left(tx, user, decision).await?,
        expires_at: decision.expires_at,
        refundable_until: decision.refundable_until,
    };
    let detail = json!({
        "order": fresh.order, "kind": decision.kind, "title": basket.title, "device": basket.device, "charge": decision.charge,
        "payment": decision.payment, "entitlement": fresh.entitlement, "license": fresh.license,
    });
    audit::append(tx, &family, now.0, &buyer.actor, "order.placed", &detail).await?;
    let recorded = Recorded { status: PLACED, answer: serde_json::to_vec(&result).map_err(Problem::internal)? };
    request::record(tx, &family, &buyer.request_id, &buyer.digest, &recorded, now.0, asked::expires(now)).await?;
    Ok(result)
}
