//! Who sends a request with a browser, and that a form was sent by our own page and nobody else's.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use counterfoil_format::encoding::frame;

use crate::actions::account::sessions::{self, SignedIn};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::account::Realm;
use crate::store::session::{LIFE, Presented};
use crate::web::site::Site;

pub use crate::web::site::is_https;

/// Longest form, in bytes.
const FORM: usize = 64 << 10;
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Somebody who may be signed in.
pub struct Visitor(pub Option<SignedIn>);

impl FromRequestParts<App> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match cookie(&parts.headers, cookie_name(app)).as_deref().and_then(|cookie| Presented::parse(Realm::Users, cookie)) {
            Some(session) => Ok(Self(sessions::who(app, session, app.clock.now()).await?)),
            None => Ok(Self(None)),
        }
    }
}

/// Somebody who is signed in; who is not, is asked to, and comes back.
pub struct Person(pub SignedIn);

impl FromRequestParts<App> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        match Visitor::from_request_parts(parts, app).await {
            Ok(Visitor(Some(signed_in))) => Ok(Self(signed_in)),
            Ok(Visitor(None)) => {
                let back = parts.uri.path_and_query().map_or("/account", |path| path.as_str());
                // What was sent with a form is lost, so its page is where to go on.
                let back = if parts.method == axum::http::Method::GET { back } else { "/account" };
                let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", back).finish();
                Err(see_other(&format!("/account/sign-in?{query}")))
            }
            Err(problem) => Err(problem.into_response()),
        }
    }
}

/// The fields of a form that one of our own pages sent.
pub struct Posted(pub Fields);

impl<S: Site> FromRequest<S> for Posted {
    type Rejection = Problem;

    async fn from_request(request: Request, site: &S) -> Result<Self, Problem> {
        check_origin(site, request.headers(), request.uri())?;
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(ApiCode::UnsupportedMediaType.into());
        }
        let fields = Fields::parse(&body(request).await?);
        // As in an address (`layers::without_nul`): no database keeps it in a text, and no person types it.
        if fields.0.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(Problem::with(ApiCode::InvalidRequest, "the form holds a NUL character"));
        }
        Ok(Self(fields))
    }
}

/// A form of somebody who is signed in, sent from a page of their session.
pub struct Sent {
    /// Who.
    pub by: SignedIn,
    /// What.
    pub fields: Fields,
}

impl FromRequest<App> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Person(by) = Person::from_request_parts(&mut parts, app).await?;
        let Posted(fields) = Posted::from_request(Request::from_parts(parts, body), app).await.map_err(IntoResponse::into_response)?;
        if !by.session.sent(fields.text("form")) {
            return Err(foreign().into_response());
        }
        Ok(Self { by, fields })
    }
}

/// A JSON document from a script of one of our own pages.
pub struct FromScript<T>(pub T);

impl<T: serde::de::DeserializeOwned> FromRequest<App> for FromScript<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        check_origin(app, request.headers(), request.uri())?;
        // A form of another page cannot say that it is JSON (Fetch Standard, "CORS-safelisted request-header").
        let json = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if !json {
            return Err(ApiCode::UnsupportedMediaType.into());
        }
        let read = serde_json::from_slice(&body(request).await?);
        read.map(Self).map_err(|_| ApiCode::InvalidRequest.into())
    }
}

async fn body(request: Request<Body>) -> Result<axum::body::Bytes, Problem> {
    axum::body::to_bytes(request.into_body(), FORM).await.map_err(|_| ApiCode::TooLarge.into())
}

/// Names and values, as a form sends them.
#[derive(Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// As if they had been sent.
    pub fn of(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    /// Reads a query, or a body of the same form.
    pub fn parse(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// All of them, in the order of the form.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of this name; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The same, where it is not empty.
    pub fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty())
    }

    /// Names what was sent, besides what differs from one page to the next.
    pub fn digest(&self, target: &str) -> [u8; 32] {
        let fields = self.0.iter().filter(|(name, _)| !matches!(name.as_str(), "form" | "once"));
        let parts: Vec<&[u8]> = fields.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
        *blake3::hash(&frame(&[&[target.as_bytes()], parts.as_slice()].concat())).as_bytes()
    }

    /// The same, as a password: not trimmed, and not to be printed.
    pub fn password(&self, name: &str) -> crate::actions::account::password::Given {
        crate::actions::account::password::Given::new(self.text(name))
    }
}

