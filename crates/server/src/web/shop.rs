//! `/shop` (D1): a shop signs in with its token, and registers whom it sells a device to.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::{DeviceId, UserId};

use super::desk::{AGAIN, Clerk, Desk, LIFE};
use super::visitor::{Fields, Posted};
use super::{Layout, Section, page_as};
use crate::actions::account::between;
use crate::actions::shop::{self, By, Checked};
use crate::api::shop::{NewDevice, NewUser};
use crate::app::App;
use crate::auth::Admit;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::user;

const DESK: Desk = Desk {
    path: "/shop",
    name: "shop",
    admit: Admit::Shop,
    heading: "Shop",
    about: "Here a shop registers whom it sells devices to. The operator gives shops a token.",
    wrong: "This is no token of a shop, or it has ended.",
};
const NEW: &str = "shop registration";

#[derive(Template)]
#[template(path = "shop.html")]
struct ShopPage<'a> {
    layout: Layout,
    shop: &'a str,
    error: Option<String>,
    registered: Option<UserId>,
    name: &'a str,
    email: &'a str,
    address: &'a str,
    device_id: &'a str,
    maker: &'a str,
    model: &'a str,
    device_name: &'a str,
    request: String,
    form: String,
}

/// Draws the user ID of the next form, sealed: sent twice, it is one user; and nobody chooses it.
fn shop_page(app: &App, clerk: &Clerk, error: Option<String>, registered: Option<UserId>, typed: &Fields) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let drawn: [u8; 16] = app.rng.bytes();
    let page = ShopPage {
        layout: Layout::new(&app.name, Section::Elsewhere),
        shop: &clerk.token.name,
        error,
        registered,
        name: typed.text("name"),
        email: typed.text("email"),
        address: typed.text("address"),
        device_id: typed.text("device_id"),
        maker: typed.text("maker"),
        model: typed.text("model"),
        device_name: typed.text("device_name"),
        request: between::seal_for(app, NEW, &drawn, LIFE)?,
        form: clerk.form_token(),
    };
    page_as(status, &page)
}

/// `/shop`
///
/// # Errors
/// A failure of the database.
pub async fn form(State(app): State<App>, headers: HeaderMap) -> Result<Response, Problem> {
    match DESK.clerk(&app, &headers).await? {
        Some(clerk) => shop_page(&app, &clerk, None, None, &Fields::default()),
        None => DESK.sign_in_page(&app, None),
    }
}

/// Takes a shop's token.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    DESK.sign_in(&app, &fields).await
}

/// Forgets the shop in this browser.
///
/// # Errors
/// `foreign_form`.
pub async fn sign_out(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    DESK.sign_out(&app, &headers, &fields).await
}

/// Registers a person and their device.
///
/// # Errors
/// `foreign_form`, or a failure of the database.
pub async fn register(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let Some(clerk) = DESK.clerk(&app, &headers).await? else { return DESK.sign_in_page(&app, Some(AGAIN)) };
    clerk.check(&fields)?;
    let Some(drawn) = between::open::<[u8; 16]>(&app, NEW, fields.text("request")) else {
        return shop_page(&app, &clerk, Some("This form lay around for too long. Send it again.".to_owned()), None, &fields);
    };
    let Ok(device_id) = fields.text("device_id").parse::<DeviceId>() else {
        let said = "This is no device ID, or a character of it is wrong.".to_owned();
        return shop_page(&app, &clerk, Some(said), None, &fields);
    };
    let own = |name: &str| fields.some(name).map(str::to_owned);
    let device = NewDevice { device_id, maker: own("maker"), model: own("model"), name: own("device_name") };
    let new = NewUser { name: fields.text("name").to_owned(), email: own("email"), address: own("address"), device: Some(device) };
    let checked = match Checked::new(new) {
        Ok(checked) => checked,
        Err(problem) => return shop_page(&app, &clerk, problem.detail, None, &fields),
    };
    let user = UserId::from_bytes(drawn);
    let by = By { actor: format!("/token/{}", clerk.token.token_id), now: app.clock.now() };
    let policy = app.config.registration.clone();
    let made = app
        .db
        .write("assign user", user::family(user), async move |tx: &mut Tx| shop::assign_within(tx, user, &checked, &policy, &by).await)
        .await;
    match made {
        Ok(_) => shop_page(&app, &clerk, None, Some(user), &Fields::default()),
        Err(problem) if problem.status.is_client_error() => {
            let said = problem.detail.unwrap_or(problem.title);
            shop_page(&app, &clerk, Some(said), None, &fields)
        }
        Err(problem) => Err(problem),
    }
}
