//! Exchanges through a gateway (C16–C18), against a real authority behind its private listener: charged once, whatever breaks in between.

mod accounts;
mod attacks;
mod away;
mod breaking;
mod charged;
mod compared;
mod isolation;
mod streams;
mod terms;

use axum::Router;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use counterfoil_core::wire::{Answer as Signed, CARD_HEADER, EXCHANGE_HEADER, EnrolToken, Operation, Outcome, PAY_HEADER, Request};
use counterfoil_core::{AccountId, Money, PostingId, RequestId};
use counterfoil_format::envelope::{ANSWER_TYP, ReplyKey};
use counterfoil_format::jws::verify_compact;
use counterfoil_server::clock::Rng;
use counterfoil_server::db::{DbOptions, Tx};
use counterfoil_server::gateway::app::App;
use counterfoil_server::gateway::client;
use counterfoil_server::gateway::config::Config;
use counterfoil_server::gateway::ledger::{self, Balance, Source, TopUp};
use counterfoil_server::gateway::reconcile::{Compared, Difference, Told, Which};
use counterfoil_server::gateway::store::exchange::State;
use counterfoil_server::gateway::{driver, exchange, reconcile, router, server};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::reseller::Private;
use crate::support::TestDb;
use crate::support::catalogue::Answer;
use crate::support::terminal::{Medium, Terminal, media, request};

pub const TITLE: &str = "sky-raider";
pub const PRICE: u64 = 1999;

/// An authority, a gateway, an account with some money, a terminal and media that are charged for when they are copied.
pub struct Rig {
    pub private: Private,
    pub gateway: App,
    pub router: Router,
    pub db: TestDb,
    pub config: Config,
    /// Goes with the rig.
    _directory: tempfile::TempDir,
    pub gateway_id: String,
    pub account: AccountId,
    pub token: String,
    pub terminal: Terminal,
    pub media: Vec<Medium>,
}

/// A claim that is sent through a gateway, again and again if need be.
pub struct Claiming<'a> {
    pub rig: &'a Rig,
    pub request: Request,
    pub medium: &'a Medium,
    pub token: Option<String>,
}

/// Gives up soon where nothing is to be had.
pub fn impatient(options: &mut DbOptions) {
    options.retry_for = std::time::Duration::from_millis(40);
}

impl Rig {
    pub async fn new(db: &TestDb, count: i64, money: u64) -> Self {
        Self::over(Private::new(db).await, db, count, money).await
    }

    /// The same, at an authority that is there already.
    pub async fn over(private: Private, db: &TestDb, count: i64, money: u64) -> Self {
        let server = &private.server;
        let made = json!({ "name": "north", "share": 3000, "every_copy": true });
        let made = server.post(&server.operator, "/v1/gateways", &made).await.expect(201);
        let gateway_id = made["gateway"].as_str().unwrap().to_owned();
        let media = if count > 0 { media(server, TITLE, count, json!({})).await } else { vec![] };
        if count > 0 {
            let price = json!({ "amount": PRICE, "currency": "EUR" });
            server.put_json(&server.fox, &format!("/v1/gateways/{gateway_id}/prices/{TITLE}"), &price).await.expect(200);
        }
        let (directory, own) = (tempfile::tempdir().unwrap(), db.of_a_gateway().await);
        let mut config = Config::default();
        config.authority.url = format!("https://{}", private.listener.address);
        config.authority.identity_file = directory.path().join("identity.json");
        config.limits.requests_per_second = 0;
        config.limits.token_requests_per_second = 0;
        config.accounts.attempts_per_second = 0;
        let token = EnrolToken::parse(&private.token(&gateway_id).await).unwrap();
        client::enrol(&config.authority, &token, &server.app.clock).await.unwrap();
        let gateway = assembled(&config, &own, &private).await;
        let terminal = Terminal::registered(server).await;
        let router = router::router(gateway.clone());
        let mut rig = Self {
            private,
            gateway,
            router,
            db: own,
            config,
            _directory: directory,
            gateway_id,
            account: AccountId::from_bytes([0; 16]),
            token: String::new(),
            terminal,
            media,
        };
        (rig.account, rig.token) = rig.sign_up("ada", money).await;
        rig
    }

    pub async fn sign_up(&self, name: &str, money: u64) -> (AccountId, String) {
        let made = self.post("/v1/accounts", "", &json!({ "name": name, "password": "correct horse" })).await.expect(201);
        let account: AccountId = made["account"].as_str().unwrap().parse().unwrap();
        if money > 0 {
            self.top_up(account, money).await;
        }
        (account, made["token"].as_str().unwrap().to_owned())
    }

