-- Repair, reissue (C14, C15), those who work at the console, webhooks.

-- Raised by every repair and reissue: a card that knows a lower one asks what it still holds.
ALTER TABLE user_entry ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

-- Copies that were taken back, so that no number of a copy is used twice.
ALTER TABLE medium ADD COLUMN copies_freed INTEGER NOT NULL DEFAULT 0;

-- What the grant of an entitlement from a medium is bound to, once it is known (`bound`): what is told from now on says so.
ALTER TABLE entitlement ADD COLUMN bound INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entitlement ADD COLUMN device_id TEXT;
ALTER TABLE entitlement ADD COLUMN drive_id TEXT;

-- What was exchanged in an entry: kind is device, drive or card. No new one: it was taken out. `sign_key`: what an old device is
-- recognised by when it turns up again; none where it had never registered.
CREATE TABLE repair (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  repair_id  TEXT NOT NULL,
  kind       TEXT NOT NULL,
  old_id     TEXT NOT NULL,
  new_id     TEXT,
  reason     TEXT NOT NULL,
  reference  TEXT,
  overridden INTEGER NOT NULL,
  sign_key   BLOB,
  actor      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, repair_id)
) STRICT, WITHOUT ROWID;

-- Finds the repair that took a device, drive or card out, when it turns up again.
CREATE INDEX repair_by_old ON repair (old_id);

-- A new card that a user has asked for. `state` is waiting, done (by the repair that is named) or declined. Without a card: the repair
-- centre makes one.
CREATE TABLE reissue (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  reissue_id TEXT NOT NULL,
  state      TEXT NOT NULL,
  holder_id  TEXT,
  sign_key   BLOB,
  seal_key   BLOB,
  contact    TEXT,
  actor      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  decided_by TEXT,
  decided_at INTEGER,
  reason     TEXT,
  repair_id  TEXT,
  PRIMARY KEY (user_id, reissue_id)
) STRICT, WITHOUT ROWID;

-- One open request of an entry; and what waits, oldest first.
CREATE UNIQUE INDEX reissue_open ON reissue (user_id) WHERE state = 'waiting';
CREATE INDEX reissue_waiting ON reissue (created_at, reissue_id) WHERE state = 'waiting';

-- What a card was asked for, whoever asked.
CREATE INDEX reissue_by_holder ON reissue (holder_id) WHERE holder_id IS NOT NULL;

-- What a user proves with, when the card is lost, that the entry is theirs; and wrong ones since the last right one.
CREATE TABLE entry_recovery (
  user_id      TEXT NOT NULL PRIMARY KEY REFERENCES user_entry (user_id),
  hash         BLOB NOT NULL,
  created_at   INTEGER NOT NULL,
  failures     INTEGER NOT NULL,
  locked_until INTEGER
) STRICT, WITHOUT ROWID;

-- Who works at the console. They sign in with an account (`account`, `session`, `passkey`), under an ID that is no user entry's.
CREATE TABLE staff (
  user_id    TEXT NOT NULL PRIMARY KEY,
  role       TEXT NOT NULL,
  tenant     TEXT,
  name       TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Somebody's server that is told what happens; nobody's publisher: the operator's. `events` is JSON.
CREATE TABLE webhook (
  webhook_id   TEXT NOT NULL PRIMARY KEY,
  publisher_id TEXT REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  url          TEXT NOT NULL,
  events       TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  active_from  INTEGER NOT NULL,
  ended_at     INTEGER
) STRICT, WITHOUT ROWID;

-- What its deliveries are signed with, wrapped; the last one, and the one before for a day after.
CREATE TABLE webhook_secret (
  webhook_id TEXT NOT NULL REFERENCES webhook (webhook_id),
  number     INTEGER NOT NULL,
  wrapped    BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  ends_at    INTEGER,
  PRIMARY KEY (webhook_id, number)
) STRICT, WITHOUT ROWID;

-- What a webhook is told, in the webhook's family. `state` is waiting, delivered or failed. No time that it is due: it has ended, or waits
-- until what came before it of the same subject has.
CREATE TABLE delivery (
  webhook_id   TEXT NOT NULL REFERENCES webhook (webhook_id),
  delivery_id  TEXT NOT NULL,
  event        TEXT NOT NULL,
  subject      TEXT NOT NULL,
  sequence     INTEGER NOT NULL,
  payload      TEXT NOT NULL,
  state        TEXT NOT NULL,
  resent       INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  due_at       INTEGER,
  give_up_at   INTEGER NOT NULL,
  attempted_at INTEGER,
  status       INTEGER,
  error        TEXT,
  created_at   INTEGER NOT NULL,
  ended_at     INTEGER,
  PRIMARY KEY (webhook_id, delivery_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_due ON delivery (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_in_order ON delivery (webhook_id, subject, sequence) WHERE state = 'waiting';
CREATE INDEX delivery_by_time ON delivery (created_at);
CREATE INDEX delivery_of_webhook ON delivery (webhook_id, created_at, delivery_id);

-- Events that wait to be told, each family's in their order.
CREATE INDEX outbox_events ON outbox (family, operation_id) WHERE kind = 'event';

-- When a person's data was deleted on request: nothing is left of them here, and nobody is written down under this ID again.
ALTER TABLE user_info ADD COLUMN erased_at INTEGER;

-- Finding a person, and whose a device or drive is.
CREATE INDEX user_info_by_email ON user_info (email) WHERE email IS NOT NULL;
CREATE INDEX device_info_by_device ON device_info (device_id);
CREATE INDEX user_drive_by_drive ON user_drive (drive_id);

-- Figures for charts: how often something happened on a day (days since 1970-01-01, UTC), counted from the signed audit log. Without a
-- publisher: in all. `label` is what there is of it: the code of a refusal, a release.
CREATE TABLE figure (
  publisher_id TEXT NOT NULL,
  name         TEXT NOT NULL,
  day          INTEGER NOT NULL,
  label        TEXT NOT NULL,
  amount       INTEGER NOT NULL,
  PRIMARY KEY (publisher_id, name, day, label)
) STRICT, WITHOUT ROWID;

-- What was done lately, by whomever: the log from its end.
CREATE INDEX audit_by_time ON audit (at);

-- Finds an order or a license by its ID alone.
CREATE INDEX orders_by_id ON orders (order_id);
CREATE INDEX license_by_id ON license (license_id);

-- A link for somebody who has no account yet: staff get one with what they set up by it.
CREATE TABLE ticket_of_anybody (
  user_id    TEXT NOT NULL,
  hash       BLOB NOT NULL,
  purpose    TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO ticket_of_anybody SELECT user_id, hash, purpose, expires_at FROM ticket;
DROP TABLE ticket;
ALTER TABLE ticket_of_anybody RENAME TO ticket;
