//! Deletion of a person's data on request: of somebody with something distinctive everywhere nothing is left, and what they own stays theirs.

use crate::accounts::browser::{Browser, PASSWORD};
use crate::support::catalogue::{self, TestServer};
use crate::support::released::status;
use crate::support::sales::sell;
use crate::support::terminal::{Medium, Terminal, media};
use crate::support::{Engine, TestDb, db_test};

use axum::body::Body;
use axum::http::Method;
use counterfoil_core::wire::{Operation, Variable};
use counterfoil_core::{Timestamp, UserId};
use counterfoil_server::actions::upload::sweep;
use counterfoil_server::store::audit;
use counterfoil_server::{auditor, jobs};
use serde_json::{Value, json};

const TITLE: &str = "sky-raider";
const HOUR: i64 = 60 * 60 * 1000;
const EMAIL: &str = "canary.mail@zyx.example";
const SAVE: &[u8] = b"canary save bytes";
/// What is the person's own, wherever somebody can write such.
const CANARIES: &[&str] = &[
    "Canary Personname",
    EMAIL,
    "77 Canary Street",
    "CanaryMaker",
    "CanaryModel",
    "canary desk",
    "CanaryAgent",
    "canary passkey",
    "CanaryVariable",
    "canary-slot",
    "canary note",
    "canary phone 555",
    "canary failure",
];

async fn mailing(db: &TestDb) -> TestServer {
    let server = TestServer::with(db, |config| {
        config.mail.smtp_url = Some("smtp://127.0.0.1:1".to_owned().into());
        config.mail.from = Some("Test Store <no-reply@test.example>".to_owned());
    })
    .await;
    // As the contents store's clock goes.
    let file = tempfile::NamedTempFile::new().unwrap();
    let since = file.as_file().metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    server.app.clock.set(Timestamp(i64::try_from(since.as_millis()).unwrap()));
    server
}

/// Somebody about whom everything is known that can be, with two media of which one was claimed.
async fn known_well(server: &TestServer, db: &TestDb) -> (Terminal, Medium) {
    sell(server, db, TITLE, &["19.99 EUR"], json!({ "devices": 2, "upload_mib": 1 })).await;
    let mut discs = media(server, "moon-raider", 2, json!({})).await;
    let mut terminal = Terminal::new();
    let device = json!({ "device_id": terminal.device_id(), "maker": "CanaryMaker", "model": "CanaryModel", "name": "canary desk" });
    let person = json!({ "name": "Canary Personname", "email": EMAIL, "address": "77 Canary Street\nLondon", "device": device });
    let made = server.post(&server.operator, "/v1/users", &person).await.expect(201);
    let user: UserId = made["user_id"].as_str().unwrap().parse().unwrap();
    let Operation::Register(mut operation) = terminal.register_operation(Some(user)) else { panic!("it registers") };
    operation.device.as_mut().unwrap().name = Some("canary desk".to_owned());
    terminal.ask(server, Operation::Register(operation), None).await.unwrap();
    terminal.user = Some(user);

    let grants = terminal.claim(server, &discs[0]).await.unwrap();
    terminal.confirm(server, &discs[0], &grants).await.unwrap();
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    terminal.top_up(server, "20.00 EUR").await;
    terminal.order(server, TITLE, "19.99 EUR").await.unwrap();
    terminal.install(server, TITLE).await.unwrap();
    let mut said = status("moon-raider", grants[0].grant_id, Some(&discs[0]), "1.0");
    said.variables.insert("who".to_owned(), Variable::Text("CanaryVariable".to_owned()));
    terminal.report(server, vec![said]).await.unwrap();
    let mut upload = terminal.upload_operation("canary-slot", 0, SAVE);
    upload.note = Some("canary note".to_owned());
    let begun = terminal.ask(server, Operation::Upload(upload), None).await.unwrap();
    crate::support::uploading::patch(server, begun["path"].as_str().unwrap(), 0, SAVE.to_vec()).await.expect(204);
    signed_up(server, user).await;
    let planted = db.write("plant", user.to_string(), async move |tx| plant(tx, user).await);
    planted.await.unwrap();
    (terminal, discs.remove(1))
}

