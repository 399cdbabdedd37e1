//! Somebody who works at the console, in a browser of their own.

use axum::http::Method;
use counterfoil_server::auth::Role;
use serde_json::json;

use super::browser::{Browser, PASSWORD, code, text};
use super::catalogue::{Answer, TestServer, json_request};

/// Somebody who is signed in.
pub struct Worker {
    pub browser: Browser,
    pub id: String,
    pub email: String,
    /// Of their one-time codes.
    pub secret: Vec<u8>,
}

/// Adds somebody; their ID, and the path of the one-time link.
pub async fn link(server: &TestServer, role: Role, tenant: Option<&str>, name: &str) -> (String, String) {
    let new = json!({ "role": role, "tenant": tenant, "name": name });
    let made = server.send(json_request(Method::POST, "/v1/staff", &server.operator, &new)).await.expect(201);
    let link = made["link"].as_str().unwrap().strip_prefix("https://test.example").unwrap().to_owned();
    (made["id"].as_str().unwrap().to_owned(), link)
}

/// Follows the link up to the second step.
pub async fn enter(server: &TestServer, link: &str, email: &str) -> (Browser, Answer) {
    let mut browser = Browser::default();
    let done = browser.submit(server, link, "/console/set-up", &[("email", email), ("password", PASSWORD)]).await;
    (browser, done)
}

/// Turns one-time codes on; their secret.
pub async fn second_step(server: &TestServer, browser: &mut Browser) -> Vec<u8> {
    let shown = browser.get(server, "/console/second-step").await;
    let base32: String = text(&shown).split("<code>").nth(1).unwrap().split("</code>").next().unwrap().replace(' ', "");
    let secret = totp_rs::Secret::try_from_base32(&base32).unwrap().as_bytes().to_vec();
    let fields = [("code", &*code(server, &secret)), ("password", PASSWORD)];
    let done = browser.submit_from(server, &shown, "/console/second-step", &fields).await;
    assert_eq!(done.status, 303, "{}", text(&done));
    secret
}

impl Worker {
    /// Somebody of this role, added, set up and signed in.
    pub async fn new(server: &TestServer, role: Role, tenant: Option<&str>) -> Self {
        let name = format!("{} {}", role.as_str(), tenant.unwrap_or("at work"));
        let email = format!("{}.{}@example.org", role.as_str(), tenant.unwrap_or("work"));
        let (id, link) = link(server, role, tenant, &name).await;
        let (mut browser, done) = enter(server, &link, &email).await;
        assert_eq!(done.header("location"), "/console/second-step", "{}", text(&done));
        let secret = second_step(server, &mut browser).await;
        Self { browser, id, email, secret }
    }

    /// A page that is shown.
    pub async fn page(&mut self, server: &TestServer, path: &str) -> String {
        let shown = self.browser.get(server, path).await;
        assert_eq!(shown.status, 200, "{path}: {}", text(&shown));
        text(&shown)
    }

    /// Whether the console is shown.
    pub async fn is_in(&mut self, server: &TestServer) -> bool {
        self.browser.get(server, "/console").await.status == 200
    }

    /// Signs in in another browser, with password and code.
    pub async fn again(&self, server: &TestServer) -> Browser {
        let mut browser = Browser::default();
        let asked = sign_in(server, &mut browser, &self.email, PASSWORD).await;
        let done = browser.submit_from(server, &asked, "/console/sign-in/code", &[("code", &code(server, &self.secret))]).await;
        assert_eq!(done.status, 303, "{}", text(&done));
        browser
    }
}

/// Sends address and password.
pub async fn sign_in(server: &TestServer, browser: &mut Browser, email: &str, password: &str) -> Answer {
    browser.post(server, "/console/sign-in", &[("email", email), ("password", password)]).await
}
