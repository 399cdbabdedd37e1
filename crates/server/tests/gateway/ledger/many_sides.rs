//! One prepaid account charged from many sides at once (testing.md 7). `COUNTERFOIL_TEST_CHARGES=1000000` for the long run; 10,000 take about a minute here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use counterfoil_core::wire::UndoReason;
use counterfoil_server::db::{Db, DbOptions};
use counterfoil_server::gateway::ledger::Reserved;

use super::*;
use crate::support::{TestDb, db_test};

const SIDES: u64 = 32;
const LOTS: u64 = 40;

#[derive(Default)]
struct Tally {
    next: AtomicU64,
    short: AtomicU64,
    charged: AtomicU64,
    voided: AtomicU64,
    undone: AtomicU64,
    /// Minor units that are charged and not undone, and the operator's part of it.
    kept: AtomicU64,
    operator: AtomicU64,
}

fn charges() -> u64 {
    std::env::var("COUNTERFOIL_TEST_CHARGES").map_or(3_000, |number| number.parse().expect("a number"))
}

/// A price, and the operator's part of it, that a number determines.
fn price(n: u64) -> (u64, u64) {
    let price = 1 + n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 500;
    (price, price - price * 3000 / 10000)
}

async fn side(db: Db, account: AccountId, tally: Arc<Tally>, charges: u64) {
    loop {
        let n = tally.next.fetch_add(1, Ordering::Relaxed);
        if n >= charges {
            return;
        }
        let (price, operator) = price(n);
        let count = |which: &AtomicU64| which.fetch_add(1, Ordering::Relaxed);
        match reserve(&db, account, n, price, operator, NOVEMBER).await.unwrap() {
            Reserved::Short(seen) => {
                // By the time that it is told, another side may have voided what it had reserved.
                assert!(seen.available() >= 0, "{seen:?}");
                count(&tally.short);
            }
            Reserved::Done if n.is_multiple_of(5) => {
                assert!(void(&db, account, n, NOVEMBER).await.unwrap());
                assert!(!post(&db, account, n, NOVEMBER).await.unwrap(), "what is voided is not charged");
                count(&tally.voided);
            }
            Reserved::Done => {
                assert!(post(&db, account, n, NOVEMBER).await.unwrap());
                count(&tally.charged);
                if n.is_multiple_of(7) {
                    assert!(undo(&db, account, n, UndoReason::Refund, NOVEMBER).await.unwrap());
                    count(&tally.undone);
                } else {
                    tally.kept.fetch_add(price, Ordering::Relaxed);
                    tally.operator.fetch_add(operator, Ordering::Relaxed);
                }
            }
        }
    }
}

async fn charged_from_many_sides(db: TestDb) {
    let charges = charges();
    let account = account(&db, 1).await;
    let each = charges * 120 / LOTS;
    for lot in 0..LOTS {
        top_up(&db, account, lot, each, NOVEMBER).await.unwrap();
    }
    let tally = Arc::new(Tally::default());
    // Half of the sides are another process.
    let other = db.second().await;
    let over = Arc::new(AtomicBool::new(false));
    let watching = {
        let (db, over) = (db.db.clone(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                let seen = balance(&db, account).await;
                assert!(seen.reserved >= 0 && seen.available() >= 0, "{seen:?}");
                looks += 1;
                tokio::task::yield_now().await;
            }
            looks
        })
    };
    let sides = (0..SIDES).map(|n| {
        let db = if n % 2 == 0 { db.db.clone() } else { other.clone() };
        tokio::spawn(side(db, account, Arc::clone(&tally), charges))
    });
    for side in sides.collect::<Vec<_>>() {
        side.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(watching.await.unwrap() > 10);

    let of = |which: &AtomicU64| which.load(Ordering::Relaxed);
    let (short, charged, voided, undone) = (of(&tally.short), of(&tally.charged), of(&tally.voided), of(&tally.undone));
    assert_eq!(short + charged + voided, charges);
    assert!(
        short > charges / 20 && charged > charges / 4 && voided > charges / 20 && undone > charges / 40,
        "{short} {charged} {voided} {undone}"
    );
    let left = (each * LOTS) as i64 - of(&tally.kept) as i64;
    assert_eq!(balance(&db, account).await, Balance { posted: left, reserved: 0 });
    let totals = totals(&db).await;
    assert_eq!((totals.customers, totals.operator, totals.cash), (left, of(&tally.operator) as i64, -((each * LOTS) as i64)));
    assert_eq!(totals.operator + totals.gateway, of(&tally.kept) as i64);
    clean(&db).await;
    other.close().await;
}

/// All sides want the same row, and on a busy machine one may wait for longer than a server lets anybody wait: that is not what is tried here.
fn patient(options: &mut DbOptions) {
    of_a_gateway(options);
    options.retry_for = Duration::from_secs(120);
}

// proves: C17
db_test!(c17_one_account_is_charged_from_many_sides_and_never_below_zero, |options| patient(options), charged_from_many_sides);
