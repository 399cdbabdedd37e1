//! What users hand in (A4): by one device and for another, as versions of slots, within what their right leaves room for.

use crate::support::catalogue::{NOW, TestServer};
use crate::support::s3::{TestStore, store_test};
use crate::support::sales::sell;
use crate::support::terminal::{Terminal, exchange, media, refused, request};
use crate::support::uploading::{TITLE, head, is_sound, offset, patch, patch_chunks, saver, tus};
use crate::support::{Engine, TestDb, db_test, on};

use axum::body::Body;
use axum::http::Method;
use counterfoil_core::wire::{Operation, UploadResult};
use counterfoil_core::{Code, Timestamp};
use counterfoil_server::actions::upload::sweep;
use counterfoil_server::jobs;
use serde_json::json;

mod cut;
mod faults;
mod races;
mod stock;

const HOUR: i64 = 60 * 60 * 1000;

async fn at(store: &TestStore, db: &TestDb) -> TestServer {
    TestServer::with(db, |config| config.contents = store.contents.clone()).await
}

/// The server's clock goes as the store's does, which is the machine's: by that an object is old or new.
fn in_the_present(server: &TestServer) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let since = file.as_file().metadata().unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    server.app.clock.set(Timestamp(i64::try_from(since.as_millis()).unwrap()));
}

fn later(server: &TestServer, milliseconds: i64) {
    server.app.clock.set(Timestamp(server.app.clock.now().0 + milliseconds));
}

store_test!(a4_what_one_device_hands_in_another_one_fetches, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    let (desk, laptop) = saver(&server, &db, 1).await;
    let before = desk.uploads(&server, &[]).await.unwrap();
    assert_eq!((before.items.len(), before.used, before.quota, before.readable), (0, 0, 1 << 20, false));
    let begun = desk.begin(&server, "quick", 0, b"sealed bytes").await.unwrap();
    assert_eq!((begun.version, begun.expires_at), (1, Timestamp(NOW.0 + 24 * HOUR)));
    let answer = head(&server, &begun.path).await;
    assert_eq!((answer.header("upload-offset"), answer.header("upload-length"), answer.header("cache-control")), ("0", "12", "no-store"));
    assert_eq!(answer.header("upload-expires"), "Fri, 02 Jan 2026 00:00:00 GMT");
    let taken = patch(&server, &begun.path, 0, b"sealed bytes".to_vec()).await;
    assert_eq!((taken.status.as_u16(), taken.header("upload-offset"), taken.header("tus-resumable")), (204, "12", "1.0.0"));
    assert_eq!(offset(&server, &begun.path).await, 12);

    let there = laptop.uploads(&server, &[]).await.unwrap();
    let [item] = there.items.as_slice() else { panic!("{there:?}") };
    assert_eq!((item.slot.as_str(), item.version, item.length, item.device.as_deref()), ("quick", 1, 12, Some("a desk")));
    assert_eq!((item.note.as_deref(), Some(item.device_id), there.used), (Some("before the boss"), desk.device_id(), 12));
    let fetched = server.get("", &format!("/contents/{}", item.object)).await;
    assert_eq!((fetched.status.as_u16(), fetched.body.as_slice()), (200, &b"sealed bytes"[..]));
    // The same key on every device of the user, and on no other's.
    assert_eq!(desk.open_save_key(&before.keys), laptop.open_save_key(&there.keys));
    is_sound(&db).await;
});

db_test!(a4_a_right_comes_from_media_and_orders_and_ends_with_them, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let disc = media(&server, TITLE, 2, json!({ "upload": true, "upload_mib": 2, "upload_readable": true })).await;
    let owner = Terminal::registered(&server).await;
    assert_eq!(refused(owner.begin(&server, "quick", 0, b"x").await), Code::RightMissing);
    assert_eq!(refused(owner.uploads(&server, &[]).await), Code::RightMissing);
    owner.claim(&server, &disc[0]).await.unwrap();
    while jobs::deliver(&server.app).await.unwrap() > 0 {}
    owner.hand_in(&server, "quick", 0, b"of a medium").await;
    let held = owner.uploads(&server, &[]).await.unwrap();
    assert_eq!((held.quota, held.readable), (2 << 20, true));
    // What was saved stays with its user when the right is gone.
    let path = format!("/v1/media/{}/retire", disc[0].id);
    server.post(&server.operator, &path, &json!({ "reason": "stolen" })).await.expect(200);
    assert_eq!(refused(owner.begin(&server, "quick", 1, b"x").await), Code::RightMissing);
    let held = owner.uploads(&server, &[]).await.unwrap();
    assert_eq!((held.quota, held.items.len()), (0, 1));
    owner.uploads(&server, &[("quick", 1)]).await.unwrap();
    is_sound(&db).await;
});

