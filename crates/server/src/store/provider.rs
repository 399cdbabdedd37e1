//! Providers (B4): third parties that offer services to media, and whose media they may have judged.

use counterfoil_core::{BatchId, Kind, Policy, ProviderId, Rights, TitleId, UserId};

use super::publisher::PublisherId;
use crate::db::{DbError, FromRow, Row, Tx};

/// Providers at once.
pub const MOST: i64 = 1000;
/// Entitlements of a user that are looked at for one provider.
const MOST_TITLES: i64 = 200;

/// The family that a provider's audit records belong to.
pub fn family(id: ProviderId) -> String {
    format!("/provider/{id}")
}

/// A row of `provider`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// Which.
    pub id: ProviderId,
    /// For people.
    pub name: String,
    /// Where terminals reach it, without a slash at the end.
    pub url: String,
    /// Milliseconds UTC.
    pub created_at: i64,
}

impl FromRow for Provider {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { id: row.column()?, name: row.column()?, url: row.column()?, created_at: row.column()? })
    }
}

/// Keeps a new one, with the publishers whose media it may have judged.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, provider: &Provider, publishers: &[PublisherId]) -> Result<(), DbError> {
    tx.query("INSERT INTO provider (provider_id, name, url, created_at) VALUES ($1, $2, $3, $4)")
        .bind(provider.id.to_string())
        .bind(&provider.name)
        .bind(&provider.url)
        .bind(provider.created_at)
        .execute()
        .await?;
    for publisher in publishers {
        tx.query("INSERT INTO provider_publisher (provider_id, publisher_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(provider.id.to_string())
            .bind(publisher.as_str())
            .execute()
            .await?;
    }
    Ok(())
}

/// Those that have not ended, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx) -> Result<Vec<Provider>, DbError> {
    tx.query("SELECT provider_id, name, url, created_at FROM provider WHERE ended_at IS NULL ORDER BY provider_id LIMIT $1")
        .bind(MOST)
        .all()
        .await
}

/// One that has not ended.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, id: ProviderId) -> Result<Option<Provider>, DbError> {
    tx.query("SELECT provider_id, name, url, created_at FROM provider WHERE provider_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .opt()
        .await
}

/// Whose media it may have judged.
///
/// # Errors
/// A failure of the database.
pub async fn publishers(tx: &mut Tx, id: ProviderId) -> Result<Vec<PublisherId>, DbError> {
    let rows: Vec<(PublisherId,)> = tx
        .query("SELECT publisher_id FROM provider_publisher WHERE provider_id = $1 ORDER BY publisher_id")
        .bind(id.to_string())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(publisher,)| publisher).collect())
}

/// The revision of a batch, and whether this provider may have its media judged; nothing where there is no such batch.
///
/// # Errors
/// A failure of the database.
pub async fn judges(tx: &mut Tx, id: ProviderId, batch: BatchId) -> Result<Option<(i64, bool)>, DbError> {
    let found: Option<(i64, Option<String>)> = tx
        .query(
            "SELECT b.revision, x.provider_id FROM batch b
             LEFT JOIN provider_publisher x ON x.publisher_id = b.publisher_id AND x.provider_id = $1 WHERE b.batch_id = $2",
        )
        .bind(id.to_string())
        .bind(batch.to_string())
        .opt()
        .await?;
    Ok(found.map(|(revision, judges)| (revision, judges.is_some())))
}

/// What a user has of the titles of one provider's publishers.
#[derive(Debug, Default)]
pub struct OwnedOfProvider {
    /// From media, orders and selections, the newest first.
    pub titles: Vec<(TitleId, String, Kind)>,
    /// What the terms of any of those allow that came from no medium; nothing where all came from media, which have rights of their own.
    pub rights: Option<Rights>,
}

/// What a user has of the titles of the provider's publishers.
///
/// # Errors
/// A failure of the database.
pub async fn owned(tx: &mut Tx, id: ProviderId, user: UserId, now: i64) -> Result<OwnedOfProvider, DbError> {
    let rows: Vec<(TitleId, String, Kind, Option<Policy>)> = tx
        .query(
            "SELECT t.title_id, t.name, t.kind, e.policy FROM entitlement e JOIN title t ON t.title_id = e.title_id
             JOIN provider_publisher x ON x.publisher_id = t.publisher_id
             WHERE e.user_id = $1 AND x.provider_id = $2 AND e.state = 'active' AND (e.expires_at IS NULL OR e.expires_at > $3)
             ORDER BY e.created_at DESC, e.entitlement_id LIMIT $4",
        )
        .bind(user.to_string())
        .bind(id.to_string())
        .bind(now)
        .bind(MOST_TITLES)
        .all()
        .await?;
    let mut owned = OwnedOfProvider::default();
    for (title, name, kind, policy) in rows {
        if let Some(policy) = policy {
            let rights = owned.rights.get_or_insert_with(|| Rights { transfer: false, ..Rights::default() });
            rights.upload |= policy.upload_mib > 0;
            rights.transfer |= policy.transfers > 0;
        }
        if owned.titles.iter().all(|(known, ..)| *known != title) {
            owned.titles.push((title, name, kind));
        }
    }
    Ok(owned)
}

/// Ends one; false where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn end(tx: &mut Tx, id: ProviderId, now: i64) -> Result<bool, DbError> {
    let changed = tx
        .query("UPDATE provider SET ended_at = $2 WHERE provider_id = $1 AND ended_at IS NULL")
        .bind(id.to_string())
        .bind(now)
        .execute()
        .await?;
    Ok(changed == 1)
}
