//! Pages for a gateway's customers, on its public listener: account, receipts, statements. HTML from the templates that the authority's pages have.
//!
//! A page takes a [`visitor::Person`]; what changes something comes as a [`visitor::Sent`], whose origin and form token were checked. Of what
//! belongs to another account there is nothing here: 404, as for what does not exist.

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

use super::app::App;
use crate::limits::{self, Limits};
use crate::problem::ProblemDetails;
use crate::web::site::Site;
use crate::web::visitor::see_other;
use crate::web::{self, Entry, Layout, assets};

pub mod account;
pub mod entrance;
pub mod exchanges;
pub mod settings;
pub mod statement;
pub mod top_up;
pub mod visitor;
pub mod words;

/// Whom a page admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    /// Everybody.
    Everybody,
    /// Whoever is signed in; others are led to sign in.
    Owner,
}

/// A line of the table.
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// Whom it admits.
    pub admits: Admits,
    /// Whether a form is sent to it.
    pub takes_forms: bool,
    handlers: MethodRouter<App>,
}

/// Every page: path, whom it admits, whether forms are sent to it, handler.
pub fn pages(counted: &Limits) -> Vec<Page> {
    use Admits::{Everybody, Owner};
    let page = |path, admits, takes_forms, handlers| Page { path, admits, takes_forms, handlers };
    let limited = |handlers: MethodRouter<App>| handlers.layer(from_fn_with_state(counted.clone(), limits::layer));
    vec![
        page("/", Everybody, false, get(async || see_other("/account"))),
        page("/assets/{file}", Everybody, false, get(assets::get)),
        page("/account/sign-in", Everybody, true, limited(get(entrance::sign_in_form).post(entrance::sign_in))),
        page("/account/sign-up", Everybody, true, limited(get(entrance::sign_up_form).post(entrance::sign_up))),
        page("/account/new-password", Everybody, true, limited(get(entrance::new_password_form).post(entrance::new_password))),
        page("/account/sign-out", Owner, true, post(entrance::sign_out)),
        page("/account", Owner, false, get(account::show)),
        page("/account/vouchers", Owner, true, post(account::redeem)),
        page("/account/top-up", Owner, true, get(top_up::form).post(top_up::begin)),
        page("/account/top-up/{payment}", Owner, false, get(top_up::show)),
        page("/account/exchanges", Owner, false, get(exchanges::list)),
        page("/account/exchanges/{exchange}", Owner, false, get(exchanges::show)),
        page("/account/statement", Owner, false, get(statement::show)),
        page("/account/settings", Owner, false, get(settings::show)),
        page("/account/settings/mail", Owner, true, post(settings::mail)),
        page("/account/settings/password", Owner, true, post(settings::password)),
        page("/account/settings/cards", Owner, true, post(top_up::remove_card)),
        page("/account/settings/sessions", Owner, true, post(settings::end_session)),
    ]
}

/// The pages as routes.
pub fn routes(counted: &Limits) -> Router<App> {
    pages(counted).into_iter().fold(Router::new(), |routes, page| routes.route(page.path, page.handlers.layer(from_fn(web::layer))))
}

/// The parts of the pages, in the order of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Balances and vouchers.
    Account,
    /// What was charged.
    Receipts,
    /// Months.
    Statement,
    /// Password, mail, browsers.
    Settings,
    /// Nothing that the menu names.
    Elsewhere,
}

/// What stands around a page of `section`, seen by somebody of this name.
pub fn layout(app: &App, section: Section, person: Option<&str>) -> Layout {
    let menu = [
        (Section::Account, "/account", "Account"),
        (Section::Receipts, "/account/exchanges", "Receipts"),
        (Section::Statement, "/account/statement", "Statement"),
        (Section::Settings, "/account/settings", "Settings"),
    ];
    // Whoever is not signed in finds the way in behind the first.
    let shown = if person.is_some() { menu.len() } else { 1 };
    let entries = menu.into_iter().take(shown).map(|(named, path, name)| Entry { path, name, here: named == section });
    Layout { person: person.map(str::to_owned), ..Layout::of(&app.config.server.name, "/account", entries.collect()) }
}

impl Site for App {
    fn urls(&self) -> &[String] {
        &self.urls
    }

    fn has_tls(&self) -> bool {
        self.config.has_tls()
    }

    fn guards(&self, path: &str) -> bool {
        path == "/" || path == "/account" || path.starts_with("/account/")
    }

    fn problem(&self, _: &str, status: StatusCode, told: &ProblemDetails) -> Option<Response> {
        web::problem(layout(self, Section::Elsewhere, None), "To your account", status, told)
    }
}
