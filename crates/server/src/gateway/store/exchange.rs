//! Exchanges that are charged for (C17): where each stands, before the next step is taken. The table's comment draws the states.

use counterfoil_core::wire::{Charge, UndoReason};
use counterfoil_core::{AccountId, CardId, Money, PostingId, RequestId, Timestamp};
use serde::Serialize;

use crate::db::{DbError, FromRow, FromValue, Row, Tx, Value};
use crate::gateway::ledger::posting::Exchange;

/// A statement that reads whole rows.
macro_rules! select {
    ($which:literal) => {
        concat!(
            "SELECT account_id, exchange_id, state, title_id, title_name, currency, amount, operator_part, card_id, envelope, expires_at,
                    undo_why, undo_note, tries, next_at, trouble, created_at, changed_at
             FROM exchange ",
            $which
        )
    };
}

/// Where an exchange stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The price is known, and nobody has agreed to it.
    Offered,
    /// The price is bound in the account's balance. The authority has not been asked to carry it out.
    Reserved,
    /// The authority has been asked to carry it out, and may have done it.
    Committing,
    /// Carried out and paid.
    Charged,
    /// Not carried out; nothing was charged.
    Voided,
    /// Nobody agreed in time.
    Lapsed,
    /// It was carried out and charged; the authority has been asked to end what it paid for.
    Undoing,
    /// That has ended, and the charge is given back.
    Undone,
}

impl State {
    /// All there are.
    pub const ALL: [Self; 8] =
        [Self::Offered, Self::Reserved, Self::Committing, Self::Charged, Self::Voided, Self::Lapsed, Self::Undoing, Self::Undone];

    /// As in JSON and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Reserved => "reserved",
            Self::Committing => "committing",
            Self::Charged => "charged",
            Self::Voided => "voided",
            Self::Lapsed => "lapsed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }

    /// Whether somebody still has to do something.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Offered | Self::Reserved | Self::Committing | Self::Undoing)
    }
}

impl FromValue for State {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        let text = String::from_value(value)?;
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("`{text}` is no state of an exchange"))
    }
}

/// An exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeRow {
    /// Whose.
    pub account: AccountId,
    /// Which.
    pub id: RequestId,
    /// Where it stands.
    pub state: State,
    /// What is charged.
    pub charge: Charge,
    /// The card that the terminal named.
    pub card: Option<CardId>,
    /// As the terminal sealed it last; none where it is not needed any more.
    pub envelope: Option<String>,
    /// Until when the price stands.
    pub expires_at: Timestamp,
    /// Why it is undone, where it is.
    pub undo: Option<(UndoReason, String)>,
    /// How often it was driven without coming to its end.
    pub tries: i64,
    /// When it is looked at next.
    pub next_at: Timestamp,
    /// What stood in the way last.
    pub trouble: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
}

/// The ID of a posting of an exchange: the same every time, so that no repeat books twice.
pub fn posting_id(exchange: RequestId, step: &str) -> PostingId {
    let mut hasher = blake3::Hasher::new_derive_key("counterfoil 2026-11 ID of a posting of an exchange");
    hasher.update(exchange.0.as_bytes()).update(step.as_bytes());
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    PostingId::from_bytes(id)
}

impl FromRow for ExchangeRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (account, Exchange(id), state) = (row.column()?, row.column()?, row.column()?);
        let (title, name, currency) = (row.column()?, row.column()?, row.column()?);
        let (amount, operator_part): (i64, i64) = (row.column()?, row.column()?);
        // Neither is negative: the table's CHECKs.
        let price = Money { amount: amount.unsigned_abs(), currency };
        let (card, envelope, expires_at) = (row.column()?, row.column()?, row.column()?);
        let (why, note): (Option<Why>, Option<String>) = (row.column()?, row.column()?);
        Ok(Self {
            account,
            id,
            state,
            charge: Charge { title, name, price, operator_part: operator_part.unsigned_abs() },
            card,
            envelope,
            expires_at,
            undo: why.map(|Why(why)| (why, note.unwrap_or_default())),
            tries: row.column()?,
            next_at: row.column()?,
            trouble: row.column()?,
            created_at: row.column()?,
            changed_at: row.column()?,
        })
    }
}

