//! How much one gateway may ask, and what its customers see of that.

use axum::http::header::RETRY_AFTER;

use super::{Private, said};
use crate::support::{TestDb, db_test};
use crate::through::Rig;

// proves: C16
db_test!(c16_a_gateway_that_asks_too_much_waits_and_no_other_does, async |db: TestDb| {
    let private = Private::with(&db, |config| (config.gateways.requests_per_second, config.gateways.burst) = (1, 3)).await;
    let (arcade, bazaar) = (private.enrolled("Arcade").await, private.enrolled("Bazaar").await);
    let client = arcade.client(&private);
    let ask = async || client.get(private.url("/v1/gateway/prices")).send().await.unwrap();
    for _ in 0..3 {
        assert_eq!(ask().await.status(), 200);
    }
    let held = ask().await;
    assert_eq!(held.status(), 429);
    let wait: u32 = held.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(said(held).await.unwrap().1["code"], "rate_limited");
    assert_eq!(bazaar.get(&private, "/v1/gateway/prices").await.unwrap().0, 200);
    // It is the gateway that is counted, and not its connection or its certificate.
    let other = arcade.client(&private);
    assert_eq!(other.get(private.url("/v1/store/titles")).send().await.unwrap().status(), 429);
});

// proves: C16, C17
db_test!(c17_where_the_authority_has_had_enough_the_gateway_says_when_to_come_back, async |db: TestDb| {
    let private = Private::with(&db, |config| (config.gateways.requests_per_second, config.gateways.burst) = (1, 2)).await;
    let rig = Rig::over(private, &db, 1, 5000).await;
    let claiming = rig.claiming(0);
    // What was reserved stays so until the authority has said what came of it; nothing is charged twice.
    let mut held = 0;
    for _ in 0..6 {
        let (answer, _) = claiming.send(Some("1999 EUR")).await;
        match answer.status.as_u16() {
            200 => {}
            503 => {
                assert_eq!(answer.code(), "authority_unavailable");
                assert!((1..=2).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
                held += 1;
            }
            other => panic!("{other}: {}", answer.json()),
        }
        let store = rig.get("/v1/store/titles", "").await;
        assert!(store.status == 200 || (store.status == 503 && store.header("retry-after").parse::<u32>().is_ok()), "{}", store.status);
        held += u32::from(store.status == 503);
    }
    assert!(held >= 2, "{held}");
    let balance = rig.balance().await;
    assert_eq!(balance.available(), 3001, "reserved or charged, once");
    rig.gone().await;
});
