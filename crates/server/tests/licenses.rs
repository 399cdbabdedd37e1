//! Licenses, transfers and inboxes (D5–D11), on both engines.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

#[path = "support/catalogue.rs"]
mod catalogue;
#[path = "support/licensing.rs"]
mod licensing;
#[path = "support/sales.rs"]
mod sales;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

#[path = "licenses/faults.rs"]
mod faults;
#[path = "licenses/guards.rs"]
mod guards;
#[path = "licenses/issued.rs"]
mod issued;
#[path = "licenses/moved.rs"]
mod moved;
#[path = "licenses/races.rs"]
mod races;
#[path = "licenses/streams.rs"]
mod streams;

use counterfoil_server::{auditor, store};
use support::TestDb;

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}
