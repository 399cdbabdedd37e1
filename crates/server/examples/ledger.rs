//! Ledger postings per second: reservations and charges from many clients, over as many accounts. `bench/run ledger` runs it.
//!
//! `ledger DATABASE [--seconds N] [--clients N] [--accounts N] [--batch N]`: DATABASE is empty, `--batch 1` commits each transaction by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use counterfoil_core::wire::Charge;
use counterfoil_core::{AccountId, Money, PostingId, RequestId, Timestamp};
use counterfoil_server::db::{Db, DbError, DbOptions, DbUrl, Schema, Tx};
use counterfoil_server::gateway::ledger::{self, Source, TopUp};

const NOW: Timestamp = Timestamp(1_794_300_000_000);

fn option(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().expect("a number"))
}

fn id(kind: u8, n: u64) -> [u8; 16] {
    let hash = blake3::hash(&[&[kind], &n.to_be_bytes()[..]].concat());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    id
}

fn account(n: u64) -> AccountId {
    AccountId::from_bytes(id(b'a', n))
}

fn money(amount: u64) -> Money {
    Money { amount, currency: "EUR".parse().expect("a currency") }
}

async fn begin(db: &Db, n: u64) -> Result<(), DbError> {
    let account = account(n);
    db.write("begin", account.to_string(), async move |tx: &mut Tx| -> Result<(), DbError> {
        let sql = "INSERT INTO account (account_id, name, password_hash, created_at) VALUES ($1, $2, '', 1)";
        tx.query(sql).bind(account.to_string()).bind(account.to_string()).execute().await?;
        let posting = PostingId::from_bytes(id(b't', n));
        let (source, actor) = (Source::Cash { fee: 0 }, "bench".to_owned());
        let top_up = TopUp { posting, money: money(1_000_000_000), source, actor, note: String::new() };
        ledger::top_up(tx, account, &top_up, NOW).await.map(drop)
    })
    .await
}

/// Two postings, each in a transaction of its own, as an exchange books them.
async fn charge(db: &Db, n: u64, accounts: u64) -> Result<(), DbError> {
    let account = account(n.wrapping_mul(0x9E37_79B9) % accounts);
    let (pending, posting) = (PostingId::from_bytes(id(b'r', n)), PostingId::from_bytes(id(b'c', n)));
    let exchange = RequestId(uuid::Uuid::from_bytes(id(b'x', n)));
    let title = "sky-raider".parse().expect("a title");
    let charge = Charge { title, name: "Sky Raider".to_owned(), price: money(1999), operator_part: 1400 };
    db.write("reserve", account.to_string(), async move |tx| ledger::reserve(tx, account, pending, exchange, &charge, NOW).await).await?;
    db.write("post", account.to_string(), async move |tx| ledger::post(tx, account, pending, posting, NOW).await).await.map(drop)
}

#[tokio::main]
async fn main() {
    let url: DbUrl = std::env::args().nth(1).expect("a database").parse().expect("the address of a database");
    let (seconds, clients, accounts) = (option("--seconds", 8), option("--clients", 32), option("--accounts", 1000));
    let usual = DbOptions::default();
    let batch = usize::try_from(option("--batch", usual.batch as u64)).expect("a number");
    let db = Db::open_with(&url, DbOptions { schema: Schema::Gateway, batch, ..usual }).await.expect("the database");
    db.migrate().await.expect("the schema");
    futures_util::future::join_all((0..accounts).map(|n| begin(&db, n)))
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .expect("accounts");

    let (next, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    #[expect(clippy::disallowed_methods, reason = "measuring time is what a bench does")]
    let began = Instant::now();
    let running: Vec<_> = (0..clients)
        .map(|_| {
            let (db, next, over) = (db.clone(), Arc::clone(&next), Arc::clone(&over));
            tokio::spawn(async move {
                let mut done = 0;
                while !over.load(Ordering::Relaxed) {
                    charge(&db, next.fetch_add(1, Ordering::Relaxed), accounts).await.expect("a charge");
                    done += 2;
                }
                done
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    over.store(true, Ordering::Relaxed);
    let mut postings = 0u64;
    for client in running {
        postings += client.await.expect("a client");
    }
    let took = began.elapsed().as_secs_f64();
    db.close().await;
    println!("{{\"postings\": {postings}, \"seconds\": {took:.3}, \"per_second\": {:.0}}}", postings as f64 / took);
}
