//! `/console/webhooks`: servers of others that are told what happens here; what they were told, and sent again.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::{DeliveryId, WebhookId};
use serde::Deserialize;

use super::confirm::Confirm;
use super::staff::draw_once;
use super::table::{Asked, Paged, Pager};
use super::tasks::{mendable, read};
use super::words::Chip;
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::webhooks;
use crate::api::webhooks::{DeliveryDocument, NewWebhook, WebhookDocument};
use crate::app::App;
use crate::auth::Scope;
use crate::problem::{ApiCode, Problem};
use crate::store::delivery::{DELIVERED, FAILED, WAITING};
use crate::web::visitor::{Fields, see_other};
use crate::web::{filters, page, page_as};
use crate::webhooks::catalogue::EVENTS;

#[derive(Template)]
#[template(path = "console/webhooks.html")]
struct WebhooksPage<'a> {
    frame: Frame,
    webhooks: Vec<WebhookDocument>,
    events: Vec<(&'static str, &'static str)>,
    operator: bool,
    typed: &'a Fields,
    error: Option<String>,
    once: String,
}

/// `/console/webhooks`
///
/// # Errors
/// `not_found` for whoever has none; a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    show(&app, &staff, query.as_deref(), &Fields::default(), None).await
}

async fn show(app: &App, staff: &Staff, query: Option<&str>, typed: &Fields, error: Option<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let all = staff.scope() == Scope::All;
    let told = EVENTS.iter().filter(|event| all || event.kind.is_publishers());
    let shown = WebhooksPage {
        frame: Frame::told(app, staff, Section::Webhooks, query),
        webhooks: webhooks::list(app, &staff.caller()).await?,
        events: told.map(|event| (event.name, event.says)).collect(),
        operator: staff.sees(Sees::Operators),
        typed,
        error,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// What the API answers with once.
#[derive(Deserialize)]
struct Made {
    secret: String,
    webhook: String,
}

#[derive(Template)]
#[template(path = "console/webhook-made.html")]
struct MadePage {
    frame: Frame,
    made: Made,
    again: bool,
}

/// Makes one, and shows its secret this once.
///
/// # Errors
/// As for [`list`].
pub async fn make(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    let fields = &sent.fields;
    let events = fields.text("events").split([',', ' ', '\n', '\r']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let wrong = |_| Problem::with(ApiCode::Unprocessable, "this is no ID of a publisher");
    let made = match fields.some("publisher").map(|id| id.to_owned().try_into().map_err(wrong)).transpose() {
        Ok(publisher) => {
            let new =
                NewWebhook { name: fields.text("name").trim().to_owned(), url: fields.text("url").trim().to_owned(), events, publisher };
            webhooks::create(&app, &sent.by.caller(), &sent.once, new).await
        }
        Err(problem) => Err(problem),
    };
    match made {
        Ok(reply) => made_page(&app, &sent.by, read(&reply)?, false),
        Err(problem) => show(&app, &sent.by, None, fields, Some(mendable(problem)?)).await,
    }
}

fn made_page(app: &App, staff: &Staff, made: Made, again: bool) -> Result<Response, Problem> {
    page(&MadePage { frame: Frame::new(app, staff, Section::Webhooks), made, again })
}

fn id(text: &str) -> Result<WebhookId, Problem> {
    text.parse().map_err(|_| ApiCode::NotFound.into())
}

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct WebhookPage {
    frame: Frame,
    webhook: WebhookDocument,
    state: String,
    deliveries: Vec<(DeliveryDocument, Chip)>,
    pager: Pager,
    once: String,
}

/// One, with what it was told.
///
/// # Errors
/// `not_found`.
pub async fn webhook(
    State(app): State<App>,
    staff: Staff,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    let id = id(&name)?;
    let webhook = webhooks::get(&app, &staff.caller(), id).await?;
    let asked = Asked::new(format!("/console/webhooks/{id}"), query.as_deref());
    let state = Some(asked.text("state")).filter(|state| [WAITING, DELIVERED, FAILED].contains(state)).unwrap_or_default().to_owned();
    let after = asked.after();
    let before = after.split_once('.').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned()))).unwrap_or((i64::MAX, String::new()));
    let only = Some(state.clone()).filter(|state| !state.is_empty());
    let rows = webhooks::deliveries(&app, &staff.caller(), id, only, before, asked.rows()).await?;
    let Paged { items, pager } = Paged::of(rows, &asked, |row| format!("{}.{}", row.created_at, row.id));
    let deliveries = items.into_iter().map(|row| (Chip::of(&row.state), DeliveryDocument::of(row, false))).map(|(chip, row)| (row, chip));
    page(&WebhookPage {
        frame: Frame::told(&app, &staff, Section::Webhooks, query.as_deref()),
        webhook,
        state,
        deliveries: deliveries.collect(),
        pager,
        once: draw_once(&app.rng),
    })
}

