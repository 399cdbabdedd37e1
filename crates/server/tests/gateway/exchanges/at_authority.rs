//! Copies that the authority itself charges for (C18): agreed to, ordered and paid there, granted once; by whatever is killed, no second order.

use counterfoil_core::rules::order::{Collection, OrderKind, OrderState};
use counterfoil_core::wire::{Claim, ClaimResult, Operation, Request};
use counterfoil_core::{Code, Money, Refusal};
use counterfoil_server::actions::claim;
use serde_json::json;

use super::counter::{Wanted, deliver, gateway, given_away, is_sound, later};
use crate::support::catalogue::TestServer;
use crate::support::sales::sell;
use crate::support::terminal::{Medium, Terminal, device, exchange, request};
use crate::support::{TestDb, db_test};

const ENOUGH: &str = "50.00 EUR";

async fn prepaid(db: &TestDb) -> TestServer {
    let server = TestServer::with(db, |config| config.store.payment = Collection::Balance).await;
    sell(&server, db, "sky-raider", &["19.99 EUR", "21.00 USD"], json!({})).await;
    server
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}

/// A claim that agrees to so much, in a request of its own.
fn asking(server: &TestServer, terminal: &Terminal, medium: &Medium, pay: Option<&str>) -> Request {
    request(server, Operation::Claim(Claim { pay: pay.map(money), ..terminal.claim_operation(medium) }))
}

async fn send(server: &TestServer, terminal: &Terminal, medium: &Medium, request: &Request) -> Result<ClaimResult, Refusal> {
    let answered = exchange(server, &terminal.sealed(server, request, Some(medium))).await?;
    Ok(serde_json::from_value(answered).unwrap())
}

async fn balance(db: &TestDb) -> i64 {
    db.number("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM balance WHERE currency = 'EUR'").await
}

db_test!(c18_the_authority_names_its_price_charges_what_was_agreed_to_and_grants_once, async |db: TestDb| {
    let server = prepaid(&db).await;
    let medium = &given_away(&server, "sky-raider", 1).await[0];
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    // Nobody has agreed: the price is named, nothing is charged, and nothing is kept of the request.
    let mut asked = asking(&server, &anna, medium, None);
    let refusal = send(&server, &anna, medium, &asked).await.unwrap_err();
    let offer = refusal.offer.unwrap();
    assert_eq!((refusal.code, offer.title.as_str(), offer.payment), (Code::PaymentRequired, "sky-raider", Collection::Balance));
    assert_eq!((offer.prices, offer.balance), (vec![money("19.99 EUR"), money("21.00 USD")], vec![money(ENOUGH)]));
    // Another price than it has.
    asked.operation = asking(&server, &anna, medium, Some("18.00 EUR")).operation;
    let refusal = send(&server, &anna, medium, &asked).await.unwrap_err();
    assert_eq!((refusal.code, refusal.offer.unwrap().prices.len()), (Code::PriceChanged, 2));
    assert_eq!((balance(&db).await, db.number("SELECT count(*) FROM orders").await), (5000, 0));
    // The same request with what was agreed to.
    asked.operation = asking(&server, &anna, medium, Some("19.99 EUR")).operation;
    let granted = send(&server, &anna, medium, &asked).await.unwrap();
    let charged = granted.charged.clone().unwrap();
    assert_eq!((charged.price, charged.balance, charged.title.as_str()), (money("19.99 EUR"), Some(money("30.01 EUR")), "sky-raider"));
    // Sent again: the same, and charged once.
    let again = send(&server, &anna, medium, &asked).await.unwrap();
    assert_eq!((again.grants[0].grant_id, again.charged), (granted.grants[0].grant_id, Some(charged.clone())));
    assert_eq!((balance(&db).await, db.number("SELECT count(*) FROM orders").await), (3001, 1));
    // Asked anew it is the copy that was paid for, and costs nothing.
    let anew = send(&server, &anna, medium, &asking(&server, &anna, medium, None)).await.unwrap();
    assert_eq!((anew.grants[0].grant_id, anew.charged), (granted.grants[0].grant_id, None));
    deliver(&server).await;
    let orders = anna.orders(&server).await;
    assert_eq!(
        (orders.orders[0].order_id, orders.orders[0].kind, orders.orders[0].state),
        (charged.order_id, OrderKind::Copy, OrderState::Paid)
    );
    anna.confirm(&server, medium, &granted.grants).await.unwrap();
    assert_eq!(send(&server, &anna, medium, &asking(&server, &anna, medium, Some("19.99 EUR"))).await.unwrap_err().code, Code::MediumSpent);
    assert_eq!(balance(&db).await, 3001);
    is_sound(&server, &db).await;
});

