//! Told if and only if it was committed; and nothing is asked of the database where nobody wants to know.

use std::time::Duration;

use counterfoil_core::wire::Operation;
use counterfoil_server::db::{Fault, Lasting};
use serde_json::json;

use super::*;
use crate::support::breaking::{break_everywhere, impatient};
use crate::support::terminal::{Medium, request};

const CLAIMS: &str = "SELECT count(*) FROM audit WHERE event = 'claim.granted'";
const WAITING: &str = "SELECT count(*) FROM outbox WHERE kind = 'event'";

db_test!(a_claim_is_told_if_and_only_if_it_was_committed, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    Hook::new(&server, &server.operator, &receiver.url(), &["medium.claimed"]).await;
    // One for each fault: a request is sent again, never another one.
    let discs = media(&server, "sky-raider", 260, json!({})).await;
    let anna = Terminal::registered(&server).await;
    let prepare = async |number: usize| {
        let disc: &Medium = &discs[number];
        anna.sealed(&server, &request(&server, Operation::Claim(anna.claim_operation(disc))), Some(disc))
    };
    break_everywhere(&db, &server, prepare, async || db.number(WAITING).await).await;
    let claims = db.number(CLAIMS).await;
    assert!(claims > 20 && claims == db.number(WAITING).await, "each claim waits to be told, and nothing else does");
    lead(&server).await;
    assert_eq!(db.number(WAITING).await, 0);
    let told: BTreeSet<_> = receiver.messages().iter().map(|message| message.subject().0).collect();
    assert_eq!((told.len(), receiver.messages().len()), (claims as usize, claims as usize));
});

db_test!(telling_and_sending_survive_every_fault, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let receiver = Receiver::start().await;
    let hook = Hook::new(&server, &server.operator, &receiver.url(), &["title.listed"]).await;
    let sender = Sender::new(&server.app.config.webhooks).unwrap();
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let (mut told, mut struck) = (0, 0);
    for lasting in [Lasting::Once, Lasting::ForGood] {
        for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
            for place in 0.. {
                let mut listing = catalogue::listing();
                listing["summary"] = json!(format!("Changed {told} times"));
                server.put_json(&server.fox, "/v1/titles/sky-raider/listing", &listing).await.expect(200);
                told += 1;
                db.faults.arm(kind(place), lasting);
                // Either may fail; what counts is what the next round makes of it.
                let _ = tell(&server.app).await;
                let _ = deliver_all(&server.app, &sender).await;
                let fired = db.faults.fired();
                db.faults.disarm();
                struck += fired.min(1);
                // What was taken and never heard of again is sent once more soon: an attempt takes a second here, and 15 to be written down.
                pass(&server, 16_000);
                lead(&server).await;
                assert_eq!(
                    hook.deliveries(&server).await.iter().filter(|one| one["state"] == "delivered").count(),
                    told,
                    "{:?}",
                    kind(place)
                );
                if fired == 0 {
                    break;
                }
            }
        }
    }
    assert!(struck >= 30, "{struck} faults are too few to prove anything");
    let messages = receiver.messages();
    let mut seen = BTreeMap::<String, Vec<u8>>::new();
    let mut first = vec![];
    for message in &messages {
        let before = seen.insert(message.id.clone(), message.body.clone());
        match before {
            None => first.push(message.subject().1),
            Some(before) => assert_eq!(before, message.body, "the same ID, the same body"),
        }
    }
    assert_eq!(first.len(), told);
    assert!(first.is_sorted(), "in order: {first:?}");
    assert!(messages.len() > told, "some were sent twice, as must be");
});

