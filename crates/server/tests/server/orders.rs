//! Orders, charges, balances, trials and refunds (D2, D3, C18), on both engines and at two processes at once.

use crate::support;
use crate::support::catalogue;
use crate::support::sales;
use crate::support::terminal;

use std::collections::BTreeSet;

use catalogue::{NOW, TestServer};
use counterfoil_core::rules::order::{Collection, OrderState};
use counterfoil_core::wire::{OrderResult, RefundResult};
use counterfoil_core::{Code, Timestamp};
use counterfoil_format::jws::Signer;
use counterfoil_server::{auditor, store};
use futures_util::future::join_all;
use sales::{list, order_operation, refund_operation, sell, sell_many};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{DAY, Terminal, envelope, exchange, refused, request};

/// A server that takes charges from balances.
async fn prepaid(db: &TestDb) -> TestServer {
    TestServer::with(db, |config| config.store.payment = Collection::Balance).await
}

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(d2_d3_an_order_makes_charge_entitlement_and_license_together, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR", "21.00 USD"], json!({ "refund_days": 14, "term_days": 365 })).await;
    let anna = Terminal::registered(&server).await;
    let placed = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    assert_eq!(placed.charged.map(|money| money.to_string()).as_deref(), Some("19.99 EUR"));
    assert_eq!(placed.expires_at, Some(Timestamp(NOW.0 + 365 * DAY)));
    assert_eq!(placed.refundable_until, Some(Timestamp(NOW.0 + 14 * DAY)));
    let shown = anna.orders(&server).await;
    let order = &shown.orders[0];
    assert_eq!((shown.orders.len(), order.order_id, order.state), (1, placed.order_id, OrderState::Due));
    assert_eq!((order.title.as_str(), order.device_id), ("sky-raider", anna.device_id().unwrap()));
    // User, device and title are registered together from now on (D5).
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state = 'registered'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'order' AND state = 'active' AND devices = 1").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'order.placed'").await, 1);
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::AlreadyLicensed);
    // The terms that were bought stay as they were.
    list(&db, "sky-raider", &["5.00 EUR"], json!({ "refund_days": 0 })).await;
    assert!(anna.orders(&server).await.orders[0].refundable_until.is_some());
    is_sound(&db).await;
});

db_test!(d3_only_a_user_and_a_device_that_are_registered_together_order, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({})).await;
    let (anna, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    // Her user ID and card, his device.
    let mixed = Terminal { card: anna.card.clone(), device: ben.device.clone(), drive: None, user: anna.user };
    assert_eq!(refused(mixed.order(&server, "sky-raider", "19.99 EUR").await), Code::DeviceNotRegistered);
    let nobody = Terminal { user: Some(counterfoil_core::UserId::from_bytes([9; 16])), ..Terminal::new() };
    assert_eq!(refused(nobody.order(&server, "sky-raider", "19.99 EUR").await), Code::UserInvalid);
    // The device signs, the card does not: a device that is left lying around spends no money.
    let operation = order_operation(&anna, "sky-raider", Some("19.99 EUR"));
    let (device, keys) = anna.device.as_ref().unwrap();
    let only_device = envelope(&server, &request(&server, operation.clone()), &[(&device.to_string(), Signer::Key(&keys.signing_key()))]);
    assert_eq!(refused(exchange(&server, &only_device).await), Code::ProofInvalid);
    // The card signs, the device does not.
    let card = anna.card.as_ref().unwrap();
    let kid = anna.card_id().unwrap().to_string();
    let only_card = envelope(&server, &request(&server, operation), &[(&kid, Signer::Key(&card.signing_key()))]);
    assert_eq!(refused(exchange(&server, &only_card).await), Code::ProofInvalid);
    server.post(&server.operator, &format!("/v1/cards/{kid}/revoke"), &json!({ "reason": "lost" })).await.expect(200);
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::CardUnknown);
    assert_eq!(db.number("SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM license)").await, 0);
    // Without a card the device's own keys order.
    let mut cleo = Terminal { card: None, ..Terminal::new() };
    cleo.register(&server, None).await.unwrap();
    cleo.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    is_sound(&db).await;
});

db_test!(d2_d3_only_what_is_sold_is_bought_and_only_at_the_price_that_was_shown, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({})).await;
    let anna = Terminal::registered(&server).await;
    assert_eq!(refused(anna.order(&server, "moon-raider", "19.99 EUR").await), Code::NotForSale);
    for other in ["19.98 EUR", "19.99 USD", "0.00 EUR"] {
        assert_eq!(refused(anna.order(&server, "sky-raider", other).await), Code::PriceChanged, "{other}");
    }
    assert_eq!(refused(anna.try_out(&server, "sky-raider").await), Code::NotForSale);
    db.run("UPDATE listing SET on_sale = 0").await;
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::NotForSale);
    list(&db, "sky-raider", &["0.00 EUR"], json!({})).await;
    anna.order(&server, "sky-raider", "0.00 EUR").await.unwrap();
    assert_eq!(anna.orders(&server).await.orders[0].state, OrderState::Paid);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'order.refused'").await, 6);
    is_sound(&db).await;
});

