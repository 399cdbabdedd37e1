//! The whole URL map of a gateway on one screen: route, whom it admits, handler.

use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::routing::{MethodRouter, any, get, post};
use axum::{Extension, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use super::api::{accounts, exchange, ledger, payments, server};
use super::app::App;
use super::auth::{self, Admit};
use super::{proxy, web};
use crate::api::{openapi as description, reference};
use crate::limits::{self, Limits, Rate};
use crate::metrics;
use crate::problem;
use crate::router::{described, layers};

/// What the gateway answers itself.
fn table<'a>(app: &'a App, attempts: &Limits) -> Table<'a> {
    let counted = |handlers| limited(attempts, handlers);
    Table { app, served: OpenApiRouter::with_openapi(Description::openapi()) }
        .on("/healthz", Admit::Public, routes!(server::healthz))
        .on("/readyz", Admit::Public, routes!(server::readyz))
        .on("/v1/terminal/exchange", Admit::Public, routes!(exchange::exchange))
        .on("/v1/accounts", Admit::Public, counted(routes!(accounts::make)))
        .on("/v1/accounts/sign-in", Admit::Public, counted(routes!(accounts::sign_in)))
        .on("/v1/accounts/sign-out", Admit::Account, routes!(accounts::sign_out))
        .on("/v1/account", Admit::Account, routes!(accounts::show))
        .on("/v1/account/exchanges", Admit::Account, routes!(accounts::exchanges))
        .on("/v1/account/statement", Admit::Account, routes!(ledger::statement))
        .on("/v1/account/charges/{exchange}", Admit::Account, routes!(ledger::charge))
        .on("/v1/account/vouchers", Admit::Account, routes!(ledger::redeem))
        .on("/v1/account/top-ups", Admit::Account, routes!(payments::begin))
        .on("/v1/account/top-ups/{payment}", Admit::Account, routes!(payments::show))
        .on("/v1/account/payment-cards", Admit::Account, routes!(payments::cards))
        .on("/v1/account/payment-cards/{card}", Admit::Account, routes!(payments::remove_card))
        .on("/v1/payments/messages", Admit::Public, routes!(payments::told))
        .on("/metrics", Admit::Public, routes!(server::scrape))
        .on("/openapi.json", Admit::Public, routes!(description::document))
}

/// What the authority answers: for everybody, as at the authority.
fn passed() -> Router<App> {
    Router::new()
        .route("/.well-known/counterfoil", get(proxy::document))
        .route("/.well-known/jwks.json", get(proxy::pass))
        .route("/v1/terminal/inbox", post(proxy::pass_small))
        .route("/v1/uploads/{ticket}", any(proxy::pass))
        .route("/contents/{object}", get(proxy::pass))
        .route("/v1/store/{*rest}", get(proxy::pass))
        .route("/pictures/{*rest}", get(proxy::pass))
}

/// Counts attempts to get in together, by address, beside the limit on all requests.
fn attempts(app: &App) -> Limits {
    let accounts = &app.config.accounts;
    let rate = Rate { per_second: accounts.attempts_per_second, burst: accounts.attempts_burst };
    Limits::new(rate, Rate { per_second: 0, burst: 0 }, app.config.limits.trusted_proxies.clone())
}

fn limited(limits: &Limits, (schemas, paths, handlers): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    (schemas, paths, handlers.layer(from_fn_with_state(limits.clone(), limits::layer)))
}

/// The routes with every layer, ready to be served.
pub fn router(app: App) -> Router {
    let attempts = attempts(&app);
    let (routes, openapi) = table(&app, &attempts).served.split_for_parts();
    let routes = routes
        .merge(passed())
        .merge(web::routes(&attempts))
        .layer(Extension(description::Description::of(&described::complete(&openapi))))
        .merge(reference::reference())
        .with_state(app.clone());
    layers::around(routes, &app.config.limits.layers())
        .layer(from_fn_with_state(app, problem::render::<App>))
        .layer(from_fn(metrics::layer))
        .layer(layers::request_ids())
        .layer(map_request(layers::only_good_ids))
}

/// The description of the routes, OpenAPI 3.1; what is passed through is in the authority's.
pub fn openapi(app: &App) -> utoipa::openapi::OpenApi {
    described::complete(&table(app, &attempts(app)).served.into_openapi())
}

struct Table<'a> {
    app: &'a App,
    served: OpenApiRouter<App>,
}

impl Table<'_> {
    /// One line.
    fn on(mut self, path: &'static str, admit: Admit, handlers: UtoipaMethodRouter<App>) -> Self {
        self.served = self.served.routes(guarded(self.app, path, admit, handlers));
        self
    }
}

/// A route with what stands before its handlers. The path must be the one that they were annotated with, so that the table tells the truth.
fn guarded(app: &App, path: &str, admit: Admit, (schemas, mut paths, handlers): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    assert!(paths.paths.keys().eq([path]), "{path} is annotated with {:?}", paths.paths.keys());
    if admit == Admit::Public {
        return (schemas, paths, handlers);
    }
    for item in paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("account", [])]);
        }
    }
    let handlers: MethodRouter<App> = handlers.layer(from_fn_with_state(app.clone(), auth::require));
    (schemas, paths, handlers)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Counterfoil gateway", description = "Accounts, and exchanges with the authority that are charged to them."),
    components(schemas(problem::ProblemDetails)),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`cga_<secret>`, by /v1/accounts/sign-in")).build();
        openapi.components.get_or_insert_default().add_security_scheme("account", SecurityScheme::Http(bearer));
    }
}
