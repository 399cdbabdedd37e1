//! What a status selects (A6, A8, A10): rules, who is given what by them and how often, and contents servers that answer or lie.

use crate::support;
use crate::support::catalogue;
use crate::support::sales;
use crate::support::terminal;

use std::time::{Duration, Instant};

use axum::http::Method;
use catalogue::{NOW, TestServer, json_request, publish};
use counterfoil_core::wire::{
    ContentsServer, HandIn, HandInResult, Operation, SELECTION_TYP, Selected, SelectionClaims, Status, VERDICT_TYP, Variable, VerdictClaims,
};
use counterfoil_core::{Code, ContentsServerId, Refusal, Rights, Timestamp, TitleId};
use counterfoil_format::jws::{sign_compact, verify_compact};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_server::actions::selection::{Reported, Reporter, at_report};
use counterfoil_server::{auditor, store};
use futures_util::future::join_all;
use sales::sell;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, refused};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

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

/// A contents server of somebody else's, as far as the authority knows it.
struct Studio {
    id: ContentsServerId,
    key: SigningKey,
}

async fn studio(server: &TestServer, url: &str, relayed: bool) -> Studio {
    let key = SigningKey::from_seed(&Secret::new([5; 32]));
    let new = json!({
        "name": "Studio North", "url": url, "relayed": relayed, "key": key.verifying_key().to_string(),
        "titles": [{ "title": "sky-raider", "supplement": "chapter-4" }],
    });
    let made = server.post(&server.operator, "/v1/contents-servers", &new).await.expect(201);
    Studio { id: made["server"].as_str().unwrap().parse().unwrap(), key }
}

impl Studio {
    /// An honest answer to a verdict, and whatever is made of it.
    fn answer(&self, verdict: &VerdictClaims, change: impl FnOnce(&mut SelectionClaims)) -> String {
        let titles: Vec<TitleId> = vec!["chapter-4".parse().unwrap()];
        let mut claims = SelectionClaims { iss: self.id, aud: verdict.iss.clone(), jti: verdict.jti.clone(), exp: verdict.exp, titles };
        change(&mut claims);
        sign_compact(SELECTION_TYP, &self.id.to_string(), &claims, &self.key)
    }
}

fn read_verdict(server: &TestServer, verdict: &str) -> VerdictClaims {
    verify_compact(verdict, VERDICT_TYP, |kid| server.app.keys.verifying_key(kid)).unwrap()
}

async fn hand_in(server: &TestServer, of: &Terminal, verdict: &str, selection: String) -> Result<HandInResult, Refusal> {
    let (user_id, device_id) = (of.user.unwrap(), of.device_id().unwrap());
    let operation = Operation::HandIn(HandIn { user_id, device_id, verdict: verdict.to_owned(), selection });
    Ok(serde_json::from_value(of.ask(server, operation, None).await?).unwrap())
}

db_test!(a8_contents_servers_are_the_operators_to_register, async |db: TestDb| {
    let (server, _) = bought(&db).await;
    let key = SigningKey::from_seed(&Secret::new([5; 32])).verifying_key().to_string();
    let new = |change: Value| {
        let mut new = json!({ "name": "Studio", "url": "https://studio.example/", "key": key, "titles": [{ "title": "sky-raider", "supplement": "chapter-4" }] });
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        new
    };
    let path = "/v1/contents-servers";
    for bad in [
        json!({ "name": "" }),
        json!({ "url": "studio.example" }),
        json!({ "key": "x" }),
        json!({ "titles": [] }),
        json!({ "titles": [{ "title": "sky-raider", "supplement": "nothing" }] }),
    ] {
        assert_eq!(server.post(&server.operator, path, &new(bad.clone())).await.status, 422, "{bad}");
    }
    for token in [&server.fox, &server.owl] {
        assert_eq!(server.post(token, path, &new(json!({}))).await.status, 403);
        assert_eq!(server.get(token, path).await.status, 403);
    }
    let made = server.post(&server.operator, path, &new(json!({}))).await.expect(201);
    assert_eq!((made["url"].as_str(), made["relayed"].as_bool()), (Some("https://studio.example"), Some(false)));
    assert_eq!(server.get(&server.operator, path).await.expect(200)["items"], json!([made]));
    let one = format!("{path}/{}", made["server"].as_str().unwrap());
    let end = || server.send(json_request(Method::DELETE, &one, &server.operator, &json!({})));
    assert_eq!(end().await.status, 204);
    assert_eq!(end().await.status, 404);
    assert_eq!(server.get(&server.operator, path).await.expect(200)["items"], json!([]));
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event IN ('contents_server.added', 'contents_server.ended')").await, 2);
    is_sound(&db).await;
});

