//! The Nth statement or commit fails, for every N, once and for good, in each operation of terminals: all or nothing, and no key out
//! (`testing.md`, row 3). What got no answer is repeated and has one effect (row 2).

use crate::support;
use crate::support::breaking::{break_everywhere, impatient};
use crate::support::catalogue;
use crate::support::sales;
use crate::support::terminal;

use catalogue::TestServer;
use counterfoil_core::DeviceId;
use counterfoil_core::rules::order::Collection;
use counterfoil_core::wire::{AddDevice, ClaimResult, Inspect, Operation};
use sales::{order_operation, refund_operation, sell_many};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Medium, Terminal, answer, exchange, media, random, request, send};

db_test!(a_broken_registration_is_made_whole_by_its_repeat, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let fresh = async |_| {
        let terminal = Terminal::new();
        terminal.sealed(&server, &request(&server, terminal.register_operation(None)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM user_entry").await).await;
    let entries = db.number("SELECT count(*) FROM user_entry").await;
    assert_eq!(db.number("SELECT count(*) FROM user_device").await, entries);
    assert_eq!(db.number("SELECT count(*) FROM holder").await, entries);
});

db_test!(d1_a_broken_registration_of_an_announced_device_is_made_whole_by_its_repeat, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let fresh = async |_| {
        let terminal = Terminal { card: None, drive: None, ..Terminal::new() };
        let sold = json!({ "name": "Ada Lovelace", "device": { "device_id": terminal.device_id() } });
        let user = server.post(&server.operator, "/v1/users", &sold).await.expect(201)["user_id"].as_str().unwrap().parse().unwrap();
        terminal.sealed(&server, &request(&server, terminal.register_operation(Some(user))), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM user_device").await).await;
    let entries = db.number("SELECT count(*) FROM user_entry").await;
    for others in ["SELECT count(*) FROM holder", "SELECT count(*) FROM user_info", "SELECT count(*) FROM device_info"] {
        assert_eq!(db.number(others).await, entries, "{others}");
    }
});

db_test!(d1_a_broken_announcement_is_made_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.registration.max_devices = 1000).await;
    let owner = Terminal::registered(&server).await;
    let fresh = async |_| {
        let operation = Operation::AddDevice(AddDevice {
            user_id: owner.user.unwrap(),
            card_id: owner.card_id(),
            device_id: owner.device_id().unwrap(),
            new_device_id: DeviceId::from_bytes(random()),
            name: None,
        });
        owner.sealed(&server, &request(&server, operation), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM device_info").await).await;
    let announced = db.number("SELECT count(*) FROM device_info").await;
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'device.announced'").await, announced);
});

db_test!(c8_a_broken_claim_grants_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 200, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let fresh = async |number: usize| {
        let medium: &Medium = &media[number];
        owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(medium))), Some(medium))
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM grants").await).await;
    let grants = db.number("SELECT count(*) FROM grants").await;
    assert_eq!(db.number("SELECT CAST(sum(copies_claimed) AS BIGINT) FROM medium").await, grants);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'claim.granted'").await, grants);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, grants);
});

db_test!(c11_a_broken_confirm_settles_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 200, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let fresh = async |number: usize| {
        let grants = owner.claim(&server, &media[number]).await.unwrap();
        owner.sealed(&server, &request(&server, owner.confirm_operation(&media[number], &grants)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await).await;
});

db_test!(d3_a_broken_order_charges_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.store.payment = Collection::Balance).await;
    let games = sell_many(&server, &db, 250, "1.00 EUR").await;
    let owner = Terminal::registered(&server).await;
    owner.top_up(&server, "1000.00 EUR").await;
    let fresh = async |number: usize| {
        let operation = order_operation(&owner, &games[number], Some("1.00 EUR"));
        owner.sealed(&server, &request(&server, operation), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM orders").await).await;
    let orders = db.number("SELECT count(*) FROM orders").await;
    assert_eq!(db.number("SELECT amount FROM balance").await, 100_000 - 100 * orders);
    for others in [
        "SELECT count(*) FROM license WHERE state = 'registered'",
        "SELECT count(*) FROM entitlement WHERE devices = 1",
        "SELECT count(*) FROM balance_entry WHERE reason = 'order'",
        "SELECT count(*) FROM audit WHERE event = 'order.placed'",
    ] {
        assert_eq!(db.number(others).await, orders, "{others}");
    }
});

db_test!(d3_a_broken_refund_gives_back_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.store.payment = Collection::Balance).await;
    let games = sell_many(&server, &db, 250, "1.00 EUR").await;
    let owner = Terminal::registered(&server).await;
    owner.top_up(&server, "1000.00 EUR").await;
    let fresh = async |number: usize| {
        let placed = owner.order(&server, &games[number], "1.00 EUR").await.unwrap();
        owner.sealed(&server, &request(&server, refund_operation(&owner, placed.order_id)), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM orders WHERE state = 'ended'").await).await;
    let ended = db.number("SELECT count(*) FROM orders").await;
    assert_eq!(db.number("SELECT amount FROM balance").await, 100_000);
    for others in [
        "SELECT count(*) FROM license WHERE state = 'ended'",
        "SELECT count(*) FROM entitlement WHERE state = 'ended' AND devices = 0",
        "SELECT count(*) FROM balance_entry WHERE reason = 'refund'",
        "SELECT count(*) FROM inbox",
    ] {
        assert_eq!(db.number(others).await, ended, "{others}");
    }
});

db_test!(a_broken_inspect_gives_no_verdict, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 200, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let fresh = async |number: usize| {
        let inspect = Inspect { medium_id: Some(media[number].id.clone()), user_id: owner.user, ..Inspect::default() };
        owner.sealed(&server, &request(&server, Operation::Inspect(inspect)), Some(&media[number]))
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM medium").await).await;
});

db_test!(testing_13_without_an_audit_log_no_key_is_issued_and_no_refusal_given, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let (owner, other) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let claim = |terminal: &Terminal, medium: &Medium| {
        terminal.sealed(&server, &request(&server, Operation::Claim(terminal.claim_operation(medium))), Some(medium))
    };
    owner.claim(&server, &media[1]).await.unwrap();
    let (granted, refused) = (claim(&owner, &media[0]), claim(&other, &media[1]));
    db.run("ALTER TABLE audit RENAME TO audit_gone").await;
    for sealed in [&granted, &refused] {
        let answer = send(&server, sealed).await;
        assert_eq!(answer.status.as_u16(), 500);
        assert!(answer.json()["answer"] == Value::Null);
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 1);
    db.run("ALTER TABLE audit_gone RENAME TO audit").await;
    let result: ClaimResult =
        serde_json::from_value(terminal::OutcomeResult::outcome_result(answer(&server, send(&server, &granted).await)).unwrap()).unwrap();
    owner.open(&result.grants[0]);
    assert!(exchange(&server, &refused).await.is_err());
});
