//! What somebody hostile, or merely unlucky, sends to the terminals' endpoint: nobody else waits, and nothing is written that should not be.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use axum::http::{HeaderValue, Method};
use catalogue::{TestServer, json_request};
use counterfoil_core::wire::{ClaimResult, Inspect, InspectResult, Operation, Register};
use counterfoil_core::{CardId, Code};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::holder;
use counterfoil_format::jws::Signer;
use counterfoil_server::db::DbError;
use counterfoil_server::store::request::Recorded;
use counterfoil_server::{auditor, jobs, store};
use futures_util::future::join_all;
use serde_json::json;
use support::{TestDb, db_test};
use terminal::{Medium, Terminal, card, envelope, exchange, media, refused, request};

async fn one(server: &TestServer) -> Medium {
    media(server, "sky-raider", 1, json!({})).await.remove(0)
}

async fn clean(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
}

db_test!(one_claim_sent_from_many_sides_at_once_is_granted_to_each, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 40, json!({})).await;
    let owner = Terminal::registered(&server).await;
    for medium in &media {
        let sealed = owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(medium))), Some(medium));
        let mut grants = std::collections::BTreeSet::new();
        for outcome in join_all((0..8).map(|_| exchange(&server, &sealed))).await {
            let result: ClaimResult = serde_json::from_value(outcome.unwrap()).unwrap();
            grants.insert(result.grants[0].grant_id);
        }
        assert_eq!(grants.len(), 1);
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 40);
    clean(&db).await;
});

db_test!(a_grant_named_twice_is_confirmed_at_once_and_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let owner = Terminal::registered(&server).await;
    let grants = owner.claim(&server, &medium).await.unwrap();
    // A guard that fails each time would have the writer try again, for seconds, while everybody else waits.
    owner.confirm(&server, &medium, &[grants[0].clone(), grants[0].clone()]).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'settled'").await, 1);
    clean(&db).await;
});

db_test!(a_holder_that_nothing_can_be_sealed_to_is_refused_before_anything_is_written, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let keys = card();
    // Only the public half is like this: its owner has a private key that signs.
    let mut public = terminal::public(&keys);
    public.seal = to_base64url(&[0; 32]);
    let parsed = holder::HolderPublic { signing: public.sign.parse().unwrap(), sealing: public.seal.parse().unwrap() };
    let kid = CardId::from_bytes(parsed.id()).to_string();
    let register = Register { user_id: None, card: Some(public), device: None, drive: None };
    let asked = request(&server, Operation::Register(register));
    let sealed = envelope(&server, &asked, &[(kid.as_str(), Signer::Key(&keys.signing_key()))]);
    assert_eq!(refused(exchange(&server, &sealed).await), Code::ProofInvalid);
    assert_eq!(db.number("SELECT count(*) FROM holder").await, 0);
});

db_test!(a_medium_that_is_taken_out_of_use_says_so_to_a_replay_too, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = one(&server).await;
    let owner = Terminal::registered(&server).await;
    let sealed = owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(&medium))), Some(&medium));
    exchange(&server, &sealed).await.unwrap();
    let path = format!("/v1/media/{}/retire", medium.id);
    assert!(server.post(&server.operator, &path, &json!({ "reason": "stolen" })).await.status.is_success());
    assert_eq!(refused(exchange(&server, &sealed).await), Code::MediumRetired);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE family LIKE 'med-%' AND event = 'claim.refused'").await, 1);
});

db_test!(a_user_of_a_thousand_titles_is_still_answered, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    one(&server).await;
    let owner = Terminal::registered(&server).await;
    let user = owner.user.unwrap();
    db.write("entitle", "test", async move |tx| -> Result<(), DbError> {
        for n in 0..1000_u16 {
            let mut grant = [0; 16];
            grant[..2].copy_from_slice(&n.to_be_bytes());
            let medium = format!("DISC-{n:059}").parse().unwrap();
            let at = counterfoil_core::Timestamp(i64::from(n));
            let title = "sky-raider".parse().unwrap();
            let grant = counterfoil_core::GrantId::from_bytes(grant);
            store::copied::entitle(tx, user, &store::copied::Copied { grant, medium, title, at, bound: None }).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let ask = Operation::Inspect(Inspect { user_id: owner.user, ..Inspect::default() });
    let verdict: InspectResult = serde_json::from_value(owner.ask(&server, ask, None).await.unwrap()).unwrap();
    assert_eq!(verdict.user.unwrap().titles.len(), 1000);
});

db_test!(what_is_over_is_dropped_all_of_it_and_nothing_else, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, &one(&server).await).await.unwrap();
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    // More than one batch, as a server under load has it within a minute.
    db.write("expired", "test", async move |tx| -> Result<(), DbError> {
        for n in 0..1100 {
            let recorded = Recorded { status: 200, answer: vec![] };
            store::request::record(tx, "test", &format!("r-{n}"), &[0; 32], &recorded, 0, 1).await?;
        }
        Ok(())
    })
    .await
    .unwrap();
    let kept = db.number("SELECT count(*) FROM request WHERE family <> 'test'").await;
    jobs::purge(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM request").await, kept);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 0, "forgotten when it was delivered");
    clean(&db).await;
});

db_test!(a_request_id_is_taken_over_only_where_it_can_stand_in_a_log, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let longest = "x".repeat(128);
    let too_long = "x".repeat(129);
    for (given, taken) in
        [("abc-1", true), (&longest, true), (&too_long, false), ("", false), ("a b", false), ("\u{fc}", false), ("a\tb", false)]
    {
        let mut asked = json_request(Method::GET, "/nowhere", "", &json!({}));
        asked.headers_mut().insert("x-request-id", HeaderValue::from_bytes(given.as_bytes()).unwrap());
        let answer = server.send(asked).await;
        let id = answer.header("x-request-id");
        assert_eq!(id == given, taken, "{given:?} gave {id:?}");
        assert!((1..=128).contains(&id.len()));
        assert_eq!(answer.json()["request_id"], id);
    }
    let mut twice = json_request(Method::GET, "/nowhere", "", &json!({}));
    for id in ["a", "b"] {
        twice.headers_mut().append("x-request-id", HeaderValue::from_static(id));
    }
    assert_eq!(server.send(twice).await.header("x-request-id").len(), 36, "of two, neither");
});
