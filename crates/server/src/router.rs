//! The whole URL map on one screen: route, whom it admits, handler.

use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::{Extension, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::api::{
    audit, batches, cards, contents, health, home, media, openapi as description, publishers, releases, terminal, titles, tokens, users,
    well_known, whoami,
};
use crate::app::App;
use crate::auth::{self, Admit};
use crate::idempotency;
use crate::metrics;
use crate::problem;

/// Every route of the API, with its description.
fn table(app: &App) -> OpenApiRouter<App> {
    let on = |path, admit, handlers| on(app, path, admit, handlers);
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(on("/healthz", Admit::Public, routes!(health::healthz)))
        .routes(on("/readyz", Admit::Public, routes!(health::readyz)))
        .routes(on("/.well-known/counterfoil", Admit::Public, routes!(well_known::authority)))
        .routes(on("/.well-known/jwks.json", Admit::Public, routes!(well_known::jwks)))
        .routes(on("/v1/terminal/exchange", Admit::Public, routes!(terminal::exchange)))
        .routes(on("/v1/whoami", Admit::Any, routes!(whoami::whoami)))
        .routes(on("/v1/tokens", Admit::Operator, routes!(tokens::list, tokens::create)))
        .routes(on("/v1/tokens/{id}", Admit::Operator, routes!(tokens::revoke)))
        .routes(on("/v1/publishers", Admit::Publisher, routes!(publishers::list)))
        .routes(on("/v1/publishers", Admit::Operator, routes!(publishers::create)))
        .routes(on("/v1/publishers/{publisher}", Admit::Publisher, routes!(publishers::get)))
        .routes(on("/v1/publishers/{publisher}/key", Admit::Publisher, routes!(publishers::set_key)))
        .routes(on("/v1/titles", Admit::Publisher, routes!(titles::list, titles::create)))
        .routes(on("/v1/titles/{title}", Admit::Publisher, routes!(titles::get)))
        .routes(on("/v1/titles/{title}/content-key", Admit::Publisher, routes!(titles::content_key)))
        .routes(on("/v1/titles/{title}/releases", Admit::Publisher, routes!(releases::list, releases::create)))
        .routes(on("/v1/titles/{title}/releases/{version}", Admit::Publisher, routes!(releases::get)))
        .routes(on("/v1/contents/{object}", Admit::Publisher, routes!(contents::head_stored, contents::put)))
        .routes(on("/v1/batches", Admit::Publisher, routes!(batches::list, batches::create)))
        .routes(on("/v1/batches/{batch}", Admit::Publisher, routes!(batches::get)))
        .routes(on("/v1/batches/{batch}/media", Admit::Publisher, routes!(batches::import)))
        .routes(on("/v1/batches/{batch}/identities", Admit::Publisher, routes!(batches::identities)))
        .routes(on("/v1/media/{medium_id}", Admit::Publisher, routes!(media::get)))
        .routes(on("/v1/media/{medium_id}/retire", Admit::Operator, routes!(media::retire)))
        .routes(on("/v1/cards", Admit::Operator, routes!(cards::import)))
        .routes(on("/v1/cards/{card_id}/revoke", Admit::Operator, routes!(cards::revoke)))
        .routes(on("/v1/users/{user_id}", Admit::Operator, routes!(users::get)))
        .routes(on("/v1/audit", Admit::Operator, routes!(audit::list)))
        .routes(on("/contents/{object}", Admit::Public, routes!(contents::get, contents::head)))
        .routes(on("/", Admit::Public, routes!(home::home)))
        .routes(on("/metrics", Admit::Public, routes!(metrics::scrape)))
        .routes(on("/openapi.json", Admit::Public, routes!(description::document)))
}

/// The server's routes with every layer, ready to be served.
pub fn router(app: App) -> Router {
    let (routes, openapi) = table(&app).split_for_parts();
    let routes = routes
        .layer(Extension(description::Description::of(&described::complete(&openapi))))
        .layer(Extension(home::Counted::default()))
        .merge(description::reference())
        .with_state(app.clone());
    layers::around(routes, &app)
        .layer(from_fn(problem::render))
        .layer(from_fn(metrics::layer))
        .layer(layers::request_ids())
        .layer(map_request(layers::only_good_ids))
}

/// The description of all routes, OpenAPI 3.1.
pub fn openapi(app: &App) -> utoipa::openapi::OpenApi {
    described::complete(&table(app).into_openapi())
}

/// One line of the table. The path must be the one that the handlers were annotated with, so that the screen above tells the truth.
fn on(app: &App, path: &str, admit: Admit, (schemas, mut paths, handlers): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    assert!(paths.paths.keys().eq([path]), "{path} is annotated with {:?}", paths.paths.keys());
    if !matches!(admit, Admit::Public) {
        for item in paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("bearer", [])]);
            }
        }
    }
    let handlers = match admit {
        Admit::Public => handlers,
        _ => handlers.layer(from_fn_with_state(app.clone(), idempotency::layer)),
    };
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
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("`cft_<id>_<secret>`, made by `counterfoild token new`"))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

mod described;
mod layers;
