//! `/store/{title}/buy`: choose the device, see price and terms, buy.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::rules::order::Wanted;
use counterfoil_core::{DeviceId, Money};

use super::account::layout;
use super::devices::{self, Choice};
use super::visitor::{Fields, Person, Sent, see_other};
use super::{Layout, Section, page_as, sentence};
use crate::actions::account::sessions::SignedIn;
use crate::actions::order::{self, Basket, Buyer};
use crate::api::store::{StoreTitle, sold};
use crate::app::App;
use crate::problem::Problem;

#[derive(Template)]
#[template(path = "buy.html")]
struct BuyPage {
    layout: Layout,
    sold: StoreTitle,
    error: Option<String>,
    devices: Vec<Choice>,
    offers: Vec<Offer>,
    request: String,
    form: String,
}

/// One way to get it.
struct Offer {
    value: String,
    text: String,
    help: String,
    chosen: bool,
}

fn offers(sold: &StoreTitle) -> Vec<Offer> {
    let price = |money: &Money| {
        let text = if money.amount == 0 { "Free".to_owned() } else { money.to_string() };
        Offer { value: money.to_string(), text, help: String::new(), chosen: false }
    };
    let mut offers: Vec<Offer> = sold.prices.iter().map(price).collect();
    if sold.policy.trial_days > 0 {
        let help = format!("{} days, once; then it ends by itself", sold.policy.trial_days);
        offers.push(Offer { value: "trial".to_owned(), text: "Try it".to_owned(), help, chosen: false });
    }
    offers
}

/// A new name for a request: a form that is sent twice orders once.
pub(super) fn request_name(app: &App) -> String {
    format!("{:032x}", u128::from_be_bytes(app.rng.bytes()))
}

/// Reads it back.
pub(super) fn read_request(fields: &Fields) -> Option<String> {
    let name = fields.text("request");
    (name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| format!("web:{name}"))
}

/// `/store/{title}/buy`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn form(State(app): State<App>, Person(by): Person, Path(title): Path<String>) -> Result<Response, Problem> {
    shown(&app, &by, &title, &Fields::parse(b""), None).await
}

/// `typed`: what was chosen before, so that nobody pays in another currency, or for another device, at the second try.
async fn shown(app: &App, by: &SignedIn, title: &str, typed: &Fields, error: Option<String>) -> Result<Response, Problem> {
    let sold = sold(app, title).await?;
    let known = devices::of(app, by.user()).await?;
    let mut devices = Choice::of(known.iter().filter(|device| device.registered));
    for device in &mut devices {
        device.chosen |= device.id.to_string() == typed.text("device");
    }
    let status = if error.is_some() { StatusCode::CONFLICT } else { StatusCode::OK };
    let mut offers = offers(&sold);
    let before = offers.iter().position(|offer| offer.value == typed.text("offer"));
    if let Some(offer) = offers.get_mut(before.unwrap_or_default()) {
        offer.chosen = true;
    }
    let (request, form) = (request_name(app), by.session.form_token());
    page_as(status, &BuyPage { layout: layout(app, Section::Store, by), sold, error, devices, offers, request, form })
}

/// Orders; at the price that was shown, or not at all.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn buy(State(app): State<App>, Path(title): Path<String>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let offer = fields.text("offer");
    let wanted = if offer == "trial" { Some(Wanted::Trial) } else { offer.parse().ok().map(|price| Wanted::Purchase(Some(price))) };
    let device = fields.text("device").parse::<DeviceId>().ok();
    let (Some(wanted), Some(device), Some(request_id)) = (wanted, device, read_request(&fields)) else {
        return shown(&app, &by, &title, &fields, Some("Choose a device and a price.".to_owned())).await;
    };
    let Ok(title_id) = title.parse() else { return shown(&app, &by, &title, &fields, None).await };
    let said = counterfoil_format::encoding::frame(&[title.as_bytes(), device.as_bytes(), offer.as_bytes()]);
    let digest = *blake3::hash(&said).as_bytes();
    let buyer = Buyer { user: by.user(), actor: by.actor(), request_id, digest };
    let basket = Basket { title: title_id, device, wanted, currency: None, tell_device: true };
    match order::place(&app, &buyer, &basket, app.clock.now()).await? {
        Ok(placed) => Ok(see_other(&format!("/account/orders/{}?done=bought", placed.order_id))),
        Err(refusal) => shown(&app, &by, &title, &fields, Some(sentence(&refusal))).await,
    }
}
