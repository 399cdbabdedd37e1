//! Mail of a gateway: receipts to customers who want them, and alerts. It waits in the database, and is sent again until a server takes it.

use std::time::Duration;

use counterfoil_core::{RequestId, Timestamp};
use futures_util::{StreamExt as _, stream};

use super::app::App;
use super::statement::{self, Receipt};
use super::store::account::{self, AccountRow};
use super::store::alert::{self, Alert, Kind};
use super::store::mail::{self, Letter, Waiting};
use crate::db::{DbError, Tx};
use crate::mail::Relay;
use crate::web::written;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3);
/// Mails that are sent in one turn, and at once.
const TURN: (i64, usize) = (64, 4);
/// How long one that was taken to be sent is nobody else's: longer than a mail server may take.
const TAKEN: i64 = 5 * 60 * 1000;
/// The longest time between two tries.
const LONGEST: i64 = 60 * 60 * 1000;
/// How long it is tried: an address that takes no mail for so long is none any more. Receipts stay in the account.
const TRIED: i64 = 14 * Timestamp::DAY;

/// Sends for as long as the gateway runs; nothing where no mail server is configured.
pub async fn send_forever(app: App) {
    let Some(relay) = app.relay.clone() else { return };
    loop {
        match deliver(&app, &relay).await {
            // There may be more.
            Ok(sent) if sent > 0 => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "it could not be looked for mail"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Sends what is due once; answers how many were tried.
///
/// # Errors
/// A failure of the database. What stands in the way of one mail is written at it.
pub async fn deliver(app: &App, relay: &Relay) -> Result<usize, DbError> {
    let now = app.clock.now();
    let due = app.db.read("mail that is due", async move |tx: &mut Tx| mail::due(tx, now, TURN.0).await).await?;
    let tried = stream::iter(due).map(|waiting| one(app, relay, waiting, now)).buffer_unordered(TURN.1).collect::<Vec<_>>().await;
    let tried: Vec<bool> = tried.into_iter().collect::<Result<_, _>>()?;
    Ok(tried.into_iter().filter(|tried| *tried).count())
}

fn family(waiting: &Waiting) -> String {
    waiting.account.map_or_else(|| "/alerts".to_owned(), account::family)
}

/// It is taken before it is sent: whoever is killed in between has it sent again, since nobody knows whether it was; nobody else does.
async fn one(app: &App, relay: &Relay, waiting: Waiting, now: Timestamp) -> Result<bool, DbError> {
    let (taken, until) = (waiting.clone(), Timestamp(now.0 + TAKEN));
    if !app.db.write("take mail", family(&waiting), async move |tx: &mut Tx| mail::take(tx, &taken, until).await).await? {
        return Ok(false);
    }
    let id = waiting.id.clone();
    match send(app, relay, &waiting).await? {
        Ok(()) => app.db.write("mail sent", family(&waiting), async move |tx: &mut Tx| mail::done(tx, &id).await).await?,
        Err(error) if now.0 - waiting.created_at.0 > TRIED => {
            tracing::error!(error, letter = waiting.letter.as_str(), subject = waiting.subject, "a mail was given up after fourteen days");
            app.db.write("mail given up", family(&waiting), async move |tx: &mut Tx| mail::done(tx, &id).await).await?;
        }
        Err(error) => {
            metrics::counter!("counterfoil_mail_failed_total").increment(1);
            tracing::warn!(
                error,
                letter = waiting.letter.as_str(),
                subject = waiting.subject,
                "a mail could not be sent; it is tried again"
            );
            let next_at = Timestamp(now.0 + (60_000_i64 << waiting.attempts.clamp(0, 10)).min(LONGEST));
            let put_off = async move |tx: &mut Tx| mail::put_off(tx, &id, &error, next_at).await;
            app.db.write("put mail off", family(&waiting), put_off).await?;
        }
    }
    Ok(true)
}

async fn send(app: &App, relay: &Relay, waiting: &Waiting) -> Result<Result<(), String>, DbError> {
    let told = match waiting.letter {
        Letter::Charge | Letter::Refund => match receipt(app, waiting).await? {
            Some((exchange, receipt, account)) => Ok(tell_receipt(app, waiting.letter, exchange, &receipt, &account)),
            None => Err(format!("there is no receipt of {}", waiting.subject)),
        },
        Letter::Alert | Letter::Over => {
            let id = waiting.subject.clone();
            let found = app.db.read("alert", async move |tx: &mut Tx| alert::find(tx, &id).await).await?;
            found.map(|alert| tell_alert(app, waiting.letter, &alert)).ok_or_else(|| format!("there is no alert {}", waiting.subject))
        }
    };
    let (subject, text) = match told {
        Ok(told) => told,
        Err(error) => return Ok(Err(error)),
    };
    let subject = format!("{}: {subject}", app.config.server.name);
    Ok(relay.hand_over(&waiting.to, subject, text, &waiting.id, waiting.created_at).await)
}

async fn receipt(app: &App, waiting: &Waiting) -> Result<Option<(RequestId, Receipt, AccountRow)>, DbError> {
    let (Some(account), Ok(exchange)) = (waiting.account, waiting.subject.parse().map(RequestId)) else { return Ok(None) };
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        let (receipt, row) = (statement::receipt(tx, account, exchange).await?, account::find(tx, account).await?);
        Ok(receipt.zip(row))
    };
    Ok(app.db.read("receipt", read).await?.map(|(receipt, row)| (exchange, receipt, row)))
}

fn tell_receipt(app: &App, letter: Letter, exchange: RequestId, receipt: &Receipt, account: &AccountRow) -> (String, String) {
    let (name, price) = (&receipt.name, receipt.price);
    let (subject, what) = match (letter, &receipt.undone) {
        (Letter::Refund, Some((at, "chargeback"))) => {
            (format!("{name} has ended"), format!("{price}, ended {}: the bank took a payment back", written::moment(*at)))
        }
        (Letter::Refund, Some((at, _))) => {
            (format!("{price} for {name} are given back"), format!("{price}, given back {}", written::moment(*at)))
        }
        _ => (format!("receipt for {name}"), format!("{price}, charged {}", written::moment(receipt.charged_at))),
    };
    let base = app.urls.first().map_or("", String::as_str);
    let text = format!(
        "{name}\n{what}\n\nAccount   {}\nExchange  {exchange}\nPosting   {}\n\n{base}/account/exchanges/{exchange}\n\nYou get this because receipts by e-mail are turned on in your account:\n{base}/account/settings\n\n{}\n",
        account.name, receipt.posting, app.config.server.name
    );
    (subject, text)
}

fn tell_alert(app: &App, letter: Letter, alert: &Alert) -> (String, String) {
    let base = app.urls.first().map_or("", String::as_str);
    let Alert { kind, detail, since, over_at, .. } = alert;
    let way = match kind {
        Kind::LowBalance => {
            format!("{base}/account\n\nYou get this because you want to know, as your account says:\n{base}/account/settings")
        }
        _ => "counterfoild gateway doctor says what to do; counterfoild gateway operator link leads to the pages.".to_owned(),
    };
    let (subject, what) = match letter {
        Letter::Over => {
            let over = over_at.map(written::moment).unwrap_or_default();
            (format!("over: {}", kind.name()), format!("{}\n\nIt was so from {} until {over}.", kind.name(), written::moment(*since)))
        }
        _ => (kind.name().to_owned(), format!("{}: {detail}.\n\nIt is so since {}.", kind.name(), written::moment(*since))),
    };
    (subject, format!("{what}\n\n{way}\n\n{}\n", app.config.server.name))
}
