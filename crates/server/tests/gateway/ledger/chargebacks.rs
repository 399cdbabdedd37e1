//! What the bank takes back ends exactly what it paid for.

use counterfoil_core::wire::UndoReason;
use counterfoil_server::gateway::ledger::{self, Reserved, Taken};

use super::*;
use crate::support::{TestDb, db_test};

/// Two top-ups of 100; charges 1 (60, from the first), 2 (60, from both), 3 (30, from the second); 4 is only reserved (20, from the second).
async fn bought(db: &TestDb) -> AccountId {
    let account = account(db, 1).await;
    for n in [1, 2] {
        assert_eq!(top_up(db, account, n, 100, NOVEMBER).await.unwrap(), ToppedUp::Done);
    }
    for (n, price) in [(1, 60), (2, 60), (3, 30), (4, 20)] {
        assert_eq!(reserve(db, account, n, price, price / 2, NOVEMBER).await.unwrap(), Reserved::Done);
    }
    for n in [1, 2, 3] {
        assert!(post(db, account, n, NOVEMBER).await.unwrap());
    }
    clean(db).await;
    account
}

async fn funded(db: &TestDb, account: AccountId, n: u64) -> Vec<(RequestId, i64, bool)> {
    let found = db.read("funded", async move |tx| ledger::funded_by(tx, account, posting("top up", n), None).await).await.unwrap();
    found.into_iter().map(|one| (one.exchange, one.amount, one.charged)).collect()
}

// proves: C17
db_test!(c17_a_chargeback_ends_exactly_what_it_paid_for, |options| of_a_gateway(options), async |db: TestDb| {
    let account = bought(&db).await;
    assert_eq!(balance(&db, account).await, Balance { posted: 50, reserved: 20 });
    assert_eq!(funded(&db, account, 1).await, [(exchange(1), 60, true), (exchange(2), 40, true)]);
    assert_eq!(take_back(&db, account, 1, NOVEMBER).await.unwrap(), Taken::Done);
    assert_eq!(balance(&db, account).await, Balance { posted: 50, reserved: 20 }, "nothing was left of it");
    clean(&db).await;
    for n in [1, 2] {
        assert!(undo(&db, account, n, UndoReason::Chargeback, NOVEMBER).await.unwrap());
        clean(&db).await;
    }
    // 20 of exchange 2 came from the second lot, and are the account's again.
    assert_eq!(balance(&db, account).await, Balance { posted: 70, reserved: 20 });
    assert_eq!(funded(&db, account, 1).await, []);
    let totals = totals(&db).await;
    assert_eq!((totals.cash, totals.operator, totals.gateway, totals.customers), (-100, 15, 15, 70));
    // Again, it changes nothing.
    assert_eq!(take_back(&db, account, 1, NOVEMBER).await.unwrap(), Taken::Done);
    assert!(undo(&db, account, 1, UndoReason::Chargeback, NOVEMBER).await.unwrap());
    assert_eq!(super::totals(&db).await, totals);
});

// proves: C17
db_test!(c17_what_was_only_reserved_goes_to_the_bank_when_it_is_voided, |options| of_a_gateway(options), async |db: TestDb| {
    let account = bought(&db).await;
    assert_eq!(take_back(&db, account, 2, NOVEMBER).await.unwrap(), Taken::Done);
    // 50 were left of it, less 20 that are reserved.
    assert_eq!(balance(&db, account).await, Balance { posted: 20, reserved: 20 });
    assert_eq!(funded(&db, account, 2).await, [(exchange(2), 20, true), (exchange(3), 30, true), (exchange(4), 20, false)]);
    assert!(void(&db, account, 4, NOVEMBER).await.unwrap());
    assert_eq!(balance(&db, account).await, Balance { posted: 0, reserved: 0 });
    clean(&db).await;
    // A refund asked for by the user comes to the same: the bank has had the money of exchange 3 already.
    assert!(undo(&db, account, 3, UndoReason::Refund, NOVEMBER).await.unwrap());
    assert!(undo(&db, account, 2, UndoReason::Chargeback, NOVEMBER).await.unwrap());
    assert_eq!(balance(&db, account).await, Balance { posted: 40, reserved: 0 });
    assert_eq!(totals(&db).await.cash, -100);
    clean(&db).await;
});

// proves: C17
db_test!(c17_a_refund_reverses_exactly, |options| of_a_gateway(options), async |db: TestDb| {
    let account = bought(&db).await;
    let before = totals(&db).await;
    reserve(&db, account, 9, 29, 20, NOVEMBER).await.unwrap();
    post(&db, account, 9, NOVEMBER).await.unwrap();
    let charged = totals(&db).await;
    assert_eq!((charged.customers, charged.operator, charged.gateway), (before.customers - 29, before.operator + 20, before.gateway + 9));
    assert!(undo(&db, account, 9, UndoReason::Refund, NOVEMBER).await.unwrap());
    let after = totals(&db).await;
    assert_eq!(books::Totals { postings: before.postings, ..after }, before);
    assert!(matches!(take_back(&db, account, 7, NOVEMBER).await.unwrap(), Taken::Unknown));
    clean(&db).await;
});
