//! What a claim stands on when it commits, and what follows from it: the row as it was seen, and the entitlement through the outbox.

use crate::support;
use crate::support::catalogue;
use crate::support::terminal;

use std::collections::BTreeSet;

use catalogue::TestServer;
use counterfoil_core::wire::{ClaimResult, Operation};
use counterfoil_core::{Code, Refusal, Timestamp};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::jobs::{self, ENTITLEMENT, Entitlement};
use counterfoil_server::store::medium::{self, MediumRow};
use counterfoil_server::store::outbox;
use counterfoil_server::{auditor, store};
use serde_json::json;
use support::{TestDb, db_test};
use terminal::{Medium, Terminal, exchange, media, request};

async fn row(db: &TestDb, medium: &Medium) -> MediumRow {
    let id = medium.id.clone();
    db.read("row", async move |tx: &mut Tx| medium::find(tx, &id).await).await.unwrap().unwrap()
}

async fn claims(db: &TestDb, medium: &Medium, seen: MediumRow) -> bool {
    claims_by(db, medium, seen, 0).await
}

/// Where the batch was seen in a revision.
async fn claims_by(db: &TestDb, medium: &Medium, seen: MediumRow, of_batch: i64) -> bool {
    let id = medium.id.clone();
    db.write("claim", id.to_string(), async move |tx: &mut Tx| medium::claim_next(tx, &id, &seen, of_batch).await).await.unwrap()
}

db_test!(a_claim_does_not_commit_on_a_medium_that_is_not_as_it_was_seen, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({ "copies": 9 })).await[0];
    Terminal::registered(&server).await.claim(&server, medium).await.unwrap();
    let seen = row(&db, medium).await;
    assert!(claims(&db, medium, seen.clone()).await);
    assert!(!claims(&db, medium, seen).await, "somebody else was first");
    let seen = row(&db, medium).await;
    db.run("UPDATE medium SET epoch = epoch + 1").await;
    assert!(!claims(&db, medium, seen).await, "proven under a claim secret that a refresh has ended");
    let seen = row(&db, medium).await;
    db.run("UPDATE medium SET revision = revision + 1").await;
    assert!(!claims(&db, medium, seen).await, "decided by rights that it has no more");
    let seen = row(&db, medium).await;
    assert!(!claims_by(&db, medium, seen, 1).await, "decided by rights that its batch has no more");
    let seen = row(&db, medium).await;
    db.run("UPDATE medium SET state = 'retired'").await;
    assert!(!claims(&db, medium, seen).await, "retired meanwhile");
    assert_eq!(row(&db, medium).await.copies_claimed, 2);
});

db_test!(only_one_makes_the_row_of_a_medium_that_nobody_has_touched, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    let id = medium.id.clone();
    let first = async move |tx: &mut Tx| -> Result<bool, DbError> {
        let known = medium::known(tx, &id).await?.unwrap();
        medium::claim_first(tx, &id, &known, Timestamp(1)).await
    };
    let of = medium.id.to_string();
    db.run("UPDATE batch SET revision = 1").await;
    let before = medium::Known {
        revision: 0,
        ..db.read("known", {
            let id = medium.id.clone();
            async move |tx: &mut Tx| medium::known(tx, &id).await
        })
        .await
        .unwrap()
        .unwrap()
    };
    let id = medium.id.clone();
    let outdated = async move |tx: &mut Tx| -> Result<bool, DbError> { medium::claim_first(tx, &id, &before, Timestamp(1)).await };
    assert!(!db.write("claim", of.clone(), outdated).await.unwrap(), "decided by rights that its batch has no more");
    assert!(db.write("claim", of.clone(), first.clone()).await.unwrap());
    assert!(!db.write("claim", of, first).await.unwrap());
    assert_eq!(row(&db, medium).await.copies_claimed, 1);
});

