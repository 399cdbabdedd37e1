//! Deciding: by the repair centre, or by time.

use counterfoil_core::wire::ReissueState;
use counterfoil_core::{CardId, Code, ReissueId, Timestamp, UserId};
use counterfoil_server::actions::reissue::{self, pass};
use counterfoil_server::auth::Role;
use counterfoil_server::config::Reissues;
use counterfoil_server::db::Tx;
use counterfoil_server::store::user;
use serde_json::{Value, json};

use super::catalogue::{NOW, TestServer, make_token};
use super::support::{TestDb, db_test};
use super::terminal::{Terminal, refused};
use super::{card_keys, is_sound};

fn path(user: UserId) -> String {
    format!("/v1/entries/{user}/reissue")
}

async fn asked(server: &TestServer) -> (Terminal, Terminal, ReissueId) {
    let owner = Terminal::registered(server).await;
    let code = owner.recovery_code(server).await.unwrap();
    let new = owner.with_new_card();
    let asked = new.reissue(server, owner.user.unwrap(), &code).await.unwrap();
    (owner, new, asked.reissue_id)
}

db_test!(c15_the_repair_centre_carries_a_request_out, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (owner, new, request) = asked(&server).await;
    let repair = make_token(&server.app, Role::Repair, None).await;
    let waiting = server.get(&repair, "/v1/reissues").await.expect(200);
    assert_eq!(waiting["items"][0]["reissue_id"], json!(request));
    assert_eq!(waiting["items"][0]["card_id"], json!(new.card_id()));
    assert_eq!(waiting["items"][0]["contact"], "by phone: 555");
    let body = json!({ "reissue_id": request, "reason": "passport seen", "reference": "RC-7" });
    let done = server.post(&repair, &path(owner.user.unwrap()), &body).await.expect(200);
    assert_eq!((&done["card_id"], &done["old_card_id"]), (&json!(new.card_id()), &json!(owner.card_id())));
    assert_eq!((&done["generation"], &done["reissue_id"]), (&json!(1), &json!(request)));
    assert_eq!(server.get(&repair, "/v1/reissues").await.expect(200)["items"], json!([]));
    new.collect(&server).await.unwrap();
    assert_eq!(refused(owner.collect(&server).await), Code::CardUnknown);
    // Who asked finds out, and nobody carries it out twice.
    let code = new.recovery_code(&server).await.unwrap();
    let again = new.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    assert_eq!((again.reissue_id, again.state), (request, ReissueState::Done));
    let twice = server.post(&repair, &path(owner.user.unwrap()), &body).await;
    assert_eq!((twice.status.as_u16(), twice.code().as_str()), (409, "conflict"));
    // It is on record: who, why, and the repair centre's number.
    let sql = "SELECT count(*) FROM repair WHERE kind = 'card' AND reason = 'passport seen' AND reference = 'RC-7'";
    assert_eq!(db.number(sql).await, 1);
    is_sound(&db).await;
});

db_test!(c15_what_the_repair_centre_declines_stays_declined, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (owner, new, request) = asked(&server).await;
    let user = owner.user.unwrap();
    let decline = format!("/v1/entries/{user}/reissues/{request}/decline");
    let empty = server.post(&server.operator, &decline, &json!({ "reason": " " })).await;
    assert_eq!(empty.status.as_u16(), 422);
    for _ in 0..2 {
        let declined = server.post(&server.operator, &decline, &json!({ "reason": "nobody answers" })).await.expect(200);
        assert_eq!((declined["state"].as_str(), declined["reason"].as_str()), (Some("declined"), Some("nobody answers")));
    }
    assert_eq!(refused(new.collect(&server).await), Code::ReissueDeclined);
    // Neither by its request nor past it.
    for body in [json!({ "reissue_id": request, "reason": "x" }), json!({ "card": card_keys(&new), "reason": "x" })] {
        let refused = server.post(&server.operator, &path(user), &body).await;
        assert!(matches!(refused.status.as_u16(), 403 | 409), "{body}");
    }
    owner.collect(&server).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM repair").await, 0);
    // Another card may.
    let other = owner.with_new_card();
    other.replaces(&server, user).await;
    other.collect(&server).await.unwrap();
    let decided = server.post(&server.operator, &decline, &json!({ "reason": "again" })).await.expect(200);
    assert_eq!(decided["reason"], "nobody answers");
    is_sound(&db).await;
});

