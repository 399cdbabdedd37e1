//! Invariants of what is charged for by gateways (C16–C18): a charge stands for exactly what names its exchange, and for nothing that has ended.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::across::{self, Across, ROWS, bind, with_places};
use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, FromRow, Row, Tx};

mod settled;

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "an exchange has what came of it exactly when it was carried out, and times as its state says",
        "SELECT exchange_id FROM gateway_exchange
         WHERE state NOT IN ('prepared', 'committing', 'committed', 'refused', 'aborted', 'refunded')
           OR (order_id IS NOT NULL OR grants IS NOT NULL) <> (state IN ('committed', 'refunded'))
           OR (order_id IS NOT NULL AND (grants IS NOT NULL OR operation <> 'order'))
           OR (began_at IS NULL) <> (state IN ('prepared', 'aborted')) OR (decided_at IS NULL) <> (state IN ('prepared', 'committing'))
           OR (refunded_at IS NULL) <> (state <> 'refunded') LIMIT $1",
    ),
    (
        "no exchange is decided without its record in the audit log",
        "SELECT e.exchange_id FROM gateway_exchange e WHERE (e.state IN ('committed', 'refunded') AND NOT EXISTS (SELECT 1 FROM audit a
             WHERE a.family = e.exchange_id AND a.event = 'exchange.committed'))
           OR (e.state = 'refunded' AND NOT EXISTS (SELECT 1 FROM audit a
             WHERE a.family = e.exchange_id AND a.event = 'exchange.refunded')) LIMIT $1",
    ),
    (
        "an order is paid through a gateway exactly when it names an exchange, which no other order does",
        "SELECT order_id FROM orders WHERE (payment = 'gateway') <> (exchange_id IS NOT NULL)
         UNION ALL SELECT user_id FROM orders WHERE exchange_id IS NOT NULL GROUP BY user_id, exchange_id HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "a copy is paid for as a whole, and an exchange or an order pays for one at a time",
        "SELECT medium_id FROM grants GROUP BY medium_id, copy HAVING COUNT(DISTINCT COALESCE(exchange_id, order_id, '')) > 1
         UNION ALL SELECT medium_id FROM grants WHERE exchange_id IS NOT NULL AND state <> 'revoked'
           GROUP BY medium_id, exchange_id HAVING COUNT(DISTINCT copy) > 1
         UNION ALL SELECT medium_id FROM grants WHERE order_id IS NOT NULL AND state <> 'revoked'
           GROUP BY medium_id, order_id HAVING COUNT(DISTINCT copy) > 1
         UNION ALL SELECT medium_id FROM grants WHERE order_id IS NOT NULL AND exchange_id IS NOT NULL LIMIT $1",
    ),
    (
        "a key that is paid for when it is copied is out for a charge",
        "SELECT g.grant_id FROM grants g JOIN medium m ON m.medium_id = g.medium_id JOIN batch b ON b.batch_id = m.batch_id
         WHERE b.paid_on_copy <> 0 AND g.state <> 'revoked' AND g.exchange_id IS NULL AND g.order_id IS NULL LIMIT $1",
    ),
    (
        "an exchange is split by the share that it was made under",
        "SELECT exchange_id FROM gateway_exchange
         WHERE share IS NOT NULL AND (share NOT BETWEEN 0 AND 10000 OR operator_part <> amount - (amount * share) / 10000) LIMIT $1",
    ),
    (
        "a month that is settled is closed",
        "SELECT s.gateway_id FROM gateway_settlement s WHERE NOT EXISTS
           (SELECT 1 FROM gateway_closed_month m WHERE m.gateway_id = s.gateway_id AND m.period = s.period) LIMIT $1",
    ),
    (
        "a medium has lost no more copies than were taken back from it",
        "SELECT medium_id FROM medium WHERE copies_lost > copies_freed LIMIT $1",
    ),
];

