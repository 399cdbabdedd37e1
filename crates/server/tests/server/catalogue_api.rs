//! Publishers, titles, releases, batches, imports, media and cards, through the whole router.

use crate::support;
use crate::support::catalogue;

use axum::http::Method;
use catalogue::{TestServer, json_request, press, publish, publisher_key, release, release_with};
use counterfoil_core::MediumId;
use counterfoil_core::wire::{IdentityArea, IdentityClaims};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::grant::SealedBox;
use counterfoil_format::hpke::{DiffieHellman as _, SealingKey};
use counterfoil_format::jws::verify_compact;
use counterfoil_format::secret::Secret;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::{TestDb, db_test};
use tower::ServiceExt as _;

db_test!(a_publisher_is_made_once_and_its_key_never_changes, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let new = json!({ "id": "blue-fox", "name": "Blue Fox" });
    let made = server.post(&server.operator, "/v1/publishers", &new).await.expect(201);
    assert_eq!(made, json!({ "id": "blue-fox", "name": "Blue Fox", "key": null, "created_at": "2026-01-01T00:00:00Z" }));
    assert_eq!(server.post(&server.operator, "/v1/publishers", &new).await.expect(200), made);
    let other = json!({ "id": "blue-fox", "name": "Someone else" });
    assert_eq!(server.post(&server.operator, "/v1/publishers", &other).await.expect(409)["code"], "conflict");

    let key = json!({ "key": publisher_key("blue-fox").1 });
    let put = |key: &Value, token: &str| json_request(Method::PUT, "/v1/publishers/blue-fox/key", token, key);
    assert_eq!(server.send(put(&key, &server.owl)).await.status, 404, "another publisher");
    assert_eq!(server.send(put(&key, &server.fox)).await.expect(200)["key"], key["key"]);
    assert_eq!(server.send(put(&key, &server.fox)).await.status, 200, "the same again");
    let other = json!({ "key": publisher_key("red-owl").1 });
    assert_eq!(server.send(put(&other, &server.operator)).await.code(), "conflict");
    assert_eq!(server.send(put(&json!({ "key": "AAAA" }), &server.fox)).await.status, 422);

    for (bad, status) in
        [(json!({ "id": "Blue Fox", "name": "x" }), 422), (json!({ "id": "x", "name": " " }), 422), (json!({ "id": "x" }), 422)]
    {
        assert_eq!(server.post(&server.operator, "/v1/publishers", &bad).await.status, status, "{bad}");
    }
});

db_test!(c1_each_title_has_a_content_key_of_its_own_sealed_to_who_asks, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    publish(&server, "blue-fox", "moon-raider", "1.0").await;
    let mut keys = vec![];
    for title in ["sky-raider", "moon-raider", "sky-raider"] {
        let recipient = SealingKey::from_seed(&Secret::new([7; 32]));
        let path = format!("/v1/titles/{title}/content-key");
        let answer = server.post(&server.fox, &path, &json!({ "recipient": recipient.public_key() })).await.expect(200);
        let sealed: SealedBox = serde_json::from_value(answer["box"].clone()).unwrap();
        let key = sealed.open(&recipient, &["counterfoil content key", title, "1"]).unwrap();
        assert_eq!(key.len(), 32);
        keys.push(key);
        assert!(sealed.open(&recipient, &["counterfoil content key", title, "2"]).is_err(), "bound to its generation");
    }
    assert_eq!(keys[0], keys[2]);
    assert_ne!(keys[0], keys[1]);
    let low_order = json!({ "recipient": to_base64url(&[0; 32]) });
    assert_eq!(server.post(&server.fox, "/v1/titles/sky-raider/content-key", &low_order).await.status, 422);
    let history = server.get(&server.operator, "/v1/audit?family=/title/sky-raider").await.expect(200);
    let events: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| item["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["title.made", "release.published", "content_key.handed_out", "content_key.handed_out"]);
    // What is kept of them is wrapped.
    let found = db.number("SELECT count(*) FROM content_key").await;
    assert_eq!(found, 2);
    let wrapped = db
        .read("test", async |tx: &mut counterfoil_server::db::Tx| -> Result<Vec<(Vec<u8>,)>, counterfoil_server::db::DbError> {
            tx.query("SELECT wrapped FROM content_key").all().await
        })
        .await
        .unwrap();
    assert!(wrapped.iter().all(|(bytes,)| keys.iter().all(|key| !bytes.windows(32).any(|window| window == &key[..]))));
});

