//! The provider fails in every way at every step, and the gateway's database at every statement (testing.md 3): what is taken is booked once, what is
//! granted is paid, and nothing is left at the provider.

use counterfoil_core::{Money, PostingId};
use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::gateway::payments::repay::repay;
use counterfoil_server::gateway::store::exchange::State;
use payment_provider::Kind;

use super::*;
use crate::support::db_test;
use crate::through::{assembled, impatient, is_granted, outcome};

const CARD: &str = "4242424242424242";
const KINDS: [Kind; 6] = [Kind::CutBefore, Kind::CutAfter, Kind::Error500, Kind::RateLimited, Kind::InUse, Kind::HangAfter];
/// Statements of a payment, at most: whoever needs more has this test to tell.
const MOST: u64 = 90;

// proves: C17
db_test!(c17_whatever_the_provider_does_a_top_up_is_booked_once, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    let (mut n, mut met) = (0, 0);
    for kind in KINDS {
        for path in ["POST /v1/customers", "POST /v1/payment_intents", "GET /v1/payment_intents"] {
            n += 1;
            till.rig.db.run("DELETE FROM payment_customer").await;
            till.provider().fault(kind, path, 1);
            let first = till.begin(n, 1000, true).await;
            met += u64::from(first.status == 503);
            assert!(first.status == 200 || first.code() == "payments_unavailable", "{kind:?} {path}: {}", first.json());
            assert_eq!(till.begin(n, 1000, true).await.expect(200)["state"], "waiting", "{kind:?} {path}: again, it goes on");
            till.pay(n, CARD).await;
            till.driven().await;
            assert_eq!(till.row(n).await.state, Stands::Succeeded, "{kind:?} {path}");
            assert_eq!(till.rig.balance().await.posted, i64::from(n) * 1000, "{kind:?} {path}");
            assert!(till.provider().state().faults.is_empty(), "{kind:?} {path} met nothing");
        }
    }
    assert_eq!((intents(&till, "succeeded").len(), till.provider().state().intents.len()), (usize::from(n), usize::from(n)));
    assert!(met >= 15, "{met} faults were met");
    till.clean().await;
    till.gone().await;
});

/// An exchange that a card pays for in part, while something fails; afterwards everything comes to its end. Answers whether it was charged.
async fn exchanged(till: &Till, number: usize, what: &str, repeated: bool, arm: impl FnOnce(), disarm: impl FnOnce()) -> bool {
    let claiming = till.rig.claiming(number);
    arm();
    let first = claiming.send(Some("1999 EUR")).await.0;
    assert!(first.status == 200 || first.status.is_server_error(), "{what}: {}", first.json());
    if repeated {
        claiming.send(Some("1999 EUR")).await.0.expect(200);
    }
    till.turn().await;
    disarm();
    till.driven().await;
    let compared = till.rig.settled().await;
    assert_eq!(compared.differences, vec![], "{what}");
    till.driven().await;
    till.clean().await;
    // It comes back: a key for the charge, or what has ended and cost nothing.
    let (again, reply) = claiming.send(Some("1999 EUR")).await;
    let granted = again.status == 200 && is_granted(&outcome(&till.rig, &again.json(), &reply));
    assert!(granted || again.code() == "exchange_ended", "{what}: {}", again.json());
    till.driven().await;
    till.clean().await;
    let state = till.rig.state(claiming.id()).await;
    assert_eq!(granted, state == Some(State::Charged), "{what}: {state:?}");
    granted
}

// proves: C17
db_test!(c17_whatever_the_provider_does_a_key_is_paid_by_card_once, async |db: TestDb| {
    let till = Till::new(&db, 20, 0).await;
    till.topped_up(1, 500, CARD, true).await;
    let (mut number, mut charged) = (0, 0);
    for kind in KINDS {
        for (path, repeated) in [("POST /v1/payment_intents", false), ("POST /v1/payment_intents", true), ("/capture", false)] {
            let what = format!("{kind:?} {path} {repeated}");
            let provider = till.provider().clone();
            let arm = || provider.fault(kind, path, 1);
            charged += i64::from(exchanged(&till, number, &what, repeated, arm, || provider.state().faults.clear()).await);
            number += 1;
        }
    }
    let taken: i64 = intents(&till, "succeeded").iter().map(|intent| intent["amount_received"].as_i64().unwrap()).sum();
    assert_eq!(taken, charged * 1999 + till.rig.balance().await.posted, "every key is paid, and nothing else");
    assert!(charged >= 12, "{charged} were charged");
    till.gone().await;
});

// proves: C17
db_test!(c17_whatever_fails_at_the_gateway_a_key_is_paid_by_card_once, |options| impatient(options), async |db: TestDb| {
    let till = Till::new(&db, 130, 0).await;
    till.topped_up(1, 500, CARD, true).await;
    let (mut number, mut struck, mut charged) = (0, 0, 0);
    for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
        for place in 0.. {
            assert!(place < MOST, "the fault never ended");
            let faults = &till.rig.db.faults;
            let mut fired = 0;
            let what = format!("{:?}", kind(place));
            let arm = || faults.arm(kind(place), Lasting::ForGood);
            let stop = || {
                fired = faults.fired();
                faults.disarm();
            };
            charged += i64::from(broken_exchange(&till, number, &what, arm, stop).await);
            number += 1;
            struck += u64::from(fired > 0);
            if fired == 0 {
                break;
            }
        }
    }
    let taken: i64 = intents(&till, "succeeded").iter().map(|intent| intent["amount_received"].as_i64().unwrap()).sum();
    assert_eq!(taken, charged * 1999 + till.rig.balance().await.posted, "every key is paid, and nothing else");
    assert!(struck >= 10 && charged >= 3, "{struck} faults, {charged} charged: too few to prove anything");
    till.gone().await;
});

