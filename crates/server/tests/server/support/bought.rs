//! What the auditor holds orders to: rows as they should be, and what is done to them that breaks each sentence.

/// What `usr-1` has bought from a balance: one title that is kept, and one that was given back.
pub const BOUGHT: &[&str] = &[
    "INSERT INTO title (title_id, publisher_id, name, kind, created_at) VALUES ('u', 'p', 'U', 'game', 1)",
    "INSERT INTO balance (user_id, currency, amount) VALUES ('usr-1', 'EUR', 300)",
    "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, actor, created_at) VALUES ('usr-1', '1', 'EUR', 500, 'top_up', 'x', 1)",
    "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, order_id, actor, created_at)
       VALUES ('usr-1', '2', 'EUR', -200, 'order', 'ord-1', 'x', 1)",
    "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, order_id, actor, created_at)
       VALUES ('usr-1', '3', 'EUR', -200, 'order', 'ord-2', 'x', 1)",
    "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, order_id, actor, created_at)
       VALUES ('usr-1', '4', 'EUR', 200, 'refund', 'ord-2', 'x', 1)",
    "INSERT INTO orders (user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, paid_at)
       VALUES ('usr-1', 'ord-1', 't', 'dev-1', 'purchase', 'EUR', 200, 'balance', 'paid', 'x', 1, 1)",
    "INSERT INTO orders (user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, paid_at, ended_at, reason)
       VALUES ('usr-1', 'ord-2', 'u', 'dev-1', 'purchase', 'EUR', 200, 'balance', 'ended', 'x', 1, 1, 2, 'refund')",
    "INSERT INTO entitlement (user_id, entitlement_id, source, order_id, title_id, state, policy, devices, transfers, created_at)
       VALUES ('usr-1', 'ent-1', 'order', 'ord-1', 't', 'active', '{\"devices\":1,\"transfers\":1}', 1, 1, 1)",
    "INSERT INTO entitlement (user_id, entitlement_id, source, order_id, title_id, state, policy, devices, transfers, created_at, ended_at)
       VALUES ('usr-1', 'ent-2', 'order', 'ord-2', 'u', 'ended', '{}', 0, 0, 1, 2)",
    "INSERT INTO user_device (user_id, device_id, sign_key, seal_key, secret, created_at)
       VALUES ('usr-1', 'dev-1', CAST('e' AS BYTEA), CAST('e' AS BYTEA), CAST('e' AS BYTEA), 1)",
    "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at)
       VALUES ('usr-1', 'lic-1', 'ent-1', 't', 'dev-1', 'registered', 1, 1)",
    "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at, ended_at)
       VALUES ('usr-1', 'lic-2', 'ent-2', 'u', 'dev-1', 'ended', 0, 1, 2)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 1, 1, 'x', 'order.placed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 2, 1, 'x', 'order.placed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 3, 1, 'x', 'license.transferred', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// The tables that hold it, those first that name others.
pub const TABLES: &[&str] = &["license", "balance_entry", "balance", "orders"];

const BALANCE: &str = "a balance is what its entries come to";
const CHARGE: &str = "an order that is paid from a balance took its price from there once, and put it back exactly if it was given back";
const TIMES: &str = "an order is paid exactly when it has a time of payment, and ended when it has a time of its end";
const ENTITLEMENT: &str = "an order has one entitlement, which is active until the order ends; one for a copy has none";
const SELECTED: &str = "a supplement is selected for a user once, with its record in the audit log";
const ORDER: &str = "an entitlement that is neither a medium's nor selected has an order behind it";
const DEVICES: &str = "an entitlement counts as many devices as have licenses by it";
const TERMS: &str = "an entitlement has no more devices and transfers than its terms allow";
const HELD: &str =
    "a license that has not ended is at a registered device of its user, or at one that took another's place and is expected";
const BEHIND: &str = "a license that has not ended is by an active entitlement to its title";
const ONE: &str = "one entitlement has one license at a device, and one transaction ID names one license";
const STATES: &str = "a license has a transaction ID once it is issued, keys exactly while they are out, and times as its state says";
const RECORDED: &str = "no license is fetched or moved without its record in the audit log";

/// What is done to it, and which sentence it breaks.
pub const PLANTED: &[(&[&str], &str)] = &[
    (&["UPDATE balance SET amount = 301"], BALANCE),
    (&["DELETE FROM balance_entry WHERE entry_id = '4'"], BALANCE),
    (&["DELETE FROM balance"], BALANCE),
    (&["UPDATE balance_entry SET amount = -100 WHERE entry_id = '2'"], CHARGE),
    (&["UPDATE orders SET reason = 'chargeback' WHERE order_id = 'ord-2'"], CHARGE),
    (&["UPDATE orders SET payment = 'invoice' WHERE order_id = 'ord-1'"], CHARGE),
    (
        &[
            "INSERT INTO balance_entry (user_id, entry_id, currency, amount, reason, order_id, actor, created_at)
               VALUES ('usr-1', '5', 'EUR', 200, 'refund', 'ord-2', 'x', 1)",
            "UPDATE balance SET amount = 500",
        ],
        CHARGE,
    ),
    (&["UPDATE orders SET paid_at = NULL WHERE order_id = 'ord-1'"], TIMES),
    (&["UPDATE orders SET state = 'due' WHERE order_id = 'ord-1'"], TIMES),
    (&["UPDATE orders SET ended_at = NULL"], TIMES),
    (&["UPDATE orders SET kind = 'trial' WHERE order_id = 'ord-1'"], TIMES),
    // Nothing but this index keeps two processes from it, so it goes first.
    (&["DROP INDEX orders_trial", "UPDATE orders SET kind = 'trial', title_id = 't'"], "a user tries a title once"),
    (&["UPDATE entitlement SET state = 'active' WHERE entitlement_id = 'ent-2'"], ENTITLEMENT),
    (&["UPDATE entitlement SET state = 'ended' WHERE entitlement_id = 'ent-1'"], ENTITLEMENT),
    (&["UPDATE entitlement SET order_id = 'ord-1' WHERE entitlement_id = 'ent-2'"], ENTITLEMENT),
    (&["UPDATE entitlement SET order_id = 'ord-9' WHERE entitlement_id = 'ent-2'"], ORDER),
    (&["UPDATE entitlement SET source = 'gift' WHERE source = 'medium'"], ORDER),
    (
        &["INSERT INTO entitlement (user_id, entitlement_id, source, title_id, state, policy, devices, transfers, created_at, ended_at)
             VALUES ('usr-1', 'ent-3', 'selection', 'u', 'ended', '{}', 0, 0, 1, 2)"],
        SELECTED,
    ),
    (
        &[
            "INSERT INTO entitlement (user_id, entitlement_id, source, title_id, state, policy, devices, transfers, created_at, ended_at)
               VALUES ('usr-1', 'ent-3', 'selection', 'u', 'ended', '{}', 0, 0, 1, 2), ('usr-1', 'ent-4', 'selection', 'u', 'ended', '{}', 0, 0, 1, 2)",
            "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
               VALUES ('usr-1', 91, 1, 'x', 'selection.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
                      ('usr-1', 92, 1, 'x', 'selection.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
        ],
        SELECTED,
    ),
    (&["UPDATE entitlement SET devices = 0 WHERE source = 'order'"], DEVICES),
    (&["UPDATE license SET state = 'settled'"], DEVICES),
    (
        &[
            "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at)
               VALUES ('usr-1', 'lic-3', 'ent-1', 't', 'dev-2', 'registered', 0, 1)",
            "UPDATE entitlement SET devices = 2 WHERE entitlement_id = 'ent-1'",
        ],
        TERMS,
    ),
    (&["UPDATE entitlement SET transfers = 2 WHERE entitlement_id = 'ent-1'"], TERMS),
    (&["UPDATE entitlement SET policy = NULL WHERE entitlement_id = 'ent-1'"], TERMS),
    (&["DELETE FROM audit WHERE family = 'usr-1' AND seq = 2"], "nothing is ordered without its record in the audit log"),
    (&["UPDATE license SET device_id = 'dev-9' WHERE license_id = 'lic-1'"], HELD),
    (&["DELETE FROM user_device WHERE user_id = 'usr-1'"], HELD),
    (&["UPDATE license SET entitlement_id = 'ent-2' WHERE license_id <> 'lic-7'"], BEHIND),
    (&["UPDATE license SET title_id = 'u' WHERE license_id = 'lic-1'"], BEHIND),
    // Nothing but these indexes keeps two processes from it, so they go first.
    (
        &[
            "DROP INDEX license_at_device",
            "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at)
               VALUES ('usr-1', 'lic-3', 'ent-1', 't', 'dev-1', 'registered', 0, 1)",
        ],
        ONE,
    ),
    (&["DROP INDEX license_transaction", "UPDATE license SET transaction_id = 'txn-1'"], ONE),
    (&["UPDATE license SET state = 'issued' WHERE license_id = 'lic-1'"], STATES),
    (&["UPDATE license SET transaction_id = 'txn-1' WHERE license_id = 'lic-1'"], STATES),
    (&["UPDATE license SET library_key = CAST('k' AS BYTEA) WHERE license_id = 'lic-2'"], STATES),
    (&["UPDATE license SET ended_at = NULL"], STATES),
    (&["UPDATE license SET settled_at = 1 WHERE license_id = 'lic-1'"], STATES),
    (&["UPDATE audit SET event = 'other' WHERE event = 'license.transferred'"], RECORDED),
    (
        &["UPDATE license SET state = 'delivered', transaction_id = 'txn-1', generation = 1, grant_id = 'grt-2', holder_id = 'key-1',
             library_key = CAST('k' AS BYTEA), lease_until = 1, issued_at = 1 WHERE license_id = 'lic-1'"],
        RECORDED,
    ),
];
