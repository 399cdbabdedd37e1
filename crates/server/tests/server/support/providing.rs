//! A provider, as one is registered, and what terminals present to it.

use axum::http::Method;
use counterfoil_core::wire::{Operation, Present, Presentation, Request, VERDICT_TYP, Verdict};
use counterfoil_core::{ProviderId, UserId};
use counterfoil_format::jws::Signer;
use counterfoil_format::jwt::{self, Demands};
use serde_json::{Value, json};

use super::catalogue::{Answer, TestServer, json_request};
use super::terminal::{Medium, Terminal, envelope, request};

/// As long as a challenge has to be.
pub const CHALLENGE: &str = "c2l4dGVlbi1ieXRlcw";

/// A third party with its token.
#[derive(Clone)]
pub struct Provider {
    pub id: ProviderId,
    pub token: String,
}

impl Provider {
    /// Registered for media of these publishers.
    pub async fn new(server: &TestServer, publishers: &[&str]) -> Self {
        let new = json!({ "name": "Arcade", "url": "https://arcade.example", "publishers": publishers });
        let made = server.post(&server.operator, "/v1/providers", &new).await.expect(201);
        let id = made["provider"].as_str().unwrap().parse().unwrap();
        let token = json!({ "role": "provider", "tenant": made["provider"], "name": "arcade" });
        let token = server.post(&server.operator, "/v1/tokens", &token).await.expect(201);
        Self { id, token: token["token"].as_str().unwrap().to_owned() }
    }

    /// What is sealed of a medium alone.
    pub fn of_medium(&self, medium: &Medium) -> Present {
        let (provider, challenge) = (self.id, CHALLENGE.to_owned());
        let url = "https://arcade.example".to_owned();
        Present { provider, url, challenge, medium_id: Some(medium.id.clone()), user_id: None, device_id: None }
    }

    /// What is sealed of a user alone, with their device.
    pub fn of_user(&self, terminal: &Terminal) -> Present {
        let (user_id, device_id) = (terminal.user, terminal.device_id());
        let url = "https://arcade.example".to_owned();
        Present { provider: self.id, url, challenge: CHALLENGE.to_owned(), medium_id: None, user_id, device_id }
    }

    /// A medium, presented by whoever holds it.
    pub fn presented(&self, server: &TestServer, medium: &Medium) -> Presentation {
        by_medium(server, &request(server, Operation::Present(self.of_medium(medium))), medium)
    }

    /// A medium, presented by a user who says who they are.
    pub fn presented_by(&self, server: &TestServer, terminal: &Terminal, medium: Option<&Medium>) -> Presentation {
        let present = Present { medium_id: medium.map(|medium| medium.id.clone()), ..self.of_user(terminal) };
        let sealed = terminal.sealed(server, &request(server, Operation::Present(present.clone())), medium);
        shown(present.medium_id.is_some().then(|| medium.unwrap()), &sealed)
    }

    /// Has a presentation judged.
    pub async fn verify(&self, server: &TestServer, presentation: &Presentation) -> Answer {
        verify(server, &self.token, &json!({ "presentation": presentation, "challenge": CHALLENGE })).await
    }

    /// The same, for one that is good.
    pub async fn active(&self, server: &TestServer, presentation: &Presentation) -> Value {
        let answer = self.verify(server, presentation).await.expect(200);
        assert_eq!(answer["active"], true, "{answer}");
        answer
    }

    /// Why a presentation is not good.
    pub async fn reason(&self, server: &TestServer, presentation: &Presentation) -> String {
        reason(self.verify(server, presentation).await)
    }

    /// A verdict as anybody verifies it, with the published keys alone.
    pub fn offline(&self, server: &TestServer, answer: &Value) -> Verdict {
        let (audience, now) = (self.id.to_string(), server.app.clock.now().seconds());
        let demands = Demands { typ: VERDICT_TYP, now, audience: Some(&audience), holder: None, must_expire: true };
        jwt::verify(answer["verdict"].as_str().unwrap(), &server.app.keys.key_list(), &demands).unwrap()
    }
}

/// A request that a medium alone has proven.
pub fn by_medium(server: &TestServer, request: &Request, medium: &Medium) -> Presentation {
    shown(Some(medium), &envelope(server, request, &[(medium.id.as_str(), Signer::ClaimSecret(&medium.secret))]))
}

/// A sealed request, with the ID of a medium for the provider to see.
pub fn shown(medium: Option<&Medium>, sealed: &[u8]) -> Presentation {
    let envelope = serde_json::from_slice(sealed).unwrap();
    Presentation { medium_id: medium.map(|medium| medium.id.clone()), status: Default::default(), envelope }
}

/// Sends something to be judged.
pub async fn verify(server: &TestServer, token: &str, body: &Value) -> Answer {
    server.send(json_request(Method::POST, "/v1/verify", token, body)).await
}

/// Why something is not good. Besides that, the answer tells nothing.
#[track_caller]
pub fn reason(answer: Answer) -> String {
    let answer = answer.expect(200);
    assert_eq!(answer["active"], false, "{answer}");
    for member in answer.as_object().unwrap().keys() {
        assert!(["active", "reason", "detail"].contains(&member.as_str()), "{answer}");
    }
    answer["reason"].as_str().unwrap().to_owned()
}

/// A user who does not exist.
pub const NOBODY: UserId = UserId::from_bytes([9; 16]);
