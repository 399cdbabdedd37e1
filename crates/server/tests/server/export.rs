//! Export of everything an operator holds: nothing is forgotten, no secret is in it, and what was exported can be imported.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::catalogue::{self, TestServer};
use crate::support::terminal::{Terminal, media};
use crate::support::uploading::saver;
use crate::support::{Engine, TestDb, db_test, on, schema};

use axum::body::Body;
use axum::http::Method;
use counterfoil_format::encoding::to_base64url;
use counterfoil_server::actions::export::kinds::{KINDS, LEFT_OUT};
use counterfoil_server::jobs;
use serde_json::{Value, json};

/// What an export of a kind is, in either form.
async fn exported(server: &TestServer, what: &str, format: &str) -> String {
    let answer = server.get(&server.operator, &format!("/v1/export/{what}?format={format}")).await;
    assert_eq!(answer.status, 200, "{what}: {}", String::from_utf8_lossy(&answer.body));
    String::from_utf8(answer.body).unwrap()
}

async fn lines(server: &TestServer, what: &str) -> Vec<Value> {
    exported(server, what, "jsonl").await.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A server in which most tables have rows.
async fn lived_in(db: &TestDb) -> (TestServer, Terminal) {
    let server = TestServer::new(db).await;
    let (desk, _) = saver(&server, db, 1).await;
    desk.hand_in(&server, "quick", 0, b"sealed bytes").await;
    desk.uploads(&server, &[]).await.unwrap();
    let medium = media(&server, "moon-raider", 2, json!({})).await.remove(0);
    desk.claim(&server, &medium).await.unwrap();
    desk.install(&server, "sky-raider").await.unwrap();
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    (server, desk)
}

#[test]
fn every_table_and_column_is_exported_or_left_out_with_a_reason() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let tables = schema::of_sqlite(&db.path()).tables;
            let named: BTreeSet<&str> = KINDS.iter().map(|kind| kind.table).chain(LEFT_OUT.iter().map(|(table, _)| *table)).collect();
            let families = schema::families();
            assert_eq!(named, families.keys().map(String::as_str).collect(), "exported or left out, and all there are");
            assert_eq!(named.len(), KINDS.len() + LEFT_OUT.len(), "none is both");
            for kind in KINDS.iter() {
                let table = &tables[kind.table];
                let columns: BTreeSet<&str> =
                    kind.columns.iter().map(|column| column.name).chain(kind.without.iter().map(|(name, _)| *name)).collect();
                assert_eq!(columns, table.columns.keys().map(String::as_str).collect(), "{}", kind.table);
                assert_eq!(columns.len(), kind.columns.len() + kind.without.len(), "{}: none is both", kind.table);
                let key: Vec<&str> = kind.columns[..kind.keys].iter().map(|column| column.name).collect();
                assert_eq!(key, table.primary_key, "{}: pages go by the key", kind.table);
            }
            assert!(KINDS.iter().flat_map(|kind| kind.without).chain(LEFT_OUT).all(|(_, because)| !because.is_empty()));
        },
    );
}

db_test!(every_kind_is_told_row_by_row_in_both_forms, async |db: TestDb| {
    let (server, desk) = lived_in(&db).await;
    let listed = server.get(&server.operator, "/v1/export").await.expect(200);
    assert_eq!(listed["kinds"].as_array().unwrap().len(), KINDS.len());
    assert!(listed["left_out"].to_string().contains("user_device.secret"));
    let mut filled = 0;
    for kind in KINDS.iter() {
        let rows = lines(&server, kind.name).await;
        filled += usize::from(!rows.is_empty());
        let columns: Vec<&str> = kind.columns.iter().map(|column| column.shown).collect();
        assert!(rows.iter().all(|row| row.as_object().unwrap().len() == columns.len()), "{}", kind.name);
        let table = exported(&server, kind.name, "csv").await;
        let mut table = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(table.headers().unwrap().iter().collect::<Vec<_>>(), columns, "{}", kind.name);
        let cells: Vec<csv::StringRecord> = table.records().collect::<Result<_, _>>().unwrap();
        // That the table was asked for is in the audit log itself.
        assert_eq!(cells.len(), rows.len() + usize::from(kind.name == "audit"), "{}", kind.name);
    }
    assert!(filled >= 20, "{filled} kinds have rows");
    let users = lines(&server, "users").await;
    assert!(users.iter().any(|row| row["user_id"] == desk.user.unwrap().to_string() && row["created_at"] == "2026-01-01T00:00:00Z"));
    assert_eq!(
        db.number("SELECT count(*) FROM audit WHERE family = '/exports' AND event = 'data.exported'").await,
        2 * KINDS.len() as i64 + 1
    );
    assert_eq!(server.get(&server.fox, "/v1/export/people").await.status, 403);
    assert_eq!(server.get(&server.operator, "/v1/export/content_key").await.status, 404);
    assert_eq!(server.get(&server.operator, "/v1/export/people?format=xml").await.status, 400);
});