db_test!(titles_belong_to_one_publisher, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    publish(&server, "red-owl", "night-owl", "1.0").await;
    let list =
        |body: Value| body["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(list(server.get(&server.operator, "/v1/titles").await.expect(200)), ["night-owl", "sky-raider"]);
    assert_eq!(list(server.get(&server.fox, "/v1/titles").await.expect(200)), ["sky-raider"]);
    let first = server.get(&server.operator, "/v1/titles?limit=1").await.expect(200);
    assert_eq!((list(first.clone()), first["next"].as_str()), (vec!["night-owl".to_owned()], Some("night-owl")));
    assert_eq!(list(server.get(&server.operator, "/v1/titles?limit=1&after=night-owl").await.expect(200)), ["sky-raider"]);

    let mine = json!({ "title": "new-one", "name": "New", "kind": "app" });
    assert_eq!(server.post(&server.fox, "/v1/titles", &mine).await.expect(201)["publisher"], "blue-fox");
    assert_eq!(server.post(&server.fox, "/v1/titles", &mine).await.status, 200);
    assert_eq!(server.post(&server.owl, "/v1/titles", &mine).await.code(), "conflict");
    let renamed = json!({ "title": "new-one", "name": "Newer", "kind": "app" });
    assert_eq!(server.post(&server.fox, "/v1/titles", &renamed).await.code(), "conflict");
    let theirs = json!({ "title": "x", "name": "X", "kind": "app", "publisher": "red-owl" });
    assert_eq!(server.post(&server.fox, "/v1/titles", &theirs).await.status, 422);
    let nobodys = json!({ "title": "x", "name": "X", "kind": "app", "publisher": "no-one" });
    assert_eq!(server.post(&server.operator, "/v1/titles", &nobodys).await.status, 422);
    assert_eq!(server.post(&server.operator, "/v1/titles", &mine).await.status, 422, "an operator says whose");
    let bad = json!({ "title": "../x", "name": "X", "kind": "app" });
    assert_eq!(server.post(&server.fox, "/v1/titles", &bad).await.status, 422);
});

db_test!(a_release_is_taken_only_when_all_of_it_is_right, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let first = publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let path = "/v1/titles/sky-raider/releases";
    assert_eq!(server.post(&server.fox, path, &first).await.status, 200, "the same again");
    // Another document of the same version, with everything else right.
    let other = release_with("blue-fox", "sky-raider", "1.0", |release| release.size = 2);
    assert_eq!(server.post(&server.fox, path, &other).await.code(), "release_exists");

    let missing = release("blue-fox", "sky-raider", "1.1");
    let answer = server.post(&server.fox, path, &missing).await.expect(422);
    assert!(answer["detail"].as_str().unwrap().contains("2 objects are not in the contents store"), "{answer}");

    let forged = release("red-owl", "sky-raider", "1.2");
    assert_eq!(server.post(&server.fox, path, &forged).await.status, 422, "signed by another");
    let cut = json!({ "document": first["document"].as_str().unwrap().trim_end_matches(|c| c != '.'), "objects": first["objects"] });
    assert_eq!(server.post(&server.fox, path, &cut).await.status, 422);
    let change = |change: fn(&mut counterfoil_format::content::Release)| release_with("blue-fox", "sky-raider", "1.0", change);
    for (wrong, what) in [
        (change(|release| release.title = "night-owl".into()), "another title"),
        (change(|release| release.generation = 2), "a content key that is not there"),
        (change(|release| release.kind = counterfoil_format::content::Kind::Music), "another kind"),
        (change(|release| release.manifest.length += 1), "a manifest of another length"),
        (json!({ "document": first["document"], "objects": [] }), "no objects"),
        (json!({ "document": first["document"], "objects": [first["objects"][0], first["objects"][0]] }), "an object twice"),
        (
            json!({ "document": first["document"], "objects": [first["objects"][0], { "object": first["objects"][1]["object"], "length": 1 }] }),
            "a length",
        ),
    ] {
        assert_eq!(server.post(&server.fox, path, &wrong).await.status, 422, "{what}");
    }
    publish(&server, "blue-fox", "sky-raider", "2.0").await;
    let list = server.get(&server.fox, path).await.expect(200);
    let versions: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["version"].as_str().unwrap(), item["number"].as_i64().unwrap()))
        .collect();
    assert_eq!(versions, [("2.0", 2), ("1.0", 1)]);
    let one = server.get(&server.fox, "/v1/titles/sky-raider/releases/1.0").await.expect(200);
    assert_eq!((&one["document"], one["objects"].as_array().unwrap().len()), (&first["document"], 2));
    assert_eq!(server.get(&server.fox, "/v1/titles/sky-raider/releases/9").await.status, 404);
});

