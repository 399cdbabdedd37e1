//! What a webhook is told, in the webhook's family: waiting, delivered or failed.
//!
//! Of what waits, only the first of each subject is ever due; what comes after it becomes due when it has ended. So a subject's events arrive
//! in their order, and one that cannot be delivered holds up nothing but its own subject. Transactions that write here begin with
//! [`super::audit::hold`] of the webhook's family, so that none misses what another has just ended.

use counterfoil_core::{DeliveryId, Timestamp, WebhookId};

use crate::db::{Db, DbError, FromRow, Row, Tx};

/// Delivered at the first attempt, or not yet.
pub const WAITING: &str = "waiting";
/// The receiver took it.
pub const DELIVERED: &str = "delivered";
/// It was tried until its time was over.
pub const FAILED: &str = "failed";

/// A row of `delivery`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Which: `webhook-id`.
    pub id: DeliveryId,
    /// What happened.
    pub event: String,
    /// To what.
    pub subject: String,
    /// In its subject's order.
    pub sequence: i64,
    /// The body, byte for byte.
    pub payload: String,
    /// `waiting`, `delivered` or `failed`.
    pub state: String,
    /// Whether somebody has asked for it to be sent again: then it is in no order.
    pub resent: bool,
    /// How often it was sent.
    pub attempts: u32,
    /// When it is sent next; nothing where it has ended, or waits behind another of its subject.
    pub due_at: Option<i64>,
    /// The last attempt is made then.
    pub give_up_at: i64,
    /// When it was sent last.
    pub attempted_at: Option<i64>,
    /// What was answered last.
    pub status: Option<i64>,
    /// Why that was no delivery, in a word.
    pub error: Option<String>,
    /// Milliseconds UTC.
    pub created_at: i64,
    /// When it was delivered, or given up.
    pub ended_at: Option<i64>,
}

impl FromRow for Delivery {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            event: row.column()?,
            subject: row.column()?,
            sequence: row.column()?,
            payload: row.column()?,
            state: row.column()?,
            resent: row.column::<i64>()? != 0,
            attempts: row.column()?,
            due_at: row.column()?,
            give_up_at: row.column()?,
            attempted_at: row.column()?,
            status: row.column()?,
            error: row.column()?,
            created_at: row.column()?,
            ended_at: row.column()?,
        })
    }
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// The same however often the event is taken from the outbox.
    pub id: DeliveryId,
    /// What happened.
    pub event: &'static str,
    /// To what.
    pub subject: String,
    /// In its subject's order.
    pub sequence: i64,
    /// Whether it waits for what came before it.
    pub in_order: bool,
    /// The body.
    pub payload: String,
}

impl New {
    /// Writes it down; nothing where it was written before. Whoever calls has held the webhook's family, and hands in a subject's events in
    /// their order.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn insert(&self, tx: &mut Tx, webhook: WebhookId, now: Timestamp, give_up_at: Timestamp) -> Result<(), DbError> {
        let before: Option<(i64,)> = tx
            .query("SELECT sequence FROM delivery WHERE webhook_id = $1 AND subject = $2 AND state = 'waiting' AND resent = 0 LIMIT 1")
            .bind(webhook.to_string())
            .bind(&self.subject)
            .opt()
            .await?;
        let due = (before.is_none() || !self.in_order).then_some(now.0);
        tx.query(
            "INSERT INTO delivery (webhook_id, delivery_id, event, subject, sequence, payload, state, resent, attempts, due_at, give_up_at, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, 0, $7, $8, $9) ON CONFLICT (webhook_id, delivery_id) DO NOTHING",
        )
        .bind(webhook.to_string())
        .bind(self.id.to_string())
        .bind(self.event)
        .bind(&self.subject)
        .bind(self.sequence)
        .bind(&self.payload)
        .bind(due)
        .bind(give_up_at.0)
        .bind(now.0)
        .execute()
        .await
        .map(drop)
    }
}

/// Up to `limit` that are due at `now`, those first that are due for longest.
///
/// # Errors
/// A failure of the database.
pub async fn due(tx: &mut Tx, webhook: WebhookId, now: Timestamp, limit: i64) -> Result<Vec<Delivery>, DbError> {
    tx.query(
        "SELECT delivery_id, event, subject, sequence, payload, state, resent, attempts, due_at, give_up_at, attempted_at, status, error,
                created_at, ended_at
         FROM delivery WHERE webhook_id = $1 AND due_at <= $2 ORDER BY due_at, sequence LIMIT $3",
    )
    .bind(webhook.to_string())
    .bind(now.0)
    .bind(limit)
    .all()
    .await
}

/// Counts an attempt that is about to be made, and puts the next one off until `again`, should nobody hear of this one. False: somebody else
/// is making it.
///
/// # Errors
/// A failure of the database.
pub async fn take(tx: &mut Tx, webhook: WebhookId, seen: &Delivery, now: Timestamp, again: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE delivery SET attempts = attempts + 1, attempted_at = $1, due_at = $2
             WHERE webhook_id = $3 AND delivery_id = $4 AND state = 'waiting' AND attempts = $5",
        )
        .bind(now.0)
        .bind(again.0)
        .bind(webhook.to_string())
        .bind(seen.id.to_string())
        .bind(seen.attempts)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// What came of the attempt `number`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The delivery as it was taken.
    pub delivery: Delivery,
    /// Which attempt it was, from 1.
    pub number: u32,
    /// What was answered.
    pub status: Option<u16>,
    /// Why it was none; nothing where it was delivered.
    pub error: Option<&'static str>,
    /// When to try again; never, where it is given up.
    pub again: Option<Timestamp>,
}

