//! A browser without a window: cookies, links and forms.

use axum::body::Body;
use axum::http::{Method, Request};
use counterfoil_core::{Timestamp, UserId};

use super::catalogue::{Answer, TestServer};
use super::terminal::Terminal;

pub const HOST: &str = "test.example";
pub const PASSWORD: &str = "correct horse battery";
pub const EMAIL: &str = "ada@example.org";

/// Whatever answers requests.
#[allow(async_fn_in_trait, reason = "tests run on one thread")]
pub trait Sends {
    async fn send(&self, request: Request<Body>) -> Answer;
}

impl Sends for TestServer {
    async fn send(&self, request: Request<Body>) -> Answer {
        TestServer::send(self, request).await
    }
}

/// One browser of one person.
#[derive(Clone, Default)]
pub struct Browser {
    /// Name and value.
    pub cookies: Vec<(String, String)>,
}

impl Browser {
    pub fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let builder = Request::builder().method(method).uri(path).header("host", HOST).header("user-agent", "Test/1.0");
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        builder.header("accept", "text/html").header("cookie", cookies.join("; "))
    }

    pub async fn send(&mut self, server: &impl Sends, request: Request<Body>) -> Answer {
        let answer = server.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    pub async fn get(&mut self, server: &impl Sends, path: &str) -> Answer {
        let request = self.request(Method::GET, path).body(Body::empty()).unwrap();
        self.send(server, request).await
    }

    /// Sends a form, as a page of this server does.
    pub async fn post(&mut self, server: &impl Sends, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = self.request(Method::POST, path).header("origin", format!("https://{HOST}"));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(encoded(fields)).unwrap();
        self.send(server, request).await
    }

    /// Opens a page and sends its form with what it carries itself.
    pub async fn submit(&mut self, server: &impl Sends, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = self.get(server, page).await;
        assert_eq!(shown.status, 200, "{page}: {}", text(&shown));
        self.submit_from(server, &shown, path, fields).await
    }

    /// Sends a form of a page that was shown.
    pub async fn submit_from(&mut self, server: &impl Sends, shown: &Answer, path: &str, fields: &[(&str, &str)]) -> Answer {
        let shown = text(shown);
        let form =
            shown.split("<form").find(|form| form.contains(&format!("action=\"{path}\""))).unwrap_or_else(|| panic!("{path} in {shown}"));
        let form = form.split("</form>").next().unwrap();
        let mut all: Vec<(String, String)> = hidden(form);
        all.retain(|(name, _)| !fields.iter().any(|(given, _)| given == name));
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.post(server, path, &all).await
    }

    pub async fn sign_in(&mut self, server: &impl Sends, email: &str, password: &str) -> Answer {
        self.post(server, "/account/sign-in", &[("email", email), ("password", password)]).await
    }

    /// Whether `/account` is shown.
    pub async fn is_in(&mut self, server: &impl Sends) -> bool {
        self.get(server, "/account").await.status == 200
    }

    /// Signs up; answers with the browser that is signed in and the recovery codes.
    pub async fn sign_up(server: &TestServer, user: UserId, email: &str) -> (Self, Vec<String>) {
        let mut browser = Self::default();
        let made =
            browser.post(server, "/account/sign-up", &[("email", email), ("password", PASSWORD), ("user_id", &user.to_string())]).await;
        assert_eq!(made.status, 200, "{}", text(&made));
        (browser, codes(&made))
    }
}

fn encoded(fields: &[(&str, &str)]) -> Body {
    Body::from(form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish())
}

/// The hidden fields of a form.
pub fn hidden(form: &str) -> Vec<(String, String)> {
    let attribute =
        |tag: &str, name: &str| tag.split(&format!("{name}=\"")).nth(1).and_then(|rest| Some(rest.split('"').next()?.to_owned()));
    let tags = form.split("<input").skip(1).filter_map(|rest| rest.split('>').next()).filter(|tag| tag.contains("type=\"hidden\""));
    tags.map(|tag| (attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap().replace("&#38;", "&"))).collect()
}

pub fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

/// Recovery codes on a page.
pub fn codes(answer: &Answer) -> Vec<String> {
    text(answer)
        .split("<li>")
        .skip(1)
        .filter_map(|rest| Some(rest.split("</li>").next()?.trim().to_owned()))
        .filter(|code| code.len() == 19)
        .collect()
}

/// A registered terminal and its user, with an account.
pub async fn ada(server: &TestServer) -> (Terminal, Browser, Vec<String>) {
    let terminal = Terminal::registered(server).await;
    let (browser, codes) = Browser::sign_up(server, terminal.user.unwrap(), EMAIL).await;
    (terminal, browser, codes)
}

/// Some time later.
pub fn later(server: &TestServer, milliseconds: i64) {
    server.app.clock.set(Timestamp(server.app.clock.now().0 + milliseconds));
}

/// Turns one-time codes on; answers with their secret.
pub async fn turn_codes_on(server: &TestServer, browser: &mut Browser) -> Vec<u8> {
    let shown = browser.get(server, "/account/codes").await;
    let base32: String = text(&shown).split("<code>").nth(1).unwrap().split("</code>").next().unwrap().replace(' ', "");
    let secret = totp_rs::Secret::try_from_base32(&base32).unwrap().as_bytes().to_vec();
    let done = browser.submit_from(server, &shown, "/account/codes", &[("code", &code(server, &secret)), ("password", PASSWORD)]).await;
    assert_eq!(done.header("location"), "/account/security?done=codes-on", "{}", text(&done));
    secret
}

/// The code of this moment.
pub fn code(server: &TestServer, secret: &[u8]) -> String {
    let totp = totp_rs::Builder::new().with_secret(totp_rs::Secret::new(secret.into())).with_account_name("x").build().unwrap();
    totp.generate(u64::try_from(server.app.clock.now().seconds()).unwrap()).to_string()
}
