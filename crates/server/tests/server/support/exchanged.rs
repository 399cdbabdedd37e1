//! What the auditor holds repairs to: rows as they should be, and what is done to them that breaks each sentence.

/// A device of a user, `usr-9`, that was exchanged, with the copy of a medium that was at it and is taken back.
pub const EXCHANGED: &[&str] = &[
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('key-9', 'card', 'usr-9', 'registered', 1)",
    "INSERT INTO user_entry (user_id, holder_id, holder_kind, sign_key, seal_key, state, created_at, generation)
       VALUES ('usr-9', 'key-9', 'card', CAST('s' AS BYTEA), CAST('s' AS BYTEA), 'active', 1, 1)",
    "INSERT INTO device_info (user_id, device_id, created_by, created_at, retired_at) VALUES ('usr-9', 'dev-8', 'x', 1, 5)",
    "INSERT INTO repair (user_id, repair_id, kind, old_id, new_id, reason, overridden, actor, created_at)
       VALUES ('usr-9', 'rep-1', 'device', 'dev-8', 'dev-1', 'broken', 0, 'x', 5)",
    "INSERT INTO medium (medium_id, batch_id, serial, state, copies_claimed, copies_freed, epoch, created_at)
       VALUES ('med-2', 'bat-1', 2, 'unclaimed', 0, 1, 1, 1)",
    "INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, device_id, state, library_key, issued_at)
       VALUES ('med-2', 'grt-8', 1, 't', 1, 'usr-9', 'key-9', 'card', 'dev-8', 'revoked', CAST('k' AS BYTEA), 1)",
    "INSERT INTO entitlement (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at, ended_at)
       VALUES ('usr-9', 'grt-8', 'medium', 'med-2', 't', 'ended', 0, 0, 1, 5)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-9', 101, 5, 'x', 'user.exchanged', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('med-2', 1, 1, 'x', 'claim.granted', '{\"grants\":[\"grt-8\"]}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('med-2', 2, 5, 'x', 'medium.freed', '{\"grants\":[\"grt-8\"]}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// The tables that hold it and nothing else does.
pub const TABLES: &[&str] = &["repair", "device_info"];

const GENERATION: &str = "an entry's generation is the number of its repairs";
const RECORDED: &str = "nothing is exchanged without its record in the audit log";
const FREED: &str = "a medium counts as many freed copies as were taken back, with a record of that";
const WHOLE: &str = "a copy is taken back whole";
const OUT: &str = "what was exchanged is not in the entry, unless it was taken in again since";
const GIVEN: &str = "the keys of a grant that was taken back are given to nobody any more";
const BACK: &str = "what a user owns no more is taken back at its medium, or about to be";
const OWNED: &str = "what was taken back at its medium is nobody's any more";
const KEYS: &str = "no key is out without its record in the audit log";

/// What is done to it, and which sentence it breaks.
pub const PLANTED: &[(&[&str], &str)] = &[
    (&["UPDATE user_entry SET generation = 2 WHERE user_id = 'usr-9'"], GENERATION),
    (&["DELETE FROM repair WHERE user_id = 'usr-9'"], GENERATION),
    (&["UPDATE audit SET event = 'x' WHERE event = 'user.exchanged'"], RECORDED),
    (&["UPDATE medium SET copies_freed = 0"], FREED),
    (&["UPDATE audit SET event = 'x' WHERE event = 'medium.freed'"], FREED),
    (&["UPDATE medium SET copies_freed = 2 WHERE medium_id = 'med-2'"], KEYS),
    (
        &["INSERT INTO grants (medium_id, grant_id, copy, title_id, generation, user_id, holder_id, holder_kind, device_id, state, library_key, issued_at)
             VALUES ('med-2', 'grt-7', 1, 'u', 1, 'usr-9', 'key-9', 'card', 'dev-8', 'delivered', CAST('k' AS BYTEA), 1)"],
        WHOLE,
    ),
    (
        &["INSERT INTO user_device (user_id, device_id, sign_key, seal_key, secret, created_at)
             VALUES ('usr-9', 'dev-8', CAST('e' AS BYTEA), CAST('e' AS BYTEA), CAST('e' AS BYTEA), 1)"],
        OUT,
    ),
    (
        &["INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
             VALUES ('med-2', 3, 6, 'x', 'claim.repeated', '{\"grants\":[\"grt-8\"]}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))"],
        GIVEN,
    ),
    (
        &["INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
             VALUES ('med-2', 3, 6, 'x', 'library.healed', '{\"grant\":\"grt-8\"}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))"],
        GIVEN,
    ),
    (&["UPDATE grants SET state = 'delivered' WHERE grant_id = 'grt-8'"], BACK),
    (&["UPDATE entitlement SET state = 'active', ended_at = NULL WHERE entitlement_id = 'grt-8'"], OWNED),
];
