//! `/account/security`: password, address, one-time codes, recovery codes, sessions.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use counterfoil_core::Timestamp;
use qrcodegen::{QrCode, QrCodeEcc};

use super::entrance::RecoveryCodesPage;
use super::keys::with_script;
use super::{day, layout};
use crate::actions::account::sessions::{self, SignedIn};
use crate::actions::account::{Denied, Why, change, codes, passkeys};
use crate::app::App;
use crate::problem::Problem;
use crate::store::account::Realm;
use crate::store::recovery::Code;
use crate::web::visitor::{self, Person, Sent, agent, see_other};
use crate::web::{Layout, Section, assets, page, page_as};

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    layout: Layout,
    script: String,
    told: Option<&'static str>,
    error: Option<String>,
    confirmed: bool,
    own: Own,
}

/// What somebody signs in with, and where they are signed in: the field `own` of a template that includes those of `own/`.
pub(in crate::web) struct Own {
    /// Where the forms lead: `/account` or `/console`.
    pub(in crate::web) base: &'static str,
    pub(in crate::web) form: String,
    pub(in crate::web) email: String,
    pub(in crate::web) codes_on: bool,
    pub(in crate::web) recovery_left: i64,
    pub(in crate::web) passkeys: Vec<ShownPasskey>,
    pub(in crate::web) sessions: Vec<ShownSession>,
}

/// A passkey, as pages show it.
pub(in crate::web) struct ShownPasskey {
    pub(in crate::web) id: String,
    pub(in crate::web) name: String,
    pub(in crate::web) since: String,
}

/// A browser that somebody is signed in with, as pages show it.
pub(in crate::web) struct ShownSession {
    pub(in crate::web) id: String,
    pub(in crate::web) agent: String,
    pub(in crate::web) since: String,
    pub(in crate::web) used: String,
    /// Whether it is the one that asks.
    pub(in crate::web) here: bool,
}

impl Own {
    /// Of whoever is signed in; `at` writes moments.
    ///
    /// # Errors
    /// A failure of the database.
    pub(in crate::web) async fn load(app: &App, by: &SignedIn, at: fn(Timestamp) -> String) -> Result<Self, Problem> {
        let kept = match passkeys::list(app, by.user()).await {
            Ok(kept) => kept,
            Err(Denied::Problem(problem)) => return Err(problem),
            Err(Denied::Why(why)) => return Err(Problem::internal(why)),
        };
        let passkeys = kept.into_iter().map(|row| ShownPasskey { id: row.id, name: row.name, since: at(row.created_at) });
        let live = sessions::list(app, by.user(), by.account.sessions_from, app.clock.now()).await?.into_iter();
        let sessions = live.map(|row| ShownSession {
            here: row.id == by.session.id,
            id: row.id,
            agent: row.agent,
            since: at(row.created_at),
            used: at(row.used_at),
        });
        Ok(Self {
            base: match by.session.realm {
                Realm::Users => "/account",
                Realm::Staff => "/console",
            },
            form: by.session.form_token(),
            email: by.account.email.clone(),
            codes_on: by.account.totp.is_some(),
            recovery_left: codes::recovery_left(app, by.user()).await?,
            passkeys: passkeys.collect(),
            sessions: sessions.collect(),
        })
    }

    /// Staff have a second step always, and no wish to hear why.
    pub(in crate::web) fn is_staff(&self) -> bool {
        self.base == "/console"
    }

    /// Where one-time codes are turned on.
    pub(in crate::web) fn codes_page(&self) -> &'static str {
        if self.is_staff() { "/console/second-step" } else { "/account/codes" }
    }
}

/// `/account/security`
///
/// # Errors
/// A failure of the database.
pub async fn security(State(app): State<App>, Person(by): Person, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    shown(&app, &by, super::told(query.as_deref()), None).await
}

async fn shown(app: &App, by: &SignedIn, told: Option<&'static str>, error: Option<Why>) -> Result<Response, Problem> {
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let shown = SecurityPage {
        layout: layout(app, Section::Account, by),
        script: assets::address("passkey.js"),
        told,
        error: error.map(|why| why.to_string()),
        confirmed: by.account.confirmed_at.is_some(),
        own: Own::load(app, by, day).await?,
    };
    Ok(with_script(page_as(status, &shown)?))
}

