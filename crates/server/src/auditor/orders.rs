//! Invariants of what is bought: money, orders, entitlements and licenses of one user, all of them in the user's family.

use counterfoil_core::Policy;

use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Tx};

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "a balance is what its entries come to",
        "SELECT b.user_id FROM balance b WHERE b.amount < 0 OR b.amount <> COALESCE((SELECT SUM(e.amount) FROM balance_entry e
           WHERE e.user_id = b.user_id AND e.currency = b.currency GROUP BY e.user_id), 0)
         UNION ALL SELECT e.user_id FROM balance_entry e WHERE NOT EXISTS (SELECT 1 FROM balance b
           WHERE b.user_id = e.user_id AND b.currency = e.currency) LIMIT $1",
    ),
    (
        "an order that is paid from a balance took its price from there once, and put it back exactly if it was given back",
        "SELECT o.order_id FROM orders o WHERE COALESCE((SELECT SUM(e.amount) FROM balance_entry e WHERE e.user_id = o.user_id
             AND e.order_id = o.order_id AND e.currency = o.currency AND e.reason = 'order' GROUP BY e.user_id), 0)
             <> CASE WHEN o.payment = 'balance' THEN -o.amount ELSE 0 END
           OR COALESCE((SELECT SUM(e.amount) FROM balance_entry e WHERE e.user_id = o.user_id
             AND e.order_id = o.order_id AND e.currency = o.currency AND e.reason = 'refund' GROUP BY e.user_id), 0)
             <> CASE WHEN o.payment = 'balance' AND o.state = 'ended' AND o.reason IN ('refund', 'not_copied') THEN o.amount ELSE 0 END LIMIT $1",
    ),
    (
        "an order is paid exactly when it has a time of payment, and ended when it has a time of its end",
        "SELECT order_id FROM orders WHERE (state = 'paid' AND paid_at IS NULL) OR (state IN ('due', 'open') AND paid_at IS NOT NULL)
           OR (state = 'ended') <> (ended_at IS NOT NULL) OR state NOT IN ('open', 'paid', 'due', 'ended')
           OR (kind = 'trial') <> (amount IS NULL) LIMIT $1",
    ),
    (
        "an order is for a copy exactly when it names medium and request, and open only then",
        "SELECT order_id FROM orders WHERE (kind = 'copy') <> (medium_id IS NOT NULL) OR (kind = 'copy') <> (request_id IS NOT NULL)
           OR (state = 'open' AND kind <> 'copy') LIMIT $1",
    ),
    (
        "a user tries a title once",
        "SELECT user_id FROM orders WHERE kind = 'trial' GROUP BY user_id, title_id HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "an order has one entitlement, which is active until the order ends; one for a copy has none",
        "SELECT o.order_id FROM orders o WHERE COALESCE((SELECT COUNT(*) FROM entitlement e WHERE e.user_id = o.user_id
             AND e.order_id = o.order_id AND e.title_id = o.title_id GROUP BY e.user_id), 0) <> CASE WHEN o.kind = 'copy' THEN 0 ELSE 1 END
           OR COALESCE((SELECT COUNT(*) FROM entitlement e WHERE e.user_id = o.user_id
             AND e.order_id = o.order_id AND e.state = 'active' GROUP BY e.user_id), 0) <> CASE WHEN o.state = 'ended' OR o.kind = 'copy' THEN 0 ELSE 1 END LIMIT $1",
    ),
    (
        "an entitlement that is neither a medium's nor selected has an order behind it",
        "SELECT e.entitlement_id FROM entitlement e WHERE e.source NOT IN ('medium', 'selection') AND NOT EXISTS (SELECT 1 FROM orders o
           WHERE o.user_id = e.user_id AND o.order_id = e.order_id) LIMIT $1",
    ),
    (
        "an entitlement counts as many devices as have licenses by it",
        "SELECT e.entitlement_id FROM entitlement e WHERE e.source <> 'medium' AND e.devices <> COALESCE((SELECT COUNT(*) FROM license l
           WHERE l.user_id = e.user_id AND l.entitlement_id = e.entitlement_id AND l.state <> 'ended' GROUP BY l.user_id), 0) LIMIT $1",
    ),
    (
        "a supplement is selected for a user once, with its record in the audit log",
        "SELECT e.user_id FROM entitlement e WHERE e.source = 'selection' GROUP BY e.user_id, e.title_id HAVING COUNT(*) > 1
         UNION ALL SELECT e.user_id FROM entitlement e WHERE e.source = 'selection' GROUP BY e.user_id HAVING COUNT(*) > COALESCE((
           SELECT COUNT(*) FROM audit a WHERE a.family = e.user_id AND a.event = 'selection.granted' GROUP BY a.family), 0) LIMIT $1",
    ),
    (
        "nothing is ordered without its record in the audit log",
        "SELECT o.user_id FROM orders o GROUP BY o.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = o.user_id AND a.event = 'order.placed' GROUP BY a.family), 0) LIMIT $1",
    ),
];

/// The one that needs more than SQL.
const TERMS: &str = "an entitlement has no more devices and transfers than its terms allow";

/// Every sentence of this file.
pub(super) fn sentences() -> impl Iterator<Item = &'static str> {
    INVARIANTS.iter().map(|(sentence, _)| *sentence).chain([TERMS])
}

/// What breaks them.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let mut violations = super::broken(db, INVARIANTS).await?;
    violations.extend(beyond_terms(db).await?);
    Ok(violations)
}

/// What is allowed lies in the terms, which SQL that both engines understand cannot read: so the different terms are read, with what is
/// counted under them, and then the entitlements that do not fit.
async fn beyond_terms(db: &Db) -> Result<Vec<Violation>, DbError> {
    db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<Violation>, DbError> {
        step_back();
        let sql = "SELECT policy, devices, transfers FROM entitlement WHERE source <> 'medium' AND state = 'active'
                   GROUP BY policy, devices, transfers";
        let counted: Vec<(Option<String>, i64, i64)> = tx.query(sql).all().await?;
        let fits = |(policy, devices, transfers): &(Option<String>, i64, i64)| {
            let policy = policy.as_deref().and_then(|text| serde_json::from_str::<Policy>(text).ok());
            policy.is_some_and(|policy| *devices <= policy.devices.into() && *transfers <= policy.transfers.into())
        };
        let mut violations = vec![];
        for (policy, devices, transfers) in counted.into_iter().filter(|row| !fits(row)) {
            let sql = "SELECT entitlement_id FROM entitlement WHERE COALESCE(policy, '') = $1 AND devices = $2 AND transfers = $3
                       AND source <> 'medium' AND state = 'active' LIMIT $4";
            let policy = policy.unwrap_or_default();
            let found: Vec<(String,)> = tx.query(sql).bind(&policy).bind(devices).bind(transfers).bind(MOST).all().await?;
            violations.extend(found.into_iter().map(|(subject,)| Violation { invariant: TERMS, subject }));
        }
        Ok(violations)
    })
    .await
}
