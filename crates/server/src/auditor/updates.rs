//! Invariants of what devices have said they hold (A6).

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[(
    "no release is noted at a device without its record in the audit log",
    "SELECT s.user_id FROM status s WHERE s.version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit a
       WHERE a.family = s.user_id AND a.event = 'status.changed') LIMIT $1",
)];
