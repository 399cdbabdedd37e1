//! What a terminal and a publisher's tool say over HTTP.

use counterfoil_core::{
    DeviceId, Money, ReissueId, UserId,
    license::{LICENSE_TYP, License},
    wire::{Answer, AuthorityDocument, HolderKeys, IdentityArea},
};
use counterfoil_format::{
    envelope::{ANSWER_TYP, Envelope},
    hpke::SealingPublicKey,
    jws,
    jwt::KeyList,
};
use std::time::Duration;

/// Why a run cannot go on, or what it found.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The machine.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    /// The server did what it must never do.
    #[error("{0}")]
    Broken(String),
}

/// A definite answer, or none.
pub enum Reply<T = Answer> {
    /// Signed by the authority, for this request.
    Answer(T),
    /// Refused, reset, cut: nobody knows whether it took effect.
    Lost,
    /// Too busy, asked to come again: it took no effect.
    Busy,
}

/// A card that takes another one's place.
pub struct NewCard {
    /// Whose.
    pub user: UserId,
    /// Its public halves.
    pub card: HolderKeys,
    /// What was asked for with it.
    pub request: Option<ReissueId>,
}

/// The authority as a terminal knows it.
#[derive(Clone)]
pub struct Authority {
    agent: ureq::Agent,
    /// Where.
    pub url: String,
    /// Key that envelopes are sealed to.
    pub sealing: (String, SealingPublicKey),
    /// What it signs with.
    pub keys: std::sync::Arc<KeyList>,
}

impl Authority {
    /// Asks a running server who it is.
    pub fn meet(url: &str) -> Result<Authority, Failure> {
        let agent = agent();
        let document: AuthorityDocument = json(agent.get(format!("{url}/.well-known/counterfoil")).call(), "meeting the authority")?;
        let current = document.keys.sealing.first().ok_or_else(|| Failure::Broken("the authority has no sealing key".into()))?;
        let key = current.key.parse().map_err(|_| Failure::Broken("the authority's sealing key cannot be read".into()))?;
        let keys = KeyList::parse(document.keys.jwks.to_string().as_bytes())
            .map_err(|error| Failure::Broken(format!("the authority's signing keys: {error}")))?;
        Ok(Authority { agent, url: url.to_owned(), sealing: (current.kid.clone(), key), keys: keys.into() })
    }

    /// The same authority over connections of one's own.
    pub fn apart(&self) -> Authority {
        Authority { agent: agent(), ..self.clone() }
    }

    /// The same authority at another process.
    pub fn at(&self, url: &str) -> Authority {
        Authority { url: url.to_owned(), ..self.clone() }
    }

    /// Sends an envelope once. An answer that is not the authority's own, or an unexplained server error, is a finding.
    pub fn exchange(&self, envelope: &Envelope) -> Result<Reply, Failure> {
        match self.send(&envelope.to_json())? {
            Reply::Answer(body) => self.answer(&body),
            Reply::Lost => Ok(Reply::Lost),
            Reply::Busy => Ok(Reply::Busy),
        }
    }

    /// Sends the bytes of an envelope; the body of what came back is not looked at yet.
    pub fn send(&self, envelope: &[u8]) -> Result<Reply<String>, Failure> {
        let sent = self.agent.post(format!("{}/v1/terminal/exchange", self.url)).content_type("application/json").send(envelope);
        let Ok(mut response) = sent else { return Ok(Reply::Lost) };
        let status = response.status().as_u16();
        let later = response.headers().contains_key("retry-after");
        let Ok(body) = response.body_mut().read_to_string() else { return Ok(Reply::Lost) };
        match status {
            200 => Ok(Reply::Answer(body)),
            429 | 503 if later => Ok(Reply::Busy),
            _ => Err(Failure::Broken(format!("status {status}: {body}"))),
        }
    }

    /// The signed answer in a body.
    pub fn answer(&self, body: &str) -> Result<Reply, Failure> {
        // A response that was cut by the kill after its head is as good as none.
        let Ok(wrapped) = serde_json::from_str::<serde_json::Value>(body) else { return Ok(Reply::Lost) };
        let token = wrapped["answer"].as_str().ok_or_else(|| Failure::Broken(format!("no answer in {body}")))?;
        let answer = jws::verify_compact(token, ANSWER_TYP, |kid| self.keys.find(kid).and_then(|key| key.verifying_key()))
            .map_err(|error| Failure::Broken(format!("an answer that the authority did not sign: {error}")))?;
        Ok(Reply::Answer(answer))
    }

