//! `/`: one page that says what this server is and where to go on; nothing secret, nothing fetched from elsewhere.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{SHA256, digest};
use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{Html, IntoResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;

use crate::app::App;
use crate::problem::Problem;
use crate::store::counts::{self, Counts};

/// How long figures are shown before they are counted again, in milliseconds.
const FRESH: i64 = 60_000;

/// The figures that were counted last, and when.
#[derive(Clone, Default)]
pub struct Counted(Arc<Mutex<Option<(i64, Counts)>>>);

/// What this server is.
#[utoipa::path(
    get, path = "/", tag = "server", operation_id = "home",
    responses((status = 200, description = "A page for people", body = String, content_type = "text/html")),
)]
pub async fn home(State(app): State<App>, Extension(counted): Extension<Counted>) -> Result<impl IntoResponse, Problem> {
    let counts = counted.get(&app).await?;
    let headers: [(HeaderName, HeaderValue); 2] =
        [(CONTENT_SECURITY_POLICY, POLICY.clone()), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    Ok((headers, Html(page(&app.name, &counts))))
}

impl Counted {
    /// One caller counts; the others wait for what it finds.
    async fn get(&self, app: &App) -> Result<Counts, Problem> {
        let now = app.clock.now().0;
        let mut last = self.0.lock().await;
        match *last {
            Some((at, counts)) if (at..at + FRESH).contains(&now) => Ok(counts),
            _ => {
                let counts = app.db.read("counts", counts::load).await?;
                *last = Some((now, counts));
                Ok(counts)
            }
        }
    }
}

/// The one style of the page is allowed by its hash, and nothing else is (CSP Level 3 §8.3).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    HeaderValue::try_from(policy).expect("base64 and words are a header's value")
});

const STYLE: &str = "
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e6e9ee); --soft: light-dark(#5b6675, #9aa5b4); --line: light-dark(#dfe3e8, #313a46);
  --paper: light-dark(#fbfbfa, #14181d); --link: light-dark(#0b57a4, #8cbcf2); }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 12vh 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: 0 0 2rem; color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); margin: 0 0 2rem; border: solid var(--line); border-width: 1px 0; }
dl div { padding: 1rem 0; }
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
ul { list-style: none; margin: 0; padding: 0; }
li { padding: .5rem 0; }
li span { color: var(--soft); }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 3px; }
";

fn page(name: &str, counts: &Counts) -> String {
    let Counts { titles, batches, media_claimed, users } = counts;
    let (name, version) = (escaped(name), env!("CARGO_PKG_VERSION"));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{name} – Counterfoil</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{name}</h1>
<p>A Counterfoil authority, version {version}: it knows who owns what, and hands out the keys.</p>
<dl>
<div><dt>Titles</dt><dd>{titles}</dd></div>
<div><dt>Batches</dt><dd>{batches}</dd></div>
<div><dt>Media claimed</dt><dd>{media_claimed}</dd></div>
<div><dt>Users</dt><dd>{users}</dd></div>
</dl>
<ul>
<li><a href="/store">Store</a> <span>what is sold here</span></li>
<li><a href="/reference">Reference</a> <span>the HTTP API, to read and to try</span></li>
<li><a href="/openapi.json">openapi.json</a> <span>the same for programs</span></li>
<li><a href="/.well-known/counterfoil">Authority document</a> <span>name, addresses and public keys</span></li>
<li><a href="/readyz">Health</a> <span>whether it is ready for work</span></li>
<li><a href="/metrics">Metrics</a> <span>for Prometheus, from this machine or with an operator’s token</span></li>
</ul>
</main>
</body>
</html>
"#
    )
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_names_as_text_and_fetches_nothing() {
        let page = page("<script>alert(1)</script>", &Counts { titles: 3, batches: 2, media_claimed: 1, users: 7 });
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(page.contains("<dt>Users</dt><dd>7</dd>"));
        for link in page.split("href=\"").skip(1) {
            assert!(link.starts_with('/') && !link.starts_with("//"), "{link}");
        }
        assert!(!page.contains("src=") && !page.contains("url(") && !page.contains("@import"));
        let policy = POLICY.to_str().expect("ASCII");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
    }
}
