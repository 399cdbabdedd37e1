//! What fails on the way: a database that gives up at any statement, clocks that are wrong, logs that are read by others.

use super::*;

use counterfoil_core::wire::Presentation;
use counterfoil_server::db::{Fault, Lasting};
use support::breaking::impatient;
use terminal::Medium;

/// Statements in a verification, at most.
const MOST: u64 = 60;

db_test!(testing_3_there_is_no_verdict_without_its_record, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 200, json!({})).await;
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let ada = Terminal::registered(&server).await;
    let by_ada = |medium: &Medium| arcade.presented_by(&server, &ada, Some(medium));
    let alone = |medium: &Medium| arcade.presented(&server, medium);
    let (mut next, mut struck) = (media.iter(), 0);
    for prepare in [&by_ada as &dyn Fn(&Medium) -> Presentation, &alone] {
        for lasting in [Lasting::Once, Lasting::ForGood] {
            for kind in [Fault::Statement, Fault::Commit, Fault::CommitAnswer] {
                for place in 0.. {
                    assert!(place < MOST, "the fault never ended");
                    let presentation = prepare(next.next().unwrap());
                    let before = db.number(VERIFIED).await;
                    db.faults.arm(kind(place), lasting);
                    let first = arcade.verify(&server, &presentation).await;
                    let fired = db.faults.fired();
                    db.faults.disarm();
                    struck += u64::from(fired > 0);
                    let recorded = db.number(VERIFIED).await - before;
                    if first.status == 200 {
                        assert_eq!((&first.json()["active"], recorded), (&json!(true), 1), "{:?} {lasting:?}", kind(place));
                    } else {
                        assert_eq!((first.status.as_u16(), first.code().as_str()), (503, "unavailable"), "{:?} {lasting:?}", kind(place));
                        assert!(!first.header("retry-after").is_empty());
                        assert!(!String::from_utf8_lossy(&first.body).contains("verdict"));
                        assert!(recorded == 0 || matches!(kind(place), Fault::CommitAnswer(_)), "{:?} {lasting:?}", kind(place));
                    }
                    arcade.active(&server, &presentation).await;
                    assert_eq!(db.number(VERIFIED).await - before, 1, "{:?} {lasting:?}: repeated, one record", kind(place));
                    if fired == 0 {
                        break;
                    }
                }
            }
        }
    }
    assert!(struck >= 24, "{struck} faults are too few to prove anything");
    is_sound(&db).await;
});

db_test!(testing_13_without_an_audit_log_nothing_is_judged, |options| impatient(options), async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 1, json!({})).await;
    let (arcade, cinema) = (Provider::new(&server, &["blue-fox"]).await, Provider::new(&server, &["blue-fox"]).await);
    let presentation = arcade.presented(&server, &media[0]);
    db.run("ALTER TABLE audit RENAME TO audit_gone").await;
    for provider in [&arcade, &cinema] {
        assert_eq!(provider.verify(&server, &presentation).await.status.as_u16(), 500, "neither yes nor no");
    }
    db.run("ALTER TABLE audit_gone RENAME TO audit").await;
    assert_eq!(db.number("SELECT count(*) FROM medium").await, 0, "nothing is left of it");
    arcade.active(&server, &presentation).await;
});

db_test!(testing_10_a_wrong_clock_gives_nobody_more_and_keeps_nobody_out_for_good, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let year = 365 * Timestamp::DAY;
    for offset in [10 * year, -10 * year, 3_600_000, -3_600_000] {
        server.app.clock.set(NOW);
        let presentation = arcade.presented(&server, &medium);
        let told = arcade.active(&server, &presentation).await;
        server.app.clock.set(Timestamp(NOW.0 + offset));
        let why = if offset.abs() > Timestamp::DAY { "clock_skewed" } else { "presentation_over" };
        assert_eq!(arcade.reason(&server, &presentation).await, why, "{offset}: what was judged before is not judged again");
        let fresh = arcade.active(&server, &arcade.presented(&server, &medium)).await;
        assert_eq!(fresh["exp"], json!((NOW.0 + offset) / 1000 + 600), "by the clock there is now");
        server.app.clock.set(NOW);
        assert_eq!(arcade.active(&server, &presentation).await, told, "{offset}: and back");
    }
    is_sound(&db).await;
});

db_test!(testing_12_nothing_secret_of_a_presentation_is_logged_or_kept, async |db: TestDb| {
    let logs = support::captured::Captured::default();
    let writer = logs.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    // For the whole process: nextest runs each test in one of its own.
    let _ = tracing::subscriber::set_global_default(subscriber);
    let server = TestServer::new(&db).await;
    let medium = media(&server, "sky-raider", 1, json!({})).await.remove(0);
    let arcade = Provider::new(&server, &["blue-fox"]).await;
    let ada = Terminal::registered(&server).await;
    let presentation = arcade.presented_by(&server, &ada, Some(&medium));
    let answer = arcade.active(&server, &presentation).await;
    arcade.reason(&server, &Presentation { medium_id: None, ..presentation.clone() }).await;
    let logs = String::from_utf8_lossy(&logs.0.lock().unwrap()).into_owned();
    assert!(logs.contains("decided") && logs.contains(&arcade.id.to_string()), "the logs were captured");
    let token = arcade.token.rsplit('_').next().unwrap();
    let sealed = presentation.envelope["ct"].as_str().unwrap();
    for (what, secret) in [
        ("the token", token),
        ("the presentation", &sealed[..40]),
        ("the verdict", answer["verdict"].as_str().unwrap().rsplit('.').next().unwrap()),
        ("the user", &ada.user.unwrap().to_string()),
        ("the pseudonym", answer["sub"].as_str().unwrap()),
    ] {
        assert!(!logs.contains(secret), "{what} in the logs");
    }
});
