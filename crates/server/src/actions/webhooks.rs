//! Webhooks: the operator and publishers say where they want to be told of what, look at what was told, and have it sent again.

use counterfoil_core::rules::retry;
use counterfoil_core::{DeliveryId, Timestamp, WebhookId};
use counterfoil_format::secret::Secret;
use serde_json::{Map, Value, json};

use super::checks::check_name;
use crate::api::webhooks::{DeliveryDocument, MadeWebhook, NewWebhook, WebhookDocument};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::delivery::{self, Delivery};
use crate::store::publisher::PublisherId;
use crate::store::webhook::{self, Webhook, WrappedSecret};
use crate::store::{audit, publisher};
use crate::webhooks::catalogue::{self, Wanted};
use crate::webhooks::{self, ACTIVE_AFTER, HANDOVER, send, sign};

/// Webhooks that one publisher, or the operator, may have.
const MOST: usize = 20;

/// Makes a webhook, and shows its secret this once.
///
/// # Errors
/// `unprocessable`.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewWebhook) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    let url = send::check(new.url.trim(), app.config.webhooks.allow_private).map_err(wrong)?;
    let owner = owner(&caller.scope(), new.publisher)?;
    let events = Wanted::parse(new.events, owner.is_none()).map_err(wrong)?;
    let id = WebhookId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes()));
    let row =
        Webhook { id, publisher: owner, name: new.name.trim().to_owned(), url: url.to_string(), events, created_at: 0, active_from: 0 };
    let secret = Secret::random(&mut app.rng.clone());
    let place = Place::WebhookSecret { webhook: &id.to_string(), number: 1 };
    let wrapped = WrappedSecret { number: 1, wrapped: app.keys.wrap(&place, secret.expose(), &mut app.rng.clone())? };
    let (actor, clock, at) = (caller.actor(), app.clock.clone(), url.origin().ascii_serialization());
    once.write(app, "add_webhook", webhook::family(id), async move |tx: &mut Tx| {
        // The time of the attempt that commits: from then on it is told everything.
        let now = clock.now().0;
        let row = Webhook { created_at: now, active_from: now.saturating_add(ACTIVE_AFTER), ..row.clone() };
        check_room(tx, &row).await?;
        if webhook::insert(tx, &row).await? {
            webhook::insert_secret(tx, id, &wrapped, now).await?;
            // Whose secrets stand in addresses has them nowhere else.
            let detail = json!({ "name": row.name, "at": at, "publisher": row.publisher, "events": row.events.names() });
            audit::append(tx, &webhook::family(id), now, &actor, "webhook.added", &detail).await?;
        } else if webhook::secrets(tx, id, now).await? != [wrapped.clone()] {
            return Err(Problem::with(ApiCode::Conflict, "this webhook was made before, and its secret was shown then"));
        }
        Ok(Reply::created(&MadeWebhook { secret: sign::reveal(&secret), about: WebhookDocument::of(row) }))
    })
    .await
}

/// A publisher's webhooks are its own; the operator makes its own, or a publisher's.
fn owner(scope: &Scope, given: Option<PublisherId>) -> Result<Option<PublisherId>, Problem> {
    match (scope, given) {
        (Scope::All, given) => Ok(given),
        (Scope::Publisher(own), given) => {
            let own: PublisherId = own.parse().map_err(|_| wrong("the token has no publisher"))?;
            if given.is_some_and(|given| given != own) { Err(wrong("there is no such publisher")) } else { Ok(Some(own)) }
        }
    }
}

async fn check_room(tx: &mut Tx, row: &Webhook) -> Result<(), Problem> {
    if let Some(owner) = &row.publisher {
        publisher::get(tx, &Scope::All, owner).await?.ok_or_else(|| wrong("there is no such publisher"))?;
    }
    let there = webhook::live(tx).await?;
    if there.iter().filter(|other| other.publisher == row.publisher && other.id != row.id).count() >= MOST {
        return Err(wrong(format!("{MOST} webhooks are the most")));
    }
    Ok(())
}

/// Those that the caller may see, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<WebhookDocument>, Problem> {
    let scope = caller.scope();
    let rows = app.db.read("webhooks", async move |tx: &mut Tx| webhook::list(tx, &scope).await).await?;
    Ok(rows.into_iter().map(WebhookDocument::of).collect())
}

/// One of them.
///
/// # Errors
/// `not_found`; a failure of the database.
pub async fn get(app: &App, caller: &Caller, id: WebhookId) -> Result<WebhookDocument, Problem> {
    let scope = caller.scope();
    let found = app.db.read("webhook", async move |tx: &mut Tx| webhook::find(tx, &scope, id).await).await?;
    Ok(WebhookDocument::of(found.ok_or(ApiCode::NotFound)?))
}

