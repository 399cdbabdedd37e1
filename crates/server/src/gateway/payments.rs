//! Payment by card through a payment provider (C17): top-ups, and what an exchange costs beyond the balance.
//!
//! A payment is a row that says where it stands before the next step is taken. Each step has a key by which the provider does it once; what came of
//! it is what the provider says when it is asked (`drive`). Messages that it sends by itself only have it asked sooner: forged, doubled, late or in the
//! wrong order, they change nothing (decision 0034).

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use counterfoil_core::{AccountId, Code, Money, PaymentId, Timestamp};
use zeroize::Zeroizing;

use super::app::App;
use super::config;
use super::ledger;
use super::store::account;
use super::store::payment::{self, PaymentRow, Purpose, State};
use super::store::payment_card::{self, CardRow};
use crate::config::ConfigError;
use crate::config::contents::read_private;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use provider::{Failed, Forged, Hint, Provider as _};
use stripe::Stripe;

pub mod cover;
pub mod disputes;
pub mod drive;
pub mod provider;
pub mod repay;
pub mod stripe;

/// How long somebody has to pay before it is given up.
pub const STANDS: i64 = Timestamp::DAY;
/// How long a request has for a step before the driver takes it up; longer than any request may take.
const PATIENCE: i64 = 60 * 1000;

/// The way to the payment provider, where one is configured.
pub struct Payments {
    provider: Stripe,
    publishable_key: String,
    script_url: String,
    api_url: String,
    least: u64,
    most: u64,
    /// When objections are read next, in milliseconds since 1970.
    disputes_at: AtomicI64,
}

/// What can be paid in by card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// At least so much, in minor units of any currency that is taken.
    pub least: u64,
    /// At most so much.
    pub most: u64,
}

/// What a page needs to let somebody enter a card: it goes from the browser to the provider, and never through here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Address of the provider's script.
    pub script: String,
    /// The provider's name for this gateway.
    pub publishable_key: String,
    /// By which the browser may complete this payment; nobody else is to have it.
    pub client_secret: String,
    /// The page's Content-Security-Policy, beside what every page has.
    pub csp: String,
}

/// A payment, as its payer sees it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The payment.
    pub row: PaymentRow,
    /// What the page needs, while it waits for a card.
    pub element: Option<Element>,
}

impl Payments {
    /// As configured; none where nothing is.
    ///
    /// # Errors
    /// A secret that is not there, or an address that is none.
    pub fn open(config: &config::Payments) -> Result<Option<Self>, ConfigError> {
        let Some(path) = &config.secret_key_file else { return Ok(None) };
        let key = secret("payments.secret_key_file", path)?;
        let webhook_secret = config.webhook_secret_file.as_deref().map(|path| secret("payments.webhook_secret_file", path)).transpose()?;
        let provider = Stripe::open(&config.api_url, key, webhook_secret, config.timeout())
            .map_err(|error| ConfigError::Value { key: "payments", reason: error.to_string() })?;
        let config::Payments { publishable_key, script_url, api_url, least, most, .. } = config.clone();
        Ok(Some(Self { provider, publishable_key, script_url, api_url, least, most, disputes_at: AtomicI64::new(0) }))
    }

    /// The provider's name for this gateway, for browsers.
    pub fn publishable_key(&self) -> &str {
        &self.publishable_key
    }

    /// Whether the provider answers, and lets this gateway in.
    ///
    /// # Errors
    /// Why not.
    pub async fn answers(&self, now: Timestamp) -> Result<(), Failed> {
        self.provider.disputes(now).await.map(drop)
    }

    /// What can be paid in.
    pub fn offer(&self) -> Offer {
        Offer { least: self.least, most: self.most }
    }

    fn element(&self, client_secret: String) -> Element {
        let (script, api) = (origin(&self.script_url), origin(&self.api_url));
        let csp = format!(
            "script-src 'self' {script}; frame-src {script} https://hooks.stripe.com; connect-src 'self' {api} {script}; img-src 'self' data: https://*.stripe.com"
        );
        Element { script: self.script_url.clone(), publishable_key: self.publishable_key.clone(), client_secret, csp }
    }
}

/// What is read of a file that holds one secret.
fn secret(key: &'static str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let wrong = |reason: String| ConfigError::Value { key, reason: format!("{}: {reason}", path.display()) };
    let text = read_private(path).map_err(wrong)?;
    match text.trim() {
        "" => Err(wrong("it is empty".to_owned())),
        text => Ok(Zeroizing::new(text.to_owned())),
    }
}

fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
}

/// The provider, or the problem of a gateway that has none.
fn of(app: &App) -> Result<&Payments, Problem> {
    app.payments.as_ref().ok_or_else(|| Problem {
        hint: "Pay in by voucher, or as this gateway's operator says.".into(),
        ..Problem::with(ApiCode::Unprocessable, "this gateway takes no payment by card")
    })
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Declined { cause, .. } => Self { detail: Some(cause), ..Code::PaymentRefused.into() },
            other => {
                tracing::warn!(error = %other, "a step of a payment was not answered");
                Self { retry_after: Some(5), detail: None, ..ApiCode::PaymentsUnavailable.into() }
            }
        }
    }
}

