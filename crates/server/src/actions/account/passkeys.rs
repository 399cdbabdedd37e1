//! Passkeys (WebAuthn): something that a person has, opened by what they are or know; so they need neither password nor code.

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::encoding::to_base64url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webauthn_rs::prelude::{
    DiscoverableAuthentication, DiscoverableKey, Passkey, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential, Url, Uuid,
    Webauthn, WebauthnBuilder,
};

use super::sessions::SignedIn;
use super::{Denied, Why, ask_password, between, password};
use crate::app::App;
use crate::db::Tx;
use crate::mail::{self, Letter, Post};
use crate::problem::Problem;
use crate::store::account::Realm;
use crate::store::passkey::{self, PasskeyRow};
use crate::store::request::{self, Once, Recorded};
use crate::store::session::{self, Presented};
use crate::store::{account, audit, staff, user};

/// What the browser shall do, and what it keeps for us until it has.
#[derive(Serialize)]
pub struct Ceremony {
    /// For `navigator.credentials`.
    pub options: Value,
    /// To be sent back with the answer.
    pub kept: String,
}

/// How this server is named in passkeys: by the host of its first address. They are good there and nowhere else.
fn relying_party(app: &App) -> Result<Webauthn, Problem> {
    let urls: Vec<Url> = app.urls.iter().filter_map(|url| Url::parse(url).ok()).collect();
    let first = urls.first().ok_or_else(|| Problem::internal("this server does not know its own address"))?;
    // A browser makes no passkeys for bare addresses of the loopback, and calls them by this name.
    let host = first.host_str().unwrap_or("localhost");
    let (id, origin) = match host.parse::<std::net::IpAddr>() {
        Ok(_) => {
            let mut local = first.clone();
            local.set_host(Some("localhost")).map_err(Problem::internal)?;
            ("localhost".to_owned(), local)
        }
        Err(_) => (host.to_owned(), first.clone()),
    };
    WebauthnBuilder::new(&id, &origin).map(|builder| builder.rp_name(&app.name)).and_then(WebauthnBuilder::build).map_err(Problem::internal)
}

const NEW: &str = "new passkey";

/// Purposes of what is sealed: a ceremony that began at one entrance ends there.
fn sign_in_purpose(realm: Realm) -> &'static str {
    match realm {
        Realm::Users => "sign-in by passkey",
        Realm::Staff => "sign-in of staff by passkey",
    }
}

#[derive(Serialize, Deserialize)]
struct Making {
    user: UserId,
    name: String,
    state: PasskeyRegistration,
}

/// Begins to make a passkey; asks for the password, so that nobody makes one at a browser that was left alone.
///
/// # Errors
/// `Password`, `Name`, or a problem.
pub async fn begin(app: &App, by: &SignedIn, name: &str, given: &password::Given, now: Timestamp) -> Result<Ceremony, Denied> {
    let name = name.trim().to_owned();
    if !(1..=60).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Why::Name.into());
    }
    let (user, email) = (by.user(), by.account.email.as_str());
    let account = ask_password(app, user, given, now).await?;
    let password = account.password;
    let known = app
        .db
        .write("begin passkey", user::family(user), async move |tx: &mut Tx| -> Result<Vec<PasskeyRow>, Denied> {
            account::forget_attempts(tx, user, password.as_deref()).await?;
            Ok(passkey::list(tx, user).await?)
        })
        .await?;
    let known = known.iter().filter_map(|row| counterfoil_format::encoding::from_base64url(&row.id)).collect();
    let handle = Uuid::from_bytes(*user.as_bytes());
    let (options, state) = relying_party(app)?.start_passkey_registration(handle, email, email, Some(known)).map_err(Problem::internal)?;
    let mut options = serde_json::to_value(options).map_err(Problem::internal)?;
    // So that it is found without an address being typed (WebAuthn Level 3 §5.4.6).
    options["publicKey"]["authenticatorSelection"]["residentKey"] = json!("required");
    options["publicKey"]["authenticatorSelection"]["requireResidentKey"] = json!(true);
    let kept = between::seal(app, NEW, &Making { user, name, state })?;
    Ok(Ceremony { options, kept })
}

/// Keeps the passkey that the browser has made.
///
/// # Errors
/// `Passkey`, `PasskeyKept`, `TooLate`, or a problem.
pub async fn finish(app: &App, by: &SignedIn, kept: &str, made: &RegisterPublicKeyCredential, now: Timestamp) -> Result<(), Denied> {
    let Making { user, name, state } = between::open(app, NEW, kept).ok_or(Why::TooLate)?;
    if user != by.user() {
        return Err(Why::TooLate.into());
    }
    let passkey = relying_party(app)?.finish_passkey_registration(made, &state).map_err(|error| {
        tracing::info!(%error, "a passkey was not accepted");
        Why::Passkey
    })?;
    let document = serde_json::to_vec(&passkey).map_err(Problem::internal)?;
    let row = PasskeyRow { id: to_base64url(passkey.cred_id().as_ref()), document, name, created_at: now, used_at: None };
    let (actor, post, email) = (by.actor(), Post::of(app), by.account.email.clone());
    app.db
        .write("keep passkey", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !passkey::insert(tx, user, &row).await? {
                let same = passkey::find(tx, user, &row.id).await?.is_some_and(|there| there.document == row.document);
                return if same { Ok(()) } else { Err(Why::PasskeyKept.into()) };
            }
            mail::enqueue(tx, &post, user, &email, Letter::PasskeyKept, None, now).await?;
            audit::append(tx, &user::family(user), now.0, &actor, "account.passkey_kept", &json!({ "passkey": row.id })).await?;
            Ok(())
        })
        .await
}