db_test!(d3_a_balance_is_charged_once_and_never_below_zero, async |db: TestDb| {
    let server = prepaid(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({})).await;
    let anna = Terminal::registered(&server).await;
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::PaymentRefused);
    anna.top_up(&server, "19.98 EUR").await;
    anna.top_up(&server, "500.00 USD").await;
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::PaymentRefused);
    assert_eq!(db.number("SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM license)").await, 0);
    anna.top_up(&server, "0.02 EUR").await;
    let placed = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let left = |shown: counterfoil_core::wire::OrdersResult| shown.balance.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(left(anna.orders(&server).await), ["0.01 EUR", "500.00 USD"]);
    // Given back, it is all there again.
    let back = anna.give_back(&server, placed.order_id).await.unwrap();
    assert_eq!(back.credited.map(|money| money.to_string()).as_deref(), Some("19.99 EUR"));
    assert_eq!(left(anna.orders(&server).await), ["20.00 EUR", "500.00 USD"]);
    is_sound(&db).await;
});

db_test!(d3_a_hundred_orders_at_once_take_what_is_there_and_no_more, async |db: TestDb| {
    let server = prepaid(&db).await;
    let other = server.another(&db, |_| ()).await;
    let games = sell_many(&server, &db, 100, "1.99 EUR").await;
    let anna = Terminal::registered(&server).await;
    // Enough for 37 of them, and one cent less than for 38.
    anna.top_up(&server, "75.61 EUR").await;
    let asked = games.iter().enumerate().map(|(number, game)| {
        let at = if number % 2 == 0 { &server } else { &other };
        anna.order(at, game, "1.99 EUR")
    });
    let answers = join_all(asked).await;
    let placed = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(|refusal| refusal.code == Code::PaymentRefused), "{answers:?}");
    assert_eq!(placed, 37);
    assert_eq!(db.number("SELECT amount FROM balance").await, 7561 - 37 * 199);
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 37);
    assert_eq!(db.number("SELECT count(*) FROM license").await, 37);
    is_sound(&db).await;
});

db_test!(d3_one_request_sent_a_hundred_times_is_one_order_and_one_charge, async |db: TestDb| {
    let server = prepaid(&db).await;
    let other = server.another(&db, |_| ()).await;
    sell(&server, &db, "sky-raider", &["1.99 EUR"], json!({})).await;
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, "100.00 EUR").await;
    let asked = request(&server, order_operation(&anna, "sky-raider", Some("1.99 EUR")));
    let sealed = anna.sealed(&server, &asked, None);
    let answers = join_all((0..100).map(|number| exchange(if number % 2 == 0 { &server } else { &other }, &sealed))).await;
    let orders: BTreeSet<_> = answers.into_iter().map(|answer| answer.unwrap().to_string()).collect();
    assert_eq!(orders.len(), 1, "one request, one answer: {orders:?}");
    assert_eq!(db.number("SELECT amount FROM balance").await, 10_000 - 199);
    // The same ID with another content.
    let changed = counterfoil_core::wire::Request { operation: order_operation(&anna, "sky-raider", Some("2.99 EUR")), ..asked };
    assert_eq!(refused(exchange(&server, &anna.sealed(&server, &changed, None)).await), Code::RequestMismatch);
    is_sound(&db).await;
});

db_test!(nobody_pays_twice_for_a_title_however_many_processes_are_asked_at_once, async |db: TestDb| {
    let server = prepaid(&db).await;
    let other = server.another(&db, |_| ()).await;
    let games = sell_many(&server, &db, 12, "1.99 EUR").await;
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, "100.00 EUR").await;
    for game in &games {
        // Different requests for the same thing: an impatient person with two windows open.
        let asked = [&server, &other, &server, &other].map(|at| anna.order(at, game, "1.99 EUR"));
        let answers = join_all(asked).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{game}: {answers:?}");
    }
    assert_eq!(db.number("SELECT amount FROM balance").await, 10_000 - 12 * 199);
    assert_eq!(db.number("SELECT count(*) FROM license").await, 12);
    is_sound(&db).await;
});