db_test!(c18_a_copy_is_due_by_invoice_where_the_operator_collects_so, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({})).await;
    let medium = &given_away(&server, "sky-raider", 1).await[0];
    let anna = Terminal::registered(&server).await;
    let granted = send(&server, &anna, medium, &asking(&server, &anna, medium, Some("19.99 EUR"))).await.unwrap();
    let charged = granted.charged.unwrap();
    assert_eq!((charged.price, charged.balance), (money("19.99 EUR"), None));
    let due = server.get(&server.operator, "/v1/orders?state=due").await.expect(200);
    assert_eq!(
        (due["items"][0]["order_id"].as_str(), due["items"][0]["kind"].as_str()),
        (Some(&*charged.order_id.to_string()), Some("copy"))
    );
    let path = format!("/v1/users/{}/orders/{}/paid", anna.user.unwrap(), charged.order_id);
    server.post(&server.operator, &path, &json!({})).await.expect(200);
    assert_eq!(anna.orders(&server).await.orders[0].state, OrderState::Paid);
    is_sound(&server, &db).await;
});

db_test!(c18_who_has_not_enough_or_no_device_is_refused_and_nothing_is_charged, async |db: TestDb| {
    let server = prepaid(&db).await;
    let medium = &given_away(&server, "sky-raider", 1).await[0];
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, "19.98 EUR").await;
    let refusal = send(&server, &anna, medium, &asking(&server, &anna, medium, Some("19.99 EUR"))).await.unwrap_err();
    assert_eq!((refusal.code, refusal.offer.unwrap().balance), (Code::PaymentRefused, vec![money("19.98 EUR")]));
    // Charges are for a user and a device that are registered together (D3).
    let mut bare = Terminal { device: None, drive: None, ..Terminal::new() };
    bare.register(&server, None).await.unwrap();
    let refusal = send(&server, &bare, medium, &asking(&server, &bare, medium, Some("19.99 EUR"))).await.unwrap_err();
    assert_eq!(refusal.code, Code::DeviceNotRegistered);
    assert_eq!((balance(&db).await, db.number("SELECT count(*) FROM orders").await), (1998, 0));
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 0);
    is_sound(&server, &db).await;
});

db_test!(c18_of_two_who_have_agreed_one_pays_and_the_other_gets_the_charge_back, async |db: TestDb| {
    let server = prepaid(&db).await;
    let other = server.another(&db, |_| ()).await;
    let media = given_away(&server, "sky-raider", 8).await;
    let (anna, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    anna.top_up(&server, "200.00 EUR").await;
    ben.top_up(&server, "200.00 EUR").await;
    let mut won = 0;
    for medium in &media {
        let (first, second) = (asking(&server, &anna, medium, Some("19.99 EUR")), asking(&server, &ben, medium, Some("19.99 EUR")));
        let answers = tokio::join!(send(&server, &anna, medium, &first), send(&other, &ben, medium, &second));
        let answers = [answers.0, answers.1];
        won += answers.iter().filter(|answer| answer.is_ok()).count();
        for refusal in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_eq!(refusal.code, Code::MediumSpent);
        }
    }
    assert_eq!(won, media.len());
    assert_eq!(balance(&db).await, 40_000 - 8 * 1999);
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 8);
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state NOT IN ('paid', 'ended')").await, 0);
    is_sound(&server, &db).await;
});

