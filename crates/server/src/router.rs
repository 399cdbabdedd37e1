//! The whole URL map on one screen: route, whom it admits, handler.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::api::{health, tokens, well_known, whoami};
use crate::app::App;
use crate::auth::{self, Admit};
use crate::problem;

/// Every route of the API, with its description.
fn table(app: &App) -> OpenApiRouter<App> {
    let on = |path, admit, handlers| on(app, path, admit, handlers);
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(on("/healthz", Admit::Public, routes!(health::healthz)))
        .routes(on("/readyz", Admit::Public, routes!(health::readyz)))
        .routes(on("/.well-known/counterfoil", Admit::Public, routes!(well_known::authority)))
        .routes(on("/.well-known/jwks.json", Admit::Public, routes!(well_known::jwks)))
        .routes(on("/v1/whoami", Admit::Any, routes!(whoami::whoami)))
        .routes(on("/v1/tokens", Admit::Operator, routes!(tokens::list, tokens::create)))
        .routes(on("/v1/tokens/{id}", Admit::Operator, routes!(tokens::revoke)))
}

/// The server's routes with every layer, ready to be served.
pub fn router(app: App) -> Router {
    let (routes, _) = table(&app).split_for_parts();
    layers::around(routes.with_state(app.clone()), &app).layer(from_fn(problem::render)).layer(layers::request_ids())
}

/// The description of all routes, OpenAPI 3.1.
pub fn openapi(app: &App) -> utoipa::openapi::OpenApi {
    table(app).into_openapi()
}

/// One line of the table. The path must be the one that the handlers were annotated with, so that the screen above tells the truth.
fn on(app: &App, path: &str, admit: Admit, (schemas, mut paths, handlers): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    assert!(paths.paths.keys().eq([path]), "{path} is annotated with {:?}", paths.paths.keys());
    if !matches!(admit, Admit::Public) {
        for item in paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head, &mut item.patch] {
                if let Some(operation) = operation {
                    operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("bearer", [])]);
                }
            }
        }
    }
    (schemas, paths, handlers.layer(from_fn_with_state((app.clone(), admit), auth::require)))
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Counterfoil", description = "The authority: who owns what, and who gets the keys."),
    components(schemas(problem::ProblemDetails)),
    modifiers(&Bearer)
)]
struct Description;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("`cft_<id>_<secret>`, made by `counterfoild token new`")).build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

mod layers;
