//! Looks for what somebody should know, and notes each once until it is over: with the mail that tells it, in one transaction.

use std::time::Duration;

use counterfoil_core::{Money, Timestamp};

use super::app::App;
use super::store::alert::{self, Alert, Kind};
use super::store::repayment::Stands;
use super::store::{account, listed, mail};
use super::{books, identity};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(30);
/// How long the authority may be away before that is an alert: a restart is none.
const AWAY: i64 = 60 * 1000;
/// How long before its end a certificate that was not renewed is an alert, beyond the day on which the renewal is due.
const UNRENEWED: i64 = Timestamp::DAY;
/// Accounts whose balances are looked at in one turn.
const TURN: i64 = 500;
/// How long a payment that was lost is an alert: what it paid for is ended by itself, and nothing is left to do about it.
const LOST: i64 = 7 * Timestamp::DAY;
/// Family of alerts that hang from no account.
const FAMILY: &str = "/alerts";

/// What is remembered between two looks, and need not survive a restart.
#[derive(Debug, Default)]
pub struct Watch {
    /// Since when the authority does not answer.
    away_since: Option<Timestamp>,
}

/// Looks for as long as the gateway runs; first after a while, when the authority was asked once.
pub async fn watch_forever(app: App) {
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(EVERY).await;
        if let Err(error) = look(&app, &mut watch).await {
            tracing::warn!(%error, "it could not be looked for alerts");
        }
    }
}

/// Looks at everything once.
///
/// # Errors
/// A failure of the database.
pub async fn look(app: &App, watch: &mut Watch) -> Result<(), DbError> {
    let now = app.clock.now();
    stuck(app, now).await?;
    authority(app, watch, now).await?;
    certificate(app, now).await?;
    check_books(app, now).await?;
    cards(app, now).await?;
    low_balances(app, now).await?;
    figures(app).await
}

/// Notes how something stands: an alert where there is a detail, and nothing to worry about where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn note(app: &App, kind: Kind, subject: &str, wrong: Option<(String, Timestamp)>) -> Result<(), DbError> {
    let (now, to, subject) = (app.clock.now(), recipients(app), subject.to_owned());
    let id = draw(app);
    let noted = async move |tx: &mut Tx| -> Result<bool, DbError> {
        match &wrong {
            Some((detail, since)) => {
                let (id, detail, subject) = (id.clone(), detail.clone(), subject.clone());
                alert::raise(tx, &Alert { id, kind, subject, detail, since: *since, raised_at: now, over_at: None }, &to).await
            }
            None => alert::end(tx, kind, &subject, &to, now).await,
        }
    };
    if app.db.write("note alert", FAMILY, noted).await? {
        tracing::warn!(alert = kind.as_str(), "an alert was raised, or is over");
    }
    Ok(())
}

/// Whom mail about the gateway goes to; nobody where no mail is sent.
fn recipients(app: &App) -> Vec<String> {
    if app.relay.is_some() { app.config.alerts.to.clone() } else { vec![] }
}