db_test!(b1_b2_every_identity_of_a_batch_is_signed_and_streamed_in_order, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    publish(&server, "blue-fox", "moon-raider", "1.0").await;
    publish(&server, "red-owl", "night-owl", "1.0").await;
    let new = json!({ "name": "first run", "titles": [{ "title": "sky-raider" }, { "title": "moon-raider", "version": "1.0" }], "count": 700,
                      "rights": { "copies": 2, "attributes": { "region": "eu" } } });
    let batch = server.post(&server.fox, "/v1/batches", &new).await.expect(201);
    assert_eq!(
        (&batch["count"], &batch["origin"], &batch["rights"]["copies"], &batch["rights"]["play"]),
        (&json!(700), &json!("pressed"), &json!(2), &json!(true))
    );
    let id = batch["batch"].as_str().unwrap();

    let all = server.get(&server.fox, &format!("/v1/batches/{id}/identities")).await;
    assert_eq!((all.status.as_u16(), all.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<&str> = std::str::from_utf8(&all.body).unwrap().lines().collect();
    assert_eq!(lines.len(), 700);
    let mut secrets = std::collections::BTreeSet::new();
    for (serial, line) in (1u64..).zip(&lines) {
        assert!(line.len() < IdentityArea::LIMIT);
        let area: IdentityArea = serde_json::from_str(line).unwrap();
        let claims: IdentityClaims =
            verify_compact(&area.identity, "counterfoil-identity+jwt", |kid| server.app.keys.verifying_key(kid)).unwrap();
        assert_eq!((claims.serial, claims.epoch, claims.iss.as_str(), claims.rights.copies), (serial, 1, "test.example", 2));
        assert_eq!(claims.medium_id, MediumId::pressed(claims.batch, serial));
        assert_eq!(claims.titles.iter().map(|on| on.title.as_str()).collect::<Vec<_>>(), ["sky-raider", "moon-raider"]);
        assert_eq!(claims.titles[0].publisher.key, publisher_key("blue-fox").1);
        assert_eq!(area.authority.urls, ["https://test.example"]);
        assert_eq!(from_base64url(&area.claim_secret).unwrap().len(), 32);
        secrets.insert(area.claim_secret);
    }
    assert_eq!(secrets.len(), 700);

    let part = server.get(&server.fox, &format!("/v1/batches/{id}/identities?from=300&count=5")).await;
    assert_eq!(std::str::from_utf8(&part.body).unwrap().lines().collect::<Vec<_>>(), &lines[299..304], "byte for byte what it was");
    let end = server.get(&server.fox, &format!("/v1/batches/{id}/identities?from=699&count=50")).await;
    assert_eq!(std::str::from_utf8(&end.body).unwrap().lines().count(), 2);
    assert_eq!(server.get(&server.fox, &format!("/v1/batches/{id}/identities?from=701")).await.body.len(), 0);
    for bad in ["from=0", "count=0", "from=-5", "from=x"] {
        let status = server.get(&server.fox, &format!("/v1/batches/{id}/identities?{bad}")).await.status.as_u16();
        assert!((400..=422).contains(&status), "{bad}: {status}");
    }
    // Untouched media have no row, and are known all the same.
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 0);
    let history = server.get(&server.operator, &format!("/v1/audit?family=/batch/{id}")).await.expect(200);
    assert_eq!(history["items"][0]["detail"], json!({ "from": 1, "until": 700 }));

    for (wrong, what) in [
        (json!({ "titles": [], "count": 1 }), "no title"),
        (json!({ "titles": [{ "title": "sky-raider" }], "count": 0 }), "no medium"),
        (json!({ "titles": [{ "title": "sky-raider" }] }), "neither count nor imported"),
        (json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "imported": true }), "both"),
        (json!({ "titles": [{ "title": "sky-raider" }, { "title": "sky-raider" }], "count": 1 }), "twice"),
        (json!({ "titles": [{ "title": "sky-raider", "version": "9" }], "count": 1 }), "no such release"),
        (json!({ "titles": [{ "title": "night-owl" }], "count": 1 }), "another's title"),
        (json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "rights": { "copies": 0 } }), "no copies"),
        (
            json!({ "titles": [{ "title": "sky-raider" }], "count": 1, "rights": { "attributes": { "a": "x".repeat(70_000) } } }),
            "too large",
        ),
    ] {
        assert_eq!(server.post(&server.fox, "/v1/batches", &wrong).await.status, 422, "{what}");
    }
    let mixed = json!({ "titles": [{ "title": "sky-raider" }, { "title": "night-owl" }], "count": 1 });
    assert_eq!(server.post(&server.operator, "/v1/batches", &mixed).await.status, 422, "of two publishers");
});