    pub async fn top_up(&self, account: AccountId, amount: u64) {
        let posting = PostingId::from_bytes(crate::support::terminal::random());
        let (money, now) = (Money { amount, currency: "EUR".parse().unwrap() }, self.gateway.clock.now());
        let top_up = TopUp { posting, money, source: Source::Cash { fee: 0 }, actor: "test".into(), note: String::new() };
        self.db
            .write("top up", account.to_string(), async move |tx: &mut Tx| ledger::top_up(tx, account, &top_up, now).await)
            .await
            .unwrap();
    }

    pub async fn send(&self, request: HttpRequest<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let mut request = HttpRequest::post(path).header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        let mut request = HttpRequest::get(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub fn claiming(&self, n: usize) -> Claiming<'_> {
        let operation = Operation::Claim(self.terminal.claim_operation(&self.media[n]));
        let request = Request { seal_answer: true, ..request(&self.private.server, operation) };
        Claiming { rig: self, request, medium: &self.media[n], token: Some(self.token.clone()) }
    }

    pub async fn balance(&self) -> Balance {
        let account = self.account;
        let currency = "EUR".parse().unwrap();
        self.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &currency).await).await.unwrap()
    }

    pub async fn state(&self, id: RequestId) -> Option<State> {
        exchange::find(&self.gateway, id).await.unwrap().map(|row| row.state)
    }

    /// As long after as the driver and the list of changes need.
    pub fn later(&self, milliseconds: i64) {
        let clock = &self.private.server.app.clock;
        clock.set(counterfoil_core::Timestamp(clock.now().0 + milliseconds));
    }

    /// Drives what is open, and holds both databases and the books against one another.
    pub async fn settled(&self) -> Settled {
        self.later(10 * 60 * 1000);
        driver::turn(&self.gateway).await.unwrap();
        self.later(2 * 60 * 1000);
        let compared = self.compared(None).await;
        let currency = "EUR".parse().unwrap();
        let account = self.account;
        let held = self.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &currency).await).await.unwrap();
        assert_eq!(held.reserved, 0, "nothing is reserved when nothing is open");
        compared
    }

    /// Both databases against one another, all of it or a month.
    pub async fn compared(&self, period: Option<&str>) -> Settled {
        let mut differences = vec![];
        let which = Which { period: period.map(|period| period.parse().unwrap()), fresh: 60_000 };
        let compared = reconcile::compare(&self.gateway, which, |told| {
            if let Told::Difference(difference) = told {
                differences.push(difference.clone());
            }
        });
        let Compared { compared, under_way, differ } = compared.await.unwrap();
        assert_eq!(differ, differences.len() as u64);
        Settled { compared, under_way, differences }
    }

    pub async fn gone(self) {
        self.gateway.db.close().await;
        self.db.gone().await;
    }
}

/// What a comparison has found.
#[derive(Debug)]
pub struct Settled {
    pub compared: u64,
    pub under_way: u64,
    pub differences: Vec<Difference>,
}

/// A gateway over these parts, with the authority's clock.
pub async fn assembled(config: &Config, db: &TestDb, private: &Private) -> App {
    let clock = private.server.app.clock.clone();
    server::assemble(config.clone(), config.server.listen, db.db.clone(), clock, Rng::seeded(5)).await.unwrap()
}

impl Claiming<'_> {
    pub fn id(&self) -> RequestId {
        self.request.request_id
    }

    /// Sends it, sealed anew, with what was agreed to.
    pub async fn send(&self, pay: Option<&str>) -> (Answer, ReplyKey) {
        let (envelope, reply) = self.rig.terminal.sealed_with_reply(&self.rig.private.server, &self.request, Some(self.medium));
        (self.send_as(envelope.to_json(), pay).await, reply)
    }

    pub async fn send_as(&self, envelope: Vec<u8>, pay: Option<&str>) -> Answer {
        let mut request = HttpRequest::post("/v1/terminal/exchange").header("content-type", "application/json");
        request = request.header(EXCHANGE_HEADER, self.id().to_string());
        request = request.header(CARD_HEADER, self.rig.terminal.card_id().unwrap().to_string());
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(pay) = pay {
            request = request.header(PAY_HEADER, pay);
        }
        self.rig.send(request.body(Body::from(envelope)).unwrap()).await
    }

    /// Sends it and opens the answer, which must be there.
    pub async fn answered(&self, pay: Option<&str>) -> (Value, Outcome) {
        let (answer, reply) = self.send(pay).await;
        let body = answer.expect(200);
        (body.clone(), outcome(self.rig, &body, &reply))
    }
}

/// What the authority has answered; only the terminal can open it.
pub fn outcome(rig: &Rig, body: &Value, reply: &ReplyKey) -> Outcome {
    let compact = reply.open(body["answer"].as_str().unwrap()).unwrap();
    let keys = rig.private.server.app.keys.key_list();
    let signed: Signed = verify_compact(&compact, ANSWER_TYP, |kid| keys.find(kid)?.verifying_key()).unwrap();
    signed.outcome
}

pub fn is_granted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Result(_))
}
