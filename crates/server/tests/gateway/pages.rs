//! The pages of a gateway: its customers' and its operator's, what they are told, and by mail.

mod alerts;
mod by_card;
mod customers;
mod mail;
mod operator;
mod routes;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use counterfoil_server::clock::Rng;
use counterfoil_server::db::Tx;
use counterfoil_server::gateway::app::App;
use counterfoil_server::gateway::operator::{Desk, router as desk_router};
use counterfoil_server::gateway::store::entry::{self, FAMILY, Link};
use counterfoil_server::gateway::vouchers::{self, Batch};
use counterfoil_server::gateway::{router, server};
use tower::ServiceExt as _;

use crate::support::browser::{Browser, Sends, text};
use crate::support::catalogue::Answer;
use crate::support::{TestDb, db_test};
use crate::through::Rig;

pub const PASSWORD: &str = "correct horse battery";

/// The public listener, or the operator's.
pub struct Listener(Router);

impl Sends for Listener {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.0.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }
}

pub fn public(app: &App) -> Listener {
    Listener(router::router(app.clone()))
}

pub fn desk(app: &App) -> Listener {
    Listener(desk_router(Desk::new(app.clone(), false)))
}

/// A browser that has made an account of this name.
pub async fn signed_up(at: &Listener, name: &str) -> Browser {
    let mut browser = Browser::default();
    let fields = [("name", name), ("password", PASSWORD)];
    let made = browser.submit(at, "/account/sign-up", "/account/sign-up", &fields).await;
    assert_eq!(made.header("location"), "/account?done=made", "{}", text(&made));
    browser
}

/// A browser that a link let in to the operator's pages.
pub async fn let_in(app: &App, at: &Listener) -> Browser {
    let mut browser = Browser::default();
    let path = link(app).await;
    let entered = browser.submit(at, &path, "/enter", &[]).await;
    assert_eq!(entered.header("location"), "/operator", "{}", text(&entered));
    browser
}

/// A fresh link, as the command makes it.
pub async fn link(app: &App) -> String {
    let (link, now) = (Link::generate(&mut Rng::System), app.clock.now());
    let kept = link.clone();
    app.db.write("link", FAMILY, async move |tx: &mut Tx| entry::insert_link(tx, &kept, None, now).await).await.unwrap();
    format!("/enter?link={}", link.reveal())
}

pub async fn voucher(app: &App, money: &str) -> String {
    let batch = Batch { name: "spring".to_owned(), money: money.parse().unwrap(), expires_at: None };
    vouchers::make(&app.db, &batch, 1, app.clock.now(), &Rng::System).await.unwrap()[0].to_string()
}

/// Signs in to the account that the rig has.
pub async fn ada(at: &Listener) -> Browser {
    let mut browser = Browser::default();
    let signed = browser.submit(at, "/account/sign-in", "/account/sign-in", &[("name", "ada"), ("password", "correct horse")]).await;
    assert_eq!(signed.status, 303, "{}", text(&signed));
    browser
}

/// The same rig with another configuration.
pub async fn with(mut rig: Rig, change: impl FnOnce(&mut counterfoil_server::gateway::config::Config)) -> Rig {
    change(&mut rig.config);
    // Not seeded: the same bytes would be drawn again, and a browser's token be a terminal's.
    let (listen, clock) = (rig.config.server.listen, rig.private.server.app.clock.clone());
    rig.gateway = server::assemble(rig.config.clone(), listen, rig.db.db.clone(), clock, Rng::System).await.unwrap();
    rig.router = router::router(rig.gateway.clone());
    rig
}
