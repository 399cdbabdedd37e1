//! What the auditor holds exchanges through gateways to: rows as they should be, and what is done to them that breaks each sentence.

/// A gateway that has sold `usr-1` an order, and a copy of a medium whose key is paid for; and a copy that was undone.
pub const CHARGED: &[&str] = &[
    "INSERT INTO gateway (gateway_id, name, share, every_copy, created_at) VALUES ('gwy-1', 'G', 3000, 0, 1)",
    "INSERT INTO gateway_closed_month (gateway_id, period, closed_at, actor) VALUES ('gwy-1', '1990-01', 9, 'x')",
    "INSERT INTO title (title_id, publisher_id, name, kind, created_at) VALUES ('v', 'p', 'V', 'game', 1)",
    "INSERT INTO orders (user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, paid_at, exchange_id)
       VALUES ('usr-1', 'ord-7', 'v', 'dev-1', 'purchase', 'EUR', 200, 'gateway', 'paid', 'x', 1, 1, 'x-1')",
    "INSERT INTO entitlement (user_id, entitlement_id, source, order_id, title_id, state, policy, devices, transfers, created_at)
       VALUES ('usr-1', 'ent-7', 'order', 'ord-7', 'v', 'active', '{\"devices\":1,\"transfers\":1}', 1, 0, 1)",
    "INSERT INTO license (user_id, license_id, entitlement_id, title_id, device_id, state, moves, created_at)
       VALUES ('usr-1', 'lic-7', 'ent-7', 'v', 'dev-1', 'registered', 0, 1)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 201, 1, 'x', 'order.placed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, order_id, title_id, title_name, currency, amount, operator_part,
                                   state, created_at, expires_at, began_at, decided_at, changed_at)
       VALUES ('x-1', 'gwy-1', CAST('d' AS BYTEA), 'order', 'usr-1', 'ord-7', 'v', 'V', 'EUR', 200, 140, 'committed', 1, 9, 2, 3, 3)",
    "INSERT INTO batch (batch_id, publisher_id, name, origin, count, rights, claim_key, created_at, paid_on_copy)
       VALUES ('bat-7', 'p', '', 'pressed', 10, '{\"copies\":2}', CAST('k' AS BYTEA), 1, 1)",
    "INSERT INTO batch_title (batch_id, position, title_id, version) VALUES ('bat-7', 0, 't', '1')",
    "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, copies_freed, copies_lost, epoch, created_at)
       VALUES ('med-7', 'bat-7', 1, 'claimed', 1, 1, 1, 1, 1)",
    "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at)
       VALUES ('med-7', 'grt-6', 1, 't', 1, 'usr-1', 'key-1', 'card', 'revoked', CAST('k' AS BYTEA), 1)",
    "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at, exchange_id)
       VALUES ('med-7', 'grt-7', 2, 't', 1, 'usr-1', 'key-1', 'card', 'delivered', CAST('k' AS BYTEA), 1, 'x-2')",
    "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at, ended_at)
       VALUES ('usr-1', 'grt-6', 'medium', 'med-7', 't', 'ended', 0, 0, 1, 5)",
    "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at)
       VALUES ('usr-1', 'grt-7', 'medium', 'med-7', 't', 'active', 1, 0, 1)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('med-7', 1, 1, 'x', 'claim.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
              ('med-7', 2, 1, 'x', 'medium.freed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
              ('med-7', 3, 1, 'x', 'claim.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, grants, title_id, title_name, currency, amount, operator_part,
                                   state, created_at, expires_at, began_at, decided_at, changed_at)
       VALUES ('x-2', 'gwy-1', CAST('d' AS BYTEA), 'claim', 'med-7', '[\"grt-7\"]', 't', 'T', 'EUR', 200, 140, 'committed', 1, 9, 2, 3, 3)",
    "INSERT INTO gateway_exchange (exchange_id, gateway_id, digest, operation, subject, grants, title_id, title_name, currency, amount, operator_part,
                                   state, created_at, expires_at, began_at, decided_at, refunded_at, changed_at)
       VALUES ('x-3', 'gwy-1', CAST('d' AS BYTEA), 'claim', 'med-7', '[\"grt-6\"]', 't', 'T', 'EUR', 200, 140, 'refunded', 1, 9, 2, 3, 4, 4)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('x-1', 1, 1, 'x', 'exchange.committed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
              ('x-2', 1, 1, 'x', 'exchange.committed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
              ('x-3', 1, 1, 'x', 'exchange.committed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA)),
              ('x-3', 2, 1, 'x', 'exchange.refunded', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO orders (user_id, order_id, title_id, device_id, kind, currency, amount, payment, state, actor, created_at, medium_id, request_id,
                         request_digest)
       VALUES ('usr-1', 'ord-78', 't', 'dev-1', 'copy', 'EUR', 200, 'invoice', 'due', 'x', 1, 'med-78', 'req-78', CAST('d' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 202, 1, 'x', 'order.placed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, copies_freed, copies_lost, epoch, created_at)
       VALUES ('med-78', 'bat-7', 2, 'claimed', 1, 0, 0, 1, 1)",
    "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, state, library_key, issued_at, order_id)
       VALUES ('med-78', 'grt-78', 1, 't', 1, 'usr-1', 'key-1', 'card', 'delivered', CAST('k' AS BYTEA), 1, 'ord-78')",
    "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at)
       VALUES ('usr-1', 'grt-78', 'medium', 'med-78', 't', 'active', 1, 0, 1)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('med-78', 1, 1, 'x', 'claim.granted', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// The tables that hold it and nothing else does.
pub const TABLES: &[&str] = &["gateway_exchange", "gateway_settlement", "gateway_closed_month", "gateway"];

const STEPS: &str = "an exchange has what came of it exactly when it was carried out, and times as its state says";
const RECORDED: &str = "no exchange is decided without its record in the audit log";
const PAYMENT: &str = "an order is paid through a gateway exactly when it names an exchange, which no other order does";
const WHOLE: &str = "a copy is paid for as a whole, and an exchange or an order pays for one at a time";
const KEY: &str = "a key that is paid for when it is copied is out for a charge";
const LOST: &str = "a medium has lost no more copies than were taken back from it";
const SPLIT: &str = "an exchange is split by the share that it was made under";
const CLOSED: &str = "a month that is settled is closed";
const FROZEN: &str = "a month that is settled comes to what its exchanges come to";
const ORDER_OF: &str = "an order names an exchange that was begun and not refused";
const COPY_OF: &str = "a copy names an exchange that was begun and not refused";
const COPY_ORDER: &str = "an order is for a copy exactly when it names medium and request, and open only then";
const ORDERED: &str = "a copy names an order of its user's for it that stands, or is about to be told that it has ended";
const GRANTED: &str = "an order for a copy that is paid or due is named by what was granted for it";
const NAMED: &str = "an exchange that was carried out is named by what came of it, at its price, or what came of it is being undone";
const ENDED: &str = "nothing is live that was paid for by an exchange that is refunded";
const OWED: &str = "an exchange is refunded where its order has ended, or about to be";

/// What is done to it, and which sentence it breaks.
pub const PLANTED: &[(&[&str], &str)] = &[
    (&["UPDATE gateway_exchange SET state = 'aborted' WHERE exchange_id = 'x-1'"], STEPS),
    (&["UPDATE gateway_exchange SET began_at = NULL WHERE exchange_id = 'x-2'"], STEPS),
    (&["UPDATE gateway_exchange SET decided_at = NULL WHERE exchange_id = 'x-1'"], STEPS),
    (&["UPDATE gateway_exchange SET refunded_at = NULL WHERE exchange_id = 'x-3'"], STEPS),
    (&["UPDATE gateway_exchange SET order_id = NULL WHERE exchange_id = 'x-1'"], STEPS),
    (&["UPDATE audit SET event = 'other' WHERE family = 'x-2'"], RECORDED),
    (&["UPDATE audit SET event = 'other' WHERE event = 'exchange.refunded'"], RECORDED),
    (&["UPDATE orders SET exchange_id = NULL WHERE order_id = 'ord-7'"], PAYMENT),
    (&["UPDATE orders SET payment = 'invoice' WHERE order_id = 'ord-7'"], PAYMENT),
    (&["UPDATE orders SET exchange_id = 'x-1', payment = 'gateway' WHERE order_id = 'ord-1'"], PAYMENT),
    (&["UPDATE grants SET copy = 1 WHERE grant_id = 'grt-7'"], WHOLE),
    (&["UPDATE grants SET exchange_id = NULL WHERE grant_id = 'grt-7'"], KEY),
    (&["UPDATE grants SET order_id = NULL WHERE grant_id = 'grt-78'"], KEY),
    (&["UPDATE grants SET order_id = NULL WHERE grant_id = 'grt-78'"], GRANTED),
    (&["UPDATE grants SET order_id = 'ord-78' WHERE grant_id = 'grt-7'"], WHOLE),
    (&["UPDATE grants SET order_id = 'ord-1' WHERE grant_id = 'grt-78'"], ORDERED),
    (&["UPDATE orders SET state = 'ended', ended_at = 4, reason = 'refund' WHERE order_id = 'ord-78'"], ORDERED),
    (&["UPDATE orders SET medium_id = 'med-7' WHERE order_id = 'ord-78'"], ORDERED),
    (&["UPDATE orders SET request_id = NULL WHERE order_id = 'ord-78'"], COPY_ORDER),
    (&["UPDATE orders SET state = 'open' WHERE order_id = 'ord-7'"], COPY_ORDER),
    (&["UPDATE medium SET copies_lost = 2 WHERE medium_id = 'med-7'"], LOST),
    (&["UPDATE gateway_exchange SET share = 4000 WHERE exchange_id = 'x-1'"], SPLIT),
    (
        &["INSERT INTO gateway_settlement (gateway_id, period, currency, charges, refunds, amount, share, closed_at, actor)
          VALUES ('gwy-1', '1991-01', 'EUR', 0, 0, 0, 0, 9, 'x')"],
        CLOSED,
    ),
    (
        &["INSERT INTO gateway_settlement (gateway_id, period, currency, charges, refunds, amount, share, closed_at, actor)
          VALUES ('gwy-1', '1990-01', 'EUR', 1, 0, 200, 60, 9, 'x')"],
        FROZEN,
    ),
    (&["INSERT INTO gateway_closed_month (gateway_id, period, closed_at, actor) VALUES ('gwy-1', '1970-01', 9, 'x')"], FROZEN),
    (&["UPDATE orders SET exchange_id = 'x-9' WHERE order_id = 'ord-7'"], ORDER_OF),
    (&["UPDATE gateway_exchange SET state = 'refused', order_id = NULL WHERE exchange_id = 'x-1'"], ORDER_OF),
    (&["UPDATE grants SET exchange_id = 'x-9' WHERE grant_id = 'grt-7'"], COPY_OF),
    (&["UPDATE gateway_exchange SET state = 'refused', grants = NULL WHERE exchange_id = 'x-2'"], COPY_OF),
    (&["UPDATE orders SET amount = 199 WHERE order_id = 'ord-7'"], NAMED),
    (&["UPDATE gateway_exchange SET order_id = 'ord-1' WHERE exchange_id = 'x-1'"], NAMED),
    (&["UPDATE grants SET exchange_id = 'x-1' WHERE grant_id = 'grt-7'"], NAMED),
    (&["UPDATE gateway_exchange SET state = 'refunded', refunded_at = 4 WHERE exchange_id = 'x-1'"], ENDED),
    (&["UPDATE gateway_exchange SET state = 'refunded', refunded_at = 4 WHERE exchange_id = 'x-2'"], ENDED),
    (&["UPDATE grants SET state = 'delivered' WHERE grant_id = 'grt-6'"], ENDED),
    (&["UPDATE orders SET state = 'ended', ended_at = 4, reason = 'refund' WHERE order_id = 'ord-7'"], OWED),
];