/// Removes a passkey; says whether it was there.
///
/// # Errors
/// `OnlyStep` for staff who have no other second step; a problem.
pub async fn remove(app: &App, by: &SignedIn, id: String, now: Timestamp) -> Result<bool, Denied> {
    let (user, actor) = (by.user(), by.actor());
    app.db
        .write("remove passkey", user::family(user), async move |tx: &mut Tx| -> Result<bool, Denied> {
            // Of two second steps that are removed at once, one stays.
            audit::hold(tx, &user::family(user)).await?;
            let kept = passkey::list(tx, user).await?;
            let only = kept.len() == 1 && kept[0].id == id && account::find(tx, user).await?.is_none_or(|account| account.totp.is_none());
            if only && staff::find(tx, user).await?.is_some() {
                return Err(Why::OnlyStep.into());
            }
            let gone = passkey::delete(tx, user, &id).await?;
            if gone {
                audit::append(tx, &user::family(user), now.0, &actor, "account.passkey_removed", &json!({ "passkey": id })).await?;
            }
            Ok(gone)
        })
        .await
}

/// The passkeys of a user.
///
/// # Errors
/// A problem.
pub async fn list(app: &App, user: UserId) -> Result<Vec<PasskeyRow>, Denied> {
    Ok(app.db.read("passkeys", async move |tx: &mut Tx| passkey::list(tx, user).await).await?)
}

#[derive(Serialize, Deserialize)]
struct Asked {
    /// Names this ceremony: it signs in once.
    id: String,
    state: DiscoverableAuthentication,
}

/// Begins to sign in; whoever it is, is seen from the passkey.
///
/// # Errors
/// A problem.
pub fn ask(app: &App, realm: Realm) -> Result<Ceremony, Denied> {
    let (options, state) = relying_party(app)?.start_discoverable_authentication().map_err(Problem::internal)?;
    let mut options = serde_json::to_value(options).map_err(Problem::internal)?;
    // The person has pressed a button: the browser asks at once, and not when an address is typed.
    options.as_object_mut().map(|options| options.remove("mediation"));
    let id = format!("passkey:{:032x}", u128::from_be_bytes(app.rng.bytes()));
    Ok(Ceremony { options, kept: between::seal(app, sign_in_purpose(realm), &Asked { id, state })? })
}

/// Signs in with the passkey that the browser used.
///
/// # Errors
/// `Passkey`, `TooLate`, or a problem.
pub async fn sign_in(
    app: &App,
    realm: Realm,
    kept: &str,
    used: &PublicKeyCredential,
    agent: String,
    now: Timestamp,
) -> Result<Presented, Denied> {
    let Asked { id, state } = between::open(app, sign_in_purpose(realm), kept).ok_or(Why::TooLate)?;
    let party = relying_party(app)?;
    let (handle, credential) = party.identify_discoverable_authentication(used).map_err(|_| Why::Passkey)?;
    let (user, key_id) = (UserId::from_bytes(*handle.as_bytes()), to_base64url(credential));
    let looked = key_id.clone();
    let row = app.db.read("passkey", async move |tx: &mut Tx| passkey::find(tx, user, &looked).await).await?.ok_or(Why::Passkey)?;
    let mut passkey: Passkey = serde_json::from_slice(&row.document).map_err(Problem::internal)?;
    let key = DiscoverableKey::from(&passkey);
    let verified = party.finish_discoverable_authentication_v2(used, state, &key).map_err(|error| {
        tracing::info!(%error, "a passkey was not accepted");
        Why::Passkey
    })?;
    passkey.update_credential(&verified);
    let document = serde_json::to_vec(&passkey).map_err(Problem::internal)?;
    let session = Presented::generate(realm, user, &mut app.rng.clone());
    let opening = session.clone();
    app.db
        .write("sign in by passkey", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            let family = user::family(user);
            // Run again because the answer of its COMMIT was lost, it finds its own session.
            if session::find(tx, user, &opening.id).await?.is_some_and(|row| row.hash == opening.hash()) {
                return Ok(());
            }
            // A passkey names its owner, not the entrance: staff have theirs, and users have theirs.
            let known = staff::find(tx, user).await?;
            let admitted = match realm {
                Realm::Users => known.is_none(),
                Realm::Staff => known.is_some_and(|staff| staff.ended_at.is_none()),
            };
            if !admitted {
                return Err(Why::Passkey.into());
            }
            let digest = *blake3::hash(&row.document).as_bytes();
            if request::once(tx, &family, &id, &digest, now.0).await? != Once::Fresh {
                return Err(Why::Passkey.into());
            }
            let nothing = Recorded { status: 0, answer: vec![] };
            request::record(tx, &family, &id, &digest, &nothing, now.0, now.0 + Timestamp::DAY).await?;
            if !passkey::used(tx, user, &key_id, &row.document, &document, now).await? {
                return Err(Why::Passkey.into());
            }
            session::insert(tx, &opening, &agent, now).await?;
            let detail = json!({ "session": opening.id, "by": "passkey", "passkey": key_id });
            audit::append(tx, &family, now.0, "/web", "account.signed_in", &detail).await?;
            Ok(())
        })
        .await?;
    Ok(session)
}
