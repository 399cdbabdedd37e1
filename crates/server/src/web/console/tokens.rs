//! `/console/tokens`: bearer tokens, made and taken back.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::confirm::Confirm;
use super::staff::draw_once;
use super::table::{Asked, Paged, Pager};
use super::tasks::{mendable, read};
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions;
use crate::app::App;
use crate::auth::Role;
use crate::db::{DbError, Tx};
use crate::idempotency::Reply;
use crate::problem::{ApiCode, Problem};
use crate::store::token::{self, TokenRow};
use crate::web::visitor::{Fields, see_other};
use crate::web::{filters, page, page_as};

#[derive(Template)]
#[template(path = "console/tokens.html")]
struct TokensPage<'a> {
    frame: Frame,
    tokens: Vec<Shown>,
    pager: Pager,
    roles: Vec<(&'static str, &'static str)>,
    typed: &'a Fields,
    error: Option<String>,
    once: String,
}

struct Shown {
    row: TokenRow,
    role: &'static str,
    state: Chip,
    live: bool,
}

/// `/console/tokens`
///
/// # Errors
/// `not_found` for whoever is no operator; a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    show(&app, &staff, query.as_deref(), &Fields::default(), None).await
}

async fn show(app: &App, staff: &Staff, query: Option<&str>, typed: &Fields, error: Option<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    let asked = Asked::new("/console/tokens", query);
    let (after, rows) = (asked.after(), u32::try_from(asked.rows()).unwrap_or(u32::MAX));
    let list = async move |tx: &mut Tx| -> Result<Vec<TokenRow>, DbError> { token::list(tx, &after, rows).await };
    let found = app.db.read("console tokens", list).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |row| row.token_id.clone());
    let now = app.clock.now();
    let tokens = items.into_iter().map(|row| {
        let state = match (row.revoked_at, row.live(now)) {
            (Some(_), _) => Chip::bad("taken back"),
            (None, false) => Chip::bad("over"),
            (None, true) => Chip::good("good"),
        };
        Shown { role: words::role(row.role), state, live: row.live(now), row }
    });
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let shown = TokensPage {
        frame: Frame::told(app, staff, Section::Tokens, query),
        tokens: tokens.collect(),
        pager,
        roles: Role::ALL.iter().map(|role| (role.as_str(), words::role(*role))).collect(),
        typed,
        error,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// What is recorded of a token that was made, sealed for this session: sent twice, the form shows the same token.
#[derive(Serialize, Deserialize)]
struct Made {
    token: String,
    id: String,
}

#[derive(Template)]
#[template(path = "console/token-made.html")]
struct MadePage {
    frame: Frame,
    made: Made,
    name: String,
}

/// Makes a token, and shows it this once.
///
/// # Errors
/// As for [`list`].
pub async fn make(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Operators)?;
    match made(&app, &sent).await {
        Ok(made) => page(&MadePage { frame: Frame::new(&app, &sent.by, Section::Tokens), made, name: sent.fields.text("name").to_owned() }),
        Err(problem) => show(&app, &sent.by, None, &sent.fields, Some(mendable(problem)?)).await,
    }
}

async fn made(app: &App, sent: &Sent) -> Result<Made, Problem> {
    let wrong = |what: &str| Problem::with(ApiCode::Unprocessable, what);
    let role = Role::parse(sent.fields.text("role")).ok_or_else(|| wrong("choose a role"))?;
    let days = match sent.fields.some("days") {
        None => None,
        Some(days) => Some(days.parse().map_err(|_| wrong("days: a whole number, or nothing"))?),
    };
    let tenant = sent.fields.some("tenant").map(str::to_owned);
    let new = actions::token::New { role, tenant, name: sent.fields.text("name").trim().to_owned(), expires_in_days: days };
    let prepared = new.prepare(app.clock.now(), &app.rng)?;
    let (row, actor) = (prepared.row, sent.by.actor());
    let made = Made { token: prepared.token, id: row.token_id.clone() };
    let reply = sent
        .once
        .write(app, "make token", token::FAMILY.to_owned(), async move |tx: &mut Tx| {
            actions::token::make(tx, &row, &actor).await??;
            Ok(Reply::created(&made))
        })
        .await?;
    read(&reply)
}

async fn found(app: &App, id: &str) -> Result<TokenRow, Problem> {
    let id = id.to_owned();
    let row = app.db.read("token", async move |tx: &mut Tx| token::find(tx, &id).await).await?;
    row.ok_or_else(|| ApiCode::NotFound.into())
}

/// Asks before a token is taken back.
///
/// # Errors
/// `not_found`.
pub async fn ask(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    let row = found(&app, &id).await?;
    let mut facts = vec![("Name", row.name), ("Role", words::role(row.role).to_owned())];
    facts.extend(row.tenant.map(|tenant| ("For", tenant)));
    let ask = Confirm {
        section: Section::Tokens,
        heading: "Take this token back?".to_owned(),
        facts,
        happens: vec![
            "Whatever uses it is refused from the next request on.".to_owned(),
            "It cannot be given back; another one can be made.".to_owned(),
        ],
        fields: vec![],
        hidden: vec![],
        action: format!("/console/tokens/{}/revoke", row.token_id),
        button: "Take the token back",
        danger: true,
        back: "/console/tokens".to_owned(),
        error: None,
    };
    ask.page(&app, &staff)
}

/// Takes it back.
///
/// # Errors
/// `not_found`.
pub async fn revoke(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Operators)?;
    let (now, actor) = (app.clock.now(), sent.by.actor());
    sent.once
        .write(&app, "revoke token", token::FAMILY.to_owned(), async move |tx: &mut Tx| {
            let there = actions::token::revoke(tx, &id, now, &actor).await?;
            if there { Ok(Reply::no_content()) } else { Err(ApiCode::NotFound.into()) }
        })
        .await?;
    Ok(see_other("/console/tokens?done=token-revoked"))
}
