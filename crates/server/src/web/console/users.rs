//! `/console/users/{user_id}`: a user: person, card, devices, drives, what they hold, what was exchanged, refused and done.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use counterfoil_core::UserId;
use counterfoil_core::rules::order::OrderState;

use super::thing::{Cell, Link, Notice, Panel, Table, Thing};
use super::timeline::{self, Event, Timeline};
use super::words::{self, Chip};
use super::{Frame, Section, Sees, Staff};
use crate::actions::entry;
use crate::api::entries::document::{DeviceOfEntry, EntryDocument, HeldTitle, RefusalDocument};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::account::{self, AccountRow};
use crate::store::audit_log::Record;
use crate::store::order::{self, Ordered};
use crate::store::user;

/// Rows of a table on the page; what is older is found by itself.
const SHOWN: usize = 100;

/// What the page is made of besides the entry.
struct Beside {
    account: Option<AccountRow>,
    orders: Vec<Ordered>,
    records: Vec<Record>,
}

/// `/console/users/{user_id}`
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn show(State(app): State<App>, staff: Staff, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    staff.needs(Sees::Entries)?;
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let entry = entry::load(&app, id).await?.ok_or(ApiCode::NotFound)?;
    let (before, with_orders) = (timeline::before(query.as_deref()), staff.sees(Sees::Orders));
    let beside = app
        .db
        .read("console user", async move |tx: &mut Tx| -> Result<Beside, Problem> {
            let account = account::find(tx, id).await?;
            let orders = if with_orders { order::of_user(tx, id).await? } else { vec![] };
            Ok(Beside { account, orders, records: timeline::read(tx, &user::family(id), before).await? })
        })
        .await?;
    let path = format!("/console/users/{id}");
    let mut thing = thing(&staff, &entry, &beside);
    thing.timeline = Some(Timeline::of(beside.records, before, &path));
    thing.page(Frame::told(&app, &staff, Section::Things, query.as_deref()))
}

fn thing(staff: &Staff, entry: &EntryDocument, beside: &Beside) -> Thing {
    let id = entry.user_id;
    let name = entry.person.as_ref().map(|person| person.name.clone());
    let mut tables = vec![devices(staff, entry), drives(entry), holds(staff, entry), licenses(staff, entry)];
    if staff.sees(Sees::Orders) {
        tables.push(orders(id, &beside.orders));
    }
    tables.extend([repairs(entry), reissues(staff, entry)]);
    Thing {
        kind: "User",
        heading: name.unwrap_or_else(|| id.to_string()),
        id: entry.person.is_some().then(|| id.to_string()),
        chips: chips(entry),
        actions: actions(staff, id),
        notices: notices(entry),
        panels: vec![person(entry, beside), registration(entry)],
        tables,
        refused: Some(entry.refusals.iter().map(refusal).collect()),
        ..Thing::default()
    }
}

fn chips(entry: &EntryDocument) -> Vec<Chip> {
    let card = entry.card.as_ref().filter(|card| card.dead).map(|_| Chip::bad("card is dead"));
    let state = if entry.holder.is_some() { Chip::good("registered") } else { Chip::warn("not registered yet") };
    [Some(state), card].into_iter().flatten().collect()
}

fn actions(staff: &Staff, id: UserId) -> Vec<Link> {
    let mut actions = vec![];
    if staff.sees(Sees::Repairers) {
        actions.push(Link::new("Exchange a device or drive…", format!("/console/users/{id}/exchange")));
        actions.push(Link::new("Replace the card…", format!("/console/users/{id}/reissue")));
    }
    if staff.sees(Sees::Operators) {
        actions.push(Link::new("Erase the person…", format!("/console/users/{id}/erase")));
    }
    actions
}

fn notices(entry: &EntryDocument) -> Vec<Notice> {
    let waiting = entry.reissues.iter().filter(|asked| asked.state == "waiting");
    let mut notices: Vec<Notice> = waiting
        .map(|asked| Notice {
            tone: "warn",
            text: format!("A new card was asked for on {} (UTC), and waits for a repair centre.", words::moment(&asked.at)),
            link: Some(Link::new("Lost cards", "/console/reissues")),
        })
        .collect();
    if entry.exchanges.left == 0 {
        let from = entry.exchanges.next_at.as_deref().map(|at| format!(" before {} (UTC)", words::moment(at))).unwrap_or_default();
        notices.push(Notice {
            tone: "warn",
            text: format!("The policy allows no further exchange{from}. An operator may override it."),
            link: None,
        });
    }
    notices
}

