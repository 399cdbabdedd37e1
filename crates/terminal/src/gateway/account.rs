//! An account at a gateway: made, signed in to, looked at, paid into by voucher. The gateway's own; the authority knows nothing of it.

use super::{SignedIn, at};
use crate::error::Result;
use crate::io::IoFailure;
use crate::terminal::Terminal;
use crate::transport::{TransportError, is_guarded, problem, reason};
use counterfoil_core::{CardId, Code, Currency, Money, Refusal, RequestId, Timestamp, TitleId, VoucherCode, VoucherCodeError};
use counterfoil_format::encoding::parse_strict;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 4 << 20;
/// How long an answer is waited for: a password is hashed on purpose slowly.
const PATIENCE: Duration = Duration::from_secs(60);

/// An account, as its gateway shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// Its ID at the gateway.
    pub account: String,
    /// The name that is signed in with.
    pub name: String,
    /// Where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// One for each currency that was ever paid in.
    #[serde(default)]
    pub balances: Vec<Balance>,
    /// The cards that have signed what it paid for.
    #[serde(default)]
    pub cards: Vec<UsedCard>,
}

/// What an account holds in one currency, in minor units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Which.
    pub currency: Currency,
    /// What is booked.
    pub posted: u64,
    /// Of that, what is promised to exchanges under way.
    pub reserved: u64,
    /// What can be spent.
    pub available: u64,
}

/// A card that the gateway has seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsedCard {
    /// Which.
    pub card_id: CardId,
    /// Since when.
    pub first_at: Timestamp,
}

/// Something that an account was charged for, or was to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The exchange, by the name that the authority and this terminal have for it as well.
    pub exchange_id: RequestId,
    /// Where it stands, as the gateway says.
    pub state: String,
    /// What for.
    pub title: TitleId,
    /// The title's name.
    pub name: String,
    /// How much.
    pub price: Money,
    /// When it began.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

/// What a voucher has brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Redeemed {
    /// How much was on it.
    pub amount: Money,
    /// What the account holds now.
    pub balance: Money,
}

/// Makes an account, and signs in.
///
/// # Errors
/// What the gateway refuses; [`TransportError`].
pub fn make(terminal: &Terminal, gateway: &str, name: &str, password: &str, email: Option<&str>) -> Result<()> {
    let mut body = json!({ "name": name, "password": password });
    if let Some(email) = email {
        body["email"] = email.into();
    }
    enter(terminal, gateway, "/v1/accounts", body)
}

/// Signs in.
///
/// # Errors
/// [`Code::AccountNeeded`] where name and password do not fit; [`TransportError`].
pub fn sign_in(terminal: &Terminal, gateway: &str, name: &str, password: &str) -> Result<()> {
    enter(terminal, gateway, "/v1/accounts/sign-in", json!({ "name": name, "password": password }))
}

/// Signs out, at the gateway and here. Answers with the name that was signed in; nothing where none was.
///
/// # Errors
/// What the system said; [`TransportError`]: then it is still signed in.
pub fn sign_out(terminal: &Terminal, gateway: &str) -> Result<Option<String>> {
    let _home = terminal.home().lock()?;
    let gateway = at(gateway);
    let Some(account) = terminal.signed_in(&gateway)? else { return Ok(None) };
    match call::<Option<Value>>(terminal, &gateway, Some(&account), "/v1/accounts/sign-out", Some(json!({}))) {
        // It had ended already.
        Err(crate::Error::Refused(refusal)) if refusal.code == Code::AccountNeeded => {}
        other => drop(other?),
    }
    let path = terminal.account_file(&gateway);
    terminal.io().remove_file(&path).map_err(IoFailure::at("remove", &path))?;
    Ok(Some(account.name))
}

/// What the account holds.
///
/// # Errors
/// [`Code::AccountNeeded`] where nobody is signed in; [`TransportError`].
pub fn show(terminal: &Terminal, gateway: &str) -> Result<Shown> {
    let gateway = at(gateway);
    call(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), "/v1/account", None)
}

/// What it was charged for, newest first, up to `most`; and whether there is more.
///
/// # Errors
/// As [`show`].
pub fn statement(terminal: &Terminal, gateway: &str, most: usize) -> Result<(Vec<Listed>, bool)> {
    #[derive(Deserialize)]
    struct Page {
        exchanges: Vec<Listed>,
        #[serde(default)]
        next: Option<String>,
    }
    let gateway = at(gateway);
    let account = signed_in(terminal, &gateway)?;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page: Page = call(terminal, &gateway, Some(&account), &format!("/v1/account/exchanges{after}"), None)?;
        let whole = page.exchanges.len() <= most - found.len();
        let nothing = page.exchanges.is_empty();
        found.extend(page.exchanges.into_iter().take(most - found.len()));
        match page.next {
            Some(next) if whole && !nothing && found.len() < most => after = format!("?after={}", crate::store::escaped(&next)),
            next => return Ok((found, !whole || (next.is_some() && !nothing))),
        }
    }
}

