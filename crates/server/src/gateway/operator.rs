//! Pages for whoever runs a gateway, on a listener of their own: customers, exchanges, what came in, books, settlement, alerts.
//!
//! A one-time link leads in ([`entrance`]); there is no password. They look as the authority's console does, whose tables, pages about one thing
//! and confirming pages they are made of. What moves money is shown with its amounts before it is done.

use std::ops::Deref;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use super::app::App;
use crate::metrics;
use crate::problem::{self, ProblemDetails};
use crate::router::layers;
use crate::web::console::entrance::Door;
use crate::web::console::{Frame, Group, icon, styles};
use crate::web::site::Site;
use crate::web::visitor::{Fields, see_other};
use crate::web::{self, Entry, assets};

pub mod books;
pub mod customer;
pub mod customers;
pub mod entrance;
pub mod exchanges;
pub mod money;
pub mod overview;
pub mod settlement;
pub mod visitor;

/// What the operator's pages work with: the gateway's parts, and how these pages are reached.
#[derive(Clone)]
pub struct Desk {
    app: App,
    urls: Vec<String>,
    tls: bool,
}

impl Desk {
    /// Of this gateway, served over TLS or not.
    pub fn new(app: App, tls: bool) -> Self {
        let urls = Some(app.config.operator.url.clone()).filter(|url| !url.is_empty()).into_iter().collect();
        Self { app, urls, tls }
    }

    /// What stands around a page before anybody is let in.
    fn door(&self) -> Door {
        Door { authority: self.app.config.server.name.clone(), home: "/operator", styles: styles(), icon: icon() }
    }
}

impl Deref for Desk {
    type Target = App;

    fn deref(&self) -> &App {
        &self.app
    }
}

impl Site for Desk {
    fn urls(&self) -> &[String] {
        &self.urls
    }

    fn has_tls(&self) -> bool {
        self.tls
    }

    fn guards(&self, _: &str) -> bool {
        true
    }

    fn problem(&self, _: &str, status: StatusCode, told: &ProblemDetails) -> Option<Response> {
        web::console_problem(self.door(), status, told)
    }
}

/// A line of the table: path, whether somebody must have been let in, whether forms are sent to it, handler.
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// Whether it is for the operator only.
    pub closed: bool,
    /// Whether a form is sent to it.
    pub takes_forms: bool,
    handlers: MethodRouter<Desk>,
}

/// Every page.
pub fn pages() -> Vec<Page> {
    let page = |path, closed, takes_forms, handlers| Page { path, closed, takes_forms, handlers };
    vec![
        page("/", false, false, get(async || see_other("/operator"))),
        page("/assets/{file}", false, false, get(assets::get)),
        page("/enter", false, true, get(entrance::form).post(entrance::enter)),
        page("/operator", true, false, get(overview::show)),
        page("/operator/sign-out", true, true, post(entrance::leave)),
        page("/operator/alerts", true, false, get(overview::alerts)),
        page("/operator/customers", true, false, get(customers::list)),
        page("/operator/customers/{account}", true, false, get(customers::show)),
        page("/operator/customers/{account}/statement", true, false, get(customers::statement)),
        page("/operator/customers/{account}/top-up", true, true, get(money::top_up_form).post(money::top_up)),
        page("/operator/customers/{account}/password", true, true, get(customer::password_form).post(customer::password)),
        page("/operator/customers/{account}/close", true, true, get(customer::close_form).post(customer::close)),
        page("/operator/customers/{account}/open", true, true, get(customer::open_form).post(customer::open)),
        page("/operator/exchanges", true, false, get(exchanges::list)),
        page("/operator/exchanges/{exchange}", true, false, get(exchanges::show)),
        page("/operator/exchanges/{exchange}/refund", true, true, get(exchanges::refund_form).post(exchanges::refund)),
        page("/operator/payments", true, false, get(money::payments)),
        page("/operator/payments/{account}/{posting}/chargeback", true, true, get(money::chargeback_form).post(money::chargeback)),
        page("/operator/vouchers", true, false, get(money::vouchers)),
        page("/operator/books", true, true, get(books::show).post(books::check)),
        page("/operator/settlement", true, false, get(settlement::list)),
        page("/operator/settlement/{period}", true, true, get(settlement::form).post(settlement::settle)),
        page("/operator/settlement/{period}/{party}", true, false, get(settlement::table)),
    ]
}

/// The pages with every layer, ready to be served.
pub fn router(desk: Desk) -> Router {
    let routes = |routes: Router<Desk>, page: Page| routes.route(page.path, page.handlers.layer(from_fn(web::layer)));
    let served = pages().into_iter().fold(Router::new(), routes).with_state(desk.clone());
    layers::around(served, &desk.config.limits.layers())
        .layer(from_fn_with_state(desk, problem::render::<Desk>))
        .layer(from_fn(metrics::layer))
        .layer(layers::request_ids())
        .layer(map_request(layers::only_good_ids))
}

/// The parts of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// How things stand.
    Overview,
    /// Who has an account.
    Customers,
    /// What is and was charged for.
    Exchanges,
    /// What came in.
    Payments,
    /// Vouchers.
    Vouchers,
    /// All that was booked.
    Books,
    /// Months.
    Settlement,
    /// What somebody should know.
    Alerts,
}

/// In the order of the menu: section, address, name, and the heading that it stands under.
const MENU: &[(Section, &str, &str, &str)] = &[
    (Section::Overview, "/operator", "Overview", ""),
    (Section::Alerts, "/operator/alerts", "Alerts", ""),
    (Section::Customers, "/operator/customers", "Customers", "People"),
    (Section::Exchanges, "/operator/exchanges", "Exchanges", "People"),
    (Section::Payments, "/operator/payments", "Paid in", "Money"),
    (Section::Vouchers, "/operator/vouchers", "Vouchers", "Money"),
    (Section::Books, "/operator/books", "Books", "Money"),
    (Section::Settlement, "/operator/settlement", "Settlement", "Money"),
];

/// In the order of the alphabet.
const TOLD: &[(&str, &str)] = &[
    ("checked", "The books are checked."),
    ("closed", "The account is closed: nobody gets in any more. What it holds stays booked."),
    ("opened", "The account is open again. Its owner signs in with the password from before."),
    ("refunded", "It is undone, and its price is back in the account."),
    ("settled", "The month is settled."),
    ("taken-back", "It is booked back, and what it paid for has ended."),
    ("topped-up", "It is booked."),
    ("under-way", "It is written down, and goes on by itself."),
];

/// What stands around a page of `section`; `done=` in the query names what was just done.
fn frame(desk: &Desk, by: &visitor::Operator, section: Section, query: Option<&str>) -> Frame {
    let mut groups: Vec<Group> = vec![];
    for (named, path, name, heading) in MENU {
        let entry = Entry { path, name, here: *named == section };
        match groups.iter_mut().find(|group| group.name == *heading) {
            Some(group) => group.entries.push(entry),
            None => groups.push(Group { name: heading, entries: vec![entry] }),
        }
    }
    let done = Fields::parse(query.unwrap_or_default().as_bytes());
    Frame {
        authority: desk.config.server.name.clone(),
        home: "/operator",
        me: "/operator",
        styles: styles(),
        icon: icon(),
        name: "Operator".to_owned(),
        role: "of this gateway".to_owned(),
        groups,
        finds: false,
        asked: String::new(),
        told: TOLD.iter().find(|(known, _)| *known == done.text("done")).map(|(_, sentence)| *sentence),
        form: by.form(),
    }
}
