//! One medium, and several who want it: between the steps, and at once.

use counterfoil_core::Code;
use counterfoil_core::wire::ExchangeState as State;
use futures_util::future::join_all;

use super::counter::{Wanted, bought, gateway, is_sound};
use crate::support::catalogue::{TestServer, publish};
use crate::support::terminal::Terminal;
use crate::support::{TestDb, db_test};

db_test!(c17_who_is_too_late_is_refused_and_charged_nothing, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let reseller = gateway(&db, "reseller", true, &[("sky-raider", "5.00 EUR")]).await;
    let medium = &bought(&server, "sky-raider", 1).await[0];
    let (anna, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let (annas, bens) = (Wanted::claim(&server, &anna, medium), Wanted::claim(&server, &ben, medium));
    annas.prepare(&server, &reseller).await.unwrap();
    bens.prepare(&server, &reseller).await.unwrap();
    let twice = Wanted::claim(&server, &anna, medium);
    twice.prepare(&server, &reseller).await.unwrap();
    assert_eq!(annas.commit(&server, &reseller).await.unwrap().state, State::Committed);
    for _ in 0..2 {
        let step = bens.commit(&server, &reseller).await.unwrap();
        assert_eq!((step.state, bens.refused(&server, &step)), (State::Refused, Code::MediumSpent));
        // Her own second exchange gets her the same grants again, and is not charged.
        let step = twice.commit(&server, &reseller).await.unwrap();
        assert_eq!((step.state, twice.grants(&server, &step).len()), (State::Refused, 1));
    }
    assert_eq!(db.number("SELECT count(*) FROM gateway_exchange WHERE state = 'committed'").await, 1);
    is_sound(&server, &db).await;
});

db_test!(c17_two_gateways_and_a_direct_claim_at_once_make_one_copy_and_one_charge_at_most, async |db: TestDb| {
    const ROUNDS: usize = 12;
    let server = TestServer::new(&db).await;
    let process = server.another(&db, |_| ()).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let prices: &[(&str, &str)] = &[("sky-raider", "5.00 EUR")];
    let (one, two) = (gateway(&db, "one", true, prices).await, gateway(&db, "two", true, prices).await);
    let media = bought(&server, "sky-raider", ROUNDS as i64).await;
    let people = join_all((0..3).map(|_| Terminal::registered(&server))).await;
    let (mut charged, mut direct) = (0, 0);
    for (round, medium) in media.iter().enumerate() {
        let (first, second) = (Wanted::claim(&server, &people[0], medium), Wanted::claim(&server, &people[1], medium));
        first.prepare(&server, &one).await.unwrap();
        second.prepare(&process, &two).await.unwrap();
        let claim = async {
            // Now and then the one without a gateway is late.
            if round % 3 != 0 {
                tokio::task::yield_now().await;
            }
            people[2].claim(&server, medium).await
        };
        let (a, again, b, c) = tokio::join!(
            first.commit(&server, &one),
            // The driver of the same gateway, which believes that the first attempt was lost.
            first.commit(&process, &one),
            second.commit(&process, &two),
            claim
        );
        let (a, again, b) = (a.unwrap(), again.unwrap(), b.unwrap());
        assert_eq!(a.state, again.state, "one exchange has one end");
        let won = [a.state, b.state].iter().filter(|state| **state == State::Committed).count();
        assert_eq!(won + usize::from(c.is_ok()), 1, "{:?} {:?} {:?}", a.state, b.state, c.map(|_| ()));
        assert!([a.state, b.state].iter().all(|state| matches!(state, State::Committed | State::Refused)));
        charged += won;
        direct += usize::from(won == 0);
    }
    assert_eq!(charged + direct, ROUNDS);
    assert_eq!(db.number("SELECT count(*) FROM grants").await, ROUNDS as i64);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE exchange_id IS NOT NULL").await, charged as i64);
    is_sound(&server, &db).await;
});
