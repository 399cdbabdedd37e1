//! Terms, prices and what a gateway owes, at the operator's API and at its own.

use axum::body::Body;
use axum::http::Method;
use counterfoil_core::Timestamp;
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::{auditor, store};
use serde_json::{Value, json};

use super::Private;
use crate::support::catalogue::request;
use crate::support::terminal::media;
use crate::support::{TestDb, db_test};

/// 2026-01-31T23:59:59.999Z
const LAST: i64 = 1_769_903_999_999;

/// One exchange in the books, as committing and refunding leave them.
struct Sold<'a> {
    gateway: &'a str,
    title: &'a str,
    currency: &'a str,
    amount: i64,
    share: i64,
    decided_at: i64,
    refunded_at: Option<i64>,
}

impl Sold<'_> {
    async fn book(&self, db: &TestDb, number: u128) {
        let id = format!("{}", uuid::Uuid::from_u128(number));
        let state = if self.refunded_at.is_some() { "refunded" } else { "committed" };
        let (gateway, title, currency) = (self.gateway.to_owned(), self.title.to_owned(), self.currency.to_owned());
        let (amount, share, at, refunded) = (self.amount, self.share, self.decided_at, self.refunded_at);
        let insert = async move |tx: &mut Tx| {
            tx.query(
                "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, title_id, title_name, currency, amount,
                   operator_part, state, created_at, expires_at, decided_at, refunded_at, changed_at)
                 VALUES ($1, $2, $3, 'order', 'usr', $4, 'A title', $5, $6, $7, $8, $9, $9, $9, $10, $11)",
            )
            .bind(&id)
            .bind(&gateway)
            .bind([0; 32])
            .bind(&title)
            .bind(&currency)
            .bind(amount)
            .bind(amount - share)
            .bind(state)
            .bind(at)
            .bind(refunded)
            .bind(refunded.unwrap_or(at))
            .execute()
            .await
        };
        let family = uuid::Uuid::from_u128(number).to_string();
        let done: Result<u64, DbError> = db.write("book", family, insert).await;
        assert_eq!(done.unwrap(), 1);
    }
}

fn line(title: &str, currency: &str, figures: [i64; 4]) -> Value {
    let [charges, refunds, amount, share] = figures;
    json!({ "period": "2026-01", "title": title, "name": "A title", "currency": currency, "charges": charges, "refunds": refunds,
            "amount": amount, "gateway_part": share, "operator_part": amount - share })
}

