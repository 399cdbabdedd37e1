//! A server that behaves as Stripe's published PaymentIntents API does, with faults on demand: for trying a gateway without an account at Stripe, and for
//! its tests. It is not part of the product, moves no money, and listens on this machine only.
//!
//! What it follows: docs.stripe.com/api (payment intents, refunds, disputes, errors, idempotent requests), docs.stripe.com/testing (card numbers),
//! docs.stripe.com/webhooks/signature. What it leaves out: everything that a gateway does not ask for.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::task::JoinHandle;

pub mod faults;
mod form;
mod http;
mod intents;
pub mod messages;
mod money;
mod page;
pub mod state;

pub use faults::{Fault, Kind};
pub use messages::Deliveries;
pub use state::State;

/// The keys that it knows.
pub const SECRET_KEY: &str = "sk_test_counterfoil";
/// What browsers show it.
pub const PUBLISHABLE_KEY: &str = "pk_test_counterfoil";
/// What its messages are signed with.
pub const WEBHOOK_SECRET: &str = "whsec_counterfoil";

/// The provider: cheap to clone, and shared with the server that answers for it.
#[derive(Clone, Default)]
pub struct Provider(Arc<Mutex<State>>);

impl Provider {
    /// Everything that it knows, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next requests whose path contains `path` fare so, `times` of them.
    pub fn fault(&self, kind: Kind, path: &str, times: u32) {
        self.state().faults.push(Fault { kind, path: path.to_owned(), times });
    }

    /// A person enters a card, as the page's script does it; answers with the payment, or with the error.
    pub fn pay(&self, intent: &str, number: &str) -> Value {
        let form = vec![
            ("payment_method_data[type]".to_owned(), "card".to_owned()),
            ("payment_method_data[card][number]".to_owned(), number.to_owned()),
        ];
        match intents::confirm(&mut self.state(), intent, &form) {
            Ok(told) => told,
            Err(refused) => refused.body(),
        }
    }

    /// The card's promise ends, as after its days.
    pub fn expire(&self, intent: &str) {
        intents::expire(&mut self.state(), intent);
    }

    /// The card holder objects, to all of it or to so much; answers with the objection's name.
    pub fn object(&self, intent: &str, amount: Option<u64>, status: &str) -> Option<String> {
        money::object(&mut self.state(), intent, amount, status)
    }

    /// The bank decides: `won`, `lost`, `needs_response`, …
    pub fn decide(&self, dispute: &str, status: &str) {
        money::decide(&mut self.state(), dispute, status);
    }
}

/// A server that answers. Dropping it ends it.
pub struct Running {
    /// Where.
    pub url: String,
    /// For whom.
    pub provider: Provider,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Listens on this machine and answers.
///
/// # Errors
/// The address is taken.
pub async fn start(listen: SocketAddr, provider: Provider) -> std::io::Result<Running> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let router = http::router(provider.clone());
    let serving = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            eprintln!("error: {error}");
        }
    });
    let sending = tokio::spawn(messages::send_forever(provider.clone()));
    Ok(Running { url, provider, tasks: [serving, sending] })
}
