//! Alerts: each once until it is over, whatever is restarted in between.

use counterfoil_core::Timestamp;
use counterfoil_server::gateway::alerts::{self, Watch};
use counterfoil_server::gateway::store::alert::{self, Alert, Kind};

use super::*;

async fn open(app: &App) -> Vec<Alert> {
    app.db.read("open alerts", async |tx: &mut Tx| alert::open(tx).await).await.unwrap()
}

async fn kinds(app: &App) -> Vec<Kind> {
    open(app).await.into_iter().map(|alert| alert.kind).collect()
}

/// Looks as a process does that was just started.
async fn look(app: &App) {
    alerts::look(app, &mut Watch::default()).await.unwrap();
}

// proves: C17
db_test!(c17_what_is_stuck_is_an_alert_once_until_it_is_over, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let app = &rig.gateway;
    look(app).await;
    assert_eq!(kinds(app).await, []);
    rig.claiming(0).answered(Some("1999 EUR")).await;
    rig.db.run("UPDATE exchange SET state = 'committing'").await;
    look(app).await;
    assert_eq!(kinds(app).await, [], "ten minutes are not over");
    rig.later(10 * 60_000 + 1);
    for _ in 0..3 {
        look(app).await;
    }
    let found = open(app).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].kind == Kind::StuckExchanges && found[0].detail.starts_with("1 stand"), "{found:?}");
    let at = desk(app);
    let mut browser = let_in(app, &at).await;
    assert!(text(&browser.get(&at, "/operator").await).contains("Exchanges are stuck"));
    assert!(text(&browser.get(&at, "/operator/exchanges?state=open&older=10").await).contains("committing"));
    rig.db.run("UPDATE exchange SET state = 'charged'").await;
    look(app).await;
    assert_eq!(kinds(app).await, []);
    let list = text(&browser.get(&at, "/operator/alerts").await);
    assert!(list.contains("Exchanges are stuck") && list.contains("over"), "{list}");
    // It comes again: that is another one.
    rig.db.run("UPDATE exchange SET state = 'committing'").await;
    look(app).await;
    assert_eq!(rig.db.number("SELECT count(*) FROM alert").await, 2);
    rig.gone().await;
});

// proves: C16 C17
db_test!(c16_c17_an_authority_that_is_away_a_certificate_that_ends_and_wrong_books_are_alerts, async |db: TestDb| {
    let rig = Rig::new(&db, 1, 5000).await;
    let app = &rig.gateway;
    rig.claiming(0).answered(Some("1999 EUR")).await;
    look(app).await;
    assert_eq!(kinds(app).await, []);
    // The books are looked at once a day.
    rig.db.run("UPDATE balance SET posted = posted + 1").await;
    look(app).await;
    assert_eq!(kinds(app).await, []);
    rig.later(Timestamp::DAY);
    look(app).await;
    assert_eq!(kinds(app).await, [Kind::Books]);
    rig.db.run("UPDATE balance SET posted = posted - 1").await;
    counterfoil_server::gateway::books::check_and_note(&app.db, app.clock.now()).await.unwrap();
    look(app).await;
    assert_eq!(kinds(app).await, [], "a check by hand counts as well");

    // A certificate of thirty days that was not renewed in twenty-one.
    rig.later(20 * Timestamp::DAY + 1);
    look(app).await;
    assert_eq!(kinds(app).await, [Kind::Certificate]);
    rig.later(10 * Timestamp::DAY);
    look(app).await;
    assert!(open(app).await[0].detail.contains("it ended"), "the alert that is open says how it stands now");
    // Where nobody listens, nobody answers; that a restart takes some seconds is no alert.
    let rig = with(rig, |config| config.authority.url = "https://127.0.0.1:9".to_owned()).await;
    let (app, mut watch) = (&rig.gateway, Watch::default());
    assert!(app.authority.changes(None).await.is_err());
    assert!(!app.authority.answers());
    alerts::look(app, &mut watch).await.unwrap();
    assert_eq!(kinds(app).await, [Kind::Certificate]);
    let since = app.clock.now();
    rig.later(60_000);
    alerts::look(app, &mut watch).await.unwrap();
    let found = open(app).await;
    assert!(found.iter().any(|alert| alert.kind == Kind::AuthorityUnreachable && alert.since == since), "{found:?}");
    rig.gone().await;
});

// proves: C17
db_test!(c17_an_owner_is_told_once_that_little_is_left_and_again_when_it_was_more, async |db: TestDb| {
    let rig = Rig::new(&db, 2, 5000).await;
    let (app, at) = (&rig.gateway, public(&rig.gateway));
    let mut browser = ada(&at).await;
    let page = browser.get(&at, "/account/settings").await;
    let path = "/account/settings/mail";
    for (wrong, why) in [
        (vec![("email", "nobody"), ("low", "")], "no e-mail address"),
        (vec![("email", "ada@example.org"), ("low", "much")], "Write the amount"),
        (vec![("email", ""), ("receipts", "on"), ("low", "")], "an address to go to"),
        (vec![("email", ""), ("low", "5.00")], "an address to go to"),
    ] {
        let told = browser.submit_from(&at, &page, path, &wrong).await;
        assert!(told.status == 422 && text(&told).contains(why), "{why}: {}", text(&told));
    }
    let kept = browser.submit_from(&at, &page, path, &[("email", "ada@example.org"), ("low", "40")]).await;
    assert_eq!(kept.header("location"), "/account/settings?done=mail", "{}", text(&kept));
    assert!(text(&browser.get(&at, "/account/settings").await).contains("40.00 EUR"));
    let told = async || {
        look(app).await;
        rig.db.number("SELECT count(*) FROM alert WHERE kind = 'low_balance'").await
    };
    assert_eq!(told().await, 0);
    rig.claiming(0).answered(Some("1999 EUR")).await;
    assert_eq!((told().await, told().await), (1, 1), "30.01 is less than 40");
    assert_eq!(kinds(app).await, [], "it is nothing to the operator");
    rig.top_up(rig.account, 2000).await;
    assert_eq!(told().await, 1);
    rig.claiming(1).answered(Some("1999 EUR")).await;
    assert_eq!(told().await, 2, "it was more, and is less again");
    // Whoever does not want to know any more is not told.
    browser.submit_from(&at, &page, path, &[("email", ""), ("low", "")]).await;
    look(app).await;
    assert_eq!(rig.db.number("SELECT count(*) FROM alert WHERE over_at IS NULL").await, 0);
    rig.gone().await;
});
