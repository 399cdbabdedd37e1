//! Lots: every top-up is one, and every charge notes which it was paid from, oldest first; so a top-up that the bank takes back ends exactly what it paid for.

use counterfoil_core::{AccountId, Currency, Money, PostingId, RequestId, Timestamp};

use super::posting::{self, Entries, Exchange, Kind, Place, Posting};
use super::{Payee, broken, fee};
use crate::db::{DbError, Tx};

/// How many lots are looked at in one statement.
const SOME: i64 = 64;

/// Begins the lot of a top-up.
pub(super) async fn begin(
    tx: &mut Tx,
    account: AccountId,
    lot: PostingId,
    currency: Currency,
    place: &Place,
    amount: i64,
) -> Result<(), DbError> {
    tx.query("INSERT INTO lot (account_id, lot_id, currency, number, amount, remaining) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(account.to_string())
        .bind(lot.to_string())
        .bind(currency.as_str())
        .bind(place.number)
        .bind(amount)
        .bind(amount)
        .execute()
        .await
        .map(drop)
}

/// Takes an amount from the oldest lots, and notes it of what is reserved. The balance is changed before, so that nobody else takes meanwhile.
pub(super) async fn fund(tx: &mut Tx, account: AccountId, pending: PostingId, currency: Currency, amount: i64) -> Result<(), DbError> {
    let mut missing = amount;
    while missing > 0 {
        let lots = oldest(tx, account, currency).await?;
        if lots.is_empty() {
            return Err(broken("the lots of an account hold less than its balance"));
        }
        for (lot, remaining) in lots {
            let part = remaining.min(missing);
            take(tx, account, pending, &lot, part).await?;
            missing -= part;
            if missing == 0 {
                break;
            }
        }
    }
    Ok(())
}

async fn oldest(tx: &mut Tx, account: AccountId, currency: Currency) -> Result<Vec<(String, i64)>, DbError> {
    let sql = "SELECT lot_id, remaining FROM lot WHERE account_id = $1 AND currency = $2 AND remaining > 0 ORDER BY number LIMIT $3";
    tx.query(sql).bind(account.to_string()).bind(currency.as_str()).bind(SOME).all().await
}

async fn take(tx: &mut Tx, account: AccountId, pending: PostingId, lot: &str, part: i64) -> Result<(), DbError> {
    let sql = "UPDATE lot SET remaining = remaining - $3 WHERE account_id = $1 AND lot_id = $2 AND remaining >= $3";
    if tx.query(sql).bind(account.to_string()).bind(lot).bind(part).execute().await? != 1 {
        return Err(tx.conflict("a lot"));
    }
    tx.query("INSERT INTO funding (account_id, posting_id, lot_id, amount) VALUES ($1, $2, $3, $4)")
        .bind(account.to_string())
        .bind(pending.to_string())
        .bind(lot)
        .bind(part)
        .execute()
        .await
        .map(drop)
}

/// Takes an amount from one lot, and notes it of the posting that takes it. The balance is changed before.
pub(super) async fn take_from(tx: &mut Tx, account: AccountId, pending: PostingId, lot: PostingId, part: i64) -> Result<(), DbError> {
    take(tx, account, pending, &lot.to_string(), part).await
}

/// Whom what was reserved goes back to, in minor units.
pub(super) struct Given {
    /// To the account: its lots are still there.
    pub customer: i64,
    /// To the bank, which has taken the lots back.
    pub bank: i64,
    /// To the bank by way of the payment provider, which held them.
    pub provider: i64,
}

/// What would go back.
pub(super) async fn to_give_back(tx: &mut Tx, account: AccountId, pending: PostingId) -> Result<Given, DbError> {
    let (customer, bank, provider) = tx
        .query(
            "SELECT CAST(COALESCE(SUM(CASE WHEN l.ended_at IS NULL THEN f.amount ELSE 0 END), 0) AS BIGINT),
               CAST(COALESCE(SUM(CASE WHEN l.ended_at IS NULL OR p.receivable <> 0 THEN 0 ELSE f.amount END), 0) AS BIGINT),
               CAST(COALESCE(SUM(CASE WHEN l.ended_at IS NULL OR p.receivable = 0 THEN 0 ELSE f.amount END), 0) AS BIGINT)
             FROM funding f JOIN lot l ON l.account_id = f.account_id AND l.lot_id = f.lot_id
               JOIN posting p ON p.account_id = l.account_id AND p.posting_id = l.lot_id WHERE f.account_id = $1 AND f.posting_id = $2",
        )
        .bind(account.to_string())
        .bind(pending.to_string())
        .one()
        .await?;
    Ok(Given { customer, bank, provider })
}

/// Puts each part back into its lot, those left out that the bank has taken back.
pub(super) async fn give_back(tx: &mut Tx, account: AccountId, pending: PostingId) -> Result<(), DbError> {
    let parts: Vec<(String, i64)> = tx
        .query(
            "SELECT f.lot_id, f.amount FROM funding f JOIN lot l ON l.account_id = f.account_id AND l.lot_id = f.lot_id
             WHERE f.account_id = $1 AND f.posting_id = $2 AND l.ended_at IS NULL ORDER BY f.lot_id",
        )
        .bind(account.to_string())
        .bind(pending.to_string())
        .all()
        .await?;
    for (lot, part) in parts {
        let sql = "UPDATE lot SET remaining = remaining + $3 WHERE account_id = $1 AND lot_id = $2 AND ended_at IS NULL";
        if tx.query(sql).bind(account.to_string()).bind(lot).bind(part).execute().await? != 1 {
            return Err(tx.conflict("a lot"));
        }
    }
    Ok(())
}

/// What came of taking a top-up back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// What was left of it is the bank's; what it has paid for is to be undone.
    Done,
    /// There is no such posting, or it is no top-up.
    Unknown,
    /// It was a voucher: no bank takes that back.
    Voucher,
}

