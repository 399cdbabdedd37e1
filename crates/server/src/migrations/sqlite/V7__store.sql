-- Software bought online, licensed per device and moved between devices (D1-D10), and people's accounts.
ALTER TABLE release ADD COLUMN channel TEXT NOT NULL DEFAULT 'stable';

-- What people see of a title, and under which terms it is sold (D2).
CREATE TABLE listing (
  title_id    TEXT NOT NULL PRIMARY KEY REFERENCES title (title_id),
  summary     TEXT NOT NULL,
  description TEXT NOT NULL,
  on_sale     INTEGER NOT NULL,
  policy      TEXT NOT NULL,
  updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE price (
  title_id TEXT NOT NULL REFERENCES title (title_id),
  currency TEXT NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (title_id, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE picture (
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  position   INTEGER NOT NULL,
  object     TEXT NOT NULL,
  media_type TEXT NOT NULL,
  alt        TEXT NOT NULL,
  PRIMARY KEY (title_id, position)
) STRICT, WITHOUT ROWID;

-- The person, as the shop has written them down (D1). There may be no user entry yet.
CREATE TABLE user_info (
  user_id    TEXT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  email      TEXT,
  address    TEXT,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A device of a user as shop or user describe it (D1). One that is not in user_device, and not retired, may register for the user.
CREATE TABLE device_info (
  user_id    TEXT NOT NULL,
  device_id  TEXT NOT NULL,
  maker      TEXT,
  model      TEXT,
  name       TEXT,
  created_by TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  retired_at INTEGER,
  PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

-- What a user has paid in advance, and every change of it.
CREATE TABLE balance (
  user_id  TEXT NOT NULL,
  currency TEXT NOT NULL,
  amount   INTEGER NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (user_id, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE balance_entry (
  user_id    TEXT NOT NULL,
  entry_id   TEXT NOT NULL,
  currency   TEXT NOT NULL,
  amount     INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  order_id   TEXT,
  actor      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, entry_id)
) STRICT, WITHOUT ROWID;

-- A purchase and the charge that it raised (D3). No currency and no amount: a trial.
CREATE TABLE orders (
  user_id    TEXT NOT NULL,
  order_id   TEXT NOT NULL,
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  device_id  TEXT NOT NULL,
  kind       TEXT NOT NULL,
  currency   TEXT,
  amount     INTEGER,
  payment    TEXT NOT NULL,
  state      TEXT NOT NULL,
  actor      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  paid_at    INTEGER,
  ended_at   INTEGER,
  reason     TEXT,
  PRIMARY KEY (user_id, order_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX orders_trial ON orders (user_id, title_id) WHERE kind = 'trial';
CREATE INDEX orders_by_time ON orders (created_at, order_id);

CREATE INDEX picture_by_object ON picture (object);

-- What the user owns: from a medium, as its family tells through the outbox (then it is named by the grant), or from an order.
CREATE TABLE entitlement_of_any_source (
  user_id         TEXT NOT NULL REFERENCES user_entry (user_id),
  entitlement_id  TEXT NOT NULL,
  source          TEXT NOT NULL,
  medium_id       TEXT,
  order_id        TEXT,
  title_id        TEXT NOT NULL REFERENCES title (title_id),
  state           TEXT NOT NULL,
  policy          TEXT,
  devices         INTEGER NOT NULL,
  transfers       INTEGER NOT NULL,
  transfers_since INTEGER,
  expires_at      INTEGER,
  ended_at        INTEGER,
  created_at      INTEGER NOT NULL,
  PRIMARY KEY (user_id, entitlement_id)
) STRICT, WITHOUT ROWID;

INSERT INTO entitlement_of_any_source (user_id, entitlement_id, source, medium_id, title_id, state, devices, transfers, created_at)
  SELECT user_id, grant_id, 'medium', medium_id, title_id, state, 1, 0, created_at FROM entitlement;
DROP TABLE entitlement;
ALTER TABLE entitlement_of_any_source RENAME TO entitlement;

-- A license: which device may run the title now (D5–D10). Moving it keeps the row, and its transaction ID.
CREATE TABLE license (
  user_id        TEXT NOT NULL,
  license_id     TEXT NOT NULL,
  entitlement_id TEXT NOT NULL,
  title_id       TEXT NOT NULL REFERENCES title (title_id),
  device_id      TEXT NOT NULL,
  state          TEXT NOT NULL,
  transaction_id TEXT,
  moves          INTEGER NOT NULL,
  grant_id       TEXT,
  generation     INTEGER,
  holder_id      TEXT,
  holder_kind    TEXT,
  drive_id       TEXT,
  library_key    BLOB,
  lease_until    INTEGER,
  created_at     INTEGER NOT NULL,
  issued_at      INTEGER,
  settled_at     INTEGER,
  ended_at       INTEGER,
  PRIMARY KEY (user_id, license_id),
  FOREIGN KEY (user_id, entitlement_id) REFERENCES entitlement (user_id, entitlement_id)
) STRICT, WITHOUT ROWID;

-- One license of an entitlement at a device; and a transaction ID names one license.
CREATE UNIQUE INDEX license_at_device ON license (user_id, entitlement_id, device_id) WHERE state <> 'ended';
CREATE UNIQUE INDEX license_transaction ON license (user_id, transaction_id) WHERE transaction_id IS NOT NULL;

-- What a device has to do.
CREATE TABLE inbox (
  user_id    TEXT NOT NULL,
  job_id     TEXT NOT NULL,
  device_id  TEXT NOT NULL,
  work       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  done_at    INTEGER,
  failed     TEXT,
  PRIMARY KEY (user_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX inbox_open ON inbox (created_at) WHERE done_at IS NULL;
CREATE INDEX inbox_done ON inbox (done_at) WHERE done_at IS NOT NULL;

-- A person's way to their user entry with a browser. `name` is the family of the name that they sign in with.
CREATE TABLE sign_in_name (
  name       TEXT NOT NULL PRIMARY KEY,
  user_id    TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
  user_id       TEXT NOT NULL PRIMARY KEY,
  email         TEXT NOT NULL,
  confirmed_at  INTEGER,
  password      TEXT,
  totp          BLOB,
  totp_step     INTEGER,
  failures      INTEGER NOT NULL,
  locked_until  INTEGER,
  sessions_from INTEGER NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
  user_id    TEXT NOT NULL REFERENCES account (user_id),
  session_id TEXT NOT NULL,
  hash       BLOB NOT NULL,
  agent      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, session_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE passkey (
  user_id       TEXT NOT NULL REFERENCES account (user_id),
  credential_id TEXT NOT NULL,
  document      BLOB NOT NULL,
  name          TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  used_at       INTEGER,
  PRIMARY KEY (user_id, credential_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_code (
  user_id TEXT NOT NULL REFERENCES account (user_id),
  hash    BLOB NOT NULL,
  used_at INTEGER,
  PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- Links that were sent by mail, each good once.
CREATE TABLE ticket (
  user_id    TEXT NOT NULL REFERENCES account (user_id),
  hash       BLOB NOT NULL,
  purpose    TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;