db_test!(c17_a_month_is_stated_as_its_exchanges_say_and_closed_once, async |db: TestDb| {
    let private = Private::new(&db).await;
    let server = &private.server;
    media(server, "sky-raider", 1, json!({})).await;
    let (arcade, bazaar) = (private.enrolled("Arcade").await, private.enrolled("Bazaar").await);
    let sold = |currency, amount, share, decided_at, refunded_at| Sold {
        gateway: &arcade.id,
        title: "sky-raider",
        currency,
        amount,
        share,
        decided_at,
        refunded_at,
    };
    sold("EUR", 1999, 599, LAST, None).book(&db, 1).await;
    sold("EUR", 1000, 300, LAST - 5, Some(LAST - 1)).book(&db, 2).await;
    // Charged in January, given back in February.
    sold("USD", 700, 210, LAST - 5, Some(LAST + 5)).book(&db, 3).await;
    sold("EUR", 5, 1, LAST + 1, None).book(&db, 4).await;
    Sold { gateway: &bazaar.id, ..sold("EUR", 77, 7, LAST, None) }.book(&db, 5).await;

    let january = [line("sky-raider", "EUR", [2, 1, 1999, 599]), line("sky-raider", "USD", [1, 0, 700, 210])];
    let path = format!("/v1/gateways/{}/statement?period=2026-01", arcade.id);
    assert_eq!(server.get(&server.operator, &path).await.expect(200)["items"], json!(january));
    // The gateway is told the same, and nothing of another one.
    let own = arcade.get(&private, "/v1/gateway/statement?period=2026-01").await.unwrap();
    assert_eq!((own.0, &own.1["items"]), (200, &json!(january)));
    let other = bazaar.get(&private, "/v1/gateway/statement?period=2026-01").await.unwrap().1;
    assert_eq!(other["items"], json!([line("sky-raider", "EUR", [1, 0, 77, 7])]));
    let february = server.get(&server.operator, &path.replace("01", "02")).await;
    assert_eq!(february.status, 200);
    let table = server.get(&server.operator, &format!("{path}&format=csv")).await;
    let table = String::from_utf8(table.body).unwrap();
    assert!(table.starts_with("period,title,name,currency,charges,refunds,amount,gateway_part,operator_part\r\n"), "{table}");
    assert_eq!(table.lines().nth(2), Some("2026-01,sky-raider,A title,USD,1,0,700,210,490"), "{table}");

    // A month that runs is not closed, nor one whose last transactions may be on their way.
    let settlements = format!("/v1/gateways/{}/settlements", arcade.id);
    let close = async || server.post(&server.operator, &settlements, &json!({ "period": "2026-01" })).await;
    for at in [LAST, LAST + 1, LAST + 600_000] {
        server.app.clock.set(Timestamp(at));
        assert_eq!(close().await.status, 409, "{at}");
    }
    server.app.clock.set(Timestamp(LAST + 600_001));
    let closed = close().await.expect(201)["items"].clone();
    let figures = |sum: &Value| (sum["currency"].clone(), sum["amount"].clone(), sum["operator_part"].clone());
    let sums: Vec<_> = closed.as_array().unwrap().iter().map(figures).collect();
    assert_eq!(sums, [(json!("EUR"), json!(1999), json!(1400)), (json!("USD"), json!(700), json!(490))]);
    assert_eq!(close().await.status, 409, "twice");

    // What was frozen is what the exchanges come to, and the auditor says so where it is not.
    assert_eq!(found(&db).await, Vec::<String>::new());
    for tampered in ["amount = amount + 1", "share = share - 1", "charges = charges + 1", "refunds = refunds + 1"] {
        let (set, back) = (tampered, tampered.replace('+', "~").replace('-', "+").replace('~', "-"));
        let broken = |set: &str| -> &'static str {
            Box::leak(format!("UPDATE gateway_settlement SET {set} WHERE currency = 'EUR'").into_boxed_str())
        };
        db.run(broken(set)).await;
        assert_eq!(found(&db).await, [format!("{} 2026-01", arcade.id)], "{tampered}");
        db.run(broken(&back)).await;
    }
    assert_eq!(found(&db).await, Vec::<String>::new());
    // What comes late changes neither it nor what it says, and is found.
    sold("EUR", 50, 10, LAST, None).book(&db, 6).await;
    assert_eq!(server.get(&server.operator, &settlements).await.expect(200)["items"], closed);
    assert_eq!(found(&db).await, [format!("{} 2026-01", arcade.id)]);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
});

db_test!(c17_what_is_given_back_by_a_clock_of_the_month_before_counts_where_it_was_charged, async |db: TestDb| {
    let private = Private::new(&db).await;
    let server = &private.server;
    media(server, "sky-raider", 1, json!({})).await;
    let arcade = private.enrolled("Arcade").await;
    let sold = Sold {
        gateway: &arcade.id,
        title: "sky-raider",
        currency: "EUR",
        amount: 1999,
        share: 599,
        decided_at: LAST + 2,
        refunded_at: None,
    };
    sold.book(&db, 1).await;
    let id = counterfoil_core::RequestId(uuid::Uuid::from_u128(1));
    let refund = async move |tx: &mut Tx| store::gateway_exchange::refund(tx, id, "given back", Timestamp(LAST - 1)).await;
    assert!(db.db.write("refund", id.to_string(), refund).await.unwrap());
    let stated = async |month: &str| {
        let path = format!("/v1/gateways/{}/statement?period={month}", arcade.id);
        server.get(&server.operator, &path).await.expect(200)["items"].clone()
    };
    assert_eq!(stated("2026-01").await, json!([]));
    let february = stated("2026-02").await;
    assert_eq!((&february[0]["charges"], &february[0]["refunds"], &february[0]["amount"]), (&json!(1), &json!(1), &json!(0)));
});

/// Months that the auditor finds to be other than their exchanges.
async fn found(db: &TestDb) -> Vec<String> {
    let all = auditor::check(&db.db).await.unwrap();
    all.into_iter().filter(|one| one.invariant.starts_with("a month that is settled comes to")).map(|one| one.subject).collect()
}

db_test!(c17_a_month_without_a_charge_is_closed_as_any_other, async |db: TestDb| {
    let private = Private::new(&db).await;
    let server = &private.server;
    let path = format!("/v1/gateways/{}/settlements", private.made("Nobody").await);
    server.app.clock.set(Timestamp(LAST + 600_001));
    let close = async || server.post(&server.operator, &path, &json!({ "period": "2026-01" })).await;
    let closed = close().await.expect(201)["items"].clone();
    let nothing =
        |one: &Value| ["charges", "refunds", "amount", "gateway_part", "operator_part"].iter().all(|figure| one[figure] == json!(0));
    assert!(closed[0]["currency"].is_null() && nothing(&closed[0]) && closed.as_array().unwrap().len() == 1, "{closed}");
    assert_eq!(close().await.status, 409, "twice");
    assert_eq!(server.get(&server.operator, &path).await.expect(200)["items"], closed);
    let table = server.get(&server.operator, &format!("{path}?format=csv")).await;
    assert!(String::from_utf8(table.body).unwrap().contains("\r\n2026-01,,0,0,0,0,0,"));
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
});