static ACROSS: [Across; 4] = [
    Across {
        sentence: "an order names an exchange that was begun and not refused",
        page: "SELECT user_id, order_id, exchange_id, 'begun', '' FROM orders WHERE (user_id, order_id) > ($1, $2) AND exchange_id IS NOT NULL
               ORDER BY user_id, order_id LIMIT $3",
        found: LazyLock::new(|| with_places(BEGUN)),
        pairs: false,
        subject: 1,
    },
    Across {
        sentence: "a copy names an exchange that was begun and not refused",
        page: "SELECT medium_id, grant_id, exchange_id, 'begun', '' FROM grants WHERE (medium_id, grant_id) > ($1, $2) AND exchange_id IS NOT NULL
               ORDER BY medium_id, grant_id LIMIT $3",
        found: LazyLock::new(|| with_places(BEGUN)),
        pairs: false,
        subject: 1,
    },
    Across {
        sentence: "a copy names an order of its user's for it that stands, or is about to be told that it has ended",
        page: "SELECT medium_id, grant_id, user_id, order_id, medium_id FROM grants WHERE (medium_id, grant_id) > ($1, $2) AND order_id IS NOT NULL
               ORDER BY medium_id, grant_id LIMIT $3",
        found: LazyLock::new(|| {
            with_places(
                "SELECT o.user_id, o.order_id, o.medium_id FROM orders o WHERE o.user_id IN ({}) AND o.order_id IN ({}) AND o.kind = 'copy'
                 AND (o.state <> 'ended' OR EXISTS (SELECT 1 FROM outbox b WHERE b.family = o.user_id AND b.operation_id = o.order_id || '/back'))",
            )
        }),
        pairs: true,
        subject: 1,
    },
    Across {
        sentence: "an order for a copy that is paid or due is named by what was granted for it",
        page: "SELECT user_id, order_id, medium_id, order_id, '' FROM orders WHERE (user_id, order_id) > ($1, $2) AND kind = 'copy'
               AND state IN ('paid', 'due') ORDER BY user_id, order_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT DISTINCT medium_id, order_id, '' FROM grants WHERE medium_id IN ({}) AND order_id IN ({})")),
        pairs: true,
        subject: 1,
    },
];

const BEGUN: &str =
    "SELECT exchange_id, 'begun', '' FROM gateway_exchange WHERE state IN ('committing', 'committed', 'refunded') AND exchange_id IN ({})";

const NAMED: &str = "an exchange that was carried out is named by what came of it, at its price, or what came of it is being undone";
const ENDED: &str = "nothing is live that was paid for by an exchange that is refunded";
const OWED: &str = "an exchange is refunded where its order has ended, or about to be";

/// Every sentence of this file.
pub(super) fn sentences() -> impl Iterator<Item = &'static str> {
    INVARIANTS.iter().map(|(sentence, _)| *sentence).chain(ACROSS.iter().map(|across| across.sentence)).chain([
        NAMED,
        ENDED,
        OWED,
        settled::FROZEN,
    ])
}

/// What breaks them.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    let mut violations = super::broken(db, INVARIANTS).await?;
    violations.extend(across::check_all(db, &ACROSS).await?);
    violations.extend(db.snapshot("audit", async move |tx: &mut Tx| -> Result<_, DbError> { carried_out(tx).await }).await?);
    violations.extend(db.snapshot("audit", async move |tx: &mut Tx| -> Result<_, DbError> { settled::check(tx).await }).await?);
    Ok(violations)
}

/// An exchange that was carried out.
struct Done {
    id: String,
    refunded: bool,
    /// A medium or a user.
    subject: String,
    order: Option<String>,
    grants: Vec<String>,
    price: String,
}

impl FromRow for Done {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self {
            id: row.column()?,
            refunded: row.column::<String>()? == "refunded",
            subject: row.column()?,
            order: row.column()?,
            grants: row.column::<Option<String>>()?.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default(),
            price: row.column()?,
        })
    }
}

