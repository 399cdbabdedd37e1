//! Licenses, transfers and inboxes (D5–D11), on both engines.

use crate::support;
use crate::support::catalogue;
use crate::support::licensing;
use crate::support::sales;
use crate::support::terminal;

mod faults;
mod guards;
mod issued;
mod moved;
mod races;
mod streams;

use counterfoil_server::{auditor, store};
use support::TestDb;

async fn is_sound(db: &TestDb) {
    assert_eq!(auditor::check(&db.db).await.unwrap(), []);
    assert!(store::audit::verify(&db.db, vec![], |_| Err(String::new())).await.unwrap().is_clean());
}
