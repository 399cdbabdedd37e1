//! What the operator does with an account: a link to a new password, close it, open it again.

use axum::extract::{Path, State};
use axum::response::Response;
use counterfoil_core::AccountId;

use super::customers::find;
use super::visitor::{Operator, Sent};
use super::{Desk, Section, frame};
use crate::db::Tx;
use crate::gateway::store::account::{self, AccountRow};
use crate::gateway::store::customer;
use crate::gateway::store::entry::{self, Link};
use crate::problem::{ApiCode, Problem};
use crate::web::console::confirm::Confirm;
use crate::web::console::staff::draw_once;
use crate::web::console::thing::{Cell, Link as Way, Notice, Panel, Thing};
use crate::web::visitor::see_other;

/// A confirming page about an account.
fn ask(row: &AccountRow, what: &str, heading: String, happens: Vec<String>, button: &'static str, danger: bool) -> Confirm {
    let path = format!("/operator/customers/{}", row.id);
    Confirm {
        section: crate::web::console::Section::Things,
        heading,
        facts: vec![("Account", row.name.clone()), ("ID", row.id.to_string())],
        happens,
        fields: vec![],
        hidden: vec![],
        action: format!("{path}/{what}"),
        button,
        danger,
        back: path,
        error: None,
    }
}

fn shown(desk: &Desk, by: &Operator, confirm: &Confirm) -> Result<Response, Problem> {
    confirm.framed(frame(desk, by, Section::Customers, None), draw_once(&desk.rng))
}

async fn open_one(desk: &Desk, id: &str) -> Result<AccountRow, Problem> {
    let row = find(desk, id).await?;
    if row.closed_at.is_some() {
        return Err(Problem::with(ApiCode::Conflict, "the account is closed"));
    }
    Ok(row)
}

/// Asks before a link is made.
///
/// # Errors
/// `not_found`, `conflict` for one that is closed, or a failure of the database.
pub async fn password_form(State(desk): State<Desk>, by: Operator, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = open_one(&desk, &id).await?;
    let happens = vec![
        "A link is shown, once, for you to hand to the account's owner. It is good for a day, and once.".to_owned(),
        "A link that was made before is good no more. The password from before stays good until the link is followed.".to_owned(),
        "Make sure that it is the owner who asks: whoever has the link has the account.".to_owned(),
    ];
    let heading = format!("Make a link to a new password for {}?", row.name);
    shown(&desk, &by, &ask(&row, "password", heading, happens, "Make a link", false))
}

/// Makes a link, and shows it once.
///
/// # Errors
/// `not_found`, `conflict` for one that is closed, or a failure of the database.
pub async fn password(State(desk): State<Desk>, Path(id): Path<String>, Sent { by, .. }: Sent) -> Result<Response, Problem> {
    let row = open_one(&desk, &id).await?;
    let (id, now, link) = (row.id, desk.clock.now(), Link::generate(&mut desk.rng.clone()));
    let kept = link.clone();
    let insert = async move |tx: &mut Tx| entry::insert_link(tx, &kept, Some(id), now).await;
    desk.db.write("link to a password", account::family(id), insert).await?;
    let base = desk.app.urls.first().map_or("", String::as_str);
    let facts = vec![("Link", Cell::id(format!("{base}/account/new-password?link={}", link.reveal())))];
    let thing = Thing {
        crumbs: vec![Way::new("Customers", "/operator/customers"), Way::new(&row.name, format!("/operator/customers/{id}"))],
        kind: "Account",
        heading: format!("A link for {}", row.name),
        notices: vec![Notice {
            tone: "warn",
            text: "It is shown this once. Hand it to the account's owner; it is good for a day.".to_owned(),
            link: None,
        }],
        panels: vec![Panel { heading: "New password", facts }],
        ..Thing::default()
    };
    thing.page(frame(&desk, &by, Section::Customers, None))
}

/// Asks before an account is closed.
///
/// # Errors
/// `not_found`, `conflict` for one that is closed, or a failure of the database.
pub async fn close_form(State(desk): State<Desk>, by: Operator, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = open_one(&desk, &id).await?;
    let happens = vec![
        "Its owner is signed out in every browser and terminal, at once, and does not get in any more.".to_owned(),
        "What it holds stays booked, and what was bought stays theirs.".to_owned(),
        "It can be opened again.".to_owned(),
    ];
    let heading = format!("Close the account {}?", row.name);
    shown(&desk, &by, &ask(&row, "close", heading, happens, "Close the account", true))
}

/// Closes an account; again, it changes nothing.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn close(State(desk): State<Desk>, Path(id): Path<String>, Sent { .. }: Sent) -> Result<Response, Problem> {
    let (id, now): (AccountId, _) = (find(&desk, &id).await?.id, desk.clock.now());
    desk.db.write("close account", account::family(id), async move |tx: &mut Tx| account::close(tx, id, now).await).await?;
    Ok(see_other(&format!("/operator/customers/{id}?done=closed")))
}

/// Asks before an account is opened again.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn open_form(State(desk): State<Desk>, by: Operator, Path(id): Path<String>) -> Result<Response, Problem> {
    let row = find(&desk, &id).await?;
    let happens = vec!["Its owner gets in with the password from before.".to_owned()];
    let heading = format!("Open the account {} again?", row.name);
    shown(&desk, &by, &ask(&row, "open", heading, happens, "Open the account", false))
}

/// Opens an account again; again, it changes nothing.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn open(State(desk): State<Desk>, Path(id): Path<String>, Sent { .. }: Sent) -> Result<Response, Problem> {
    let id = find(&desk, &id).await?.id;
    desk.db.write("open account", account::family(id), async move |tx: &mut Tx| customer::reopen(tx, id).await).await?;
    Ok(see_other(&format!("/operator/customers/{id}?done=opened")))
}
