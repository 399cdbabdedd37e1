//! The old card is dead from one commit on, whatever it asks for, and by the entry alone; and one of two replacements wins.

use counterfoil_core::wire::{AddDevice, Claim, Heal, Inspect, Operation, Orders};
use counterfoil_core::{Code, DeviceId};
use counterfoil_server::actions::reissue::{self, Wanted};
use counterfoil_server::db::{DbError, Tx};
use counterfoil_server::problem::Problem;
use counterfoil_server::store::holder::Public;
use serde_json::json;

use super::catalogue::{NOW, TestServer};
use super::support::{TestDb, db_test};
use super::terminal::{Medium, Terminal, exchange, press, random, refused, request};
use super::{card_keys, deliver, is_sound};
use crate::support::sales::{order_operation, refund_operation, sell};

const PRICE: &str = "19.99 EUR";

/// How a card is refused that is not the entry's.
const OUT: [Code; 3] = [Code::UserInvalid, Code::CardUnknown, Code::ProofInvalid];

/// Everything that a card signs.
fn operations<'a>(old: &'a Terminal, medium: &Medium, fresh: &'a Terminal) -> Vec<(&'a Terminal, Operation, Option<Medium>)> {
    let (user_id, device_id) = (old.user.unwrap(), old.device_id().unwrap());
    let claim = Claim { card_id: old.card_id(), ..old.claim_operation(medium) };
    let add = AddDevice { user_id, card_id: old.card_id(), device_id, new_device_id: DeviceId::from_bytes(random()), name: None };
    let inspect = Inspect { medium_id: None, user_id: Some(user_id), device_id: None };
    let heal = Heal {
        user_id,
        medium_id: Some(medium.id.clone()),
        grant_id: counterfoil_core::GrantId::from_bytes([1; 16]),
        device_id: Some(device_id),
        chunks: vec![],
    };
    vec![
        (old, old.register_operation(None), None),
        (fresh, fresh.register_operation(Some(user_id)), None),
        (old, Operation::Claim(claim), Some(medium.clone())),
        (old, Operation::Inspect(inspect), None),
        (old, Operation::Heal(heal), None),
        (old, order_operation(old, "sky-raider", Some(PRICE)), None),
        (old, Operation::AddDevice(add), None),
        (old, old.transfer_operation(old, old, None, true), None),
        (old, old.send_operation(old, "sky-raider", None), None),
        (old, old.recovery_code_operation(), None),
        (old, old.collect_operation(None), None),
    ]
}

db_test!(c15_the_old_card_is_refused_whatever_it_asks_for_because_the_entry_names_another, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({})).await;
    let media = press(&server, "sky-raider", 4, json!({})).await;
    let old = Terminal::registered(&server).await;
    let user = old.user.unwrap();
    let with_another_device = Terminal { card: old.card.clone(), ..Terminal::new() };
    // Before, it is let in everywhere: what is refused afterwards is refused for that reason.
    for (who, operation, medium) in operations(&old, &media[0], &with_another_device) {
        let name = operation.name();
        if let Err(refusal) = who.ask(&server, operation, medium.as_ref()).await {
            assert!(!OUT.contains(&refusal.code), "{name}: {refusal}");
        }
    }
    let new = old.with_new_card();
    new.replaces(&server, user).await;
    let grants = db.number("SELECT count(*) FROM grants").await;
    // As long as its own family has not heard of it, and after; it names itself, or the new card.
    for state in ["registered", "dead"] {
        set_state(&db, &old, state).await;
        for (who, operation, medium) in operations(&old, &media[1], &with_another_device) {
            let name = operation.name();
            let refusal = who.ask(&server, operation, medium.as_ref()).await.expect_err(name);
            assert!(OUT.contains(&refusal.code), "{name}: {refusal}");
        }
        for (_, operation, medium) in operations(&new, &media[1], &with_another_device) {
            let name = operation.name();
            let sealed = old.sealed(&server, &request(&server, operation), medium.as_ref());
            let refusal = exchange(&server, &sealed).await.expect_err(name);
            assert!(OUT.contains(&refusal.code), "{name} in the new card's name: {refusal}");
        }
    }
    assert_eq!(db.number("SELECT count(*) FROM grants").await, grants, "no keys for it");
    assert!(db.number("SELECT count(*) FROM audit WHERE event = 'device.old_turned_up'").await >= 20, "its owner sees it");
    // The new one is let in.
    let orders = Orders { user_id: user, device_id: new.device_id().unwrap() };
    new.ask(&server, Operation::Orders(orders), None).await.unwrap();
    new.claim(&server, &media[2]).await.unwrap();
    deliver(&server).await;
    is_sound(&db).await;
});

fn old_id(terminal: &Terminal) -> String {
    counterfoil_core::HolderId::from(terminal.card_id().unwrap()).to_string()
}

async fn set_state(db: &TestDb, terminal: &Terminal, state: &'static str) {
    let id = old_id(terminal);
    let set = async move |tx: &mut Tx| -> Result<u64, DbError> {
        tx.query("UPDATE holder SET state = $1 WHERE holder_id = $2").bind(state).bind(&id).execute().await
    };
    assert_eq!(db.write("test", "test", set).await.unwrap(), 1);
}