struct Why(UndoReason);

impl FromValue for Why {
    fn from_value(value: Value<'static>) -> Result<Self, String> {
        match String::from_value(value)?.as_str() {
            "refund" => Ok(Self(UndoReason::Refund)),
            "chargeback" => Ok(Self(UndoReason::Chargeback)),
            other => Err(format!("`{other}` is no reason to undo")),
        }
    }
}

fn why_text(why: UndoReason) -> &'static str {
    match why {
        UndoReason::Refund => "refund",
        UndoReason::Chargeback => "chargeback",
    }
}

/// Notes what is offered, unless the exchange is there already, whoever's it is.
///
/// # Errors
/// A failure of the database.
pub async fn offer(tx: &mut Tx, offer: &ExchangeRow) -> Result<(), DbError> {
    let ExchangeRow { account, id, charge, card, envelope, expires_at, created_at, .. } = offer;
    tx.query(
        "INSERT INTO exchange (account_id, exchange_id, state, title_id, title_name, currency, amount, operator_part, card_id, envelope,
           expires_at, next_at, created_at, changed_at)
         VALUES ($1, $2, 'offered', $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $11) ON CONFLICT (exchange_id) DO NOTHING",
    )
    .bind(account.to_string())
    .bind(id.to_string())
    .bind(charge.title.as_str())
    .bind(&charge.name)
    .bind(charge.price.currency.as_str())
    .bind(minor(charge.price.amount)?)
    .bind(minor(charge.operator_part)?)
    .bind(card.map(|card| card.to_string()))
    .bind(envelope.as_deref())
    .bind(expires_at.0)
    .bind(created_at.0)
    .execute()
    .await
    .map(drop)
}

fn minor(amount: u64) -> Result<i64, DbError> {
    i64::try_from(amount).map_err(|_| DbError::Constraint("an amount is too large".to_owned()))
}

/// Takes over what the authority offers now, while nobody has agreed.
///
/// # Errors
/// A failure of the database.
pub async fn offer_again(tx: &mut Tx, offer: &ExchangeRow) -> Result<bool, DbError> {
    let ExchangeRow { account, id, charge, envelope, expires_at, .. } = offer;
    let changed = tx
        .query(
            "UPDATE exchange SET title_id = $3, title_name = $4, currency = $5, amount = $6, operator_part = $7, envelope = $8, expires_at = $9,
               next_at = $9 WHERE account_id = $1 AND exchange_id = $2 AND state = 'offered'",
        )
        .bind(account.to_string())
        .bind(id.to_string())
        .bind(charge.title.as_str())
        .bind(&charge.name)
        .bind(charge.price.currency.as_str())
        .bind(minor(charge.price.amount)?)
        .bind(minor(charge.operator_part)?)
        .bind(envelope.as_deref())
        .bind(expires_at.0)
        .execute()
        .await?;
    Ok(changed == 1)
}

/// Keeps the envelope as the terminal has sealed it now: the key that an earlier one was sealed to may be gone.
///
/// # Errors
/// A failure of the database.
pub async fn reseal(tx: &mut Tx, account: AccountId, exchange: RequestId, envelope: &str) -> Result<(), DbError> {
    let sql = "UPDATE exchange SET envelope = $3 WHERE account_id = $1 AND exchange_id = $2 AND envelope IS NOT NULL AND envelope <> $3";
    tx.query(sql).bind(account.to_string()).bind(exchange.to_string()).bind(envelope).execute().await.map(drop)
}

/// Moves an exchange on, from the state that it is in, and to no other; it is looked at next at `next_at`. False: it stands elsewhere.
///
/// # Errors
/// A failure of the database.
pub async fn move_on(
    tx: &mut Tx,
    of: (AccountId, RequestId),
    from: State,
    to: State,
    next_at: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    let moved = tx
        .query(
            "UPDATE exchange SET state = $4, next_at = $5, changed_at = $6, tries = 0, trouble = NULL
             WHERE account_id = $1 AND exchange_id = $2 AND state = $3",
        )
        .bind(of.0.to_string())
        .bind(of.1.to_string())
        .bind(from.as_str())
        .bind(to.as_str())
        .bind(next_at.0)
        .bind(now.0)
        .execute()
        .await?;
    if moved == 1 && !to.is_open() {
        let sql = "UPDATE exchange SET envelope = NULL WHERE account_id = $1 AND exchange_id = $2";
        tx.query(sql).bind(of.0.to_string()).bind(of.1.to_string()).execute().await?;
    }
    Ok(moved == 1)
}

