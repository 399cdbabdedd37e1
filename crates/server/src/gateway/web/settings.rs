//! `/account/settings`: mail, password, where somebody is signed in, cards that have signed.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::Money;

use super::visitor::{Person, Sent, signed_in, signed_out};
use super::{Section, layout, words};
use crate::actions::account::password;
use crate::db::{DbError, Tx};
use crate::gateway::accounts;
use crate::gateway::app::App;
use crate::gateway::ledger::MOST;
use crate::gateway::store::account::{self, Holder, TokenRow};
use crate::gateway::store::alert;
use crate::gateway::store::customer::{self, Wishes};
use crate::gateway::store::payment_card;
use crate::problem::{ApiCode, Problem};
use crate::store::account::Email;
use crate::web::visitor::{Fields, agent, see_other};
use crate::web::{Layout, page_as, written};

struct Session {
    id: String,
    what: String,
    since: String,
    used: String,
    here: bool,
}

struct Card {
    id: String,
    since: String,
}

/// A payment card that is charged with what the balance is short of.
struct Kept {
    id: String,
    what: String,
    since: String,
}

#[derive(Template)]
#[template(path = "gateway/settings.html")]
struct SettingsPage<'a> {
    layout: Layout,
    told: Option<&'static str>,
    error: Option<String>,
    name: &'a str,
    mailed: bool,
    email: String,
    receipts: bool,
    low: String,
    sessions: Vec<Session>,
    cards: Vec<Card>,
    kept: Vec<Kept>,
    form: String,
}

fn told(query: Option<&str>) -> Option<&'static str> {
    match Fields::parse(query.unwrap_or_default().as_bytes()).text("done") {
        "mail" => Some("It is kept."),
        "password" => Some("The password is changed. Every other browser and every terminal is signed out."),
        "session" => Some("It is signed out."),
        "card" => Some("The payment card is removed."),
        _ => None,
    }
}

/// What a token is called on the page, and in the form that ends it: no secret.
fn public_id(row: &TokenRow) -> String {
    row.hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// `/account/settings`
///
/// # Errors
/// A failure of the database.
pub async fn show(State(app): State<App>, by: Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    shown(&app, &by, told(query.as_deref()), None, None).await
}

async fn shown(
    app: &App,
    by: &Person,
    told: Option<&'static str>,
    error: Option<String>,
    typed: Option<&Fields>,
) -> Result<Response, Problem> {
    let (id, now, mine) = (by.account.id, app.clock.now(), by.token.hash());
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let (wishes, tokens) = (customer::wishes(tx, id).await?, account::tokens(tx, id, now).await?);
        Ok((wishes, tokens, account::cards(tx, id).await?, payment_card::kept(tx, id).await?))
    };
    let (wishes, tokens, cards, kept) = app.db.read("settings' page", read).await?;
    let sessions = tokens.into_iter().map(|row| Session {
        id: public_id(&row),
        here: row.hash == mine,
        since: written::day(row.created_at),
        used: written::moment(row.used_at),
        what: match row.holder {
            Holder::Terminal => "A terminal".to_owned(),
            Holder::Browser(agent) => agent,
        },
    });
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = SettingsPage {
        layout: layout(app, Section::Settings, Some(&by.account.name)),
        told,
        error,
        name: &by.account.name,
        mailed: app.relay.is_some(),
        email: typed.map_or(wishes.email.unwrap_or_default(), |typed| typed.text("email").to_owned()),
        receipts: typed.map_or(wishes.receipts, |typed| typed.text("receipts") == "on"),
        low: typed.map_or(wishes.low.map(|low| low.to_string()).unwrap_or_default(), |typed| typed.text("low").to_owned()),
        sessions: sessions.collect(),
        cards: cards.into_iter().map(|(card, at)| Card { id: card.to_string(), since: written::day(at) }).collect(),
        kept: kept.into_iter().map(|row| Kept { what: row.words(), since: written::day(row.kept_at), id: row.card }).collect(),
        form: by.token.form(),
    };
    page_as(status, &page)
}

fn wanted(app: &App, fields: &Fields) -> Result<Wishes, &'static str> {
    let email = fields.some("email").map(|email| Email::parse(email).ok_or("This is no e-mail address."));
    let email = email.transpose()?.map(|email| email.as_str().to_owned());
    let fits = |money: &Money| (1..=MOST).contains(&money.amount);
    let low = fields.some("low").map(|typed| {
        words::money(typed, app.config.server.currency).filter(fits).ok_or("Write the amount as 5.00, or with its currency: 5.00 EUR.")
    });
    let wishes = Wishes { email, receipts: fields.text("receipts") == "on", low: low.transpose()? };
    if wishes.email.is_none() && (wishes.receipts || wishes.low.is_some()) {
        return Err("Mail needs an address to go to.");
    }
    Ok(wishes)
}

/// Address, receipts, and the balance below which a mail comes.
///
/// # Errors
/// A failure of the database.
pub async fn mail(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let wishes = match wanted(&app, &fields) {
        Ok(wishes) => wishes,
        Err(error) => return shown(&app, &by, None, Some(error.to_owned()), Some(&fields)).await,
    };
    let (id, now) = (by.account.id, app.clock.now());
    let set = async move |tx: &mut Tx| -> Result<(), DbError> {
        customer::set_wishes(tx, id, &wishes).await?;
        // What they want to know now is looked at anew.
        alert::end(tx, alert::Kind::LowBalance, &id.to_string(), &[], now).await.map(drop)
    };
    app.db.write("set wishes", account::family(id), set).await?;
    Ok(see_other("/account/settings?done=mail"))
}

/// Another password: every other browser and every terminal is signed out.
///
/// # Errors
/// A failure of the database.
pub async fn password(State(app): State<App>, headers: HeaderMap, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let (id, now) = (by.account.id, app.clock.now());
    if !accounts::is_password(&app, &by.account, fields.password("password")).await? {
        let error = "The password is wrong. After ten attempts, none is looked at for fifteen minutes.".to_owned();
        return shown(&app, &by, None, Some(error), None).await;
    }
    let new = fields.password("new");
    if let Err(why) = password::check(&new, &by.account.name) {
        return shown(&app, &by, None, Some(why.to_string()), None).await;
    }
    let hash = password::hash(new, &app.rng).await?;
    let set = async move |tx: &mut Tx| customer::set_password(tx, id, &hash).await;
    app.db.write("change password", account::family(id), set).await?;
    match accounts::let_in(&app, id, by.account.name, Holder::Browser(agent(&headers)), now).await? {
        Some(signed) => Ok(signed_in(&app, &signed.token, see_other("/account/settings?done=password"))),
        None => Err(ApiCode::Conflict.into()),
    }
}

/// Signs a browser or a terminal of the account out.
///
/// # Errors
/// A failure of the database.
pub async fn end_session(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let (id, now, named) = (by.account.id, app.clock.now(), fields.text("id").to_owned());
    let mine = by.token.hash();
    let end = async move |tx: &mut Tx| -> Result<bool, DbError> {
        let ended: Vec<TokenRow> = account::tokens(tx, id, now).await?.into_iter().filter(|row| public_id(row) == named).collect();
        for row in &ended {
            account::delete_token(tx, id, &row.hash).await?;
        }
        Ok(ended.iter().any(|row| row.hash == mine))
    };
    match app.db.write("end session", account::family(id), end).await? {
        true => Ok(signed_out(&app, see_other("/account/sign-in?done=out"))),
        false => Ok(see_other("/account/settings?done=session")),
    }
}
