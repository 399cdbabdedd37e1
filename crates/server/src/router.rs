//! The whole URL map on one screen: route, the roles that serve it, whom it admits, handler.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Router};
use utoipa::OpenApi;
use utoipa::openapi::security::SecurityRequirement;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::api::{
    audit, batches, cards, contents, contents_servers, deltas, entries, export, feeds, gateways, health, home, inbox, listings, media,
    notices, openapi as description, orders, patches, people, pictures, providers, publishers, reference, reissues, releases, rights,
    selection, shop, staff, store, store_release, terminal, titles, tokens, uploads, users, verify, webhooks, well_known, whoami,
};
use crate::app::App;
use crate::auth::{self, Admit};
use crate::csv::lists::{self, List};
use crate::idempotency;
use crate::limits::{self, Limits, Rate};
use crate::metrics;
use crate::problem;
use crate::roles::ServerRole;
use crate::web::account::{self, entrance, keys, lost_card, security};
use crate::web::{self, assets, buy, console, devices, publish, send, shop as clerks, transfer};

/// Every route: path, the roles that serve it, whom it admits, handler.
fn table(app: &App) -> Table<'_> {
    let counted = attempts(app);
    Table::new(app)
        .on("/healthz", EVERY, Admit::Public, routes!(health::healthz))
        .on("/readyz", EVERY, Admit::Public, routes!(health::readyz))
        .on("/.well-known/counterfoil", KEYED, Admit::Public, routes!(well_known::authority))
        .on("/.well-known/jwks.json", KEYED, Admit::Public, routes!(well_known::jwks))
        .on("/v1/terminal/exchange", TERMINALS, Admit::Public, routes!(terminal::exchange))
        .on("/v1/terminal/inbox", AUTHORITY, Admit::Public, routes!(inbox::listen))
        .on("/v1/whoami", AUTHORITY, Admit::Any, routes!(whoami::whoami))
        .on("/v1/tokens", AUTHORITY, Admit::Operator, routes!(tokens::list, tokens::create))
        .on("/v1/tokens/{id}", AUTHORITY, Admit::Operator, routes!(tokens::revoke))
        .on("/v1/staff", AUTHORITY, Admit::Operator, routes!(staff::list, staff::add))
        .on("/v1/staff/{id}/link", AUTHORITY, Admit::Operator, routes!(staff::link))
        .on("/v1/staff/{id}/end", AUTHORITY, Admit::Operator, routes!(staff::end))
        .on("/v1/publishers", AUTHORITY, Admit::Publisher, routes!(publishers::list))
        .on("/v1/publishers", AUTHORITY, Admit::Operator, routes!(publishers::create))
        .on("/v1/publishers/{publisher}", AUTHORITY, Admit::Publisher, routes!(publishers::get))
        .on("/v1/publishers/{publisher}/key", AUTHORITY, Admit::Publisher, routes!(publishers::set_key))
        .on("/v1/titles", AUTHORITY, Admit::Publisher, routes!(titles::list, titles::create))
        .on("/v1/titles/{title}", AUTHORITY, Admit::Publisher, routes!(titles::get))
        .on("/v1/titles/{title}/content-key", AUTHORITY, Admit::Publisher, routes!(titles::content_key))
        .on("/v1/titles/{title}/releases", AUTHORITY, Admit::Publisher, routes!(releases::list, releases::create))
        .on("/v1/titles/{title}/releases/{version}", AUTHORITY, Admit::Publisher, routes!(releases::get, releases::change))
        .on("/v1/titles/{title}/deltas", AUTHORITY, Admit::Publisher, routes!(deltas::list, deltas::create))
        .on("/v1/titles/{title}/patches", AUTHORITY, Admit::Publisher, routes!(patches::list, patches::create))
        .on("/v1/titles/{title}/channels/{channel}", AUTHORITY, Admit::Publisher, routes!(releases::channel, releases::set_channel))
        .on("/v1/titles/{title}/feed", AUTHORITY, Admit::Publisher, routes!(feeds::get, feeds::put))
        .on("/v1/titles/{title}/rules", AUTHORITY, Admit::Publisher, routes!(selection::list, selection::attempt))
        .on("/v1/titles/{title}/rules/{supplement}", AUTHORITY, Admit::Publisher, routes!(selection::put, selection::remove))
        .on("/v1/contents-servers", AUTHORITY, Admit::Operator, routes!(contents_servers::list, contents_servers::create))
        .on("/v1/contents-servers/{server}", AUTHORITY, Admit::Operator, routes!(contents_servers::end))
        .on("/v1/gateways", AUTHORITY, Admit::Operator, routes!(gateways::list, gateways::create))
        .on("/v1/gateways/{gateway}", AUTHORITY, Admit::Operator, routes!(gateways::get, gateways::end))
        .on("/v1/gateways/{gateway}/terms", AUTHORITY, Admit::Operator, routes!(gateways::terms::list, gateways::terms::set))
        .on("/v1/gateways/{gateway}/token", AUTHORITY, Admit::Operator, routes!(gateways::token))
        .on("/v1/gateways/{gateway}/prices", AUTHORITY, Admit::Publisher, routes!(gateways::prices))
        .on("/v1/gateways/{gateway}/prices/{title}", AUTHORITY, Admit::Publisher, routes!(gateways::put_price, gateways::remove_price))
        .on("/v1/gateways/{gateway}/statement", AUTHORITY, Admit::Operator, routes!(gateways::statement))
        .on("/v1/gateways/{gateway}/settlements", AUTHORITY, Admit::Operator, routes!(gateways::settlements, gateways::settle))
        .on("/v1/providers", AUTHORITY, Admit::Operator, routes!(providers::list, providers::create))
        .on("/v1/providers/{provider}", AUTHORITY, Admit::Operator, routes!(providers::get, providers::end))
        .on("/v1/verify", AUTHORITY, Admit::Provider, routes!(verify::verify))
        .on("/v1/contents/{object}", UPLOADS, Admit::Publisher, routes!(contents::head_stored, contents::put))
        .on("/v1/batches", AUTHORITY, Admit::Publisher, routes!(batches::list, batches::create))
        .on("/v1/batches/{batch}", AUTHORITY, Admit::Publisher, routes!(batches::get))
        .on("/v1/batches/{batch}/media", AUTHORITY, Admit::Publisher, routes!(batches::import))
        .on("/v1/batches/{batch}/rights", AUTHORITY, Admit::Publisher, routes!(rights::of_batch))
        .on("/v1/batches/{batch}/media/rights", AUTHORITY, Admit::Publisher, routes!(rights::of_query))
        .on("/v1/batches/{batch}/refresh", AUTHORITY, Admit::Publisher, routes!(rights::refresh_batch))
        .on("/v1/batches/{batch}/identities", AUTHORITY, Admit::Publisher, routes!(batches::identities))
        .on("/v1/notices", AUTHORITY, Admit::Publisher, routes!(notices::get))
        .on("/v1/media/{medium_id}", AUTHORITY, Admit::Publisher, routes!(media::get))
        .on("/v1/media/{medium_id}/rights", AUTHORITY, Admit::Publisher, routes!(rights::of_medium))
        .on("/v1/media/{medium_id}/refresh", AUTHORITY, Admit::Publisher, routes!(rights::refresh_medium))
        .on("/v1/media/{medium_id}/retire", AUTHORITY, Admit::Operator, routes!(media::retire))
        .on("/v1/people", AUTHORITY, Admit::Operator, routes!(people::import))
        .on("/v1/people/{user_id}", AUTHORITY, Admit::Operator, routes!(people::get))
        .on("/v1/people/{user_id}/erase", AUTHORITY, Admit::Operator, routes!(people::erase))
        .on("/v1/export", AUTHORITY, Admit::Operator, routes!(export::list))
        .on("/v1/export/{what}", AUTHORITY, Admit::Operator, routes!(export::rows))
        .on("/v1/cards", AUTHORITY, Admit::Operator, routes!(cards::import))
        .on("/v1/cards/{card_id}/revoke", AUTHORITY, Admit::Operator, routes!(cards::revoke))
        .on("/v1/entries", AUTHORITY, Admit::Support, routes!(entries::find))
        .on("/v1/entries/{user_id}", AUTHORITY, Admit::Support, routes!(entries::get))
        .on("/v1/entries/{user_id}/exchange", AUTHORITY, Admit::Repair, routes!(entries::exchange))
        .on("/v1/entries/{user_id}/reissue", AUTHORITY, Admit::Repair, routes!(reissues::replace))
        .on("/v1/entries/{user_id}/reissues/{reissue_id}/decline", AUTHORITY, Admit::Repair, routes!(reissues::decline))
        .on("/v1/reissues", AUTHORITY, Admit::Support, routes!(reissues::list))
        .on("/v1/users", AUTHORITY, Admit::Shop, routes!(shop::assign))
        .on("/v1/users/{user_id}", AUTHORITY, Admit::Operator, routes!(users::get))
        .on("/v1/users/{user_id}/devices", AUTHORITY, Admit::Shop, routes!(shop::announce))
        .on("/v1/users/{user_id}/balance", AUTHORITY, Admit::Shop, routes!(orders::top_up))
        .on("/v1/users/{user_id}/orders/{order_id}/paid", AUTHORITY, Admit::Operator, routes!(orders::paid))
        .on("/v1/users/{user_id}/orders/{order_id}/refund", AUTHORITY, Admit::Operator, routes!(orders::refund_order))
        .on("/v1/users/{user_id}/orders/{order_id}/chargeback", AUTHORITY, Admit::Operator, routes!(orders::charge_back))
        .on("/v1/users/{user_id}/licenses/{license_id}/revoke", AUTHORITY, Admit::Operator, routes!(orders::revoke))
        .on("/v1/orders", AUTHORITY, Admit::Operator, routes!(orders::list))
        .on("/v1/webhooks", AUTHORITY, Admit::Publisher, routes!(webhooks::list, webhooks::create))
        .on("/v1/webhook-events", AUTHORITY, Admit::Publisher, routes!(webhooks::events))
        .on("/v1/webhooks/{webhook}", AUTHORITY, Admit::Publisher, routes!(webhooks::get, webhooks::end))
        .on("/v1/webhooks/{webhook}/rotate", AUTHORITY, Admit::Publisher, routes!(webhooks::rotate))
        .on("/v1/webhooks/{webhook}/test", AUTHORITY, Admit::Publisher, routes!(webhooks::test))
        .on("/v1/webhooks/{webhook}/deliveries", AUTHORITY, Admit::Publisher, routes!(webhooks::deliveries))
        .on("/v1/webhooks/{webhook}/deliveries/{delivery}", AUTHORITY, Admit::Publisher, routes!(webhooks::delivery))
        .on("/v1/webhooks/{webhook}/deliveries/{delivery}/resend", AUTHORITY, Admit::Publisher, routes!(webhooks::resend))
        .on("/v1/audit", AUTHORITY, Admit::Operator, routes!(audit::list))
        .on("/contents/{object}", CONTENT, Admit::Public, routes!(contents::get, contents::head))
        .on("/v1/uploads/{ticket}", AUTHORITY, Admit::Public, routes!(uploads::head, uploads::patch, uploads::delete, uploads::options))
        .on("/v1/titles/{title}/listing", AUTHORITY, Admit::Publisher, routes!(listings::get, listings::put))
        .on("/v1/titles/{title}/pictures/{position}", AUTHORITY, Admit::Publisher, routes!(listings::put_picture, listings::remove_picture))
        .on("/v1/store/titles", AUTHORITY, Admit::Public, routes!(store::search))
        .on("/v1/store/titles/{title}", AUTHORITY, Admit::Public, routes!(store::get))
        .on("/v1/store/titles/{title}/releases/{version}", AUTHORITY, Admit::Public, routes!(store_release::get))
        .on("/v1/store/titles/{title}/feed", AUTHORITY, Admit::Public, routes!(feeds::get_on_sale))
        .on("/pictures/{object}", PICTURES, Admit::Public, routes!(pictures::get))
        .page("/store", GET, get(web::store::store))
        .page("/store/{title}", GET, get(web::store::title))
        .page("/account", GET, get(account::account))
        .page("/account/sign-in", FORM, get(entrance::sign_in_form).merge(counted(post(entrance::sign_in))))
        .page("/account/sign-in/code", POST, counted(post(entrance::sign_in_code)))
        .page("/account/sign-in/passkey/begin", POST, counted(post(keys::sign_in_begin)))
        .page("/account/sign-in/passkey", POST, counted(post(keys::sign_in)))
        .page("/account/sign-up", FORM, get(entrance::sign_up_form).merge(counted(post(entrance::sign_up))))
        .page("/account/forgotten", FORM, get(entrance::forgotten_form).merge(counted(post(entrance::forgotten))))
        .page("/account/recover", POST, counted(post(entrance::recover)))
        .page("/account/lost-card", FORM, get(lost_card::form).merge(counted(post(lost_card::ask))))
        .page("/account/link", FORM, get(entrance::link_form).merge(counted(post(entrance::link))))
        .page("/account/orders/{order}", GET, get(account::order))
        .page("/account/orders/{order}/refund", POST, post(account::give_back))
        .page("/account/security", GET, get(security::security))
        .page("/account/password", POST, post(security::password))
        .page("/account/email", POST, post(security::email))
        .page("/account/codes", FORM, get(security::codes_form).post(security::codes_on))
        .page("/account/codes/off", POST, post(security::codes_off))
        .page("/account/recovery-codes", POST, post(security::recovery_codes))
        .page("/account/passkeys/begin", POST, post(keys::begin))
        .page("/account/passkeys", POST, post(keys::finish))
        .page("/account/passkeys/remove", POST, post(keys::remove))
        .page("/account/sessions/end", POST, post(account::end_session))
        .page("/account/sign-out", POST, post(account::sign_out))
        .page("/account/sign-out-everywhere", POST, post(account::sign_out_everywhere))
        .page("/store/{title}/buy", FORM, get(buy::form).post(buy::buy))
        .page("/devices", FORM, get(devices::list).post(devices::announce))
        .page("/devices/send", POST, post(send::send))
        .page("/transfer", FORM, get(transfer::form).post(transfer::carry_out))
        .page("/transfer/preview", GET, get(transfer::preview))
        .page("/publish", GET, get(publish::titles))
        .page("/publish/sign-in", POST, counted(post(publish::sign_in)))
        .page("/publish/sign-out", POST, post(publish::sign_out))
        .page("/publish/media", GET, get(publish::media::search))
        .page("/publish/media/{medium_id}", GET, get(publish::media::medium))
        .page("/publish/titles/{title}", FORM, get(publish::form).post(publish::save))
        .page("/shop", GET, get(clerks::form))
        .page("/shop/sign-in", POST, counted(post(clerks::sign_in)))
        .page("/shop/sign-out", POST, post(clerks::sign_out))
        .page("/shop/register", POST, post(clerks::register))
        .page("/console", GET, get(console::overview::overview))
        .page("/console/set-up", FORM, get(console::entrance::set_up_form).merge(counted(post(console::entrance::set_up))))
        .page("/console/sign-in", FORM, get(console::entrance::sign_in_form).merge(counted(post(console::entrance::sign_in))))
        .page("/console/sign-in/code", POST, counted(post(console::entrance::sign_in_code)))
        .page("/console/sign-in/passkey/begin", POST, counted(post(console::entrance::passkey_begin)))
        .page("/console/sign-in/passkey", POST, counted(post(console::entrance::passkey)))
        .page("/console/second-step", FORM, get(console::factor::second_step).post(console::factor::codes_on))
        .page("/console/passkeys/begin", POST, post(console::factor::passkey_begin))
        .page("/console/passkeys", POST, post(console::factor::passkey_made))
        .page("/console/passkeys/remove", POST, post(console::factor::passkey_remove))
        .page("/console/codes/off", POST, post(console::factor::codes_off))
        .page("/console/password", POST, post(console::factor::set_password))
        .page("/console/recovery-codes", POST, post(console::factor::recovery_codes))
        .page("/console/security", GET, get(console::factor::security))
        .page("/console/sessions/end", POST, post(console::factor::end_session))
        .page("/console/sign-out", POST, post(console::entrance::sign_out))
        .page("/console/batches", GET, get(console::batches::list))
        .page("/console/batches/{batch}", GET, get(console::batches::show))
        .page("/console/cards/{card_id}", GET, get(console::hardware::card))
        .page("/console/devices/{device_id}", GET, get(console::hardware::device))
        .page("/console/drives/{drive_id}", GET, get(console::hardware::drive))
        .page("/console/media/{medium_id}", GET, get(console::media::show))
        .page("/console/orders", GET, get(console::orders::list))
        .page("/console/orders/{user_id}/{order_id}", GET, get(console::orders::show))
        .page("/console/search", GET, get(console::search::search))
        .page("/console/staff", FORM, get(console::people::list).post(console::people::add))
        .page("/console/staff/{id}/link", POST, post(console::people::link))
        .page("/console/staff/{id}/end", FORM, get(console::people::end_form).post(console::people::end))
        .page("/console/titles", GET, get(console::titles::list))
        .page("/console/titles/{title}", GET, get(console::titles::show))
        .page("/console/users/{user_id}", GET, get(console::users::show))
        .page("/console/audit", GET, get(console::audit::list))
        .page("/console/audit.csv", GET, get(console::audit::table))
        .page("/console/batches/{batch}/identities", FORM, get(console::press::identities).post(console::press::take))
        .page("/console/batches/{batch}/rights", FORM, get(console::rights::batch_form).post(console::rights::change_batch))
        .page("/console/cards/{card_id}/revoke", FORM, get(console::revoke::card_form).post(console::revoke::card))
        .page("/console/media/{medium_id}/retire", FORM, get(console::revoke::medium_form).post(console::revoke::medium))
        .page("/console/media/{medium_id}/rights", FORM, get(console::rights::medium_form).post(console::rights::change_medium))
        .page(
            "/console/orders/{user_id}/{order_id}/chargeback",
            FORM,
            get(console::revoke::chargeback_form).post(console::revoke::chargeback),
        )
        .page("/console/orders/{user_id}/{order_id}/refund", FORM, get(console::revoke::refund_form).post(console::revoke::refund))
        .page("/console/press", FORM, get(console::press::form).post(console::press::make))
        .page("/console/reissues", GET, get(console::reissue::list))
        .page("/console/settings", GET, get(console::settings::settings))
        .page("/console/titles/{title}/releases/{version}", FORM, get(console::releases::form).post(console::releases::change))
        .page("/console/tokens", FORM, get(console::tokens::list).post(console::tokens::make))
        .page("/console/tokens/{id}/revoke", FORM, get(console::tokens::ask).post(console::tokens::revoke))
        .page("/console/users/{user_id}/erase", FORM, get(console::revoke::erase_form).post(console::revoke::erase))
        .page("/console/users/{user_id}/exchange", FORM, get(console::repair::form).post(console::repair::exchange))
        .page(
            "/console/users/{user_id}/licenses/{license_id}/revoke",
            FORM,
            get(console::revoke::license_form).post(console::revoke::license),
        )
        .page("/console/users/{user_id}/reissue", FORM, get(console::reissue::ask).post(console::reissue::replace))
        .page(
            "/console/users/{user_id}/reissues/{reissue_id}/decline",
            FORM,
            get(console::reissue::ask_decline).post(console::reissue::decline),
        )
        .page("/console/webhooks", FORM, get(console::webhooks::list).post(console::webhooks::make))
        .page("/console/webhooks/{webhook}", GET, get(console::webhooks::webhook))
        .page("/console/webhooks/{webhook}/deliveries/{delivery}", GET, get(console::webhooks::delivery))
        .page("/console/webhooks/{webhook}/deliveries/{delivery}/resend", POST, post(console::webhooks::resend))
        .page("/console/webhooks/{webhook}/end", FORM, get(console::webhooks::end_form).post(console::webhooks::end))
        .page("/console/webhooks/{webhook}/rotate", FORM, get(console::webhooks::rotate_form).post(console::webhooks::rotate))
        .page("/console/webhooks/{webhook}/test", POST, post(console::webhooks::test))
        .page("/assets/{file}", GET, get(assets::get))
        .on("/", CONSOLE, Admit::Public, routes!(home::home))
        .on("/metrics", EVERY, Admit::Public, routes!(metrics::scrape))
        .on("/openapi.json", EVERY, Admit::Public, routes!(description::document))
}

