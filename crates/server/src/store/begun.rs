//! What is found by the first characters of its ID, as somebody reads it off a worn label: in the order of the IDs.

use counterfoil_core::{BatchId, CardId, DeviceId, DriveId, LicenseId, MediumId, OrderId, TitleId, UserId, id};

use super::entry::Found;
use super::word::Named;
use crate::auth::Scope;
use crate::db::{DbError, FromRow, Row, Tx};
use crate::words::range;

/// Media and batches that are looked at for a publisher's own.
const LOOKED_AT: i64 = 1000;

/// The IDs of things that lead to a user entry: what is written before the first hyphen, what it is called, whose it is.
const OF_USERS: [(&str, &str, &str); 5] = [
    (
        UserId::PREFIX,
        "user",
        "SELECT f.user_id, 0 FROM (SELECT user_id FROM user_entry WHERE user_id >= $1 AND user_id < $2
           UNION SELECT user_id FROM user_info WHERE user_id >= $1 AND user_id < $2) f ORDER BY f.user_id LIMIT $3",
    ),
    (
        CardId::PREFIX,
        "card",
        "SELECT user_id, CASE WHEN state = 'dead' THEN 1 ELSE 0 END FROM holder
         WHERE holder_id >= $1 AND holder_id < $2 AND user_id IS NOT NULL ORDER BY holder_id LIMIT $3",
    ),
    (
        DeviceId::PREFIX,
        "device",
        "SELECT f.user_id, MIN(f.gone) FROM (
           SELECT user_id, 0 AS gone FROM user_device WHERE device_id >= $1 AND device_id < $2
           UNION ALL SELECT user_id, CASE WHEN retired_at IS NULL THEN 0 ELSE 1 END AS gone FROM device_info WHERE device_id >= $1 AND device_id < $2
           UNION ALL SELECT user_id, 1 AS gone FROM repair WHERE old_id >= $1 AND old_id < $2) f
         GROUP BY f.user_id ORDER BY 2, 1 LIMIT $3",
    ),
    (
        DriveId::PREFIX,
        "drive",
        "SELECT f.user_id, MIN(f.gone) FROM (
           SELECT user_id, 0 AS gone FROM user_drive WHERE drive_id >= $1 AND drive_id < $2
           UNION ALL SELECT user_id, 1 AS gone FROM repair WHERE old_id >= $1 AND old_id < $2) f
         GROUP BY f.user_id ORDER BY 2, 1 LIMIT $3",
    ),
    (
        LicenseId::PREFIX,
        "license",
        "SELECT user_id, CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END FROM license
         WHERE license_id >= $1 AND license_id < $2 ORDER BY license_id LIMIT $3",
    ),
];

/// Whose entries these first characters of a user, card, device, drive or license ID lead to, and by what; nothing where they are of no such ID.
///
/// # Errors
/// A failure of the database.
pub async fn users(tx: &mut Tx, text: &str, limit: i64) -> Result<Option<(&'static str, Vec<Found>)>, DbError> {
    let begun = OF_USERS.iter().find_map(|(prefix, what, sql)| Some((id::beginning(prefix, text)?, *what, *sql)));
    let Some((begun, what, sql)) = begun else { return Ok(None) };
    // A card is kept as the holder that it is: the same characters, up to those that check them.
    let begun = begun.strip_prefix(CardId::PREFIX).map_or(begun.clone(), |rest| format!("key{rest}"));
    let (from, until) = range(&begun);
    Ok(Some((what, tx.query(sql).bind(from).bind(until).bind(limit).all().await?)))
}

/// Whether these may be the first characters of an ID that leads to a user entry.
pub fn is_of_users(text: &str) -> bool {
    OF_USERS.iter().any(|(prefix, ..)| id::beginning(prefix, text).is_some())
}

/// An order that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderFound {
    /// Which.
    pub order: OrderId,
    /// Whose.
    pub user: UserId,
    /// Of what.
    pub title: TitleId,
}

impl FromRow for OrderFound {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { order: row.column()?, user: row.column()?, title: row.column()? })
    }
}

/// Orders whose IDs begin so.
///
/// # Errors
/// A failure of the database.
pub async fn orders(tx: &mut Tx, text: &str, limit: i64) -> Result<Vec<OrderFound>, DbError> {
    let Some(begun) = id::beginning(OrderId::PREFIX, text) else { return Ok(vec![]) };
    let (from, until) = range(&begun);
    tx.query("SELECT order_id, user_id, title_id FROM orders WHERE order_id >= $1 AND order_id < $2 ORDER BY order_id LIMIT $3")
        .bind(from)
        .bind(until)
        .bind(limit)
        .all()
        .await
}

/// Media whose IDs begin so, as far as somebody has heard of them; those made elsewhere as they are written, from four characters on. The name is
/// the batch.
///
/// # Errors
/// A failure of the database.
pub async fn media(tx: &mut Tx, scope: &Scope, text: &str, limit: usize) -> Result<Vec<Named>, DbError> {
    let begun = match id::beginning("med", text) {
        Some(begun) => begun,
        // What begins as other IDs do is none of a medium.
        None if text.parse::<MediumId>().is_ok_and(|id| id.batch_and_serial().is_none()) => text.to_owned(),
        None => return Ok(vec![]),
    };
    let sql = "SELECT m.medium_id, m.batch_id, b.publisher_id FROM medium m JOIN batch b ON b.batch_id = m.batch_id
               WHERE m.medium_id >= $1 AND m.medium_id < $2 ORDER BY m.medium_id LIMIT $3";
    named(tx, sql, begun, scope, limit).await
}

/// Batches whose IDs begin so: `bat-` and three characters at least.
///
/// # Errors
/// A failure of the database.
pub async fn batches(tx: &mut Tx, scope: &Scope, text: &str, limit: usize) -> Result<Vec<Named>, DbError> {
    let text = text.to_ascii_lowercase();
    if !text.strip_prefix("bat-").is_some_and(|rest| rest.len() >= 3 && rest.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Ok(vec![]);
    }
    let sql = "SELECT batch_id, name, publisher_id FROM batch WHERE batch_id >= $1 AND batch_id < $2 ORDER BY batch_id LIMIT $3";
    named(tx, sql, text, scope, limit).await
}

async fn named(tx: &mut Tx, sql: &'static str, begun: String, scope: &Scope, limit: usize) -> Result<Vec<Named>, DbError> {
    let (from, until) = range(&begun);
    let looked_at = match scope {
        Scope::All => i64::try_from(limit).unwrap_or(LOOKED_AT),
        Scope::Publisher(_) => LOOKED_AT,
    };
    let rows: Vec<(String, String, String)> = tx.query(sql).bind(from).bind(until).bind(looked_at).all().await?;
    let own = rows.into_iter().filter(|(.., publisher)| scope.covers(publisher));
    Ok(own.take(limit).map(|(id, name, publisher)| Named { id, name, publisher }).collect())
}

/// The medium of a batch with this serial, where it has a row.
///
/// # Errors
/// A failure of the database.
pub async fn of_serial(tx: &mut Tx, batch: BatchId, serial: i64) -> Result<Option<MediumId>, DbError> {
    let sql = "SELECT medium_id FROM medium WHERE batch_id = $1 AND serial = $2 LIMIT 1";
    let found: Vec<(MediumId,)> = tx.query(sql).bind(batch.to_string()).bind(serial).all().await?;
    Ok(found.into_iter().next().map(|(medium,)| medium))
}
