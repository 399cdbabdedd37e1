//! Style, icon and scripts of the pages: in the program itself, each under a name with the hash of its bytes, so that browsers may keep it.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};

use crate::problem::{ApiCode, Problem};

/// Name, type and bytes.
const ALL: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../../templates/style.css")),
    (
        "console.css",
        "text/css; charset=utf-8",
        concat!(include_str!("../../templates/console.css"), include_str!("../../templates/console/charts.css")),
    ),
    ("passkey.js", "text/javascript; charset=utf-8", include_str!("../../templates/passkey.js")),
    ("payment.js", "text/javascript; charset=utf-8", include_str!("../../templates/payment.js")),
    ("icon.svg", "image/svg+xml", include_str!("../../templates/icon.svg")),
];

/// The address of an asset, which changes when its bytes do. Panics for a name that is not in the table: a mistake of a template.
pub fn address(name: &str) -> String {
    let (_, _, bytes) = ALL.iter().find(|(known, ..)| *known == name).expect("templates name what is in the table");
    format!("/assets/{}", hashed(name, bytes))
}

fn hashed(name: &str, bytes: &str) -> String {
    let (stem, ending) = name.rsplit_once('.').expect("assets have an ending");
    let hash = blake3::hash(bytes.as_bytes()).to_hex();
    format!("{stem}.{}.{ending}", &hash[..16])
}

/// `/assets/{file}`.
///
/// # Errors
/// `not_found`.
pub async fn get(Path(file): Path<String>) -> Result<Response, Problem> {
    let found = ALL.iter().find(|(name, _, bytes)| hashed(name, bytes) == file);
    let (_, kind, bytes) = found.ok_or(ApiCode::NotFound)?;
    Ok(([(CONTENT_TYPE, *kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")], *bytes).into_response())
}
