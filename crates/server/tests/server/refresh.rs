//! Refreshed media (B7): the next claim secret comes with any answer, and once it is used, older ones are good no more (`testing.md`, row 11).

use crate::support;
use crate::support::breaking::{break_everywhere, impatient};
use crate::support::catalogue;
use crate::support::terminal;

use catalogue::TestServer;
use counterfoil_core::wire::{
    Answer, IdentityArea, IdentityClaims, Inspect, InspectResult, Operation, Refreshed, RefreshedResult, Request,
};
use counterfoil_core::{Code, Refusal};
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::jws::verify_compact;
use counterfoil_format::refresh;
use counterfoil_format::secret::Secret;
use counterfoil_server::{auditor, store};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Medium, OutcomeResult as _, Terminal, answer, exchange, media, request, send};

mod limits;
mod races;
mod rights;

fn look(medium: &Medium) -> Operation {
    Operation::Inspect(Inspect { medium_id: Some(medium.id.clone()), ..Inspect::default() })
}

fn told(medium: &Medium, epoch: u32) -> Operation {
    Operation::Refreshed(Refreshed { medium_id: medium.id.clone(), epoch })
}

/// Asks as a medium that can be written, and gives the whole answer.
async fn ask(server: &TestServer, medium: &Medium, operation: Operation) -> Answer {
    let asked = Request { refreshable: true, ..request(server, operation) };
    answer(server, send(server, &Terminal::new().sealed(server, &asked, Some(medium))).await)
}

/// The result, or the code of the refusal.
async fn outcome(server: &TestServer, medium: &Medium, operation: Operation) -> Result<Value, Code> {
    ask(server, medium, operation).await.outcome_result().map_err(|refusal: Refusal| refusal.code)
}

/// What a terminal would write to the medium, with what the authority vouches for in it.
fn opened(server: &TestServer, medium: &Medium, answer: &Answer) -> (Medium, IdentityClaims) {
    let offered = answer.refresh.as_ref().expect("a refresh");
    let area = refresh::open(&medium.secret, medium.id.as_str(), offered.epoch, &offered.sealed).unwrap();
    let area: IdentityArea = serde_json::from_slice(&area).unwrap();
    let claims: IdentityClaims =
        verify_compact(&area.identity, "counterfoil-identity+jwt", |kid| server.app.keys.verifying_key(kid)).unwrap();
    assert_eq!((&claims.medium_id, claims.epoch), (&medium.id, offered.epoch));
    (Medium { id: claims.medium_id.clone(), secret: Secret::from_slice(&from_base64url(&area.claim_secret).unwrap()).unwrap() }, claims)
}

/// Orders a refresh of a medium, and takes what comes of it.
async fn refreshed(server: &TestServer, medium: &Medium) -> Medium {
    server.post(&server.fox, &format!("/v1/media/{}/refresh", medium.id), &json!({ "reason": "r" })).await.expect(200);
    opened(server, medium, &ask(server, medium, look(medium)).await).0
}

async fn shown(server: &TestServer, medium: &Medium) -> Value {
    server.get(&server.fox, &format!("/v1/media/{}", medium.id)).await.expect(200)
}

async fn sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(
    /// proves: B7
    b7_a_copy_of_the_old_identity_is_refused_and_shown_once_the_new_one_was_used,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let old = media(&server, "sky-raider", 1, json!({})).await.remove(0);
        assert!(ask(&server, &old, look(&old)).await.refresh.is_none(), "none was ordered");
        server.post(&server.fox, &format!("/v1/media/{}/refresh", old.id), &json!({})).await.expect(200);
        let read_only = answer(&server, send(&server, &Terminal::new().sealed(&server, &request(&server, look(&old)), Some(&old))).await);
        assert!(read_only.refresh.is_none(), "a medium that cannot be written is not offered what it cannot take");
        let (new, _) = opened(&server, &old, &ask(&server, &old, look(&old)).await);
        // Pulled out before it was written: the old one goes on, and gets the same again.
        let (again, _) = opened(&server, &old, &ask(&server, &old, look(&old)).await);
        assert!(again.secret == new.secret && new.secret != old.secret);
        assert_eq!(shown(&server, &old).await["epoch"], 1);
        let owner = Terminal::registered(&server).await;
        let grants = owner.claim(&server, &new).await.unwrap();
        assert!(ask(&server, &new, look(&new)).await.refresh.is_none());
        assert_eq!(shown(&server, &new).await["epoch"], 2);

        let before = db.number("SELECT count(*) FROM audit WHERE family LIKE '/stranger/%'").await;
        for operation in [look(&old), told(&old, 1), Operation::Claim(owner.claim_operation(&old))] {
            let asked = Request { refreshable: true, ..request(&server, operation) };
            let refused = answer(&server, send(&server, &owner.sealed(&server, &asked, Some(&old))).await);
            assert!(refused.refresh.is_none(), "a copy gets no refresh");
            assert_eq!(refused.outcome_result().unwrap_err().code, Code::MediumSuperseded);
        }
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE family LIKE '/stranger/%'").await, before, "no stranger: it holds what once was good");
        owner.confirm(&server, &new, &grants).await.unwrap();
        let document = shown(&server, &new).await;
        let events: Vec<&str> = document["timeline"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
        let clone = "medium.superseded_presented";
        let last = ["medium.refreshed", "claim.granted", "medium.inspected", clone, clone, clone, "copy.confirmed"];
        assert_eq!(events[events.len() - last.len()..], last);
        assert_eq!((&document["superseded_presented"], &document["target_epoch"]), (&json!(3), &json!(2)));
        assert_eq!(events.iter().filter(|event| **event == "medium.refreshed").count(), 1);
        sound(&db).await;
    }
);