const EVERY: &[ServerRole] = &ServerRole::ALL;
/// Those who hold the authority's keys.
const KEYED: &[ServerRole] = &[ServerRole::Authority, ServerRole::License, ServerRole::Console];
const TERMINALS: &[ServerRole] = &[ServerRole::Authority, ServerRole::License];
const AUTHORITY: &[ServerRole] = &[ServerRole::Authority];
const UPLOADS: &[ServerRole] = &[ServerRole::Authority, ServerRole::Content];
const PICTURES: &[ServerRole] = &[ServerRole::Authority, ServerRole::Console];
const CONTENT: &[ServerRole] = &[ServerRole::Content];
const CONSOLE: &[ServerRole] = &[ServerRole::Console];
/// Methods of pages: to look at, to send, or a form that is looked at and sent.
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const FORM: &[&str] = &["GET", "POST"];

/// Counts attempts to get in together, by address, beside the limit on all requests.
fn attempts(app: &App) -> impl Fn(MethodRouter<App>) -> MethodRouter<App> {
    let rate = Rate { per_second: app.config.accounts.attempts_per_second, burst: app.config.accounts.attempts_burst };
    let limits = Limits::new(rate, Rate { per_second: 0, burst: 0 }, app.config.limits.trusted_proxies.clone());
    move |handlers| handlers.layer(from_fn_with_state(limits.clone(), limits::layer))
}

