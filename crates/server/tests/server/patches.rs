//! Patches between releases: whose they may be, what must be there, and what repeating and replacing does (A5).

use crate::support;
use crate::support::catalogue;

use catalogue::{TestServer, publish};
use counterfoil_format::content::ObjectName;
use serde_json::{Value, json};
use support::{TestDb, db_test};

const PATH: &str = "/v1/titles/sky-raider/patches";

async fn stored(server: &TestServer, bytes: &[u8]) -> ObjectName {
    let name = ObjectName::of(bytes);
    server.put(&server.fox, &format!("/v1/contents/{name}"), bytes.to_vec()).await.expect(201);
    name
}

fn patch(from: &str, to: &str, object: ObjectName, length: usize) -> Value {
    json!({ "from": from, "to": to, "object": object, "length": length, "encoder": "zstd 1.5.7" })
}

async fn published(db: &TestDb) -> TestServer {
    let server = TestServer::new(db).await;
    for version in ["1.0", "2.0", "3.0"] {
        publish(&server, "blue-fox", "sky-raider", version).await;
    }
    publish(&server, "red-owl", "night-owl", "1.0").await;
    server
}

db_test!(a5_a_patch_is_kept_once_and_replaced_by_another, async |db: TestDb| {
    let server = published(&db).await;
    let object = stored(&server, b"a patch").await;
    let new = patch("1.0", "2.0", object, 7);
    let made = server.post(&server.fox, PATH, &new).await.expect(201);
    assert_eq!((&made["from"], &made["to"], &made["object"], &made["length"]), (&new["from"], &new["to"], &new["object"], &new["length"]));
    assert_eq!(server.post(&server.fox, PATH, &new).await.expect(200), made, "the same again");
    // Two more; and a better one in the place of the first.
    server.post(&server.fox, PATH, &patch("2.0", "3.0", object, 7)).await.expect(201);
    server.post(&server.fox, PATH, &patch("2.0", "1.0", object, 7)).await.expect(201);
    let better = stored(&server, b"patch").await;
    server.post(&server.fox, PATH, &patch("1.0", "2.0", better, 5)).await.expect(201);

    let pairs = |page: &Value| {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| format!("{} {} {}", item["from"].as_str().unwrap(), item["to"].as_str().unwrap(), item["length"]))
            .collect::<Vec<_>>()
    };
    let all = server.get(&server.fox, PATH).await.expect(200);
    assert_eq!(pairs(&all), ["1.0 2.0 5", "2.0 1.0 7", "2.0 3.0 7"]);
    let mut found = vec![];
    let mut after = String::new();
    loop {
        let page = server.get(&server.fox, &format!("{PATH}?limit=1&after={after}")).await.expect(200);
        found.extend(pairs(&page));
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(found, pairs(&all));
    let history = server.get(&server.operator, "/v1/audit?family=/title/sky-raider").await.expect(200);
    let patches = history["items"].as_array().unwrap().iter().filter(|item| item["event"] == "patch.published");
    let objects: Vec<_> = patches.map(|item| item["detail"]["object"].as_str().unwrap().to_owned()).collect();
    assert_eq!(objects, [object, object, object, better].map(|name| name.to_string()), "what took effect, and nothing else");
});

