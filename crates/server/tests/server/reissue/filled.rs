//! What the new card is filled with: exactly what stands, in boxes that it alone opens, with the device's secret.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::wire::{CollectedGrant, GrantDocument};
use counterfoil_core::{Code, DriveId, GrantId};
use counterfoil_format::grant::open_binding;
use counterfoil_server::db::{DbError, Tx};
use serde_json::json;

use super::catalogue::TestServer;
use super::support::{TestDb, db_test};
use super::{deliver, is_sound};
use crate::support::licensing::one_more;
use crate::support::sales::sell;
use crate::support::terminal::{Terminal, media, press, random, refused};

const PRICE: &str = "1.00 EUR";

/// Titles `game-0`, `game-1` …, each with a release and its key.
async fn sell_all(server: &TestServer, db: &TestDb, count: usize) -> Vec<String> {
    let games: Vec<String> = (0..count).map(|number| format!("game-{number}")).collect();
    for game in &games {
        sell(server, db, game, &[PRICE], json!({})).await;
    }
    games
}

fn ids<'a>(grants: impl IntoIterator<Item = &'a CollectedGrant>) -> BTreeSet<GrantId> {
    grants.into_iter().map(|collected| collected.grant.grant_id).collect()
}

db_test!(c15_a_copy_under_way_goes_on_with_the_new_card, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let old = Terminal::registered(&server).await;
    let claimed = old.claim(&server, &media[0]).await.unwrap();
    let before = old.open(&claimed[0]);
    deliver(&server).await;
    let new = old.with_new_card();
    new.replaces(&server, old.user.unwrap()).await;
    deliver(&server).await;
    let (result, collected) = new.collect(&server).await.unwrap();
    assert_eq!(result.generation, 1);
    assert_eq!(ids(&collected), claimed.iter().map(|grant| grant.grant_id).collect());
    let (library, content) = new.opened(&collected[0]).unwrap();
    assert_eq!((library.expose(), content.unwrap().expose()), (before.0.expose(), before.1.expose()), "the same keys");
    // A claim that is repeated gives the same grants, and the medium is spent for everybody else.
    let again = new.claim(&server, &media[0]).await.unwrap();
    assert_eq!(again[0].grant_id, claimed[0].grant_id);
    new.confirm(&server, &media[0], &again).await.unwrap();
    let (_, collected) = new.collect(&server).await.unwrap();
    assert!(new.opened(&collected[0]).unwrap().1.is_none(), "what is confirmed gives no content key");
    assert_eq!(refused(new.claim(&server, &media[0]).await), Code::MediumSpent);
    is_sound(&db).await;
});

db_test!(c15_a_claim_of_the_old_card_that_its_entry_hears_of_too_late_goes_on_with_the_new_one, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 2, json!({})).await;
    let old = Terminal::registered(&server).await;
    // Its entitlement is on its way when the card is replaced.
    let claimed = old.claim(&server, &media[0]).await.unwrap();
    let new = old.with_new_card();
    new.replaces(&server, old.user.unwrap()).await;
    // An answer without it would say that it has ended.
    let sealed = new.sealed(&server, &crate::support::terminal::request(&server, new.collect_operation(None)), None);
    let answer = crate::support::terminal::send(&server, &sealed).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    deliver(&server).await;
    let (_, collected) = new.collect(&server).await.unwrap();
    assert_eq!(ids(&collected), claimed.iter().map(|grant| grant.grant_id).collect());
    let again = new.claim(&server, &media[0]).await.unwrap();
    new.confirm(&server, &media[0], &again).await.unwrap();
    is_sound(&db).await;
});

db_test!(c15_a_medium_that_hears_of_two_replacements_in_the_wrong_order_is_with_the_card_that_the_entry_has, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 1, json!({})).await;
    let old = Terminal::registered(&server).await;
    let claimed = old.claim(&server, &media[0]).await.unwrap();
    deliver(&server).await;
    let (lost, new) = (old.with_new_card(), old.with_new_card());
    lost.replaces(&server, old.user.unwrap()).await;
    // Nobody tells the medium of the first replacement until the second one is told.
    put_off(&db, "UPDATE outbox SET due_at = due_at + 60000 WHERE kind = 'rebind_grants'").await;
    new.replaces(&server, old.user.unwrap()).await;
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM outbox WHERE kind = 'rebind_grants'").await, 1);
    put_off(&db, "UPDATE outbox SET due_at = due_at - 60000 WHERE kind = 'rebind_grants'").await;
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM outbox").await, 0);
    let with_the_entrys = "SELECT count(*) FROM grants g JOIN user_entry e ON e.user_id = g.user_id AND e.holder_id = g.holder_id";
    assert_eq!(db.number(with_the_entrys).await, 1);
    let again = new.claim(&server, &media[0]).await.unwrap();
    assert_eq!(again[0].grant_id, claimed[0].grant_id);
    new.confirm(&server, &media[0], &again).await.unwrap();
    is_sound(&db).await;
});

