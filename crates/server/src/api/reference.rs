//! `/reference`: Swagger UI over the description of this API, from inside of this program; nothing of it comes from elsewhere.

use std::io::{Cursor, Read};
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

use crate::problem::{ApiCode, Problem};

/// The page, what it fetches, and what each is. The page's own way to begin reads a description from elsewhere: ours stands beside the other templates.
const FILES: [(&str, &str); 7] = [
    ("index.html", "text/html; charset=utf-8"),
    ("index.css", "text/css; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui-standalone-preset.js", "text/javascript; charset=utf-8"),
    ("favicon-16x16.png", "image/png"),
    ("favicon-32x32.png", "image/png"),
];

/// What `FILES` names, unpacked when somebody first looks: 2 MB that most servers never need.
static UNPACKED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED)).expect("the archive is part of this program");
    let unpack = |(name, _)| {
        let path = archive
            .file_names()
            .flatten()
            .find(|path| path.ends_with(&format!("/dist/{name}")))
            .expect("the archive has the page")
            .into_owned();
        let mut file = archive.by_name(&path).expect("an entry that is there");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the archive is whole");
        bytes
    };
    FILES.map(unpack).into()
});

/// Swagger UI under `/reference/`.
pub fn reference<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/reference", get(async || Redirect::to("/reference/")))
        .route("/reference/", get(async || file("index.html")))
        .route("/reference/swagger-initializer.js", get(begin))
        .route("/reference/{file}", get(async |Path(name): Path<String>| file(&name)))
        .layer(from_fn(policy))
}

async fn begin() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8")], include_str!("../../templates/reference.js"))
}

fn file(name: &str) -> Result<Response, Problem> {
    let at = FILES.iter().position(|(known, _)| *known == name).ok_or(ApiCode::NotFound)?;
    Ok(([(CONTENT_TYPE, FILES[at].1)], UNPACKED[at].as_slice()).into_response())
}

/// Swagger UI styles its elements one by one, and draws with images that are part of its style.
async fn policy(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    );
    response
}
