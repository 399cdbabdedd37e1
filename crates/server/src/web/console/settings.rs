//! `/console/settings`: how the server is set, without secrets; read here, changed in its configuration.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::{Frame, Section, Sees, Staff};
use crate::app::App;
use crate::problem::Problem;
use crate::web::page;

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsPage {
    frame: Frame,
    urls: Vec<String>,
    version: &'static str,
    engine: &'static str,
    sections: Vec<(String, Vec<(String, String)>)>,
}

/// `/console/settings`
///
/// # Errors
/// `not_found` for whoever is no operator.
pub async fn settings(State(app): State<App>, staff: Staff) -> Result<Response, Problem> {
    staff.needs(Sees::Operators)?;
    let engine = if app.db.url().file().is_some() { "SQLite" } else { "PostgreSQL" };
    let sections = app.config.shown().into_iter().map(|(name, value)| {
        let mut lines = vec![];
        flatten("", &value, &mut lines);
        (name, lines)
    });
    let frame = Frame::new(&app, &staff, Section::Settings);
    page(&SettingsPage { frame, urls: app.urls.clone(), version: env!("CARGO_PKG_VERSION"), engine, sections: sections.collect() })
}

/// The values of a section, each with the whole of its name.
fn flatten(name: &str, value: &toml::Value, lines: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, lines);
            }
        }
        toml::Value::String(text) => lines.push((name.to_owned(), text.clone())),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}