db_test!(a_title_is_tried_once_and_bought_after, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let other = server.another(&db, |_| ()).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "trial_days": 7 })).await;
    let anna = Terminal::registered(&server).await;
    let answers = join_all([&server, &other, &server, &other].map(|at| anna.try_out(at, "sky-raider"))).await;
    let tried: Vec<&OrderResult> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(tried.len(), 1, "{answers:?}");
    assert_eq!((tried[0].charged, tried[0].expires_at), (None, Some(Timestamp(NOW.0 + 7 * DAY))));
    assert_eq!(refused(anna.give_back(&server, tried[0].order_id).await), Code::RefundNotAllowed);
    // What is tried can be bought meanwhile, and then the trial is over: one license at the device, not two.
    anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state <> 'ended'").await, 1);
    let trial = anna.orders(&server).await.orders.into_iter().find(|order| order.charged.is_none()).unwrap();
    assert_eq!((trial.state, trial.reason.as_deref()), (OrderState::Ended, Some("bought")));
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'order.ended'").await, 1, "what ends has its record");
    assert_eq!(refused(anna.try_out(&server, "sky-raider").await), Code::AlreadyLicensed);
    // Nor is it tried again when it was given back.
    let bought = anna.orders(&server).await.orders.into_iter().find(|order| order.charged.is_some()).unwrap();
    anna.give_back(&server, bought.order_id).await.unwrap();
    assert_eq!(refused(anna.try_out(&server, "sky-raider").await), Code::TrialUsed);
    is_sound(&db).await;
});

db_test!(exactly_what_came_of_an_order_ends_with_it_and_once, async |db: TestDb| {
    let server = prepaid(&db).await;
    let other = server.another(&db, |_| ()).await;
    for title in ["sky-raider", "moon-raider"] {
        sell(&server, &db, title, &["19.99 EUR"], json!({})).await;
    }
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, "100.00 EUR").await;
    let kept = anna.order(&server, "moon-raider", "19.99 EUR").await.unwrap();
    let placed = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let ben = Terminal::registered(&server).await;
    assert_eq!(refused(ben.give_back(&server, placed.order_id).await), Code::RefundNotAllowed);
    let sealed = anna.sealed(&server, &request(&server, refund_operation(&anna, placed.order_id)), None);
    // The same request four times, and four others.
    let same = join_all([&server, &other, &server, &other].map(|at| exchange(at, &sealed)));
    let others = join_all([&other, &server, &other, &server].map(|at| anna.give_back(at, placed.order_id)));
    let (same, others) = tokio::join!(same, others);
    let mut given: Vec<RefundResult> = same.into_iter().filter_map(|answer| serde_json::from_value(answer.ok()?).ok()).collect();
    let ways = usize::from(!given.is_empty()) + others.iter().filter(|answer| answer.is_ok()).count();
    given.extend(others.into_iter().flatten());
    assert_eq!(ways, 1, "{given:?}");
    assert!(given.iter().all(|result| result.ended == [placed.license_id]), "{given:?}");
    assert_eq!(db.number("SELECT amount FROM balance").await, 10_000 - 1999);
    assert_eq!(db.number("SELECT count(*) FROM license WHERE state <> 'ended'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM inbox WHERE done_at IS NULL AND work LIKE '%\"end\"%'").await, 1);
    let live: Vec<_> = anna.orders(&server).await.orders.into_iter().filter(|order| order.state != OrderState::Ended).collect();
    assert_eq!((live.len(), live[0].order_id), (1, kept.order_id));
    // What was given back can be bought again.
    anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    is_sound(&db).await;
});

db_test!(the_user_gives_back_in_time_and_the_operator_whenever, async |db: TestDb| {
    let server = prepaid(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "refund_days": 14 })).await;
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, "100.00 EUR").await;
    let placed = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    server.app.clock.set(Timestamp(NOW.0 + 14 * DAY));
    assert_eq!(refused(anna.give_back(&server, placed.order_id).await), Code::RefundNotAllowed);
    assert_eq!(anna.orders(&server).await.orders[0].refundable_until, None);
    let path = |what: &str| format!("/v1/users/{}/orders/{}/{what}", anna.user.unwrap(), placed.order_id);
    let back = server.post(&server.operator, &path("refund"), &json!({ "note": "goodwill" })).await.expect(200);
    assert_eq!((&back["credited"]["amount"], &back["ended"][0]), (&1999.into(), &json!(placed.license_id)));
    let again = server.post(&server.operator, &path("chargeback"), &json!({})).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "refund_not_allowed"));
    // Money that the bank has taken back is not credited.
    let second = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let path = format!("/v1/users/{}/orders/{}/chargeback", anna.user.unwrap(), second.order_id);
    let back = server.post(&server.operator, &path, &json!({})).await.expect(200);
    assert_eq!(back.get("credited"), None);
    assert_eq!(db.number("SELECT amount FROM balance").await, 10_000 - 1999);
    is_sound(&db).await;
});