db_test!(a10_a_contents_server_is_told_that_somebody_has_the_title_and_not_who, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    let (north, south) = (studio(&server, "https://north.example", false).await, studio(&server, "https://south.example", false).await);
    let ben = Terminal::registered(&server).await;
    let (_, asked) = report(&server, &anna, 3).await;
    assert_eq!(asked.iter().map(|one| one.url.as_deref().unwrap()).collect::<std::collections::BTreeSet<_>>().len(), 2);
    let claims: Vec<VerdictClaims> = asked.iter().map(|one| read_verdict(&server, &one.verdict)).collect();
    assert_ne!(claims[0].sub, claims[1].sub, "two of them cannot compare");
    for (one, claims) in asked.iter().zip(&claims) {
        assert_eq!((one.id, claims.title.as_str(), claims.iss.as_str()), (claims.aud, "sky-raider", "test.example"));
        assert_eq!((claims.iat, claims.exp), (NOW.seconds(), NOW.seconds() + 600));
        for secret in [anna.user.unwrap().to_string(), anna.device_id().unwrap().to_string(), anna.card_id().unwrap().to_string()] {
            assert!(!serde_json::to_string(claims).unwrap().contains(&secret));
        }
    }
    let again = report(&server, &anna, 3).await.1;
    let same = again.iter().find(|one| one.id == asked[0].id).unwrap();
    let (again, other) = (read_verdict(&server, &same.verdict), report(&server, &ben, 3).await.1);
    assert_eq!(again.sub, claims[0].sub, "one knows somebody again");
    assert_ne!(again.jti, claims[0].jti);
    let other = other.iter().find(|one| one.id == asked[0].id).unwrap();
    assert_ne!(read_verdict(&server, &other.verdict).sub, claims[0].sub);
    assert!([north.id, south.id].contains(&asked[0].id));
});

db_test!(a10_what_a_contents_server_selects_is_given_once, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    let north = studio(&server, "https://north.example", false).await;
    let asked = report(&server, &anna, 3).await.1.remove(0);
    let verdict = read_verdict(&server, &asked.verdict);
    let honest = north.answer(&verdict, |_| ());
    let given = hand_in(&server, &anna, &asked.verdict, honest.clone()).await.unwrap();
    assert_eq!(names(&given.selected), ["chapter-4"]);
    // The same again, by another request: nothing more.
    assert_eq!(names(&hand_in(&server, &anna, &asked.verdict, honest).await.unwrap().selected), ["chapter-4"]);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 1);
    // A second answer to the same verdict counts for nothing.
    let second = north.answer(&verdict, |claims| claims.titles.clear());
    assert_eq!(refused(hand_in(&server, &anna, &asked.verdict, second).await), Code::SelectionInvalid);
    anna.install(&server, "chapter-4").await.unwrap();
    is_sound(&db).await;
});