/// The routes of this process's roles with every layer, ready to be served.
pub fn router(app: App) -> Router {
    let Table { served, pages, elsewhere, .. } = table(&app);
    let (mut routes, openapi) = served.split_for_parts();
    for page in pages {
        routes = routes.route(page.path, page.handlers.layer(from_fn(web::layer)));
    }
    for (path, roles) in elsewhere {
        routes = routes.route(path, elsewhere::of(&app, roles));
    }
    let routes = routes
        .layer(Extension(description::Description::of(&described::complete(&openapi))))
        .layer(Extension(home::Counted::default()))
        .merge(reference::reference())
        .with_state(app.clone());
    layers::around(routes, &app.config.limits)
        .layer(from_fn_with_state(app, problem::render::<App>))
        .layer(from_fn(metrics::layer))
        .layer(layers::request_ids())
        .layer(map_request(layers::only_good_ids))
}

/// The description of the routes of this process's roles, OpenAPI 3.1.
pub fn openapi(app: &App) -> utoipa::openapi::OpenApi {
    described::complete(&table(app).served.into_openapi())
}

/// The pages of this process's roles: path and methods. They are for people, and so not in the description.
pub fn pages(app: &App) -> Vec<(&'static str, &'static [&'static str])> {
    table(app).pages.into_iter().map(|page| (page.path, page.methods)).collect()
}

/// The table above as it applies to one process.
struct Table<'a> {
    app: &'a App,
    served: OpenApiRouter<App>,
    pages: Vec<Page>,
    /// Paths that only processes of other roles serve.
    elsewhere: BTreeMap<&'static str, &'static [ServerRole]>,
}

