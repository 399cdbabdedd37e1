//! Sends what is due: each webhook for itself, so that a receiver that is slow or dead keeps nobody up but itself.

use counterfoil_core::rules::retry;
use counterfoil_core::{Timestamp, WebhookId};
use counterfoil_format::secret::Secret;
use futures_util::StreamExt as _;

use super::send::{Message, Outcome, Sender, UNUSABLE};
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::store::audit;
use crate::store::delivery::{self, Attempted, Delivery};
use crate::store::webhook::{self, Webhook};

/// Deliveries taken at a time, and sent at once to one webhook; each is another subject's.
const AT_ONCE: i64 = 16;
/// How much longer than an attempt may take its maker has to write down what came of it, in milliseconds. Whoever was killed in between has
/// it made once more after that: the next leader must not leave a receiver waiting that has long been well.
const WRITTEN_WITHIN: i64 = 15_000;

/// Sends everything that is due now, to all webhooks side by side; answers with how many attempts were made.
///
/// # Errors
/// A failure of the database; what was sent and not written down is sent again.
pub async fn deliver_all(app: &App, sender: &Sender) -> Result<usize, DbError> {
    let webhooks = app.db.read("webhooks", async |tx| webhook::live(tx).await).await?;
    let sent = crate::db::all(webhooks.iter().map(|webhook| deliver(app, sender, webhook))).await?;
    Ok(sent.into_iter().sum())
}

/// Sends what is due to one webhook, until nothing is; answers with how many attempts were made.
///
/// # Errors
/// As for [`deliver_all`].
pub async fn deliver(app: &App, sender: &Sender, webhook: &Webhook) -> Result<usize, DbError> {
    let mut count = 0;
    loop {
        let taken = take(app, webhook.id).await?;
        if taken.is_empty() {
            return Ok(count);
        }
        count += taken.len();
        let secrets = secrets(app, webhook.id).await?;
        let attempts = taken.into_iter().map(|delivery| attempt(app, sender, webhook, &secrets, delivery));
        let attempted: Vec<_> = futures_util::stream::iter(attempts).buffer_unordered(AT_ONCE.unsigned_abs() as usize).collect().await;
        settle(app, webhook.id, attempted).await?;
    }
}

/// Takes what is due, so that nobody else sends it meanwhile; nothing where the webhook has ended since.
async fn take(app: &App, id: WebhookId) -> Result<Vec<Delivery>, DbError> {
    let now = app.clock.now();
    let again = Timestamp(now.0.saturating_add(i64::from(app.config.webhooks.timeout_seconds) * 1000 + WRITTEN_WITHIN));
    if app.db.read("due deliveries", async move |tx: &mut Tx| delivery::due(tx, id, now, 1).await).await?.is_empty() {
        return Ok(vec![]);
    }
    app.db
        .write("take deliveries", webhook::family(id), async move |tx: &mut Tx| -> Result<Vec<Delivery>, DbError> {
            audit::hold(tx, &webhook::family(id)).await?;
            if webhook::find(tx, &Scope::All, id).await?.is_none() {
                return Ok(vec![]);
            }
            let mut taken = vec![];
            for one in delivery::due(tx, id, now, AT_ONCE).await? {
                if delivery::take(tx, id, &one, now, again).await? {
                    taken.push(one);
                }
            }
            Ok(taken)
        })
        .await
}

/// The secrets that sign now, the newest first; none where they do not open, which the log says.
async fn secrets(app: &App, id: WebhookId) -> Result<Vec<Secret<32>>, DbError> {
    let now = app.clock.now().0;
    let wrapped = app.db.read("webhook's secrets", async move |tx: &mut Tx| webhook::secrets(tx, id, now).await).await?;
    let mut secrets = vec![];
    for one in wrapped {
        let place = Place::WebhookSecret { webhook: &id.to_string(), number: one.number };
        match app.keys.open(&app.db, &place, &one.wrapped).await {
            Ok(secret) => secrets.push(secret),
            Err(error) => tracing::error!(%error, "a webhook's secret does not open"),
        }
    }
    Ok(secrets)
}

async fn attempt(app: &App, sender: &Sender, webhook: &Webhook, secrets: &[Secret<32>], delivery: Delivery) -> Attempted {
    let message = Message { url: &webhook.url, id: delivery.id, body: &delivery.payload, secrets, at: app.clock.now() };
    let Outcome { status, failure } = match secrets.is_empty() {
        true => Outcome { status: None, failure: Some(UNUSABLE) },
        false => sender.attempt(&message).await,
    };
    let result = if failure.is_none() { "delivered" } else { "failed" };
    metrics::counter!("counterfoil_webhook_attempts_total", "result" => result).increment(1);
    let number = delivery.attempts.saturating_add(1);
    let again = match failure {
        Some(_) => retry::next(number, app.clock.now(), Timestamp(delivery.give_up_at), u16::from_be_bytes(app.rng.bytes())),
        None => None,
    };
    Attempted { delivery, number, status, error: failure, again }
}

async fn settle(app: &App, id: WebhookId, attempted: Vec<Attempted>) -> Result<(), DbError> {
    let now = app.clock.now();
    app.db
        .write("delivered", webhook::family(id), async move |tx: &mut Tx| -> Result<(), DbError> {
            audit::hold(tx, &webhook::family(id)).await?;
            for one in &attempted {
                delivery::settle(tx, id, one, now).await?;
            }
            Ok(())
        })
        .await
}
