//! Vouchers (C17): codes that are sold elsewhere and top up an account once. Only their hashes are kept.
//!
//! A voucher is taken by an account before it is booked there, each in its own family; what was taken and not booked is booked by [`finish`],
//! so that a crash in between costs nobody anything.

use counterfoil_core::{AccountId, Code, Money, PostingId, Timestamp, VoucherCode};
use serde::Serialize;

use super::ledger::{self, Source, TopUp, ToppedUp};
use crate::clock::Rng;
use crate::db::{Db, DbError, FromRow, Row, Tx, all};
use crate::problem::{ApiCode, Problem};

/// Wrong codes that an account may try in `WINDOW`.
pub const GUESSES: i64 = 10;
/// How long wrong codes are counted.
const WINDOW: i64 = Timestamp::DAY;
/// Rows that are written or read at once.
const PAGE: i64 = 200;

/// Vouchers of one kind, made together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What it is called.
    pub name: String,
    /// What each is worth.
    pub money: Money,
    /// When they end.
    pub expires_at: Option<Timestamp>,
}

/// A voucher as the gateway's operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Voucher {
    /// The first digits of the hash of its code.
    pub voucher: String,
    /// What it was made with.
    pub batch: String,
    /// What it is worth.
    pub money: Money,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Who has redeemed it.
    pub account: Option<AccountId>,
    /// When.
    pub taken_at: Option<Timestamp>,
}

/// The hash that is kept of a code. 80 random bits need no salt and no slow function.
fn hash(code: &VoucherCode) -> [u8; 32] {
    blake3::derive_key("counterfoil 2026-11 code of a voucher", code.as_bytes())
}

/// Makes vouchers and answers with their codes, which are shown this once.
///
/// # Errors
/// A failure of the database; those that were made before it are good for nothing without their codes.
pub async fn make(db: &Db, batch: &Batch, count: u32, now: Timestamp, rng: &Rng) -> Result<Vec<VoucherCode>, DbError> {
    let codes: Vec<VoucherCode> = (0..count).map(|_| VoucherCode::from_bytes(rng.bytes())).collect();
    for codes in codes.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX)) {
        all(codes.iter().map(|code| make_one(db, batch.clone(), hash(code), now))).await?;
    }
    Ok(codes)
}

async fn make_one(db: &Db, batch: Batch, hash: [u8; 32], now: Timestamp) -> Result<(), DbError> {
    db.write("make a voucher", family(&hash), async move |tx: &mut Tx| -> Result<(), DbError> {
        tx.query(
            "INSERT INTO voucher (hash, batch, currency, amount, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash)
        .bind(&batch.name)
        .bind(batch.money.currency.as_str())
        .bind(i64::try_from(batch.money.amount).unwrap_or(i64::MAX))
        .bind(now.0)
        .bind(batch.expires_at.map(|at| at.0))
        .execute()
        .await
        .map(drop)
    })
    .await
}

/// Vouchers of a batch, or of all, after one that was listed before; `PAGE` at most.
///
/// # Errors
/// A failure of the database.
pub async fn list(tx: &mut Tx, batch: Option<&str>, after: &[u8]) -> Result<Vec<(Vec<u8>, Voucher)>, DbError> {
    let sql = "SELECT hash, batch, currency, amount, created_at, expires_at, account_id, taken_at FROM voucher
               WHERE hash > $1 AND ($2 = '' OR batch = $2) ORDER BY hash LIMIT $3";
    let listed: Vec<Listed> = tx.query(sql).bind(after).bind(batch.unwrap_or_default()).bind(PAGE).all().await?;
    Ok(listed.into_iter().map(|Listed(hash, voucher)| (hash, voucher)).collect())
}

struct Listed(Vec<u8>, Voucher);

impl FromRow for Listed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let hash: Vec<u8> = row.column()?;
        let voucher = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let (batch, currency, amount): (String, _, i64) = (row.column()?, row.column()?, row.column()?);
        let money = Money { currency, amount: amount.unsigned_abs() };
        let (created_at, expires_at, account, taken_at) = (row.column()?, row.column()?, row.column()?, row.column()?);
        Ok(Self(hash, Voucher { voucher, batch, money, created_at, expires_at, account, taken_at }))
    }
}

/// Redeems a voucher for an account: the account gets what it is worth. Again by the same account, it answers the same.
///
/// # Errors
/// `voucher_invalid`; `payment_refused` where the balance would hold too much; `too_many_requests` after [`GUESSES`] wrong codes in a day; or a
/// failure of the database, after which the same code may be sent again.
pub async fn redeem(db: &Db, account: AccountId, typed: &str, now: Timestamp, rng: &Rng) -> Result<Money, Problem> {
    // A typing error is told before anything is counted: the check characters show it.
    let code = typed.parse::<VoucherCode>().map_err(|error| Problem::with(ApiCode::Unprocessable, format!("`code`: {error}")))?;
    let hash = hash(&code);
    if !db.write("count a guess", account.to_string(), async move |tx| guess(tx, account, now).await).await? {
        return Err(too_many());
    }
    let posting = PostingId::from_bytes(rng.bytes());
    let taken = db.write("take a voucher", family(&hash), async move |tx| take(tx, hash, account, posting, now).await).await?;
    let Some(taken) = taken else { return Err(Code::VoucherInvalid.into()) };
    db.write("a right guess", account.to_string(), async move |tx| guessed(tx, account).await).await?;
    let money = taken.money;
    if book(db, taken, now).await? { Ok(money) } else { Err(Code::PaymentRefused.into()) }
}

