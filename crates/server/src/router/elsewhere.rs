//! Paths that processes of other roles serve: a 404 that says so, and where to ask.

use axum::http::Uri;
use axum::response::IntoResponse as _;
use axum::routing::{MethodRouter, any};

use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::roles::{ServerRole, names};

/// What stands at such a path, for every method.
pub fn of(app: &App, roles: &'static [ServerRole]) -> MethodRouter<App> {
    let server = &app.config.server;
    let urls = if roles.contains(&ServerRole::Content) { &server.contents_urls } else { &server.public_urls };
    let (ours, urls) = (server.roles.clone(), if urls.is_empty() { server.public_urls.clone() } else { urls.clone() });
    any(async move |path: Uri| {
        let detail = if ours.has_any(roles) {
            format!("{} needs a token, and a process without the database knows none", path.path())
        } else {
            format!("{} belongs to the role {}; this process serves {ours}", path.path(), names(roles.iter().copied()))
        };
        Problem { urls: urls.clone().into(), ..Problem::with(ApiCode::NotServed, detail) }.into_response()
    })
}
