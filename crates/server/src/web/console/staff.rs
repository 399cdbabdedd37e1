//! Who asks for a page of the console, what they see, and that a form was sent from one of their pages.

use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Request};
use axum::http::Method;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use counterfoil_core::UserId;
use counterfoil_format::encoding::to_base64url;

use crate::actions::account::sessions::SignedIn;
use crate::actions::staff::set_up::{self, SignedInStaff};
use crate::app::App;
use crate::auth::{Caller, Role, Scope, staff_actor};
use crate::clock::Rng;
use crate::idempotency::Once;
use crate::problem::{ApiCode, Problem};
use crate::store::account::Realm;
use crate::store::session::{Presented, STAFF_LIFE};
use crate::store::staff::StaffRow;
use crate::web::visitor::{self, Fields, Posted, see_other};

/// Who sees a page. What changes something is for those whom the API admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// Whoever is signed in.
    Everybody,
    /// Whoever may look up anything at all: everybody but shops.
    Things,
    /// Operators.
    Operators,
    /// Publishers, each their own, and operators.
    Publishers,
    /// Repair centres and operators.
    Repairers,
    /// People with their cards, devices and drives: operators, repair centres, support.
    Entries,
    /// Orders: operators and support.
    Orders,
    /// Titles, releases, batches: operators, support, and publishers, each their own.
    Catalogue,
}

impl Sees {
    /// Whether a role does.
    pub fn admits(self, role: Role) -> bool {
        use Role::{Operator, Publisher, Repair, Shop, Support};
        match self {
            Self::Everybody => matches!(role, Operator | Publisher | Repair | Support | Shop),
            Self::Things => matches!(role, Operator | Publisher | Repair | Support),
            Self::Operators => role == Operator,
            Self::Publishers => matches!(role, Operator | Publisher),
            Self::Repairers => matches!(role, Operator | Repair),
            Self::Entries => matches!(role, Operator | Repair | Support),
            Self::Orders => matches!(role, Operator | Support),
            Self::Catalogue => matches!(role, Operator | Publisher | Support),
        }
    }
}

/// Somebody of staff who is signed in, with everything that their role asks for.
pub struct Staff(SignedInStaff);

impl Staff {
    /// Who.
    pub fn id(&self) -> UserId {
        self.0.row.id
    }

    /// What they may do, and for whom.
    pub fn row(&self) -> &StaffRow {
        &self.0.row
    }

    /// As what.
    pub fn role(&self) -> Role {
        self.0.row.role
    }

    /// Their account and session.
    pub fn signed_in(&self) -> &SignedIn {
        &self.0.by
    }

    /// Whether there is a second step, without which nothing is shown.
    pub fn is_complete(&self) -> bool {
        self.0.second
    }

    /// What they may look at. Of what nobody but publishers owns, who looks things up for people sees all.
    pub fn scope(&self) -> Scope {
        match (self.role(), &self.0.row.tenant) {
            (Role::Operator | Role::Support | Role::Repair, _) => Scope::All,
            (Role::Publisher, Some(tenant)) => Scope::Publisher(tenant.clone()),
            // No publisher has an empty ID: sees nothing.
            _ => Scope::Publisher(String::new()),
        }
    }

    /// As the actions know those who call.
    pub fn caller(&self) -> Caller {
        Caller::of_staff(&self.0.row)
    }

    /// As in the audit log: `staff:` and their ID.
    pub fn actor(&self) -> String {
        staff_actor(self.id())
    }

    /// What every form on their pages carries, as the field `form`.
    pub fn form_token(&self) -> String {
        self.0.by.session.form_token()
    }

    /// Lets nobody on who does not see this: for them it is not there.
    ///
    /// # Errors
    /// `not_found`.
    pub fn needs(&self, sees: Sees) -> Result<(), Problem> {
        if self.sees(sees) { Ok(()) } else { Err(ApiCode::NotFound.into()) }
    }

    /// Whether they see this.
    pub fn sees(&self, sees: Sees) -> bool {
        sees.admits(self.role())
    }
}

/// Drawn for every form that does something, as its field `once`: sent twice, it is done once.
pub fn draw_once(rng: &Rng) -> String {
    to_base64url(&rng.bytes::<16>())
}

