//! Contents servers that select: who registers them, what they are told, and those that lie, stall or flood.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::http::Method;
use counterfoil_core::wire::{HandIn, HandInResult, Operation, SELECTION_TYP, SelectionClaims, VERDICT_TYP, VerdictClaims};
use counterfoil_core::{Code, ContentsServerId, Refusal, Timestamp, TitleId};
use counterfoil_format::jws::{sign_compact, verify_compact};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{PRICE, bought, is_sound, names, report, rule};
use crate::support::catalogue::{NOW, TestServer, json_request, publish};
use crate::support::terminal::{Terminal, refused};
use crate::support::{TestDb, db_test};

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
    assert_eq!(asked.iter().map(|one| one.url.as_deref().unwrap()).collect::<BTreeSet<_>>().len(), 2);
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
