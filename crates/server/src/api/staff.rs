//! `/v1/staff`: who works at the console; for the operator.

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::media::Reason;
use super::page::{Page, PageQuery, rfc3339};
use crate::actions::staff::{self, Link, New};
use crate::app::App;
use crate::auth::{Caller, Role};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::staff::{Listed, StaffRow, list as list_rows};
use crate::store::user;

/// Somebody to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStaff {
    /// `operator`, `publisher`, `repair`, `support` or `shop`.
    role: Role,
    /// The publisher's ID, where the role is `publisher`.
    #[serde(default)]
    tenant: Option<String>,
    /// What they are called, 1 to 100 characters.
    name: String,
}

/// Somebody who works at the console.
#[derive(Serialize, ToSchema)]
pub struct StaffDocument {
    /// Names them.
    #[schema(value_type = String)]
    id: UserId,
    /// What they may do.
    role: Role,
    /// For which publisher.
    tenant: Option<String>,
    /// What they are called.
    name: String,
    /// What they sign in with; null until they have followed their link.
    email: Option<String>,
    /// Since when.
    created_at: String,
    /// Since when no more.
    ended_at: Option<String>,
}

impl StaffDocument {
    fn of(row: StaffRow, email: Option<String>) -> Self {
        let StaffRow { id, role, tenant, name, created_at, ended_at, .. } = row;
        Self { id, role, tenant, name, email, created_at: rfc3339(created_at.0), ended_at: ended_at.map(|at| rfc3339(at.0)) }
    }
}

/// Somebody with the link that lets them set up what they sign in with.
#[derive(Serialize, ToSchema)]
pub struct LinkedStaff {
    /// Who.
    #[serde(flatten)]
    about: StaffDocument,
    /// To be opened by them, once; never shown again.
    link: String,
    /// Until when the link is good.
    link_expires_at: String,
}

impl LinkedStaff {
    fn of(app: &App, row: StaffRow, link: &Link) -> Self {
        let base = app.urls.first().map_or("", String::as_str);
        Self { about: StaffDocument::of(row, None), link: link.reveal(base), link_expires_at: rfc3339(link.expires_at.0) }
    }
}

/// Lists everybody, those who have ended included.
#[utoipa::path(
    get, path = "/v1/staff", tag = "staff", operation_id = "list_staff", params(PageQuery),
    responses((status = 200, body = Page<StaffDocument>)),
)]
pub async fn list(State(app): State<App>, Query(query): Query<PageQuery>) -> Result<Json<Page<StaffDocument>>, Problem> {
    let (after, rows) = (query.after(), query.rows());
    let found = app.db.read("list_staff", async move |tx: &mut Tx| list_rows(tx, &after, rows).await).await?;
    let cursor = |listed: &Listed| listed.staff.id.to_string();
    Ok(Json(Page::of(found, &query, cursor, |listed| StaffDocument::of(listed.staff, listed.email))))
}

/// Adds somebody, with a link that is good for 24 hours, once.
#[utoipa::path(
    post, path = "/v1/staff", tag = "staff", operation_id = "add_staff", request_body = NewStaff,
    responses((status = 201, body = LinkedStaff), (status = 422)),
)]
pub async fn add(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewStaff>) -> Result<Reply, Problem> {
    let new = New { role: new.role, tenant: new.tenant, name: new.name }.check()?;
    let (now, actor) = (app.clock.now(), caller.actor());
    let id = UserId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes()));
    let link = Link::draw(id, now, &app.rng);
    let shown = app.clone();
    once.write(&app, "add staff", user::family(id), async move |tx: &mut Tx| {
        let row = staff::add_within(tx, &new, &link, &actor, now).await?;
        Ok(Reply::created(&LinkedStaff::of(&shown, row, &link)))
    })
    .await
}

/// Makes another link, in the place of the last one. Following it replaces everything that they signed in with before.
#[utoipa::path(
    post, path = "/v1/staff/{id}/link", tag = "staff", operation_id = "link_staff",
    params(("id" = String, Path, description = "Who")),
    responses((status = 201, body = LinkedStaff), (status = 404)),
)]
pub async fn link(State(app): State<App>, caller: Caller, once: Once, Path(id): Path<String>) -> Result<Reply, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (now, actor) = (app.clock.now(), caller.actor());
    let (link, shown) = (Link::draw(id, now, &app.rng), app.clone());
    once.write(&app, "link staff", user::family(id), async move |tx: &mut Tx| {
        let row = staff::link_within(tx, &link, &actor, now).await?;
        Ok(Reply::created(&LinkedStaff::of(&shown, row, &link)))
    })
    .await
}

/// Ends somebody's work at the console. They are signed out at once.
#[utoipa::path(
    post, path = "/v1/staff/{id}/end", tag = "staff", operation_id = "end_staff", request_body = Reason,
    params(("id" = String, Path, description = "Who")),
    responses((status = 204), (status = 404)),
)]
pub async fn end(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let (now, actor) = (app.clock.now(), caller.actor());
    once.write(&app, "end staff", user::family(id), async move |tx: &mut Tx| {
        let there = staff::end_within(tx, id, &reason.reason, &actor, now).await?;
        if there { Ok(Reply::no_content()) } else { Err(ApiCode::NotFound.into()) }
    })
    .await
}
