//! New cards that users have asked for, in the user's family (C15): at most one of an entry waits.

use counterfoil_core::rules::reissue::Requested;
use counterfoil_core::wire::ReissueState;
use counterfoil_core::{CardId, HolderId, ReissueId, RepairId, Timestamp, UserId};
use counterfoil_format::hpke::SealingPublicKey;
use counterfoil_format::signer::HolderVerifyingKey;

use super::holder::Public;
use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT user_id, reissue_id, state, sign_key, seal_key, contact, actor, created_at, decided_by, decided_at, reason, repair_id
             FROM reissue ",
            $which
        )
    };
}

/// Requests of one entry, or for one card, that are looked at.
const MOST: i64 = 100;

impl FromValue for ReissueState {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        let states = [Self::Waiting, Self::Done, Self::Declined];
        states.into_iter().find(|state| state.as_str() == text).ok_or_else(|| "expected the state of a request for a card".to_owned())
    }
}

/// A row of `reissue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReissueRow {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub reissue: ReissueId,
    /// Where it stands.
    pub state: ReissueState,
    /// The new card's keys; absent where the repair centre makes the card.
    pub card: Option<Public>,
    /// How the user is reached, in the user's own words.
    pub contact: Option<String>,
    /// Who asked.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// Why.
    pub reason: Option<String>,
    /// The repair that carried it out.
    pub repair: Option<RepairId>,
}

impl ReissueRow {
    /// A request that nobody has decided.
    pub fn waiting(user: UserId, reissue: ReissueId, card: Option<Public>, contact: Option<String>, actor: &str, now: Timestamp) -> Self {
        Self {
            user,
            reissue,
            state: ReissueState::Waiting,
            card,
            contact,
            actor: actor.to_owned(),
            created_at: now,
            decided_by: None,
            decided_at: None,
            reason: None,
            repair: None,
        }
    }

    /// The new card.
    pub fn card_id(&self) -> Option<CardId> {
        self.card.map(|keys| keys.holder().into())
    }

    /// As the rule sees it.
    pub fn requested(&self) -> Requested {
        Requested { state: self.state, card: self.card.map(|keys| keys.holder()) }
    }
}

impl FromRow for ReissueRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            user: row.column()?,
            reissue: row.column()?,
            state: row.column()?,
            card: match (row.column::<Option<HolderVerifyingKey>>()?, row.column::<Option<SealingPublicKey>>()?) {
                (Some(sign), Some(seal)) => Some(Public { sign, seal }),
                _ => None,
            },
            contact: row.column()?,
            actor: row.column()?,
            created_at: row.column()?,
            decided_by: row.column()?,
            decided_at: row.column()?,
            reason: row.column()?,
            repair: row.column()?,
        })
    }
}

/// Keeps a request that waits.
///
/// # Errors
/// A failure of the database; `Constraint` where another one of the entry waits.
pub async fn insert(tx: &mut Tx, row: &ReissueRow) -> Result<(), DbError> {
    tx.query(
        "INSERT INTO reissue (user_id, reissue_id, state, holder_id, sign_key, seal_key, contact, actor, created_at)
         VALUES ($1, $2, 'waiting', $3, $4, $5, $6, $7, $8)",
    )
    .bind(row.user.to_string())
    .bind(row.reissue.to_string())
    .bind(row.card.map(|keys| keys.holder().to_string()))
    .bind(row.card.as_ref().map(|keys| keys.sign.as_bytes()))
    .bind(row.card.as_ref().map(|keys| keys.seal.as_bytes()))
    .bind(row.contact.as_deref())
    .bind(&row.actor)
    .bind(row.created_at.0)
    .execute()
    .await
    .map(drop)
}

/// Decides a request that waits: by whom, why, by which repair where it is carried out, and with which card. False where it does not wait.
///
/// # Errors
/// A failure of the database.
pub async fn decide(tx: &mut Tx, row: &ReissueRow) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "UPDATE reissue SET state = $3, holder_id = $4, sign_key = $5, seal_key = $6, decided_by = $7, decided_at = $8, reason = $9,
                 repair_id = $10
             WHERE user_id = $1 AND reissue_id = $2 AND state = 'waiting'",
        )
        .bind(row.user.to_string())
        .bind(row.reissue.to_string())
        .bind(row.state.as_str())
        .bind(row.card.map(|keys| keys.holder().to_string()))
        .bind(row.card.as_ref().map(|keys| keys.sign.as_bytes()))
        .bind(row.card.as_ref().map(|keys| keys.seal.as_bytes()))
        .bind(row.decided_by.as_deref())
        .bind(row.decided_at.map(|at| at.0))
        .bind(row.reason.as_deref())
        .bind(row.repair.map(|repair| repair.to_string()))
        .execute()
        .await?;
    Ok(changed == 1)
}

