//! Selection rules (A6): which supplements a title has, for whom, and who was given one.

use counterfoil_core::rules::selection::Has;
use counterfoil_core::{DeviceId, EntitlementId, Policy, Timestamp, TitleId, UserId};

use crate::db::{DbError, FromRow, Row, Tx};
use crate::select::MOST_OWNED;

/// Rules of one title.
pub const MOST_RULES: i64 = 100;

/// A row of `selection_rule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose status it looks at.
    pub title: TitleId,
    /// What it selects.
    pub supplement: TitleId,
    /// In CEL.
    pub condition: String,
    /// Milliseconds UTC.
    pub updated_at: i64,
}

impl FromRow for Rule {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { title: row.column()?, supplement: row.column()?, condition: row.column()?, updated_at: row.column()? })
    }
}

/// The rules of a title, by supplement.
///
/// # Errors
/// A failure of the database.
pub async fn rules(tx: &mut Tx, title: &TitleId) -> Result<Vec<Rule>, DbError> {
    tx.query(
        "SELECT title_id, supplement_id, condition, updated_at FROM selection_rule WHERE title_id = $1 ORDER BY supplement_id LIMIT $2",
    )
    .bind(title.as_str())
    .bind(MOST_RULES)
    .all()
    .await
}

/// Sets a rule, in place of the one before.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, rule: &Rule) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO selection_rule (title_id, supplement_id, condition, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (title_id, supplement_id) DO UPDATE SET condition = excluded.condition, updated_at = excluded.updated_at",
    )
    .bind(rule.title.as_str())
    .bind(rule.supplement.as_str())
    .bind(&rule.condition)
    .bind(rule.updated_at)
    .execute()
    .await
    .map(drop)
}

/// Takes a rule away; false where there is none.
///
/// # Errors
/// A failure of the database.
pub async fn remove(tx: &mut Tx, title: &TitleId, supplement: &TitleId) -> Result<bool, DbError> {
    let changed = tx
        .query("DELETE FROM selection_rule WHERE title_id = $1 AND supplement_id = $2")
        .bind(title.as_str())
        .bind(supplement.as_str())
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Titles that a user has, by name.
///
/// # Errors
/// A failure of the database.
pub async fn owned(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<TitleId>, DbError> {
    let rows: Vec<(TitleId,)> = tx
        .query(
            "SELECT DISTINCT title_id FROM entitlement WHERE user_id = $1 AND state = 'active' AND (expires_at IS NULL OR expires_at > $2)
             ORDER BY title_id LIMIT $3",
        )
        .bind(user.to_string())
        .bind(now.0)
        .bind(MOST_OWNED)
        .all()
        .await?;
    Ok(rows.into_iter().map(|(title,)| title).collect())
}

/// A supplement as it would be offered: its name, and whether there is a release to be installed.
///
/// # Errors
/// A failure of the database.
pub async fn offered(tx: &mut Tx, supplement: &TitleId) -> Result<Option<(String, bool)>, DbError> {
    let row: Option<(String, i64)> = tx
        .query(
            "SELECT t.name, (SELECT COUNT(*) FROM release r WHERE r.title_id = t.title_id AND r.held_at IS NULL AND r.withdrawn_at IS NULL
                             AND r.rollout = 100)
             FROM title t WHERE t.title_id = $1",
        )
        .bind(supplement.as_str())
        .opt()
        .await?;
    Ok(row.map(|(name, releases)| (name, releases > 0)))
}

/// Whether a user has a title, and whether it was selected and waits for a device.
///
/// # Errors
/// A failure of the database.
pub async fn has(tx: &mut Tx, user: UserId, supplement: &TitleId, device: DeviceId, now: Timestamp) -> Result<Has, DbError> {
    let rows: Vec<(String, i64, i64)> = tx
        .query(
            "SELECT e.source, CASE WHEN e.state = 'active' AND (e.expires_at IS NULL OR e.expires_at > $4) THEN 1 ELSE 0 END,
                    (SELECT COUNT(*) FROM license l WHERE l.user_id = e.user_id AND l.entitlement_id = e.entitlement_id
                     AND l.device_id = $3 AND l.state IN ('registered', 'issued', 'delivered'))
             FROM entitlement e WHERE e.user_id = $1 AND e.title_id = $2",
        )
        .bind(user.to_string())
        .bind(supplement.as_str())
        .bind(device.to_string())
        .bind(now.0)
        .all()
        .await?;
    let selected = rows.iter().find(|(source, ..)| source == "selection");
    Ok(match selected {
        Some((_, 1, waiting)) if *waiting > 0 => Has::Waiting,
        Some(_) => Has::Selected,
        None if rows.iter().any(|(_, live, _)| *live == 1) => Has::Otherwise,
        None => Has::Nothing,
    })
}

/// By what terms a user has a title, and until when; none where the user has not. Of several rights the one that lasts longest.
///
/// # Errors
/// A failure of the database.
pub async fn right(tx: &mut Tx, user: UserId, title: &TitleId, now: Timestamp) -> Result<Option<(Policy, Option<Timestamp>)>, DbError> {
    let row: Option<(Option<Policy>, Option<Timestamp>)> = tx
        .query(
            "SELECT policy, expires_at FROM entitlement
             WHERE user_id = $1 AND title_id = $2 AND state = 'active' AND (expires_at IS NULL OR expires_at > $3)
             ORDER BY CASE WHEN expires_at IS NULL THEN 0 ELSE 1 END, expires_at DESC, CASE WHEN policy IS NULL THEN 1 ELSE 0 END,
                      entitlement_id LIMIT 1",
        )
        .bind(user.to_string())
        .bind(title.as_str())
        .bind(now.0)
        .opt()
        .await?;
    match row {
        None => Ok(None),
        Some((Some(policy), until)) => Ok(Some((policy, until))),
        // A medium has no terms: those are taken that the title is sold under.
        Some((None, until)) => {
            let listed = super::listing::get(tx, title).await?;
            Ok(Some((listed.map(|(listing, _)| listing.policy).unwrap_or_default(), until)))
        }
    }
}

/// What a user is given when a supplement is selected: always the same, so that of two who give it at once one finds it given.
pub fn entitlement_of(user: UserId, supplement: &TitleId) -> EntitlementId {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026 entitlement by selection");
    hasher.update(user.as_bytes());
    hasher.update(supplement.as_str().as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    EntitlementId::from_bytes(id)
}

/// Keeps an entitlement that came from a selection, with one device in use; false where the user was given it before.
///
/// # Errors
/// A failure of the database.
pub async fn insert(
    tx: &mut Tx,
    user: UserId,
    supplement: &TitleId,
    policy: &Policy,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let written = tx
        .query(
            "INSERT INTO entitlement (user_id, entitlement_id, source, title_id, state, policy, devices, transfers, expires_at, created_at)
             VALUES ($1, $2, 'selection', $3, 'active', $4, 1, 0, $5, $6) ON CONFLICT (user_id, entitlement_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(entitlement_of(user, supplement).to_string())
        .bind(supplement.as_str())
        .bind(serde_json::to_string(policy).expect("terms are numbers and texts"))
        .bind(expires_at.map(|end| end.0))
        .bind(now.0)
        .execute()
        .await?;
    Ok(written == 1)
}
