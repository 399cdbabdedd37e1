//! Vouchers: good once, for one account, and not to be guessed.

use counterfoil_server::clock::Rng;
use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::gateway::vouchers::{self, Batch, GUESSES};

use super::*;
use crate::support::{TestDb, db_test};

fn batch(expires_at: Option<Timestamp>) -> Batch {
    Batch { name: "shelf".into(), money: Money { amount: 1000, currency: eur() }, expires_at }
}

// proves: C17
db_test!(c17_a_voucher_is_good_once, |options| of_a_gateway(options), async |db: TestDb| {
    let (anna, ben, rng) = (account(&db, 1).await, account(&db, 2).await, Rng::seeded(8));
    let codes = vouchers::make(&db, &batch(None), 3, NOVEMBER, &rng).await.unwrap();
    let code = codes[0].to_string();
    // Many at once, by two accounts.
    let tries = (0..16).map(|n| {
        let (db, code, rng) = (db.db.clone(), code.clone(), rng.clone());
        let who = if n % 2 == 0 { anna } else { ben };
        tokio::spawn(async move { (who, vouchers::redeem(&db, who, &code, NOVEMBER, &rng).await) })
    });
    let mut won = std::collections::BTreeSet::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            (who, Ok(money)) => assert!(
                money.amount == 1000
                    && (won.is_empty() | won.contains(&who) && {
                        won.insert(who);
                        true
                    })
            ),
            (_, Err(problem)) => assert!(["voucher_invalid", "too_many_requests"].contains(&problem.code), "{problem}"),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(balance(&db, anna).await.posted + balance(&db, ben).await.posted, 1000);
    assert_eq!(totals(&db).await.vouchers, -1000);
    clean(&db).await;
    let kept = db.number("SELECT COUNT(*) FROM voucher WHERE booked_at IS NOT NULL").await;
    assert_eq!(kept, 1);
});

// proves: C17
db_test!(c17_guesses_are_counted_and_typing_errors_are_not, |options| of_a_gateway(options), async |db: TestDb| {
    let (anna, rng) = (account(&db, 1).await, Rng::seeded(9));
    let codes = vouchers::make(&db, &batch(Some(Timestamp(NOVEMBER.0 + 10))), 2, NOVEMBER, &rng).await.unwrap();
    let late = vouchers::redeem(&db, anna, &codes[1].to_string(), Timestamp(NOVEMBER.0 + 10), &rng).await.unwrap_err();
    assert_eq!(late.code, "voucher_invalid");
    for _ in 0..GUESSES + 5 {
        assert_eq!(vouchers::redeem(&db, anna, "0000-0000-0000-0000-01", NOVEMBER, &rng).await.unwrap_err().code, "unprocessable");
    }
    let none = |n: u8| counterfoil_core::VoucherCode::from_bytes([n; 10]).to_string();
    let mut codes_of = vec![];
    for n in 0..12 {
        codes_of.push(vouchers::redeem(&db, anna, &none(n), NOVEMBER, &rng).await.unwrap_err().code);
    }
    assert_eq!(codes_of.iter().filter(|code| **code == "voucher_invalid").count() as i64, GUESSES - 1);
    // Not even the right one, until the day is over.
    assert_eq!(vouchers::redeem(&db, anna, &codes[0].to_string(), NOVEMBER, &rng).await.unwrap_err().code, "too_many_requests");
    let fresh = vouchers::make(&db, &batch(None), 1, NOVEMBER, &rng).await.unwrap();
    let tomorrow = Timestamp(NOVEMBER.0 + Timestamp::DAY + 10);
    assert_eq!(vouchers::redeem(&db, anna, &fresh[0].to_string(), tomorrow, &rng).await.unwrap().amount, 1000);
    clean(&db).await;
});

// proves: C17
db_test!(
    c17_a_voucher_that_was_taken_is_booked_after_a_crash,
    |options| {
        of_a_gateway(options);
        options.retry_for = std::time::Duration::from_millis(20);
    },
    async |db: TestDb| {
        let (anna, rng) = (account(&db, 1).await, Rng::seeded(10));
        let mut struck = 0;
        for n in 0.. {
            let code = vouchers::make(&db, &batch(None), 1, NOVEMBER, &rng).await.unwrap().remove(0);
            db.faults.arm(Fault::Statement(n), Lasting::ForGood);
            let redeemed = vouchers::redeem(&db, anna, &code.to_string(), NOVEMBER, &rng).await;
            let fired = db.faults.fired();
            db.faults.disarm();
            vouchers::finish(&db, NOVEMBER).await.unwrap();
            clean(&db).await;
            if redeemed.is_err() && db.number("SELECT COUNT(*) FROM voucher WHERE taken_at IS NULL").await > 0 {
                let later = Timestamp(NOVEMBER.0 + (n as i64 + 1) * 2 * Timestamp::DAY);
                vouchers::redeem(&db, anna, &code.to_string(), later, &rng).await.unwrap();
            }
            assert_eq!(balance(&db, anna).await.posted, 1000 * (n as i64 + 1), "after fault {n}");
            if fired == 0 {
                break;
            }
            struck += 1;
        }
        assert!(struck >= 8, "only {struck} faults struck");
        clean(&db).await;
    }
);