/// Pays a voucher into the account. Repeating it pays in nothing more.
///
/// # Errors
/// [`Code::VoucherInvalid`] where the check characters do not fit, without asking; what the gateway refuses; [`TransportError`].
pub fn redeem(terminal: &Terminal, gateway: &str, code: &str) -> Result<Redeemed> {
    // A typing error is told here: nothing is sent, and no attempt is counted.
    let code: VoucherCode = code.parse().map_err(|error: VoucherCodeError| Refusal::with(Code::VoucherInvalid, error.to_string()))?;
    let gateway = at(gateway);
    let body = json!({ "code": code.to_string() });
    call(terminal, &gateway, Some(&signed_in(terminal, &gateway)?), "/v1/account/vouchers", Some(body))
}

pub(super) fn signed_in(terminal: &Terminal, gateway: &str) -> Result<SignedIn> {
    let nobody = || Refusal::with(Code::AccountNeeded, format!("nobody is signed in at {gateway}"));
    Ok(terminal.signed_in(gateway)?.ok_or_else(nobody)?)
}

/// Comes back with a token, which is kept. From then on a home that does not speak with its authority directly goes through this gateway.
fn enter(terminal: &Terminal, gateway: &str, path: &str, body: Value) -> Result<()> {
    #[derive(Deserialize)]
    struct Entered {
        name: String,
        token: Zeroizing<String>,
        #[serde(default)]
        expires_at: Option<Timestamp>,
    }
    let _home = terminal.home().lock()?;
    let gateway = at(gateway);
    let Entered { name, token, expires_at } = call(terminal, &gateway, None, path, Some(body))?;
    terminal.sign_in_as(&SignedIn { gateway: gateway.clone(), name, token, expires_at })?;
    terminal.home().remember(|profile| {
        if profile.authority.is_none() || profile.via.is_some() {
            profile.via = Some(gateway.clone());
        }
    })
}

pub(super) fn call<T: DeserializeOwned>(
    terminal: &Terminal,
    gateway: &str,
    account: Option<&SignedIn>,
    path: &str,
    body: Option<Value>,
) -> Result<T> {
    let asked = body.map_or(Asked::Get, Asked::Post);
    ask(terminal, gateway, account, path, asked)
}

/// What is asked of a path.
pub(super) enum Asked {
    Get,
    Post(Value),
    Delete,
}

pub(super) fn ask<T: DeserializeOwned>(
    terminal: &Terminal,
    gateway: &str,
    account: Option<&SignedIn>,
    path: &str,
    asked: Asked,
) -> Result<T> {
    let url = format!("{gateway}{path}");
    if !is_guarded(gateway) {
        return Err(TransportError::Unguarded { url: gateway.to_owned() }.into());
    }
    let agent = terminal.agent()?;
    let bearer = account.map(|account| Zeroizing::new(format!("Bearer {}", *account.token)));
    let answer = match asked {
        Asked::Delete => {
            let request = agent.delete(&url).config().timeout_global(Some(PATIENCE)).build();
            bearer.iter().fold(request, |request, bearer| request.header("authorization", bearer.as_str())).call()
        }
        Asked::Get => {
            let request = agent.get(&url).config().timeout_global(Some(PATIENCE)).build();
            bearer.iter().fold(request, |request, bearer| request.header("authorization", bearer.as_str())).call()
        }
        Asked::Post(body) => {
            let request = agent.post(&url).config().timeout_global(Some(PATIENCE)).build().content_type("application/json");
            let body = Zeroizing::new(body.to_string());
            bearer.iter().fold(request, |request, bearer| request.header("authorization", bearer.as_str())).send(body.as_bytes())
        }
    };
    let broken = |error: &ureq::Error| TransportError::Unreachable { url: url.clone(), reason: reason(error) };
    let mut answer = answer.map_err(|error| broken(&error))?;
    let status = answer.status().as_u16();
    let read = Zeroizing::new(answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec().map_err(|error| broken(&error))?);
    let strange = |error: serde_json::Error| TransportError::NotAnAuthority { url: url.clone(), reason: error.to_string() };
    match status {
        200 | 201 => Ok(parse_strict(&read).map_err(strange)?),
        204 => Ok(serde_json::from_value(Value::Null).map_err(strange)?),
        _ => Err(problem(&url, status, &read).into()),
    }
}