db_test!(
    /// proves: B7
    b7_refreshes_that_were_passed_over_end_with_the_one_that_is_used,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let (first, other) = {
            let mut both = media(&server, "sky-raider", 2, json!({})).await;
            (both.remove(0), both.remove(0))
        };
        let second = refreshed(&server, &first).await;
        let third = refreshed(&server, &first).await;
        assert!(third.secret != second.secret);
        // Every one that was ordered since is good, in whatever order it comes up; whose it is, is what the proof says.
        assert_eq!(outcome(&server, &second, told(&second, 3)).await, Err(Code::ProofInvalid));
        assert_eq!(shown(&server, &first).await["epoch"], 1, "what is said moves nothing on");
        let result: RefreshedResult = serde_json::from_value(outcome(&server, &second, told(&second, 2)).await.unwrap()).unwrap();
        assert_eq!(result.rights.copies, 1);
        assert_eq!(outcome(&server, &first, look(&first)).await, Err(Code::MediumSuperseded));
        let (again, _) = opened(&server, &second, &ask(&server, &second, told(&second, 2)).await);
        assert!(again.secret == third.secret, "the answer to one brings the next");
        assert!(outcome(&server, &third, told(&third, 3)).await.is_ok() && outcome(&server, &third, told(&third, 3)).await.is_ok());
        for old in [&first, &second] {
            assert_eq!(outcome(&server, old, look(old)).await, Err(Code::MediumSuperseded));
        }
        // Of another medium, and of nobody.
        let stolen = Medium { id: other.id.clone(), ..third.clone() };
        assert_eq!(outcome(&server, &stolen, told(&other, 3)).await, Err(Code::MediumUnknown));
        assert_eq!(outcome(&server, &third, told(&other, 3)).await, Err(Code::MediumUnknown));
        let guessed = Medium { secret: Secret::new([9; 32]), ..third.clone() };
        assert_eq!(outcome(&server, &guessed, told(&third, 4)).await, Err(Code::MediumUnknown));
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.refreshed'").await, 2);
        assert_eq!((shown(&server, &third).await["epoch"].clone(), shown(&server, &other).await["epoch"].clone()), (json!(3), json!(1)));
        sound(&db).await;
    }
);

db_test!(
    /// proves: B7
    b7_a_replayed_acknowledgement_changes_nothing,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let old = media(&server, "sky-raider", 1, json!({})).await.remove(0);
        let new = refreshed(&server, &old).await;
        let envelope = Terminal::new().sealed(&server, &request(&server, told(&new, 2)), Some(&new));
        assert!(exchange(&server, &envelope).await.is_ok() && exchange(&server, &envelope).await.is_ok());
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.refreshed'").await, 1);
        let newest = refreshed(&server, &new).await;
        assert!(outcome(&server, &newest, told(&newest, 3)).await.is_ok());
        assert_eq!(exchange(&server, &envelope).await.unwrap_err().code, Code::MediumSuperseded);
        assert_eq!(shown(&server, &newest).await["epoch"], 3, "nothing goes back");
        sound(&db).await;
    }
);

