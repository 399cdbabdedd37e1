//! Fails every statement and every commit of an operation in turn, once and for good (`testing.md`, row 3), and repeats what got no answer
//! (row 2).

use std::time::Duration;

use counterfoil_server::auditor;
use counterfoil_server::db::{DbOptions, Fault, Lasting};
use counterfoil_server::store::audit;
use serde_json::Value;

use super::TestDb;
use super::catalogue::TestServer;
use super::terminal::{exchange, send};

/// Statements in an operation, at most: whoever needs more has this test to tell.
const MOST: u64 = 60;

/// Gives up soon where nothing is to be had.
pub fn impatient(options: &mut DbOptions) {
    options.retry_for = Duration::from_millis(40);
}

/// Fails each statement and each commit in turn while `prepare` makes a fresh request and `effects` counts what it did.
pub async fn break_everywhere(db: &TestDb, server: &TestServer, prepare: impl AsyncFn(usize) -> Vec<u8>, effects: impl AsyncFn() -> i64) {
    let (mut number, mut struck) = (0, 0);
    for lasting in [Lasting::Once, Lasting::ForGood] {
        for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
            for place in 0.. {
                assert!(place < MOST, "the fault never ended");
                let sealed = prepare(number).await;
                number += 1;
                let before = effects().await;
                db.faults.arm(kind(place), lasting);
                let first = send(server, &sealed).await;
                let fired = db.faults.fired();
                db.faults.disarm();
                struck += u64::from(fired > 0);
                let done = effects().await - before;
                if first.status == 200 {
                    assert_eq!(done, 1, "{:?} {lasting:?}: answered without its effect", kind(place));
                } else {
                    assert_eq!((first.status.as_u16(), first.code().as_str()), (503, "unavailable"), "{:?} {lasting:?}", kind(place));
                    assert!(!String::from_utf8_lossy(&first.body).contains("answer"), "no key out");
                    assert!(!first.header("retry-after").is_empty());
                    // Only the loss of a commit's answer leaves it open whether there was an effect.
                    let unknown = matches!(kind(place), Fault::CommitAnswer(_));
                    assert!(done == 0 || unknown, "{:?} {lasting:?}: an effect without an answer", kind(place));
                }
                let repeated: Value = exchange(server, &sealed).await.unwrap();
                assert!(repeated.is_object());
                assert_eq!(effects().await - before, 1, "{:?} {lasting:?}: repeated, one effect", kind(place));
                if fired == 0 {
                    break;
                }
            }
        }
    }
    assert!(struck >= 12, "{struck} faults are too few to prove anything");
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}