db_test!(where_nobody_wants_to_know_nothing_is_asked, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    let discs = media(&server, "sky-raider", 4, json!({})).await;
    let anna = Terminal::registered(&server).await;
    anna.claim(&server, &discs[0]).await.unwrap();
    let statements = async |disc: &Medium| {
        db.faults.arm(Fault::Statement(u64::MAX), Lasting::Once);
        anna.claim(&server, disc).await.unwrap();
        db.faults.disarm();
        db.faults.statements()
    };
    webhooks::look(&server.app).await.unwrap();
    let without = statements(&discs[1]).await;
    let other = Hook::new(&server, &server.operator, &Receiver::start().await.url(), &["title.*", "order.*"]).await;
    assert_eq!(statements(&discs[2]).await, without, "a webhook that wants something else costs a claim nothing");
    Hook::new(&server, &server.operator, &Receiver::start().await.url(), &["medium.claimed"]).await;
    assert_eq!(statements(&discs[3]).await, without + 1);
    assert_eq!(db.number(WAITING).await, 1);
    lead(&server).await;
    assert_eq!(other.deliveries(&server).await.len(), 0);
});

db_test!(what_was_before_a_webhook_is_active_is_not_told_and_what_is_after_is_by_every_process, async |db: TestDb| {
    let server = TestServer::with(&db, loopback).await;
    // A process that found nobody when it looked, long ago, and then not again: it takes everything for wanted, as its list is old.
    let late = server.another(&db, loopback).await;
    let long_ago = counterfoil_server::clock::monotonic().saturating_sub(counterfoil_server::db::STALE * 2);
    late.app.db.watched().set(BTreeSet::new(), long_ago);
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let receiver = Receiver::start().await;
    let new = json!({ "name": "Test", "url": receiver.url(), "events": ["title.listed"] });
    let made = server.post(&server.operator, "/v1/webhooks", &new).await.expect(201);
    assert_eq!(made["active_from"], "2026-01-01T00:00:10Z");
    webhooks::look(&server.app).await.unwrap();
    server.put_json(&server.fox, "/v1/titles/sky-raider/listing", &catalogue::listing()).await.expect(200);
    lead(&server).await;
    assert_eq!(receiver.messages().len(), 0, "it is not active yet");

    pass(&server, 10_000);
    late.app.clock.set(server.app.clock.now());
    let mut listing = catalogue::listing();
    listing["on_sale"] = json!(false);
    late.put_json(&server.fox, "/v1/titles/sky-raider/listing", &listing).await.expect(200);
    publish(&late, "blue-fox", "moon-raider", "1.0").await;
    lead(&server).await;
    assert_eq!(receiver.messages().iter().map(Message::event).collect::<Vec<_>>(), ["title.listed"]);
    late.app.db.close().await;
});

/// What a webhook costs a claim: printed as a ratio, for docs/webhooks.md.
#[test]
#[ignore = "measures"]
fn what_a_webhook_costs_a_claim() {
    for engine in [crate::support::Engine::Sqlite, crate::support::Engine::Postgres] {
        crate::support::on(
            engine,
            |_| (),
            async |db: TestDb| {
                const EACH: usize = 400;
                let server = TestServer::with(&db, loopback).await;
                Hook::new(&server, &server.operator, &Receiver::start().await.url(), &["medium.claimed"]).await;
                let discs = media(&server, "sky-raider", 2 * EACH as i64, json!({})).await;
                let anna = Terminal::registered(&server).await;
                let mut spent = [Duration::ZERO; 2];
                for (number, disc) in discs.iter().enumerate() {
                    // One with and one without, in turn, so that whatever else goes on hits both alike.
                    webhooks::look(&server.app).await.unwrap();
                    if number % 2 == 0 {
                        server.app.db.watched().set(BTreeSet::new(), counterfoil_server::clock::monotonic());
                    }
                    let begun = counterfoil_server::clock::monotonic();
                    anna.claim(&server, disc).await.unwrap();
                    spent[number % 2] += counterfoil_server::clock::monotonic() - begun;
                }
                assert_eq!(db.number(WAITING).await, EACH as i64);
                let [without, with] = spent.map(|spent| spent.as_secs_f64() * 1e3 / EACH as f64);
                println!("{}: {without:.2} ms without, {with:.2} ms with: {:.3}", server.app.db.url(), with / without);
            },
        );
    }
}
