//! The whole map of the private listener on one screen: what gateways ask for themselves, and what they pass on for terminals.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::routing::{MethodRouter, get, post};

use super::caller::{self, Live};
use super::own;
use super::pace::Pace;
use crate::api::{contents, feeds, gateway, inbox, pictures, store, store_release, uploads, well_known};
use crate::app::App;
use crate::config::Limits;
use crate::metrics;
use crate::problem;
use crate::roles::ServerRole;
use crate::router::layers;

/// Every route: path, whom it admits, handler.
fn table(app: &App, live: &Live) -> Router<App> {
    Table::new(app, live)
        .on("/v1/gateway/enrol", Admit::Stranger, post(own::enrol))
        .on("/v1/gateway/renew", Admit::Gateway, post(own::renew))
        .on("/v1/gateway/prices", Admit::Gateway, get(own::prices))
        .on("/v1/gateway/statement", Admit::Gateway, get(own::statement))
        .on("/v1/gateway/exchanges", Admit::Gateway, get(gateway::changes).post(gateway::prepare))
        .on("/v1/gateway/exchanges/{exchange}", Admit::Gateway, get(gateway::find))
        .on("/v1/gateway/exchanges/{exchange}/commit", Admit::Gateway, post(gateway::commit))
        .on("/v1/gateway/exchanges/{exchange}/abort", Admit::Gateway, post(gateway::abort))
        .on("/v1/gateway/exchanges/{exchange}/undo", Admit::Gateway, post(gateway::undo))
        .on("/v1/gateway/refunds", Admit::Gateway, get(gateway::refunds))
        .on("/v1/gateway/reconcile", Admit::Gateway, get(gateway::compared))
        .on("/.well-known/counterfoil", Admit::Gateway, get(well_known::authority))
        .on("/.well-known/jwks.json", Admit::Gateway, get(well_known::jwks))
        .on("/v1/terminal/inbox", Admit::Gateway, post(inbox::listen))
        .contents("/contents/{object}", get(contents::get).head(contents::head))
        .on(
            "/v1/uploads/{ticket}",
            Admit::Gateway,
            get(uploads::head).head(uploads::head).patch(uploads::patch).delete(uploads::delete).options(uploads::options),
        )
        .on("/v1/store/titles", Admit::Gateway, get(store::search))
        .on("/v1/store/titles/{title}", Admit::Gateway, get(store::get))
        .on("/v1/store/titles/{title}/releases/{version}", Admit::Gateway, get(store_release::get))
        .on("/v1/store/titles/{title}/feed", Admit::Gateway, get(feeds::get_on_sale))
        .on("/pictures/{object}", Admit::Gateway, get(pictures::get))
        .routes
}

/// Whom a route of the private listener lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admit {
    /// Whoever reaches it: a gateway that is to get its first certificate.
    Stranger,
    /// Gateways, by their certificate.
    Gateway,
}

/// The routes with every layer, ready to be served.
pub fn router(app: &App, live: &Live) -> Router {
    // A gateway's address speaks for all of its customers: requests are counted by gateway, and not by address.
    let limits = Limits { requests_per_second: 0, token_requests_per_second: 0, ..app.config.limits.clone() };
    layers::around(table(app, live).with_state(app.clone()), &limits)
        .layer(from_fn_with_state(app.clone(), problem::render::<App>))
        .layer(from_fn(metrics::layer))
        .layer(layers::request_ids())
        .layer(map_request(layers::only_good_ids))
}

/// The table above, as it grows.
struct Table<'a> {
    app: &'a App,
    live: &'a Live,
    pace: Pace,
    routes: Router<App>,
}

impl<'a> Table<'a> {
    fn new(app: &'a App, live: &'a Live) -> Self {
        Self { app, live, pace: Pace::new(&app.config.gateways), routes: Router::new() }
    }

    /// One line.
    fn on(mut self, path: &'static str, admit: Admit, handlers: MethodRouter<App>) -> Self {
        let handlers = match admit {
            Admit::Stranger => handlers,
            Admit::Gateway => handlers.layer(from_fn_with_state((self.app.clone(), self.live.clone(), self.pace.clone()), caller::require)),
        };
        self.routes = self.routes.route(path, handlers);
        self
    }

    /// Contents, where this process has them; where not, terminals are told by the authority's document where they are.
    fn contents(self, path: &'static str, handlers: MethodRouter<App>) -> Self {
        if self.app.config.server.roles.has(ServerRole::Content) { self.on(path, Admit::Gateway, handlers) } else { self }
    }
}