#[derive(Template)]
#[template(path = "console/delivery.html")]
struct DeliveryPage {
    frame: Frame,
    webhook: WebhookId,
    row: DeliveryDocument,
    chip: Chip,
    once: String,
}

/// What it was told once, byte for byte.
///
/// # Errors
/// `not_found`.
pub async fn delivery(
    State(app): State<App>,
    staff: Staff,
    Path((name, delivery)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    let (webhook, delivery): (_, DeliveryId) = (id(&name)?, delivery.parse().map_err(|_| ApiCode::NotFound)?);
    let row = webhooks::delivery(&app, &staff.caller(), webhook, delivery).await?;
    let (frame, chip) = (Frame::told(&app, &staff, Section::Webhooks, query.as_deref()), Chip::of(&row.state));
    page(&DeliveryPage { frame, webhook, row, chip, once: draw_once(&app.rng) })
}

/// Sends it again.
///
/// # Errors
/// `not_found`.
pub async fn resend(State(app): State<App>, Path((name, delivery)): Path<(String, String)>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    let (webhook, delivery): (_, DeliveryId) = (id(&name)?, delivery.parse().map_err(|_| ApiCode::NotFound)?);
    webhooks::resend(&app, &sent.by.caller(), &sent.once, webhook, delivery).await?;
    Ok(see_other(&format!("/console/webhooks/{webhook}/deliveries/{delivery}?done=resent")))
}

/// Sends a test.
///
/// # Errors
/// `not_found`.
pub async fn test(State(app): State<App>, Path(name): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    let webhook = id(&name)?;
    webhooks::test(&app, &sent.by.caller(), &sent.once, webhook).await?;
    Ok(see_other(&format!("/console/webhooks/{webhook}?done=tested")))
}

/// What is asked before something about one is done.
fn ask(webhook: &WebhookDocument, end: bool) -> Confirm {
    let id = webhook.webhook;
    let happens: &[&str] = if end {
        &["Nothing is sent to it any more, and what waits is dropped.", "It cannot be taken back; another one can be made."]
    } else {
        &["A new secret is drawn, and shown once.", "For a day, deliveries are signed with both, so that nothing is missed."]
    };
    Confirm {
        section: Section::Webhooks,
        heading: if end { "End this webhook?" } else { "Draw another secret?" }.to_owned(),
        facts: vec![("Name", webhook.name.clone()), ("Address", webhook.url.clone())],
        happens: happens.iter().map(|said| (*said).to_owned()).collect(),
        fields: vec![],
        hidden: vec![],
        action: format!("/console/webhooks/{id}/{}", if end { "end" } else { "rotate" }),
        button: if end { "End the webhook" } else { "Draw another secret" },
        danger: end,
        back: format!("/console/webhooks/{id}"),
        error: None,
    }
}

/// Asks before it is ended.
///
/// # Errors
/// `not_found`.
pub async fn end_form(State(app): State<App>, staff: Staff, Path(name): Path<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    ask(&webhooks::get(&app, &staff.caller(), id(&name)?).await?, true).page(&app, &staff)
}

/// Ends it.
///
/// # Errors
/// `not_found`.
pub async fn end(State(app): State<App>, Path(name): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    webhooks::end(&app, &sent.by.caller(), &sent.once, id(&name)?).await?;
    Ok(see_other("/console/webhooks?done=webhook-ended"))
}

/// Asks before another secret is drawn.
///
/// # Errors
/// `not_found`.
pub async fn rotate_form(State(app): State<App>, staff: Staff, Path(name): Path<String>) -> Result<Response, Problem> {
    staff.needs(Sees::Publishers)?;
    ask(&webhooks::get(&app, &staff.caller(), id(&name)?).await?, false).page(&app, &staff)
}

/// Draws it, and shows it this once.
///
/// # Errors
/// `not_found`.
pub async fn rotate(State(app): State<App>, Path(name): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Publishers)?;
    let reply = webhooks::rotate(&app, &sent.by.caller(), &sent.once, id(&name)?).await?;
    made_page(&app, &sent.by, read(&reply)?, true)
}