/// Writes down why it is undone, before the authority is asked.
///
/// # Errors
/// A failure of the database.
pub async fn begin_undo(tx: &mut Tx, of: (AccountId, RequestId), why: UndoReason, note: &str, now: Timestamp) -> Result<bool, DbError> {
    let begun = tx
        .query(
            "UPDATE exchange SET state = 'undoing', undo_why = $3, undo_note = $4, next_at = $5, changed_at = $5, tries = 0, trouble = NULL
             WHERE account_id = $1 AND exchange_id = $2 AND state = 'charged'",
        )
        .bind(of.0.to_string())
        .bind(of.1.to_string())
        .bind(why_text(why))
        .bind(note)
        .bind(now.0)
        .execute()
        .await?;
    Ok(begun == 1)
}

/// Notes what stands in the way, and when it is tried again; of a charged one, in the way of a chargeback.
///
/// # Errors
/// A failure of the database.
pub async fn put_off(tx: &mut Tx, of: (AccountId, RequestId), trouble: &str, next_at: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE exchange SET tries = tries + 1, trouble = $3, next_at = $4
               WHERE account_id = $1 AND exchange_id = $2 AND state IN ('offered', 'reserved', 'committing', 'charged', 'undoing')";
    tx.query(sql).bind(of.0.to_string()).bind(of.1.to_string()).bind(trouble).bind(next_at.0).execute().await.map(drop)
}

/// An exchange, whoever's it is.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, exchange: RequestId) -> Result<Option<ExchangeRow>, DbError> {
    tx.query(select!("WHERE exchange_id = $1")).bind(exchange.to_string()).opt().await
}

/// Those that are to be looked at, the one that has waited longest first.
///
/// # Errors
/// A failure of the database.
pub async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<ExchangeRow>, DbError> {
    tx.query(select!(
        "WHERE state IN ('offered', 'reserved', 'committing', 'undoing') AND next_at <= $1 ORDER BY next_at, exchange_id LIMIT $2"
    ))
    .bind(now.0)
    .bind(limit)
    .all()
    .await
}

/// Exchanges of an account, newest first, behind the one at `before`.
///
/// # Errors
/// A failure of the database.
pub async fn of_account(tx: &mut Tx, account: AccountId, before: (Timestamp, &str), limit: i64) -> Result<Vec<ExchangeRow>, DbError> {
    tx.query(select!(
        "WHERE account_id = $1 AND (created_at < $2 OR created_at = $2 AND exchange_id < $3)
         ORDER BY created_at DESC, exchange_id DESC LIMIT $4"
    ))
    .bind(account.to_string())
    .bind(before.0.0)
    .bind(before.1)
    .bind(limit)
    .all()
    .await
}

/// All exchanges behind an ID, by ID; only those that are open where that is asked for.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, after: &str, open: bool, limit: i64) -> Result<Vec<ExchangeRow>, DbError> {
    tx.query(select!(
        "WHERE exchange_id > $1 AND (CAST($2 AS BIGINT) = 0 OR state IN ('offered', 'reserved', 'committing', 'undoing'))
             ORDER BY exchange_id LIMIT $3"
    ))
    .bind(after)
    .bind(i64::from(open))
    .bind(limit)
    .all()
    .await
}

/// How many are under way (offers that nobody agreed to are not), and since when the oldest of them.
///
/// # Errors
/// A failure of the database.
pub async fn under_way(tx: &mut Tx) -> Result<(i64, Option<Timestamp>), DbError> {
    tx.query("SELECT count(*), min(changed_at) FROM exchange WHERE state IN ('reserved', 'committing', 'undoing')").one().await
}
