//! Challenges, presentations and sessions (B4): what is judged once is over, and nobody but the authority's word counts.

use super::*;

#[tokio::test]
async fn b4_a_presentation_opens_a_session_and_offers_what_fits() {
    let world = World::new().await;
    let status = json!({ TITLE: { "chapter": 4, "mode": "hard" }, "night-garden": { "chapter": 9 } });
    let presented = present_with(&world.app, &challenge(&world.app).await, status).await;
    assert_eq!((presented.status, presented.headers["cache-control"].to_str().unwrap()), (200, "no-store"), "{presented:?}");
    let presented = presented.json();
    assert_eq!((presented["scope"].as_str(), presented["upload_bytes"].as_u64()), (Some("download upload"), Some(100_000)));
    let names: Vec<_> = presented["contents"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chapter-4", "map"], "neither another title's, nor what wants `update`");
    let map = &presented["contents"][1];
    assert_eq!(map["blake3"], blake3::hash(b"0123456789").to_hex().as_str());
    assert_eq!((map["title"].as_str(), map["length"].as_u64()), (Some(TITLE), Some(10)));
}

#[tokio::test]
async fn b4_a_challenge_is_answered_once() {
    let world = World::new().await;
    let first = challenge(&world.app).await;
    assert_eq!(present(&world.app, &first).await.status, 200);
    present(&world.app, &first).await.refused(409, "challenge_unknown");
    present(&world.app, "0123456789abcdef0123456789abcdef").await.refused(409, "challenge_unknown");
    // Refused is answered, too.
    let second = challenge(&world.app).await;
    world.judges(|_| (StatusCode::OK, HeaderMap::new(), json!({ "active": false, "reason": "medium_unknown" })));
    let refused = present(&world.app, &second).await;
    refused.refused(403, "inactive");
    assert_eq!(refused.json()["reason"], "medium_unknown");
    present(&world.app, &second).await.refused(409, "challenge_unknown");
}

#[tokio::test]
async fn b4_of_many_presentations_at_once_one_is_judged() {
    let world = World::new().await;
    let given = challenge(&world.app).await;
    let asked = (0..16).map(|_| present(&world.app, &given));
    let statuses: Vec<_> = futures_util::future::join_all(asked).await.iter().map(|answer| answer.status).collect();
    assert_eq!(
        (statuses.iter().filter(|status| **status == 200).count(), statuses.iter().filter(|status| **status == 409).count()),
        (1, 15)
    );
}

#[tokio::test]
async fn b4_what_is_no_verdict_on_this_presentation_opens_nothing() {
    let world = World::new().await;
    type Spoil = fn(&mut Verdict);
    let spoils: [Spoil; 3] = [
        |verdict| verdict.aud = ProviderId::from_bytes([8; 16]),
        |verdict| verdict.nonce = "another challenge".into(),
        |verdict| verdict.iss = "another.example".into(),
    ];
    for spoil in spoils {
        world.judges(move |asked| {
            let mut verdict = verdict("download", asked);
            spoil(&mut verdict);
            active(&verdict)
        });
        present(&world.app, &challenge(&world.app).await).await.refused(502, "authority_failed");
    }
    world.judges(|_| (StatusCode::OK, HeaderMap::new(), json!({ "active": true })));
    present(&world.app, &challenge(&world.app).await).await.refused(502, "authority_failed");
}

#[tokio::test]
async fn b4_an_authority_that_is_away_busy_or_of_another_opinion_is_told_apart() {
    let world = World::new().await;
    world.judges(|_| (StatusCode::UNAUTHORIZED, HeaderMap::new(), json!({})));
    present(&world.app, &challenge(&world.app).await).await.refused(502, "not_admitted");
    world.judges(|_| {
        (StatusCode::TOO_MANY_REQUESTS, HeaderMap::from_iter([("retry-after".parse().unwrap(), "17".parse().unwrap())]), json!({}))
    });
    let busy = present(&world.app, &challenge(&world.app).await).await;
    busy.refused(503, "authority_unreachable");
    assert_eq!(busy.headers["retry-after"], "17");
    // Bound, and not listened at: nobody else gets the port, and whoever connects is refused.
    let deaf = tokio::net::TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let alone = app(world.directory.path(), &format!("http://{}", deaf.local_addr().unwrap()), false);
    let away = send(&alone, Method::POST, "/v1/challenge", &[], Body::empty()).await;
    away.refused(503, "authority_unreachable");
    assert!(away.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn b4_no_more_challenges_are_given_than_are_remembered() {
    let world = World::new().await;
    for _ in 0..100 {
        challenge(&world.app).await;
    }
    let full = send(&world.app, Method::POST, "/v1/challenge", &[], Body::empty()).await;
    full.refused(503, "overloaded");
    assert!(full.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn b4_what_cannot_be_read_is_a_problem() {
    let world = World::new().await;
    let json = ("content-type", "application/json");
    send(&world.app, Method::POST, "/v1/present", &[json], "{").await.refused(400, "invalid_request");
    send(&world.app, Method::POST, "/v1/present", &[json], "{}").await.refused(400, "invalid_request");
    send(&world.app, Method::POST, "/v1/present", &[json], "[".repeat(2 << 20)).await.refused(400, "invalid_request");
    send(&world.app, Method::GET, "/v1/present", &[], Body::empty()).await.refused(405, "method_not_allowed");
    send(&world.app, Method::GET, "/", &[], Body::empty()).await.refused(404, "not_found");
}

#[tokio::test]
async fn b4_a_verdict_resumes_its_session_at_another_process_offline() {
    let world = World::new().await;
    let (one, other) = (world.restarted(true), world.restarted(true));
    let presented = present(&one, &challenge(&one).await).await.json();
    let token = presented["session"].as_str().unwrap();
    // From here on the authority answers for its keys alone.
    world.judges(|_| panic!("nobody asks"));
    let map = async |app: &Arc<App>, token: &str| {
        send(app, Method::GET, "/v1/contents/map", &[("authorization", &bearer(token))], Body::empty()).await
    };
    assert_eq!(map(&other, token).await.body, b"0123456789");
    map(&world.app, token).await.refused(401, "session_unknown");
    let asked = json!({ "challenge": "c" });
    let good = || verdict("download", &asked);
    assert_eq!(map(&other, &signed(&good())).await.status, 200);
    for bad in [
        signed(&Verdict { exp: now(), ..good() }),
        signed(&Verdict { aud: ProviderId::from_bytes([8; 16]), ..good() }),
        signed(&Verdict { iss: "another.example".into(), ..good() }),
        signed(&Verdict { active: false, ..good() }),
        sign_compact("counterfoil-license+jwt", "k1", &good(), &key()),
        sign_compact(VERDICT_TYP, "k1", &good(), &SigningKey::from_seed(&Secret::new([4; 32]))),
        format!("{}x", signed(&good())),
        "x".into(),
    ] {
        map(&other, &bad).await.refused(401, "session_unknown");
    }
}

#[tokio::test]
async fn b4_no_more_of_a_presentation_is_kept_than_is_asked_for_here() {
    let world = World::new().await;
    let asked = json!({ "challenge": "c" });
    let other = |title: &str| TitleOnOffer { title: title.parse().unwrap(), name: "Another".into(), kind: Kind::Game, newest: None };
    let titles = verdict("download", &asked).titles.into_iter().chain([other("of-somebody-else")]).collect();
    let shown = |text: &str| {
        let of_title = json!({ "chapter": 3, "mode": text, "not-asked-for": 1 });
        serde_json::from_value(json!({ TITLE: of_title, "night-garden": { "chapter": 1 }, "of-somebody-else": { "chapter": 1 } })).unwrap()
    };
    let verdict = Verdict { titles, ..verdict("download", &asked) };
    let session = |text: &str| crate::sessions::Session::new(&verdict, shown(text), &world.app.contents);
    assert_eq!(session("hard").titles.iter().map(ToString::to_string).collect::<Vec<_>>(), [TITLE]);
    let kept = |text: &str| serde_json::to_value(session(text).status).unwrap();
    assert_eq!(kept("hard"), json!({ TITLE: { "chapter": 3, "mode": "hard" } }));
    assert_eq!(kept(&"x".repeat(1025)), json!({ TITLE: { "chapter": 3 } }));
}