/// Ends one: nothing is sent to it any more, and its deliveries are seen no more.
///
/// # Errors
/// `not_found`.
pub async fn end(app: &App, caller: &Caller, once: &Once, id: WebhookId) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), webhook::family(id));
    once.write(app, "end_webhook", family.clone(), async move |tx: &mut Tx| {
        webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
        if !webhook::end(tx, id, now).await? {
            return Err(tx.conflict("the webhook").into());
        }
        audit::append(tx, &family, now, &actor, "webhook.ended", &json!({})).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// Draws another secret, and shows it this once. The one before signs as well for a day; what was before that, no more.
///
/// # Errors
/// `not_found`.
pub async fn rotate(app: &App, caller: &Caller, once: &Once, id: WebhookId) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now().0, caller.actor(), caller.scope(), webhook::family(id));
    let (secret, keys, rng) = (Secret::<32>::random(&mut app.rng.clone()), app.keys.clone(), app.rng.clone());
    once.write(app, "rotate_webhook", family.clone(), async move |tx: &mut Tx| {
        audit::hold(tx, &family).await?;
        let row = webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
        let made = MadeWebhook { secret: sign::reveal(&secret), about: WebhookDocument::of(row) };
        let written = id.to_string();
        let newest = webhook::secrets(tx, id, now).await?.into_iter().next();
        let last = newest.as_ref().map_or(0, |newest| newest.number);
        let mine = newest.map(|one| keys.unwrap::<32>(&Place::WebhookSecret { webhook: &written, number: last }, &one.wrapped));
        // Run again because the answer of its COMMIT was lost, it finds its own work.
        if mine.is_some_and(|mine| mine.is_ok_and(|mine| mine == secret)) {
            return Ok(Reply::ok(&made));
        }
        let place = Place::WebhookSecret { webhook: &written, number: last + 1 };
        let next = WrappedSecret { number: last + 1, wrapped: keys.wrap(&place, secret.expose(), &mut rng.clone())? };
        webhook::end_secret(tx, id, last, now.saturating_add(HANDOVER)).await?;
        webhook::insert_secret(tx, id, &next, now).await?;
        audit::append(tx, &family, now, &actor, "webhook.secret_rotated", &json!({ "number": next.number })).await?;
        Ok(Reply::ok(&made))
    })
    .await
}

/// Tells a webhook something that means nothing, to see whether it is heard.
///
/// # Errors
/// `not_found`.
pub async fn test(app: &App, caller: &Caller, once: &Once, id: WebhookId) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now(), caller.actor(), caller.scope(), webhook::family(id));
    once.write(app, "test_webhook", family.clone(), async move |tx: &mut Tx| {
        webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
        let entry = audit::append(tx, &family, now.0, &actor, "webhook.tested", &json!({})).await?;
        let data = Map::from_iter([("id".to_owned(), json!(id)), ("seq".to_owned(), Value::from(entry.seq))]);
        let new = delivery::New {
            id: webhooks::name(id, &family, entry.seq),
            event: catalogue::TEST,
            subject: family.clone(),
            sequence: entry.seq,
            // Whoever tries again is not to wait until what failed is given up.
            in_order: false,
            payload: catalogue::body(catalogue::TEST, now, data),
        };
        new.insert(tx, id, now, until(now)).await?;
        let row = delivery::find(tx, id, new.id).await?.ok_or(ApiCode::NotFound)?;
        Ok(Reply::created(&DeliveryDocument::of(row, true)))
    })
    .await
}

/// Deliveries, the newest first, before a place in that order.
///
/// # Errors
/// `not_found`; a failure of the database.
pub async fn deliveries(
    app: &App,
    caller: &Caller,
    id: WebhookId,
    state: Option<String>,
    before: (i64, String),
    limit: i64,
) -> Result<Vec<Delivery>, Problem> {
    let scope = caller.scope();
    app.db
        .read("deliveries", async move |tx: &mut Tx| -> Result<Vec<Delivery>, Problem> {
            webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            Ok(delivery::page(tx, id, state.as_deref(), (before.0, &before.1), limit).await?)
        })
        .await
}

/// One of them, with what was sent.
///
/// # Errors
/// `not_found`; a failure of the database.
pub async fn delivery(app: &App, caller: &Caller, id: WebhookId, delivery: DeliveryId) -> Result<DeliveryDocument, Problem> {
    let scope = caller.scope();
    app.db
        .read("delivery", async move |tx: &mut Tx| -> Result<DeliveryDocument, Problem> {
            webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
            let row = delivery::find(tx, id, delivery).await?.ok_or(ApiCode::NotFound)?;
            Ok(DeliveryDocument::of(row, true))
        })
        .await
}

/// Has one sent again: the same ID, the same body.
///
/// # Errors
/// `not_found`.
pub async fn resend(app: &App, caller: &Caller, once: &Once, id: WebhookId, delivery: DeliveryId) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now(), caller.actor(), caller.scope(), webhook::family(id));
    once.write(app, "resend_delivery", family.clone(), async move |tx: &mut Tx| {
        audit::hold(tx, &family).await?;
        webhook::find(tx, &scope, id).await?.ok_or(ApiCode::NotFound)?;
        if !delivery::resend(tx, id, delivery, now, until(now)).await? {
            return Err(ApiCode::NotFound.into());
        }
        audit::append(tx, &family, now.0, &actor, "webhook.resent", &json!({ "delivery": delivery })).await?;
        let row = delivery::find(tx, id, delivery).await?.ok_or(ApiCode::NotFound)?;
        Ok(Reply::ok(&DeliveryDocument::of(row, true)))
    })
    .await
}

fn until(now: Timestamp) -> Timestamp {
    Timestamp(now.0.saturating_add(retry::TRIED))
}

fn wrong(what: impl Into<String>) -> Problem {
    Problem::with(ApiCode::Unprocessable, what)
}