db_test!(a5_a_patch_is_taken_only_between_the_publishers_own_releases, async |db: TestDb| {
    let server = published(&db).await;
    let object = stored(&server, b"a patch").await;
    let good = patch("1.0", "2.0", object, 7);
    assert_eq!(server.post(&server.owl, PATH, &good).await.status, 404, "another publisher learns nothing");
    assert_eq!(server.get(&server.owl, PATH).await.status, 404);
    assert_eq!(server.post(&server.fox, "/v1/titles/night-owl/patches", &good).await.status, 404);
    assert_eq!(server.post(&server.fox, "/v1/titles/no-such/patches", &good).await.status, 404);
    let long = json!({ "from": "1.0", "to": "2.0", "object": object, "length": 7, "encoder": "z".repeat(65) });
    for (wrong, what) in [
        (patch("1.0", "9.0", object, 7), "to a release that is not there"),
        (patch("0.9", "2.0", object, 7), "from one"),
        (patch("2.0", "2.0", object, 7), "to itself"),
        (patch("1.0", "2.0", object, 8), "of another length"),
        (patch("1.0", "2.0", ObjectName::of(b"never sent"), 7), "an object that is not there"),
        (long, "an encoder with a long name"),
    ] {
        assert_eq!(server.post(&server.fox, PATH, &wrong).await.code(), "unprocessable", "{what}");
    }
    // Of another generation of the content key: the device would lack it.
    db.write("test", "test", async move |tx: &mut counterfoil_server::db::Tx| -> Result<u64, counterfoil_server::db::DbError> {
        tx.query("UPDATE release SET generation = 2 WHERE title_id = 'sky-raider' AND version = '3.0'").execute().await
    })
    .await
    .unwrap();
    assert_eq!(server.post(&server.fox, PATH, &patch("2.0", "3.0", object, 7)).await.code(), "unprocessable");
    assert_eq!(db.number("SELECT count(*) FROM patch").await, 0);
    server.post(&server.fox, PATH, &good).await.expect(201);
});

db_test!(a5_deltas_are_kept_beside_patches_and_as_strictly, async |db: TestDb| {
    const DELTAS: &str = "/v1/titles/sky-raider/deltas";
    let server = published(&db).await;
    let object = stored(&server, b"deltas").await;
    let deltas = |from: &str, to: &str, length: usize, covered: u64| {
        let mut deltas = patch(from, to, object, length);
        deltas["covered"] = covered.into();
        deltas
    };
    server.post(&server.fox, PATH, &patch("1.0", "2.0", object, 6)).await.expect(201);
    let made = server.post(&server.fox, DELTAS, &deltas("1.0", "2.0", 6, 100)).await.expect(201);
    assert_eq!((&made["from"], &made["covered"], &made["length"]), (&json!("1.0"), &json!(100), &json!(6)));
    assert_eq!(server.post(&server.fox, DELTAS, &deltas("1.0", "2.0", 6, 100)).await.expect(200), made, "the same again");
    server.post(&server.fox, DELTAS, &deltas("1.0", "2.0", 6, 90)).await.expect(201);
    server.post(&server.fox, DELTAS, &deltas("2.0", "1.0", 6, 90)).await.expect(201);
    let all = server.get(&server.fox, DELTAS).await.expect(200);
    let covered: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| item["covered"].clone()).collect();
    assert_eq!(covered, [90, 90]);
    assert_eq!(server.get(&server.fox, PATH).await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get(&server.fox, &format!("{DELTAS}?limit=1&after=1.0:2.0")).await.expect(200)["items"][0]["from"], "2.0");
    let history = server.get(&server.operator, "/v1/audit?family=/title/sky-raider").await.expect(200);
    assert_eq!(history["items"].as_array().unwrap().iter().filter(|item| item["event"] == "delta.published").count(), 3);

    assert_eq!(server.post(&server.owl, DELTAS, &deltas("1.0", "2.0", 6, 1)).await.status, 404, "another publisher learns nothing");
    assert_eq!(server.get(&server.owl, DELTAS).await.status, 404);
    let mut unknown = deltas("1.0", "2.0", 6, 1);
    unknown["more"] = json!(1);
    assert_eq!(server.post(&server.fox, DELTAS, &unknown).await.status, 422, "a member that is not known");
    for wrong in [deltas("1.0", "9.0", 6, 1), deltas("2.0", "2.0", 6, 1), deltas("1.0", "2.0", 7, 1)] {
        assert_eq!(server.post(&server.fox, DELTAS, &wrong).await.code(), "unprocessable");
    }
});