/// What a page finds who asks for it without a session, or without all that it needs.
async fn find(parts: &mut Parts, app: &App, complete: bool) -> Result<SignedInStaff, Response> {
    let session = visitor::cookie(&parts.headers, cookie_name(app)).and_then(|cookie| Presented::parse(Realm::Staff, &cookie));
    let found = match session {
        Some(session) => set_up::who(app, session, app.clock.now()).await.map_err(|error| Problem::from(error).into_response())?,
        None => None,
    };
    match found {
        Some(found) if complete && !found.second => Err(see_other("/console/second-step")),
        Some(found) => Ok(found),
        None => {
            // What was sent with a form is lost, so its page is where to go on.
            let back = parts.uri.path_and_query().filter(|_| parts.method == Method::GET).map_or("/console", |path| path.as_str());
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", back).finish();
            Err(see_other(&format!("/console/sign-in?{query}")))
        }
    }
}

impl FromRequestParts<App> for Staff {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        find(parts, app, true).await.map(Self)
    }
}

/// Somebody who is signed in, be it only by a password so far: for the pages that set up the rest, and to sign out.
pub struct Entering(pub Staff);

impl FromRequestParts<App> for Entering {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        find(parts, app, false).await.map(|found| Self(Staff(found)))
    }
}

/// A form that one of the pages of this session sent.
pub struct Sent {
    /// Who.
    pub by: Staff,
    /// What.
    pub fields: Fields,
    /// Does what the form is for once, however often it is sent.
    pub once: Once,
}

impl FromRequest<App> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Staff(found) = Staff::from_request_parts(&mut parts, app).await?;
        checked(Staff(found), Request::from_parts(parts, body), app).await
    }
}

/// The same of somebody who has not set up everything.
pub struct EnteringSent(pub Sent);

impl FromRequest<App> for EnteringSent {
    type Rejection = Response;

    async fn from_request(request: Request, app: &App) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Entering(by) = Entering::from_request_parts(&mut parts, app).await?;
        checked(by, Request::from_parts(parts, body), app).await.map(Self)
    }
}

async fn checked(by: Staff, request: Request, app: &App) -> Result<Sent, Response> {
    let route = request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let target = request.uri().path().to_owned();
    let Posted(fields) = Posted::from_request(request, app).await.map_err(IntoResponse::into_response)?;
    if !by.signed_in().session.sent(fields.text("form")) {
        return Err(Problem::from(ApiCode::ForeignForm).into_response());
    }
    let session = &by.signed_in().session;
    let once = Once::of_form(&by.actor(), &route, fields.text("once"), &fields.digest(&target), session.answers());
    Ok(Sent { by, fields, once })
}

/// Its own: the cookie of a user is none of staff, and the reverse. `__Host-` where it is served over HTTPS.
pub fn cookie_name(app: &App) -> &'static str {
    if visitor::is_https(app) { "__Host-counterfoil-console" } else { "counterfoil-console" }
}

/// The answer with the cookie of a session that begins.
pub fn signed_in(app: &App, session: &Presented, answer: Response) -> Response {
    with_cookie(app, &session.reveal(), STAFF_LIFE / 1000, answer)
}

/// The answer that takes the cookie away.
pub fn signed_out(app: &App, answer: Response) -> Response {
    with_cookie(app, "", 0, answer)
}

fn with_cookie(app: &App, value: &str, seconds: i64, mut answer: Response) -> Response {
    // Strict: no link of another site opens a page as somebody; the page then shown offers to sign in, or to go on.
    let (name, value) = visitor::set_cookie(app, cookie_name(app), value, seconds, "Strict");
    debug_assert_eq!(name, SET_COOKIE);
    answer.headers_mut().append(name, value);
    answer
}

/// Where somebody wanted to go before they were asked who they are: a page of the console, and nothing else.
pub fn next(fields: &Fields) -> &str {
    let path = fields.text("next");
    let console = path.strip_prefix("/console").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if console && plain { path } else { "/console" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_out_of_the_console_after_signing_in() {
        for (given, goes) in [
            ("/console", "/console"),
            ("/console/search?q=ada", "/console/search?q=ada"),
            ("/console?done=out", "/console?done=out"),
            ("/consoles", "/console"),
            ("/account", "/console"),
            ("https://evil.example/", "/console"),
            ("//evil.example/console", "/console"),
            ("/console\\@evil.example", "/console"),
            ("/console\r\nSet-Cookie: x=y", "/console"),
            ("", "/console"),
        ] {
            let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("next", given).finish();
            assert_eq!(next(&Fields::parse(query.as_bytes())), goes, "{given}");
        }
    }
}