db_test!(a10_a_contents_server_that_lies_selects_nothing, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    publish(&server, "red-owl", "owls", "1.0").await;
    let north = studio(&server, "https://north.example", false).await;
    let ben = Terminal::registered(&server).await;
    ben.order(&server, "sky-raider", PRICE).await.unwrap();
    let asked = report(&server, &anna, 3).await.1.remove(0);
    let verdict = read_verdict(&server, &asked.verdict);
    let earlier = report(&server, &anna, 3).await.1.remove(0);
    let earlier_answer = north.answer(&read_verdict(&server, &earlier.verdict), |_| ());
    let other_key = SigningKey::from_seed(&Secret::new([6; 32]));
    let honest = north.answer(&verdict, |_| ());
    let claims = SelectionClaims {
        iss: north.id,
        aud: verdict.iss.clone(),
        jti: verdict.jti.clone(),
        exp: verdict.exp,
        titles: vec!["chapter-4".parse().unwrap()],
    };
    let lies = [
        ("a foreign title", north.answer(&verdict, |claims| claims.titles.push("owls".parse().unwrap()))),
        ("for another authority", north.answer(&verdict, |claims| claims.aud = "other.example".into())),
        ("a replayed answer", earlier_answer),
        ("over", north.answer(&verdict, |claims| claims.exp = NOW.seconds())),
        ("by another key", sign_compact(SELECTION_TYP, &north.id.to_string(), &claims, &other_key)),
        ("by another kid", sign_compact(SELECTION_TYP, "cts-0000", &claims, &north.key)),
        ("of another typ", sign_compact(VERDICT_TYP, &north.id.to_string(), &claims, &north.key)),
        ("garbage", "a.b.c".to_owned()),
        ("nothing", String::new()),
        ("huge", "x".repeat(20_000)),
    ];
    for (what, lie) in lies {
        assert_eq!(refused(hand_in(&server, &anna, &asked.verdict, lie).await), Code::SelectionInvalid, "{what}");
    }
    // Somebody else's verdict, one that the contents server made itself, and one that is over.
    assert_eq!(refused(hand_in(&server, &ben, &asked.verdict, honest.clone()).await), Code::SelectionInvalid);
    let forged = sign_compact(VERDICT_TYP, "sig-1", &verdict, &north.key);
    assert_eq!(refused(hand_in(&server, &anna, &forged, honest.clone()).await), Code::SelectionInvalid);
    server.app.clock.set(Timestamp(NOW.0 + 601_000));
    assert_eq!(refused(hand_in(&server, &anna, &asked.verdict, honest.clone()).await), Code::SelectionInvalid);
    server.app.clock.set(NOW);
    // Nothing of what an ended one has signed is accepted.
    let path = format!("/v1/contents-servers/{}", north.id);
    server.send(json_request(Method::DELETE, &path, &server.operator, &json!({}))).await.expect(204);
    assert_eq!(refused(hand_in(&server, &anna, &asked.verdict, honest).await), Code::SelectionInvalid);
    assert_eq!(report(&server, &anna, 3).await.1, []);
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 0);
    assert!(db.number("SELECT count(*) FROM audit WHERE event = 'hand_in.refused'").await >= 13);
    is_sound(&db).await;
});

/// What somebody answers whoever connects; the request is read before.
async fn answers(bytes: Vec<u8>, then_hold: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&bytes).await;
                if then_hold {
                    // Until whoever asked has had enough.
                    while matches!(stream.read(&mut request).await, Ok(1..)) {}
                }
            });
        }
    });
    url
}

db_test!(a10_a_relayed_contents_server_that_stalls_floods_or_lies_keeps_nothing_back, async |db: TestDb| {
    let (server, anna) = bought(&db).await;
    let whole = |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes();
    let endless = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}",
        format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000)).repeat(20)
    );
    for (answer, hold) in [
        (vec![], true),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_vec(), true),
        (endless.into_bytes(), true),
        (whole("500 Oh", "{}"), false),
        (whole("200 OK", "{\"selection\":\"a.b.c\"}"), false),
        (whole("200 OK", "nothing"), false),
        (whole("307 Away\r\nlocation: http://127.0.0.1:1/", ""), false),
    ] {
        studio(&server, &answers(answer, hold).await, true).await;
    }
    studio(&server, "http://127.0.0.1:1", true).await;
    rule(&server, "vars.chapter >= 3").await;
    let begun = now();
    let (selected, asked) = report(&server, &anna, 3).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!((names(&selected), asked.len()), (vec!["chapter-4"], 0), "the rule still selects, and nobody is to be asked by the device");
    assert_eq!(db.number("SELECT count(*) FROM entitlement WHERE source = 'selection'").await, 1);
    is_sound(&db).await;
});

#[expect(clippy::disallowed_methods, reason = "measures how long it takes")]
fn now() -> Instant {
    Instant::now()
}