db_test!(c17_prices_are_set_by_the_titles_publisher_and_seen_by_their_gateway, async |db: TestDb| {
    let private = Private::new(&db).await;
    let server = &private.server;
    media(server, "sky-raider", 1, json!({})).await;
    let (arcade, bazaar) = (private.enrolled("Arcade").await, private.enrolled("Bazaar").await);
    let price = format!("/v1/gateways/{}/prices/sky-raider", arcade.id);
    let euro = json!({ "amount": 1999, "currency": "EUR" });
    for bad in
        [json!({ "amount": 0, "currency": "EUR" }), json!({ "amount": 1, "currency": "euro" }), json!({ "amount": -1, "currency": "EUR" })]
    {
        assert_eq!(server.put_json(&server.fox, &price, &bad).await.status, 422, "{bad}");
    }
    assert_eq!(server.put_json(&server.owl, &price, &euro).await.status, 404, "a title of somebody else");
    server.put_json(&server.fox, &price, &json!({ "amount": 5, "currency": "EUR" })).await.expect(200);
    server.put_json(&server.fox, &price, &euro).await.expect(200);
    server.put_json(&server.operator, &price, &json!({ "amount": 2199, "currency": "USD" })).await.expect(200);
    let told = |amount: i64, currency: &str| json!({ "title": "sky-raider", "name": "sky-raider", "amount": amount, "currency": currency });
    let mut both = json!([told(1999, "EUR"), told(2199, "USD")]);
    let own = arcade.get(&private, "/v1/gateway/prices").await.unwrap().1;
    both[0]["name"] = own["items"][0]["name"].clone();
    both[1]["name"] = own["items"][0]["name"].clone();
    assert_eq!(own["items"], both);
    assert_eq!(bazaar.get(&private, "/v1/gateway/prices").await.unwrap().1["items"], json!([]), "another one's are no business of it");
    let list = format!("/v1/gateways/{}/prices", arcade.id);
    assert_eq!(server.get(&server.fox, &list).await.expect(200)["items"], both);
    assert_eq!(server.get(&server.owl, &list).await.expect(200)["items"], json!([]));

    let remove = async |token: &str, query: &str| {
        let remove = request(Method::DELETE, &format!("{price}{query}"), token).body(Body::empty()).unwrap();
        server.send(remove).await.status.as_u16()
    };
    assert_eq!(remove(&server.owl, "").await, 404);
    assert_eq!(remove(&server.fox, "?currency=USD").await, 204);
    assert_eq!(server.get(&server.fox, &list).await.expect(200)["items"], json!([both[0]]));
    assert_eq!((remove(&server.operator, "").await, remove(&server.operator, "").await), (204, 404));
    private.end(&arcade.id).await;
    assert_eq!(server.put_json(&server.fox, &price, &euro).await.status, 409);
});

db_test!(c17_terms_are_the_operators, async |db: TestDb| {
    let private = Private::new(&db).await;
    let server = &private.server;
    let path = "/v1/gateways";
    let good = json!({ "name": " Arcade ", "share": 10000, "every_copy": true });
    for bad in [
        json!({ "name": "", "share": 1 }),
        json!({ "name": "A", "share": 10001 }),
        json!({ "name": "A", "share": -1 }),
        json!({ "name": "A" }),
    ] {
        assert_eq!(server.post(&server.operator, path, &bad).await.status, 422, "{bad}");
    }
    assert_eq!(server.post(&server.fox, path, &good).await.status, 403);
    let made = server.post(&server.operator, path, &good).await.expect(201);
    assert_eq!((&made["name"], &made["share"], &made["every_copy"]), (&json!("Arcade"), &json!(10000), &json!(true)));
    assert_eq!(server.post(&server.operator, path, &good).await.status, 409, "the name is taken");
    let one = format!("{path}/{}", made["gateway"].as_str().unwrap());
    assert_eq!(server.get(&server.operator, &one).await.expect(200), made);
    assert_eq!(server.get(&server.operator, path).await.expect(200)["items"], json!([made]));
    private.end(made["gateway"].as_str().unwrap()).await;
    assert_ne!(server.get(&server.operator, &one).await.expect(200)["ended_at"], Value::Null);
    let again = request(Method::DELETE, &one, &server.operator).body(Body::empty()).unwrap();
    assert_eq!(server.send(again).await.status, 404);
});
