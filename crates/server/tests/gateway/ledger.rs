//! The ledger of a gateway (C17, testing.md 7): what is booked, on both engines, from many sides, through crashes, and against a plain model.

mod audited;
mod chargebacks;
mod crashes;
mod many_sides;
mod model;
mod months;
mod vouchers;

use counterfoil_core::wire::{Charge, UndoReason};
use counterfoil_core::{AccountId, Currency, Money, PostingId, RequestId, Timestamp};
use counterfoil_server::db::{Db, DbError, DbOptions, Schema, Tx};
use counterfoil_server::gateway::ledger::{self, Balance, Reserved, Source, Taken, TopUp, ToppedUp};
use counterfoil_server::gateway::{books, settlement};

pub const NOVEMBER: Timestamp = Timestamp(1_794_300_000_000);

pub fn of_a_gateway(options: &mut DbOptions) {
    options.schema = Schema::Gateway;
}

pub fn eur() -> Currency {
    "EUR".parse().unwrap()
}

/// The IDs of postings, as an exchange has them: derived, so that a repeat has the same.
pub fn posting(of: &str, n: u64) -> PostingId {
    let hash = blake3::hash(format!("{of} {n}").as_bytes());
    PostingId::from_bytes(hash.as_bytes()[..16].try_into().unwrap())
}

pub fn exchange(n: u64) -> RequestId {
    RequestId(uuid::Uuid::from_u128(u128::from(n)))
}

pub async fn account(db: &Db, n: u8) -> AccountId {
    let account = AccountId::from_bytes([n; 16]);
    db.write("make account", account.to_string(), async move |tx: &mut Tx| -> Result<u64, DbError> {
        let sql = "INSERT INTO account (account_id, name, password_hash, created_at) VALUES ($1, $2, '', 1) ON CONFLICT DO NOTHING";
        tx.query(sql).bind(account.to_string()).bind(format!("account {n}")).execute().await
    })
    .await
    .unwrap();
    account
}

pub async fn top_up(db: &Db, account: AccountId, n: u64, amount: u64, now: Timestamp) -> Result<ToppedUp, DbError> {
    let money = Money { amount, currency: eur() };
    let top_up = TopUp { posting: posting("top up", n), money, source: Source::Cash { fee: 0 }, actor: "test".into(), note: String::new() };
    db.write("top up", account.to_string(), async move |tx| ledger::top_up(tx, account, &top_up, now).await).await
}

pub fn charge(price: u64, operator_part: u64) -> Charge {
    let price = Money { amount: price, currency: eur() };
    Charge { title: "sky-raider".parse().unwrap(), name: "Sky Raider".into(), price, operator_part }
}

/// As the gateway does it: the exchange's state and the posting in one transaction.
pub async fn reserve(db: &Db, account: AccountId, n: u64, price: u64, operator: u64, now: Timestamp) -> Result<Reserved, DbError> {
    db.write("reserve", account.to_string(), async move |tx: &mut Tx| -> Result<Reserved, DbError> {
        let reserved = ledger::reserve(tx, account, posting("reserve", n), exchange(n), &charge(price, operator), now).await?;
        if reserved == Reserved::Done {
            let sql = "INSERT INTO exchange (account_id, exchange_id, state, title_id, title_name, currency, amount, operator_part, expires_at, next_at,
                         created_at, changed_at) VALUES ($1, $2, 'reserved', 't', 'T', 'EUR', $3, $4, $5, $5, $5, $5) ON CONFLICT DO NOTHING";
            let query = tx.query(sql).bind(account.to_string()).bind(exchange(n).to_string());
            query.bind(i64::try_from(price).unwrap()).bind(i64::try_from(operator).unwrap()).bind(now.0).execute().await?;
        }
        Ok(reserved)
    })
    .await
}

async fn state(tx: &mut Tx, account: AccountId, n: u64, state: &'static str) -> Result<(), DbError> {
    let sql = "UPDATE exchange SET state = $3 WHERE account_id = $1 AND exchange_id = $2";
    tx.query(sql).bind(account.to_string()).bind(exchange(n).to_string()).bind(state).execute().await.map(drop)
}

pub async fn post(db: &Db, account: AccountId, n: u64, now: Timestamp) -> Result<bool, DbError> {
    db.write("post", account.to_string(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        let done = ledger::post(tx, account, posting("reserve", n), posting("post", n), now).await?;
        if done {
            state(tx, account, n, "charged").await?;
        }
        Ok(done)
    })
    .await
}

pub async fn void(db: &Db, account: AccountId, n: u64, now: Timestamp) -> Result<bool, DbError> {
    db.write("void", account.to_string(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        let done = ledger::void(tx, account, posting("reserve", n), posting("void", n), now).await?;
        if done {
            state(tx, account, n, "voided").await?;
        }
        Ok(done)
    })
    .await
}

pub async fn undo(db: &Db, account: AccountId, n: u64, why: UndoReason, now: Timestamp) -> Result<bool, DbError> {
    db.write("undo", account.to_string(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        let done = ledger::undo(tx, account, posting("post", n), posting("undo", n), why, "as asked", now).await?;
        if done {
            state(tx, account, n, "undone").await?;
        }
        Ok(done)
    })
    .await
}

pub async fn take_back(db: &Db, account: AccountId, n: u64, now: Timestamp) -> Result<Taken, DbError> {
    let (top_up, booked) = (posting("top up", n), posting("take back", n));
    db.write("take back", account.to_string(), async move |tx| ledger::take_back(tx, account, top_up, booked, None, "bank", now).await)
        .await
}

pub async fn balance(db: &Db, account: AccountId) -> Balance {
    db.read("balance", async move |tx| ledger::balance(tx, account, &eur()).await).await.unwrap()
}

pub async fn totals(db: &Db) -> books::Totals {
    let totals = db.read("totals", async |tx| books::totals(tx).await).await.unwrap();
    totals.into_iter().find(|totals| totals.currency == eur()).unwrap()
}

/// Puts the exchange of a charge that was undone back to where it is, after a repeat of the charge has set it.
pub async fn state_again(db: &Db, account: AccountId, n: u64) {
    db.write("state", account.to_string(), async move |tx: &mut Tx| state(tx, account, n, "undone").await).await.unwrap();
}

/// The auditor finds nothing, and everything together comes to nothing.
pub async fn clean(db: &Db) {
    assert_eq!(books::check(db).await.unwrap(), vec![]);
    for books::Totals { customers, operator, gateway, cash, fees, vouchers, receivable, .. } in
        db.read("totals", async |tx| books::totals(tx).await).await.unwrap()
    {
        assert_eq!(customers + operator + gateway + cash + fees + vouchers + receivable, 0);
    }
}

/// Settles a month in the test's own words.
pub async fn settle(db: &Db, period: &str, now: Timestamp) -> Result<settlement::Settlement, settlement::SettleError> {
    settlement::settle(db, period.parse().unwrap(), now).await
}