    /// A license that this authority signed.
    pub fn license(&self, token: &str) -> Result<License, Failure> {
        jws::verify_compact(token, LICENSE_TYP, |kid| self.keys.find(kid).and_then(|key| key.verifying_key()))
            .map_err(|error| Failure::Broken(format!("a license that the authority did not sign: {error}")))
    }

    /// Pays `money` into a user's balance, once for each `key`.
    pub fn top_up(&self, token: &str, user: UserId, money: Money, key: &str) -> Result<Reply<()>, Failure> {
        let sent = self
            .agent
            .post(format!("{}/v1/users/{user}/balance", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key)
            .send_json(serde_json::json!({ "amount": money.amount, "currency": money.currency, "note": "harness" }));
        let Ok(mut response) = sent else { return Ok(Reply::Lost) };
        let later = response.headers().contains_key("retry-after");
        match response.status().as_u16() {
            // The head is enough: it is sent after the commit.
            200 => Ok(Reply::Answer(())),
            429 | 503 if later => Ok(Reply::Busy),
            status => Err(Failure::Broken(format!("topping up: {status}: {}", response.body_mut().read_to_string().unwrap_or_default()))),
        }
    }

    /// Exchanges a device in a user's entry, once for each `key`; as the operator, whom no policy bounds.
    pub fn exchange_device(&self, token: &str, user: UserId, old: DeviceId, new: DeviceId, key: &str) -> Result<Reply<()>, Failure> {
        match self.exchange_device_or_not(token, user, old, new, key)? {
            Reply::Answer(true) => Ok(Reply::Answer(())),
            Reply::Answer(false) => Err(Failure::Broken(format!("{user}: the exchange of {old} was refused"))),
            Reply::Lost => Ok(Reply::Lost),
            Reply::Busy => Ok(Reply::Busy),
        }
    }

    /// The same, where somebody else may have been first: false where the device is not in the entry any more.
    pub fn exchange_device_or_not(
        &self,
        token: &str,
        user: UserId,
        old: DeviceId,
        new: DeviceId,
        key: &str,
    ) -> Result<Reply<bool>, Failure> {
        let body = serde_json::json!({ "kind": "device", "old": old, "new": new, "reason": "harness", "override": true });
        let sent = self
            .agent
            .post(format!("{}/v1/entries/{user}/exchange", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key)
            .send_json(body);
        let Ok(mut response) = sent else { return Ok(Reply::Lost) };
        let later = response.headers().contains_key("retry-after");
        match response.status().as_u16() {
            200 => Ok(Reply::Answer(true)),
            429 | 503 if later => Ok(Reply::Busy),
            404 | 409 | 422 => match response.body_mut().read_json::<serde_json::Value>() {
                Ok(problem) if problem["code"] == "not_in_entry" => Ok(Reply::Answer(false)),
                other => Err(Failure::Broken(format!("exchanging: {other:?}"))),
            },
            status => Err(Failure::Broken(format!("exchanging: {status}: {}", response.body_mut().read_to_string().unwrap_or_default()))),
        }
    }

    /// Puts a card in the place of a user's, once for each `key`; by their request, or of the repair centre's own accord.
    pub fn replace_card(&self, token: &str, new: &NewCard, key: &str) -> Result<Reply<()>, Failure> {
        let mut body = serde_json::json!({ "card": new.card, "reason": "harness" });
        if let Some(request) = new.request {
            body["reissue_id"] = serde_json::json!(request);
        }
        let sent = self
            .agent
            .post(format!("{}/v1/entries/{}/reissue", self.url, new.user))
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", key)
            .send_json(body);
        let Ok(mut response) = sent else { return Ok(Reply::Lost) };
        let later = response.headers().contains_key("retry-after");
        match response.status().as_u16() {
            200 => Ok(Reply::Answer(())),
            429 | 503 if later => Ok(Reply::Busy),
            status => {
                Err(Failure::Broken(format!("replacing a card: {status}: {}", response.body_mut().read_to_string().unwrap_or_default())))
            }
        }
    }

    /// GETs a range of an object of sealed content; none where the server asks to come again.
    pub fn fetch(&self, object: &str, first: usize, bytes: usize) -> Result<Option<Vec<u8>>, Failure> {
        let range = format!("bytes={first}-{}", first + bytes - 1);
        let sent = self.agent.get(format!("{}/contents/{object}", self.url)).header("range", range).call();
        let mut response = sent.map_err(|error| Failure::Broken(format!("fetching contents: {error}")))?;
        match response.status().as_u16() {
            206 => {}
            429 | 503 if response.headers().contains_key("retry-after") => return Ok(None),
            status => return Err(Failure::Broken(format!("fetching contents: status {status}"))),
        }
        response.body_mut().read_to_vec().map(Some).map_err(|error| Failure::Broken(format!("fetching contents: {error}")))
    }

    /// Presses media through the HTTP API, as `counterfoil press` does.
    pub fn press(&self, token: &str, count: u64) -> Result<Vec<IdentityArea>, Failure> {
        let batch: serde_json::Value =
            self.post(token, "/v1/batches", serde_json::json!({ "titles": [{ "title": TITLE }], "count": count }))?;
        let batch = batch["batch"].as_str().ok_or_else(|| Failure::Broken(format!("no batch in {batch}")))?;
        let response = self
            .agent
            .get(format!("{}/v1/batches/{batch}/identities?from=1&count={count}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .config()
            .timeout_global(Some(Duration::from_secs(600)))
            .build()
            .call()
            .map_err(|error| Failure::Broken(format!("pressing: {error}")))?;
        let reader = std::io::BufReader::new(response.into_body().into_reader());
        std::io::BufRead::lines(reader)
            .map(|line| {
                let line = line.map_err(|error| Failure::Io("reading identities", error))?;
                serde_json::from_str(&line).map_err(|error| Failure::Broken(format!("identity area: {error}: {line}")))
            })
            .collect()
    }

    /// Whether a title was made.
    pub fn knows_title(&self, token: &str, title: &str) -> Result<bool, Failure> {
        let asked = self.agent.get(format!("{}/v1/titles/{title}", self.url)).header("authorization", format!("Bearer {token}")).call();
        asked.map(|response| response.status().is_success()).map_err(|error| Failure::Broken(format!("asking for a title: {error}")))
    }

    /// POSTs JSON as an operator or publisher.
    pub fn post(&self, token: &str, path: &str, body: serde_json::Value) -> Result<serde_json::Value, Failure> {
        let sent = self.agent.post(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}")).send_json(body);
        json(sent, path)
    }

    /// PUTs JSON as an operator or publisher.
    pub fn put_json(&self, token: &str, path: &str, body: serde_json::Value) -> Result<serde_json::Value, Failure> {
        let sent = self.agent.put(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}")).send_json(body);
        json(sent, path)
    }

    /// GETs JSON as an operator or publisher.
    pub fn get(&self, token: &str, path: &str) -> Result<serde_json::Value, Failure> {
        let sent = self.agent.get(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}")).call();
        json(sent, path)
    }

    /// DELETEs as an operator.
    pub fn delete(&self, token: &str, path: &str) -> Result<(), Failure> {
        let sent = self.agent.delete(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}")).call();
        let response = sent.map_err(|error| Failure::Broken(format!("{path}: {error}")))?;
        if response.status().is_success() { Ok(()) } else { Err(Failure::Broken(format!("{path}: {}", response.status()))) }
    }

    /// PUTs an object of sealed content.
    pub fn put(&self, token: &str, object: &str, bytes: &[u8]) -> Result<(), Failure> {
        let sent =
            self.agent.put(format!("{}/v1/contents/{object}", self.url)).header("authorization", format!("Bearer {token}")).send(bytes);
        match sent {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(mut response) => Err(Failure::Broken(format!("uploading: {}", response.body_mut().read_to_string().unwrap_or_default()))),
            Err(error) => Err(Failure::Broken(format!("uploading: {error}"))),
        }
    }
}

/// One connection to each of many servers is kept.
fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .max_idle_connections(64)
        .build()
        .into()
}

/// The title that everything here is about.
pub const TITLE: &str = "harness";

fn json<T: serde::de::DeserializeOwned>(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>, what: &str) -> Result<T, Failure> {
    let mut response = sent.map_err(|error| Failure::Broken(format!("{what}: {error}")))?;
    let body = response.body_mut().read_to_string().map_err(|error| Failure::Broken(format!("{what}: {error}")))?;
    if !response.status().is_success() {
        return Err(Failure::Broken(format!("{what}: {}: {body}", response.status())));
    }
    serde_json::from_str(&body).map_err(|error| Failure::Broken(format!("{what}: {error}: {body}")))
}
