//! `/operator/exchanges`: by state and age, one of them as it stands here and at the authority, and a refund.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::wire::UndoReason;
use counterfoil_core::{Money, RequestId, Timestamp};

use super::visitor::{Operator, Sent};
use super::{Desk, Section, frame};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::exchange::{self as steps, Undoing};
use crate::gateway::store::exchange::{ExchangeRow, State as Stands};
use crate::gateway::store::{account, listed};
use crate::gateway::web::words;
use crate::problem::{ApiCode, Problem};
use crate::web::console::confirm::{Confirm, Field};
use crate::web::console::staff::draw_once;
use crate::web::console::table::{Asked, Paged, Pager};
use crate::web::console::thing::{Cell, Link, Panel, Table, Thing};
use crate::web::console::words::Chip;
use crate::web::visitor::see_other;

/// A table of exchanges; with the names of their accounts where they are of many.
pub(super) fn shown(heading: &'static str, rows: &[ExchangeRow], pager: Pager, names: Option<&[String]>) -> Table {
    let mut columns = vec!["Title", "Price", "State", "Begun", "There since"];
    if names.is_some() {
        columns.push("Account");
    }
    let row = |(n, row): (usize, &ExchangeRow)| {
        let trouble = row.trouble.as_deref().map(Cell::text);
        let state = Cell::chip(words::chip(row.state));
        let mut cells = vec![
            Cell::text(&row.charge.name).to(format!("/operator/exchanges/{}", row.id)),
            Cell::text(row.charge.price.to_string()),
            trouble.map_or_else(|| state.clone(), |trouble| state.clone().below(trouble)),
            Cell::at(&rfc3339(row.created_at)),
            Cell::at(&rfc3339(row.changed_at)),
        ];
        if let Some(name) = names.and_then(|names| names.get(n)) {
            cells.push(Cell::text(name).to(format!("/operator/customers/{}", row.account)));
        }
        cells
    };
    Table { heading, columns, rows: rows.iter().enumerate().map(row).collect(), empty: "There are none.", pager }
}

/// `/operator/exchanges`: `state=` shows those of one state (`open`: all that are on their way), `older=` those that have stood there for so many
/// minutes.
///
/// # Errors
/// A failure of the database.
pub async fn list(State(desk): State<Desk>, by: Operator, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = Asked::new("/operator/exchanges", query.as_deref());
    let states: &[Stands] = match asked.text("state") {
        "open" => &[Stands::Reserved, Stands::Committing, Stands::Undoing],
        named => Stands::ALL.iter().find(|state| state.as_str() == named).map_or(&[], std::slice::from_ref),
    };
    let minutes: i64 = asked.text("older").parse().unwrap_or_default();
    let until = if minutes > 0 { Timestamp(desk.clock.now().0 - minutes.min(60 * 24 * 3650) * 60_000) } else { Timestamp(i64::MAX) };
    let (before, most) = (asked.after(), asked.rows());
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let mut rows = vec![];
        for row in listed::exchanges(tx, states, until, &before, most).await? {
            let name = account::find(tx, row.account).await?.map(|row| row.name).unwrap_or_default();
            rows.push((row, name));
        }
        Ok(rows)
    };
    let found = desk.db.read("operator's exchanges", read).await?;
    let Paged { items, pager } = Paged::of(found, &asked, |(row, _): &(ExchangeRow, _)| row.id.to_string());
    let (rows, names): (Vec<ExchangeRow>, Vec<String>) = items.into_iter().unzip();
    let stuck = desk.config.alerts.stuck_minutes;
    let mut actions = vec![
        Link::new("All", "/operator/exchanges"),
        Link::new("On their way", "/operator/exchanges?state=open"),
        Link::new(format!("Stuck for {stuck} minutes"), format!("/operator/exchanges?state=open&older={stuck}")),
    ];
    let one = |state: &Stands| Link::new(state.as_str(), format!("/operator/exchanges?state={}", state.as_str()));
    actions.extend(Stands::ALL.iter().map(one));
    let heading = if states.is_empty() { "All exchanges, newest first" } else { "Exchanges, newest first" };
    let tables = vec![shown(heading, &rows, pager, Some(&names))];
    let thing = Thing { kind: "People", heading: "Exchanges".to_owned(), actions, tables, ..Thing::default() };
    thing.page(frame(&desk, &by, Section::Exchanges, query.as_deref()))
}

async fn find(desk: &Desk, id: &str) -> Result<ExchangeRow, Problem> {
    let id = id.parse().map(RequestId).map_err(|_| ApiCode::NotFound)?;
    Ok(steps::find(desk, id).await?.ok_or(ApiCode::NotFound)?)
}

