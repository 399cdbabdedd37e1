//! Providers (B4): how they are registered, what a verdict says, what two of them can tell of people, and how it is repeated.

mod attacks;
mod broken;

use crate::support;
use crate::support::catalogue;
use crate::support::providing;
use crate::support::sales;
use crate::support::terminal;

use axum::body::Body;
use axum::http::Method;
use catalogue::{NOW, TestServer, json_request, request as http};
use counterfoil_core::license::LICENSE_TYP;
use counterfoil_core::wire::{HandIn, Operation, SELECTION_TYP, SelectionClaims, Verdict};
use counterfoil_core::{Code, Timestamp};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::jws::sign_compact;
use counterfoil_format::jwt::{self, Demands};
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;
use counterfoil_server::{auditor, store};
use futures_util::future::join_all;
use providing::{CHALLENGE, Provider, reason, verify};
use serde_json::{Value, json};
use support::{TestDb, db_test};
use terminal::{Terminal, media, press, refused};

const VERIFIED: &str = "SELECT count(*) FROM audit WHERE event = 'medium.verified'";

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(b4_a_provider_is_registered_by_the_operator_and_ends_with_its_tokens, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    media(&server, "sky-raider", 1, json!({})).await;
    let path = "/v1/providers";
    let good = json!({ "name": " Arcade ", "url": "https://arcade.example/api/", "publishers": ["blue-fox", "blue-fox"] });
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body
    };
    for bad in [
        with("name", json!("")),
        with("url", json!("arcade.example")),
        with("url", json!("https://u:p@arcade.example")),
        with("publishers", json!([])),
        with("publishers", json!(["no-one"])),
        with("publishers", json!((0..101).map(|n| format!("p-{n}")).collect::<Vec<_>>())),
        with("publishers", json!(["Not A Name"])),
        with("more", json!(1)),
    ] {
        assert_eq!(server.post(&server.operator, path, &bad).await.status, 422, "{bad}");
    }
    let made = server.post(&server.operator, path, &good).await.expect(201);
    assert_eq!(
        (&made["name"], &made["url"], &made["publishers"]),
        (&json!("Arcade"), &json!("https://arcade.example/api"), &json!(["blue-fox"]))
    );
    let id = made["provider"].as_str().unwrap();
    let one = format!("{path}/{id}");
    assert_eq!(server.get(&server.operator, path).await.expect(200)["items"], json!([made]));
    assert_eq!(server.get(&server.operator, &one).await.expect(200), made);

    // Its tokens: only for a provider that there is.
    let token = |tenant: Value| json!({ "role": "provider", "tenant": tenant, "name": "t" });
    let nobody = counterfoil_core::ProviderId::from_bytes([9; 16]).to_string();
    for tenant in [Value::Null, json!(""), json!("blue-fox"), json!(nobody)] {
        assert_eq!(server.post(&server.operator, "/v1/tokens", &token(tenant.clone())).await.status, 422, "{tenant}");
    }
    let bearer = server.post(&server.operator, "/v1/tokens", &token(json!(id))).await.expect(201)["token"].as_str().unwrap().to_owned();
    assert_eq!(server.get(&bearer, "/v1/whoami").await.expect(200)["tenant"], id);
    for elsewhere in [path, "/v1/titles", "/v1/batches", "/v1/audit"] {
        assert_eq!(server.get(&bearer, elsewhere).await.status, 403, "{elsewhere}");
    }

    let end = || server.send(json_request(Method::DELETE, &one, &server.operator, &json!({})));
    assert_eq!(end().await.status, 204);
    assert_eq!((end().await.status.as_u16(), server.get(&server.operator, &one).await.status.as_u16()), (404, 404));
    assert_eq!(server.get(&server.operator, path).await.expect(200)["items"], json!([]));
    assert_eq!(server.get(&bearer, "/v1/whoami").await.status, 401, "its tokens end with it");
    assert_eq!(server.post(&server.operator, "/v1/tokens", &token(json!(id))).await.status, 422);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event IN ('provider.added', 'provider.ended')").await, 2);
    is_sound(&db).await;
});