/// The ID of an alert, drawn before its transaction.
pub fn draw(app: &App) -> String {
    app.rng.bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn stuck(app: &App, now: Timestamp) -> Result<(), DbError> {
    let until = Timestamp(now.0 - i64::from(app.config.alerts.stuck_minutes) * 60_000);
    let (count, oldest) = app.db.read("stuck exchanges", async move |tx: &mut Tx| listed::stuck(tx, until).await).await?;
    let wrong = oldest.filter(|_| count > 0).map(|since| {
        let minutes = app.config.alerts.stuck_minutes;
        (format!("{count} stand where they stand for more than {minutes} minutes, the oldest since {}", rfc3339(since)), since)
    });
    note(app, Kind::StuckExchanges, "", wrong).await
}

async fn authority(app: &App, watch: &mut Watch, now: Timestamp) -> Result<(), DbError> {
    if app.authority.answers() {
        watch.away_since = None;
        return note(app, Kind::AuthorityUnreachable, "", None).await;
    }
    let since = *watch.away_since.get_or_insert(now);
    if now.0 - since.0 < AWAY {
        return Ok(());
    }
    let detail = format!("{} does not answer: exchanges wait", app.config.authority.url);
    note(app, Kind::AuthorityUnreachable, "", Some((detail, since))).await
}

async fn certificate(app: &App, now: Timestamp) -> Result<(), DbError> {
    let wrong = match app.authority.identity() {
        Err(error) => Some((format!("{error}: counterfoild gateway enrol TOKEN"), now)),
        Ok((_, _, until)) if now >= until => {
            Some((format!("it ended {}: counterfoild gateway enrol TOKEN, with a new token", rfc3339(until)), until))
        }
        Ok((_, from, until)) => {
            let due = Timestamp(identity::renewal_due(from, until).0 + UNRENEWED);
            (now > due).then(|| (format!("it ends {}, and was not renewed", rfc3339(until)), due))
        }
    };
    note(app, Kind::Certificate, "", wrong).await
}

async fn check_books(app: &App, now: Timestamp) -> Result<(), DbError> {
    let every = i64::from(app.config.alerts.books_hours) * 60 * 60 * 1000;
    let last = app.db.read("last check", async |tx: &mut Tx| books::last_check(tx).await).await?;
    if every > 0 && last.as_ref().is_none_or(|last| now.0 - last.at.0 >= every) {
        books::check_and_note(&app.db, now).await?;
    }
    // A check by hand counts as well.
    let Some(last) = app.db.read("last check", async |tx: &mut Tx| books::last_check(tx).await).await? else { return Ok(()) };
    let wrong = last.first.map(|first| (format!("in {} places, the first: {first}", last.wrong), last.at));
    note(app, Kind::Books, "", wrong).await
}

/// One alert for each objection until it is decided, and for each payment that was lost.
async fn cards(app: &App, now: Timestamp) -> Result<(), DbError> {
    let read = async move |tx: &mut Tx| -> Result<_, DbError> {
        Ok((listed::objected(tx, TURN).await?, listed::lost(tx, Timestamp(now.0 - LOST), TURN).await?, alert::open(tx).await?))
    };
    let (objected, lost, open) = app.db.read("trouble with cards", read).await?;
    // Of those beyond a turn nothing is known.
    let is_whole = |rows: usize| rows < usize::try_from(TURN).unwrap_or(usize::MAX);
    let whole = [(Kind::Dispute, is_whole(objected.len())), (Kind::LostPayment, is_whole(lost.len()))];
    let objected = objected.into_iter().map(|row| {
        let asks = if row.stands == Stands::Inquiry { "the bank asks" } else { "the bank has taken the money" };
        let detail = format!("{asks} about {} of {}: answer it at the payment provider, as {}", row.money, row.name, row.dispute);
        (Kind::Dispute, row.dispute, (detail, row.since))
    });
    let lost = lost.into_iter().map(|row| {
        let detail = format!("{} of {}: the card's promise had ended, and what it paid for is ended", row.money, row.name);
        (Kind::LostPayment, row.payment.to_string(), (detail, row.at))
    });
    let stands: Vec<_> = objected.chain(lost).collect();
    let is_told = |kind, subject: &str, detail: &str| open.iter().any(|at| at.kind == kind && at.subject == subject && at.detail == detail);
    for (kind, subject, wrong) in stands.iter().filter(|(kind, subject, (detail, _))| !is_told(*kind, subject, detail)) {
        note(app, *kind, subject, Some(wrong.clone())).await?;
    }
    let is_over = |at: &Alert| {
        whole.contains(&(at.kind, true)) && !stands.iter().any(|(kind, subject, _)| at.kind == *kind && at.subject == *subject)
    };
    for over in open.iter().filter(|at| is_over(at)) {
        note(app, over.kind, &over.subject, None).await?;
    }
    Ok(())
}

async fn low_balances(app: &App, now: Timestamp) -> Result<(), DbError> {
    let mailed = app.relay.is_some();
    for watched in app.db.read("low balances", async |tx: &mut Tx| listed::low(tx, TURN).await).await? {
        let (family, id) = (account::family(watched.account), draw(app));
        let to: Vec<String> = watched.email.clone().into_iter().filter(|_| mailed).collect();
        let noted = async move |tx: &mut Tx| -> Result<bool, DbError> {
            let (subject, kind) = (watched.account.to_string(), Kind::LowBalance);
            if watched.told {
                // Nobody needs a mail for that there is money.
                return alert::end(tx, kind, &subject, &[], now).await;
            }
            let money = |amount: i64| Money { amount: amount.unsigned_abs(), currency: watched.currency };
            let detail = format!("{} are left, less than {}", money(watched.available), money(watched.low));
            let (id, since, over_at) = (id.clone(), now, None);
            alert::raise(tx, &Alert { id, kind, subject, detail, since, raised_at: now, over_at }, &to).await
        };
        app.db.write("note low balance", family, noted).await?;
    }
    Ok(())
}

async fn figures(app: &App) -> Result<(), DbError> {
    let read = async |tx: &mut Tx| -> Result<_, DbError> { Ok((alert::counts(tx).await?, mail::waiting(tx).await?)) };
    let (counts, (waiting, _)) = app.db.read("alerts that are open", read).await?;
    for kind in Kind::ALL {
        let open = counts.iter().find(|(of, _)| *of == kind).map_or(0, |(_, count)| *count);
        metrics::gauge!("counterfoil_gateway_alerts_open", "kind" => kind.as_str()).set(open as f64);
    }
    metrics::gauge!("counterfoil_gateway_mail_waiting").set(waiting as f64);
    Ok(())
}