db_test!(a4_forged_slots_and_lengths_and_names_are_refused, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    for slot in ["", "..", "../x", "a/b", ".hidden", "a\u{0}b", "ä", &"x".repeat(101)] {
        assert_eq!(refused(desk.begin(&server, slot, 0, b"x").await), Code::UploadInvalid, "{slot:?}");
    }
    assert_eq!(refused(desk.begin(&server, "quick", 0, b"").await), Code::UploadInvalid);
    assert_eq!(refused(desk.begin(&server, "quick", 1, b"x").await), Code::SaveConflict);
    for object in ["", "../../etc/passwd", &"g".repeat(64), &"a".repeat(63)] {
        let operation = counterfoil_core::wire::Upload { object: object.to_owned(), ..desk.upload_operation("quick", 0, b"x") };
        assert_eq!(refused(desk.ask(&server, Operation::Upload(operation), None).await), Code::UploadInvalid, "{object}");
    }
    let vast = counterfoil_core::wire::Upload { length: (1 << 30) + 1, ..desk.upload_operation("quick", 0, b"x") };
    assert_eq!(refused(desk.ask(&server, Operation::Upload(vast), None).await), Code::UploadInvalid);
    let big = counterfoil_core::wire::Upload { length: (1 << 20) + 1, ..desk.upload_operation("quick", 0, b"x") };
    assert_eq!(refused(desk.ask(&server, Operation::Upload(big), None).await), Code::QuotaExceeded);
    assert_eq!(db.number("SELECT count(*) FROM upload").await, 0);
    is_sound(&db).await;
});

db_test!(a4_nobody_hands_in_or_fetches_for_somebody_else, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let begun = desk.begin(&server, "quick", 0, b"mine").await.unwrap();
    let stranger = Terminal { user: desk.user, ..Terminal::registered(&server).await };
    assert_eq!(refused(stranger.begin(&server, "quick", 0, b"x").await), Code::DeviceNotRegistered);
    assert_eq!(refused(stranger.uploads(&server, &[]).await), Code::DeviceNotRegistered);
    // The device is named, and somebody else has signed.
    let asked = request(&server, Operation::Upload(desk.upload_operation("quick", 0, b"x")));
    assert_eq!(refused(exchange(&server, &stranger.sealed(&server, &asked, None)).await), Code::ProofInvalid);
    // A ticket with any of its characters changed is nobody's.
    let ticket = begun.path.strip_prefix("/v1/uploads/").unwrap();
    for place in 0..ticket.len() {
        let other = if &ticket[place..=place] == "A" { "B" } else { "A" };
        let forged = format!("/v1/uploads/{}{other}{}", &ticket[..place], &ticket[place + 1..]);
        assert_eq!(patch(&server, &forged, 0, b"evil".to_vec()).await.status, 404, "{place}");
    }
    for path in ["/v1/uploads/x", "/v1/uploads/AAAA", "/v1/uploads/%2e%2e"] {
        assert_eq!(head(&server, path).await.status, 404);
    }
    assert_eq!(offset(&server, &begun.path).await, 0);
    is_sound(&db).await;
});

db_test!(a4_a_repeat_of_a_request_is_told_of_the_same_upload, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let sealed = desk.sealed(&server, &request(&server, Operation::Upload(desk.upload_operation("quick", 0, b"bytes"))), None);
    let first: UploadResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    patch(&server, &first.path, 0, b"by".to_vec()).await.expect(204);
    let again: UploadResult = serde_json::from_value(exchange(&server, &sealed).await.unwrap()).unwrap();
    assert_eq!((again.upload_id, again.version), (first.upload_id, first.version));
    assert_eq!(offset(&server, &again.path).await, 2, "another ticket, the same upload");
    // Begun once more in earnest, what the device has lost is counted no more.
    let other = desk.begin(&server, "quick", 0, b"bytes").await.unwrap();
    assert_eq!(head(&server, &first.path).await.code(), "", "HEAD has no body");
    assert_eq!(head(&server, &first.path).await.status, 410);
    assert_eq!(db.number("SELECT bytes FROM upload_usage").await, 5);
    patch(&server, &other.path, 0, b"bytes".to_vec()).await.expect(204);
    is_sound(&db).await;
});