/// As [`exchanged`], where the database is gone while the exchange is carried out: the driver, which needs it, comes after.
async fn broken_exchange(till: &Till, number: usize, what: &str, arm: impl FnOnce(), stop: impl FnOnce()) -> bool {
    let claiming = till.rig.claiming(number);
    arm();
    let first = claiming.send(Some("1999 EUR")).await.0;
    stop();
    assert!(first.status == 200 || first.status.is_server_error(), "{what}: {}", first.json());
    till.driven().await;
    assert_eq!(till.rig.settled().await.differences, vec![], "{what}");
    till.driven().await;
    till.clean().await;
    let (again, reply) = claiming.send(Some("1999 EUR")).await;
    let granted = again.status == 200 && is_granted(&outcome(&till.rig, &again.json(), &reply));
    assert!(granted || again.code() == "exchange_ended", "{what}: {}", again.json());
    till.driven().await;
    till.clean().await;
    granted
}

// proves: C17
db_test!(c17_whatever_fails_at_the_gateway_a_top_up_is_booked_once, |options| impatient(options), async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    let (mut n, mut struck) = (0_u8, 0);
    for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
        for place in 0.. {
            assert!(place < MOST && n < 250, "the fault never ended");
            n += 1;
            let before = till.rig.balance().await.posted;
            till.rig.db.faults.arm(kind(place), Lasting::ForGood);
            let first = till.begin(n, 1000, true).await;
            let mut fired = till.rig.db.faults.fired();
            till.rig.db.faults.disarm();
            assert!(first.status == 200 || first.status.is_server_error(), "{:?}: {}", kind(place), first.json());
            till.begin(n, 1000, true).await.expect(200);
            till.pay(n, CARD).await;
            till.rig.db.faults.arm(kind(place), Lasting::ForGood);
            let shown = till.show(n).await;
            fired += till.rig.db.faults.fired();
            till.rig.db.faults.disarm();
            assert!(shown.status == 200 || shown.status.is_server_error(), "{:?}: {}", kind(place), shown.json());
            till.driven().await;
            assert_eq!(till.row(n).await.state, Stands::Succeeded, "{:?}", kind(place));
            assert_eq!(till.rig.balance().await.posted, before + 1000, "{:?}", kind(place));
            till.clean().await;
            if fired == 0 {
                break;
            }
            struck += 1;
        }
    }
    assert!(struck >= 10, "only {struck} faults struck");
    till.gone().await;
});

// proves: C17
db_test!(c17_whatever_fails_at_the_gateway_money_goes_back_to_a_card_once, |options| impatient(options), async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    till.topped_up(1, 30_000, CARD, false).await;
    let (mut n, mut struck) = (0_u8, 0);
    for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
        for place in 0.. {
            assert!(place < MOST && n < 250, "the fault never ended");
            n += 1;
            let before = till.rig.balance().await.posted;
            let (amount, posting) = (Money { amount: 10, currency: "EUR".parse().unwrap() }, PostingId::from_bytes([n; 16]));
            let give_back = async || repay(&till.rig.gateway, id(1), Some(amount), posting, "operator", "").await;
            till.rig.db.faults.arm(kind(place), Lasting::ForGood);
            let _ = give_back().await;
            let fired = till.rig.db.faults.fired();
            till.rig.db.faults.disarm();
            // It was gone for so long that the provider has forgotten what it was asked.
            till.provider().state().answered.clear();
            till.driven().await;
            assert_eq!(give_back().await.unwrap().state, "succeeded", "{:?}", kind(place));
            assert_eq!(till.rig.balance().await.posted, before - 10, "{:?}", kind(place));
            till.clean().await;
            if fired == 0 {
                break;
            }
            struck += 1;
        }
    }
    assert_eq!(till.provider().state().refunds.len(), usize::from(n), "each went back once");
    assert!(struck >= 10, "only {struck} faults struck");
    till.gone().await;
});

// proves: C17
db_test!(c17_two_processes_and_many_askers_book_a_payment_once, async |db: TestDb| {
    let till = Till::new(&db, 1, 0).await;
    let other = assembled(&till.rig.config, &till.rig.db, &till.rig.private).await;
    for n in 1..=8 {
        let begun = futures_util::future::join_all((0..4).map(|_| till.begin(n, 1000, true))).await;
        assert!(begun.iter().all(|answer| answer.status == 200), "{:?}", begun.iter().map(|answer| answer.json()).collect::<Vec<_>>());
        till.pay(n, CARD).await;
        till.later(60_000);
        let (a, b, shown) = tokio::join!(driver::turn(&till.rig.gateway), driver::turn(&other), till.show(n));
        a.unwrap();
        b.unwrap();
        shown.expect(200);
        till.driven().await;
        assert_eq!(till.rig.balance().await.posted, i64::from(n) * 1000);
    }
    assert_eq!(till.provider().state().intents.len(), 8);
    till.clean().await;
    till.gone().await;
});