/// The requests of an entry, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<ReissueRow>, DbError> {
    tx.query(select!("WHERE user_id = $1 ORDER BY created_at DESC, reissue_id LIMIT $2")).bind(user.to_string()).bind(MOST).all().await
}

/// One of them.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId, reissue: ReissueId) -> Result<Option<ReissueRow>, DbError> {
    tx.query(select!("WHERE user_id = $1 AND reissue_id = $2")).bind(user.to_string()).bind(reissue.to_string()).opt().await
}

/// What a card was asked for, newest first, whoever asked.
///
/// # Errors
/// A failure of the database.
pub async fn of_card(tx: &mut Tx, card: HolderId) -> Result<Vec<ReissueRow>, DbError> {
    tx.query(select!("WHERE holder_id = $1 ORDER BY created_at DESC, reissue_id LIMIT $2")).bind(card.to_string()).bind(MOST).all().await
}

/// What waits after `after` (a moment, and the request that was the last of its page), oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn waiting(tx: &mut Tx, after: (Timestamp, &str), limit: i64) -> Result<Vec<ReissueRow>, DbError> {
    tx.query(select!(
        "WHERE state = 'waiting' AND (created_at > $1 OR (created_at = $1 AND reissue_id > $2))
             ORDER BY created_at, reissue_id LIMIT $3"
    ))
    .bind(after.0.0)
    .bind(after.1)
    .bind(limit)
    .all()
    .await
}

/// Whether the entry had this card once, and it was replaced.
///
/// # Errors
/// A failure of the database.
pub async fn was_replaced(tx: &mut Tx, user: UserId, card: CardId) -> Result<bool, DbError> {
    let (times,): (i64,) = tx
        .query("SELECT COUNT(*) FROM repair WHERE user_id = $1 AND kind = 'card' AND old_id = $2")
        .bind(user.to_string())
        .bind(card.to_string())
        .one()
        .await?;
    Ok(times > 0)
}

/// When anything of the entry was exchanged last, if it ever was.
///
/// # Errors
/// A failure of the database.
pub async fn exchanged_at(tx: &mut Tx, user: UserId) -> Result<Option<Timestamp>, DbError> {
    let (last,): (Option<Timestamp>,) =
        tx.query("SELECT MAX(created_at) FROM repair WHERE user_id = $1").bind(user.to_string()).one().await?;
    Ok(last)
}

/// Has the entry name another card, where it still names `old`; answers with its generation, which is raised by that.
///
/// # Errors
/// A failure of the database.
pub async fn replace_card(tx: &mut Tx, user: UserId, old: HolderId, new: &Public) -> Result<Option<u32>, DbError> {
    let row: Option<(u32,)> = tx
        .query(
            "UPDATE user_entry SET holder_id = $3, sign_key = $4, seal_key = $5, generation = generation + 1
             WHERE user_id = $1 AND holder_id = $2 AND holder_kind = 'card' RETURNING generation",
        )
        .bind(user.to_string())
        .bind(old.to_string())
        .bind(new.holder().to_string())
        .bind(new.sign.as_bytes())
        .bind(new.seal.as_bytes())
        .opt()
        .await?;
    Ok(row.map(|(generation,)| generation))
}

/// Whether any grant of a user's that was issued by `until` is still to be told to the user's family.
///
/// # Errors
/// A failure of the database.
pub async fn grants_untold(tx: &mut Tx, user: UserId, until: Timestamp) -> Result<bool, DbError> {
    let found: Option<(i64,)> = tx
        .query("SELECT created_at FROM outbox WHERE kind = 'entitlement' AND created_at <= $1 AND payload LIKE $2 LIMIT 1")
        .bind(until.0)
        .bind(format!("%{user}%"))
        .opt()
        .await?;
    Ok(found.is_some())
}
