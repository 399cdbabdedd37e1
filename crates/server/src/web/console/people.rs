//! `/console/staff`: who works here; added with a one-time link, and ended.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use counterfoil_core::UserId;

use super::confirm::{Confirm, Field};
use super::staff::draw_once;
use super::table::{Asked, Paged, Pager};
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Sent, Staff};
use crate::actions::staff::{self as work, Link, New, ROLES};
use crate::app::App;
use crate::auth::Role;
use crate::db::Tx;
use crate::idempotency::Reply;
use crate::problem::{ApiCode, Problem};
use crate::store::staff::{self as store, Listed, StaffRow};
use crate::store::user;
use crate::web::page_as;
use crate::web::visitor::{Fields, see_other};

/// Somebody as the list shows them.
struct Row {
    staff: StaffRow,
    role: &'static str,
    email: Option<String>,
    state: Chip,
    /// Nobody ends their own work.
    is_me: bool,
}

#[derive(Template)]
#[template(path = "console/staff.html")]
struct StaffPage<'a> {
    frame: Frame,
    rows: Vec<Row>,
    pager: Pager,
    error: Option<String>,
    /// Shown once.
    made: Option<&'a Made>,
    roles: Vec<(&'static str, &'static str)>,
    typed: &'a Fields,
    once: String,
}

/// A link that was made.
#[derive(serde::Serialize, serde::Deserialize)]
struct Made {
    name: String,
    link: String,
}

/// `/console/staff`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    staff_page(&app, &staff, query.as_deref(), &Fields::default(), None, None).await
}

async fn staff_page(
    app: &App,
    staff: &Staff,
    query: Option<&str>,
    typed: &Fields,
    made: Option<&Made>,
    error: Option<String>,
) -> Result<Response, Problem> {
    let asked = Asked::new("/console/staff", query);
    let (after, rows) = (asked.after(), asked.rows());
    let found = app.db.read("console staff", async move |tx: &mut Tx| store::list(tx, &after, rows).await).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |listed: &Listed| listed.staff.id.to_string());
    let me = staff.id();
    let rows = items.into_iter().map(|Listed { staff, email }| Row {
        is_me: staff.id == me,
        role: words::role(staff.role),
        state: match (&staff.ended_at, &email) {
            (Some(_), _) => Chip::bad("ended"),
            (None, Some(_)) => Chip::good("active"),
            (None, None) => Chip::warn("link not followed"),
        },
        staff,
        email,
    });
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let shown = StaffPage {
        frame: Frame::told(app, staff, Section::Staff, query),
        rows: rows.collect(),
        pager,
        error,
        made,
        roles: ROLES.iter().map(|role| (role.as_str(), words::role(*role))).collect(),
        typed,
        once: draw_once(&app.rng),
    };
    page_as(status, &shown)
}

/// Adds somebody; shows the link, once.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn add(State(app): State<App>, sent: Sent) -> Result<Response, Problem> {
    let (by, fields) = (&sent.by, &sent.fields);
    by.needs(Sees::Operators)?;
    let role = Role::parse(fields.text("role")).unwrap_or(Role::User);
    let new = New { role, tenant: fields.some("tenant").map(str::to_owned), name: fields.text("name").to_owned() };
    let new = match new.check() {
        Ok(new) => new,
        Err(problem) => return staff_page(&app, by, None, fields, None, problem.detail).await,
    };
    let (now, actor) = (app.clock.now(), by.actor());
    let id = UserId::from_bytes(sent.once.id().unwrap_or_else(|| app.rng.bytes()));
    let (link, base) = (Link::draw(id, now, &app.rng), app.urls.first().cloned().unwrap_or_default());
    let added = sent
        .once
        .write(&app, "add staff", user::family(id), async move |tx: &mut Tx| {
            let row = work::add_within(tx, &new, &link, &actor, now).await?;
            Ok(Reply::created(&Made { name: row.name, link: link.reveal(&base) }))
        })
        .await;
    made(&app, by, fields, added).await
}

