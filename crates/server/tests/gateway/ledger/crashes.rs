//! The Nth statement or COMMIT of everything that the ledger does fails, for every N, once and for good; repeated, it comes to the same (testing.md 3).

use counterfoil_core::wire::UndoReason;
use counterfoil_server::db::{Fault, Lasting};

use super::*;
use crate::support::{TestDb, db_test};

/// Everything once; each step may be repeated.
async fn everything(db: &Db, account: AccountId, base: u64) -> Result<(), DbError> {
    for n in [1, 2] {
        top_up(db, account, base + n, 100, NOVEMBER).await?;
    }
    for (n, price) in [(1, 60), (2, 60), (3, 30), (4, 20)] {
        reserve(db, account, base + n, price, price / 3, NOVEMBER).await?;
    }
    for n in [1, 2, 3] {
        assert!(post(db, account, base + n, NOVEMBER).await?);
    }
    assert!(void(db, account, base + 4, NOVEMBER).await?);
    assert!(undo(db, account, base + 3, UndoReason::Refund, NOVEMBER).await?);
    take_back(db, account, base + 1, NOVEMBER).await?;
    for n in [1, 2] {
        assert!(undo(db, account, base + n, UndoReason::Chargeback, NOVEMBER).await?);
    }
    Ok(())
}

async fn fails_everywhere(db: TestDb, fault: fn(u64) -> Fault, lasting: Lasting) {
    let mut struck = 0;
    for n in 0.. {
        let account = account(&db, u8::try_from(n % 250).unwrap() + 1).await;
        let held = balance(&db, account).await;
        db.faults.arm(fault(n), lasting);
        let result = everything(&db, account, n * 10).await;
        let fired = db.faults.fired();
        db.faults.disarm();
        // Half-way, the books are as good as at the end.
        clean(&db).await;
        if result.is_err() {
            everything(&db, account, n * 10).await.unwrap();
            clean(&db).await;
        }
        assert_eq!(balance(&db, account).await, Balance { posted: held.posted + 100, reserved: 0 }, "after fault {n}");
        if fired == 0 {
            break;
        }
        struck += 1;
    }
    assert!(struck >= 13, "only {struck} faults struck");
}

fn impatient(options: &mut DbOptions) {
    of_a_gateway(options);
    options.retry_for = std::time::Duration::from_millis(20);
}

db_test!(c17_every_statement_fails_once, |options| of_a_gateway(options), async |db| {
    fails_everywhere(db, Fault::Statement, Lasting::Once).await;
});
db_test!(c17_every_statement_fails_for_good, |options| impatient(options), async |db| {
    fails_everywhere(db, Fault::Statement, Lasting::ForGood).await;
});
db_test!(c17_every_commit_fails_for_good, |options| impatient(options), async |db| {
    fails_everywhere(db, Fault::Commit, Lasting::ForGood).await;
});
db_test!(c17_the_answer_to_every_commit_is_lost, |options| impatient(options), async |db| {
    fails_everywhere(db, Fault::CommitAnswer, Lasting::ForGood).await;
});
