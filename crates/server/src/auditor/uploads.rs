//! Invariants of what users hand in (A4), all of it in the user's family.

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[
    (
        "what is counted of a user and title is what is held and under way",
        "SELECT g.user_id FROM upload_usage g WHERE g.bytes <> COALESCE((SELECT SUM(u.length) FROM upload u
           WHERE u.user_id = g.user_id AND u.title_id = g.title_id AND u.state <> 'removed' GROUP BY u.user_id), 0)
         UNION ALL SELECT u.user_id FROM upload u WHERE u.state <> 'removed' AND NOT EXISTS (SELECT 1 FROM upload_usage g
           WHERE g.user_id = u.user_id AND g.title_id = u.title_id) LIMIT $1",
    ),
    (
        "an open upload has received its parts and no more, and less than all of it",
        "SELECT u.upload_id FROM upload u WHERE u.state = 'open' AND (u.received >= u.length OR u.received <> COALESCE((SELECT SUM(p.length)
           FROM upload_part p WHERE p.user_id = u.user_id AND p.upload_id = u.upload_id GROUP BY p.user_id), 0)) LIMIT $1",
    ),
    (
        "an upload is a version exactly when it has a time of its completion and all its bytes",
        "SELECT upload_id FROM upload WHERE (state = 'complete' AND (completed_at IS NULL OR received <> length))
           OR (state = 'open' AND completed_at IS NOT NULL) OR state NOT IN ('open', 'complete', 'removed') LIMIT $1",
    ),
    (
        "a number of a slot is used once",
        "SELECT user_id FROM upload WHERE completed_at IS NOT NULL GROUP BY user_id, title_id, slot, version HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "nothing is handed in without its record in the audit log",
        "SELECT u.user_id FROM upload u WHERE u.completed_at IS NOT NULL GROUP BY u.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*)
           FROM audit a WHERE a.family = u.user_id AND a.event = 'upload.complete' GROUP BY a.family), 0) LIMIT $1",
    ),
    (
        "no save key is drawn without its record in the audit log",
        "SELECT k.user_id FROM save_key k GROUP BY k.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = k.user_id AND a.event = 'save_key.sealed' GROUP BY a.family), 0) LIMIT $1",
    ),
];
