//! Changed rights (B2): of one medium, of a batch, of those that a query finds; they count from the moment of the change, at every process.

use counterfoil_core::Code;
use counterfoil_core::wire::{Heal, Operation, Report, ReportResult};
use counterfoil_format::encoding::to_base64url;
use counterfoil_server::db::{Fault, Lasting};
use serde_json::{Value, json};

use super::catalogue::{self, Answer, TestServer, json_request};
use super::support::breaking::impatient;
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, media};
use super::{ask, look, opened, outcome, shown, sound};

pub async fn patch(server: &TestServer, token: &str, path: &str, body: Value) -> Answer {
    server.send(json_request(axum::http::Method::PATCH, path, token, &body)).await
}

db_test!(
    /// proves: B2
    b2_changed_rights_of_a_batch_count_at_once_at_every_process,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let other = server.another(&db, |_| ()).await;
        let all = media(&server, "sky-raider", 3, json!({})).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        let path = format!("/v1/batches/{batch}/rights");
        let owners = [Terminal::registered(&server).await, Terminal::registered(&server).await, Terminal::registered(&server).await];
        let claim = async |who: usize, medium: usize| owners[who].claim(&other, &all[medium]).await.map(drop).map_err(|refusal| refusal.code);
        // From now on the other process has the batch in memory.
        assert_eq!(claim(0, 0).await, Ok(()));
        assert_eq!(claim(1, 0).await, Err(Code::MediumSpent));
        let changed = patch(&server, &server.fox, &path, json!({ "rights": { "copies": 2 }, "reason": "two for one" })).await.expect(200);
        assert_eq!((&changed["rights"]["copies"], &changed["rights"]["play"], &changed["refreshes"]), (&json!(2), &json!(true), &json!(1)));
        assert_eq!(claim(1, 0).await, Ok(()), "more copies");
        assert_eq!(claim(2, 0).await, Err(Code::MediumSpent));
        patch(&server, &server.fox, &path, json!({ "rights": { "copies": 1 } })).await.expect(200);
        assert_eq!(claim(0, 1).await, Ok(()));
        assert_eq!(claim(1, 1).await, Err(Code::MediumSpent), "fewer copies, also of what nobody had touched");
        assert_eq!(shown(&server, &all[0]).await["copies_claimed"], 2, "none that was claimed is taken back");
        patch(&server, &server.fox, &path, json!({ "rights": { "play": false }, "refresh": false })).await.expect(200);
        assert_eq!(claim(2, 2).await, Err(Code::RightMissing));
        patch(&server, &server.fox, &path, json!({ "rights": { "play": true }, "refresh": false })).await.expect(200);
        assert_eq!(claim(2, 2).await, Ok(()));
        assert_eq!(shown(&server, &all[2]).await["target_epoch"], 3, "two of the changes order a refresh");
        let detail = "SELECT count(*) FROM audit WHERE event = 'batch.rights_changed' AND detail LIKE '%two for one%' AND detail LIKE '%\"after\"%'";
        assert_eq!(db.number(detail).await, 1);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'batch.rights_changed'").await, 4);
        assert_eq!(patch(&server, &server.fox, &path, json!({ "rights": { "play": true } })).await.expect(200)["refreshes"], 2, "nothing new");
        sound(&db).await;
    }
);

db_test!(
    /// proves: B2
    b2_a_medium_has_rights_of_its_own_and_they_reach_it_by_a_refresh,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let all = media(&server, "sky-raider", 2, json!({})).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        let path = format!("/v1/media/{}/rights", all[0].id);
        let change = json!({ "rights": { "copies": 3, "attributes": { "edition": "gold" } }, "reason": "prize" });
        assert_eq!(patch(&server, &server.owl, &path, change.clone()).await.status, 404, "another's");
        for wrong in [json!({ "rights": {} }), json!({ "rights": { "copies": 0 } }), json!({ "rights": { "attributes": { "a": "x".repeat(70_000) } } })] {
            assert_eq!(patch(&server, &server.fox, &path, wrong).await.status, 422);
        }
        assert_eq!(patch(&server, &server.fox, &path, json!({ "rights": { "copys": 3 } })).await.status, 422);
        let changed = patch(&server, &server.fox, &path, change).await.expect(200);
        assert_eq!((&changed["rights"]["copies"], &changed["target_epoch"], &changed["epoch"]), (&json!(3), &json!(2), &json!(1)));
        assert_eq!(shown(&server, &all[1]).await["rights"]["copies"], 1);
        patch(&server, &server.fox, &format!("/v1/batches/{batch}/rights"), json!({ "rights": { "copies": 9 }, "refresh": false })).await.expect(200);
        assert_eq!(shown(&server, &all[0]).await["rights"]["copies"], 3, "its own, whatever becomes of its batch's");
        let (new, claims) = opened(&server, &all[0], &ask(&server, &all[0], look(&all[0])).await);
        assert_eq!((claims.rights.copies, claims.rights.attributes["edition"].as_str()), (3, "gold"));
        assert!(outcome(&server, &new, look(&new)).await.is_ok());
        let retired = format!("/v1/media/{}/retire", new.id);
        server.post(&server.operator, &retired, &json!({})).await.expect(200);
        server.post(&server.fox, &format!("/v1/media/{}/refresh", new.id), &json!({})).await.expect(200);
        assert!(ask(&server, &new, look(&new)).await.refresh.is_none(), "nothing new for what is out of use");
        sound(&db).await;
    }
);