db_test!(b1_media_with_ids_made_elsewhere_are_imported_line_by_line, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let new = json!({ "titles": [{ "title": "sky-raider" }], "imported": true });
    let batch = server.post(&server.fox, "/v1/batches", &new).await.expect(201)["batch"].as_str().unwrap().to_owned();
    let other = server.post(&server.fox, "/v1/batches", &new).await.expect(201)["batch"].as_str().unwrap().to_owned();
    let pressed = press(&server, &server.fox, "sky-raider", 1).await["batch"].as_str().unwrap().to_owned();
    let import = async |batch: &str, lines: String| {
        let request = catalogue::request(Method::POST, &format!("/v1/batches/{batch}/media"), &server.fox)
            .header("content-type", "application/x-ndjson")
            .body(lines.into());
        server.send(request.unwrap()).await
    };
    let line = |id: &str| format!("{}\n", json!({ "medium_id": id }));
    let many: String = (0..250).map(|n| line(&format!("DISC:{n:06}"))).collect();
    assert_eq!(import(&batch, many.clone()).await.expect(200), json!({ "imported": 250, "repeated": 0, "rejected": [] }));
    assert_eq!(import(&batch, many.clone()).await.expect(200), json!({ "imported": 0, "repeated": 250, "rejected": [] }));

    let pressed_id = MediumId::pressed(counterfoil_core::BatchId([9; 8]), 1).to_string();
    let mixed = [
        line("DISC:000001"),
        line("new.1"),
        "nonsense\n".into(),
        "\n".into(),
        line("a b"),
        line("new.1"),
        line(&pressed_id),
        line("MED-x"),
    ]
    .concat();
    let answer = import(&batch, mixed.clone()).await.expect(200);
    assert_eq!((&answer["imported"], &answer["repeated"]), (&json!(1), &json!(2)));
    let rejected: Vec<_> = answer["rejected"].as_array().unwrap().iter().map(|line| line["line"].as_u64().unwrap()).collect();
    assert_eq!(rejected, [3, 5, 7, 8]);
    assert_eq!(answer["rejected"][2]["medium_id"], pressed_id);

    let foreign = import(&other, line("new.1") + &line("new.2")).await.expect(200);
    assert_eq!((&foreign["imported"], &foreign["rejected"][0]["reason"]), (&json!(1), &json!("it belongs to another batch")));
    assert_eq!(import(&pressed, line("new.3")).await.status, 422);
    let too_many: String = (0..10_001).map(|n| line(&format!("X:{n:06}"))).collect();
    assert_eq!(import(&batch, too_many).await.status, 413);

    assert_eq!(server.get(&server.fox, &format!("/v1/batches/{batch}")).await.expect(200)["count"], 251);
    let identities = server.get(&server.fox, &format!("/v1/batches/{batch}/identities?from=250")).await;
    let areas: Vec<IdentityArea> =
        std::str::from_utf8(&identities.body).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let claims: Vec<IdentityClaims> = areas
        .iter()
        .map(|area| verify_compact(&area.identity, "counterfoil-identity+jwt", |kid| server.app.keys.verifying_key(kid)).unwrap())
        .collect();
    assert_eq!(
        claims.iter().map(|claims| (claims.serial, claims.medium_id.as_str())).collect::<Vec<_>>(),
        [(250, "DISC:000249"), (251, "new.1")]
    );
    let medium = server.get(&server.fox, "/v1/media/DISC:000249").await.expect(200);
    assert_eq!((&medium["serial"], &medium["state"], &medium["batch"]), (&json!(250), &json!("unclaimed"), &json!(batch)));
});

