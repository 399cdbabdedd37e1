//! What a status selects (A6, A8, A10): rules, who is given what by them and how often, and contents servers that answer or lie.

mod contents_servers;

use crate::support;
use crate::support::catalogue;
use crate::support::sales;
use crate::support::terminal;

use axum::http::Method;
use catalogue::{NOW, TestServer, json_request, publish};
use counterfoil_core::wire::{ContentsServer, Selected, Status, Variable};
use counterfoil_core::{Code, Rights, Timestamp};
use counterfoil_server::actions::selection::{Reported, Reporter, at_report};
use counterfoil_server::{auditor, store};
use futures_util::future::join_all;
use sales::sell;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, refused};

const PRICE: &str = "19.99 EUR";

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

/// A title on sale, a supplement beside it, and somebody who has bought the title.
async fn bought(db: &TestDb) -> (TestServer, Terminal) {
    let server = TestServer::new(db).await;
    sell(&server, db, "sky-raider", &[PRICE], json!({ "transfers": 2 })).await;
    publish(&server, "blue-fox", "chapter-4", "1.0").await;
    let anna = Terminal::registered(&server).await;
    anna.order(&server, "sky-raider", PRICE).await.unwrap();
    (server, anna)
}

async fn rule(server: &TestServer, condition: &str) -> Value {
    let path = "/v1/titles/sky-raider/rules/chapter-4";
    server.put_json(&server.fox, path, &json!({ "condition": condition })).await.expect(200)
}

fn reporter(of: &Terminal) -> Reporter {
    Reporter { user: of.user.unwrap(), device: of.device_id().unwrap() }
}

fn status(title: &str, chapter: i64) -> Reported {
    let status = Status {
        title: title.parse().unwrap(),
        grant_id: None,
        medium_id: None,
        release: Some("1.0".parse().unwrap()),
        damaged: vec![],
        begun: None,
        channel: None,
        wanted: None,
        feed: 0,
        variables: [("chapter".to_owned(), Variable::Number(chapter))].into(),
    };
    Reported { status, number: 1, batch: None, rights: Rights::default() }
}

async fn selects(server: &TestServer, of: &Terminal, chapter: i64) -> Vec<Selected> {
    report(server, of, chapter).await.0
}

async fn report(server: &TestServer, of: &Terminal, chapter: i64) -> (Vec<Selected>, Vec<ContentsServer>) {
    at_report(&server.app, reporter(of), vec![status("sky-raider", chapter)], server.app.clock.now()).await.unwrap()
}

fn names(selected: &[Selected]) -> Vec<&str> {
    selected.iter().map(|one| one.title.as_str()).collect()
}