fn person(entry: &EntryDocument, beside: &Beside) -> Panel {
    let person = entry.person.as_ref();
    let account = match &beside.account {
        None => Cell::text("none"),
        Some(account) => {
            let confirmed = if account.confirmed_at.is_some() { Chip::good("confirmed") } else { Chip::warn("not confirmed") };
            Cell::text(&account.email).below(Cell::chip(confirmed))
        }
    };
    Panel {
        heading: "Person",
        facts: vec![
            ("Name", Cell::some(person.map(|person| person.name.as_str()))),
            ("E-mail", Cell::some(person.and_then(|person| person.email.as_deref()))),
            ("Address", Cell::some(person.and_then(|person| person.address.as_deref()))),
            ("Account", account),
        ],
    }
}

fn registration(entry: &EntryDocument) -> Panel {
    let card = match &entry.card {
        Some(card) => {
            let state = if card.dead { Chip::bad("dead") } else { Chip::good("live") };
            Cell::id(card.card_id).to(format!("/console/cards/{}", card.card_id)).below(Cell::chip(state))
        }
        None => Cell::text("none"),
    };
    let keys = match entry.holder {
        Some("card") => "on the card",
        Some("device") => "on each device",
        Some("drive") => "on the drive",
        _ => "nowhere yet: not registered",
    };
    Panel {
        heading: "Entry",
        facts: vec![
            ("User ID", Cell::id(entry.user_id)),
            ("Card", card),
            ("Keys", Cell::text(keys)),
            ("Generation", Cell::text(entry.generation.to_string())),
            ("Exchanges left", Cell::text(entry.exchanges.left.to_string())),
        ],
    }
}

/// A device as people know it.
pub(super) fn called(device: &DeviceOfEntry) -> String {
    let made = [&device.device.maker, &device.device.model].into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
    match (&device.device.name, made.is_empty()) {
        (Some(name), true) => name.clone(),
        (Some(name), false) => format!("{name} ({made})"),
        (None, false) => made,
        (None, true) => "Without a name".to_owned(),
    }
}

/// How a device of an entry stands.
pub(super) fn device_state(device: &DeviceOfEntry) -> Chip {
    if device.exchanged { Chip::bad("exchanged") } else { Chip::of(device.device.state) }
}

fn devices(staff: &Staff, entry: &EntryDocument) -> Table {
    let rows = entry.devices.iter().map(|device| {
        let id = device.device.device_id;
        let exchange = match staff.sees(Sees::Repairers) && device.device.state == "registered" {
            true => Cell::text("Exchange…").to(format!("/console/users/{}/exchange?kind=device&old={id}", entry.user_id)),
            false => Cell::text(""),
        };
        vec![
            Cell::text(called(device)).below(Cell::id(id).to(format!("/console/devices/{id}"))),
            Cell::chip(device_state(device)),
            Cell::at(&device.device.since),
            exchange,
        ]
    });
    let columns = vec!["Device", "State", "Since", ""];
    Table { heading: "Devices", columns, rows: rows.collect(), empty: "No device is registered or expected.", ..Table::default() }
}

fn drives(entry: &EntryDocument) -> Table {
    let rows = entry.drives.iter().map(|drive| {
        let id = drive.drive_id;
        vec![Cell::id(id).to(format!("/console/drives/{id}")), Cell::at(&drive.since)]
    });
    Table { heading: "Drives", columns: vec!["Drive", "Since"], rows: rows.collect(), empty: "No drive is registered.", ..Table::default() }
}

/// Where something came from.
fn source(held: &HeldTitle, user: UserId, sees_orders: bool) -> Cell {
    match (&held.medium_id, held.order_id) {
        (Some(medium), _) => Cell::text("Medium").below(Cell::id(medium).to(format!("/console/media/{}", encoded(medium.as_str())))),
        (None, Some(order)) => Cell::text("Order").below(Cell::id(order).to_if(sees_orders, format!("/console/orders/{user}/{order}"))),
        (None, None) => Cell::text("Given"),
    }
}

fn holds(staff: &Staff, entry: &EntryDocument) -> Table {
    let catalogue = staff.sees(Sees::Catalogue);
    let rows = entry.holds.iter().take(SHOWN).map(|held| {
        let bound = match (held.device_id, held.drive_id) {
            (Some(device), Some(drive)) => Cell::id(device).below(Cell::id(drive)),
            (Some(device), None) => Cell::id(device),
            (None, Some(drive)) => Cell::id(drive),
            (None, None) => Cell::text(""),
        };
        vec![
            Cell::text(&held.name).to_if(catalogue, format!("/console/titles/{}", held.title)),
            source(held, entry.user_id, staff.sees(Sees::Orders)),
            bound,
            Cell::chip(Chip::of(&held.state)),
            Cell::at(&held.since),
        ]
    });
    let columns = vec!["Title", "From", "Bound to", "State", "Since"];
    Table { heading: "What they own", columns, rows: rows.collect(), empty: "They own nothing yet.", ..Table::default() }
}

