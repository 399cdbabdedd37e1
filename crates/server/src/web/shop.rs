//! `/shop` (D1): a shop signs in with its token, and registers whom it sells a device to.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::{DeviceId, UserId};
use counterfoil_format::encoding::to_base64url;
use serde::{Deserialize, Serialize};

use super::visitor::{self, Fields, Posted, see_other};
use super::{Layout, Section, page_as};
use crate::actions::account::between;
use crate::actions::shop::{self, By, Checked};
use crate::api::shop::{NewDevice, NewUser};
use crate::app::App;
use crate::auth::Admit;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::token::{self, TokenRow};
use crate::store::user;

/// How long a shop stays signed in, in milliseconds: a working day.
const LIFE: i64 = 12 * 60 * 60 * 1000;
const COOKIE: &str = "shop";
const NEW: &str = "shop registration";

/// What the browser keeps: which token, and never the token. It is good while the token is.
#[derive(Serialize, Deserialize)]
struct Kept {
    token: String,
}

/// A shop that is signed in.
struct Clerk {
    token: TokenRow,
    cookie: String,
}

impl Clerk {
    /// What forms of this shop carry.
    fn form_token(&self) -> String {
        to_base64url(&blake3::derive_key("counterfoil 2026-11 token of a shop's forms", self.cookie.as_bytes())[..16])
    }
}

fn cookie_name(app: &App) -> &'static str {
    if visitor::is_https(app) { "__Host-counterfoil-shop" } else { "counterfoil-shop" }
}

async fn clerk(app: &App, headers: &HeaderMap) -> Result<Option<Clerk>, Problem> {
    let Some(cookie) = visitor::cookie(headers, cookie_name(app)) else { return Ok(None) };
    let Some(Kept { token }) = between::open::<Kept>(app, COOKIE, &cookie) else { return Ok(None) };
    let now = app.clock.now();
    let row = app.db.read("token", async move |tx: &mut Tx| token::find(tx, &token).await).await?;
    Ok(row.filter(|row| row.live(now) && Admit::Shop.admits(row.role)).map(|token| Clerk { token, cookie }))
}

#[derive(Template)]
#[template(path = "shop-sign-in.html")]
struct SignInPage {
    layout: Layout,
    error: Option<&'static str>,
}

fn sign_in_page(app: &App, error: Option<&'static str>) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_as(status, &SignInPage { layout: Layout::new(&app.name, Section::Elsewhere), error })
}

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
    match clerk(&app, &headers).await? {
        Some(clerk) => shop_page(&app, &clerk, None, None, &Fields::default()),
        None => sign_in_page(&app, None),
    }
}

/// Takes a shop's token, once; the browser keeps none.
///
/// # Errors
/// A failure of the database.
pub async fn sign_in(State(app): State<App>, Posted(fields): Posted) -> Result<Response, Problem> {
    let wrong = || sign_in_page(&app, Some("This is no token of a shop, or it has ended."));
    let Some(presented) = token::Presented::parse(fields.text("token").trim()) else { return wrong() };
    let (id, now) = (presented.id().to_owned(), app.clock.now());
    let row = app.db.read("token", async move |tx: &mut Tx| token::find(tx, &id).await).await?;
    let good = |row: &TokenRow| presented.matches(&row.hash) && row.live(now) && Admit::Shop.admits(row.role);
    let Some(row) = row.filter(good) else { return wrong() };
    let kept = between::seal_for(&app, COOKIE, &Kept { token: row.token_id }, LIFE)?;
    let mut answer = see_other("/shop");
    let (name, value) = visitor::set_cookie(&app, cookie_name(&app), &kept, LIFE / 1000, "Strict");
    answer.headers_mut().append(name, value);
    Ok(answer)
}

/// Forgets the shop in this browser.
///
/// # Errors
/// `foreign_form`.
pub async fn sign_out(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    if let Some(clerk) = clerk(&app, &headers).await?
        && clerk.form_token() != fields.text("form")
    {
        return Err(ApiCode::ForeignForm.into());
    }
    let mut answer = see_other("/shop");
    let (name, value) = visitor::set_cookie(&app, cookie_name(&app), "", 0, "Strict");
    answer.headers_mut().append(name, value);
    Ok(answer)
}

/// Registers a person and their device.
///
/// # Errors
/// `foreign_form`, or a failure of the database.
pub async fn register(State(app): State<App>, headers: HeaderMap, Posted(fields): Posted) -> Result<Response, Problem> {
    let Some(clerk) = clerk(&app, &headers).await? else { return sign_in_page(&app, Some("Sign in again.")) };
    if clerk.form_token() != fields.text("form") {
        return Err(ApiCode::ForeignForm.into());
    }
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