db_test!(c18_an_order_that_nobody_came_back_for_ends_by_what_was_granted_for_it, async |db: TestDb| {
    let server = prepaid(&db).await;
    let media = given_away(&server, "sky-raider", 2).await;
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    // Granted, and killed before that was noted.
    let noted = asking(&server, &anna, &media[0], Some("19.99 EUR"));
    let granted = send(&server, &anna, &media[0], &noted).await.unwrap();
    db.run("UPDATE orders SET state = 'open', paid_at = NULL").await;
    // Ordered, and killed before anything was granted.
    let lost = asking(&server, &anna, &media[1], Some("19.99 EUR"));
    ordered_only(&server, &db, &anna, &media[1], &lost).await;
    claim::sweep(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'open'").await, 2, "they may be under way still");
    later(&server, 2);
    claim::sweep(&server.app).await.unwrap();
    claim::sweep(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'paid'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM orders WHERE state = 'ended' AND reason = 'not_copied'").await, 1);
    assert_eq!(balance(&db).await, 3001);
    // What was granted is answered as before; what was given up never comes through, and asked anew it is charged anew.
    assert_eq!(send(&server, &anna, &media[0], &noted).await.unwrap().grants[0].grant_id, granted.grants[0].grant_id);
    assert_eq!(send(&server, &anna, &media[1], &lost).await.unwrap_err().code, Code::ExchangeEnded);
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 1);
    send(&server, &anna, &media[1], &asking(&server, &anna, &media[1], Some("19.99 EUR"))).await.unwrap();
    assert_eq!(balance(&db).await, 1002);
    deliver(&server).await;
    is_sound(&server, &db).await;
});

db_test!(c18_an_order_that_waits_for_its_copy_is_gone_on_with_by_the_same_request, async |db: TestDb| {
    let server = prepaid(&db).await;
    let media = given_away(&server, "sky-raider", 1).await;
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    let asked = asking(&server, &anna, &media[0], Some("19.99 EUR"));
    ordered_only(&server, &db, &anna, &media[0], &asked).await;
    assert_eq!((balance(&db).await, db.number("SELECT count(*) FROM orders WHERE state = 'open'").await), (3001, 1));
    let granted = send(&server, &anna, &media[0], &asked).await.unwrap();
    assert_eq!(granted.charged.unwrap().balance, Some(money("30.01 EUR")));
    assert_eq!(db.number("SELECT count(*) FROM orders").await, 1);
    is_sound(&server, &db).await;
});

/// The medium's side of a claim fails: the charge is taken, and nothing granted.
async fn ordered_only(server: &TestServer, db: &TestDb, terminal: &Terminal, medium: &Medium, asked: &Request) {
    db.run("ALTER TABLE grants RENAME TO hidden_grants").await;
    let body = terminal.sealed(server, asked, Some(medium));
    let request = axum::http::Request::post("/v1/terminal/exchange").header("content-type", "application/json");
    let answered = server.send(request.body(body.into()).unwrap()).await;
    db.run("ALTER TABLE hidden_grants RENAME TO grants").await;
    assert!(answered.status.is_server_error(), "{}", answered.status);
}

db_test!(c14_c18_a_copy_that_takes_anothers_place_after_a_repair_is_not_charged_again, async |db: TestDb| {
    let server = prepaid(&db).await;
    let media = given_away(&server, "sky-raider", 2).await;
    let reseller = gateway(&db, "reseller", false, &[("sky-raider", "5.00 EUR")]).await;
    let mut anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    // One paid for at the authority, one through a gateway; both confirmed.
    let at_authority = send(&server, &anna, &media[0], &asking(&server, &anna, &media[0], Some("19.99 EUR"))).await.unwrap();
    anna.confirm(&server, &media[0], &at_authority.grants).await.unwrap();
    let through = Wanted::claim(&server, &anna, &media[1]);
    let step = through.pay(&server, &reseller).await;
    let answered: ClaimResult = serde_json::from_value(through.answer(&server, &step).unwrap()).unwrap();
    anna.confirm(&server, &media[1], &answered.grants).await.unwrap();
    deliver(&server).await;

    let old = anna.device_id().unwrap();
    anna.device = Some(device());
    let body = json!({ "kind": "device", "old": old.to_string(), "new": anna.device_id().unwrap().to_string(), "reason": "broken" });
    server.post(&server.operator, &format!("/v1/entries/{}/exchange", anna.user.unwrap()), &body).await.expect(200);
    let user = anna.user;
    anna.register(&server, user).await.unwrap();
    let first = send(&server, &anna, &media[0], &asking(&server, &anna, &media[0], None)).await.unwrap();
    assert_eq!((first.grants.len(), first.charged), (1, None));
    let again = Wanted::claim(&server, &anna, &media[1]);
    let step = again.prepare(&server, &reseller).await.unwrap();
    assert_eq!((step.state, step.charge.clone()), (counterfoil_core::wire::ExchangeState::Free, None));
    assert_eq!(again.grants(&server, &step).len(), 1);
    // The new copies name what paid for the old ones.
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state <> 'revoked' AND order_id IS NOT NULL").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state <> 'revoked' AND exchange_id IS NOT NULL").await, 1);
    assert_eq!(db.number("SELECT COUNT(DISTINCT exchange_id) FROM grants").await, 1);
    assert_eq!(db.number("SELECT COUNT(DISTINCT order_id) FROM grants").await, 1);
    assert_eq!((balance(&db).await, db.number("SELECT count(*) FROM orders").await), (3001, 1));
    assert_eq!(db.number("SELECT count(*) FROM gateway_exchange").await, 1);
    deliver(&server).await;
    is_sound(&server, &db).await;
});

