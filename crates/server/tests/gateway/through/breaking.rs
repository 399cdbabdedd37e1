//! Every step fails on either side (testing.md 2, 3), and the authority is gone: never a key without a charge, never a charge without a key.

use std::time::Duration;

use counterfoil_server::db::{Fault, Lasting};
use counterfoil_server::gateways::listener;

use super::*;
use crate::support::{TestDb, db_test};

/// Statements of an exchange on one side, at most: whoever needs more has this test to tell.
const MOST: u64 = 80;

/// Fails each statement and commit of one side in turn, during a whole exchange; then it is driven to its end without the terminal, and asked for again.
async fn break_everywhere(db: &TestDb, rig: &Rig, gateway: bool) {
    let faults = if gateway { &rig.db.faults } else { &db.faults };
    let (mut number, mut struck, mut charged) = (0, 0, 0);
    for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
        for place in 0.. {
            assert!(place < MOST, "the fault never ended");
            let before = rig.balance().await.posted;
            let claiming = rig.claiming(number);
            number += 1;
            faults.arm(kind(place), Lasting::ForGood);
            let first = claiming.send(Some("1999 EUR")).await.0;
            let fired = faults.fired();
            faults.disarm();
            struck += u64::from(fired > 0);
            assert!(first.status == 200 || first.status.is_server_error(), "{:?}: {}", kind(place), first.json());
            // The terminal is gone for a while; the gateway was restarted.
            let compared = rig.settled().await;
            // What was prepared and never came to the gateway waits at the authority until its price runs out.
            assert_eq!(compared.differences, vec![], "{:?} gateway: {gateway}", kind(place));
            let paid = before - rig.balance().await.posted;
            let state = rig.state(claiming.id()).await;
            assert_eq!(paid == 0, state != Some(State::Charged), "{:?}: {state:?}, paid {paid}", kind(place));
            charged += u64::from(paid > 0);
            // It comes back: a key for the charge, or an exchange that ended and cost nothing.
            let (again, reply) = claiming.send(Some("1999 EUR")).await;
            match again.status.as_u16() {
                200 => assert!(is_granted(&outcome(rig, &again.json(), &reply))),
                _ => assert_eq!((again.code().as_str(), paid), ("exchange_ended", 0), "{:?}", kind(place)),
            }
            let paid = before - rig.balance().await.posted;
            assert_eq!(paid, if again.status == 200 { i64::try_from(PRICE).unwrap() } else { 0 }, "{:?}: charged once", kind(place));
            if fired == 0 {
                break;
            }
        }
    }
    assert!(struck >= 10 && charged >= 3, "{struck} faults, {charged} driven to a charge: too few to prove anything");
}

// proves: C17
db_test!(c17_whatever_fails_at_the_gateway_a_key_is_charged_once, |options| impatient(options), async |db: TestDb| {
    let rig = Rig::new(&db, 120, 400_000).await;
    break_everywhere(&db, &rig, true).await;
    rig.gone().await;
});

// proves: C17
db_test!(c17_whatever_fails_at_the_authority_a_key_is_charged_once, |options| impatient(options), async |db: TestDb| {
    let rig = Rig::new(&db, 200, 400_000).await;
    break_everywhere(&db, &rig, false).await;
    rig.gone().await;
});

// proves: C17
db_test!(c17_while_the_authority_is_gone_nothing_is_charged_and_nothing_is_void, async |db: TestDb| {
    let mut rig = Rig::new(&db, 1, 5000).await;
    let asked = rig.claiming(0).request;
    let offered = Claiming { request: asked.clone(), ..rig.claiming(0) };
    assert_eq!(offered.send(None).await.0.code(), "charge_unconfirmed");
    let address = rig.private.listener.address;
    let (server, listening) = (rig.private.server, rig.private.listener);
    listening.stop(Duration::ZERO).await.unwrap();
    // The listener's place is kept for what comes back.
    rig.private = Private { listener: listener::start(&server.app, "127.0.0.1:0".parse().unwrap()).await.unwrap(), server };
    let claiming = Claiming { request: asked.clone(), ..rig.claiming(0) };
    let gone = claiming.send(Some("1999 EUR")).await.0;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (503, "authority_unavailable"));
    assert_eq!(rig.state(claiming.id()).await, Some(State::Committing));
    assert_eq!(rig.balance().await, Balance { posted: 5000, reserved: 1999 });
    // For a day: it is tried again and again, and never given up.
    for _ in 0..6 {
        rig.later(4 * 60 * 60 * 1000);
        assert_eq!(driver::turn(&rig.gateway).await.unwrap(), 0);
        assert_eq!(rig.balance().await, Balance { posted: 5000, reserved: 1999 });
    }
    let row = exchange::find(&rig.gateway, claiming.id()).await.unwrap().unwrap();
    assert!(row.tries >= 6 && row.trouble.unwrap().contains("authority"), "{} tries", row.tries);
    // It is back. What it makes of a price that ran out a day ago is its own business; both sides agree on it.
    let back = listener::start(&rig.private.server.app, address).await.unwrap();
    let compared = rig.settled().await;
    assert_eq!((compared.differences, compared.under_way), (vec![], 0));
    let state = rig.state(claiming.id()).await;
    assert!(matches!(state, Some(State::Charged | State::Voided)), "{state:?}");
    assert_eq!(rig.balance().await.posted, if state == Some(State::Charged) { 3001 } else { 5000 });
    back.stop(Duration::ZERO).await.unwrap();
    rig.gone().await;
});
