//! A claim of the old device and the exchange of it, in every order that they can be decided in: never two live copies, and none lost.

use counterfoil_core::wire::{ExchangedKind, FREE_COPIES, FreeCopies};
use counterfoil_server::db::{DbError, Fault, Lasting, Tx};
use counterfoil_server::jobs::ENTITLEMENT;
use counterfoil_server::store::outbox;

use super::*;

db_test!(c14_a_copy_claimed_before_the_exchange_and_told_of_after_it_is_taken_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    terminal::media(&server, "sky-raider", 1, json!({})).await;
    let (medium, owner) = claimed(&server).await;
    // The user's family has not heard of it when the device goes.
    let next = exchanged(&server, &owner).await;
    assert_eq!(refused(next.claim(&server, &medium).await), Code::MediumSpent, "the flag is still set, and no copy is live");
    assert_eq!(live(&db).await, 0);
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'copy.ended'").await, 1);
    next.claim(&server, &medium).await.unwrap();
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    is_clean(&db).await;
});

db_test!(c14_a_claim_that_was_looked_at_before_the_exchange_and_commits_after_it_is_taken_back, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let other = server.another(&db, |_| ()).await;
    let medium = &terminal::media(&server, "sky-raider", 1, json!({})).await[0];
    let owner = Terminal::registered(&server).await;
    // The claim has looked who asks, and cannot write: its process has lost the database for a moment.
    db.faults.arm(Fault::Statement(0), Lasting::ForGood);
    let claim = owner.claim(&server, medium);
    let meanwhile = async {
        while db.faults.fired() == 0 {
            tokio::task::yield_now().await;
        }
        let next = exchanged(&other, &owner).await;
        db.faults.disarm();
        next
    };
    let (claimed, next) = tokio::join!(claim, meanwhile);
    // As if the claim had come that much sooner: its keys are sealed to the card, and the copy is none.
    let grants = claimed.unwrap();
    assert_eq!(live(&db).await, 0);
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state = 'revoked'").await, 1);
    assert_eq!(refused(owner.confirm(&server, medium, &grants).await), Code::DeviceExchanged);
    next.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    is_clean(&db).await;
});

db_test!(c14_at_two_processes_at_once_each_copy_is_taken_back_once_whoever_is_first, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let other = server.another(&db, |config| config.repair.exchanges = 100).await;
    let media = terminal::media(&server, "sky-raider", 12, json!({ "copies": 1 })).await;
    for medium in &media {
        let owner = Terminal::registered(&server).await;
        let new = device();
        let body = swap("device", owner.device_id().unwrap(), Some(new.0.to_string()));
        // The claim, the exchange, and those who tell of either, all at once.
        let (claimed, answer, one, two) = tokio::join!(
            owner.claim(&server, medium),
            exchange(&other, owner.user.unwrap(), &body),
            jobs::deliver(&server.app),
            jobs::deliver(&other.app)
        );
        answer.expect(200);
        assert!(one.is_ok() && two.is_ok());
        assert!(claimed.is_ok() || claimed.as_ref().is_err_and(|refusal| refusal.code == Code::DeviceExchanged), "{claimed:?}");
        assert_eq!(live(&db).await, 0);
        let told = tokio::join!(jobs::deliver(&server.app), jobs::deliver(&other.app));
        assert!(told.0.is_ok() && told.1.is_ok());
        deliver(&server).await;
        assert_eq!(db.number("SELECT CAST(COALESCE(SUM(copies_claimed), 0) AS BIGINT) FROM medium").await, 0);
        let mut next = Terminal { device: Some(new), ..clone_of(&owner) };
        next.register(&server, owner.user).await.unwrap();
        next.claim(&server, medium).await.unwrap();
        deliver(&server).await;
        assert_eq!(live(&db).await, 1);
        // The next medium begins with none claimed.
        let out = swap("device", next.device_id().unwrap(), None);
        exchange(&other, owner.user.unwrap(), &out).await.expect(200);
    }
    is_clean(&db).await;
});

db_test!(c14_a_message_that_is_delivered_again_takes_back_nothing_that_was_claimed_since, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let medium = &terminal::media(&server, "sky-raider", 1, json!({})).await[0];
    let owner = Terminal::registered(&server).await;
    let user = owner.user.unwrap();
    let grants = owner.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    let lent = device().0;
    let answer = exchange(&server, user, &swap("device", owner.device_id().unwrap(), Some(lent.to_string()))).await.expect(200);
    // The old device is taken in again, and claims the same medium.
    exchange(&server, user, &swap("device", lent, owner.device_id().map(|id| id.to_string()))).await.expect(200);
    let mut again = clone_of(&owner);
    again.register(&server, owner.user).await.unwrap();
    again.claim(&server, medium).await.unwrap();
    deliver(&server).await;
    assert_eq!(live(&db).await, 1);
    // What was told of the first exchange comes once more, much later: from a process that stood still, and twice.
    let told = FreeCopies {
        medium: medium.id.clone(),
        user,
        kind: ExchangedKind::Device,
        old_id: owner.device_id().unwrap().to_string(),
        repair: answer["repair_id"].as_str().unwrap().to_owned(),
        grants: grants.iter().map(|grant| grant.grant_id).collect(),
        at: server.app.clock.now(),
    };
    for _ in 0..2 {
        tell(&db, user, FREE_COPIES, &json!(told)).await;
        assert_eq!(jobs::deliver(&server.app).await.unwrap(), 1);
    }
    assert_eq!(live(&db).await, 1, "it names what it is about, and that is over");
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'medium.freed'").await, 1);
    assert_eq!(db.number("SELECT copies_claimed * 10 + copies_freed FROM medium").await, 11);
    is_clean(&db).await;
});

db_test!(c14_what_a_server_of_an_earlier_version_wrote_down_is_taken_back_as_well, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    terminal::media(&server, "sky-raider", 1, json!({})).await;
    let (medium, owner) = claimed(&server).await;
    deliver(&server).await;
    db.run("UPDATE entitlement SET bound = 0, device_id = NULL, drive_id = NULL").await;
    let next = exchanged(&server, &owner).await;
    next.claim(&server, &medium).await.unwrap();
    // Likewise a message of that version, which does not say what the copy is bound to.
    let payload = json!({ "user": next.user.unwrap(), "grant": grant_of(&db).await, "medium": medium.id, "title": "sky-raider", "at": 1 });
    db.run("DELETE FROM outbox").await;
    exchange(&server, next.user.unwrap(), &swap("device", next.device_id().unwrap(), None)).await.expect(200);
    tell(&db, next.user.unwrap(), ENTITLEMENT, &payload).await;
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE state <> 'revoked'").await, 0);
    is_clean(&db).await;
});

/// The grant that stands.
async fn grant_of(db: &TestDb) -> String {
    let find = async |tx: &mut Tx| tx.query("SELECT grant_id FROM grants WHERE state <> 'revoked'").opt::<(String,)>().await;
    db.read("grant", find).await.unwrap().unwrap().0
}

async fn tell(db: &TestDb, user: UserId, kind: &'static str, payload: &Value) {
    let (family, payload) = (user.to_string(), payload.to_string());
    db.write("tell", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
        outbox::enqueue(tx, &family, "told-again", kind, &payload, 0, 0).await
    })
    .await
    .unwrap();
}