db_test!(a4_what_tus_asks_for_is_held_to, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let path = desk.begin(&server, "quick", 0, b"0123456789").await.unwrap().path;
    let options = tus(&server, Method::OPTIONS, &path, &[], Body::empty()).await;
    assert_eq!((options.status.as_u16(), options.header("tus-version")), (204, "1.0.0"));
    assert_eq!(options.header("tus-extension"), "termination,expiration,checksum");
    assert_eq!(options.header("tus-max-size"), "1073741824");
    let kind = ("content-type", "application/offset+octet-stream".to_owned());
    let send = async |headers: &[(&str, String)], body: &'static str| tus(&server, Method::PATCH, &path, headers, body.into()).await;
    let answer = send(&[("upload-offset", "0".into())], "x").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (415, "unsupported_media_type"));
    assert_eq!(send(std::slice::from_ref(&kind), "x").await.status, 400);
    assert_eq!(send(&[kind.clone(), ("upload-offset", "-1".into())], "x").await.status, 400);
    let answer = send(&[kind.clone(), ("upload-offset", "5".into())], "x").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str(), answer.header("upload-offset")), (409, "upload_offset", "0"));
    let old = axum::http::Request::builder().method("HEAD").uri(&path).header("tus-resumable", "0.2.2").body(Body::empty()).unwrap();
    let answer = server.send(old).await;
    assert_eq!((answer.status.as_u16(), answer.header("tus-version")), (412, "1.0.0"));
    // A body that is not what its checksum says moves nothing.
    let wrong = ("upload-checksum", "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".to_owned());
    let answer = patch_chunks(&server, &path, 0, b"hello worle", std::slice::from_ref(&wrong), false).await;
    assert_eq!((answer.status.as_u16(), offset(&server, &path).await), (413, 0), "eleven bytes are too many");
    let answer = patch_chunks(&server, &path, 0, b"hello", &[wrong], false).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str(), offset(&server, &path).await), (460, "checksum_mismatch", 0));
    let right = ("upload-checksum", "sha1 EZBKTot39iQuLSiHBQI62tAKkxA=".to_owned());
    patch_chunks(&server, &path, 0, b"01234", &[right], false).await.expect(204);
    assert_eq!(offset(&server, &path).await, 5);
    // Given up, it is over, and what it counted is given back.
    tus(&server, Method::DELETE, &path, &[], Body::empty()).await.expect(204);
    assert_eq!(patch(&server, &path, 5, b"56789".to_vec()).await.code(), "upload_over");
    assert_eq!(tus(&server, Method::DELETE, &path, &[], Body::empty()).await.status, 410);
    assert_eq!(db.number("SELECT bytes FROM upload_usage").await, 0);
    // What is saved is not taken away by a ticket.
    let saved = desk.hand_in(&server, "quick", 0, b"saved").await;
    assert_eq!(tus(&server, Method::DELETE, &saved.path, &[], Body::empty()).await.status, 410);
    assert_eq!(db.number("SELECT count(*) FROM upload WHERE state = 'complete'").await, 1);
    is_sound(&db).await;
});

store_test!(a4_other_bytes_than_were_announced_are_no_version, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let begun = desk.begin(&server, "quick", 0, b"right").await.unwrap();
    patch(&server, &begun.path, 0, b"wr".to_vec()).await.expect(204);
    let answer = patch(&server, &begun.path, 2, b"ong".to_vec()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "object_mismatch"));
    assert_eq!(head(&server, &begun.path).await.status, 410);
    assert_eq!(desk.uploads(&server, &[]).await.unwrap().used, 0);
    later(&server, HOUR);
    sweep(&server.app).await.unwrap();
    assert!(!store.files().iter().any(|path| path.display().to_string().contains("parts/")), "{:?}", store.files());
    is_sound(&db).await;
});