db_test!(a_medium_is_known_before_it_is_touched_and_can_be_retired, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    let batch = press(&server, &server.fox, "sky-raider", 3).await["batch"].as_str().unwrap().parse().unwrap();
    let id = MediumId::pressed(batch, 2).to_string();
    let path = format!("/v1/media/{id}");
    let untouched = server.get(&server.fox, &path.to_lowercase()).await.expect(200);
    assert_eq!((&untouched["state"], &untouched["copies_claimed"], &untouched["timeline"]), (&json!("unclaimed"), &json!(0), &json!([])));
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 0, "looking makes no row");
    assert_eq!(server.get(&server.owl, &path).await.status, 404);
    for beyond in [0, 4, u64::MAX] {
        assert_eq!(
            server.get(&server.operator, &format!("/v1/media/{}", MediumId::pressed(batch, beyond))).await.status,
            404,
            "serial {beyond}"
        );
    }
    let retired = server.post(&server.operator, &format!("{path}/retire"), &json!({ "reason": "recalled" })).await.expect(200);
    assert_eq!((&retired["state"], &retired["timeline"][0]["event"]), (&json!("retired"), &json!("medium.retired")));
    let again = server.post(&server.operator, &format!("{path}/retire"), &json!({ "reason": "recalled" })).await.expect(200);
    assert_eq!(again["timeline"].as_array().unwrap().len(), 1);
    // The particulars tell of users, so only the operator sees them.
    assert_eq!(again["timeline"][0]["detail"], json!({ "reason": "recalled" }));
    assert_eq!(server.get(&server.fox, &path).await.expect(200)["timeline"][0]["detail"], Value::Null);
});

db_test!(c4_cards_are_issued_and_declared_dead, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let card = |n| counterfoil_core::CardId::from_bytes([n; 16]).to_string();
    let cards = json!({ "cards": [card(1), { "card_id": card(2) }, card(1), "crd-nonsense"] });
    let answer = server.post(&server.operator, "/v1/cards", &cards).await.expect(200);
    assert_eq!((&answer["imported"], &answer["repeated"], &answer["rejected"][0]["line"]), (&json!(2), &json!(1), &json!(4)));
    let answer = server.post(&server.operator, "/v1/cards", &json!({ "cards": [card(2), card(3)] })).await.expect(200);
    assert_eq!((&answer["imported"], &answer["repeated"]), (&json!(1), &json!(1)));
    let lost = json!({ "reason": "lost" });
    assert_eq!(server.post(&server.operator, &format!("/v1/cards/{}/revoke", card(1)), &lost).await.expect(200)["state"], "dead");
    assert_eq!(server.post(&server.operator, &format!("/v1/cards/{}/revoke", card(1)), &lost).await.status, 200);
    assert_eq!(server.post(&server.operator, &format!("/v1/cards/{}/revoke", card(9)), &lost).await.status, 404);
    assert_eq!(db.number("SELECT count(*) FROM holder WHERE state = 'dead'").await, 1);
    assert_eq!(db.number("SELECT count(*) FROM holder WHERE state = 'issued'").await, 2);
});

db_test!(b1_pressing_many_takes_little_memory_and_time, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    publish(&server, "blue-fox", "sky-raider", "1.0").await;
    // Under nextest each test is a process of its own, so that its memory is its own as well.
    let count = std::env::var("COUNTERFOIL_PRESS").ok().map_or(10_000, |count| count.parse().unwrap());
    let id = press(&server, &server.fox, "sky-raider", count).await["batch"].as_str().unwrap().to_owned();
    let request = catalogue::request(Method::GET, &format!("/v1/batches/{id}/identities"), &server.fox).body(axum::body::Body::empty());
    let response = server.router.clone().oneshot(request.unwrap()).await.unwrap();
    let before = peak_kib();
    let (mut lines, mut bytes) = (0, 0);
    let mut pieces = response.into_body().into_data_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        bytes += piece.len();
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(i64::try_from(lines).unwrap(), count);
    let grown = peak_kib() - before;
    eprintln!("{lines} identities, {bytes} bytes, {grown} KiB more memory");
    assert!(grown < 24 * 1024, "{grown} KiB more for {bytes} bytes");
});

/// Most memory that this process has had, where the system tells.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or_default()
}
