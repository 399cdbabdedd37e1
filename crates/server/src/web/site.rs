//! Whose pages these are: the authority's, a gateway's for its customers, or a gateway's for its operator.

use axum::http::StatusCode;
use axum::response::Response;

use crate::problem::ProblemDetails;

/// A server with pages, as the layers and forms that all of them share see it.
pub trait Site: Clone + Send + Sync + 'static {
    /// How people reach it, best first; empty where only its own address will do.
    fn urls(&self) -> &[String];

    /// Whether it speaks TLS itself.
    fn has_tls(&self) -> bool;

    /// Whether every answer at this path gets the headers of a page, whoever made it.
    fn guards(&self, path: &str) -> bool;

    /// A problem as a page; none where even that fails.
    fn problem(&self, path: &str, status: StatusCode, told: &ProblemDetails) -> Option<Response>;
}

/// Whether people reach this server over HTTPS.
pub fn is_https(site: &impl Site) -> bool {
    site.has_tls() || site.urls().first().is_some_and(|url| url.starts_with("https://"))
}
