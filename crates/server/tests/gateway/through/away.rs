//! Either side gone for a day, and certificates that change or end while customers are served.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use counterfoil_core::Timestamp;

use super::*;
use crate::support::{TestDb, db_test};

// proves: C17
db_test!(c17_a_gateway_that_was_gone_for_a_day_ends_what_it_had_begun, async |db: TestDb| {
    let rig = Rig::new(&db, 3, 50_000).await;
    let server = &rig.private.server;
    // Reserved and never committed; committed and never heard of; offered and never agreed to.
    let [reserved, committed, offered] = [0, 1, 2].map(|n| rig.claiming(n));
    for claiming in [&reserved, &committed, &offered] {
        assert_eq!(claiming.send(None).await.0.code(), "charge_unconfirmed");
    }
    rig.private.server.app.clock.set(rig.gateway.clock.now());
    for (claiming, state) in [(&reserved, "reserved"), (&committed, "committing")] {
        let row = exchange::find(&rig.gateway, claiming.id()).await.unwrap().unwrap();
        let (account, now) = (row.account, rig.gateway.clock.now());
        let posting = counterfoil_server::gateway::store::exchange::posting_id(row.id, "reserve");
        rig.db
            .write("reserve", account.to_string(), async move |tx: &mut Tx| {
                ledger::reserve(tx, account, posting, row.id, &row.charge, now).await.map(drop)
            })
            .await
            .unwrap();
        let sql = format!("UPDATE exchange SET state = '{state}' WHERE exchange_id = '{}'", claiming.id());
        rig.db.run(Box::leak(sql.into_boxed_str())).await;
    }
    let row = exchange::find(&rig.gateway, committed.id()).await.unwrap().unwrap();
    let envelope = serde_json::from_str(row.envelope.as_deref().unwrap()).unwrap();
    rig.gateway.authority.commit(&counterfoil_core::wire::Prepare { exchange_id: committed.id(), envelope }).await.unwrap();
    assert_eq!(rig.balance().await, Balance { posted: 50_000, reserved: 3998 });
    let shown = rig.get("/v1/account", &rig.token).await.expect(200);
    assert_eq!(shown["balances"], json!([{ "currency": "EUR", "posted": 50_000, "reserved": 3998, "available": 46_002 }]));
    // Gone, and with it everything in memory. Its clients' reservations have run out at the authority, and the price is another.
    rig.later(26 * 60 * 60 * 1000);
    let dearer = json!({ "amount": 2999, "currency": "EUR" });
    server.put_json(&server.fox, &format!("/v1/gateways/{}/prices/{TITLE}", rig.gateway_id), &dearer).await.expect(200);
    counterfoil_server::actions::gateway::sweep(&server.app).await.unwrap();
    let back = assembled(&rig.config, &rig.db, &rig.private).await;
    driver::turn(&back).await.unwrap();
    assert_eq!(rig.state(committed.id()).await, Some(State::Charged), "a key is out");
    assert_eq!(rig.state(reserved.id()).await, Some(State::Voided), "it ran out, and nobody is charged the old price");
    assert_eq!(rig.state(offered.id()).await, Some(State::Lapsed));
    assert_eq!(rig.balance().await, Balance { posted: 48_001, reserved: 0 });
    let compared = rig.settled().await;
    assert_eq!((compared.differences, compared.under_way), (vec![], 0));
    rig.gone().await;
});

// proves: C16
db_test!(c16_no_request_fails_while_the_certificate_changes, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let (stop, answered) = (AtomicBool::new(false), [const { AtomicU32::new(0) }; 4]);
    let customer = async |answered: &AtomicU32| {
        while !stop.load(Ordering::SeqCst) {
            let answer = rig.get("/v1/store/titles", "").await;
            assert_eq!(answer.status, 200, "{}", answer.json());
            answered.fetch_add(1, Ordering::SeqCst);
        }
    };
    let certificates = async {
        // Ten times two thirds of what one is good for: each is followed by the next, on both sides, while requests go through.
        for turn in 1..=10 {
            rig.later(20 * Timestamp::DAY);
            rig.private.listener.renew(rig.private.app()).await.unwrap();
            assert!(rig.gateway.authority.look_after().await.unwrap(), "turn {turn}");
            let seen = answered.each_ref().map(|answered| answered.load(Ordering::SeqCst));
            // Of each: what was under way at the change, and another. No request takes as long as two certificates.
            while std::iter::zip(&answered, seen).any(|(answered, seen)| answered.load(Ordering::SeqCst) < seen + 2) {
                tokio::task::yield_now().await;
            }
        }
        stop.store(true, Ordering::SeqCst);
    };
    futures_util::future::join(certificates, futures_util::future::join_all(answered.iter().map(customer))).await;
    rig.gone().await;
});

// proves: C16, C17
db_test!(c17_what_was_under_way_when_the_certificate_ended_is_ended_once_it_is_enrolled_again, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let asked = rig.claiming(0).request;
    assert_eq!(Claiming { request: asked.clone(), ..rig.claiming(0) }.send(None).await.0.code(), "charge_unconfirmed");
    // Nobody has looked after it for a month.
    rig.later(31 * Timestamp::DAY);
    rig.private.listener.renew(rig.private.app()).await.unwrap();
    let claiming = Claiming { request: asked.clone(), ..rig.claiming(0) };
    let away = claiming.send(Some("1999 EUR")).await.0;
    assert_eq!((away.status.as_u16(), away.code().as_str()), (503, "authority_unavailable"));
    assert!(rig.gateway.authority.look_after().await.is_err(), "what has ended does not renew itself");
    assert_eq!(rig.balance().await.posted, 5000);
    let token = EnrolToken::parse(&rig.private.token(&rig.gateway_id).await).unwrap();
    client::enrol(&rig.config.authority, &token, &rig.private.server.app.clock).await.unwrap();
    assert!(!rig.gateway.authority.look_after().await.unwrap(), "it is taken up without a restart");
    // What the authority had prepared waits there until its price has run out.
    assert_eq!(rig.settled().await.differences, vec![]);
    assert!(is_granted(&rig.claiming(0).answered(Some("1999 EUR")).await.1));
    assert_eq!(rig.balance().await, Balance { posted: 3001, reserved: 0 });
    rig.gone().await;
});