/// Whether a request that changes something was sent by one of our own pages: the browser says so (Fetch Metadata; RFC 6454 §7.3). Cookies
/// are not sent from elsewhere either, but some of them are for two minutes, and a sign-in needs none.
fn check_origin(site: &impl Site, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(&SEC_FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return Err(foreign());
    }
    let Some(origin) = text(&ORIGIN) else {
        // Every browser sends one of the two with a form.
        return if text(&SEC_FETCH_SITE).is_some() { Ok(()) } else { Err(foreign()) };
    };
    let host = text(&HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
    let here = origin.split_once("://").is_some_and(|(_, authority)| host.is_some_and(|host| host.eq_ignore_ascii_case(authority)));
    if here || site.urls().iter().any(|url| url.eq_ignore_ascii_case(origin)) { Ok(()) } else { Err(foreign()) }
}

/// A form that is not ours.
pub fn foreign() -> Problem {
    ApiCode::ForeignForm.into()
}

/// `__Host-` where it is served over HTTPS: then no other host, and nobody on the wire, can set it (RFC 6265bis §4.1.3.2).
pub fn cookie_name(app: &App) -> &'static str {
    if is_https(app) { "__Host-counterfoil" } else { "counterfoil" }
}

/// A cookie of this name.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    all.filter_map(|pair| pair.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

/// A cookie for a while, or gone at once; scripts do not see it.
pub fn set_cookie(site: &impl Site, name: &str, value: &str, seconds: i64, same_site: &str) -> (HeaderName, HeaderValue) {
    let secure = if is_https(site) { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite={same_site}; Max-Age={seconds}{secure}");
    (SET_COOKIE, HeaderValue::try_from(text).expect("IDs, base64url and words are a header's value"))
}

/// The answer with the cookie of a session that begins.
pub fn signed_in(app: &App, session: &Presented, mut answer: Response) -> Response {
    let (name, value) = set_cookie(app, cookie_name(app), &session.reveal(), LIFE / 1000, "Lax");
    answer.headers_mut().append(name, value);
    answer
}

/// The answer that takes the cookie away.
pub fn signed_out(app: &App, mut answer: Response) -> Response {
    let (name, value) = set_cookie(app, cookie_name(app), "", 0, "Lax");
    answer.headers_mut().append(name, value);
    answer
}

/// Goes on with another page (303): what was sent is not sent again when it is reloaded.
pub fn see_other(path: &str) -> Response {
    let place = HeaderValue::try_from(path).unwrap_or(HeaderValue::from_static("/account"));
    (StatusCode::SEE_OTHER, [(LOCATION, place)]).into_response()
}

/// Where somebody wanted to go before they were asked who they are: a path here, and nowhere else.
pub fn next(fields: &Fields) -> &str {
    let path = fields.text("next");
    let ours = path.starts_with('/') && !path.starts_with("//") && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours { path } else { "/account" }
}

/// What the browser calls itself, for the list of sessions: `Firefox on Windows` where that can be told.
pub fn agent(headers: &HeaderMap) -> String {
    let named = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // All of them say that they are several others as well; whoever says most is named first.
    let browsers = [("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let systems =
        [("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux")];
    let find = |known: &[(&str, &'static str)]| known.iter().find(|(part, _)| named.contains(part)).map(|(_, name)| *name);
    match (find(&browsers), find(&systems)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        _ if named.is_empty() => "A browser that does not say what it is".to_owned(),
        _ => named.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for (given, goes) in [
            ("/store/sky-raider/buy", "/store/sky-raider/buy"),
            ("/transfer?source=a", "/transfer?source=a"),
            ("https://evil.example/", "/account"),
            ("//evil.example/", "/account"),
            ("/\\evil.example/", "/account"),
            ("/a\r\nSet-Cookie: x=y", "/account"),
            ("", "/account"),
        ] {
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", given).finish();
            assert_eq!(next(&Fields::parse(query.as_bytes())), goes, "{given}");
        }
    }

    #[test]
    fn browsers_are_named_as_people_know_them() {
        for (said, named) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Safari/604.1", "Safari on iPhone"),
            ("curl/8.5", "curl/8.5"),
            ("", "A browser that does not say what it is"),
        ] {
            let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(said))]);
            assert_eq!(agent(&headers), named);
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("xcounterfoil=a; counterfoil=b; other=c"));
        assert_eq!(cookie(&headers, "counterfoil").as_deref(), Some("b"));
        assert_eq!(cookie(&headers, "foil"), None);
    }
}