db_test!(a6_a_rule_is_set_listed_tried_and_taken_away_by_its_publisher, async |db: TestDb| {
    let (server, _) = bought(&db).await;
    let (rules, one) = ("/v1/titles/sky-raider/rules", "/v1/titles/sky-raider/rules/chapter-4");
    let set = rule(&server, "vars.chapter >= 3").await;
    assert_eq!((set["supplement"].as_str(), set["condition"].as_str()), (Some("chapter-4"), Some("vars.chapter >= 3")));
    rule(&server, "vars.chapter >= 3").await;
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'rule.set'").await, 1, "the same again changes nothing");
    assert_eq!(server.get(&server.fox, rules).await.expect(200)["items"].as_array().unwrap().len(), 1);

    let tried = async |body: Value| server.post(&server.fox, rules, &body).await.expect(200)["items"][0].clone();
    assert_eq!(tried(json!({ "status": { "vars": { "chapter": 3 } } })).await["selects"], true);
    assert_eq!(tried(json!({ "status": { "vars": { "chapter": 2 } } })).await["selects"], false);
    let untold = tried(json!({ "supplement": "chapter-4" })).await;
    assert!(untold["selects"] == false && untold["why_not"].as_str().unwrap().contains("chapter"), "{untold}");
    let other = json!({ "condition": "'atlas' in owns && batch != ''", "status": { "owns": ["atlas"], "batch": "bat-0123456789abcdef" } });
    assert_eq!(tried(other).await["selects"], true);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 0, "trying gives nothing");

    for bad in ["", "vars.chapter >", "user == 'anna'", "now()", "owns.all(a, owns.all(b, owns.all(c, a == b)))", &"(".repeat(1000)] {
        let answer = server.put_json(&server.fox, one, &json!({ "condition": bad })).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "unprocessable"), "{bad}");
    }
    let many: serde_json::Map<String, Value> = (0..257).map(|n| (format!("n{n}"), json!(1))).collect();
    for bad in [json!({ "vars": { "A B": 1 } }), json!({ "vars": many }), json!({ "vars": { "a": "x".repeat(2000) } })] {
        assert_eq!(server.post(&server.fox, rules, &json!({ "status": bad })).await.status, 422);
    }
    let itself = "/v1/titles/sky-raider/rules/sky-raider";
    assert_eq!(server.put_json(&server.fox, itself, &json!({ "condition": "true" })).await.status, 422);
    let nothing = "/v1/titles/sky-raider/rules/nothing";
    assert_eq!(server.put_json(&server.fox, nothing, &json!({ "condition": "true" })).await.status, 422);

    // Another publisher sees none of it, and gives away nobody else's title.
    assert_eq!(server.get(&server.owl, rules).await.status, 404);
    assert_eq!(server.put_json(&server.owl, one, &json!({ "condition": "true" })).await.status, 404);
    publish(&server, "red-owl", "owls", "1.0").await;
    let foreign = "/v1/titles/owls/rules/chapter-4";
    assert_eq!(server.put_json(&server.owl, foreign, &json!({ "condition": "true" })).await.status, 422);
    let delete = |token: &str| server.send(json_request(Method::DELETE, one, token, &json!({})));
    assert_eq!(delete(&server.owl).await.status, 404);
    assert_eq!(delete(&server.fox).await.status, 204);
    assert_eq!(delete(&server.fox).await.status, 404);
    assert_eq!(db.number("SELECT count(*) FROM selection_rule").await, 0);
    is_sound(&db).await;
});

db_test!(a6_a10_what_is_selected_is_given_once_and_told_until_it_is_installed, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    rule(&server, "vars.chapter >= 3 && 'sky-raider' in owns").await;
    assert_eq!(selects(&server, &anna, 2).await, []);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 0);
    let selected = selects(&server, &anna, 3).await;
    let expected = Selected { title: "chapter-4".parse().unwrap(), name: "chapter-4".into(), because_of: "sky-raider".parse().unwrap() };
    assert_eq!(selected, std::slice::from_ref(&expected));
    // An answer that was lost: told again, given no second time.
    assert_eq!(selects(&server, &anna, 3).await, [expected]);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'selection.granted'").await, 1);
    is_sound(&db).await;

    anna.install(&server, "chapter-4").await.unwrap();
    assert_eq!(selects(&server, &anna, 4).await, [], "it is installed");
    // It moves as what is bought, by the terms of the title that it belongs to.
    let laptop = support::licensing::one_more(&server, &anna).await;
    anna.transfer(&server, &anna, &laptop, Some("chapter-4")).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM license WHERE title_id = 'chapter-4' AND moves = 1").await, 1);
    assert_eq!(selects(&server, &anna, 4).await, [], "and is not given a second time where it came from");
    is_sound(&db).await;
});