db_test!(b4_a_verdict_says_what_the_medium_allows_and_is_checked_offline, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let rights = json!({ "upload": true, "play": false, "attributes": { "edition": "gold" } });
    let medium = media(&server, "sky-raider", 1, rights).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let answer = arcade.verify(&server, &arcade.presented(&server, &medium)).await;
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    let answer = answer.expect(200);
    assert_eq!(answer["active"], true, "{answer}");
    assert_eq!((&answer["scope"], &answer["iss"]), (&json!("download upload update transfer"), &json!("test.example")));
    assert_eq!((&answer["aud"], &answer["medium_id"]), (&json!(arcade.id), &json!(medium.id)));
    assert_eq!(answer["rights"]["attributes"]["edition"], "gold");
    assert_eq!(answer["titles"], json!([{ "title": "sky-raider", "name": "sky-raider", "kind": "game", "newest": "1.0" }]));
    assert_eq!((&answer["nonce"], &answer["iat"], &answer["exp"]), (&json!(CHALLENGE), &json!(NOW.seconds()), &json!(NOW.seconds() + 600)));
    assert!(answer.get("sub").is_none(), "nobody has claimed it");
    // The signed one says the same, to whoever has the published keys.
    let mut told = answer.clone();
    told.as_object_mut().unwrap().remove("verdict");
    assert_eq!(serde_json::to_value(arcade.offline(&server, &answer)).unwrap(), told);
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 1, "its first contact");
    assert_eq!(db.number(VERIFIED).await, 1);
    let page = server.get(&server.operator, &format!("/v1/audit?family={}", medium.id)).await.expect(200).to_string();
    assert!(page.contains("medium.verified") && page.contains(&arcade.id.to_string()), "{page}");
    is_sound(&db).await;
});

db_test!(b4_the_same_presentation_gets_the_same_verdict_for_ten_minutes_and_none_afterwards, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let presentation = arcade.presented(&server, &medium);
    let first = arcade.active(&server, &presentation).await;
    let elsewhere = server.another(&db, |_| ()).await;
    for seconds in [0, 1, 599] {
        for process in [&server, &elsewhere] {
            process.app.clock.set(Timestamp(NOW.0 + seconds * 1000));
            assert_eq!(arcade.active(process, &presentation).await, first, "{seconds} s later");
        }
    }
    assert_eq!(db.number(VERIFIED).await, 1, "it counts once");
    for (seconds, why) in [(600, "presentation_over"), (3600, "presentation_over"), (86_400, "presentation_over"), (86_401, "clock_skewed")]
    {
        server.app.clock.set(Timestamp(NOW.0 + seconds * 1000));
        assert_eq!(arcade.reason(&server, &presentation).await, why, "{seconds} s later");
    }
    // What was made for a later day is forgotten no sooner than it is stale.
    server.app.clock.set(NOW);
    let mut ahead = terminal::request(&server, Operation::Present(arcade.of_medium(&medium)));
    ahead.issued_at = Timestamp(NOW.0 + Timestamp::DAY);
    let ahead = providing::by_medium(&server, &ahead, &medium);
    arcade.active(&server, &ahead).await;
    for (days, why) in [(1, "presentation_over"), (2, "presentation_over"), (3, "clock_skewed")] {
        server.app.clock.set(Timestamp(NOW.0 + days * Timestamp::DAY));
        store::request::purge(&db.db, server.app.clock.now().0, 100).await.unwrap();
        assert_eq!(arcade.reason(&server, &ahead).await, why, "{days} days later");
    }
    assert_eq!(db.number(VERIFIED).await, 2);
    is_sound(&db).await;
});