/// A page for people, with the methods that its handlers take.
struct Page {
    path: &'static str,
    methods: &'static [&'static str],
    handlers: MethodRouter<App>,
}

impl<'a> Table<'a> {
    fn new(app: &'a App) -> Self {
        Self { app, served: OpenApiRouter::with_openapi(Description::openapi()), pages: vec![], elsewhere: BTreeMap::new() }
    }

    /// One line. Whoever has no database cannot tell callers apart, and serves only what everybody may have.
    fn on(mut self, path: &'static str, roles: &'static [ServerRole], admit: Admit, handlers: UtoipaMethodRouter<App>) -> Self {
        let ours = &self.app.config.server.roles;
        if ours.has_any(roles) && (matches!(admit, Admit::Public) || ours.need_database()) {
            self.served = self.served.routes(guarded(self.app, path, admit, handlers));
        } else {
            self.elsewhere.insert(path, roles);
        }
        self
    }

    /// One page: of the role `console`, and without a token; whom it is for is the session's business.
    fn page(mut self, path: &'static str, methods: &'static [&'static str], handlers: MethodRouter<App>) -> Self {
        if self.app.config.server.roles.has_any(CONSOLE) {
            self.pages.push(Page { path, methods, handlers });
        } else {
            self.elsewhere.insert(path, CONSOLE);
        }
        self
    }
}

/// A route with what stands before its handlers. The path must be the one that they were annotated with, so that the table tells the truth.
fn guarded(app: &App, path: &str, admit: Admit, (schemas, mut paths, handlers): UtoipaMethodRouter<App>) -> UtoipaMethodRouter<App> {
    assert!(paths.paths.keys().eq([path]), "{path} is annotated with {:?}", paths.paths.keys());
    if !matches!(admit, Admit::Public) {
        for item in paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.head, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                operation.security = Some(vec![SecurityRequirement::new::<_, _, &str>("bearer", [])]);
            }
        }
    }
    let handlers = match List::of(path, &paths, &schemas) {
        Some(list) => {
            list.describe(path, &mut paths);
            handlers.layer(from_fn_with_state(Arc::new(list), lists::layer))
        }
        None => handlers,
    };
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

pub(crate) mod described;
mod elsewhere;
pub(crate) mod layers;