db_test!(
    /// proves: B7
    b7_a_batch_is_refreshed_and_pressed_again_in_the_epoch_that_it_should_have,
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let other = server.another(&db, |_| ()).await;
        let all = media(&server, "sky-raider", 3, json!({ "copies": 5 })).await;
        let (batch, _) = all[0].id.batch_and_serial().unwrap();
        let owner = Terminal::registered(&server).await;
        owner.claim(&other, &all[0]).await.unwrap();
        server.post(&server.fox, &format!("/v1/batches/{batch}/refresh"), &json!({ "reason": "keys leaked" })).await.expect(200);
        server.post(&server.fox, &format!("/v1/media/{}/refresh", all[1].id), &json!({})).await.expect(200);
        let lines = server.get(&server.fox, &format!("/v1/batches/{batch}/identities")).await;
        let areas: Vec<IdentityArea> =
            std::str::from_utf8(&lines.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let epochs: Vec<u32> = areas
            .iter()
            .map(|area| {
                let claims: IdentityClaims =
                    verify_compact(&area.identity, "counterfoil-identity+jwt", |kid| server.app.keys.verifying_key(kid)).unwrap();
                claims.epoch
            })
            .collect();
        assert_eq!(epochs, [2, 3, 2]);
        // The other process has the batch in memory as it was: what was pressed since is good there all the same.
        let pressed = |n: usize| Medium {
            id: all[n].id.clone(),
            secret: Secret::from_slice(&from_base64url(&areas[n].claim_secret).unwrap()).unwrap(),
        };
        let reader = Terminal::registered(&server).await;
        for (n, old) in all.iter().enumerate() {
            assert!(reader.claim(&other, &pressed(n)).await.is_ok(), "{n}");
            assert_eq!(reader.claim(&other, old).await.unwrap_err().code, Code::MediumSuperseded, "{n}");
        }
        sound(&db).await;
    }
);

db_test!(
    /// proves: B7
    b7_a_broken_acknowledgement_is_made_whole_by_its_repeat,
    |options| impatient(options),
    async |db: TestDb| {
        let server = TestServer::new(&db).await;
        let media = media(&server, "sky-raider", 120, json!({})).await;
        let (batch, _) = media[0].id.batch_and_serial().unwrap();
        server.post(&server.fox, &format!("/v1/batches/{batch}/refresh"), &json!({})).await.expect(200);
        let lines = server.get(&server.fox, &format!("/v1/batches/{batch}/identities")).await;
        let areas: Vec<IdentityArea> =
            std::str::from_utf8(&lines.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let fresh = async |number: usize| {
            let secret = Secret::from_slice(&from_base64url(&areas[number].claim_secret).unwrap()).unwrap();
            let medium = Medium { id: media[number].id.clone(), secret };
            Terminal::new().sealed(&server, &request(&server, told(&medium, 2)), Some(&medium))
        };
        break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM medium WHERE epoch = 2").await).await;
        let moved = db.number("SELECT count(*) FROM medium WHERE epoch = 2").await;
        assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.refreshed'").await, moved);
    }
);

db_test!(what_is_refused_of_a_medium_that_proved_itself_is_in_its_own_record, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let nobody = Terminal { user: Some(counterfoil_core::UserId::from_bytes([7; 16])), ..Terminal::new() };
    assert_eq!(nobody.claim(&server, &medium).await.unwrap_err().code, Code::UserInvalid);
    let inspect = Operation::Inspect(Inspect { medium_id: Some(medium.id.clone()), user_id: nobody.user, device_id: None });
    assert_eq!(nobody.ask(&server, inspect, Some(&medium)).await.unwrap_err().code, Code::UserInvalid);
    let document = server.get(&server.operator, &format!("/v1/media/{}", medium.id)).await.expect(200);
    let told: Vec<&str> = document["timeline"].as_array().unwrap().iter().map(|event| event["text"].as_str().unwrap()).collect();
    assert_eq!(told, ["Refused (claim): user_invalid", "Refused (inspect): user_invalid"]);
    // Who proves nothing leaves nothing there.
    let forged = Medium { secret: Secret::new([1; 32]), ..medium.clone() };
    assert_eq!(outcome(&server, &forged, look(&medium)).await, Err(Code::MediumUnknown));
    assert_eq!(shown(&server, &medium).await["timeline"].as_array().unwrap().len(), 2);
    // And its first claim still is the first.
    assert!(Terminal::registered(&server).await.claim(&server, &medium).await.is_ok());
    let result: InspectResult = serde_json::from_value(outcome(&server, &medium, look(&medium)).await.unwrap()).unwrap();
    assert_eq!(result.medium.unwrap().copies_left, 0);
    sound(&db).await;
});
