//! Makes deliveries of what waits in the outbox: one for each webhook that wants it, and whose it is to know.

use std::collections::BTreeMap;

use counterfoil_core::{BatchId, DeliveryId, Timestamp, WebhookId, rules::retry};

use super::catalogue::{self, Event, Subject, Told};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::delivery::New;
use crate::store::publisher::PublisherId;
use crate::store::webhook::{self, Waiting, Webhook};
use crate::store::{audit, batch, medium, outbox, title};

/// Records taken at a time.
const BATCH: i64 = 256;

/// A record with what is known of its subject.
struct Known {
    waiting: Waiting,
    /// None: it is told to nobody.
    event: Option<(&'static Event, Subject)>,
    batch: Option<BatchId>,
    owner: Option<PublisherId>,
}

/// Makes deliveries of what waits, at most one batch; answers with how many records there were. Repeated, or at two processes at once, it
/// makes the same ones, because their IDs follow from webhook and record.
///
/// # Errors
/// A failure of the database; what waits stays there.
pub async fn tell(app: &App) -> Result<usize, DbError> {
    let (known, webhooks) = app.db.read("events to tell", async |tx: &mut Tx| look(tx).await).await?;
    let now = app.clock.now();
    let told = webhooks.iter().map(|webhook| (webhook.id, deliveries(webhook, &known))).filter(|(_, new)| !new.is_empty());
    crate::db::all(told.map(|(webhook, new)| write(app, webhook, new, now))).await?;
    let count = known.len();
    let mut by_family = BTreeMap::<String, Vec<String>>::new();
    for Known { waiting, .. } in known {
        by_family.entry(waiting.family).or_default().push(waiting.operation);
    }
    crate::db::all(by_family.into_iter().map(|(family, operations)| done(app, family, operations))).await?;
    Ok(count)
}

/// What waits, with its subjects' owners; then who wants it.
async fn look(tx: &mut Tx) -> Result<(Vec<Known>, Vec<Webhook>), DbError> {
    let mut known = vec![];
    for waiting in webhook::waiting(tx, BATCH).await? {
        let event = catalogue::find(&waiting.record, &waiting.family);
        let (batch, owner) = match &event {
            Some((_, subject)) => owner(tx, subject).await?,
            None => (None, None),
        };
        known.push(Known { waiting, event, batch, owner });
    }
    Ok((known, webhook::live(tx).await?))
}

/// Whose a subject is, and a medium's batch.
async fn owner(tx: &mut Tx, subject: &Subject) -> Result<(Option<BatchId>, Option<PublisherId>), DbError> {
    Ok(match subject {
        Subject::Medium(id) => {
            let batch = match id.batch_and_serial() {
                Some((batch, _)) => Some(batch),
                None => medium::find(tx, id).await?.map(|row| row.batch),
            };
            let owner = match batch {
                Some(batch) => batch::owner(tx, batch).await?,
                None => None,
            };
            (batch, owner)
        }
        Subject::Batch(id) => (None, batch::owner(tx, *id).await?),
        Subject::Title(id) => (None, title::get(tx, &crate::auth::Scope::All, id).await?.map(|title| title.publisher)),
        Subject::Publisher(id) => (None, Some(id.clone())),
        Subject::Other(_) => (None, None),
    })
}

/// What one webhook is told of it.
fn deliveries(webhook: &Webhook, known: &[Known]) -> Vec<New> {
    known.iter().filter_map(|known| delivery(webhook, known)).collect()
}

fn delivery(webhook: &Webhook, known: &Known) -> Option<New> {
    let Known { waiting, event, batch, owner } = known;
    let (event, subject) = event.as_ref()?;
    let theirs = match &webhook.publisher {
        None => true,
        Some(publisher) => event.kind.is_publishers() && owner.as_ref() == Some(publisher),
    };
    if !theirs || !webhook.events.wants(event.name) || waiting.at.0 < webhook.active_from {
        return None;
    }
    let told = Told { subject, batch: *batch, seq: waiting.seq, at: waiting.at, detail: &waiting.detail };
    Some(New {
        id: name(webhook.id, &waiting.family, waiting.seq),
        event: event.name,
        subject: subject.id(),
        sequence: waiting.seq,
        in_order: true,
        payload: event.body(&told, webhook.publisher.is_none()),
    })
}

/// The ID of what a webhook is told of a record.
pub fn name(webhook: WebhookId, family: &str, seq: i64) -> DeliveryId {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-11 what a webhook is told of a record");
    hasher.update(webhook.as_bytes()).update(&seq.to_be_bytes()).update(family.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    DeliveryId::from_bytes(id)
}

async fn write(app: &App, webhook: WebhookId, new: Vec<New>, now: Timestamp) -> Result<(), DbError> {
    let give_up_at = Timestamp(now.0.saturating_add(retry::TRIED));
    app.db
        .write("tell webhook", webhook::family(webhook), async move |tx: &mut Tx| -> Result<(), DbError> {
            audit::hold(tx, &webhook::family(webhook)).await?;
            for new in &new {
                new.insert(tx, webhook, now, give_up_at).await?;
            }
            Ok(())
        })
        .await
}

async fn done(app: &App, family: String, operations: Vec<String>) -> Result<(), DbError> {
    app.db
        .write("told", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            for operation in &operations {
                outbox::done(tx, &family, operation).await?;
            }
            Ok(())
        })
        .await
}