/// The bank takes a top-up back: what is left of it goes there now, and it pays for nothing any more. What it has paid for is [`funded_by`] it, and is
/// undone one by one; what is only reserved goes to the bank when it is voided. `fee`: what the bank asks for that, booked under an ID of its own.
/// Again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn take_back(
    tx: &mut Tx,
    account: AccountId,
    top_up: PostingId,
    posting: PostingId,
    asked: Option<(PostingId, Money)>,
    note: &str,
    now: Timestamp,
) -> Result<Taken, DbError> {
    let Some(lot) = find(tx, account, top_up).await? else { return Ok(Taken::Unknown) };
    if lot.kind != Kind::TopUp {
        return Ok(Taken::Voucher);
    }
    if lot.ended {
        return Ok(Taken::Done);
    }
    let Some(place) = posting::change(tx, account, lot.currency, -lot.rest, 0).await? else { return Err(tx.conflict("a lot")) };
    end(tx, account, top_up, lot.rest, now).await?;
    let booked =
        Posting { refers_to: Some(top_up), entries: lot.returned(lot.rest), ..Posting::new(posting, lot.currency, Kind::Chargeback) };
    Posting { note: note.to_owned(), ..booked }.write(tx, account, &place, now).await?;
    if let Some((id, money)) = asked {
        fee(tx, account, id, (if lot.by_card { Payee::Provider } else { Payee::Bank }, money), note, now).await?;
    }
    Ok(Taken::Done)
}

/// A lot, as far as it matters where it goes.
pub(super) struct Lot {
    pub currency: Currency,
    /// What is left of it.
    pub rest: i64,
    pub ended: bool,
    pub kind: Kind,
    /// A payment provider holds it.
    pub by_card: bool,
}

impl Lot {
    /// The entries by which some of it leaves the account.
    pub fn returned(&self, amount: i64) -> Entries {
        match self.by_card {
            true => Entries { customer: -amount, receivable: amount, ..Entries::default() },
            false => Entries { customer: -amount, cash: amount, ..Entries::default() },
        }
    }
}

/// The lot of a top-up.
pub(super) async fn find(tx: &mut Tx, account: AccountId, lot: PostingId) -> Result<Option<Lot>, DbError> {
    let found: Option<(Currency, i64, Option<i64>, Kind, i64)> = tx
        .query(
            "SELECT l.currency, l.remaining, l.ended_at, p.kind, p.receivable FROM lot l
               JOIN posting p ON p.account_id = l.account_id AND p.posting_id = l.lot_id WHERE l.account_id = $1 AND l.lot_id = $2",
        )
        .bind(account.to_string())
        .bind(lot.to_string())
        .opt()
        .await?;
    let read = |(currency, rest, ended_at, kind, receivable): (_, _, Option<i64>, _, i64)| Lot {
        currency,
        rest,
        ended: ended_at.is_some(),
        kind,
        by_card: receivable != 0,
    };
    Ok(found.map(read))
}

/// Ends a lot that has so much left.
pub(super) async fn end(tx: &mut Tx, account: AccountId, lot: PostingId, rest: i64, now: Timestamp) -> Result<(), DbError> {
    let sql = "UPDATE lot SET remaining = 0, ended_at = $4 WHERE account_id = $1 AND lot_id = $2 AND remaining = $3 AND ended_at IS NULL";
    match tx.query(sql).bind(account.to_string()).bind(lot.to_string()).bind(rest).bind(now.0).execute().await? {
        1 => Ok(()),
        _ => Err(tx.conflict("a lot")),
    }
}

/// Whose a top-up is.
///
/// # Errors
/// A failure of the database.
pub async fn account_of(tx: &mut Tx, top_up: PostingId) -> Result<Option<AccountId>, DbError> {
    let row: Option<(AccountId,)> = tx.query("SELECT account_id FROM lot WHERE lot_id = $1").bind(top_up.to_string()).opt().await?;
    Ok(row.map(|(account,)| account))
}

/// An exchange that a lot pays for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funded {
    /// Which.
    pub exchange: RequestId,
    /// How much of it, in minor units.
    pub amount: i64,
    /// Whether it is charged; else it is only reserved.
    pub charged: bool,
}

/// What a top-up pays for and that is not undone, by exchange after one that was listed before; 200 at most.
///
/// # Errors
/// A failure of the database.
pub async fn funded_by(tx: &mut Tx, account: AccountId, top_up: PostingId, after: Option<RequestId>) -> Result<Vec<Funded>, DbError> {
    let rows: Vec<(Exchange, i64, i64)> = tx
        .query(
            "SELECT r.exchange_id, f.amount, CAST(CASE WHEN c.posting_id IS NULL THEN 0 ELSE 1 END AS BIGINT) FROM funding f
               JOIN posting r ON r.account_id = f.account_id AND r.posting_id = f.posting_id
               LEFT JOIN posting c ON c.account_id = r.account_id AND c.refers_to = r.posting_id
               LEFT JOIN posting u ON u.account_id = c.account_id AND u.refers_to = c.posting_id
             WHERE f.account_id = $1 AND f.lot_id = $2 AND r.exchange_id > $3 AND u.posting_id IS NULL AND (c.kind IS NULL OR c.kind = 'charge')
             ORDER BY r.exchange_id LIMIT 200",
        )
        .bind(account.to_string())
        .bind(top_up.to_string())
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .all()
        .await?;
    Ok(rows.into_iter().map(|(Exchange(exchange), amount, charged)| Funded { exchange, amount, charged: charged != 0 }).collect())
}
