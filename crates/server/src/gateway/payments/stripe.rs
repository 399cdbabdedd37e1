//! Stripe's PaymentIntents as a [`Provider`]: form-encoded requests to its HTTP API, at a pinned version, each with an idempotency key.
//!
//! Written to Stripe's published API (docs.stripe.com/api, its OpenAPI description of 2025-10-29) and tested against `examples/payment-provider`, which
//! behaves as it does. It has not been tried against the live service.

use std::time::Duration;

use counterfoil_core::{Currency, Timestamp};
use reqwest::{Client, Method, StatusCode, redirect};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::provider::{Asked, Dispute, Failed, Forged, Hint, Intent, KeptCard, Provider, Refund};

mod signature;
mod wire;

/// The version of the API that this is written to.
pub const VERSION: &str = "2025-10-29.clover";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How far back objections are read beside those that are new: clocks differ, and what is told late is told.
const OVERLAP: i64 = Timestamp::DAY;
/// Objections on a page, and pages that are read at once.
const PAGES: (usize, usize) = (100, 50);

/// Stripe, by one account's secret key.
pub struct Stripe {
    url: String,
    key: Zeroizing<String>,
    webhook_secret: Option<Zeroizing<String>>,
    client: Client,
}

/// A form, in the order that it is written in: a repeat must be the same.
type Form<'a> = Vec<(&'a str, String)>;

impl Stripe {
    /// As configured.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn open(
        url: &str,
        key: Zeroizing<String>,
        webhook_secret: Option<Zeroizing<String>>,
        timeout: Duration,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder().connect_timeout(CONNECT).timeout(timeout).redirect(redirect::Policy::none()).build()?;
        Ok(Self { url: url.to_owned(), key, webhook_secret, client })
    }

    /// Whether amounts in a currency are the same number here and at Stripe, which counts a few in other units than ISO 4217 does.
    pub fn takes(currency: Currency) -> bool {
        const WHOLE: [&str; 15] = ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
        const THOUSANDTHS: [&str; 5] = ["BHD", "JOD", "KWD", "OMR", "TND"];
        let decimals = match currency.as_str() {
            whole if WHOLE.contains(&whole) => 0,
            // Of these it takes no last digit but 0.
            thousandths if THOUSANDTHS.contains(&thousandths) => return false,
            _ => 2,
        };
        currency.decimals() == decimals
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, form: Form<'_>, key: &str) -> Result<T, Failed> {
        self.ask(Method::POST, path, form, Some(key)).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: Form<'_>) -> Result<T, Failed> {
        self.ask(Method::GET, path, query, None).await
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, form: Form<'_>, key: Option<&str>) -> Result<T, Failed> {
        let away = |error: &dyn std::fmt::Display| Failed::Away(error.to_string());
        let encoded = encoded(&form);
        let url = format!("{}{path}", self.url);
        let request = match method {
            Method::GET => self.client.get(if encoded.is_empty() { url } else { format!("{url}?{encoded}") }),
            _ => self.client.request(method, url).header("content-type", "application/x-www-form-urlencoded").body(encoded),
        };
        let request = request.bearer_auth(&*self.key).header("stripe-version", VERSION);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        // Without its address: that may hold what a log should not.
        let answer = request.send().await.map_err(|error| away(&chain(&error.without_url())))?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| away(&chain(&error.without_url())))?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| away(&format!("what it answers cannot be read: {error}")));
        }
        Err(wire::failed(status, &body))
    }
}

/// An error with its causes: the outermost says little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

/// `application/x-www-form-urlencoded` (WHATWG URL §5).
fn encoded(form: &Form<'_>) -> String {
    let mut url = reqwest::Url::parse("form:/").expect("a URL");
    url.query_pairs_mut().extend_pairs(form.iter().map(|(name, value)| (*name, value.as_str())));
    url.query().unwrap_or_default().to_owned()
}

fn asked<'a>(asked: &Asked<'_>) -> Form<'a> {
    vec![
        ("amount", asked.money.amount.to_string()),
        ("currency", asked.money.currency.as_str().to_ascii_lowercase()),
        ("payment_method_types[]", "card".to_owned()),
        ("description", asked.words.to_owned()),
        ("metadata[counterfoil_payment]", asked.payment.to_owned()),
    ]
}

/// The charge is told along, with the card that paid it and with what Stripe asks for it.
fn with_charge<'a>() -> [(&'a str, String); 2] {
    [("expand[]", "latest_charge.balance_transaction".to_owned()), ("expand[]", "payment_method".to_owned())]
}

impl Provider for Stripe {
    async fn customer(&self, account: &str, key: &str) -> Result<String, Failed> {
        let made: wire::Named = self.post("/v1/customers", vec![("metadata[counterfoil_account]", account.to_owned())], key).await?;
        Ok(made.id)
    }