async fn put_off(db: &TestDb, sql: &'static str) {
    let changed = async move |tx: &mut Tx| -> Result<u64, DbError> { tx.query(sql).execute().await };
    assert_eq!(db.write("test", "test", changed).await.unwrap(), 1);
}

db_test!(c15_the_card_is_filled_with_exactly_what_stands, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let games = sell_all(&server, &db, 5).await;
    let media = press(&server, "game-0", 5, json!({})).await;
    let old = Terminal::registered(&server).await;
    let (laptop, tablet) = (one_more(&server, &old).await, one_more(&server, &old).await);
    let user = old.user.unwrap();
    let mut stands = BTreeMap::new();
    let mut confirmed: Vec<GrantDocument> = vec![];
    // Copies: one confirmed, one under way, one of a medium that was taken out of use, one taken back, one on a device that is gone.
    for (number, medium) in media.iter().enumerate() {
        let terminal = if number == 4 { &tablet } else { &old };
        let grants = terminal.claim(&server, medium).await.unwrap();
        if number == 0 {
            old.confirm(&server, medium, &grants).await.unwrap();
            confirmed.clone_from(&grants);
        }
        // Whether the content key comes with it.
        match number {
            0 | 2 => drop(stands.insert(grants[0].grant_id, false)),
            1 => drop(stands.insert(grants[0].grant_id, true)),
            _ => {}
        }
    }
    deliver(&server).await;
    server.post(&server.operator, &format!("/v1/media/{}/retire", media[2].id), &json!({ "reason": "x" })).await.expect(200);
    let gone = media[3].id.to_string();
    db.write("take back", gone.clone(), async move |tx: &mut Tx| -> Result<u64, DbError> {
        tx.query("UPDATE medium SET copies_claimed = 0, state = 'unclaimed' WHERE medium_id = $1").bind(&gone).execute().await?;
        tx.query("UPDATE grants SET state = 'revoked' WHERE medium_id = $1").bind(&gone).execute().await
    })
    .await
    .unwrap();
    // Licenses: installed, fetched and not installed, given back, moved to another device, never fetched.
    let mut fetched = vec![];
    for game in &games {
        old.order(&server, game, PRICE).await.unwrap();
        if game == "game-4" {
            continue;
        }
        let issued = old.license(&server, game).await.unwrap();
        let redeemed = old.redeem(&server, issued.transaction_id).await.unwrap();
        if game != "game-1" {
            old.installed(&server, redeemed.grant.grant_id).await.unwrap();
        }
        match game.as_str() {
            "game-0" => drop(stands.insert(redeemed.grant.grant_id, false)),
            "game-1" => drop(stands.insert(redeemed.grant.grant_id, true)),
            _ => {}
        }
        fetched.push((issued, redeemed));
    }
    let orders = old.orders(&server).await.orders;
    let given_back = orders.iter().find(|order| order.title.as_str() == "game-2").unwrap();
    let path = format!("/v1/users/{user}/orders/{}/chargeback", given_back.order_id);
    server.post(&server.operator, &path, &json!({ "note": "x" })).await.expect(200);
    old.transfer(&server, &old, &laptop, Some("game-3")).await.unwrap();
    let moved = laptop.redeem(&server, fetched[3].0.transaction_id).await.unwrap();
    stands.insert(moved.grant.grant_id, true);
    // One more is taken out of the entry, with the copy on it.
    old.transfer(&server, &tablet, &old, None).await.unwrap();

    let new = old.with_new_card();
    new.replaces(&server, user).await;
    deliver(&server).await;
    let (result, collected) = new.collect(&server).await.unwrap();
    let at = |each: &CollectedGrant| match each.device_id == laptop.device_id() {
        true => Terminal { card: new.card.clone(), device: laptop.device.clone(), drive: laptop.drive.clone(), user: None },
        false => Terminal { card: new.card.clone(), device: new.device.clone(), drive: new.drive.clone(), user: None },
    };
    let told: BTreeMap<GrantId, bool> =
        collected.iter().map(|each| (each.grant.grant_id, at(each).opened(each).unwrap().1.is_some())).collect();
    assert_eq!(told, stands);
    assert!(result.combination.card && result.combination.device && result.combination.drive);
    assert_eq!(result.exchanged_at, Some(server.app.clock.now()));
    let sealed: counterfoil_format::grant::SealedBox = serde_json::from_value(result.user).unwrap();
    let kid = new.card_id().unwrap().to_string();
    assert_eq!(*sealed.open(&new.holder().1.sealing_key(), &["user ID", &kid]).unwrap(), user.to_string().into_bytes());
    for each in &collected {
        assert!(each.medium_id.is_some() != each.license_id.is_some());
        // Not with the old card, and not without the device.
        let here = at(each);
        assert!(Terminal { card: old.card.clone(), ..at(each) }.opened(each).is_err());
        let elsewhere = Terminal { device: Some(crate::support::terminal::device()), ..new.with_new_card() };
        assert!(Terminal { card: new.card.clone(), ..elsewhere }.opened(each).is_err());
        let binding = open_binding(&here.opened(each).unwrap().0, &each.grant.binding).unwrap();
        assert_eq!(binding.device_id, here.device_id().map(|id| id.to_string()));
        assert_eq!(binding.drive_id, here.drive_id().map(|id| id.to_string()));
    }
    // The library that is there opens: the same key as at first.
    let settled = collected.iter().find(|each| each.grant.grant_id == confirmed[0].grant_id).unwrap();
    assert_eq!(new.opened(settled).unwrap().0.expose(), old.open(&confirmed[0]).0.expose());
    // Each time is on record before it leaves.
    assert_eq!(db.number("SELECT count(*) FROM audit WHERE event = 'card.collected'").await, 1);
});

