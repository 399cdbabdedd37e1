//! Invariants of licenses: each at one registered device of its user, by a right that stands, with keys only while they are out.

/// As those of [`super`]: each query answers with what breaks the sentence beside it.
pub(super) const INVARIANTS: &[(&str, &str)] = &[
    (
        "a license that has not ended is at a registered device of its user, or at one that took another's place and is expected",
        "SELECT l.license_id FROM license l WHERE l.state <> 'ended' AND NOT EXISTS (SELECT 1 FROM user_device d
           WHERE d.user_id = l.user_id AND d.device_id = l.device_id)
           AND NOT (l.grant_id IS NULL AND EXISTS (SELECT 1 FROM repair r JOIN device_info i ON i.user_id = r.user_id AND i.device_id = r.new_id
             WHERE r.user_id = l.user_id AND r.new_id = l.device_id AND r.kind = 'device' AND i.retired_at IS NULL)) LIMIT $1",
    ),
    (
        "a license that has not ended is by an active entitlement to its title",
        "SELECT l.license_id FROM license l WHERE l.state <> 'ended' AND NOT EXISTS (SELECT 1 FROM entitlement e
           WHERE e.user_id = l.user_id AND e.entitlement_id = l.entitlement_id AND e.title_id = l.title_id AND e.state = 'active') LIMIT $1",
    ),
    (
        "one entitlement has one license at a device, and one transaction ID names one license",
        "SELECT user_id FROM license WHERE state <> 'ended' GROUP BY user_id, entitlement_id, device_id HAVING COUNT(*) > 1
         UNION ALL SELECT user_id FROM license WHERE transaction_id IS NOT NULL GROUP BY user_id, transaction_id HAVING COUNT(*) > 1 LIMIT $1",
    ),
    (
        "a license has a transaction ID once it is issued, keys exactly while they are out, and times as its state says",
        "SELECT license_id FROM license WHERE state NOT IN ('registered', 'issued', 'delivered', 'settled', 'ended')
           OR (state = 'registered' AND transaction_id IS NOT NULL)
           OR (state IN ('issued', 'delivered', 'settled') AND (transaction_id IS NULL OR generation IS NULL))
           OR (state IN ('delivered', 'settled')) <> (grant_id IS NOT NULL) OR (grant_id IS NULL) <> (library_key IS NULL)
           OR (grant_id IS NOT NULL AND (lease_until IS NULL OR holder_id IS NULL OR issued_at IS NULL))
           OR (state = 'settled' AND settled_at IS NULL) OR (state IN ('registered', 'issued', 'delivered') AND settled_at IS NOT NULL)
           OR (state = 'ended') <> (ended_at IS NOT NULL) LIMIT $1",
    ),
    (
        "no license is fetched or moved without its record in the audit log",
        "SELECT l.user_id FROM license l WHERE l.grant_id IS NOT NULL GROUP BY l.user_id HAVING COUNT(*) > COALESCE((SELECT COUNT(*)
           FROM audit a WHERE a.family = l.user_id AND a.event = 'license.delivered' GROUP BY a.family), 0)
         UNION ALL SELECT l.user_id FROM license l WHERE l.moves > 0 AND NOT EXISTS (SELECT 1 FROM audit a
           WHERE a.family = l.user_id AND a.event IN ('license.transferred', 'user.exchanged')) LIMIT $1",
    ),
];
