//! What a stolen database, a stolen log and a swapped row are worth (`testing.md`, row 12), and that keys can be rotated under everything.

use crate::support;
use crate::support::captured;
use crate::support::catalogue;
use crate::support::terminal;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use captured::Captured;
use catalogue::{NOW, TestServer};
use counterfoil_core::Timestamp;
use counterfoil_core::wire::{ClaimResult, Operation};
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::jwt;
use counterfoil_server::clock::Rng;
use counterfoil_server::db::{DbError, Fault, Lasting, Tx};
use counterfoil_server::keys::root::{next_path, write_private};
use counterfoil_server::keys::{Keys, Purpose, RootKey, RootSource, SEALING_GRACE, rotate};
use serde_json::json;
use support::{Engine, TestDb, db_test};
use terminal::{Terminal, exchange, media, press, request, send};

/// The ways in which a secret could have been written.
pub fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        STANDARD.encode(secret).trim_end_matches('=').as_bytes().to_vec(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
    ]
}

pub fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Every byte that the database keeps: the files of SQLite, or every row of PostgreSQL as text, in which bytes are hexadecimal.
pub async fn everything_in(db: &TestDb) -> Vec<u8> {
    let mut all = vec![];
    match db.engine() {
        Engine::Sqlite => {
            for suffix in ["", "-wal"] {
                all.extend(std::fs::read(format!("{}{suffix}", db.path().display())).unwrap_or_default());
            }
        }
        Engine::Postgres => {
            let client = db.beside().await;
            let tables =
                client.query("SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'", &[]).await.unwrap();
            for table in tables {
                let table: String = table.get(0);
                for row in client.query(&format!("SELECT t::text FROM {table} t"), &[]).await.unwrap() {
                    all.extend(row.get::<_, String>(0).into_bytes());
                    all.push(b'\n');
                }
            }
        }
    }
    all
}

db_test!(testing_12_no_secret_lies_in_the_database_or_in_the_logs, async |db: TestDb| {
    let logs = Captured::default();
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: nextest runs each test in one of its own.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 2, json!({})).await.remove(0);
    let owner = Terminal::registered(&server).await;
    let grants = owner.claim(&server, &medium).await.unwrap();
    let (library, content) = owner.open(&grants[0]);
    let made = server.post(&server.operator, "/v1/tokens", &json!({ "role": "operator", "name": "canary" })).await.expect(201);
    send(&server, b"{\"kid\":\"x\"}").await;
    let token = made["token"].as_str().unwrap();
    let token_secret = from_base64url(token.rsplit_once('_').map_or("", |_| token.splitn(3, '_').nth(2).unwrap())).unwrap();
    let (database, logs) = (everything_in(&db).await, logs.0.lock().unwrap().clone());
    assert!(database.len() > 10_000 && holds(&database, owner.user.unwrap().to_string().as_bytes()), "the search sees what is there");
    assert!(holds(&logs, b"decided"), "the logs were captured");
    for (what, secret) in [
        ("library key", library.expose().to_vec()),
        ("content key", content.expose().to_vec()),
        ("claim secret", medium.secret.expose().to_vec()),
        ("device secret", owner.device.as_ref().unwrap().1.device_secret().unwrap().expose().to_vec()),
        ("token", token_secret),
    ] {
        for spelling in spellings(&secret) {
            assert!(!holds(&database, &spelling), "{what} in the database");
            assert!(!holds(&logs, &spelling), "{what} in the logs");
        }
    }
    assert!(!holds(&logs, token.as_bytes()));
    // The search can fail: what is planted is found.
    db.run("INSERT INTO setting (name, value) VALUES ('planted', 'canary-in-the-database')").await;
    assert!(holds(&everything_in(&db).await, b"canary-in-the-database"));
});

db_test!(testing_12_wrapped_keys_do_not_open_in_another_row, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let grants = [owner.claim(&server, &media[0]).await.unwrap(), owner.claim(&server, &media[1]).await.unwrap()];
    let ids = grants.map(|grants| grants[0].grant_id.to_string());
    // One grant's library key in the other's row.
    db.write("swap", "test", async move |tx: &mut Tx| -> Result<(), DbError> {
        let (key,): (Vec<u8>,) = tx.query("SELECT library_key FROM grants WHERE grant_id = $1").bind(&ids[0]).one().await?;
        tx.query("UPDATE grants SET library_key = $1 WHERE grant_id = $2").bind(&key).bind(&ids[1]).execute().await.map(drop)
    })
    .await
    .unwrap();
    owner.claim(&server, &media[0]).await.unwrap();
    let asked = request(&server, Operation::Claim(owner.claim_operation(&media[1])));
    assert_eq!(
        send(&server, &owner.sealed(&server, &asked, Some(&media[1]))).await.status.as_u16(),
        500,
        "it is no other key, it is an error"
    );
    // Another title's content key in this title's row. The batch that was claimed from is in memory with its keys; another is not.
    let unread = press(&server, "sky-raider", 1, json!({})).await;
    catalogue::publish(&server, "blue-fox", "moon-raider", "1.0").await;
    db.run(
        "UPDATE content_key SET wrapped = (SELECT wrapped FROM content_key WHERE title_id = 'moon-raider') WHERE title_id = 'sky-raider'",
    )
    .await;
    let asked = request(&server, Operation::Claim(owner.claim_operation(&unread[0])));
    assert_eq!(send(&server, &owner.sealed(&server, &asked, Some(&unread[0]))).await.status.as_u16(), 500);
    // A database without its root key.
    let stranger = RootSource::Given(RootKey::generate(1, &mut Rng::System).reveal());
    assert!(Keys::load(&db.db, stranger).await.is_err());
});