db_test!(c15_dead_cards_and_other_peoples_do_not_become_the_new_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (owner, stranger) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    let (user, other) = (owner.user.unwrap(), stranger.user.unwrap());
    let code = owner.recovery_code(&server).await.unwrap();
    let dead = Terminal::just_a_card();
    let id = dead.card_id().unwrap();
    server.post(&server.operator, "/v1/cards", &json!({ "cards": [id] })).await.expect(200);
    server.post(&server.operator, &format!("/v1/cards/{id}/revoke"), &json!({ "reason": "stolen" })).await.expect(200);
    let theirs = Terminal { card: stranger.card.clone(), ..Terminal::just_a_card() };
    let same = Terminal { card: owner.card.clone(), ..Terminal::just_a_card() };
    for (card, expected) in [(&dead, Code::CardUnknown), (&theirs, Code::CardUnknown), (&same, Code::RegistrationNotAllowed)] {
        assert_eq!(refused(card.reissue(&server, user, &code).await), expected);
        let body = json!({ "card": card_keys(card), "reason": "x" });
        let answer = server.post(&server.operator, &path(user), &body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, expected.as_str()));
    }
    // The same keys for two users: the second is told when asking, and where both asked before, when it is carried out.
    let shared = Terminal::just_a_card();
    let wanted = shared.reissue(&server, user, &code).await.unwrap();
    let others = stranger.recovery_code(&server).await.unwrap();
    assert_eq!(refused(shared.reissue(&server, other, &others).await), Code::CardUnknown);
    shared.replaces(&server, other).await;
    let late = server.post(&server.operator, &path(user), &json!({ "reissue_id": wanted.reissue_id, "reason": "x" })).await;
    assert_eq!((late.status.as_u16(), late.code().as_str()), (403, "card_unknown"));
    // A card that was replaced stays dead, also for its own user, and before its own family has heard of it.
    let second = owner.with_new_card();
    second.replaces(&server, user).await;
    db.run("UPDATE holder SET state = 'registered' WHERE state = 'dead'").await;
    let back = server.post(&server.operator, &path(user), &json!({ "card": card_keys(&owner), "reason": "found" })).await;
    assert_eq!((back.status.as_u16(), back.code().as_str()), (403, "card_unknown"));
    assert_eq!(db.number("SELECT count(*) FROM repair").await, 2);
});

db_test!(c15_only_issued_cards_where_the_operator_demands_that, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.registration.issued_cards_only = true).await;
    let mut owner = Terminal::new();
    let issue = async |card: CardId| drop(server.post(&server.operator, "/v1/cards", &json!({ "cards": [card] })).await.expect(200));
    issue(owner.card_id().unwrap()).await;
    owner.register(&server, None).await.unwrap();
    let (code, user) = (owner.recovery_code(&server).await.unwrap(), owner.user.unwrap());
    let new = owner.with_new_card();
    assert_eq!(refused(new.reissue(&server, user, &code).await), Code::CardUnknown);
    issue(new.card_id().unwrap()).await;
    new.reissue(&server, user, &code).await.unwrap();
    new.replaces(&server, user).await;
    new.collect(&server).await.unwrap();
    is_sound(&db).await;
});

db_test!(c15_a_request_without_a_card_waits_for_one_that_the_repair_centre_makes, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let owner = Terminal::registered(&server).await;
    let (code, user) = (owner.recovery_code(&server).await.unwrap(), owner.user.unwrap());
    let asking = || reissue::Asking { user, code: Some(code.clone()), card: None, contact: None, actor: "/web".to_owned() };
    let asked = reissue::ask(&server.app, asking(), NOW).await.unwrap().unwrap();
    assert_eq!(reissue::ask(&server.app, asking(), NOW).await.unwrap().unwrap(), asked, "asked twice, one request");
    let waiting = server.get(&server.operator, "/v1/reissues").await.expect(200);
    assert_eq!(waiting["items"][0]["card_id"], Value::Null);
    let empty = server.post(&server.operator, &path(user), &json!({ "reissue_id": asked.reissue_id, "reason": "x" })).await;
    assert_eq!((empty.status.as_u16(), empty.code().as_str()), (422, "unprocessable"));
    let new = owner.with_new_card();
    let body = json!({ "reissue_id": asked.reissue_id, "card": card_keys(&new), "reason": "made here" });
    server.post(&server.operator, &path(user), &body).await.expect(200);
    new.collect(&server).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM reissue WHERE state = 'done' AND holder_id IS NOT NULL").await, 1);
    is_sound(&db).await;
});