fn too_many() -> Problem {
    let status = axum::http::StatusCode::TOO_MANY_REQUESTS;
    let hint = "Wait a day, or ask whoever sold the voucher.".to_owned();
    Problem {
        hint: hint.into(),
        retry_after: Some(3600),
        ..Problem::new(status, "too_many_requests", "too many vouchers were tried that are none")
    }
}

/// Counts a guess before the code is looked at, so that many at once are counted as well; false where there were too many.
async fn guess(tx: &mut Tx, account: AccountId, now: Timestamp) -> Result<bool, DbError> {
    let changed = tx
        .query(
            "INSERT INTO voucher_guess (account_id, since, wrong) VALUES ($1, $2, 1) ON CONFLICT (account_id) DO UPDATE SET
               since = CASE WHEN voucher_guess.since <= $3 THEN excluded.since ELSE voucher_guess.since END,
               wrong = CASE WHEN voucher_guess.since <= $3 THEN 1 ELSE voucher_guess.wrong + 1 END
             WHERE voucher_guess.since <= $3 OR voucher_guess.wrong < $4",
        )
        .bind(account.to_string())
        .bind(now.0)
        .bind(now.0 - WINDOW)
        .bind(GUESSES)
        .execute()
        .await?;
    Ok(changed == 1)
}

async fn guessed(tx: &mut Tx, account: AccountId) -> Result<(), DbError> {
    let sql = "UPDATE voucher_guess SET wrong = wrong - 1 WHERE account_id = $1 AND wrong > 0";
    tx.query(sql).bind(account.to_string()).execute().await.map(drop)
}

/// A voucher that belongs to an account, booked or not.
#[derive(Clone, Debug)]
struct Redeemed {
    hash: [u8; 32],
    account: AccountId,
    posting: PostingId,
    money: Money,
    batch: String,
}

impl FromRow for Redeemed {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (hash, account, posting, currency) = (row.column()?, row.column()?, row.column()?, row.column()?);
        let amount: i64 = row.column()?;
        Ok(Self { hash, account, posting, money: Money { currency, amount: amount.unsigned_abs() }, batch: row.column()? })
    }
}

async fn take(tx: &mut Tx, hash: [u8; 32], account: AccountId, posting: PostingId, now: Timestamp) -> Result<Option<Redeemed>, DbError> {
    let sql = "UPDATE voucher SET account_id = $2, posting_id = $3, taken_at = $4
               WHERE hash = $1 AND account_id IS NULL AND (expires_at IS NULL OR expires_at > $4)";
    tx.query(sql).bind(hash).bind(account.to_string()).bind(posting.to_string()).bind(now.0).execute().await?;
    let sql = "SELECT hash, account_id, posting_id, currency, amount, batch FROM voucher WHERE hash = $1 AND account_id = $2";
    tx.query(sql).bind(hash).bind(account.to_string()).opt().await
}

/// Books a voucher that was taken; false where the balance would hold too much, and then it is anybody's again.
async fn book(db: &Db, taken: Redeemed, now: Timestamp) -> Result<bool, DbError> {
    let Redeemed { hash, account, posting, money, batch } = taken;
    let top_up = TopUp { posting, money, source: Source::Voucher, actor: account.to_string(), note: batch };
    let topped = db.write("book a voucher", account.to_string(), async move |tx| ledger::top_up(tx, account, &top_up, now).await).await?;
    let fits = topped != ToppedUp::Unfit;
    db.write("voucher booked", family(&hash), async move |tx: &mut Tx| -> Result<(), DbError> {
        let sql = if fits {
            "UPDATE voucher SET booked_at = $2 WHERE hash = $1 AND posting_id = $3 AND booked_at IS NULL"
        } else {
            "UPDATE voucher SET account_id = NULL, posting_id = NULL, taken_at = NULL WHERE hash = $1 AND taken_at <= $2 AND posting_id = $3
               AND booked_at IS NULL"
        };
        tx.query(sql).bind(hash).bind(now.0).bind(posting.to_string()).execute().await.map(drop)
    })
    .await?;
    Ok(fits)
}

/// Books what was taken and not booked, by a process that was killed in between; answers how many.
///
/// # Errors
/// A failure of the database.
pub async fn finish(db: &Db, now: Timestamp) -> Result<usize, DbError> {
    let left: Vec<Redeemed> = db
        .read("vouchers to book", async move |tx: &mut Tx| -> Result<_, DbError> {
            let sql = "SELECT hash, account_id, posting_id, currency, amount, batch FROM voucher
                       WHERE taken_at IS NOT NULL AND booked_at IS NULL ORDER BY taken_at, hash LIMIT $1";
            tx.query(sql).bind(PAGE).all().await
        })
        .await?;
    let count = left.len();
    for taken in left {
        book(db, taken, now).await?;
    }
    Ok(count)
}

/// A voucher is its own family.
fn family(hash: &[u8; 32]) -> String {
    format!("/voucher/{}", hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>())
}
