//! Releases in channels, the plans that bring devices to them, and the keys for them (A5, A6), on both engines.

use crate::support;
use crate::support::catalogue;
use crate::support::released;
use crate::support::sales;
use crate::support::terminal;

mod keys;
mod plans;
mod reports;
mod said;

use counterfoil_core::wire::GrantDocument;
use counterfoil_format::content::Manifest;
use counterfoil_server::{auditor, store};
use released::noise;
use serde_json::{Value, json};
use support::TestDb;

use catalogue::TestServer;
use terminal::{Medium, Terminal};

const TITLE: &str = "sky-raider";

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}

/// Files of a release: one that stays, and one of which version `version` has its own.
fn files(version: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut changing = noise("changing", 700_000);
    let place = 100_000 + version.bytes().map(usize::from).sum::<usize>() * 500;
    changing[place..place + 1000].copy_from_slice(&noise(version, 1000));
    vec![("base.bin", noise("base", 900_000)), ("changing.bin", changing)]
}

/// A title in four releases, each made with the ones before at hand.
async fn four(server: &TestServer) -> Vec<Manifest> {
    released::title(server, TITLE).await;
    let mut made: Vec<Manifest> = vec![];
    for version in ["1.0", "1.1", "1.2", "1.3"] {
        let earlier: Vec<&Manifest> = made.iter().rev().collect();
        let next = released::release(server, TITLE, version, &files(version), &earlier).await;
        made.push(next);
    }
    made
}

/// Somebody who has copied it from a medium.
async fn copied(server: &TestServer, rights: Value) -> (Terminal, Medium, GrantDocument) {
    let medium = terminal::press(server, TITLE, 1, rights).await.remove(0);
    let desk = Terminal::registered(server).await;
    let grants = desk.claim(server, &medium).await.unwrap();
    desk.confirm(server, &medium, &grants).await.unwrap();
    (desk, medium, grants.into_iter().next().unwrap())
}

/// Somebody who has bought and installed it.
async fn bought(server: &TestServer, db: &TestDb) -> (Terminal, GrantDocument) {
    sales::list(db, TITLE, &["19.99 EUR"], json!({ "transfers": 1000 })).await;
    let desk = Terminal::registered(server).await;
    desk.order(server, TITLE, "19.99 EUR").await.unwrap();
    let (_, redeemed) = desk.install(server, TITLE).await.unwrap();
    (desk, redeemed.grant)
}