async fn signed_up(server: &TestServer, user: UserId) {
    let mut browser = Browser::default();
    let user = user.to_string();
    let fields = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("email", EMAIL), ("password", PASSWORD), ("user_id", &user)])
        .finish();
    let mut request = browser.request(Method::POST, "/account/sign-up").header("origin", "https://test.example");
    request.headers_mut().unwrap().insert("user-agent", "CanaryAgent/1.0".parse().unwrap());
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(fields)).unwrap();
    assert_eq!(browser.send(server, request).await.status, 200);
}

/// What takes hardware, time or a repair centre to come by.
async fn plant(tx: &mut counterfoil_server::db::Tx, user: UserId) -> Result<(), counterfoil_server::db::DbError> {
    for sql in [
        "INSERT INTO reissue (user_id, reissue_id, state, contact, actor, created_at) VALUES ($1, 'rei-1', 'declined', 'canary phone 555', 'x', 1)",
        "INSERT INTO inbox (user_id, job_id, device_id, work, created_at, done_at, failed)
           VALUES ($1, 'job-1', 'dev-1', '{\"work\":\"end\"}', 1, 2, 'canary failure')",
    ] {
        tx.query(sql).bind(user.to_string()).execute().await?;
    }
    let passkey = "INSERT INTO passkey (user_id, credential_id, document, name, created_at) VALUES ($1, 'c', $2, 'canary passkey', 1)";
    tx.query(passkey).bind(user.to_string()).bind([7; 8]).execute().await?;
    Ok(())
}

/// Which of them stand anywhere in the database, in whatever column of whatever table, as text or as bytes.
async fn in_database(db: &TestDb) -> Vec<&'static str> {
    let mut held = String::new();
    match db.engine() {
        Engine::Sqlite => {
            let connection = rusqlite::Connection::open(db.path()).unwrap();
            let names = |sql: &str| -> Vec<String> {
                connection.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
            };
            for table in names("SELECT name FROM sqlite_master WHERE type = 'table'") {
                let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).unwrap();
                let columns = statement.column_count();
                let mut rows = statement.query([]).unwrap();
                while let Some(row) = rows.next().unwrap() {
                    for column in 0..columns {
                        if let rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes) =
                            row.get_ref(column).unwrap()
                        {
                            held += &String::from_utf8_lossy(bytes);
                            held.push('\n');
                        }
                    }
                }
            }
        }
        Engine::Postgres => {
            let client = db.beside().await;
            for row in
                client.query("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'", &[]).await.unwrap()
            {
                let table: String = row.get(0);
                for row in client.query(&format!("SELECT CAST(t AS TEXT) FROM \"{table}\" t"), &[]).await.unwrap() {
                    held += &row.get::<_, String>(0);
                    held.push('\n');
                }
            }
        }
    }
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    CANARIES.iter().copied().filter(|canary| held.contains(canary) || held.contains(&hex(canary))).collect()
}

/// Objects of the contents store that hold what was handed in.
fn objects(server: &TestServer) -> usize {
    let mut found = 0;
    let mut directories = vec![server.contents().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found += usize::from(std::fs::read(&path).unwrap().windows(SAVE.len()).any(|part| part == SAVE));
            }
        }
    }
    found
}

fn later(server: &TestServer, milliseconds: i64) {
    server.app.clock.set(Timestamp(server.app.clock.now().0 + milliseconds));
}

async fn erase(server: &TestServer, user: UserId) -> Value {
    server.post(&server.operator, &format!("/v1/people/{user}/erase"), &json!({ "reason": "asked for by letter" })).await.expect(200)
}

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

