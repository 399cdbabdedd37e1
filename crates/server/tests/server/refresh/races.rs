//! Old and new identity of a medium, and changing rights, at two processes at once: nothing goes back, nothing is given that no right allowed.

use counterfoil_core::Code;
use counterfoil_core::wire::Operation;
use futures_util::future::join_all;
use serde_json::json;

use super::rights::patch;
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, exchange, media, request};
use super::{TestServer, look, outcome, refreshed, shown, sound, told};

db_test!(
    /// proves: B7
    b7_old_and_new_identity_at_two_processes_at_once_leave_the_new_one_good_alone,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let other = server.another(&db, |_| ()).await;
        for old in &media(&server, "sky-raider", 4, json!({ "copies": 9 })).await {
            let new = refreshed(&server, old).await;
            let owner = Terminal::registered(&server).await;
            let operations = |medium| [look(medium), Operation::Claim(owner.claim_operation(medium)), look(medium)];
            let mut asked = vec![];
            for (old, new) in operations(old).into_iter().map(|operation| (old, operation)).zip(operations(&new).map(|operation| (&new, operation))) {
                for (medium, operation) in [old, new] {
                    asked.push(owner.sealed(&server, &request(&server, operation), Some(medium)));
                }
            }
            asked.push(owner.sealed(&server, &request(&server, told(&new, 2)), Some(&new)));
            let answers = join_all(asked.iter().enumerate().map(|(n, sealed)| exchange(if n % 2 == 0 { &server } else { &other }, sealed))).await;
            for (n, answer) in answers.iter().enumerate() {
                let by_new = n % 2 == 1 || n == 6;
                match answer {
                    Ok(_) => {}
                    Err(refusal) => assert!(!by_new && refusal.code == Code::MediumSuperseded, "{n}: {refusal:?}"),
                }
            }
            assert_eq!(outcome(&server, old, look(old)).await, Err(Code::MediumSuperseded));
            assert!(outcome(&other, &new, look(&new)).await.is_ok());
            let document = shown(&server, &new).await;
            assert_eq!((&document["epoch"], &document["copies_claimed"]), (&json!(2), &json!(1)), "one claimant, one copy");
            let moved = document["timeline"].as_array().unwrap().iter().filter(|event| event["event"] == "medium.refreshed").count();
            assert_eq!(moved, 1);
        }
        sound(&db).await;
    }
);

db_test!(
    /// proves: B2
    b2_claims_while_rights_change_get_what_some_right_allowed,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let other = server.another(&db, |_| ()).await;
        let all = media(&server, "sky-raider", 3, json!({})).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        let mut owners = vec![];
        for _ in 0..5 {
            owners.push(Terminal::registered(&server).await);
        }
        let claims = all.iter().flat_map(|medium| owners.iter().enumerate().map(move |(n, owner)| (n, owner, medium)));
        let claims = claims.map(async |(n, owner, medium)| owner.claim(if n % 2 == 0 { &server } else { &other }, medium).await);
        let change = async |copies: u32| {
            let body = json!({ "rights": { "copies": copies }, "refresh": false });
            let path = format!("/v1/batches/{batch}/rights");
            patch(&server, &server.fox, &path, body).await.expect(200);
        };
        let changes = async {
            for copies in [3, 2, 3, 1] {
                change(copies).await;
            }
        };
        let (answers, ()) = tokio::join!(join_all(claims), changes);
        let granted = answers.iter().filter(|answer| answer.is_ok()).count() as i64;
        assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(|refusal| refusal.code == Code::MediumSpent));
        assert_eq!(db.number("SELECT count(*) FROM grants").await, granted);
        assert!(granted >= 3 && db.number("SELECT max(copies_claimed) FROM medium").await <= 3);
        sound(&db).await;
        // What is claimed from now on goes by the last change.
        for owner in &owners {
            for medium in &all {
                let open = owner.claim(&other, medium).await;
                assert!(open.is_ok() || open.unwrap_err().code == Code::MediumSpent);
            }
        }
        assert_eq!(db.number("SELECT count(*) FROM grants").await, granted);
    }
);