/// `/operator/exchanges/{exchange}`: as it stands here, and at the authority, which is asked now.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn show(State(desk): State<Desk>, by: Operator, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let of = row.account;
    let name = desk.db.read("operator's exchange", async move |tx: &mut Tx| account::find(tx, of).await).await?.map(|row| row.name);
    let there = match desk.authority.status(row.id).await {
        Ok(step) => Cell::chip(Chip::plain(step.state.as_str())),
        Err(error) => Cell::text(error.to_string()),
    };
    let mut actions = vec![];
    if row.state == Stands::Charged {
        actions.push(Link::new("Refund…", format!("/operator/exchanges/{}/refund", row.id)));
    }
    let thing = Thing {
        crumbs: vec![Link::new("Exchanges", "/operator/exchanges")],
        kind: "Exchange",
        heading: row.charge.name.clone(),
        id: Some(row.id.to_string()),
        chips: vec![words::chip(row.state)],
        actions,
        panels: vec![about(&row, &name.unwrap_or_default(), there), price(&row)],
        ..Thing::default()
    };
    thing.page(frame(&desk, &by, Section::Exchanges, query.as_deref()))
}

fn about(row: &ExchangeRow, name: &str, there: Cell) -> Panel {
    let mut facts = vec![
        ("ID at the authority", Cell::id(row.id)),
        ("State there", there),
        ("State here", Cell::chip(words::chip(row.state))),
        ("Account", Cell::text(name).to(format!("/operator/customers/{}", row.account))),
        ("Card", row.card.map_or_else(|| Cell::text(""), Cell::id)),
        ("Begun", Cell::at(&rfc3339(row.created_at))),
        ("State since", Cell::at(&rfc3339(row.changed_at))),
    ];
    if row.state.is_open() {
        facts.push(("Looked at again", Cell::at(&rfc3339(row.next_at)).below(Cell::text(format!("after {} tries", row.tries)))));
    }
    if let Some(trouble) = &row.trouble {
        facts.push(("In the way", Cell::text(trouble)));
    }
    if let Some((_, note)) = row.undo.as_ref().filter(|(_, note)| !note.is_empty()) {
        facts.push(("Why it is undone", Cell::text(note)));
    }
    Panel { heading: "Exchange", facts }
}

/// The price, the operator's part of it, and the gateway's.
fn parts(row: &ExchangeRow) -> [(&'static str, Money); 3] {
    let price = row.charge.price;
    let of = |amount| Money { amount, ..price };
    let ours = price.amount.saturating_sub(row.charge.operator_part);
    [("Price", price), ("Operator of the authority", of(row.charge.operator_part)), ("This gateway", of(ours))]
}

fn price(row: &ExchangeRow) -> Panel {
    let facts = parts(row).map(|(name, money)| (name, Cell::text(money.to_string())));
    let title = ("Title", Cell::text(&row.charge.name).below(Cell::id(&row.charge.title)));
    Panel { heading: "Price", facts: std::iter::once(title).chain(facts).collect() }
}

fn ask(row: &ExchangeRow, note: &str, error: Option<String>) -> Confirm {
    let path = format!("/operator/exchanges/{}", row.id);
    let [price, operator, ours] = parts(row).map(|(_, money)| money);
    Confirm {
        section: crate::web::console::Section::Things,
        heading: format!("Give {price} for {} back?", row.charge.name),
        facts: parts(row).map(|(name, money)| (name, money.to_string())).into(),
        happens: vec![
            "The authority ends exactly what was paid for: on its devices it is used no more.".to_owned(),
            format!("{price} go back to the account: {operator} from the operator's part, {ours} from this gateway's."),
            "Where the authority does not take it back, nothing changes.".to_owned(),
        ],
        fields: vec![Field {
            name: "note",
            label: "Why",
            value: note.to_owned(),
            help: "It stands in the books, and at the authority.",
            required: true,
            longest: 200,
        }],
        hidden: vec![],
        action: format!("{path}/refund"),
        button: "Give it back",
        danger: true,
        back: path,
        error,
    }
}

/// Asks before an exchange is undone, with what goes where.
///
/// # Errors
/// `not_found`, `conflict` for one that is not charged, or a failure of the database.
pub async fn refund_form(State(desk): State<Desk>, by: Operator, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    if row.state != Stands::Charged {
        return Err(Problem::with(
            ApiCode::Conflict,
            format!("the exchange is {}: only what is charged is given back", row.state.as_str()),
        ));
    }
    ask(&row, "", None).framed(frame(&desk, &by, Section::Exchanges, None), draw_once(&desk.rng))
}

/// Undoes it: the authority first, then the books. Again, it changes nothing.
///
/// # Errors
/// `not_found`, what the authority says where it does not take it back, or a failure of the database.
pub async fn refund(State(desk): State<Desk>, Path(id): Path<String>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let again = |error: String| {
        let note = fields.text("note");
        ask(&row, note, Some(error)).framed(frame(&desk, &by, Section::Exchanges, None), draw_once(&desk.rng))
    };
    let Some(note) = fields.some("note").filter(|note| note.chars().count() <= 200) else {
        return again("Say why, in 200 characters at most.".to_owned());
    };
    match steps::undo(&desk, row.id, UndoReason::Refund, note).await {
        Ok(Undoing::Done) => Ok(see_other(&format!("/operator/exchanges/{}?done=refunded", row.id))),
        Ok(Undoing::UnderWay(_)) => Ok(see_other(&format!("/operator/exchanges/{}?done=under-way", row.id))),
        Err(problem) if problem.status.is_client_error() => again(problem.to_string()),
        Err(problem) => Err(problem),
    }
}
