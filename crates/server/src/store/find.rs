//! What is looked for at the console besides user entries: an order or license by its ID alone, lists newest first.

use counterfoil_core::rules::order::OrderState;
use counterfoil_core::{BatchId, LicenseId, MediumId, OrderId, Timestamp, TitleId, UserId};

use super::order::{self, OrderRow};
use super::word::Named;
use crate::db::{DbError, FromRow, Row, Tx};

/// Whose order this is.
///
/// # Errors
/// A failure of the database.
pub async fn owner_of_order(tx: &mut Tx, order: OrderId) -> Result<Option<UserId>, DbError> {
    let found: Vec<(UserId,)> = tx.query("SELECT user_id FROM orders WHERE order_id = $1 LIMIT 1").bind(order.to_string()).all().await?;
    Ok(found.into_iter().next().map(|(user,)| user))
}

/// Whose license this is.
///
/// # Errors
/// A failure of the database.
pub async fn owner_of_license(tx: &mut Tx, license: LicenseId) -> Result<Option<UserId>, DbError> {
    let found: Vec<(UserId,)> =
        tx.query("SELECT user_id FROM license WHERE license_id = $1 LIMIT 1").bind(license.to_string()).all().await?;
    Ok(found.into_iter().next().map(|(user,)| user))
}

/// Batches that a title lies on, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn batches_of_title(tx: &mut Tx, title: &TitleId, limit: i64) -> Result<Vec<Named>, DbError> {
    let rows: Vec<(String, String, String)> = tx
        .query(
            "SELECT b.batch_id, b.name, b.publisher_id FROM batch b
             WHERE EXISTS (SELECT 1 FROM batch_title t WHERE t.batch_id = b.batch_id AND t.title_id = $1)
             ORDER BY b.created_at DESC, b.batch_id LIMIT $2",
        )
        .bind(title.as_str())
        .bind(limit)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id, name, publisher)| Named { id, name, publisher }).collect())
}

/// A medium that was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediumOfBatch {
    /// Which.
    pub medium: MediumId,
    /// Its number in the batch.
    pub serial: i64,
    /// `unclaimed`, `claimed` or `retired`.
    pub state: String,
    /// Copies claimed so far.
    pub copies: i64,
    /// When it was first heard of.
    pub created_at: Timestamp,
}

impl FromRow for MediumOfBatch {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { medium: row.column()?, serial: row.column()?, state: row.column()?, copies: row.column()?, created_at: row.column()? })
    }
}

/// Media of a batch that were heard of, by number, after a number.
///
/// # Errors
/// A failure of the database.
pub async fn media(tx: &mut Tx, batch: BatchId, after: i64, limit: i64) -> Result<Vec<MediumOfBatch>, DbError> {
    tx.query(
        "SELECT medium_id, serial, state, copies_claimed, created_at FROM medium
         WHERE batch_id = $1 AND serial > $2 ORDER BY serial LIMIT $3",
    )
    .bind(batch.to_string())
    .bind(after)
    .bind(limit)
    .all()
    .await
}

/// Orders, newest first, before one of them.
///
/// # Errors
/// A failure of the database.
pub async fn orders(tx: &mut Tx, state: Option<OrderState>, before: &(Timestamp, String), limit: i64) -> Result<Vec<OrderRow>, DbError> {
    // Two statements, so that each has its index: of a seldom state, all others would be read.
    let of_state =
        order::select!("WHERE state = $4 AND (created_at, order_id) < ($1, $2) ORDER BY created_at DESC, order_id DESC LIMIT $3");
    let of_all = order::select!("WHERE (created_at, order_id) < ($1, $2) ORDER BY created_at DESC, order_id DESC LIMIT $3");
    match state {
        Some(state) => tx.query(of_state).bind(before.0.0).bind(&before.1).bind(limit).bind(state.as_str()).all().await,
        None => tx.query(of_all).bind(before.0.0).bind(&before.1).bind(limit).all().await,
    }
}
