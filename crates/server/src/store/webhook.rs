//! Webhooks: who wants to be told, of what, where, and what deliveries are signed with.

use counterfoil_core::{Timestamp, WebhookId};
use serde_json::{Value, json};

use super::outbox;
use super::publisher::PublisherId;
use crate::auth::Scope;
use crate::db::{DbError, FromRow, Row, Tx};
use crate::webhooks::catalogue::{self, Wanted};

/// Outbox: a record of the audit log that a webhook wants to be told of.
pub const EVENT: &str = "event";

/// A row of `webhook`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Which.
    pub id: WebhookId,
    /// Whose; the operator's where it is nobody's.
    pub publisher: Option<PublisherId>,
    /// For people.
    pub name: String,
    /// Where it is told.
    pub url: String,
    /// Of what.
    pub events: Wanted,
    /// Milliseconds UTC.
    pub created_at: i64,
    /// What happens from then on is told.
    pub active_from: i64,
}

impl FromRow for Webhook {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            publisher: row.column()?,
            name: row.column()?,
            url: row.column()?,
            // What cannot be read wants nothing.
            events: Wanted::of_json(&row.column::<String>()?).unwrap_or_default(),
            created_at: row.column()?,
            active_from: row.column()?,
        })
    }
}

/// The family of a webhook: its audit records, secrets and deliveries.
pub fn family(id: WebhookId) -> String {
    id.to_string()
}

/// A record as it waits to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Whose transaction wrote it.
    pub family: String,
    /// In the outbox.
    pub operation: String,
    /// Its place in the family's chain.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub record: String,
    /// Its particulars.
    pub detail: Value,
}

/// Puts a record of the audit log in the outbox where a webhook wants to be told of it, in the transaction that writes the record. Where
/// none does, this asks the database nothing.
///
/// # Errors
/// A failure of the database.
pub async fn tell(tx: &mut Tx, family: &str, seq: i64, at: i64, record: &str, detail: &str) -> Result<(), DbError> {
    if !tx.is_watched(record) || catalogue::find(record, family).is_none() {
        return Ok(());
    }
    let detail: Value = serde_json::from_str(detail).unwrap_or_default();
    let payload = json!({ "seq": seq, "record": record, "detail": detail }).to_string();
    // In the order of the chain, as texts.
    let operation = format!("event:{seq:019}");
    outbox::enqueue(tx, family, &operation, EVENT, &payload, at, at).await.map(drop)
}

/// What waits to be told: family by family, each from its beginning, so that none is passed over.
///
/// # Errors
/// A failure of the database.
pub async fn waiting(tx: &mut Tx, limit: i64) -> Result<Vec<Waiting>, DbError> {
    let rows: Vec<(String, String, String, i64)> = tx
        .query("SELECT family, operation_id, payload, created_at FROM outbox WHERE kind = 'event' ORDER BY family, operation_id LIMIT $1")
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(read).collect())
}

/// Whatever cannot be read is a record that nobody knows.
fn read((family, operation, payload, at): (String, String, String, i64)) -> Waiting {
    let payload: Value = serde_json::from_str(&payload).unwrap_or_default();
    Waiting {
        family,
        operation,
        seq: payload["seq"].as_i64().unwrap_or_default(),
        at: Timestamp(at),
        record: payload["record"].as_str().unwrap_or_default().to_owned(),
        detail: payload["detail"].clone(),
    }
}

/// Those that have not ended, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn live(tx: &mut Tx) -> Result<Vec<Webhook>, DbError> {
    tx.query(
        "SELECT webhook_id, publisher_id, name, url, events, created_at, active_from FROM webhook WHERE ended_at IS NULL ORDER BY webhook_id",
    )
    .all()
    .await
}

/// Those of a publisher, or all, that have not ended.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, scope: &Scope) -> Result<Vec<Webhook>, DbError> {
    let all = live(tx).await?;
    Ok(all.into_iter().filter(|webhook| webhook.is_in(scope)).collect())
}

/// One that has not ended, where `scope` covers it.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, scope: &Scope, id: WebhookId) -> Result<Option<Webhook>, DbError> {
    let webhook: Option<Webhook> = tx
        .query(
            "SELECT webhook_id, publisher_id, name, url, events, created_at, active_from FROM webhook
             WHERE webhook_id = $1 AND ended_at IS NULL",
        )
        .bind(id.to_string())
        .opt()
        .await?;
    Ok(webhook.filter(|webhook| webhook.is_in(scope)))
}

impl Webhook {
    /// Whether a caller may see it: the operator every one, a publisher its own.
    pub fn is_in(&self, scope: &Scope) -> bool {
        match (scope, &self.publisher) {
            (Scope::All, _) => true,
            (Scope::Publisher(_), None) => false,
            (scope, Some(publisher)) => scope.covers(publisher.as_str()),
        }
    }
}

/// Keeps a new one; false where it is there, as after a COMMIT whose answer was lost.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, webhook: &Webhook) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO webhook (webhook_id, publisher_id, name, url, events, created_at, active_from)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (webhook_id) DO NOTHING",
        )
        .bind(webhook.id.to_string())
        .bind(webhook.publisher.as_ref().map(PublisherId::as_str))
        .bind(&webhook.name)
        .bind(&webhook.url)
        .bind(webhook.events.to_json())
        .bind(webhook.created_at)
        .bind(webhook.active_from)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Ends one; false where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, id: WebhookId, now: i64) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE webhook SET ended_at = $2 WHERE webhook_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// A secret of a webhook, wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedSecret {
    /// Which, from 1.
    pub number: u32,
    /// For `Place::WebhookSecret`.
    pub wrapped: Vec<u8>,
}

/// The secrets that sign at `now`, the newest first.
///
/// # Errors
/// A failure of the database.
pub async fn secrets(tx: &mut Tx, id: WebhookId, now: i64) -> Result<Vec<WrappedSecret>, DbError> {
    let rows: Vec<(u32, Vec<u8>)> = tx
        .query(
            "SELECT number, wrapped FROM webhook_secret WHERE webhook_id = $1 AND (ends_at IS NULL OR ends_at > $2) ORDER BY number DESC",
        )
        .bind(id.to_string())
        .bind(now)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(number, wrapped)| WrappedSecret { number, wrapped }).collect())
}

/// Keeps a secret.
///
/// # Errors
/// A failure of the database.
pub async fn insert_secret(tx: &mut Tx, id: WebhookId, secret: &WrappedSecret, now: i64) -> Result<(), DbError> {
    tx.query("INSERT INTO webhook_secret (webhook_id, number, wrapped, created_at) VALUES ($1, $2, $3, $4)")
        .bind(id.to_string())
        .bind(secret.number)
        .bind(&secret.wrapped)
        .bind(now)
        .execute()
        .await
        .map(drop)
}

/// Ends a secret at `ends_at`; those before it end now.
///
/// # Errors
/// A failure of the database.
pub async fn end_secret(tx: &mut Tx, id: WebhookId, number: u32, ends_at: i64) -> Result<(), DbError> {
    tx.query("DELETE FROM webhook_secret WHERE webhook_id = $1 AND number < $2").bind(id.to_string()).bind(number).execute().await?;
    tx.query("UPDATE webhook_secret SET ends_at = $3 WHERE webhook_id = $1 AND number = $2")
        .bind(id.to_string())
        .bind(number)
        .bind(ends_at)
        .execute()
        .await
        .map(drop)
}
