//! `/account`: a person's own pages. Nothing here is shown to anybody else, nor whether it exists.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use counterfoil_core::rules::order::OrderState;
use counterfoil_core::wire::{OrderedTitle, RefundResult};
use counterfoil_core::{Money, OrderId, UserId};

use super::devices;
use super::visitor::{self, Fields, Person, Sent, see_other};
use super::{Layout, Section, page, page_as};
use crate::actions::account::sessions::{self, SignedIn};
use crate::actions::order::Buyer;
use crate::actions::{orders, refund};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::person;

pub mod entrance;
pub mod keys;
pub mod lost_card;
pub mod security;

/// The frame of a page of somebody who is signed in.
pub(super) fn layout(app: &App, section: Section, by: &SignedIn) -> Layout {
    Layout { person: Some(by.account.email.clone()), ..Layout::new(&app.name, section) }
}

pub(super) use crate::web::written::day;

/// What a page says was done: the query names a sentence of this table, so that no link can put words on it.
pub(super) fn told(query: Option<&str>) -> Option<&'static str> {
    let fields = Fields::parse(query.unwrap_or_default().as_bytes());
    Some(match fields.text("done") {
        "password" => "The password is changed, and every other browser signed out.",
        "reset" => "The new password is set. Sign in with it.",
        "email" => "The e-mail address is changed.",
        "email-sent" => "A mail is on its way to the new address. It counts when you open the link in it.",
        "confirmed" => "The e-mail address is confirmed.",
        "codes-on" => "One-time codes are on.",
        "codes-off" => "One-time codes are off.",
        "passkey" => "The passkey is kept.",
        "passkey-removed" => "The passkey is removed.",
        "session" => "That browser is signed out.",
        "out" => "You are signed out.",
        "everywhere" => "You are signed out everywhere.",
        "refunded" => "The order has ended, and its licenses with it.",
        "bought" => {
            "It is yours. The device installs it by itself while `counterfoil agent` runs there; else run `counterfoil install` with its name."
        }
        "sent" => "The device has been told. It does it by itself while `counterfoil agent` runs there.",
        "announced" => "The device is announced: it may register for you now.",
        _ => return None,
    })
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    name: Option<String>,
    email: String,
    confirmed: bool,
    user: UserId,
    balance: Vec<Money>,
    orders: Vec<ShownOrder>,
    form: String,
}

/// An order in words.
struct ShownOrder {
    id: OrderId,
    name: String,
    since: String,
    state: &'static str,
    charge: String,
    device: String,
    expires: Option<String>,
    refundable: Option<String>,
    ended: bool,
}

impl From<OrderedTitle> for ShownOrder {
    fn from(order: OrderedTitle) -> Self {
        let state = match (order.state, order.reason.as_deref()) {
            (OrderState::Open, _) => "being granted",
            (OrderState::Due, _) => "to be paid",
            (OrderState::Paid, _) => "paid",
            (OrderState::Ended, Some("bought")) => "tried, then bought",
            (OrderState::Ended, Some("not_copied")) => "not granted, and not charged",
            (OrderState::Ended, Some("chargeback")) => "ended: the payment was taken back",
            (OrderState::Ended, _) => "given back",
        };
        let charge =
            order.charged.map_or_else(|| "trial".to_owned(), |money| if money.amount == 0 { "free".to_owned() } else { money.to_string() });
        Self {
            id: order.order_id,
            name: order.name,
            since: day(order.since),
            state,
            charge,
            device: order.device_id.to_string(),
            expires: order.expires_at.map(day),
            refundable: order.refundable_until.map(day),
            ended: order.ended_at.is_some(),
        }
    }
}

/// `/account`: who it is, what was ordered.
///
/// # Errors
/// A failure of the database.
pub async fn account(State(app): State<App>, Person(by): Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let user = by.user();
    let name = app.db.read("person", async move |tx: &mut Tx| person::find(tx, user).await).await?.map(|person| person.name);
    let ordered = orders::of_user(&app, user, app.clock.now()).await?;
    page(&AccountPage {
        layout: layout(&app, Section::Account, &by),
        told: told(query.as_deref()),
        error: None,
        name,
        email: by.account.email.clone(),
        confirmed: by.account.confirmed_at.is_some(),
        user,
        balance: ordered.balance,
        orders: ordered.orders.into_iter().map(ShownOrder::from).collect(),
        form: by.session.form_token(),
    })
}

#[derive(Template)]
#[template(path = "order.html")]
struct OrderPage {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    order: ShownOrder,
    form: String,
}

/// `/account/orders/{order}`: one order, and the way to give it back.
///
/// # Errors
/// `not_found`, for another's as well.
pub async fn order(
    State(app): State<App>,
    Person(by): Person,
    Path(order): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    order_page(&app, &by, &order, told(query.as_deref()), None).await
}

async fn order_page(app: &App, by: &SignedIn, id: &str, told: Option<&'static str>, error: Option<String>) -> Result<Response, Problem> {
    let id: OrderId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let ordered = orders::of_user(app, by.user(), app.clock.now()).await?;
    let found = ordered.orders.into_iter().find(|order| order.order_id == id).ok_or(ApiCode::NotFound)?;
    let status = if error.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let form = by.session.form_token();
    let mut order = ShownOrder::from(found);
    if let Some(device) = devices::of(app, by.user()).await?.iter().find(|device| device.id.to_string() == order.device) {
        // People know their devices by name; one that was taken out has its ID only.
        order.device = devices::called(device);
    }
    page_as(status, &OrderPage { layout: layout(app, Section::Account, by), told, error, order, form })
}

/// Gives an order back.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn give_back(State(app): State<App>, Path(order): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let id: OrderId = order.parse().map_err(|_| ApiCode::NotFound)?;
    let by = &sent.by;
    let ordered = orders::of_user(&app, by.user(), app.clock.now()).await?;
    if !ordered.orders.iter().any(|known| known.order_id == id) {
        return Err(ApiCode::NotFound.into());
    }
    // The order names the request: however often the button is pressed, it is one.
    let digest = *blake3::hash(order.as_bytes()).as_bytes();
    let buyer = Buyer { user: by.user(), actor: by.actor(), request_id: format!("web-refund:{id}"), digest };
    match refund::give_back(&app, &buyer, id, app.clock.now()).await? {
        Ok(RefundResult { .. }) => Ok(see_other(&format!("/account/orders/{id}?done=refunded"))),
        Err(refusal) => order_page(&app, by, &order, None, Some(super::sentence(&refusal))).await,
    }
}

/// Signs this browser out.
///
/// # Errors
/// A failure of the database.
pub async fn sign_out(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let id = sent.by.session.id.clone();
    sessions::end(&app, &sent.by, id, app.clock.now()).await?;
    Ok(visitor::signed_out(&app, see_other("/account/sign-in?done=out")))
}

/// Signs every browser out.
///
/// # Errors
/// A failure of the database.
pub async fn sign_out_everywhere(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    sessions::end_all(&app, &sent.by, app.clock.now()).await?;
    Ok(visitor::signed_out(&app, see_other("/account/sign-in?done=everywhere")))
}

/// Signs one browser out.
///
/// # Errors
/// `not_found`.
pub async fn end_session(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let id = sent.fields.text("id").to_owned();
    let here = id == sent.by.session.id;
    if !sessions::end(&app, &sent.by, id, app.clock.now()).await? {
        return Err(ApiCode::NotFound.into());
    }
    Ok(if here {
        visitor::signed_out(&app, see_other("/account/sign-in?done=out"))
    } else {
        see_other("/account/security?done=session").into_response()
    })
}
