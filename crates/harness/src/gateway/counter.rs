//! What a gateway's customers say to it over HTTP: accounts, vouchers, and exchanges that are charged for.

use crate::{
    authority::{Authority, Failure},
    goods::euros,
    terminal::through::Sealed,
};
use counterfoil_core::{
    Money,
    wire::{Answer, CARD_HEADER, EXCHANGE_HEADER, PAY_HEADER},
};
use serde_json::{Value, json};
use std::time::Duration;

/// What came of asking a gateway once.
#[derive(Debug)]
pub enum Said<T> {
    /// What was asked for.
    Done(T),
    /// A definite no of the gateway's own: its code, and the price and balance that it names.
    No(String, Value),
    /// Refused, reset, cut: nobody knows whether it took effect.
    Lost,
    /// Asked to come again: nobody knows either, where a price is reserved meanwhile.
    Busy,
}

/// An exchange that was answered.
#[derive(Debug)]
pub struct Exchanged {
    /// The authority's answer, opened.
    pub answer: Answer,
    /// What was charged for it, and what the account can spend now.
    pub charged: Option<(u64, u64)>,
}

/// A gateway as its customers know it.
#[derive(Clone)]
pub struct Counter {
    agent: ureq::Agent,
    /// Where.
    pub url: String,
}

/// The password of every account here.
const PASSWORD: &str = "correct horse battery";

impl Counter {
    /// A gateway at an address.
    pub fn new(url: &str) -> Counter {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(40))).http_status_as_error(false);
        Counter { agent: config.max_idle_connections(64).build().into(), url: url.to_owned() }
    }

    /// The same over connections of one's own.
    pub fn apart(&self) -> Counter {
        Counter::new(&self.url)
    }

    /// Makes an account, or gets into it where it was made before: the answer may have been lost. Answers with the token.
    pub fn account(&self, name: &str) -> Result<Said<String>, Failure> {
        let body = json!({ "name": name, "password": PASSWORD });
        let made = self.post("/v1/accounts", None, &body)?;
        let signed = match made {
            Said::No(code, _) if code == "conflict" => self.post("/v1/accounts/sign-in", None, &body)?,
            other => other,
        };
        match signed {
            Said::Done(value) => Ok(Said::Done(value["token"].as_str().unwrap_or_default().to_owned())),
            Said::No(code, _) => Err(Failure::Broken(format!("an account was refused: {code}"))),
            Said::Lost => Ok(Said::Lost),
            Said::Busy => Ok(Said::Busy),
        }
    }

    /// What the account can spend, in cents.
    pub fn available(&self, token: &str) -> Result<Said<u64>, Failure> {
        let sent = self.agent.get(format!("{}/v1/account", self.url)).header("authorization", format!("Bearer {token}")).call();
        Ok(match read(sent)? {
            Said::Done(value) => {
                let balances = value["balances"].as_array().cloned().unwrap_or_default();
                Said::Done(balances.iter().filter(|one| one["currency"] == "EUR").filter_map(|one| one["available"].as_u64()).sum())
            }
            Said::No(code, _) => return Err(Failure::Broken(format!("an account is not shown to its owner: {code}"))),
            Said::Lost => Said::Lost,
            Said::Busy => Said::Busy,
        })
    }

    /// Redeems a voucher; again by the same account it answers the same.
    pub fn redeem(&self, token: &str, code: &str) -> Result<Said<u64>, Failure> {
        Ok(match self.post("/v1/account/vouchers", Some(token), &json!({ "code": code }))? {
            Said::Done(value) => Said::Done(value["amount"]["amount"].as_u64().unwrap_or_default()),
            Said::No(code, value) => Said::No(code, value),
            Said::Lost => Said::Lost,
            Said::Busy => Said::Busy,
        })
    }

    /// Hands an exchange in, with the price that was agreed to.
    pub fn exchange(&self, authority: &Authority, sealed: &Sealed, token: &str, pay: Option<Money>) -> Result<Said<Exchanged>, Failure> {
        let mut request = self
            .agent
            .post(format!("{}/v1/terminal/exchange", self.url))
            .content_type("application/json")
            .header("authorization", format!("Bearer {token}"))
            .header(EXCHANGE_HEADER, sealed.exchange.to_string())
            .header(CARD_HEADER, sealed.card.to_string());
        if let Some(pay) = pay {
            request = request.header(PAY_HEADER, format!("{} {}", pay.amount, pay.currency));
        }
        Ok(match read(request.send(&sealed.envelope.to_json()[..]))? {
            Said::Done(value) => {
                let answer = sealed.open(authority, value["answer"].as_str().unwrap_or_default())?;
                let charged = &value["charged"];
                let charged = charged["price"]["amount"].as_u64().zip(charged["balance"]["amount"].as_u64());
                Said::Done(Exchanged { answer, charged })
            }
            Said::No(code, value) => Said::No(code, value),
            Said::Lost => Said::Lost,
            Said::Busy => Said::Busy,
        })
    }

    fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Said<Value>, Failure> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        read(request.send_json(body))
    }
}

/// A price that was agreed to.
pub fn agreed(cents: u64) -> Option<Money> {
    Some(euros(cents))
}

/// An unexplained server error is a finding; a response that was cut by a kill is as good as none.
fn read(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Said<Value>, Failure> {
    let Ok(mut response) = sent else { return Ok(Said::Lost) };
    let status = response.status().as_u16();
    let later = response.headers().contains_key("retry-after");
    let Ok(body) = response.body_mut().read_to_string() else { return Ok(Said::Lost) };
    let Ok(value) = serde_json::from_str::<Value>(&body) else { return Ok(Said::Lost) };
    match status {
        200 | 201 => Ok(Said::Done(value)),
        429 | 503 if later => Ok(Said::Busy),
        400..500 => Ok(Said::No(value["code"].as_str().unwrap_or_default().to_owned(), value)),
        _ => Err(Failure::Broken(format!("status {status}: {body}"))),
    }
}
