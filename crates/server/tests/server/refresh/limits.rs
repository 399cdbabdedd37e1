//! What one medium and one device may ask for, from whatever addresses.

use counterfoil_core::Code;
use counterfoil_core::wire::{Inspect, Operation};
use serde_json::json;

use super::support::{TestDb, db_test};
use super::terminal::{Medium, Terminal, media, request, send};
use super::{TestServer, look};
use counterfoil_format::secret::Secret;

db_test!(a_medium_that_asks_too_much_waits_and_whoever_guesses_its_id_locks_nobody_out, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.medium_requests_per_second = 1;
        config.limits.medium_burst = 2;
    })
    .await;
    let both = media(&server, "sky-raider", 2, json!({})).await;
    let sent = async |medium: &Medium| send(&server, &Terminal::new().sealed(&server, &request(&server, look(medium)), Some(medium))).await;
    let forged = Medium { secret: Secret::new([1; 32]), ..both[0].clone() };
    for _ in 0..5 {
        assert_eq!(sent(&forged).await.status, 200, "refused, and not counted");
    }
    assert!(sent(&both[0]).await.status == 200 && sent(&both[0]).await.status == 200);
    let waits = sent(&both[0]).await;
    assert_eq!((waits.status.as_u16(), waits.code().as_str()), (429, Code::RateLimited.as_str()));
    assert!(waits.header("retry-after").parse::<u32>().unwrap() >= 1);
    assert_eq!(sent(&both[1]).await.status, 200, "another medium is not concerned");
});

db_test!(a_device_that_asks_too_much_waits, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.limits.device_requests_per_second = 1;
        config.limits.device_burst = 3;
    })
    .await;
    let (one, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let sent = async |terminal: &Terminal| {
        let operation = Operation::Inspect(Inspect { device_id: terminal.device_id(), ..Inspect::default() });
        send(&server, &terminal.sealed(&server, &request(&server, operation), None)).await
    };
    // Its registration was the first.
    assert!(sent(&one).await.status == 200 && sent(&one).await.status == 200);
    let waits = sent(&one).await;
    assert_eq!((waits.status.as_u16(), waits.code().as_str()), (429, "rate_limited"));
    assert!(!waits.header("retry-after").is_empty());
    assert_eq!(sent(&other).await.status, 200);
});