db_test!(c18_an_operator_gives_a_copy_back_with_its_money_and_the_medium_is_free, async |db: TestDb| {
    let server = prepaid(&db).await;
    let medium = &given_away(&server, "sky-raider", 1).await[0];
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    let granted = send(&server, &anna, medium, &asking(&server, &anna, medium, Some("19.99 EUR"))).await.unwrap();
    let order = granted.charged.unwrap().order_id;
    deliver(&server).await;
    assert_eq!(anna.give_back(&server, order).await.unwrap_err().code, Code::RefundNotAllowed, "not by its user");
    let path = format!("/v1/users/{}/orders/{order}/refund", anna.user.unwrap());
    server.post(&server.operator, &path, &json!({})).await.expect(200);
    deliver(&server).await;
    assert_eq!(balance(&db).await, 5000);
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'revoked' AND order_id IS NULL").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE state = 'ended'").await, 1);
    is_sound(&server, &db).await;
    // Whoever wants it then pays for it.
    assert_eq!(send(&server, &anna, medium, &asking(&server, &anna, medium, None)).await.unwrap_err().code, Code::PaymentRequired);
    send(&server, &anna, medium, &asking(&server, &anna, medium, Some("19.99 EUR"))).await.unwrap();
    assert_eq!(balance(&db).await, 3001);
    is_sound(&server, &db).await;
});

db_test!(c18_media_of_several_titles_cost_what_those_cost_together_at_either, async |db: TestDb| {
    let server = prepaid(&db).await;
    sell(&server, &db, "blue-moon", &["5.00 EUR"], json!({})).await;
    let body = json!({ "titles": [{ "title": "sky-raider" }, { "title": "blue-moon" }], "count": 2, "paid_on_copy": true });
    let batch = server.post(&server.fox, "/v1/batches", &body).await.expect(201);
    let lines = server.get(&server.fox, &format!("/v1/batches/{}/identities?from=1", batch["batch"].as_str().unwrap())).await;
    let media = crate::support::terminal::pressed(&server, &lines.body);
    let anna = Terminal::registered(&server).await;
    anna.top_up(&server, ENOUGH).await;
    let refusal = send(&server, &anna, &media[0], &asking(&server, &anna, &media[0], None)).await.unwrap_err();
    assert_eq!(refusal.offer.unwrap().prices, [money("24.99 EUR")], "what both are sold in");
    let granted = send(&server, &anna, &media[0], &asking(&server, &anna, &media[0], Some("24.99 EUR"))).await.unwrap();
    assert_eq!((granted.grants.len(), balance(&db).await), (2, 2501));
    let prices: &[(&str, &str)] =
        &[("sky-raider", "9.00 USD"), ("sky-raider", "8.00 EUR"), ("blue-moon", "2.00 EUR"), ("blue-moon", "3.00 USD")];
    let reseller = gateway(&db, "reseller", false, prices).await;
    // In the currency that was asked for.
    let operation = Claim { currency: "USD".parse().ok(), ..anna.claim_operation(&media[1]) };
    let wanted = Wanted::new(&server, &anna, Operation::Claim(operation), Some(&media[1]));
    let step = wanted.pay(&server, &reseller).await;
    assert_eq!(step.charge.clone().unwrap().price, money("12.00 USD"));
    assert_eq!(wanted.grants(&server, &step).len(), 2);
    is_sound(&server, &db).await;
});
