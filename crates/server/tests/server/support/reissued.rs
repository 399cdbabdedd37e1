//! What the auditor holds replaced cards to: rows as they should be, and what is done to them that breaks each sentence. `{card}` is a
//! card's ID, and `{dead}` the same as a holder's.

/// A card of `usr-2` that was asked for and replaced; and a request that waits.
pub const REISSUED: &[&str] = &[
    "INSERT INTO holder (holder_id, kind, user_id, state, created_at) VALUES ('{dead}', 'card', 'usr-2', 'dead', 1)",
    "INSERT INTO repair (user_id, repair_id, kind, old_id, new_id, reason, overridden, actor, created_at)
       VALUES ('usr-2', 'rep-2', 'card', '{card}', 'crd-2', 'lost', 0, 'x', 5)",
    "UPDATE user_entry SET generation = 1 WHERE user_id = 'usr-2'",
    "INSERT INTO reissue (user_id, reissue_id, state, holder_id, sign_key, seal_key, actor, created_at, decided_by, decided_at, reason, repair_id)
       VALUES ('usr-2', 'rei-1', 'done', 'key-2', CAST('s' AS BYTEA), CAST('s' AS BYTEA), 'x', 4, 'x', 5, 'lost', 'rep-2')",
    "INSERT INTO reissue (user_id, reissue_id, state, actor, created_at) VALUES ('usr-2', 'rei-2', 'waiting', 'x', 6)",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-2', 201, 4, 'x', 'card.reissue_asked', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-2', 202, 5, 'x', 'card.replaced', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-2', 203, 6, 'x', 'card.reissue_asked', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// The tables that hold it and nothing else does.
pub const TABLES: &[&str] = &["reissue"];

const STATES: &str = "a request for a card is decided as its state says, and done exactly when a repair has carried it out";
const ONE: &str = "an entry has one request for a card that waits, at most";
const RECORDED: &str = "no card is asked for or replaced without its record in the audit log";
const DEAD: &str = "a card that was replaced is in no entry, and dead or about to be";

/// What is done to it, and which sentence it breaks.
pub const PLANTED: &[(&[&str], &str)] = &[
    (&["UPDATE reissue SET state = 'lost' WHERE reissue_id = 'rei-2'"], STATES),
    (&["UPDATE reissue SET repair_id = NULL WHERE reissue_id = 'rei-1'"], STATES),
    (&["UPDATE reissue SET repair_id = 'rep-1' WHERE reissue_id = 'rei-1'"], STATES),
    (&["UPDATE reissue SET decided_at = 7 WHERE reissue_id = 'rei-2'"], STATES),
    (&["UPDATE reissue SET state = 'declined' WHERE reissue_id = 'rei-2'"], STATES),
    (&["UPDATE reissue SET holder_id = NULL WHERE reissue_id = 'rei-1'"], STATES),
    // Nothing but this index keeps two processes from it, so it goes first.
    (
        &[
            "DROP INDEX reissue_open",
            "INSERT INTO reissue (user_id, reissue_id, state, actor, created_at) VALUES ('usr-2', 'rei-3', 'waiting', 'x', 6)",
        ],
        ONE,
    ),
    (&["UPDATE audit SET event = 'x' WHERE event = 'card.replaced'"], RECORDED),
    (&["DELETE FROM audit WHERE family = 'usr-2' AND seq = 203"], RECORDED),
    (&["UPDATE holder SET state = 'registered' WHERE state = 'dead'"], DEAD),
    (&["UPDATE user_entry SET holder_id = '{dead}' WHERE user_id = 'usr-2'"], DEAD),
    (&["UPDATE repair SET old_id = 'crd-x' WHERE kind = 'card'"], DEAD),
];