db_test!(a_revoked_license_frees_its_place, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "devices": 2 })).await;
    let anna = Terminal::registered(&server).await;
    let placed = anna.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let path = format!("/v1/users/{}/licenses/{}/revoke", anna.user.unwrap(), placed.license_id);
    server.post(&server.operator, &path, &json!({ "note": "sold on" })).await.expect(200);
    let again = server.post(&server.operator, &path, &json!({})).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (409, "license_ended"));
    assert_eq!(db.number("SELECT devices FROM entitlement").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM inbox WHERE done_at IS NULL").await, 1);
    // The order stands, with places for two devices: nothing is to be bought again.
    assert_eq!(refused(anna.order(&server, "sky-raider", "19.99 EUR").await), Code::AlreadyLicensed);
    is_sound(&db).await;
});

db_test!(d3_what_is_due_is_listed_exported_and_reported_paid, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let games = sell_many(&server, &db, 5, "19.99 EUR").await;
    let anna = Terminal::registered(&server).await;
    let mut placed = vec![];
    for (at, game) in (0..).zip(&games) {
        server.app.clock.set(Timestamp(NOW.0 + at));
        placed.push(anna.order(&server, game, "19.99 EUR").await.unwrap().order_id.to_string());
    }
    let mut seen = vec![];
    let mut after = String::new();
    loop {
        let page = server.get(&server.operator, &format!("/v1/orders?state=due&limit=2&after={after}")).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|order| order["order_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, placed);
    let path = format!("/v1/users/{}/orders/{}/paid", anna.user.unwrap(), placed[0]);
    for _ in 0..2 {
        assert_eq!(server.post(&server.operator, &path, &json!({})).await.expect(200)["state"], "paid");
    }
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'order.paid'").await, 1);
    assert_eq!(server.get(&server.operator, "/v1/orders?state=due").await.expect(200)["items"].as_array().unwrap().len(), 4);
    let table = server.get(&server.operator, "/v1/orders?format=csv").await;
    assert!(table.header("content-type").starts_with("text/csv"), "{}", table.header("content-type"));
    let text = String::from_utf8(table.body).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 6, "{text}");
    assert!(lines[0].starts_with("order_id,user_id,title,device_id,kind,currency,amount,payment,state,"), "{text}");
    assert!(lines[1].contains(&placed[0]) && lines[1].contains(",purchase,EUR,1999,invoice,paid,"), "{text}");
    // Nobody but the operator sees who bought what.
    assert_eq!(server.get(&server.fox, "/v1/orders").await.status.as_u16(), 403);
    assert_eq!(server.get(&server.operator, "/v1/orders?after=x").await.status.as_u16(), 400);
    let ended = anna.give_back(&server, placed[0].parse().unwrap()).await.unwrap();
    assert_eq!(ended.credited, None, "what was paid by invoice is paid back by whoever collected it");
    let refused = server.post(&server.operator, &path, &json!({})).await;
    assert_eq!(refused.status.as_u16(), 409);
    is_sound(&db).await;
});

db_test!(a_balance_takes_what_it_can_hold_and_only_of_users_who_are_known, async |db: TestDb| {
    let server = prepaid(&db).await;
    let anna = Terminal::registered(&server).await;
    let path = format!("/v1/users/{}/balance", anna.user.unwrap());
    for (body, status) in [
        (json!({ "amount": 0, "currency": "EUR" }), 422),
        (json!({ "amount": -1, "currency": "EUR" }), 422),
        (json!({ "amount": 1, "currency": "euro" }), 422),
        (json!({ "amount": u64::MAX, "currency": "EUR" }), 422),
        (json!({ "amount": 1_u64 << 53, "currency": "EUR" }), 200),
        (json!({ "amount": 1, "currency": "EUR" }), 422),
        (json!({ "amount": 1, "currency": "USD" }), 200),
    ] {
        let answer = server.post(&server.operator, &path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", String::from_utf8_lossy(&answer.body));
    }
    let stranger = counterfoil_core::UserId::from_bytes([9; 16]);
    let nobody = server.post(&server.operator, &format!("/v1/users/{stranger}/balance"), &json!({ "amount": 1, "currency": "EUR" })).await;
    assert_eq!(nobody.status.as_u16(), 404);
    assert_eq!(server.post(&server.fox, &path, &Value::Null).await.status.as_u16(), 403);
    is_sound(&db).await;
});

db_test!(prices_in_the_operators_currency_are_named_first, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.store.currency = "JPY".parse().unwrap()).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR", "2100 JPY", "21.00 USD"], json!({})).await;
    let names =
        |prices: &Value| prices.as_array().unwrap().iter().map(|price| price["currency"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let one = server.get("", "/v1/store/titles/sky-raider").await.expect(200);
    let all = server.get("", "/v1/store/titles").await.expect(200);
    for prices in [&one["prices"], &all["items"][0]["prices"]] {
        assert_eq!(names(prices), ["JPY", "EUR", "USD"]);
    }
});
