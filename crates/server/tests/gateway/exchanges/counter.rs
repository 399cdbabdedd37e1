//! A gateway's counter: terminals hand in what they want, and it asks the authority, as the gateway process does.

use counterfoil_core::wire::{Answer, Operation, Outcome, Prepare, Request, Step, Undo, UndoReason};
use counterfoil_core::{Code, GatewayId, Money, Refusal, RequestId, Timestamp};
use counterfoil_format::envelope::{ANSWER_TYP, ReplyKey};
use counterfoil_format::jws::{Signer, verify_compact};
use counterfoil_format::sign::SigningKey;
use counterfoil_server::actions::gateway;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::gateways::Caller;
use counterfoil_server::jobs;
use counterfoil_server::problem::Problem;
use counterfoil_server::{auditor, store};
use serde_json::Value;

use crate::support::TestDb;
use crate::support::catalogue::{NOW, TestServer};
use crate::support::terminal::{Medium, Terminal, press, random, request, sealed};

/// A gateway with 30 % of the price, that charges for every copy or only for those that the medium says.
pub async fn gateway(db: &TestDb, name: &'static str, every_copy: bool, prices: &[(&str, &str)]) -> Caller {
    let id = GatewayId::from_bytes(random());
    let prices: Vec<(String, Money)> = prices.iter().map(|(title, price)| ((*title).to_owned(), price.parse().unwrap())).collect();
    db.write("gateway", "/gateway", async move |tx: &mut Tx| -> Result<(), DbError> {
        tx.query("INSERT INTO gateway (gateway_id, name, share, every_copy, created_at) VALUES ($1, $2, 3000, $3, 1)")
            .bind(id.to_string())
            .bind(name)
            .bind(i64::from(every_copy))
            .execute()
            .await?;
        for (title, price) in &prices {
            tx.query("INSERT INTO gateway_price (gateway_id, title_id, currency, amount) VALUES ($1, $2, $3, $4)")
                .bind(id.to_string())
                .bind(title)
                .bind(price.currency.as_str())
                .bind(i64::try_from(price.amount).unwrap())
                .execute()
                .await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    Caller { gateway: id, name: name.to_owned(), share: 3000, every_copy }
}

/// Media of a title that is published, whose keys are paid for when they are copied.
pub async fn given_away(server: &TestServer, title: &str, count: i64) -> Vec<Medium> {
    let body = serde_json::json!({ "titles": [{ "title": title }], "count": count, "paid_on_copy": true });
    let batch = server.post(&server.fox, "/v1/batches", &body).await.expect(201);
    assert_eq!(batch["paid_on_copy"], true);
    let lines = server.get(&server.fox, &format!("/v1/batches/{}/identities?from=1", batch["batch"].as_str().unwrap())).await;
    crate::support::terminal::pressed(server, &lines.body)
}

/// Media of a title that is published, free to be copied directly.
pub async fn bought(server: &TestServer, title: &str, count: i64) -> Vec<Medium> {
    press(server, title, count, serde_json::json!({})).await
}

/// What a terminal wants, in an envelope of its own, that it can open the answer to.
pub struct Wanted {
    pub id: RequestId,
    pub ask: Prepare,
    request: Request,
    reply: ReplyKey,
}

impl Wanted {
    pub fn new(server: &TestServer, terminal: &Terminal, operation: Operation, medium: Option<&Medium>) -> Self {
        Self::of(server, terminal, Request { seal_answer: true, ..request(server, operation) }, medium)
    }

    pub fn claim(server: &TestServer, terminal: &Terminal, medium: &Medium) -> Self {
        Self::new(server, terminal, Operation::Claim(terminal.claim_operation(medium)), Some(medium))
    }

    pub fn of(server: &TestServer, terminal: &Terminal, request: Request, medium: Option<&Medium>) -> Self {
        let keys: Vec<(String, SigningKey)> = [
            terminal.card.as_ref().map(|keys| (terminal.card_id().unwrap().to_string(), keys.signing_key())),
            terminal.device.as_ref().map(|(id, keys)| (id.to_string(), keys.signing_key())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut proofs: Vec<(&str, Signer<'_>)> = keys.iter().map(|(kid, key)| (kid.as_str(), Signer::Key(key))).collect();
        proofs.extend(medium.map(|medium| (medium.id.as_str(), Signer::ClaimSecret(&medium.secret))));
        let (envelope, reply) = sealed(server, &request, &proofs);
        let envelope = serde_json::from_slice(&envelope.to_json()).unwrap();
        Self { id: request.request_id, ask: Prepare { exchange_id: request.request_id, envelope }, request, reply }
    }

    /// The same request, sealed anew, as a terminal does that was restarted.
    pub fn again(&self, server: &TestServer, terminal: &Terminal, medium: Option<&Medium>) -> Self {
        Self::of(server, terminal, self.request.clone(), medium)
    }

    pub async fn prepare(&self, server: &TestServer, by: &Caller) -> Result<Step, Problem> {
        gateway::prepare(&server.app, by, &self.ask).await
    }

    pub async fn commit(&self, server: &TestServer, by: &Caller) -> Result<Step, Problem> {
        gateway::commit(&server.app, by, &self.ask).await
    }

    /// Prepares and commits.
    pub async fn pay(&self, server: &TestServer, by: &Caller) -> Step {
        self.prepare(server, by).await.unwrap();
        self.commit(server, by).await.unwrap()
    }

    pub async fn undo(&self, server: &TestServer, by: &Caller, why: UndoReason) -> Result<Step, Problem> {
        gateway::undo(&server.app, by, self.id, &Undo { why, note: "asked for".to_owned() }).await
    }

    /// What the authority says to the terminal.
    pub fn answer(&self, server: &TestServer, step: &Step) -> Result<Value, Refusal> {
        let signed = self.reply.open(step.answer.as_ref().expect("an answer")).unwrap();
        let keys = server.app.keys.key_list();
        let answer: Answer = verify_compact(&signed, ANSWER_TYP, |kid| keys.find(kid)?.verifying_key()).unwrap();
        assert_eq!(answer.request_id, self.id);
        match answer.outcome {
            Outcome::Result(value) => Ok(value),
            Outcome::Refusal(refusal) => Err(refusal),
        }
    }

    #[track_caller]
    pub fn refused(&self, server: &TestServer, step: &Step) -> Code {
        self.answer(server, step).expect_err("a refusal").code
    }

    /// The names of the grants in an answer.
    #[track_caller]
    pub fn grants(&self, server: &TestServer, step: &Step) -> Vec<String> {
        let granted = self.answer(server, step).expect("grants");
        granted["grants"].as_array().unwrap().iter().map(|grant| grant["grant_id"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn later(server: &TestServer, minutes: i64) {
    server.app.clock.set(Timestamp(server.app.clock.now().0 + minutes * 60_000));
    assert!(server.app.clock.now() > NOW);
}

/// Delivers what families have to tell one another, to the end.
pub async fn deliver(server: &TestServer) {
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
}

pub async fn is_sound(server: &TestServer, db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    deliver(server).await;
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}