db_test!(of_an_erased_person_nothing_is_left_and_they_keep_what_they_own, async |db: TestDb| {
    let server = mailing(&db).await;
    let (terminal, other) = known_well(&server, &db).await;
    let user = terminal.user.unwrap();
    assert_eq!((in_database(&db).await, objects(&server)), (CANARIES.to_vec(), 1), "the search finds all of it");
    let held = server.get(&server.operator, &format!("/v1/people/{user}")).await;
    let held = String::from_utf8(held.body).unwrap();
    let kept_back = CANARIES.iter().filter(|canary| !held.contains(*canary)).collect::<Vec<_>>();
    assert_eq!(kept_back, Vec::<&&str>::new(), "who asks is told all of it");
    let owned = server.get(&server.operator, &format!("/v1/users/{user}")).await.expect(200)["entitlements"].clone();

    let done = erase(&server, user).await;
    for (what, count) in
        [("sign_in_names", 1), ("sessions", 1), ("passkeys", 1), ("device_descriptions", 2), ("uploads", 1), ("contacts", 1), ("mails", 1)]
    {
        assert_eq!(done["erased"][what], count, "{what}: {done}");
    }
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    later(&server, 2 * HOUR);
    sweep(&server.app).await.unwrap();
    assert_eq!((in_database(&db).await, objects(&server)), (vec![], 0));
    assert_eq!(db.number("SELECT count(*) FROM upload").await + db.number("SELECT count(*) FROM sign_in_name").await, 0);
    // The one that was planted has no history.
    db.run("DELETE FROM reissue WHERE reissue_id = 'rei-1'").await;
    is_sound(&db).await;

    // It is still theirs: the same things, the license, the card that claims.
    let known = server.get(&server.operator, &format!("/v1/users/{user}")).await.expect(200);
    assert_eq!((&known["person"], &known["entitlements"]), (&Value::Null, &owned));
    assert!(owned.as_array().unwrap().len() >= 2);
    terminal.claim(&server, &other).await.unwrap();
    terminal.install(&server, TITLE).await.unwrap_err();
    terminal.license_again(&server, TITLE).await.unwrap();
    assert_eq!(terminal.orders(&server).await.orders.len(), 1);
    assert_eq!(db.number("SELECT count(*) FROM balance_entry").await, 1, "and what was paid in stays on record");
    let mut browser = Browser::default();
    assert_ne!(browser.sign_in(&server, EMAIL, PASSWORD).await.status, 303, "nobody signs in by it");

    // The same again finds nothing, and old lists bring nobody back.
    let again = erase(&server, user).await;
    assert_eq!((&again["erased"]["person"], &again["erased"]["sign_in_names"]), (&json!(false), &json!(0)), "{again}");
    let line = json!({ "user_id": user, "name": "Canary Personname" }).to_string();
    let request = catalogue::request(Method::POST, "/v1/people", &server.operator).body(Body::from(line)).unwrap();
    let refused = server.send(request).await.expect(200);
    assert!(refused["rejected"][0]["reason"].as_str().unwrap().contains("deleted on request"), "{refused}");
    assert_eq!(in_database(&db).await, Vec::<&str>::new());

    if db.engine() == Engine::Sqlite {
        let path = db.path();
        db.db.close().await;
        let bytes = std::fs::read(&path).unwrap();
        let left: Vec<&&str> = CANARIES.iter().filter(|canary| bytes.windows(canary.len()).any(|part| part == canary.as_bytes())).collect();
        assert_eq!(left, Vec::<&&str>::new(), "not even in free space");
    }
});

db_test!(a_name_that_was_taken_again_meanwhile_stays, async |db: TestDb| {
    let server = mailing(&db).await;
    let terminal = Terminal::registered(&server).await;
    let user = terminal.user.unwrap();
    signed_up(&server, user).await;
    erase(&server, user).await;
    signed_up(&server, user).await;
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await, 1);
    assert_eq!(Browser::default().sign_in(&server, EMAIL, PASSWORD).await.status, 303);
    erase(&server, user).await;
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    assert_eq!(db.number("SELECT count(*) FROM sign_in_name").await + db.number("SELECT count(*) FROM account").await, 0);
});

db_test!(only_an_operator_erases_and_only_with_a_reason, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let terminal = Terminal::registered(&server).await;
    let path = format!("/v1/people/{}/erase", terminal.user.unwrap());
    let reason = json!({ "reason": "asked for" });
    assert_eq!(server.post(&server.fox, &path, &reason).await.status, 403);
    assert_eq!(server.post(&server.operator, &path, &json!({})).await.code(), "unprocessable");
    let nobody = format!("/v1/people/{}/erase", UserId::from_bytes([3; 16]));
    assert_eq!(server.post(&server.operator, &nobody, &reason).await.status, 404);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'person.erased'").await, 0);
    server.post(&server.operator, &path, &reason).await.expect(200);
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'person.erased' AND actor LIKE '/token/%'").await, 1);
});
