//! The Nth statement or commit fails, for every N, once and for good: all or nothing, and no key out (`testing.md`, row 3).

use counterfoil_core::Timestamp;
use counterfoil_server::config::Reissues;
use serde_json::json;

use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::{deliver, is_sound};
use crate::support::breaking::{break_everywhere, impatient};
use crate::support::terminal::{Terminal, exchange, media, refused, request, send};

db_test!(c15_a_broken_request_for_a_code_draws_one_or_none, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let fresh = async |_| {
        let owner = Terminal::registered(&server).await;
        owner.sealed(&server, &request(&server, owner.recovery_code_operation()), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM entry_recovery").await).await;
    let made = db.number("SELECT count(*) FROM audit WHERE event = 'user.recovery_code_made'").await;
    assert_eq!(db.number("SELECT count(*) FROM entry_recovery").await, made);
});

db_test!(c15_a_broken_request_for_a_card_is_lodged_once_or_not_at_all, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let fresh = async |_| {
        let owner = Terminal::registered(&server).await;
        let code = owner.recovery_code(&server).await.unwrap();
        let new = Terminal::just_a_card();
        new.sealed(&server, &request(&server, new.reissue_operation(owner.user.unwrap(), &code.to_string())), None)
    };
    break_everywhere(&db, &server, fresh, async || db.number("SELECT count(*) FROM reissue").await).await;
    assert_eq!(
        db.number("SELECT count(*) FROM reissue").await,
        db.number("SELECT count(*) FROM audit WHERE event = 'card.reissue_asked'").await
    );
});

db_test!(c15_a_broken_collection_gives_no_key_without_its_record, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 1, json!({})).await;
    let owner = Terminal::registered(&server).await;
    owner.claim(&server, &media[0]).await.unwrap();
    deliver(&server).await;
    let collected = async || db.number("SELECT count(*) FROM audit WHERE event = 'card.collected'").await;
    for place in 0.. {
        let sealed = owner.sealed(&server, &request(&server, owner.collect_operation(None)), None);
        let before = collected().await;
        db.faults.arm(counterfoil_server::db::Fault::Statement(place), counterfoil_server::db::Lasting::ForGood);
        let answer = send(&server, &sealed).await;
        let fired = db.faults.fired();
        db.faults.disarm();
        if fired == 0 {
            assert_eq!((answer.status.as_u16(), collected().await), (200, before + 1));
            break;
        }
        assert_eq!((answer.status.as_u16(), collected().await), (503, before));
        assert!(!String::from_utf8_lossy(&answer.body).contains("answer"), "no key out");
    }
    let sealed = owner.sealed(&server, &request(&server, owner.collect_operation(None)), None);
    db.run("ALTER TABLE audit RENAME TO audit_gone").await;
    assert_eq!(send(&server, &sealed).await.status.as_u16(), 500);
    db.run("ALTER TABLE audit_gone RENAME TO audit").await;
    exchange(&server, &sealed).await.unwrap();
    is_sound(&db).await;
});

db_test!(c15_a_broken_replacement_replaces_or_does_not, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 200, json!({})).await;
    let mut next = media.iter();
    let mut struck = 0;
    for lasting in [counterfoil_server::db::Lasting::Once, counterfoil_server::db::Lasting::ForGood] {
        for kind in
            [counterfoil_server::db::Fault::Statement, counterfoil_server::db::Fault::Commit, counterfoil_server::db::Fault::CommitAnswer]
        {
            for place in 0..60 {
                let old = Terminal::registered(&server).await;
                let user = old.user.unwrap();
                let medium = next.next().unwrap();
                old.claim(&server, medium).await.unwrap();
                deliver(&server).await;
                let new = old.with_new_card();
                let body = json!({ "card": crate::reissue::card_keys(&new), "reason": "lost" });
                let path = format!("/v1/entries/{user}/reissue");
                db.faults.arm(kind(place), lasting);
                let first = server.post(&server.operator, &path, &body).await;
                let fired = db.faults.fired();
                db.faults.disarm();
                struck += u64::from(fired > 0);
                let by_old = old.collect(&server).await.is_ok();
                let by_new = new.collect(&server).await.is_ok();
                assert!(by_old != by_new, "{:?} {lasting:?}: one card, and not the other", kind(place));
                if first.status == 200 {
                    assert!(by_new, "{:?} {lasting:?}: answered without its effect", kind(place));
                } else {
                    assert_eq!(first.status.as_u16(), 503, "{}", String::from_utf8_lossy(&first.body));
                    assert!(by_old || matches!(kind(place), counterfoil_server::db::Fault::CommitAnswer(_)));
                }
                if by_old {
                    server.post(&server.operator, &path, &body).await.expect(200);
                }
                // What could not be told is tried again some seconds later.
                server.app.clock.set(Timestamp(server.app.clock.now().0 + 60_000));
                deliver(&server).await;
                let grants = new.claim(&server, medium).await.unwrap();
                new.confirm(&server, medium, &grants).await.unwrap();
                assert_eq!(refused(old.recovery_code(&server).await), counterfoil_core::Code::UserInvalid);
                if fired == 0 {
                    break;
                }
            }
        }
    }
    assert!(struck >= 30, "{struck} faults are too few to prove anything");
    is_sound(&db).await;
});

db_test!(c15_what_time_decides_is_carried_out_once_however_it_breaks, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::with(&db, |config| {
        config.repair.reissue = Reissues::Automatic;
        config.repair.reissue_wait_hours = 1;
    })
    .await;
    let mut waited = server.app.clock.now();
    for place in 0..60 {
        let owner = Terminal::registered(&server).await;
        let code = owner.recovery_code(&server).await.unwrap();
        let new = owner.with_new_card();
        new.reissue(&server, owner.user.unwrap(), &code).await.unwrap();
        waited = Timestamp(waited.0 + 3_600_000);
        server.app.clock.set(waited);
        db.faults.arm(counterfoil_server::db::Fault::Statement(place), counterfoil_server::db::Lasting::ForGood);
        counterfoil_server::actions::reissue::pass(&server.app).await.ok();
        let fired = db.faults.fired();
        db.faults.disarm();
        assert!(owner.collect(&server).await.is_ok() != new.collect(&server).await.is_ok());
        counterfoil_server::actions::reissue::pass(&server.app).await.unwrap();
        new.collect(&server).await.unwrap();
        if fired == 0 {
            break;
        }
    }
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM reissue WHERE state <> 'done'").await, 0);
    assert_eq!(db.number("SELECT count(*) FROM repair").await, db.number("SELECT count(*) FROM reissue").await);
    is_sound(&db).await;
});