/// Says what was wrong on the page that the form stands on.
async fn denied(app: &App, by: &SignedIn, denied: Denied) -> Result<Response, Problem> {
    match denied {
        Denied::Why(why) => shown(app, by, None, Some(why)).await,
        Denied::Problem(problem) => Err(problem),
    }
}

/// Another password.
///
/// # Errors
/// A failure of the database.
pub async fn password(State(app): State<App>, headers: HeaderMap, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let (old, new) = (fields.password("password"), fields.password("new"));
    match change::set_password(&app, &by, &old, new, agent(&headers), app.clock.now()).await {
        Ok(session) => Ok(visitor::signed_in(&app, &session, see_other("/account/security?done=password"))),
        Err(why) => denied(&app, &by, why).await,
    }
}

/// Another address.
///
/// # Errors
/// A failure of the database.
pub async fn email(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    match change::ask_email(&app, &by, &fields.password("password"), fields.text("email"), app.clock.now()).await {
        Ok(true) => Ok(see_other("/account/security?done=email-sent")),
        Ok(false) => Ok(see_other("/account/security?done=email")),
        Err(why) => denied(&app, &by, why).await,
    }
}

#[derive(Template)]
#[template(path = "codes.html")]
struct CodesPage {
    layout: Layout,
    error: Option<String>,
    size: i32,
    picture: String,
    secret: String,
    kept: String,
    form: String,
}

/// `/account/codes`: a secret for the app, as a picture and as text.
///
/// # Errors
/// A failure of the keys.
pub async fn codes_form(State(app): State<App>, Person(by): Person) -> Result<Response, Problem> {
    codes_page(&app, &by, None)
}

fn codes_page(app: &App, by: &SignedIn, error: Option<Why>) -> Result<Response, Problem> {
    let offer = match codes::offer(app, by.user(), &by.account.email) {
        Ok(offer) => offer,
        Err(Denied::Problem(problem)) => return Err(problem),
        Err(Denied::Why(why)) => return Err(Problem::internal(why)),
    };
    let (size, picture) = picture(&offer.uri)?;
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let (layout, form) = (layout(app, Section::Account, by), by.session.form_token());
    let error = error.map(|why| format!("{why} Here is a new secret; scan it again."));
    page_as(status, &CodesPage { layout, error, size, picture, secret: offer.secret, kept: offer.kept, form })
}

/// A QR code (ISO/IEC 18004) as the path of an SVG, with the margin of four that readers need.
pub(in crate::web) fn picture(text: &str) -> Result<(i32, String), Problem> {
    const MARGIN: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(Problem::internal)?;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{} {}h1v1h-1z", x + MARGIN, y + MARGIN));
        }
    }
    Ok((code.size() + 2 * MARGIN, path))
}

/// Turns codes on.
///
/// # Errors
/// A failure of the database.
pub async fn codes_on(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    let password = fields.password("password");
    match codes::turn_on(&app, by.user(), fields.text("kept"), fields.text("code"), &password, app.clock.now()).await {
        Ok(()) => Ok(see_other("/account/security?done=codes-on")),
        Err(Denied::Why(why)) => codes_page(&app, &by, Some(why)),
        Err(Denied::Problem(problem)) => Err(problem),
    }
}

/// Turns codes off.
///
/// # Errors
/// A failure of the database.
pub async fn codes_off(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    match codes::turn_off(&app, by.user(), &fields.password("password"), app.clock.now()).await {
        Ok(()) => Ok(see_other("/account/security?done=codes-off")),
        Err(why) => denied(&app, &by, why).await,
    }
}

/// New recovery codes, shown once.
///
/// # Errors
/// A failure of the database.
pub async fn recovery_codes(State(app): State<App>, Sent { by, fields }: Sent) -> Result<Response, Problem> {
    match codes::draw_recovery(&app, by.user(), &fields.password("password"), app.clock.now()).await {
        Ok(codes) => {
            let (layout, codes) = (layout(&app, Section::Account, &by), codes.iter().map(Code::reveal).collect());
            page(&RecoveryCodesPage { layout, new_account: false, mailed: false, email: &by.account.email, codes })
        }
        Err(why) => denied(&app, &by, why).await,
    }
}
