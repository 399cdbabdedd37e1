//! What the auditor holds uploads to: rows as they should be, and what is done to them that breaks each sentence.

/// What `usr-1` has handed in of one title: a version, and one that is under way.
pub const HANDED_IN: &[&str] = &[
    "INSERT INTO save_key (user_id, title_id, wrapped, created_at) VALUES ('usr-1', 't', CAST('k' AS BYTEA), 1)",
    "INSERT INTO upload_usage (user_id, title_id, bytes) VALUES ('usr-1', 't', 30)",
    "INSERT INTO upload (user_id, upload_id, title_id, slot, version, device_id, object, length, received, state, created_at, expires_at, completed_at)
       VALUES ('usr-1', 'upl-1', 't', 'auto', 1, 'dev-1', 'o', 10, 10, 'complete', 1, 9, 2)",
    "INSERT INTO upload (user_id, upload_id, title_id, slot, version, device_id, object, length, received, state, created_at, expires_at)
       VALUES ('usr-1', 'upl-2', 't', 'auto', 2, 'dev-1', 'o', 20, 5, 'open', 1, 9)",
    "INSERT INTO upload_part (user_id, upload_id, position, length, object) VALUES ('usr-1', 'upl-2', 0, 5, 'o')",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 4, 1, 'x', 'save_key.sealed', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
    "INSERT INTO audit (family, seq, at, actor, event, detail, prev, hash)
       VALUES ('usr-1', 5, 1, 'x', 'upload.complete', '{}', CAST('p' AS BYTEA), CAST('h' AS BYTEA))",
];

/// Where that lies, in the order in which it can be taken away.
pub const TABLES: &[&str] = &["upload_part", "upload", "upload_usage", "save_key"];

const USAGE: &str = "what is counted of a user and title is what is held and under way";
const PARTS: &str = "an open upload has received its parts and no more, and less than all of it";
const VERSION: &str = "an upload is a version exactly when it has a time of its completion and all its bytes";
const ONCE: &str = "a number of a slot is used once";
const RECORD: &str = "nothing is handed in without its record in the audit log";
const KEY: &str = "no save key is drawn without its record in the audit log";

/// What is done to it, and which sentence it breaks.
pub const PLANTED: &[(&[&str], &str)] = &[
    (&["UPDATE upload_usage SET bytes = 31"], USAGE),
    (&["DELETE FROM upload_usage"], USAGE),
    (&["UPDATE upload_part SET length = 6"], PARTS),
    (&["UPDATE upload_part SET length = 20", "UPDATE upload SET received = 20 WHERE upload_id = 'upl-2'"], PARTS),
    (&["UPDATE upload SET completed_at = NULL"], VERSION),
    (&["UPDATE upload SET received = 9 WHERE upload_id = 'upl-1'"], VERSION),
    (&["UPDATE upload SET state = 'lost' WHERE upload_id = 'upl-1'"], VERSION),
    (&["UPDATE upload SET state = 'removed', completed_at = 3, version = 1 WHERE upload_id = 'upl-2'"], ONCE),
    (&["DELETE FROM audit WHERE event = 'upload.complete'"], RECORD),
    (&["DELETE FROM audit WHERE event = 'save_key.sealed'"], KEY),
];