db_test!(c15_where_the_operator_leaves_it_to_time_it_passes_then, async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.repair.reissue = Reissues::Automatic;
        config.repair.reissue_wait_hours = 24;
    })
    .await;
    let (owner, new, _) = asked(&server).await;
    let at = |millis: i64| server.app.clock.set(Timestamp(NOW.0 + millis));
    at(Timestamp::DAY - 1);
    pass(&server.app).await.unwrap();
    owner.collect(&server).await.unwrap();
    assert_eq!(refused(new.collect(&server).await), Code::ReissueWaiting);
    at(Timestamp::DAY);
    pass(&server.app).await.unwrap();
    pass(&server.app).await.unwrap();
    new.collect(&server).await.unwrap();
    assert_eq!(refused(owner.collect(&server).await), Code::CardUnknown);
    assert_eq!(db.number("SELECT count(*) FROM repair WHERE actor = '/policy'").await, 1);
    // What cannot be carried out does not wait for ever, and what has no card waits for the repair centre.
    let (third, unlucky, _) = asked(&server).await;
    let id = unlucky.card_id().unwrap();
    server.post(&server.operator, "/v1/cards", &json!({ "cards": [id] })).await.expect(200);
    server.post(&server.operator, &format!("/v1/cards/{id}/revoke"), &json!({ "reason": "x" })).await.expect(200);
    at(2 * Timestamp::DAY);
    pass(&server.app).await.unwrap();
    assert_eq!(refused(unlucky.collect(&server).await), Code::ReissueDeclined);
    third.collect(&server).await.unwrap();
    is_sound(&db).await;
});

db_test!(c15_where_nothing_has_to_be_waited_for_the_answer_says_done, async |db: TestDb| {
    let server = TestServer::with(&db, |config| config.repair.reissue = Reissues::Automatic).await;
    let owner = Terminal::registered(&server).await;
    let code = owner.recovery_code(&server).await.unwrap();
    let new = owner.with_new_card();
    let first = new.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
    assert_eq!(first.state, ReissueState::Done);
    assert_eq!(new.reissue(&server, owner.user.unwrap(), &code).await.unwrap(), first);
    new.collect(&server).await.unwrap();
    is_sound(&db).await;
});

db_test!(c15_the_list_of_what_waits_is_paged_oldest_first, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let mut expected = vec![];
    for second in 0..5 {
        server.app.clock.set(Timestamp(NOW.0 + second / 2 * 1000));
        expected.push((second / 2, asked(&server).await.2.to_string()));
    }
    expected.sort();
    let support = make_token(&server.app, Role::Support, None).await;
    let (mut listed, mut after) = (vec![], String::new());
    loop {
        let page = server.get(&support, &format!("/v1/reissues?limit=2&after={}", after.replace('/', "%2F"))).await.expect(200);
        listed.extend(page["items"].as_array().unwrap().iter().map(|item| item["reissue_id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(listed, expected.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
    assert_eq!(server.get(&support, "/v1/reissues?after=x").await.status.as_u16(), 400);
    let none = server.post(&support, &path(UserId::from_bytes([1; 16])), &json!({ "reason": "x" })).await;
    assert_eq!(none.status.as_u16(), 403, "who looks things up changes nothing");
    let unknown = server.post(&server.operator, &path(UserId::from_bytes([1; 16])), &json!({ "reason": "x" })).await;
    assert_eq!(unknown.status.as_u16(), 404);
    let family = user::family(UserId::from_bytes([1; 16]));
    let untouched = async move |tx: &mut Tx| tx.query("SELECT COUNT(*) FROM audit WHERE family = $1").bind(&family).one::<(i64,)>().await;
    assert_eq!(db.read("test", untouched).await.unwrap().0, 0);
});
