-- Repair, reissue (C14, C15), those who work at the console, webhooks.

-- Raised by every repair and reissue: a card that knows a lower one asks what it still holds.
ALTER TABLE user_entry ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;

-- Copies that were taken back, so that no number of a copy is used twice.
ALTER TABLE medium ADD COLUMN copies_freed BIGINT NOT NULL DEFAULT 0;

-- What the grant of an entitlement from a medium is bound to, once it is known (`bound`): what is told from now on says so.
ALTER TABLE entitlement ADD COLUMN bound BIGINT NOT NULL DEFAULT 0;
ALTER TABLE entitlement ADD COLUMN device_id TEXT COLLATE "C";
ALTER TABLE entitlement ADD COLUMN drive_id TEXT COLLATE "C";

-- What was exchanged in an entry: kind is device, drive or card. No new one: it was taken out. `sign_key`: what an old device is
-- recognised by when it turns up again; none where it had never registered.
CREATE TABLE repair (
  user_id    TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  repair_id  TEXT COLLATE "C" NOT NULL,
  kind       TEXT COLLATE "C" NOT NULL,
  old_id     TEXT COLLATE "C" NOT NULL,
  new_id     TEXT COLLATE "C",
  reason     TEXT NOT NULL,
  reference  TEXT,
  overridden BIGINT NOT NULL,
  sign_key   BYTEA,
  actor      TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, repair_id)
);

-- Finds the repair that took a device, drive or card out, when it turns up again.
CREATE INDEX repair_by_old ON repair (old_id);

-- A new card that a user has asked for. `state` is waiting, done (by the repair that is named) or declined. Without a card: the repair
-- centre makes one.
CREATE TABLE reissue (
  user_id    TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  reissue_id TEXT COLLATE "C" NOT NULL,
  state      TEXT COLLATE "C" NOT NULL,
  holder_id  TEXT COLLATE "C",
  sign_key   BYTEA,
  seal_key   BYTEA,
  contact    TEXT,
  actor      TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  decided_by TEXT COLLATE "C",
  decided_at BIGINT,
  reason     TEXT,
  repair_id  TEXT COLLATE "C",
  PRIMARY KEY (user_id, reissue_id)
);

-- One open request of an entry; and what waits, oldest first.
CREATE UNIQUE INDEX reissue_open ON reissue (user_id) WHERE state = 'waiting';
CREATE INDEX reissue_waiting ON reissue (created_at, reissue_id) WHERE state = 'waiting';

-- What a card was asked for, whoever asked.
CREATE INDEX reissue_by_holder ON reissue (holder_id) WHERE holder_id IS NOT NULL;

-- What a user proves with, when the card is lost, that the entry is theirs; and wrong ones since the last right one.
CREATE TABLE entry_recovery (
  user_id      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES user_entry (user_id),
  hash         BYTEA NOT NULL,
  created_at   BIGINT NOT NULL,
  failures     BIGINT NOT NULL,
  locked_until BIGINT
);

-- Who works at the console. They sign in with an account (`account`, `session`, `passkey`), under an ID that is no user entry's.
CREATE TABLE staff (
  user_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  role       TEXT COLLATE "C" NOT NULL,
  tenant     TEXT COLLATE "C",
  name       TEXT NOT NULL,
  created_by TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at   BIGINT
);

-- Somebody's server that is told what happens; nobody's publisher: the operator's. `events` is JSON.
CREATE TABLE webhook (
  webhook_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  publisher_id TEXT COLLATE "C" REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  url          TEXT NOT NULL,
  events       TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  active_from  BIGINT NOT NULL,
  ended_at     BIGINT
);

-- What its deliveries are signed with, wrapped; the last one, and the one before for a day after.
CREATE TABLE webhook_secret (
  webhook_id TEXT COLLATE "C" NOT NULL REFERENCES webhook (webhook_id),
  number     BIGINT NOT NULL,
  wrapped    BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  ends_at    BIGINT,
  PRIMARY KEY (webhook_id, number)
);

-- What a webhook is told, in the webhook's family. `state` is waiting, delivered or failed. No time that it is due: it has ended, or waits
-- until what came before it of the same subject has.
CREATE TABLE delivery (
  webhook_id   TEXT COLLATE "C" NOT NULL REFERENCES webhook (webhook_id),
  delivery_id  TEXT COLLATE "C" NOT NULL,
  event        TEXT COLLATE "C" NOT NULL,
  subject      TEXT COLLATE "C" NOT NULL,
  sequence     BIGINT NOT NULL,
  payload      TEXT NOT NULL,
  state        TEXT COLLATE "C" NOT NULL,
  resent       BIGINT NOT NULL,
  attempts     BIGINT NOT NULL,
  due_at       BIGINT,
  give_up_at   BIGINT NOT NULL,
  attempted_at BIGINT,
  status       BIGINT,
  error        TEXT COLLATE "C",
  created_at   BIGINT NOT NULL,
  ended_at     BIGINT,
  PRIMARY KEY (webhook_id, delivery_id)
);

CREATE INDEX delivery_due ON delivery (webhook_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_in_order ON delivery (webhook_id, subject, sequence) WHERE state = 'waiting';
CREATE INDEX delivery_by_time ON delivery (created_at);
CREATE INDEX delivery_of_webhook ON delivery (webhook_id, created_at, delivery_id);

-- Events that wait to be told, each family's in their order.
CREATE INDEX outbox_events ON outbox (family, operation_id) WHERE kind = 'event';

-- When a person's data was deleted on request: nothing is left of them here, and nobody is written down under this ID again.
ALTER TABLE user_info ADD COLUMN erased_at BIGINT;

-- Finding a person, and whose a device or drive is.
CREATE INDEX user_info_by_email ON user_info (email) WHERE email IS NOT NULL;
CREATE INDEX device_info_by_device ON device_info (device_id);
CREATE INDEX user_drive_by_drive ON user_drive (drive_id);

-- Figures for charts: how often something happened on a day (days since 1970-01-01, UTC), counted from the signed audit log. Without a
-- publisher: in all. `label` is what there is of it: the code of a refusal, a release.
CREATE TABLE figure (
  publisher_id TEXT COLLATE "C" NOT NULL,
  name         TEXT COLLATE "C" NOT NULL,
  day          BIGINT NOT NULL,
  label        TEXT COLLATE "C" NOT NULL,
  amount       BIGINT NOT NULL,
  PRIMARY KEY (publisher_id, name, day, label)
);

-- What was done lately, by whomever: the log from its end.
CREATE INDEX audit_by_time ON audit (at);

-- Finds an order or a license by its ID alone.
CREATE INDEX orders_by_id ON orders (order_id);
CREATE INDEX license_by_id ON license (license_id);

-- A link for somebody who has no account yet: staff get one with what they set up by it.
ALTER TABLE ticket DROP CONSTRAINT IF EXISTS ticket_user_id_fkey;