fn licenses(staff: &Staff, entry: &EntryDocument) -> Table {
    let rows = entry.licenses.iter().take(SHOWN).map(|license| {
        let (user, id) = (entry.user_id, license.license_id);
        let revoke = match staff.sees(Sees::Operators) && license.state != "ended" {
            true => Cell::text("Revoke…").to(format!("/console/users/{user}/licenses/{id}/revoke")),
            false => Cell::text(""),
        };
        vec![
            Cell::text(&license.name).below(Cell::id(id)),
            Cell::id(license.device_id).to(format!("/console/devices/{}", license.device_id)),
            Cell::chip(Chip::of(&license.state)),
            Cell::at(&license.since),
            revoke,
        ]
    });
    let columns = vec!["License of", "On device", "State", "Since", ""];
    Table { heading: "Licenses", columns, rows: rows.collect(), empty: "There are none: nothing was bought online.", ..Table::default() }
}

/// What an order costs, as people read it.
pub(super) fn charge(ordered: &order::OrderRow) -> String {
    match &ordered.charge {
        None => "trial".to_owned(),
        Some(money) if money.amount == 0 => "free".to_owned(),
        Some(money) => money.to_string(),
    }
}

/// How an order stands.
pub(super) fn order_state(state: OrderState) -> Chip {
    Chip::of(state.as_str())
}

fn orders(user: UserId, orders: &[Ordered]) -> Table {
    let rows = orders.iter().take(SHOWN).map(|ordered| {
        let row = &ordered.order;
        vec![
            Cell::text(&ordered.name).below(Cell::id(row.order).to(format!("/console/orders/{user}/{}", row.order))),
            Cell::text(charge(row)),
            Cell::chip(order_state(row.state)),
            Cell::at(&words::at(row.created_at)),
        ]
    });
    let columns = vec!["Order of", "Price", "State", "When"];
    Table { heading: "Orders", columns, rows: rows.collect(), empty: "They have ordered nothing.", ..Table::default() }
}

fn repairs(entry: &EntryDocument) -> Table {
    let rows = entry.repairs.iter().map(|repair| {
        let why = Cell::text(&repair.reason)
            .below(Cell::text(repair.reference.as_deref().map_or(String::new(), |number| format!("Reference {number}"))));
        let by = if repair.overridden { format!("{}, past the policy", words::actor(&repair.actor)) } else { words::actor(&repair.actor) };
        vec![
            Cell::text(repair.kind).below(Cell::id(repair.repair_id)),
            Cell::id(&repair.old),
            repair.new.as_ref().map_or_else(|| Cell::text("taken out"), Cell::id),
            why,
            Cell::text(by),
            Cell::at(&repair.at),
        ]
    });
    let columns = vec!["Exchanged", "Old", "New", "Why", "By", "When"];
    Table { heading: "Repairs", columns, rows: rows.collect(), empty: "Nothing was exchanged.", ..Table::default() }
}

fn reissues(staff: &Staff, entry: &EntryDocument) -> Table {
    let rows = entry.reissues.iter().map(|asked| {
        let card =
            asked.card_id.map_or_else(|| Cell::text("Card not known yet"), |card| Cell::id(card).to(format!("/console/cards/{card}")));
        let next = match staff.sees(Sees::Repairers) && asked.state == "waiting" {
            true => Cell::text("Decide…").to(format!("/console/users/{}/reissue", entry.user_id)),
            false => Cell::some(asked.reason.as_deref()),
        };
        vec![
            card.below(Cell::id(asked.reissue_id)),
            Cell::chip(Chip::of(asked.state)),
            Cell::some(asked.contact.as_deref()),
            Cell::at(&asked.at),
            next,
        ]
    });
    let columns = vec!["New card", "State", "Contact", "Asked", ""];
    Table { heading: "New cards", columns, rows: rows.collect(), empty: "No new card was asked for.", ..Table::default() }
}

fn refusal(refused: &RefusalDocument) -> Event {
    let RefusalDocument { at, family, seq, event, detail, .. } = refused;
    let moment = at.parse::<jiff::Timestamp>().map_or(0, |at| at.as_millisecond());
    let record = Record { seq: *seq, at: moment, actor: family.clone(), event: event.clone(), detail: detail.to_string(), hash: [0; 32] };
    Event { actor: None, ..Event::of(record, true) }
}

/// An ID of another system in an address.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