db_test!(keys_are_rotated_under_a_running_server, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 70, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let mut before = vec![];
    for medium in &media {
        before.push(owner.claim(&server, medium).await.unwrap());
    }
    let old_envelope = owner.sealed(&server, &request(&server, owner.register_operation(None)), None);
    let (app, rng) = (&server.app, Rng::System);
    let old_kid = app.keys.document(NOW).sealing[0].kid.clone();
    // Another process rotates; this one notices by itself.
    let elsewhere = Keys::load(&db.db, app_root(&server)).await.unwrap();
    for purpose in Purpose::ALL {
        let (version, rows) = rotate::kek(&db.db, &app_root(&server), &elsewhere, purpose, NOW, &rng).await.unwrap();
        assert_eq!(version, 2);
        let expected = match purpose {
            Purpose::Library => media.len() as u64,
            Purpose::Authority => 2,
            _ => 1,
        };
        assert_eq!(rows, expected, "{purpose:?}");
        assert_eq!(rotate::rewrap(&db.db, &elsewhere, purpose, 2, &rng).await.unwrap(), 0, "nothing is left under the old one");
    }
    for (medium, before) in media.iter().zip(&before) {
        let after = owner.claim(&server, medium).await.unwrap();
        assert!(owner.open(&after[0]).0 == owner.open(&before[0]).0, "the same library key");
    }
    for kind in [rotate::Kind::Signing, rotate::Kind::Sealing] {
        rotate::authority_key(&db.db, &elsewhere, "test-authority", kind, NOW, &rng).await.unwrap();
    }
    app.keys.refresh(&db.db).await.unwrap();
    let document = app.keys.document(NOW);
    assert_eq!((document.sealing.len(), app.keys.key_list().keys.len()), (2, 2), "the old ones stay listed");
    assert_ne!(document.sealing[0].kid, old_kid);
    exchange(&server, &old_envelope).await.expect("sealed to the old key, and still opened");
    // Past the handover, the new key signs; past the grace, the old envelopes stay shut.
    let signer = |now| app.keys.with_signing_key(now, |kid, _| kid.to_owned()).unwrap();
    assert_ne!(signer(NOW), signer(Timestamp(NOW.0 + rotate::HANDOVER)));
    app.clock.set(Timestamp(NOW.0 + rotate::HANDOVER + SEALING_GRACE));
    assert_eq!(send(&server, &old_envelope).await.code(), "envelope_invalid");
    assert_eq!(app.keys.document(app.clock.now()).sealing.len(), 1);
    let mut late = Terminal::new();
    late.register(&server, None).await.unwrap();
});

// Who meets an authority for the first time reads its list, and who knows it follows it, however often its keys were replaced.
db_test!(keys_that_were_replaced_often_leave_a_list_that_everybody_reads, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (db, keys) = (&server.app.db, &server.app.keys);
    let mut now = NOW;
    let mut last = String::new();
    for _ in 0..jwt::MAX_KEYS + 2 {
        now = Timestamp(now.0 + Timestamp::DAY);
        last = rotate::authority_key(db, keys, "test-authority", rotate::Kind::Signing, now, &Rng::System).await.unwrap();
    }
    let list = serde_json::to_vec(&keys.with_chain(now).jwks).unwrap();
    let list = jwt::KeyList::parse(&list).expect("a list that terminals of every version read");
    assert_eq!((list.keys.len(), list.keys[0].kid.as_str()), (jwt::MAX_KEYS, last.as_str()));
    // Left out are the oldest, and no one that is still in use while the newest is handed over to.
    let oldest = list.keys.iter().filter_map(|key| key.retired_at).min();
    assert_eq!(oldest, Some(Timestamp(NOW.0 + 4 * Timestamp::DAY + rotate::HANDOVER).seconds()));
    keys.with_signing_key(now, |kid, _| assert!(list.find(kid).is_some())).unwrap();
    keys.with_signing_key(Timestamp(now.0 + Timestamp::DAY), |kid, _| assert_eq!(kid, last)).unwrap();
});

fn app_root(server: &TestServer) -> RootSource {
    // The same stream that the test server drew its root key from.
    let _ = server;
    RootSource::Given(RootKey::generate(1, &mut Rng::seeded(7)).reveal())
}

