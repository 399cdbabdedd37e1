//! `/console/orders`: purchases, newest first, and one of them.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::rules::order::OrderState;
use counterfoil_core::{OrderId, Timestamp, UserId};

use super::table::{Asked, Paged, whole};
use super::thing::{Cell, Link, Panel, Table, Thing};
use super::timeline::{self, Timeline};
use super::users::{charge, order_state};
use super::{Frame, Section, Sees, Staff, words};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::order::{self, OrderRow, Ordered};
use crate::store::{find, user};

const STATES: [(OrderState, &str); 4] =
    [(OrderState::Open, "Being granted"), (OrderState::Due, "To be paid"), (OrderState::Paid, "Paid"), (OrderState::Ended, "Ended")];

/// `/console/orders`: a page at a time; `state=` shows those of one state.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn list(State(app): State<App>, staff: Staff, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Orders)?;
    let asked = Asked::new("/console/orders", query.as_deref());
    let state = STATES.iter().map(|(state, _)| *state).find(|state| state.as_str() == asked.text("state"));
    let read = {
        let app = app.clone();
        move |after: String, rows: i64| read(app.clone(), state, after, rows)
    };
    if asked.wants_table() {
        return whole("orders", ["order", "title", "price", "state", "user", "device", "at"], read, cursor, cells);
    }
    let Paged { items, pager } = Paged::of(read(asked.after(), asked.rows()).await?, &asked, cursor).with_csv(&asked);
    let rows = items.iter().map(|row| {
        vec![
            Cell::id(row.order).to(format!("/console/orders/{}/{}", row.user, row.order)),
            Cell::id(&row.title).to(format!("/console/titles/{}", row.title)),
            Cell::text(charge(row)),
            Cell::chip(order_state(row.state)),
            Cell::id(row.user).to(format!("/console/users/{}", row.user)),
            Cell::at(&words::at(row.created_at)),
        ]
    });
    let table = Table {
        heading: STATES.iter().find(|(known, _)| Some(*known) == state).map_or("All orders", |(_, name)| name),
        columns: vec!["Order", "Title", "Price", "State", "User", "When"],
        rows: rows.collect(),
        empty: "There are none.",
        pager,
    };
    let mut actions: Vec<Link> =
        STATES.iter().map(|(state, name)| Link::new(*name, format!("/console/orders?state={}", state.as_str()))).collect();
    actions.insert(0, Link::new("All", "/console/orders"));
    let thing = Thing { kind: "People", heading: "Orders".to_owned(), actions, tables: vec![table], ..Thing::default() };
    thing.page(Frame::told(&app, &staff, Section::Orders, query.as_deref()))
}

async fn read(app: App, state: Option<OrderState>, after: String, rows: i64) -> Result<Vec<OrderRow>, DbError> {
    let before = place(&after);
    app.db.read("console orders", async move |tx: &mut Tx| find::orders(tx, state, &before, rows).await).await
}

fn cursor(row: &OrderRow) -> String {
    format!("{}.{}", row.created_at.0, row.order)
}

/// As a row of CSV.
fn cells(row: &OrderRow) -> [String; 7] {
    let (order, user, device) = (row.order.to_string(), row.user.to_string(), row.device.to_string());
    [order, row.title.to_string(), charge(row), row.state.as_str().to_owned(), user, device, words::at(row.created_at)]
}

/// Where a page of orders begins; the newest where that cannot be read.
fn place(after: &str) -> (Timestamp, String) {
    let read = after.split_once('.').and_then(|(at, order)| Some((Timestamp(at.parse().ok()?), order.to_owned())));
    read.unwrap_or((Timestamp(i64::MAX), String::new()))
}

/// `/console/orders/{user_id}/{order_id}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn show(
    State(app): State<App>,
    staff: Staff,
    Path((user, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    staff.needs(Sees::Orders)?;
    let (user, id): (UserId, OrderId) = (user.parse().map_err(|_| ApiCode::NotFound)?, id.parse().map_err(|_| ApiCode::NotFound)?);
    let before = timeline::before(query.as_deref());
    let (ordered, records) = app
        .db
        .read("console order", async move |tx: &mut Tx| -> Result<_, Problem> {
            let ordered = order::find(tx, user, id).await?.ok_or(ApiCode::NotFound)?;
            Ok((ordered, timeline::read_naming(tx, &user::family(user), &id.to_string(), before).await?))
        })
        .await?;
    let path = format!("/console/orders/{user}/{id}");
    let mut actions = vec![];
    if staff.sees(Sees::Operators) && matches!(ordered.order.state, OrderState::Due | OrderState::Paid) {
        actions.push(Link::new("Refund…", format!("{path}/refund")));
        actions.push(Link::new("The payment was taken back…", format!("{path}/chargeback")));
    }
    let thing = Thing {
        crumbs: vec![Link::new("Orders", "/console/orders")],
        kind: "Order",
        heading: ordered.name.clone(),
        id: Some(id.to_string()),
        chips: vec![order_state(ordered.order.state)],
        actions,
        panels: vec![about(&ordered), terms(&ordered)],
        timeline: Some(Timeline::of(records, before, &path)),
        ..Thing::default()
    };
    thing.page(Frame::told(&app, &staff, Section::Orders, query.as_deref()))
}

fn about(ordered: &Ordered) -> Panel {
    let row = &ordered.order;
    let at = |moment: Option<Timestamp>| Cell::maybe_at(moment.map(words::at).as_deref());
    let ended = row.reason.as_deref().map_or_else(|| at(row.ended_at), |reason| at(row.ended_at).below(Cell::text(reason)));
    Panel {
        heading: "Order",
        facts: vec![
            ("User", Cell::id(row.user).to(format!("/console/users/{}", row.user))),
            ("Title", Cell::text(&ordered.name).to(format!("/console/titles/{}", row.title))),
            ("Device", Cell::id(row.device).to(format!("/console/devices/{}", row.device))),
            ("Price", Cell::text(charge(row))),
            ("Payment", Cell::text(row.payment.as_str())),
            ("Ordered", Cell::at(&words::at(row.created_at)).below(Cell::text(format!("by {}", words::actor(&row.actor))))),
            ("Paid", at(row.paid_at)),
            ("Ended", ended),
        ],
    }
}

fn terms(ordered: &Ordered) -> Panel {
    let policy = &ordered.policy;
    Panel {
        heading: "Terms",
        facts: vec![
            ("Entitlement", ordered.entitlement.map_or_else(|| Cell::text("that of its medium"), Cell::id)),
            ("Devices at once", Cell::text(policy.devices.to_string())),
            ("Transfers", Cell::text(format!("{} in {} days", policy.transfers, policy.transfer_days))),
            ("Refund", Cell::text(format!("{} days", policy.refund_days))),
            ("Ends", Cell::maybe_at(ordered.expires_at.map(words::at).as_deref())),
        ],
    }
}
