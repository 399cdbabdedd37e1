//! `/operator` and `/operator/alerts`: how things stand, and what somebody should know.

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::visitor::Operator;
use super::{Desk, Section, frame};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::books;
use crate::gateway::store::alert::{self, Alert};
use crate::gateway::store::{customer, exchange, mail};
use crate::gateway::web::exchanges::place;
use crate::problem::Problem;
use crate::web::console::table::{Asked, Paged};
use crate::web::console::thing::{Cell, Link, Notice, Panel, Table, Thing};
use crate::web::console::words::Chip;
use crate::web::written;

/// `/operator`
///
/// # Errors
/// A failure of the database.
pub async fn show(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let read = async |tx: &mut Tx| -> Result<_, DbError> {
        let (accounts, under_way, checked) = (customer::counted(tx).await?, exchange::under_way(tx).await?, books::last_check(tx).await?);
        Ok((alert::open(tx).await?, accounts, under_way, checked, mail::waiting(tx).await?))
    };
    let (alerts, (accounts, closed), (open, oldest), checked, (waiting, refused)) = desk.db.read("operator's overview", read).await?;
    let checked = match checked {
        None => Cell::text("never"),
        Some(checked) => {
            let chip = if checked.wrong == 0 { Chip::good("right") } else { Chip::bad(format!("wrong in {} places", checked.wrong)) };
            Cell::chip(chip).to("/operator/books").below(Cell::at(&rfc3339(checked.at)))
        }
    };
    let mails = match (desk.relay.is_some(), refused) {
        (false, _) => "none is sent: [mail] is not configured".to_owned(),
        (true, 0) => format!("{waiting} wait"),
        (true, _) => format!("{waiting} wait, {refused} of them were refused once"),
    };
    let here = Panel {
        heading: "This gateway",
        facts: vec![
            ("Accounts", Cell::text(format!("{accounts}, {closed} of them closed")).to("/operator/customers")),
            ("Exchanges on their way", Cell::text(open.to_string()).to("/operator/exchanges?state=open")),
            ("The oldest since", Cell::maybe_at(oldest.map(rfc3339).as_deref())),
            ("Books", checked),
            ("Mail", Cell::text(mails)),
        ],
    };
    let notices = alerts.iter().map(|alert| Notice {
        tone: "bad",
        text: format!("{}: {}, since {}.", alert.kind.name(), alert.detail, written::moment(alert.since)),
        link: None,
    });
    let thing = Thing {
        kind: "Gateway",
        heading: desk.config.server.name.clone(),
        notices: notices.collect(),
        panels: vec![here, there(&desk)],
        ..Thing::default()
    };
    thing.page(frame(&desk, &by, Section::Overview, query.as_deref()))
}

fn there(desk: &Desk) -> Panel {
    let answers = if desk.authority.answers() { Chip::good("answers") } else { Chip::bad("does not answer") };
    let (name, until) = match desk.authority.identity() {
        Ok((name, _, until)) => (Cell::id(name), Cell::at(&rfc3339(until))),
        Err(error) => (Cell::text(error.to_string()), Cell::text("")),
    };
    Panel {
        heading: "Authority",
        facts: vec![
            ("Address", Cell::text(&desk.config.authority.url)),
            ("State", Cell::chip(answers)),
            ("This gateway there", name),
            ("Certificate until", until),
        ],
    }
}

/// `/operator/alerts`: all that were raised, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn alerts(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/alerts", query.as_deref());
    let ((at, before), most) = (place(&asked.after()), asked.rows());
    let found = desk.db.read("operator's alerts", async move |tx: &mut Tx| alert::list(tx, (at, &before), most).await).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |alert: &Alert| format!("{}.{}", alert.raised_at.0, alert.id));
    let rows = items.into_iter().map(|alert| {
        let state = if alert.over_at.is_some() { Chip::plain("over") } else { Chip::bad("open") };
        vec![
            Cell::text(alert.kind.name()).below(Cell::text(alert.detail)),
            Cell::chip(state),
            Cell::at(&rfc3339(alert.since)),
            Cell::maybe_at(alert.over_at.map(rfc3339).as_deref()),
        ]
    });
    let table = Table {
        heading: "Alerts",
        columns: vec!["What", "State", "Since", "Over"],
        rows: rows.collect(),
        empty: "There were none.",
        pager,
    };
    let told = match (desk.relay.is_some(), desk.config.alerts.to.is_empty()) {
        (true, false) => format!("By mail to {}.", desk.config.alerts.to.join(", ")),
        (true, true) => "Nobody is told by mail: [alerts] to is empty.".to_owned(),
        (false, _) => "Nobody is told by mail: [mail] is not configured.".to_owned(),
    };
    let thing = Thing {
        kind: "Gateway",
        heading: "Alerts".to_owned(),
        notices: vec![Notice { tone: "", text: told, link: None::<Link> }],
        tables: vec![table],
        ..Thing::default()
    };
    thing.page(frame(&desk, &by, Section::Alerts, query.as_deref()))
}
