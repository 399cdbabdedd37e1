//! Statements and settlements: closed once, frozen, and the same from the journal.

use counterfoil_core::wire::UndoReason;
use counterfoil_server::gateway::ledger::Period;
use counterfoil_server::gateway::settlement::{GRACE, SettleError};
use counterfoil_server::gateway::statement;

use super::*;
use crate::support::{TestDb, db_test};

fn november() -> Period {
    Period::of(NOVEMBER)
}

async fn statement_of(db: &Db, account: AccountId, period: Period) -> (i64, Vec<(&'static str, i64, i64)>, i64, bool) {
    let (statements, lines) = db
        .read("statement", async move |tx: &mut Tx| -> Result<_, DbError> {
            Ok((statement::of(tx, account, period).await?, statement::lines(tx, account, eur(), period, 0).await?))
        })
        .await
        .unwrap();
    let [one] = &statements[..] else { panic!("{statements:?}") };
    (one.opening, lines.into_iter().map(|line| (line.kind, line.amount, line.balance)).collect(), one.closing, one.closed_at.is_some())
}

// proves: C17
db_test!(c17_a_month_is_settled_once_and_what_comes_late_is_the_nexts, |options| of_a_gateway(options), async |db: TestDb| {
    let (anna, ben) = (account(&db, 1).await, account(&db, 2).await);
    for (n, account) in [(1, anna), (2, ben)] {
        top_up(&db, account, n, 1000, NOVEMBER).await.unwrap();
        reserve(&db, account, n, 199, 140, NOVEMBER).await.unwrap();
        post(&db, account, n, NOVEMBER).await.unwrap();
    }
    reserve(&db, anna, 3, 100, 70, NOVEMBER).await.unwrap();
    undo(&db, ben, 2, UndoReason::Refund, NOVEMBER).await.unwrap();
    let lines = vec![("top_up", 1000, 1000), ("charge", -199, 801)];
    assert_eq!(statement_of(&db, anna, november()).await, (0, lines.clone(), 801, false));

    let end = november().end();
    let early = settle(&db, &november().to_string(), Timestamp(end.0 + GRACE - 1)).await;
    assert!(matches!(early, Err(SettleError::NotOver(_))));
    let now = Timestamp(end.0 + GRACE);
    let settled = settle(&db, &november().to_string(), now).await.unwrap();
    let parts: Vec<_> =
        settled.shares.iter().map(|share| (share.party.as_str(), share.charges, share.charged, share.undone, share.part)).collect();
    assert_eq!(parts, [("gateway", 2, 398, 1, 59), ("operator", 2, 398, 1, 140)]);
    assert_eq!(settled.shares[0].returned, 199);
    assert_eq!(statement_of(&db, anna, november()).await, (0, lines, 801, true));

    // What was reserved then is charged now, by a process whose clock still says November; a new account as well.
    post(&db, anna, 3, NOVEMBER).await.unwrap();
    let carl = account(&db, 3).await;
    top_up(&db, carl, 9, 50, NOVEMBER).await.unwrap();
    let again = settle(&db, &november().to_string(), Timestamp(now.0 + 5)).await.unwrap();
    assert_eq!(again, settled);
    let december = november().next();
    assert_eq!(statement_of(&db, anna, december).await, (801, vec![("charge", -100, 701)], 701, false));
    assert_eq!(statement_of(&db, carl, november()).await, (0, vec![], 0, false));
    assert_eq!(statement_of(&db, carl, december).await, (0, vec![("top_up", 50, 50)], 50, false));
    clean(&db).await;

    // Settling a later month settles those before.
    let later = december.next();
    settle(&db, &later.to_string(), Timestamp(later.end().0 + GRACE)).await.unwrap();
    let between = db.read("settlement", async move |tx| settlement::find(tx, december).await).await.unwrap().unwrap();
    assert_eq!(between.shares.iter().map(|share| share.part).collect::<Vec<_>>(), [30, 70]);
    clean(&db).await;
});

// proves: C17
db_test!(c17_months_are_closed_while_they_are_booked_into, |options| of_a_gateway(options), async |db: TestDb| {
    let now = Timestamp(november().end().0 + GRACE);
    let mut accounts = vec![];
    for n in 0..20 {
        let account = account(&db, n + 1).await;
        top_up(&db, account, u64::from(n), 10_000, NOVEMBER).await.unwrap();
        accounts.push(account);
    }
    let booking = accounts.iter().enumerate().map(|(n, account)| {
        let (db, account) = (db.db.clone(), *account);
        tokio::spawn(async move {
            for round in 0..20 {
                let number = 1000 * (n as u64 + 1) + round;
                reserve(&db, account, number, 100, 70, NOVEMBER).await.unwrap();
                post(&db, account, number, NOVEMBER).await.unwrap();
            }
        })
    });
    let booking: Vec<_> = booking.collect();
    let (first, second) = (db.db.clone(), db.second().await);
    let month = november().to_string();
    let (one, two) = tokio::join!(settle(&first, &month, now), settle(&second, &month, now));
    assert_eq!(one.unwrap(), two.unwrap());
    for side in booking {
        side.await.unwrap();
    }
    assert_eq!(totals(&db).await.operator, 20 * 20 * 70);
    clean(&db).await;
    let december = november().next();
    settle(&db, &december.to_string(), Timestamp(december.end().0 + GRACE)).await.unwrap();
    let parts = db.number("SELECT CAST(SUM(part) AS BIGINT) FROM settlement WHERE party = 'operator'").await;
    assert_eq!(parts, 20 * 20 * 70, "every charge is in one month");
    clean(&db).await;
    second.close().await;
});