db_test!(c8_claims_at_two_processes_at_once_give_each_copy_once_and_each_request_one_answer, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let other = server.another(&db, |_| ()).await;
    let media = media(&server, "sky-raider", 6, json!({ "copies": 2 })).await;
    let owners = [Terminal::registered(&server).await, Terminal::registered(&server).await, Terminal::registered(&server).await];
    for medium in &media {
        let envelopes: Vec<Vec<u8>> = owners
            .iter()
            .map(|owner| owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(medium))), Some(medium)))
            .collect();
        // Everybody asks twice at each process, with the same request.
        let asked = envelopes.iter().flat_map(|sealed| [&server, &other, &server, &other].map(|at| exchange(at, sealed)));
        let answers = futures_util::future::join_all(asked).await;
        let mut granted = 0;
        for (owner, answers) in owners.iter().zip(answers.chunks(4)) {
            let copies: BTreeSet<_> = answers.iter().map(|answer| keys(owner, answer)).collect();
            assert_eq!(copies.len(), 1, "one request, one answer: {answers:?}");
            granted += copies.iter().flatten().count();
        }
        assert_eq!(granted, 2);
        assert_eq!(row(&db, medium).await.copies_claimed, 2);
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, 12);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 12);
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
});

/// What an owner can open of a grant; nothing of a refusal because the medium is spent.
fn keys(owner: &Terminal, answer: &Result<serde_json::Value, Refusal>) -> Option<Vec<u8>> {
    match answer {
        Ok(result) => {
            let result: ClaimResult = serde_json::from_value(result.clone()).unwrap();
            let (content, library) = owner.open(&result.grants[0]);
            Some([&content.expose()[..], &library.expose()[..]].concat())
        }
        Err(refusal) => {
            assert_eq!(refusal.code, Code::MediumSpent);
            None
        }
    }
}

async fn enqueue(db: &TestDb, family: String, id: &'static str, kind: &'static str, payload: String) {
    db.write("enqueue", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        outbox::enqueue(tx, &family, id, kind, &payload, 0, 0).await
    })
    .await
    .unwrap();
}

db_test!(a_message_that_cannot_be_delivered_is_put_off_and_holds_no_other_up, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 3, json!({})).await;
    let owner = Terminal::registered(&server).await;
    for medium in &media {
        owner.claim(&server, medium).await.unwrap();
    }
    let of = media[0].id.clone();
    let nowhere = Entitlement {
        user: owner.user.unwrap(),
        grant: counterfoil_core::GrantId::from_bytes([1; 16]),
        medium: of.clone(),
        title: "no-such-title".parse().unwrap(),
        at: Timestamp(0),
        holder: None,
        device: None,
        drive: None,
    };
    enqueue(&db, of.to_string(), "bad-title", ENTITLEMENT, json!(nowhere).to_string()).await;
    enqueue(&db, of.to_string(), "bad-kind", "telegram", "{}".to_owned()).await;
    assert_eq!(jobs::deliver(&server.app).await.unwrap(), 5);
    assert_eq!(db.number("SELECT count(*) FROM entitlement").await, 3, "the others of the same user");
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE attempts = 1 AND last_error IS NOT NULL").await, 2);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 2, "what was delivered is forgotten");
    assert_eq!(jobs::deliver(&server.app).await.unwrap(), 0, "not before its time");
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
});

db_test!(a_message_that_is_delivered_twice_entitles_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &media(&server, "sky-raider", 1, json!({})).await[0];
    Terminal::registered(&server).await.claim(&server, medium).await.unwrap();
    db.run("CREATE TABLE kept AS SELECT * FROM outbox").await;
    // Two that are both leader for a moment; then one that died between the effect and the end of the message.
    let (one, two) = tokio::join!(jobs::deliver(&server.app), jobs::deliver(&server.app));
    assert!(one.unwrap() + two.unwrap() >= 1);
    db.run("INSERT INTO outbox SELECT * FROM kept").await;
    assert_eq!(jobs::deliver(&server.app).await.unwrap(), 1);
    assert_eq!(db.number("SELECT count(*) FROM entitlement").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 0);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
});
