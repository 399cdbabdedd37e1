//! Invariants of people whose data was deleted on request.

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[
    (
        "of an erased person nothing is written down",
        "SELECT user_id FROM user_info WHERE erased_at IS NOT NULL AND (name <> '' OR email IS NOT NULL OR address IS NOT NULL) LIMIT $1",
    ),
    (
        "nobody is erased without its record in the audit log",
        "SELECT i.user_id FROM user_info i WHERE i.erased_at IS NOT NULL AND COALESCE((SELECT COUNT(*) FROM audit a
           WHERE a.family = i.user_id AND a.event = 'person.erased' GROUP BY a.family), 0) = 0 LIMIT $1",
    ),
];