store_test!(a4_ten_versions_stay_and_what_nobody_needs_goes, async |db: TestDb, store: TestStore| {
    let server = at(&store, &db).await;
    in_the_present(&server);
    let (desk, _) = saver(&server, &db, 1).await;
    let other = Terminal::registered(&server).await;
    other.order(&server, TITLE, "19.99 EUR").await.unwrap();
    // By chance, another user holds the same bytes as version 2.
    other.hand_in(&server, "auto", 0, b"version 2").await;
    let bytes = |version: u32| format!("version {version}").into_bytes();
    for version in 1..=12 {
        assert_eq!(desk.hand_in(&server, "quick", version - 1, &bytes(version)).await.version, version);
    }
    let held = desk.uploads(&server, &[]).await.unwrap();
    assert_eq!(held.items.iter().map(|item| item.version).collect::<Vec<_>>(), (3..=12).collect::<Vec<_>>());
    let object = |version| format!("/contents/{}", counterfoil_format::content::ObjectName::of(&bytes(version)));
    // What publishers have sent lies elsewhere, and no save ever takes it away.
    server.put(&server.operator, &object(1).replace("/contents", "/v1/contents"), bytes(1)).await.expect(201);
    sweep(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM upload WHERE state = 'removed'").await, 2, "not before an hour is over");
    later(&server, HOUR + 1);
    sweep(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM upload WHERE state = 'removed'").await, 0);
    for version in 1..=12 {
        assert_eq!(server.get("", &object(version)).await.status, 200, "{version}: a publisher's, another user's, or still there");
    }
    let saves = server.app.blobs.saves();
    let ours = |version: u32| saves.length(counterfoil_format::content::ObjectName::of(&bytes(version)));
    assert_eq!((ours(1).await.unwrap(), ours(2).await.unwrap()), (None, Some(9)));
    // A number is used once, also when the newest is taken away and swept.
    desk.uploads(&server, &[("quick", 12), ("quick", 12)]).await.unwrap();
    assert_eq!(refused(desk.uploads(&server, &[("quick", 12)]).await), Code::UploadUnknown);
    later(&server, HOUR + 1);
    sweep(&server.app).await.unwrap();
    assert_eq!(server.get("", &object(12)).await.status, 404);
    assert_eq!(desk.hand_in(&server, "quick", 11, b"another").await.version, 13);
    is_sound(&db).await;
});

db_test!(a4_what_is_not_finished_in_a_day_is_over, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let begun = desk.begin(&server, "quick", 0, b"never finished").await.unwrap();
    patch(&server, &begun.path, 0, b"never".to_vec()).await.expect(204);
    later(&server, 24 * HOUR - 1);
    assert_eq!(sweep(&server.app).await.unwrap(), 0);
    assert_eq!(offset(&server, &begun.path).await, 5);
    later(&server, 1);
    assert_eq!(head(&server, &begun.path).await.status, 410);
    assert_eq!(patch(&server, &begun.path, 5, b" finished".to_vec()).await.status, 410);
    assert_eq!(sweep(&server.app).await.unwrap(), 1);
    assert_eq!(desk.uploads(&server, &[]).await.unwrap().used, 0);
    later(&server, HOUR);
    sweep(&server.app).await.unwrap();
    assert_eq!(db.number("SELECT count(*) FROM upload").await + db.number("SELECT count(*) FROM upload_part").await, 0);
    assert!(!server.contents().join("parts").join(begun.upload_id.to_string()).exists());
    assert_eq!(head(&server, &begun.path).await.status, 410);
    is_sound(&db).await;
});

db_test!(a4_the_auditor_notices_what_must_not_be, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "other", &[], json!({})).await;
    let (desk, _) = saver(&server, &db, 1).await;
    desk.uploads(&server, &[]).await.unwrap();
    desk.hand_in(&server, "quick", 0, b"bytes").await;
    let open = desk.begin(&server, "auto", 0, b"more bytes").await.unwrap();
    patch(&server, &open.path, 0, b"more".to_vec()).await.expect(204);
    is_sound(&db).await;
    for (broken, mended, sentence) in [
        ("UPDATE upload_usage SET bytes = bytes + 1", "UPDATE upload_usage SET bytes = bytes - 1", "what is counted of a user"),
        (
            "UPDATE upload SET received = 5 WHERE state = 'open'",
            "UPDATE upload SET received = 4 WHERE state = 'open'",
            "an open upload has received",
        ),
        (
            "UPDATE upload SET received = 4 WHERE state = 'complete'",
            "UPDATE upload SET received = 5 WHERE state = 'complete'",
            "an upload is a version exactly",
        ),
        (
            "INSERT INTO save_key (user_id, title_id, wrapped, created_at) SELECT user_id, 'other', wrapped, 1 FROM save_key",
            "DELETE FROM save_key WHERE title_id = 'other'",
            "no save key is drawn",
        ),
        (
            "UPDATE upload SET completed_at = 1, state = 'complete', received = length WHERE slot = 'auto'",
            "UPDATE upload SET completed_at = NULL, state = 'open', received = 4 WHERE slot = 'auto'",
            "nothing is handed in without its record",
        ),
    ] {
        db.run(broken).await;
        let found = counterfoil_server::auditor::check(&db.db).await.unwrap();
        assert!(found.iter().any(|one| one.invariant.starts_with(sentence)), "{sentence}: {found:?}");
        db.run(mended).await;
    }
    is_sound(&db).await;
});