db_test!(
    /// proves: B2
    b2_the_rights_of_those_that_a_query_finds_are_changed_and_it_says_where_to_go_on,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let all = media(&server, "sky-raider", 5, json!({})).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        Terminal::registered(&server).await.claim(&server, &all[1]).await.unwrap();
        let path = format!("/v1/batches/{batch}/media/rights");
        let query = async |body: Value| server.post(&server.fox, &path, &body).await;
        let change = json!({ "copies": 2 });
        assert_eq!(server.post(&server.owl, &path, &json!({ "rights": change })).await.status, 404);
        assert_eq!(query(json!({ "rights": change, "state": "lost" })).await.status, 422);
        let some = query(json!({ "rights": change, "from": 2, "until": 4, "state": "unclaimed", "reason": "r" })).await.expect(200);
        assert_eq!(some, json!({ "matched": 2, "changed": 2 }));
        assert_eq!(query(json!({ "rights": change, "from": 2, "until": 4 })).await.expect(200), json!({ "matched": 3, "changed": 1 }));
        let copies: Vec<i64> = {
            let mut copies = vec![];
            for medium in &all {
                copies.push(shown(&server, medium).await["rights"]["copies"].as_i64().unwrap());
            }
            copies
        };
        assert_eq!(copies, [1, 2, 2, 2, 1]);
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.rights_changed'").await, 3);
        let many = catalogue::press(&server, &server.fox, "sky-raider", 2500).await["batch"].as_str().unwrap().to_owned();
        let page = format!("/v1/batches/{many}/media/rights");
        let mut from = json!(1);
        for next in [json!(1001), json!(2001), Value::Null] {
            let answer = server.post(&server.fox, &page, &json!({ "rights": change, "from": from, "state": "claimed" })).await.expect(200);
            assert_eq!((&answer["matched"], &answer["next"]), (&json!(0), &next));
            from = next;
        }
        sound(&db).await;
    }
);

db_test!(
    /// proves: B2
    b2_what_a_right_allows_is_asked_for_it_when_it_is_wanted,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
        let owner = Terminal::registered(&server).await;
        let grants = owner.claim(&server, &medium).await.unwrap();
        owner.confirm(&server, &medium, &grants).await.unwrap();
        let heal = Operation::Heal(Heal {
            user_id: owner.user.unwrap(),
            medium_id: Some(medium.id.clone()),
            grant_id: grants[0].grant_id,
            device_id: owner.device_id(),
            chunks: vec![to_base64url(&[1; 32])],
        });
        let status = json!({ "title": "sky-raider", "release": "1.0" });
        let refused = async || -> Option<(Code, String)> {
            let titles = vec![serde_json::from_value(status.clone()).unwrap()];
            let report = Report { user_id: None, device_id: None, medium_id: Some(medium.id.clone()), encoder: "zstd".into(), deltas: false, titles };
            let result: ReportResult = serde_json::from_value(outcome(&server, &medium, Operation::Report(report)).await.unwrap()).unwrap();
            result.plans[0].refused.as_ref().map(|refusal| (refusal.code, refusal.detail.clone().unwrap_or_default()))
        };
        let path = format!("/v1/media/{}/rights", medium.id);
        let change = async |rights: Value| patch(&server, &server.fox, &path, json!({ "rights": rights, "refresh": false })).await.expect(200);
        assert_eq!(refused().await, None);
        assert!(owner.ask(&server, heal.clone(), None).await.is_ok());
        change(json!({ "update": false })).await;
        assert_eq!(refused().await, Some((Code::RightMissing, "update".to_owned())));
        change(json!({ "update": true, "download": false })).await;
        assert_eq!(refused().await, Some((Code::RightMissing, "download".to_owned())));
        assert!(owner.ask(&server, heal.clone(), None).await.is_ok(), "what is whole on the medium heals without the network");
        change(json!({ "play": false })).await;
        assert_eq!(owner.ask(&server, heal, None).await.unwrap_err().code, Code::RightMissing);
        sound(&db).await;
    }
);

db_test!(
    /// proves: B2
    b2_a_broken_change_is_made_once_or_not_at_all,
    |options| impatient(options),
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let all = media(&server, "sky-raider", 1, json!({})).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        let mut copies = 1;
        for path in [format!("/v1/batches/{batch}/rights"), format!("/v1/media/{}/rights", all[0].id)] {
            for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
                for place in 0..60 {
                    copies += 1;
                    let events = async || db.number("SELECT count(*) FROM audit WHERE event LIKE '%.rights_changed'").await;
                    let orders = async || {
                        db.number("SELECT CAST((SELECT sum(refreshes) FROM batch) + COALESCE((SELECT sum(refreshes) FROM medium), 0) AS BIGINT)").await
                    };
                    let (before, ordered) = (events().await, orders().await);
                    db.faults.arm(kind(place), Lasting::ForGood);
                    let first = patch(&server, &server.fox, &path, json!({ "rights": { "copies": copies } })).await;
                    let fired = db.faults.fired();
                    db.faults.disarm();
                    let done = events().await - before;
                    assert!(first.status == 503 || (first.status == 200 && done == 1), "{:?}: {}", kind(place), first.status);
                    assert!(done == 0 || first.status == 200 || matches!(kind(place), Fault::CommitAnswer(_)), "{:?}", kind(place));
                    patch(&server, &server.fox, &path, json!({ "rights": { "copies": copies } })).await.expect(200);
                    assert_eq!((events().await - before, orders().await - ordered), (1, 1), "{:?}: repeated, one effect", kind(place));
                    if fired == 0 {
                        break;
                    }
                    assert!(place < 59, "the fault never ended");
                }
            }
        }
        sound(&db).await;
    }
);
