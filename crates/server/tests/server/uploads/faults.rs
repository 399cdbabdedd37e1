//! The Nth statement or commit fails, for every N, while something is begun, sent, finished, listed (row 3); and what a stolen database and a
//! stolen log are worth (row 12).

use super::*;
use crate::keys_secrecy::{everything_in, holds, spellings};
use crate::support::breaking::{break_everywhere, impatient};
use crate::support::captured::Captured;
use counterfoil_core::wire::Uploads;
use counterfoil_server::db::{Fault, Lasting};

db_test!(a4_a_broken_beginning_is_made_whole_by_its_repeat, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let fresh = async |number: usize| {
        let operation = Operation::Upload(desk.upload_operation(&format!("slot-{}", number % 90), 0, b"bytes"));
        desk.sealed(&server, &request(&server, operation), None)
    };
    let effects = async || db.number("SELECT count(*) FROM audit WHERE event = 'upload.begun'").await;
    break_everywhere(&db, &server, fresh, effects).await;
    is_sound(&db).await;
});

db_test!(a4_a_broken_list_gives_no_key_without_its_record, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let fresh = async |_| {
        let asked =
            Uploads { user_id: desk.user.unwrap(), device_id: desk.device_id().unwrap(), title: TITLE.parse().unwrap(), remove: vec![] };
        desk.sealed(&server, &request(&server, Operation::Uploads(asked)), None)
    };
    // Each key that leaves is recorded, repeats as well: so the request counts, not the record.
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM request WHERE status = 200").await).await;
    assert_eq!(db.number("SELECT count(*) FROM save_key").await, 1);
    is_sound(&db).await;
});

/// Sends `bytes` while the faults are armed; then without, from where HEAD says.
async fn goes_on(server: &TestServer, path: &str, bytes: &[u8]) {
    let at = offset(server, path).await;
    if at < bytes.len() as u64 {
        let from = usize::try_from(at).unwrap();
        patch(server, path, at, bytes[from..].to_vec()).await.expect(204);
    }
    assert_eq!(offset(server, path).await, bytes.len() as u64);
}

db_test!(a4_a_broken_patch_is_all_or_nothing_and_the_retry_goes_on, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let (mut number, mut struck) = (0_u32, 0);
    for lasting in [Lasting::Once, Lasting::ForGood] {
        for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
            // A piece of an upload, and its end, which takes the oldest version with it.
            for (begins, ends) in [(0, 4), (4, 9)] {
                for place in 0.. {
                    assert!(place < 60, "the fault never ended");
                    let bytes = format!("{number:09}").into_bytes();
                    let begun = desk.begin(&server, "quick", number, &bytes).await.unwrap();
                    if begins > 0 {
                        patch(&server, &begun.path, 0, bytes[..begins].to_vec()).await.expect(204);
                    }
                    number += 1;
                    db.faults.arm(kind(place), lasting);
                    let answer = patch_chunks(&server, &begun.path, begins as u64, &bytes[begins..ends], &[], false).await;
                    let fired = db.faults.fired();
                    db.faults.disarm();
                    struck += u64::from(fired > 0);
                    let at = offset(&server, &begun.path).await;
                    match answer.status.as_u16() {
                        204 => assert_eq!(at, ends as u64, "{:?} {lasting:?}: answered without its effect", kind(place)),
                        503 => {
                            let unknown = matches!(kind(place), Fault::CommitAnswer(_));
                            assert!(at == begins as u64 || unknown && at == ends as u64, "{:?} {lasting:?}: {at}", kind(place));
                        }
                        other => panic!("{other}: {}", answer.code()),
                    }
                    goes_on(&server, &begun.path, &bytes).await;
                    let held = desk.uploads(&server, &[]).await.unwrap().items;
                    assert_eq!((held.last().unwrap().version, held.len()), (number, number.min(10) as usize));
                    if fired == 0 {
                        break;
                    }
                }
            }
        }
    }
    assert!(struck >= 20, "{struck} faults are too few to prove anything");
    is_sound(&db).await;
});

db_test!(testing_12_no_save_key_lies_in_the_database_and_no_ticket_in_the_logs, async |db: TestDb| {
    let logs = Captured::default();
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: nextest runs each test in one of its own.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let server = TestServer::new(&db).await;
    let (desk, _) = saver(&server, &db, 1).await;
    let key = desk.open_save_key(&desk.uploads(&server, &[]).await.unwrap().keys);
    let begun = desk.begin(&server, "quick", 0, b"bytes").await.unwrap();
    patch(&server, &begun.path, 0, b"by".to_vec()).await.expect(204);
    patch(&server, &begun.path, 7, b"by".to_vec()).await.expect(409);
    head(&server, &begun.path).await;
    patch(&server, &begun.path, 2, b"tes".to_vec()).await.expect(204);
    let ticket = begun.path.strip_prefix("/v1/uploads/").unwrap();
    let (database, logs) = (everything_in(&db).await, logs.0.lock().unwrap().clone());
    assert!(holds(&logs, b"/v1/uploads/") && holds(&database, b"upload.complete"), "the search sees what is there");
    for spelling in spellings(&key) {
        assert!(!holds(&database, &spelling) && !holds(&logs, &spelling));
    }
    for all in [&database, &logs] {
        assert!(!holds(all, &ticket.as_bytes()[..40]), "a ticket is a right");
    }
});