db_test!(b4_a_presentation_sent_from_many_sides_at_once_counts_once, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 10, json!({})).await;
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    for medium in &media {
        let presentation = arcade.presented(&server, medium);
        let answers = join_all((0..20).map(|_| arcade.active(&server, &presentation))).await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
    assert_eq!(db.number(VERIFIED).await, 10);
    is_sound(&db).await;
});

db_test!(b4_a_provider_knows_people_again_and_two_of_them_cannot_compare, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 3, json!({})).await;
    let shared = press(&server, "sky-raider", 1, json!({ "copies": 3 })).await.remove(0);
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let (ada, ben) = (Terminal::registered(&server).await, Terminal::registered(&server).await);
    ada.claim(&server, &media[0]).await.unwrap();
    ada.claim(&server, &media[1]).await.unwrap();
    ben.claim(&server, &media[2]).await.unwrap();
    let sub = async |provider: &Provider, medium: &terminal::Medium| {
        let answer = provider.active(&server, &provider.presented(&server, medium)).await;
        assert_eq!(provider.offline(&server, &answer).sub.as_deref(), answer["sub"].as_str());
        for secret in [ada.user.unwrap().to_string(), ada.device_id().unwrap().to_string(), ada.card_id().unwrap().to_string()] {
            assert!(!answer.to_string().contains(&secret));
        }
        answer["sub"].as_str().map(str::to_owned)
    };
    let at_arcade = sub(&arcade, &media[0]).await.unwrap();
    assert_eq!(sub(&arcade, &media[1]).await.as_ref(), Some(&at_arcade), "the same person, another medium");
    assert_ne!(sub(&arcade, &media[2]).await.as_ref(), Some(&at_arcade), "somebody else");
    assert_ne!(sub(&cinema, &media[0]).await.as_ref(), Some(&at_arcade), "nothing to compare");
    // Whoever says who they are is believed more than whoever has claimed it; and by what else than a medium they came.
    let by = async |terminal: &Terminal, medium: Option<&terminal::Medium>| {
        arcade.active(&server, &arcade.presented_by(&server, terminal, medium)).await["sub"].as_str().unwrap().to_owned()
    };
    assert_eq!(by(&ada, Some(&media[0])).await, at_arcade);
    assert_eq!(by(&ada, Some(&media[2])).await, at_arcade, "Ada shows Ben's medium");
    // Several people have a copy: which of them it is, they have to say.
    ada.claim(&server, &shared).await.unwrap();
    assert_eq!(sub(&arcade, &shared).await.as_ref(), Some(&at_arcade));
    ben.claim(&server, &shared).await.unwrap();
    assert_eq!(sub(&arcade, &shared).await, None);
    assert_eq!(by(&ada, Some(&shared)).await, at_arcade);
    is_sound(&db).await;
});

db_test!(b4_a_user_alone_shows_what_they_have_of_the_providers_publishers, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sales::sell(&server, &db, "sky-raider", &["19.99 EUR"], json!({ "transfers": 0, "upload_mib": 5 })).await;
    catalogue::publish(&server, "red-owl", "night-owl", "1.0").await;
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["red-owl"]).await);
    let ada = Terminal::registered(&server).await;
    assert_eq!(arcade.reason(&server, &arcade.presented_by(&server, &ada, None)).await, "right_missing", "nothing yet");
    ada.order(&server, "sky-raider", "19.99 EUR").await.unwrap();
    let answer = arcade.active(&server, &arcade.presented_by(&server, &ada, None)).await;
    assert_eq!((&answer["scope"], &answer["titles"][0]["title"]), (&json!("download upload update play"), &json!("sky-raider")));
    assert!(answer.get("medium_id").is_none() && answer.get("rights").is_none() && answer["sub"].is_string());
    arcade.offline(&server, &answer);
    assert_eq!(cinema.reason(&server, &cinema.presented_by(&server, &ada, None)).await, "right_missing");
    is_sound(&db).await;
});