fn wanted(old: &Terminal, new: &Terminal) -> Wanted {
    Wanted {
        user: old.user.unwrap(),
        request: None,
        card: Some(Public::from(new.card.as_ref().unwrap().public())),
        reason: "lost".to_owned(),
        reference: None,
        actor: "test".to_owned(),
    }
}

db_test!(c15_of_two_replacements_at_once_one_wins, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let beside = server.another(&db, |_| ()).await;
    for _ in 0..8 {
        let old = Terminal::registered(&server).await;
        let (a, b) = (old.with_new_card(), old.with_new_card());
        // Both have looked, and both cards are reserved, before either is written.
        let first = reissue::begin(&server.app, wanted(&old, &a), NOW).await.unwrap();
        let second = reissue::begin(&beside.app, wanted(&old, &b), NOW).await.unwrap();
        let write = async |server: &TestServer, replacing: reissue::Replacing| -> Result<reissue::Replaced, Problem> {
            let family = replacing.family();
            server.app.db.write("replace card", family, async move |tx: &mut Tx| replacing.write(tx).await).await
        };
        let (first, second) = tokio::join!(write(&server, first), write(&beside, second));
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
        let (winner, loser) = if first.is_ok() { (&a, &b) } else { (&b, &a) };
        let problem = first.err().or(second.err()).unwrap();
        assert_eq!((problem.status.as_u16(), problem.code), (409, "conflict"));
        winner.collect(&server).await.unwrap();
        for dead in [loser, &old] {
            assert_eq!(refused(dead.collect(&beside).await), Code::CardUnknown);
        }
    }
    deliver(&server).await;
    assert_eq!(db.number("SELECT count(*) FROM repair").await, 8);
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(c15_one_request_carried_out_with_two_cards_at_once_has_one_winner, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    let beside = server.another(&db, |_| ()).await;
    for _ in 0..8 {
        let old = Terminal::registered(&server).await;
        let (code, user) = (old.recovery_code(&server).await.unwrap(), old.user.unwrap());
        let asking = reissue::Asking { user, code: Some(code), card: None, contact: None, actor: "/web".to_owned() };
        let asked = reissue::ask(&server.app, asking, NOW).await.unwrap().unwrap();
        let (a, b) = (old.with_new_card(), old.with_new_card());
        let body = |new: &Terminal| json!({ "reissue_id": asked.reissue_id, "card": card_keys(new), "reason": "x" });
        let path = format!("/v1/entries/{user}/reissue");
        let (with_a, with_b) = (body(&a), body(&b));
        let (first, second) = tokio::join!(server.post(&server.operator, &path, &with_a), beside.post(&beside.operator, &path, &with_b));
        let mut statuses = [first.status.as_u16(), second.status.as_u16()];
        statuses.sort();
        assert_eq!(statuses, [200, 409]);
    }
    assert_eq!(db.number("SELECT count(*) FROM repair").await, 8);
    deliver(&server).await;
    is_sound(&db).await;
    beside.app.db.close().await;
});

db_test!(c15_what_was_admitted_before_the_replacement_is_refused_after_it, async |db: TestDb| {
    let server = TestServer::new(&db).await;
    sell(&server, &db, "sky-raider", &[PRICE], json!({})).await;
    sell(&server, &db, "moon-raider", &[PRICE], json!({})).await;
    let (mut before, mut after, mut orders) = (0, 0, vec![]);
    for round in 0..24 {
        let old = Terminal::registered(&server).await;
        let new = old.with_new_card();
        let beside = server.another(&db, |_| ()).await;
        orders.push(old.order(&server, "moon-raider", PRICE).await.unwrap().order_id);
        let order = old.sealed(&server, &request(&server, order_operation(&old, "sky-raider", Some(PRICE))), None);
        let refund = old.sealed(&server, &request(&server, refund_operation(&old, orders[round])), None);
        let replacing = reissue::begin(&beside.app, wanted(&old, &new), NOW).await.unwrap();
        let family = replacing.family();
        let replace = async {
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            beside.app.db.write("replace card", family, async move |tx: &mut Tx| replacing.write(tx).await).await.unwrap();
        };
        let (ordered, refunded, ()) = tokio::join!(exchange(&server, &order), exchange(&server, &refund), replace);
        for decided in [ordered, refunded] {
            match decided {
                Ok(_) => before += 1,
                Err(refusal) => {
                    after += 1;
                    assert!(matches!(refusal.code, Code::UserInvalid | Code::ProofInvalid), "{refusal}");
                }
            }
        }
        beside.app.db.close().await;
    }
    assert_eq!(before + after, 48);
    // In no entry does what the old card ordered or gave back stand behind the replacement.
    let sql = "SELECT count(*) FROM audit o JOIN audit r ON r.family = o.family AND r.event = 'card.replaced' AND r.seq < o.seq
               WHERE o.event IN ('order.placed', 'order.ended')";
    assert_eq!(db.number(sql).await, 0);
    deliver(&server).await;
    is_sound(&db).await;
});