/// Begins a top-up by card, and asks the provider for it. Again with the same ID and the same wish, it is the same payment.
///
/// # Errors
/// `unprocessable`: no provider, or an amount that is not taken; `request_mismatch`: the ID is of another payment; `payments_unavailable`: the same
/// again goes on where it stands.
pub async fn begin(app: &App, account: AccountId, id: PaymentId, money: Money, keep: bool) -> Result<Shown, Problem> {
    let payments = of(app)?;
    fits(payments, money)?;
    let now = app.clock.now();
    let fresh = PaymentRow { keep, ..PaymentRow::new(account, id, Purpose::TopUp, money, Timestamp(now.0 + PATIENCE), now) };
    let row = app
        .db
        .write("begin payment", account::family(account), async move |tx: &mut Tx| -> Result<_, DbError> {
            payment::insert(tx, &fresh).await?;
            payment::find(tx, fresh.id).await
        })
        .await?
        .filter(|row| row.account == account && row.purpose == Purpose::TopUp && row.money == money && row.keep == keep);
    let row = row.ok_or_else(|| Problem { detail: Some("this ID is of another payment".to_owned()), ..Code::RequestMismatch.into() })?;
    if row.state == State::Begun {
        drive::step(app, &row).await?;
    }
    show(app, account, id).await
}

fn fits(payments: &Payments, money: Money) -> Result<(), Problem> {
    let (least, most) = (Money { amount: payments.least, ..money }, Money { amount: payments.most.min(ledger::MOST), ..money });
    if !Stripe::takes(money.currency) {
        return Err(Problem::with(ApiCode::Unprocessable, format!("cards are not charged in {}", money.currency)));
    }
    if money.amount < least.amount || money.amount > most.amount {
        return Err(Problem::with(ApiCode::Unprocessable, format!("by card, {least} to {most} are taken at once")));
    }
    Ok(())
}

/// A top-up, as it stands: the provider is asked, and what it has taken is booked.
///
/// # Errors
/// `not_found`; `payments_unavailable` where it waits for a card and the provider does not answer.
pub async fn show(app: &App, account: AccountId, id: PaymentId) -> Result<Shown, Problem> {
    let payments = of(app)?;
    let row = own(app, account, id).await?;
    let Some(intent) = row.intent.as_deref().filter(|_| row.state == State::Waiting) else { return Ok(Shown { row, element: None }) };
    let told = payments.provider.look_up(intent).await?;
    let element = told.client_secret.clone().map(|secret| payments.element(secret));
    let failure = told.failure.clone();
    drive::note(app, &row, told).await?;
    let row = own(app, account, id).await?;
    let waits = row.state == State::Waiting;
    Ok(Shown { row: PaymentRow { failure: row.failure.clone().or(failure), ..row }, element: element.filter(|_| waits) })
}

async fn own(app: &App, account: AccountId, id: PaymentId) -> Result<PaymentRow, Problem> {
    let found = app.db.read("payment", async move |tx: &mut Tx| payment::find(tx, id).await).await?;
    found.filter(|row| row.account == account).ok_or_else(|| ApiCode::NotFound.into())
}

/// The payment cards that an account keeps, the newest first: that one is charged.
///
/// # Errors
/// A failure of the database.
pub async fn cards(app: &App, account: AccountId) -> Result<Vec<CardRow>, DbError> {
    app.db.read("payment cards", async move |tx: &mut Tx| payment_card::kept(tx, account).await).await
}

/// From now on a card is charged for nothing; the provider is told by the driver.
///
/// # Errors
/// `not_found`.
pub async fn remove_card(app: &App, account: AccountId, card: &str) -> Result<(), Problem> {
    let (card, now) = (card.to_owned(), app.clock.now());
    let remove = async move |tx: &mut Tx| payment_card::remove(tx, account, &card, now).await;
    if !app.db.write("remove payment card", account::family(account), remove).await? {
        return Err(ApiCode::NotFound.into());
    }
    app.left.notify_one();
    Ok(())
}

/// A message that says that it is the provider's: what it is about is looked at soon.
///
/// # Errors
/// `not_found` without a provider; `forbidden` for what is not the provider's.
pub async fn told(app: &App, signature: &str, body: &[u8]) -> Result<(), Problem> {
    let payments = app.payments.as_ref().ok_or(ApiCode::NotFound)?;
    let now = app.clock.now();
    let counted = |result: &'static str| metrics::counter!("counterfoil_gateway_payment_messages_total", "result" => result).increment(1);
    let hint = payments.provider.hint(signature, body, now).map_err(|forged: Forged| {
        counted("refused");
        Problem::with(ApiCode::Forbidden, forged.to_string())
    })?;
    counted("taken");
    match hint {
        Hint::Nothing => return Ok(()),
        Hint::Disputes => payments.disputes_at.store(0, Ordering::Relaxed),
        Hint::Intent(intent) => {
            let found = app.db.read("payment by intent", async move |tx: &mut Tx| payment::by_intent(tx, &intent).await).await?;
            let Some(row) = found else { return Ok(()) };
            let of = row.of();
            app.db.write("hurry payment", account::family(row.account), async move |tx: &mut Tx| payment::hurry(tx, of, now).await).await?;
        }
    }
    app.left.notify_one();
    Ok(())
}
