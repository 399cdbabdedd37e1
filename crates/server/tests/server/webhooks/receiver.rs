//! A receiver of webhooks: a real server on loopback that writes down what it is sent, and answers as it is told.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Something that was sent.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub timestamp: i64,
    pub signatures: String,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn event(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    pub fn subject(&self) -> (String, i64) {
        let data = &self.json()["data"];
        (data["id"].as_str().unwrap().to_owned(), data["seq"].as_i64().unwrap())
    }

    /// Whether one of the signatures is by this secret: computed here, by the text of the specification.
    pub fn is_by(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
        let signed = [self.id.as_bytes(), b".", self.timestamp.to_string().as_bytes(), b".", &self.body].concat();
        self.signatures.split(' ').any(|one| {
            let tag = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
            aws_lc_rs::hmac::verify(&key, &signed, &tag).is_ok()
        })
    }
}

type Answers = Box<dyn FnMut(&Message) -> Response + Send>;

struct Inside {
    messages: Mutex<Vec<Message>>,
    answers: Mutex<Answers>,
    arrived: Notify,
}

/// A receiver; dropping it ends it.
pub struct Receiver {
    pub address: SocketAddr,
    inside: Arc<Inside>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(State(inside): State<Arc<Inside>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let message = Message {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signatures: header("webhook-signature"),
        content_type: header("content-type"),
        body: body.to_vec(),
    };
    let answer = (inside.answers.lock().unwrap())(&message);
    inside.messages.lock().unwrap().push(message);
    inside.arrived.notify_waiters();
    answer
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        let inside = Arc::new(Inside {
            messages: Mutex::default(),
            answers: Mutex::new(Box::new(|_| StatusCode::NO_CONTENT.into_response())),
            arrived: Notify::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&inside));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inside, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?key=1", self.address)
    }

    /// Answers so from now on.
    pub fn answer(&self, answers: impl FnMut(&Message) -> Response + Send + 'static) {
        *self.inside.answers.lock().unwrap() = Box::new(answers);
    }

    pub fn answer_status(&self, status: u16) {
        self.answer(move |_| StatusCode::from_u16(status).unwrap().into_response());
    }

    /// What it was sent, in order.
    pub fn messages(&self) -> Vec<Message> {
        self.inside.messages.lock().unwrap().clone()
    }

    /// Waits until it was sent so much.
    pub async fn wait_for(&self, count: usize) {
        loop {
            let arrived = self.inside.arrived.notified();
            if self.messages().len() >= count {
                return;
            }
            arrived.await;
        }
    }
}