/// Writes down what came of an attempt; what waits behind one that has ended becomes due. That it was delivered is true whoever else is
/// trying it; that it was not, only where nobody is.
///
/// # Errors
/// A failure of the database.
pub async fn settle(tx: &mut Tx, webhook: WebhookId, attempted: &Attempted, now: Timestamp) -> Result<(), DbError> {
    let Attempted { delivery, number, status, error, again } = attempted;
    let (state, due, ended) = match (error, again) {
        (None, _) => (DELIVERED, None, Some(now.0)),
        (Some(_), Some(again)) => (WAITING, Some(again.0), None),
        (Some(_), None) => (FAILED, None, Some(now.0)),
    };
    let changed = tx
        .query(
            "UPDATE delivery SET state = $1, due_at = $2, ended_at = $3, status = $4, error = $5
             WHERE webhook_id = $6 AND delivery_id = $7 AND state = 'waiting' AND (attempts = $8 OR CAST($1 AS TEXT) = 'delivered')",
        )
        .bind(state)
        .bind(due)
        .bind(ended)
        .bind(status.map(i64::from))
        .bind(*error)
        .bind(webhook.to_string())
        .bind(delivery.id.to_string())
        .bind(*number)
        .execute()
        .await?;
    if changed == 0 || state == WAITING || delivery.resent {
        return Ok(());
    }
    tx.query(
        "UPDATE delivery SET due_at = $1 WHERE webhook_id = $2 AND due_at IS NULL AND state = 'waiting' AND delivery_id IN
         (SELECT delivery_id FROM delivery WHERE webhook_id = $2 AND subject = $3 AND state = 'waiting' AND resent = 0 ORDER BY sequence LIMIT 1)",
    )
    .bind(now.0)
    .bind(webhook.to_string())
    .bind(&delivery.subject)
    .execute()
    .await
    .map(drop)
}

/// Has one sent again, now, as often as at first; says whether it is there. One that waits is tried now, unless it waits behind another.
///
/// # Errors
/// A failure of the database.
pub async fn resend(tx: &mut Tx, webhook: WebhookId, id: DeliveryId, now: Timestamp, give_up_at: Timestamp) -> Result<bool, DbError> {
    let (webhook, id) = (webhook.to_string(), id.to_string());
    let begun = tx
        .query(
            "UPDATE delivery SET state = 'waiting', resent = 1, due_at = $1, give_up_at = $2, ended_at = NULL
             WHERE webhook_id = $3 AND delivery_id = $4 AND state <> 'waiting'",
        )
        .bind(now.0)
        .bind(give_up_at.0)
        .bind(&webhook)
        .bind(&id)
        .execute()
        .await?;
    if begun == 1 {
        return Ok(true);
    }
    let sql = "UPDATE delivery SET due_at = $1 WHERE webhook_id = $2 AND delivery_id = $3 AND due_at IS NOT NULL";
    tx.query(sql).bind(now.0).bind(&webhook).bind(&id).execute().await?;
    let there: Option<(i64,)> =
        tx.query("SELECT 1 FROM delivery WHERE webhook_id = $1 AND delivery_id = $2").bind(&webhook).bind(&id).opt().await?;
    Ok(there.is_some())
}

/// One of them.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, webhook: WebhookId, id: DeliveryId) -> Result<Option<Delivery>, DbError> {
    tx.query(
        "SELECT delivery_id, event, subject, sequence, payload, state, resent, attempts, due_at, give_up_at, attempted_at, status, error,
                created_at, ended_at
         FROM delivery WHERE webhook_id = $1 AND delivery_id = $2",
    )
    .bind(webhook.to_string())
    .bind(id.to_string())
    .opt()
    .await
}

/// The newest first, before a place in that order; of one state, or all.
///
/// # Errors
/// A failure of the database.
pub async fn page(tx: &mut Tx, webhook: WebhookId, state: Option<&str>, before: (i64, &str), limit: i64) -> Result<Vec<Delivery>, DbError> {
    tx.query(
        "SELECT delivery_id, event, subject, sequence, payload, state, resent, attempts, due_at, give_up_at, attempted_at, status, error,
                created_at, ended_at
         FROM delivery WHERE webhook_id = $1 AND (created_at < $2 OR (created_at = $2 AND delivery_id < $3))
           AND (CAST($4 AS TEXT) = '' OR state = CAST($4 AS TEXT))
         ORDER BY created_at DESC, delivery_id DESC LIMIT $5",
    )
    .bind(webhook.to_string())
    .bind(before.0)
    .bind(before.1)
    .bind(state.unwrap_or_default())
    .bind(limit)
    .all()
    .await
}

/// Deletes up to `limit` that were written before a moment (milliseconds) and have ended, or whose time is over.
///
/// # Errors
/// A failure of the database; what was deleted before stays so.
pub async fn purge(db: &Db, before: i64, limit: i64) -> Result<u64, DbError> {
    let over = db
        .read("find deliveries that are over", async move |tx| {
            let sql = "SELECT webhook_id, delivery_id FROM delivery
                       WHERE created_at < $1 AND (state <> 'waiting' OR give_up_at < $1) ORDER BY created_at LIMIT $2";
            tx.query(sql).bind(before).bind(limit).all::<(String, String)>().await
        })
        .await?;
    let deletions = over.into_iter().map(|(webhook, delivery)| {
        db.write("purge deliveries", webhook.clone(), async move |tx| {
            let sql = "DELETE FROM delivery WHERE webhook_id = $1 AND delivery_id = $2 AND (state <> 'waiting' OR give_up_at < $3)";
            tx.query(sql).bind(&webhook).bind(&delivery).bind(before).execute().await
        })
    });
    Ok(crate::db::all(deletions).await?.into_iter().sum())
}