db_test!(a6_nothing_is_given_without_a_right_to_the_title_or_a_release_to_install, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    rule(&server, "true").await;
    let ben = Terminal::registered(&server).await;
    assert_eq!(selects(&server, &ben, 3).await, [], "he has not bought it");
    // Her user ID, a device of nobody.
    let nobody = Reporter { user: anna.user.unwrap(), device: ben.device_id().unwrap() };
    let told = at_report(&server.app, nobody, vec![status("sky-raider", 3)], NOW).await.unwrap();
    assert_eq!(told.0, []);
    // Variables that no terminal of ours reports.
    let with = |name: String| {
        let mut of = status("sky-raider", 3);
        of.status.variables.insert(name, Variable::Truth(true));
        of
    };
    let mut many = with("a".into());
    many.status.variables.extend((0..300).map(|number| (format!("n{number}"), Variable::Number(number))));
    for hostile in [with("A B".into()), with("a".repeat(65)), many] {
        assert_eq!(at_report(&server.app, reporter(&anna), vec![hostile], NOW).await.unwrap().0, []);
    }
    db.write("hold", "/title/chapter-4", async |tx| {
        tx.query("UPDATE release SET held_at = 1 WHERE title_id = 'chapter-4'").execute().await
    })
    .await
    .unwrap();
    assert_eq!(selects(&server, &anna, 3).await, [], "there is nothing to install");
    db.write("go on", "/title/chapter-4", async |tx| {
        tx.query("UPDATE release SET held_at = NULL WHERE title_id = 'chapter-4'").execute().await
    })
    .await
    .unwrap();
    assert_eq!(names(&selects(&server, &anna, 3).await), ["chapter-4"]);
    // Whoever has it taken back does not get it by reporting again.
    let license = anna.license(&server, "chapter-4").await.unwrap();
    let license = anna.redeem(&server, license.transaction_id).await.unwrap();
    let license = support::licensing::verified(&server, &anna, &license.license).sub;
    let path = format!("/v1/users/{}/licenses/{license}/revoke", anna.user.unwrap());
    server.post(&server.operator, &path, &json!({ "note": "" })).await.expect(200);
    assert_eq!(selects(&server, &anna, 3).await, []);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 1);
    is_sound(&db).await;
});

db_test!(a6_what_was_bought_is_not_given_and_what_was_given_is_not_bought, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    rule(&server, "true").await;
    sales::list(&db, "chapter-4", &[PRICE], json!({})).await;
    let ben = Terminal::registered(&server).await;
    ben.order(&server, "sky-raider", PRICE).await.unwrap();
    ben.order(&server, "chapter-4", PRICE).await.unwrap();
    assert_eq!(selects(&server, &ben, 3).await, []);
    assert_eq!(names(&selects(&server, &anna, 3).await), ["chapter-4"]);
    assert_eq!(refused(anna.order(&server, "chapter-4", PRICE).await), Code::AlreadyLicensed);
    is_sound(&db).await;
});

db_test!(a6_two_processes_that_hear_the_same_report_give_once, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    rule(&server, "true").await;
    let other = server.another(&db, |_| ()).await;
    let both = (0..12).map(|n| report(if n % 2 == 0 { &server } else { &other }, &anna, 3));
    for (selected, _) in join_all(both).await {
        assert_eq!(names(&selected), ["chapter-4"]);
    }
    for sql in [
        "SELECT count(*) FROM entitlement WHERE source = 'selection'",
        "SELECT count(*) FROM license WHERE title_id = 'chapter-4'",
        "SELECT count(*) FROM audit WHERE event = 'selection.granted'",
    ] {
        assert_eq!(db.number(sql).await, 1, "{sql}");
    }
    is_sound(&db).await;
});

db_test!(a6_a_trial_gives_its_supplements_for_as_long_as_it_lasts, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({ "trial_days": 7 })).await;
    publish(&server, "blue-fox", "chapter-4", "1.0").await;
    rule(&server, "true").await;
    let anna = Terminal::registered(&server).await;
    let trial = anna.try_out(&server, "sky-raider").await.unwrap();
    assert_eq!(names(&selects(&server, &anna, 1).await), ["chapter-4"]);
    let ends = db.number("SELECT expires_at FROM entitlement WHERE source = 'selection'").await;
    assert_eq!(Some(Timestamp(ends)), trial.expires_at);
    is_sound(&db).await;
});
