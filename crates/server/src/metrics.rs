//! Figures for Prometheus: requests by route, operations of terminals by outcome, and what the database facade counts.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::App;
use crate::auth::{Role, authenticate};
use crate::problem::{ApiCode, Problem};

/// Bounds in seconds: from what a read takes to what an upload takes.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Bounds in transactions per commit.
const TRANSACTIONS: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
/// How often samples are summed up where nobody looks at them.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Begins to count, for the whole process; may be called again.
pub fn install() {
    HANDLE.get_or_init(|| match recorder() {
        Ok(handle) => {
            describe();
            keep_up(&handle);
            Some(handle)
        }
        Err(error) => {
            tracing::error!(%error, "no metrics: somebody else records them");
            None
        }
    });
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_transactions".into()), &TRANSACTIONS)?
        .install_recorder()
}

fn describe() {
    metrics::describe_counter!("counterfoil_http_requests_total", "Requests answered, by route, method and status.");
    metrics::describe_histogram!("counterfoil_http_request_seconds", "Time until the answer begins, by route and method.");
    metrics::describe_counter!(
        "counterfoil_operations_total",
        "Operations of terminals, by name and outcome: granted, or the code of the refusal."
    );
    metrics::describe_counter!("counterfoil_rate_limited_total", "Requests refused because there were too many.");
    metrics::describe_counter!("counterfoil_db_transactions_total", "Transactions, by name and outcome.");
    metrics::describe_counter!("counterfoil_db_retries_total", "Transactions that were run again, by name.");
    metrics::describe_counter!("counterfoil_db_replica_fallbacks_total", "Reads that the primary did in the replica's place, by reason.");
    metrics::describe_histogram!("counterfoil_db_batch_transactions", "Transactions that shared one commit.");
    metrics::describe_histogram!("counterfoil_db_commit_seconds", "How long commits take.");
    metrics::describe_gauge!("counterfoil_roles", "1 for each role that this process serves.");
    metrics::describe_gauge!("counterfoil_leads", "1 while this process does the jobs that one process at a time does.");
    metrics::describe_gauge!(
        "counterfoil_outbox_lag_seconds",
        "How long the oldest message that is due has waited, where this process leads."
    );
    metrics::describe_gauge!("counterfoil_audit_findings", "What the auditor found wrong when it ran last; anything but 0 is an alarm.");
    metrics::describe_gauge!("counterfoil_audit_last_run_timestamp_seconds", "When the auditor ran last, in seconds since 1970.");
    metrics::describe_gauge!("counterfoil_audit_duration_seconds", "How long it took.");
    metrics::describe_counter!("counterfoil_overloaded_total", "Requests told to come again because too many were being worked on.");
    metrics::describe_gauge!("counterfoil_build_info", "1, with the version as a label.");
    metrics::gauge!("counterfoil_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Histograms hold each sample until somebody sums them up, which a server that is never scraped must do by itself.
fn keep_up(handle: &PrometheusHandle) {
    let handle = handle.clone();
    let spawned = std::thread::Builder::new().name("metrics".into()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP);
            handle.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::error!(%error, "metrics are summed up only when they are read");
    }
}

/// Counts an operation of a terminal (`claim`, …) by its outcome: `granted`, `again`, or the code of the refusal.
pub fn operation(name: &'static str, outcome: &'static str) {
    metrics::counter!("counterfoil_operations_total", "operation" => name, "outcome" => outcome).increment(1);
}

/// The layer that counts requests, by the template of their route: IDs in paths never become labels.
pub async fn layer(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = method_label(request.method());
    let began = instant();
    let response = next.run(request).await;
    let status = response.status().as_str().to_owned();
    metrics::histogram!("counterfoil_http_request_seconds", "route" => route.clone(), "method" => method)
        .record(instant().duration_since(began));
    metrics::counter!("counterfoil_http_requests_total", "route" => route, "method" => method, "status" => status).increment(1);
    response
}

/// Methods are the caller's free choice; labels are not.
fn method_label(method: &axum::http::Method) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[expect(clippy::disallowed_methods, reason = "measures how long things take, and decides nothing")]
fn instant() -> Instant {
    Instant::now()
}

/// Figures for Prometheus, as text. Open to this machine, and to operators from elsewhere.
#[utoipa::path(
    get, path = "/metrics", tag = "server", operation_id = "metrics",
    responses((status = 200, description = "Prometheus text format", body = String, content_type = "text/plain"),
              (status = 401, description = "Not from this machine, and no operator's token")),
)]
pub async fn scrape(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let roles = &app.config.server.roles;
    for role in roles.iter() {
        metrics::gauge!("counterfoil_roles", "role" => role.as_str()).set(1.0);
    }
    let local = is_local(&request);
    if !local && !roles.need_database() {
        return Err(Problem::with(ApiCode::Forbidden, "this process knows no tokens, and shows its figures to its own machine only"));
    }
    if !local && authenticate(&app, request.headers()).await?.role != Role::Operator {
        return Err(ApiCode::Forbidden.into());
    }
    Ok(shown())
}

/// Whether somebody on this machine asks.
pub fn is_local(request: &Request) -> bool {
    let here = request.extensions().get::<ConnectInfo<SocketAddr>>().is_some_and(|from| from.0.ip().to_canonical().is_loopback());
    // A proxy on this machine brings the requests of others, and says so.
    here && !["forwarded", "x-forwarded-for"].iter().any(|name| request.headers().contains_key(*name))
}

/// What was counted, as Prometheus reads it.
pub fn shown() -> Response {
    let text = HANDLE.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
