//! Admitting publishers, and taking the public half of their keys.

use counterfoil_format::sign::VerifyingKey;
use serde_json::json;

use super::checks::check_name;
use crate::api::publishers::{NewPublisher, PublisherDocument};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::publisher::{self, Publisher, PublisherId};

/// Adds a publisher; the same again changes nothing.
///
/// # Errors
/// `conflict` when the ID belongs to another.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewPublisher) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    let now = app.clock.now().0;
    let (actor, scope) = (caller.actor(), caller.scope());
    let row = Publisher { id: new.id, name: new.name, key: new.key, created_at: now };
    let family = row.id.family();
    once.write(app, "create_publisher", family.clone(), async move |tx: &mut Tx| {
        if publisher::insert(tx, &row).await? {
            let detail = json!({ "name": row.name, "key": row.key });
            audit::append(tx, &family, now, &actor, "publisher.made", &detail).await?;
            return Ok(Reply::created(&PublisherDocument::from(row.clone())));
        }
        match publisher::get(tx, &scope, &row.id).await? {
            Some(there) if there.name == row.name && (row.key.is_none() || there.key == row.key) => {
                Ok(Reply::ok(&PublisherDocument::from(there)))
            }
            _ => Err(Problem::with(ApiCode::Conflict, "there is another publisher of this ID")),
        }
    })
    .await
}

/// Sets the key of a publisher that has none; the same again changes nothing.
///
/// # Errors
/// `not_found`; `conflict` when it has another key: terminals pin it, so it cannot change.
pub async fn set_key(app: &App, caller: &Caller, once: &Once, id: PublisherId, key: VerifyingKey) -> Result<Reply, Problem> {
    let now = app.clock.now().0;
    let (actor, scope) = (caller.actor(), caller.scope());
    let family = id.family();
    once.write(app, "set_publisher_key", family.clone(), async move |tx: &mut Tx| {
        let there = publisher::get(tx, &scope, &id).await?.ok_or(ApiCode::NotFound)?;
        match there.key {
            Some(other) if other != key => Err(Problem::with(ApiCode::Conflict, "this publisher has another key already")),
            Some(_) => Ok(Reply::ok(&PublisherDocument::from(there))),
            None => {
                if !publisher::set_key(tx, &id, &key).await? {
                    return Err(tx.conflict("the publisher's key").into());
                }
                audit::append(tx, &family, now, &actor, "publisher.key_set", &json!({ "key": key })).await?;
                Ok(Reply::ok(&PublisherDocument::from(Publisher { key: Some(key), ..there })))
            }
        }
    })
    .await
}