db_test!(the_root_key_is_rotated_and_a_rotation_cut_anywhere_is_finished, async |db: TestDb| {
    let directory = tempfile::tempdir().unwrap();
    let (file, rng) = (directory.path().join("root.key"), Rng::System);
    write_private(&file, &RootKey::generate(1, &mut rng.clone()).reveal()).unwrap();
    let source = RootSource::File(file.clone());
    rotate::create_all(&db.db, &source, NOW, &rng).await.unwrap();
    let old = std::fs::read_to_string(&file).unwrap();
    assert_eq!(rotate::root(&db.db, &source, NOW, &rng).await.unwrap(), 2);
    let new = std::fs::read_to_string(&file).unwrap();
    assert_ne!(old, new);
    Keys::load(&db.db, source.clone()).await.unwrap();
    assert!(Keys::load(&db.db, RootSource::Given(old.clone().into())).await.is_err(), "the old one opens nothing any more");
    // Cut between database and file: the old key is still in place, the new one beside it.
    std::fs::remove_file(&file).unwrap();
    write_private(&file, &old).unwrap();
    write_private(&next_path(&file), &new).unwrap();
    Keys::load(&db.db, source.clone()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), new);
    assert!(!next_path(&file).exists());
    // Cut at the database: whether the COMMIT took effect, or still will, nobody knows. So the key beside it is the next one.
    let left = RootKey::generate(3, &mut rng.clone()).reveal();
    write_private(&next_path(&file), &left).unwrap();
    Keys::load(&db.db, source.clone()).await.unwrap();
    assert_eq!(rotate::root(&db.db, &source, NOW, &rng).await.unwrap(), 3);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), *left);
    // Cut while it was written.
    write_private(&next_path(&file), &left[..9]).unwrap();
    assert_eq!(rotate::root(&db.db, &source, NOW, &rng).await.unwrap(), 4);
    Keys::load(&db.db, source).await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Keys::load(&db.db, RootSource::File(file)).await.err().unwrap().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }
});

db_test!(a_rotation_whose_commit_was_not_answered_knows_its_own_work, async |db: TestDb| {
    let directory = tempfile::tempdir().unwrap();
    let (file, rng) = (directory.path().join("root.key"), Rng::System);
    write_private(&file, &RootKey::generate(1, &mut rng.clone()).reveal()).unwrap();
    let source = RootSource::File(file);
    let keys = rotate::create_all(&db.db, &source, NOW, &rng).await.unwrap();
    db.faults.arm(Fault::CommitAnswer(0), Lasting::Once);
    assert_eq!(rotate::root(&db.db, &source, NOW, &rng).await.unwrap(), 2);
    db.faults.arm(Fault::CommitAnswer(0), Lasting::Once);
    assert_eq!(rotate::kek(&db.db, &source, &keys, Purpose::Library, NOW, &rng).await.unwrap().0, 2);
    assert_eq!(db.faults.fired(), 1);
    db.faults.disarm();
    for event in ["root.rotated", "kek.rotated"] {
        let told = db.db.read("told", async move |tx: &mut Tx| {
            tx.query("SELECT count(*) FROM audit WHERE event = $1").bind(event).one::<(i64,)>().await
        });
        assert_eq!(told.await.unwrap().0, 1, "{event}");
    }
    Keys::load(&db.db, source).await.unwrap();
});

db_test!(of_root_keys_rotated_at_once_none_is_lost, async |db: TestDb| {
    let directory = tempfile::tempdir().unwrap();
    let (file, rng) = (directory.path().join("root.key"), Rng::System);
    write_private(&file, &RootKey::generate(1, &mut rng.clone()).reveal()).unwrap();
    let source = RootSource::File(file);
    rotate::create_all(&db.db, &source, NOW, &rng).await.unwrap();
    let (keys, other) = (Keys::load(&db.db, source.clone()).await.unwrap(), db.second().await);
    for _ in 0..5 {
        let rotated = futures_util::future::join_all((0..4).map(|_| rotate::root(&db.db, &source, NOW, &rng)));
        // Another process makes keys under the root key meanwhile.
        let made = futures_util::future::join_all((0..4).map(|_| rotate::kek(&other, &source, &keys, Purpose::Library, NOW, &rng)));
        let (rotated, made) = futures_util::future::join(rotated, made).await;
        assert!(rotated.iter().any(Result::is_ok) || made.iter().any(Result::is_ok));
        Keys::load(&db.db, source.clone()).await.expect("the key in the file opens what is in the database");
    }
});

db_test!(a_repeat_is_answered_after_a_rotation_as_before, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let owner = Terminal::registered(&server).await;
    let sealed = owner.sealed(&server, &request(&server, Operation::Claim(owner.claim_operation(&medium))), Some(&medium));
    let first: ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    rotate::kek(&db.db, &app_root(&server), &server.app.keys, Purpose::Library, NOW, &Rng::System).await.unwrap();
    let again: ClaimResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    assert!(owner.open(&first.grants[0]).0 == owner.open(&again.grants[0]).0);
});
