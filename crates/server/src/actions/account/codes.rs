//! One-time codes (TOTP, RFC 6238) as a second step, and recovery codes for the day that neither they nor the password are at hand.

use counterfoil_core::{Timestamp, UserId};
use counterfoil_format::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use totp_rs::{Builder, Totp};

use super::{Denied, Why, ask_password, between, password};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::mail::{self, Letter, Post};
use crate::problem::Problem;
use crate::store::account::{self, AccountRow};
use crate::store::recovery::{self, Code};
use crate::store::{audit, passkey, staff, user};

/// What stands for the second step, read and right, not spent yet.
#[derive(Clone)]
pub(super) enum Second {
    /// The step of time that the code is of.
    Step(i64),
    /// A recovery code; whether it is good is seen when it is spent.
    Recovery(Code),
}

impl Second {
    /// Reads what was typed: six digits, or a recovery code.
    pub(super) async fn read(app: &App, user: UserId, account: &AccountRow, typed: &str, now: Timestamp) -> Result<Option<Self>, Denied> {
        let typed = typed.trim();
        if let Some(code) = Code::parse(typed) {
            return Ok(Some(Self::Recovery(code)));
        }
        let Some(wrapped) = &account.totp else { return Ok(None) };
        let secret = app.keys.open(&app.db, &Place::TotpSecret { user: &user.to_string() }, wrapped).await?;
        Ok(step(&secret, typed, now)?.map(Self::Step))
    }
}

/// Which step of time these digits are of, one before and after included; `None` for others.
fn step(secret: &Secret<32>, typed: &str, now: Timestamp) -> Result<Option<i64>, Problem> {
    let digits: String = typed.chars().filter(|c| *c != ' ').collect();
    if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let at = u64::try_from(now.seconds()).unwrap_or(0);
    let step = totp(secret, "-", "-")?.check(&digits, at);
    Ok(step.and_then(|step| i64::try_from(step).ok()))
}

fn totp(secret: &Secret<32>, issuer: &str, name: &str) -> Result<Totp, Problem> {
    let plain = |text: &str| text.replace(':', " ");
    Builder::new()
        .with_secret(totp_rs::Secret::new(secret.expose().as_slice().into()))
        .with_issuer(Some(plain(issuer)))
        .with_account_name(plain(name))
        .build()
        .map_err(Problem::internal)
}

/// A secret that is shown, and not kept before a code has proved that it arrived.
pub struct Offer {
    /// `otpauth://…`, as authenticator apps read it from a picture.
    pub uri: String,
    /// To be typed in where there is no camera: base 32 in groups of four.
    pub secret: String,
    /// What the browser keeps until the code.
    pub kept: String,
}

#[derive(Serialize, Deserialize)]
struct Offered {
    user: UserId,
    secret: [u8; 32],
}

const PURPOSE: &str = "one-time codes";

/// Draws a secret for a person to put in their app.
///
/// # Errors
/// A problem.
pub fn offer(app: &App, user: UserId, email: &str) -> Result<Offer, Denied> {
    let secret = Secret::<32>::random(&mut app.rng.clone());
    let totp = totp(&secret, &app.name, email)?;
    let base32 = totp.secret().to_base32();
    let groups: Vec<_> = base32.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    let kept = between::seal(app, PURPOSE, &Offered { user, secret: *secret.expose() })?;
    Ok(Offer { uri: totp.to_url().map_err(Problem::internal)?, secret: groups.join(" "), kept })
}

/// Turns codes on, proved by one and by the password.
///
/// # Errors
/// `Password`, `Code`, `TooLate`, or a problem.
pub async fn turn_on(app: &App, user: UserId, kept: &str, typed: &str, given: &password::Given, now: Timestamp) -> Result<(), Denied> {
    let Offered { user: for_user, secret } = between::open(app, PURPOSE, kept).ok_or(Why::TooLate)?;
    if for_user != user {
        return Err(Why::TooLate.into());
    }
    let secret = Secret::new(secret);
    let account = ask_password(app, user, given, now).await?;
    let step = step(&secret, typed, now)?.ok_or(Why::Code)?;
    let wrapped = app.keys.wrap(&Place::TotpSecret { user: &user.to_string() }, secret.expose(), &mut app.rng.clone())?;
    let password = account.password;
    app.db
        .write("turn codes on", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !account::forget_attempts(tx, user, password.as_deref()).await? {
                return Err(Why::Password.into());
            }
            account::set_totp(tx, user, Some((&wrapped, step))).await?;
            audit::append(tx, &user::family(user), now.0, "/web", "account.codes_on", &json!({})).await?;
            Ok(())
        })
        .await
}

/// Turns codes off.
///
/// # Errors
/// `Password`, `OnlyStep` for staff who have no passkey, or a problem.
pub async fn turn_off(app: &App, user: UserId, given: &password::Given, now: Timestamp) -> Result<(), Denied> {
    let account = ask_password(app, user, given, now).await?;
    let post = Post::of(app);
    app.db
        .write("turn codes off", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            // Of two second steps that are removed at once, one stays.
            audit::hold(tx, &user::family(user)).await?;
            if passkey::list(tx, user).await?.is_empty() && staff::find(tx, user).await?.is_some() {
                return Err(Why::OnlyStep.into());
            }
            if !account::forget_attempts(tx, user, account.password.as_deref()).await? {
                return Err(Why::Password.into());
            }
            account::set_totp(tx, user, None).await?;
            mail::enqueue(tx, &post, user, &account.email, Letter::CodesOff, None, now).await?;
            audit::append(tx, &user::family(user), now.0, "/web", "account.codes_off", &json!({})).await?;
            Ok(())
        })
        .await
}

/// Draws new recovery codes; those from before are no longer good.
///
/// # Errors
/// `Password`, or a problem.
pub async fn draw_recovery(app: &App, user: UserId, given: &password::Given, now: Timestamp) -> Result<Vec<Code>, Denied> {
    let account = ask_password(app, user, given, now).await?;
    let codes: Vec<Code> = (0..recovery::COUNT).map(|_| Code::generate(&mut app.rng.clone())).collect();
    let (post, kept) = (Post::of(app), codes.clone());
    app.db
        .write("draw recovery codes", user::family(user), async move |tx: &mut Tx| -> Result<(), Denied> {
            if !account::forget_attempts(tx, user, account.password.as_deref()).await? {
                return Err(Why::Password.into());
            }
            recovery::replace(tx, user, &kept).await?;
            mail::enqueue(tx, &post, user, &account.email, Letter::RecoveryCodesDrawn, None, now).await?;
            audit::append(tx, &user::family(user), now.0, "/web", "account.recovery_codes_drawn", &json!({})).await?;
            Ok(())
        })
        .await?;
    Ok(codes)
}

/// How many recovery codes are left.
///
/// # Errors
/// A failure of the database.
pub async fn recovery_left(app: &App, user: UserId) -> Result<i64, DbError> {
    app.db.read("recovery codes", async move |tx: &mut Tx| recovery::left(tx, user).await).await
}