db_test!(b4_a_verdict_is_nothing_but_a_verdict, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let ada = Terminal::registered(&server).await;
    ada.claim(&server, &medium).await.unwrap();
    let answer = arcade.active(&server, &arcade.presented_by(&server, &ada, Some(&medium))).await;
    let (verdict, told) = (answer["verdict"].as_str().unwrap(), arcade.offline(&server, &answer));
    let (keys, now, device) = (server.app.keys.key_list(), NOW.seconds(), ada.device_id().unwrap().to_string());
    let license = Demands { typ: LICENSE_TYP, now, audience: None, holder: Some(&device), must_expire: false };
    assert!(jwt::verify::<Value>(verdict, &keys, &license).is_err(), "it is no license");
    // A contents server's kind of verdict is signed by the same key and of the same type; it is for another audience.
    let studio = SigningKey::from_seed(&Secret::new([6; 32]));
    let selection = SelectionClaims {
        iss: counterfoil_core::ContentsServerId::from_bytes(*arcade.id.as_bytes()),
        aud: told.iss.clone(),
        jti: told.jti.clone(),
        exp: told.exp,
        titles: vec![],
    };
    let selection = sign_compact(SELECTION_TYP, &arcade.id.to_string(), &selection, &studio);
    let (user_id, device_id) = (ada.user.unwrap(), ada.device_id().unwrap());
    let hand_in = Operation::HandIn(HandIn { user_id, device_id, verdict: verdict.to_owned(), selection });
    assert_eq!(refused(ada.ask(&server, hand_in, None).await), Code::SelectionInvalid);
    // And it is over when it says so, and for nobody else.
    let check = |now: i64, audience: &str| {
        let demands = Demands { typ: counterfoil_core::wire::VERDICT_TYP, now, audience: Some(audience), holder: None, must_expire: true };
        jwt::verify::<Verdict>(verdict, &keys, &demands)
    };
    assert!(check(now + 599, &arcade.id.to_string()).is_ok());
    assert!(check(now + 3600, &arcade.id.to_string()).is_err());
    assert!(check(now, "prv-somebody-else").is_err());
});

db_test!(b4_a_client_of_token_introspection_is_understood, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let presentation = arcade.presented(&server, &medium);
    let token = to_base64url(&serde_json::to_vec(&presentation).unwrap());
    let form = async |body: String| {
        let request = http(Method::POST, "/v1/verify", &arcade.token).header("content-type", "application/x-www-form-urlencoded");
        server.send(request.body(Body::from(body)).unwrap()).await
    };
    let answer = form(format!("token={token}&token_type_hint=presentation&challenge={CHALLENGE}")).await.expect(200);
    assert_eq!(answer, arcade.active(&server, &presentation).await);
    for wrong in ["", "token=x", &format!("token=%%%&challenge={CHALLENGE}"), &format!("token=e30&challenge={CHALLENGE}")] {
        assert_eq!(form(wrong.to_owned()).await.status, 422, "{wrong}");
    }
    // A key on top of the presentation's own ID is harmless.
    let body = json!({ "presentation": presentation, "challenge": CHALLENGE });
    let keyed = json_request(Method::POST, "/v1/verify", &arcade.token, &body);
    let (mut parts, body) = keyed.into_parts();
    parts.headers.insert("idempotency-key", "k".parse().unwrap());
    assert_eq!(server.send(axum::http::Request::from_parts(parts, body)).await.expect(200), answer);
    assert_eq!(db.number(VERIFIED).await, 1);
    for wrong in [json!({}), json!({ "challenge": CHALLENGE }), json!({ "presentation": 1, "challenge": CHALLENGE }), json!([])] {
        assert_eq!(verify(&server, &arcade.token, &wrong).await.status, 422, "{wrong}");
    }
    let nothing = json!({ "presentation": { "envelope": null }, "challenge": CHALLENGE });
    assert_eq!(reason(verify(&server, &arcade.token, &nothing).await), "envelope_invalid");
});