db_test!(c15_more_grants_than_a_page_holds_come_page_by_page, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 203, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let mut claimed = BTreeSet::new();
    for medium in &media {
        claimed.insert(owner.claim(&server, medium).await.unwrap()[0].grant_id);
    }
    deliver(&server).await;
    let new = owner.with_new_card();
    new.replaces(&server, owner.user.unwrap()).await;
    deliver(&server).await;
    let first = new.collect_page(&server, None).await.unwrap();
    assert_eq!(first.grants.len(), 100);
    // Asked again, the same page.
    assert_eq!(ids(&new.collect_page(&server, None).await.unwrap().grants), ids(&first.grants));
    let (_, all) = new.collect(&server).await.unwrap();
    assert_eq!((all.len(), ids(&all)), (203, claimed));
    assert_eq!(db.number("SELECT count(*) FROM grants WHERE holder_id <> (SELECT holder_id FROM user_entry)").await, 0);
    let page = async |after: &str| new.collect_page(&server, Some(after.to_owned())).await;
    assert_eq!(refused(page("nowhere").await), Code::EnvelopeInvalid);
    is_sound(&db).await;
});

db_test!(c15_copies_and_licenses_share_pages, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let games = sell_all(&server, &db, 20).await;
    let media = press(&server, "game-0", 95, json!({})).await;
    let owner = Terminal::registered(&server).await;
    let mut expected = BTreeSet::new();
    for game in &games {
        owner.order(&server, game, PRICE).await.unwrap();
        expected.insert(owner.install(&server, game).await.unwrap().1.grant.grant_id);
    }
    for medium in &media {
        expected.insert(owner.claim(&server, medium).await.unwrap()[0].grant_id);
    }
    deliver(&server).await;
    let new = owner.with_new_card();
    new.replaces(&server, owner.user.unwrap()).await;
    let first = new.collect_page(&server, None).await.unwrap();
    assert_eq!(first.grants.len(), 100);
    assert_eq!(first.grants.iter().filter(|each| each.license_id.is_some()).count(), 5);
    let (_, all) = new.collect(&server).await.unwrap();
    assert_eq!((all.len(), ids(&all)), (115, expected));
});

db_test!(c15_an_entry_of_a_card_alone_is_filled_too, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let media = media(&server, "sky-raider", 1, json!({})).await;
    let mut owner = Terminal::just_a_card();
    owner.register(&server, None).await.unwrap();
    let claimed = owner.claim(&server, &media[0]).await.unwrap();
    let before = owner.open(&claimed[0]);
    deliver(&server).await;
    let new = owner.with_new_card();
    new.replaces(&server, owner.user.unwrap()).await;
    let (result, collected) = new.collect(&server).await.unwrap();
    assert!(result.combination.card && !result.combination.device && !result.combination.drive);
    assert_eq!(new.opened(&collected[0]).unwrap().0.expose(), before.0.expose());
    assert!(owner.opened(&collected[0]).is_err());
    is_sound(&db).await;
});

db_test!(c15_after_the_replacement_everything_goes_on_with_the_new_card, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let games = sell_all(&server, &db, 1).await;
    let old = Terminal::registered(&server).await;
    old.order(&server, &games[0], PRICE).await.unwrap();
    let (issued, _) = old.install(&server, &games[0]).await.unwrap();
    let new = old.with_new_card();
    new.replaces(&server, old.user.unwrap()).await;
    deliver(&server).await;
    new.renew(&server, issued.license_id).await.unwrap();
    let again = new.license_again(&server, &games[0]).await.unwrap();
    let redeemed = new.redeem(&server, again.transaction_id).await.unwrap();
    new.open(&redeemed.grant);
    new.installed(&server, redeemed.grant.grant_id).await.unwrap();
    // One more device, with the new card and the user ID that was written down.
    let mut laptop = Terminal {
        card: new.card.clone(),
        device: Some(crate::support::terminal::device()),
        drive: Some((DriveId::from_bytes(random()), None)),
        user: None,
    };
    let registered = laptop.register(&server, new.user).await.unwrap();
    assert_eq!(registered.generation, 1);
    // And lost once more.
    let third = new.with_new_card();
    third.replaces(&server, new.user.unwrap()).await;
    deliver(&server).await;
    third.collect(&server).await.unwrap();
    for dead in [&old, &new] {
        assert_eq!(refused(dead.collect(&server).await), Code::CardUnknown);
    }
    is_sound(&db).await;
});
