//! Pages for people: HTML from templates, which works without scripts and fetches nothing from elsewhere.
//!
//! A page is a route of the table with the role `console`. [`layer`] gives each its headers; what goes wrong is a [`Problem`] as everywhere,
//! which `problem::render` shows as a page to whoever asks for one.

use std::sync::LazyLock;

use askama::Template;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};

use counterfoil_core::Refusal;

use crate::app::App;
use crate::problem::{Problem, ProblemDetails};
use site::Site;

pub mod account;
pub mod assets;
pub mod buy;
pub mod charts;
pub mod console;
pub mod desk;
pub mod devices;
pub mod filters;
pub mod publish;
pub mod send;
pub mod shop;
pub mod site;
pub mod store;
pub mod transfer;
pub mod visitor;
pub mod written;

/// What a page may load and do: our own style and pictures, forms to ourselves, and no script. A page with a script of ours sets the header
/// itself.
pub const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// What every page shows around its own: the field `layout` of its template.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Name of the authority, or of the gateway.
    pub authority: String,
    /// Address of the style.
    pub style: &'static str,
    /// Address of the icon.
    pub icon: &'static str,
    /// What the person is called who is signed in.
    pub person: Option<String>,
    /// Where the server's name leads.
    pub home: &'static str,
    /// What says more about this server, where something does.
    pub about: Option<&'static str>,
    /// The menu.
    pub sections: Vec<Entry>,
}

/// The parts of the site. In the order of the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What is sold.
    Store,
    /// The user's devices, and what they may run.
    Devices,
    /// The user's account and orders.
    Account,
    /// Nothing that the menu names.
    Elsewhere,
}

/// An entry of the menu.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Where it leads.
    pub path: &'static str,
    /// As people read it.
    pub name: &'static str,
    /// Whether this page is part of it.
    pub here: bool,
}

impl Layout {
    /// For a page of `section` of the authority.
    pub fn new(authority: &str, section: Section) -> Self {
        let menu =
            [(Section::Store, "/store", "Store"), (Section::Devices, "/devices", "Devices"), (Section::Account, "/account", "Account")];
        let sections = menu.map(|(named, path, name)| Entry { path, name, here: named == section });
        Self { about: Some("/"), ..Self::of(authority, "/store", sections.into()) }
    }

    /// For a server of this name, with this menu.
    pub fn of(name: &str, home: &'static str, sections: Vec<Entry>) -> Self {
        static STYLE: LazyLock<String> = LazyLock::new(|| assets::address("style.css"));
        static ICON: LazyLock<String> = LazyLock::new(|| assets::address("icon.svg"));
        Self { authority: name.to_owned(), style: &STYLE, icon: &ICON, person: None, home, about: None, sections }
    }
}

/// A page with status 200.
///
/// # Errors
/// When the template cannot be filled in.
pub fn page(template: &impl Template) -> Result<Response, Problem> {
    page_as(StatusCode::OK, template)
}

/// A page with another status, such as a form with what was wrong about it.
///
/// # Errors
/// As for [`page`].
pub fn page_as(status: StatusCode, template: &impl Template) -> Result<Response, Problem> {
    Ok((status, Html(template.render().map_err(Problem::internal)?)).into_response())
}

/// The layer around every page: headers that a handler has not set itself. Pages are a person's own unless a handler says otherwise.
pub async fn layer(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    set_headers(response.headers_mut());
    response
}

/// What every answer says besides, whoever made it: where the site guards a path (the authority's console) what its pages say, an address that
/// there is not included; and where this server speaks TLS, that browsers shall speak nothing else with it (RFC 6797).
pub fn protect(site: &impl Site, path: &str, headers: &mut HeaderMap) {
    if site.guards(path) {
        set_headers(headers);
    }
    if site.has_tls() {
        headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(HeaderValue::from_static("max-age=31536000"));
    }
}

fn in_console(path: &str) -> bool {
    path == "/console" || path.starts_with("/console/")
}

fn set_headers(headers: &mut HeaderMap) {
    let defaults = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    for (name, value) in defaults {
        headers.entry(name).or_insert(value);
    }
}

/// Whether a problem should be told as a page: to a browser that navigates, where programs have no business.
pub fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"));
    accepts && !["/v1/", "/contents/", "/.well-known/"].iter().any(|machine| path.starts_with(machine))
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    layout: Layout,
    told: &'a ProblemDetails,
    heading: String,
    /// The way on: what is on the button.
    on: &'a str,
}

#[derive(Template)]
#[template(path = "console/problem.html")]
struct ConsoleProblemPage<'a> {
    frame: console::entrance::Door,
    told: &'a ProblemDetails,
    heading: String,
}

impl Site for App {
    fn urls(&self) -> &[String] {
        &self.urls
    }

    fn has_tls(&self) -> bool {
        self.config.has_tls()
    }

    fn guards(&self, path: &str) -> bool {
        in_console(path)
    }

    /// In the console it leads back there.
    fn problem(&self, path: &str, status: StatusCode, told: &ProblemDetails) -> Option<Response> {
        if in_console(path) {
            return console_problem(console::entrance::Door::new(&self.name), status, told);
        }
        problem(Layout::new(&self.name, Section::Elsewhere), "To the store", status, told)
    }
}

/// A problem as a page whose button leads home; none where even that fails.
pub fn problem(layout: Layout, on: &str, status: StatusCode, told: &ProblemDetails) -> Option<Response> {
    with_headers(page_as(status, &ProblemPage { layout, told, heading: capitalized(&told.title), on }))
}

/// The same as the console has it.
pub fn console_problem(door: console::entrance::Door, status: StatusCode, told: &ProblemDetails) -> Option<Response> {
    with_headers(page_as(status, &ConsoleProblemPage { frame: door, told, heading: capitalized(&told.title) }))
}

fn with_headers(page: Result<Response, Problem>) -> Option<Response> {
    let mut response = page.ok()?;
    set_headers(response.headers_mut());
    Some(response)
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A refusal in one paragraph: the fact, this case, what can be done.
pub fn sentence(refusal: &Refusal) -> String {
    let detail = refusal.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}{detail}. {}", capitalized(&refusal.message), refusal.hint).trim().to_owned()
}