    async fn begin(&self, begun: &Asked<'_>, customer: Option<&str>, key: &str) -> Result<Intent, Failed> {
        let mut form = asked(begun);
        if let Some(customer) = customer {
            form.push(("customer", customer.to_owned()));
            form.push(("setup_future_usage", "off_session".to_owned()));
        }
        form.extend(with_charge());
        self.post::<wire::Intent>("/v1/payment_intents", form, key).await.map(Into::into)
    }

    async fn authorise(&self, begun: &Asked<'_>, kept: KeptCard<'_>, key: &str) -> Result<Intent, Failed> {
        let mut form = asked(begun);
        form.extend([
            ("customer", kept.customer.to_owned()),
            ("payment_method", kept.card.to_owned()),
            ("capture_method", "manual".to_owned()),
            ("off_session", "true".to_owned()),
            ("confirm", "true".to_owned()),
        ]);
        form.extend(with_charge());
        self.post::<wire::Intent>("/v1/payment_intents", form, key).await.map(Into::into)
    }

    async fn capture(&self, intent: &str, amount: u64, key: &str) -> Result<Intent, Failed> {
        let mut form = vec![("amount_to_capture", amount.to_string())];
        form.extend(with_charge());
        self.post::<wire::Intent>(&format!("/v1/payment_intents/{intent}/capture"), form, key).await.map(Into::into)
    }

    async fn void(&self, intent: &str, key: &str) -> Result<Intent, Failed> {
        let form = vec![("cancellation_reason", "abandoned".to_owned())];
        self.post::<wire::Intent>(&format!("/v1/payment_intents/{intent}/cancel"), form, key).await.map(Into::into)
    }

    async fn look_up(&self, intent: &str) -> Result<Intent, Failed> {
        self.get::<wire::Intent>(&format!("/v1/payment_intents/{intent}"), with_charge().to_vec()).await.map(Into::into)
    }

    async fn refund(&self, intent: &str, amount: u64, label: &str, key: &str) -> Result<Refund, Failed> {
        let form = vec![
            ("payment_intent", intent.to_owned()),
            ("amount", amount.to_string()),
            ("reason", "requested_by_customer".to_owned()),
            ("metadata[counterfoil_repayment]", label.to_owned()),
        ];
        self.post::<wire::Refund>("/v1/refunds", form, key).await.map(Into::into)
    }

    async fn refunds(&self, intent: &str) -> Result<Vec<Refund>, Failed> {
        let query = vec![("payment_intent", intent.to_owned()), ("limit", "100".to_owned())];
        let list: wire::List<wire::Refund> = self.get("/v1/refunds", query).await?;
        Ok(list.data.into_iter().map(Into::into).collect())
    }

    async fn forget(&self, card: &str) -> Result<(), Failed> {
        // Detaching a card that is detached is refused, and comes to the same.
        match self.post::<wire::Named>(&format!("/v1/payment_methods/{card}/detach"), vec![], &format!("{card}-forget")).await {
            Ok(_) | Err(Failed::Unknown(_) | Failed::State(_) | Failed::Refused(_)) => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    async fn dispute(&self, dispute: &str) -> Result<Dispute, Failed> {
        self.get::<wire::Dispute>(&format!("/v1/disputes/{dispute}"), vec![]).await.map(Into::into)
    }

    async fn disputes(&self, since: Timestamp) -> Result<Vec<Dispute>, Failed> {
        let from = (since.0 - OVERLAP).max(0) / 1000;
        let (mut found, mut after) = (Vec::new(), None::<String>);
        for _ in 0..PAGES.1 {
            let mut query = vec![("limit", PAGES.0.to_string()), ("created[gte]", from.to_string())];
            query.extend(after.take().map(|after| ("starting_after", after)));
            let list: wire::List<wire::Dispute> = self.get("/v1/disputes", query).await?;
            after = list.data.last().map(|last| last.id.clone());
            found.extend(list.data.into_iter().map(Dispute::from));
            if !list.has_more {
                return Ok(found);
            }
        }
        Ok(found)
    }

    fn hint(&self, signature: &str, body: &[u8], now: Timestamp) -> Result<Hint, Forged> {
        let secret = self.webhook_secret.as_ref().ok_or(Forged::NoSecret)?;
        signature::verify(secret.as_bytes(), signature, body, now)?;
        wire::hint(body).ok_or(Forged::NoEvent)
    }
}

/// Whether a status says that the same may be sent again.
fn may_be_repeated(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT | StatusCode::REQUEST_TIMEOUT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_form_is_written_as_the_url_standard_has_it() {
        let form = vec![("a[]", "x y&z=ü".to_owned()), ("b", "1+1".to_owned())];
        assert_eq!(encoded(&form), "a%5B%5D=x+y%26z%3D%C3%BC&b=1%2B1");
        assert_eq!(encoded(&vec![]), "");
    }

    #[test]
    fn currencies_that_are_counted_otherwise_are_not_taken() {
        for (currency, taken) in [("EUR", true), ("USD", true), ("JPY", true), ("KWD", false), ("ISK", false), ("UGX", false)] {
            assert_eq!(Stripe::takes(currency.parse().unwrap()), taken, "{currency}");
        }
    }
}