/// Pages of exchanges, then what they name: that was written before them, so it is read after them.
async fn carried_out(tx: &mut Tx) -> Result<Vec<Violation>, DbError> {
    step_back();
    let (mut broken, mut after) = (vec![], String::new());
    while broken.len() < MOST as usize {
        let sql = "SELECT exchange_id, state, subject, order_id, grants, currency || ' ' || amount FROM gateway_exchange
                   WHERE exchange_id > $1 AND state IN ('committed', 'refunded') ORDER BY exchange_id LIMIT $2";
        // At most a thousandth of what an i64 holds.
        let page: Vec<Done> = tx.query(sql).bind(&after).bind(ROWS as i64).all().await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        let (orders, copies) = page.into_iter().partition(|done: &Done| done.order.is_some());
        of_orders(tx, orders, &mut broken).await?;
        of_copies(tx, copies, &mut broken).await?;
    }
    broken.truncate(MOST as usize);
    Ok(broken)
}

static ORDERS: LazyLock<String> = LazyLock::new(|| {
    with_places(
        "SELECT order_id, exchange_id, currency || ' ' || amount, state FROM orders
         WHERE user_id IN ({}) AND order_id IN ({}) AND exchange_id IS NOT NULL",
    )
});

async fn of_orders(tx: &mut Tx, done: Vec<Done>, broken: &mut Vec<Violation>) -> Result<(), DbError> {
    if done.is_empty() {
        return Ok(());
    }
    let query = bind(tx.query(&ORDERS), done.iter().map(|done| &done.subject));
    let found: Vec<(String, String, String, String)> = bind(query, done.iter().filter_map(|done| done.order.as_ref())).all().await?;
    let found: HashMap<String, (String, String, String)> =
        found.into_iter().map(|(order, exchange, price, state)| (order, (exchange, price, state))).collect();
    for Done { id, refunded, subject, order, price, .. } in done {
        let named = order.as_ref().and_then(|order| found.get(order)).filter(|(exchange, paid, _)| *exchange == id && *paid == price);
        let Some((_, _, state)) = named else {
            broken.push(Violation { invariant: NAMED, subject: id });
            continue;
        };
        if refunded && state != "ended" {
            broken.push(Violation { invariant: ENDED, subject: id });
        } else if !refunded && state == "ended" && !is_being_undone(tx, &subject, &id).await? {
            broken.push(Violation { invariant: OWED, subject: id });
        }
    }
    Ok(())
}

static GRANTS: LazyLock<String> =
    LazyLock::new(|| with_places("SELECT DISTINCT medium_id, exchange_id FROM grants WHERE medium_id IN ({}) AND exchange_id IN ({})"));

async fn of_copies(tx: &mut Tx, done: Vec<Done>, broken: &mut Vec<Violation>) -> Result<(), DbError> {
    if done.is_empty() {
        return Ok(());
    }
    let query = bind(tx.query(&GRANTS), done.iter().map(|done| &done.subject));
    let found: HashSet<(String, String)> = bind(query, done.iter().map(|done| &done.id)).all().await?.into_iter().collect();
    for Done { id, refunded, subject, grants, .. } in done {
        let key = (subject, id);
        let named = found.contains(&key);
        if refunded && (named || any_live(tx, &key.0, &grants).await?) {
            broken.push(Violation { invariant: ENDED, subject: key.1 });
        } else if !refunded && !named && !is_being_undone(tx, &key.0, &key.1).await? {
            broken.push(Violation { invariant: NAMED, subject: key.1 });
        }
    }
    Ok(())
}

/// Few are refunded, so each is looked at by itself.
async fn any_live(tx: &mut Tx, medium: &str, grants: &[String]) -> Result<bool, DbError> {
    let sql = "SELECT grant_id FROM grants WHERE medium_id = $1 AND state <> 'revoked' ORDER BY grant_id LIMIT 10000";
    let live: Vec<(String,)> = tx.query(sql).bind(medium).all().await?;
    Ok(live.iter().any(|(grant,)| grants.contains(grant)))
}

/// Whether the exchange is about to be told.
async fn is_being_undone(tx: &mut Tx, family: &str, exchange: &str) -> Result<bool, DbError> {
    let sql = "SELECT created_at FROM outbox WHERE family = $1 AND operation_id = $2";
    Ok(tx.query(sql).bind(family).bind(format!("{exchange}/undone")).opt::<(i64,)>().await?.is_some())
}