/// All that must not leave: what is left out of the export, as bytes or as text of some length.
fn secrets(db: &TestDb) -> Vec<(String, Vec<u8>)> {
    let connection = rusqlite::Connection::open(db.path()).unwrap();
    let mut found = vec![];
    let columns = KINDS.iter().flat_map(|kind| kind.without.iter().map(|(column, _)| (kind.table, (*column).to_owned())));
    let tables = LEFT_OUT.iter().filter(|(_, because)| because.contains("key") || because.contains("secret"));
    let whole = tables.flat_map(|(table, _)| ["wrapped", "hash", "value"].map(|column| (*table, column.to_owned())));
    for (table, column) in columns.chain(whole) {
        let Ok(mut statement) = connection.prepare(&format!("SELECT {column} FROM {table}")) else { continue };
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let bytes = match row.get_ref(0).unwrap() {
                rusqlite::types::ValueRef::Blob(bytes) | rusqlite::types::ValueRef::Text(bytes) => bytes.to_vec(),
                _ => continue,
            };
            if bytes.len() >= 16 {
                found.push((format!("{table}.{column}"), bytes));
            }
        }
    }
    found
}

/// As it would stand in an export, however it is written.
fn is_in(text: &str, secret: &[u8]) -> bool {
    let plain = std::str::from_utf8(secret).is_ok_and(|plain| text.contains(plain));
    let hex = secret.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    plain || text.contains(&to_base64url(secret)) || text.contains(&hex)
}

#[test]
fn no_secret_leaves_with_an_export() {
    on(
        Engine::Sqlite,
        |_| (),
        async |db: TestDb| {
            let (server, desk) = lived_in(&db).await;
            let secrets = secrets(&db);
            let kinds: BTreeMap<&str, usize> = secrets.iter().fold(BTreeMap::new(), |mut count, (place, _)| {
                *count.entry(place.as_str()).or_default() += 1;
                count
            });
            for place in [
                "token.hash",
                "user_device.secret",
                "grants.library_key",
                "license.library_key",
                "content_key.wrapped",
                "batch.claim_key",
                "authority_key.wrapped",
                "key_encryption_key.wrapped",
                "save_key.wrapped",
            ] {
                assert!(kinds.contains_key(place), "the search must have something to look for: {place} in {kinds:?}");
            }
            let mut all = String::new();
            for kind in KINDS.iter() {
                all += &exported(&server, kind.name, "jsonl").await;
                all += &exported(&server, kind.name, "csv").await;
            }
            let person = server.get(&server.operator, &format!("/v1/people/{}", desk.user.unwrap())).await;
            all += &String::from_utf8(person.body).unwrap();
            for (place, secret) in &secrets {
                assert!(!is_in(&all, secret), "{place} is in the export");
            }
            // The search finds what is there.
            let connection = rusqlite::Connection::open(db.path()).unwrap();
            let known: Vec<u8> = connection.query_row("SELECT sign_key FROM user_device", [], |row| row.get(0)).unwrap();
            assert!(is_in(&all, &known));
        },
    );
}

/// A thousand and more people, over several pages.
async fn crowd(server: &TestServer, count: usize) {
    for block in (0..count).collect::<Vec<_>>().chunks(1000) {
        let lines: String = block
            .iter()
            .map(|number| json!({ "reference": number.to_string(), "name": format!("Person {number}") }).to_string() + "\n")
            .collect();
        let request = catalogue::request(Method::POST, "/v1/people", &server.operator).body(Body::from(lines)).unwrap();
        assert_eq!(server.send(request).await.expect(200)["made"], block.len());
    }
}

db_test!(an_export_of_many_pages_has_every_row_once_in_order, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    crowd(&server, 1501).await;
    let rows = lines(&server, "people").await;
    let ids: Vec<&str> = rows.iter().map(|row| row["user_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1501);
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
    // A family's chain, whose key is a name and a number, over a page's end.
    let audit = lines(&server, "audit").await;
    let keys: Vec<(&str, i64)> = audit.iter().map(|row| (row["family"].as_str().unwrap(), row["seq"].as_i64().unwrap())).collect();
    assert!(keys.is_sorted() && keys.len() as i64 + 1 >= 1501);
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
});

db_test!(what_is_held_about_one_person_is_told_and_nothing_of_anybody_else, async |db: TestDb| {
    let (server, desk) = lived_in(&db).await;
    crowd(&server, 30).await;
    let user = desk.user.unwrap().to_string();
    let answer = server.get(&server.operator, &format!("/v1/people/{user}")).await;
    let document = answer.expect(200);
    for what in ["users", "devices", "drives", "entitlements", "licenses", "orders", "uploads", "grants", "audit"] {
        assert!(!document[what].as_array().unwrap().is_empty(), "{what}: {document}");
    }
    // Each as the export of everything has it, and all of it.
    for kind in KINDS.iter().filter(|kind| kind.is_of_users() || kind.name == "grants") {
        let all: Vec<Value> = lines(&server, kind.name).await.into_iter().filter(|row| row["user_id"] == user.as_str()).collect();
        assert_eq!(document[kind.name], json!(all), "{}", kind.name);
    }
    let log = lines(&server, "audit").await.into_iter().filter(|row| row["family"] == user.as_str()).collect::<Vec<_>>();
    assert_eq!(document["audit"], json!(log));
    assert_eq!(log.last().unwrap()["event"], "person.exported");
    for (token, id, status) in [(&server.fox, user.as_str(), 403), (&server.operator, "usr-x", 404)] {
        assert_eq!(server.get(token, &format!("/v1/people/{id}")).await.status, status);
    }
    let nobody = counterfoil_core::UserId::from_bytes([3; 16]);
    assert_eq!(server.get(&server.operator, &format!("/v1/people/{nobody}")).await.status, 404);
});
