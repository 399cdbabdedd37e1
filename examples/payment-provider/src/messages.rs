//! Events that are sent to whoever wants them: signed, and doubled, late or in another order where that is asked for.

use std::time::Duration;

use aws_lc_rs::hmac;
use serde::Deserialize;

use crate::{Provider, WEBHOOK_SECRET};

/// How events are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Deliveries {
    /// Where; none are sent without.
    pub url: Option<String>,
    /// How often each.
    pub copies: u32,
    /// How long after it happened, in milliseconds.
    pub delay: u64,
    /// The latest first.
    pub backwards: bool,
}

/// One that is to be sent.
pub(crate) struct Message {
    pub body: String,
    /// Which copy.
    pub copy: u32,
}

/// How often it is looked whether there is something to send.
const LOOK: Duration = Duration::from_millis(50);

/// The signature of a message, made at a time in seconds: `Stripe-Signature`.
pub fn signature(secret: &str, at: i64, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), format!("{at}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}

/// Sends what there is to send, for as long as it runs.
pub(crate) async fn send_forever(provider: Provider) {
    let client = reqwest::Client::new();
    let mut every = tokio::time::interval(LOOK);
    loop {
        every.tick().await;
        let (mut due, deliveries, at) = {
            let mut state = provider.state();
            (std::mem::take(&mut state.outbox), state.deliveries.clone(), state.seconds())
        };
        let Some(url) = deliveries.url else { continue };
        if due.is_empty() {
            continue;
        }
        tokio::time::sleep(Duration::from_millis(deliveries.delay)).await;
        if deliveries.backwards {
            due.reverse();
        }
        for Message { body, copy } in due {
            let signature = signature(WEBHOOK_SECRET, at, &body);
            let sent =
                client.post(&url).header("stripe-signature", signature).header("content-type", "application/json").body(body).send().await;
            match sent {
                Ok(answer) if answer.status().is_success() => {}
                Ok(answer) => eprintln!("message, copy {copy}: HTTP {}", answer.status()),
                Err(error) => eprintln!("message, copy {copy}: {error}"),
            }
        }
    }
}