/// Makes another link for somebody; shows it, once.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn link(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    sent.by.needs(Sees::Operators)?;
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (now, actor) = (app.clock.now(), sent.by.actor());
    let (link, base) = (Link::draw(id, now, &app.rng), app.urls.first().cloned().unwrap_or_default());
    let linked = sent
        .once
        .write(&app, "link staff", user::family(id), async move |tx: &mut Tx| {
            let row = work::link_within(tx, &link, &actor, now).await?;
            Ok(Reply::created(&Made { name: row.name, link: link.reveal(&base) }))
        })
        .await;
    made(&app, &sent.by, &Fields::default(), linked).await
}

async fn made(app: &App, by: &Staff, typed: &Fields, reply: Result<Reply, Problem>) -> Result<Response, Problem> {
    match reply {
        Ok(reply) => {
            let made: Made = serde_json::from_slice(&reply.body).map_err(Problem::internal)?;
            staff_page(app, by, None, &Fields::default(), Some(&made), None).await
        }
        Err(problem) if problem.status == StatusCode::UNPROCESSABLE_ENTITY => {
            staff_page(app, by, None, typed, None, problem.detail.or(Some(problem.title))).await
        }
        Err(problem) => Err(problem),
    }
}

fn ask(row: &StaffRow, error: Option<String>, reason: &str) -> Confirm {
    Confirm {
        section: Section::Staff,
        heading: format!("End the work of {}?", row.name),
        facts: vec![("Role", words::role(row.role).to_owned()), ("ID", row.id.to_string())],
        happens: vec![
            "They are signed out in every browser, at once.".to_owned(),
            "They cannot sign in any more, and no link lets them in again.".to_owned(),
            "What they did stays in the audit log, under their ID.".to_owned(),
        ],
        fields: vec![Field::reason(reason)],
        hidden: vec![],
        action: format!("/console/staff/{}/end", row.id),
        button: "End their work here",
        danger: true,
        back: "/console/staff".to_owned(),
        error,
    }
}

async fn colleague(app: &App, by: &Staff, id: &str) -> Result<StaffRow, Problem> {
    by.needs(Sees::Operators)?;
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let row = app.db.read("colleague", async move |tx: &mut Tx| store::live(tx, id).await).await?.ok_or(ApiCode::NotFound)?;
    if row.id == by.id() {
        return Err(Problem::with(ApiCode::Conflict, "nobody ends their own work here: another operator does"));
    }
    Ok(row)
}

/// Asks before somebody's work ends.
///
/// # Errors
/// `not_found`, `conflict` for oneself, or a failure of the database.
pub async fn end_form(State(app): State<App>, staff: Staff, Path(id): Path<String>) -> Result<Response, Problem> {
    ask(&colleague(&app, &staff, &id).await?, None, "").page(&app, &staff)
}

/// Ends somebody's work here.
///
/// # Errors
/// `not_found`, `conflict` for oneself, or a failure of the database.
pub async fn end(State(app): State<App>, Path(id): Path<String>, sent: Sent) -> Result<Response, Problem> {
    let row = colleague(&app, &sent.by, &id).await?;
    let Some(reason) = sent.fields.some("reason").filter(|reason| reason.chars().count() <= 200).map(str::to_owned) else {
        return ask(&row, Some("Say why, in 200 characters at most.".to_owned()), sent.fields.text("reason")).page(&app, &sent.by);
    };
    let (now, actor, id) = (app.clock.now(), sent.by.actor(), row.id);
    sent.once
        .write(&app, "end staff", user::family(id), async move |tx: &mut Tx| {
            work::end_within(tx, id, &reason, &actor, now).await?;
            Ok(Reply::no_content())
        })
        .await?;
    Ok(see_other("/console/staff?done=staff-ended"))
}
