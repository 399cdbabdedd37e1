-- Software bought online, licensed per device and moved between devices (D1-D10), and people's accounts.
ALTER TABLE release ADD COLUMN channel TEXT NOT NULL DEFAULT 'stable';

-- What people see of a title, and under which terms it is sold (D2).
CREATE TABLE listing (
  title_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES title (title_id),
  summary     TEXT NOT NULL,
  description TEXT NOT NULL,
  on_sale     BIGINT NOT NULL,
  policy      TEXT NOT NULL,
  updated_at  BIGINT NOT NULL
);

CREATE TABLE price (
  title_id TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  currency TEXT COLLATE "C" NOT NULL,
  amount   BIGINT NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (title_id, currency)
);

CREATE TABLE picture (
  title_id   TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  position   BIGINT NOT NULL,
  object     TEXT NOT NULL,
  media_type TEXT NOT NULL,
  alt        TEXT NOT NULL,
  PRIMARY KEY (title_id, position)
);

CREATE INDEX picture_by_object ON picture (object);

-- The person, as the shop has written them down (D1). There may be no user entry yet.
CREATE TABLE user_info (
  user_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  email      TEXT,
  address    TEXT,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- A device of a user as shop or user describe it (D1). One that is not in user_device, and not retired, may register for the user.
CREATE TABLE device_info (
  user_id    TEXT COLLATE "C" NOT NULL,
  device_id  TEXT COLLATE "C" NOT NULL,
  maker      TEXT,
  model      TEXT,
  name       TEXT,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  retired_at BIGINT,
  PRIMARY KEY (user_id, device_id)
);

-- What a user has paid in advance, and every change of it.
CREATE TABLE balance (
  user_id  TEXT COLLATE "C" NOT NULL,
  currency TEXT COLLATE "C" NOT NULL,
  amount   BIGINT NOT NULL CHECK (amount >= 0),
  PRIMARY KEY (user_id, currency)
);

CREATE TABLE balance_entry (
  user_id    TEXT COLLATE "C" NOT NULL,
  entry_id   TEXT COLLATE "C" NOT NULL,
  currency   TEXT NOT NULL,
  amount     BIGINT NOT NULL,
  reason     TEXT NOT NULL,
  order_id   TEXT,
  actor      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, entry_id)
);

-- A purchase and the charge that it raised (D3). No currency and no amount: a trial.
CREATE TABLE orders (
  user_id    TEXT COLLATE "C" NOT NULL,
  order_id   TEXT COLLATE "C" NOT NULL,
  title_id   TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  device_id  TEXT COLLATE "C" NOT NULL,
  kind       TEXT NOT NULL,
  currency   TEXT,
  amount     BIGINT,
  payment    TEXT NOT NULL,
  state      TEXT NOT NULL,
  actor      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  paid_at    BIGINT,
  ended_at   BIGINT,
  reason     TEXT,
  PRIMARY KEY (user_id, order_id)
);

CREATE UNIQUE INDEX orders_trial ON orders (user_id, title_id) WHERE kind = 'trial';
CREATE INDEX orders_by_time ON orders (created_at, order_id);

-- What the user owns: from a medium, as its family tells through the outbox (then it is named by the grant), or from an order.
ALTER TABLE entitlement RENAME COLUMN grant_id TO entitlement_id;
ALTER TABLE entitlement ALTER COLUMN medium_id DROP NOT NULL;
ALTER TABLE entitlement
  ADD COLUMN source TEXT NOT NULL DEFAULT 'medium',
  ADD COLUMN order_id TEXT,
  ADD COLUMN policy TEXT,
  ADD COLUMN devices BIGINT NOT NULL DEFAULT 1,
  ADD COLUMN transfers BIGINT NOT NULL DEFAULT 0,
  ADD COLUMN transfers_since BIGINT,
  ADD COLUMN expires_at BIGINT,
  ADD COLUMN ended_at BIGINT;
ALTER TABLE entitlement
  ALTER COLUMN source DROP DEFAULT,
  ALTER COLUMN devices DROP DEFAULT,
  ALTER COLUMN transfers DROP DEFAULT;

-- A license: which device may run the title now (D5–D10). Moving it keeps the row, and its transaction ID.
CREATE TABLE license (
  user_id        TEXT COLLATE "C" NOT NULL,
  license_id     TEXT COLLATE "C" NOT NULL,
  entitlement_id TEXT COLLATE "C" NOT NULL,
  title_id       TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  device_id      TEXT COLLATE "C" NOT NULL,
  state          TEXT NOT NULL,
  transaction_id TEXT COLLATE "C",
  moves          BIGINT NOT NULL,
  grant_id       TEXT,
  generation     BIGINT,
  holder_id      TEXT,
  holder_kind    TEXT,
  drive_id       TEXT,
  library_key    BYTEA,
  lease_until    BIGINT,
  created_at     BIGINT NOT NULL,
  issued_at      BIGINT,
  settled_at     BIGINT,
  ended_at       BIGINT,
  PRIMARY KEY (user_id, license_id),
  FOREIGN KEY (user_id, entitlement_id) REFERENCES entitlement (user_id, entitlement_id)
);

-- One license of an entitlement at a device; and a transaction ID names one license.
CREATE UNIQUE INDEX license_at_device ON license (user_id, entitlement_id, device_id) WHERE state <> 'ended';
CREATE UNIQUE INDEX license_transaction ON license (user_id, transaction_id) WHERE transaction_id IS NOT NULL;

-- What a device has to do.
CREATE TABLE inbox (
  user_id    TEXT COLLATE "C" NOT NULL,
  job_id     TEXT COLLATE "C" NOT NULL,
  device_id  TEXT COLLATE "C" NOT NULL,
  work       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  done_at    BIGINT,
  failed     TEXT,
  PRIMARY KEY (user_id, job_id)
);

CREATE INDEX inbox_open ON inbox (created_at) WHERE done_at IS NULL;
CREATE INDEX inbox_done ON inbox (done_at) WHERE done_at IS NOT NULL;

-- A person's way to their user entry with a browser. `name` is the family of the name that they sign in with.
CREATE TABLE sign_in_name (
  name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  user_id    TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

CREATE TABLE account (
  user_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  email         TEXT NOT NULL,
  confirmed_at  BIGINT,
  password      TEXT,
  totp          BYTEA,
  totp_step     BIGINT,
  failures      BIGINT NOT NULL,
  locked_until  BIGINT,
  sessions_from BIGINT NOT NULL,
  created_at    BIGINT NOT NULL
);

CREATE TABLE session (
  user_id    TEXT COLLATE "C" NOT NULL REFERENCES account (user_id),
  session_id TEXT COLLATE "C" NOT NULL,
  hash       BYTEA NOT NULL,
  agent      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, session_id)
);

CREATE TABLE passkey (
  user_id       TEXT COLLATE "C" NOT NULL REFERENCES account (user_id),
  credential_id TEXT COLLATE "C" NOT NULL,
  document      BYTEA NOT NULL,
  name          TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  used_at       BIGINT,
  PRIMARY KEY (user_id, credential_id)
);

CREATE TABLE recovery_code (
  user_id TEXT COLLATE "C" NOT NULL REFERENCES account (user_id),
  hash    BYTEA NOT NULL,
  used_at BIGINT,
  PRIMARY KEY (user_id, hash)
);

-- Links that were sent by mail, each good once.
CREATE TABLE ticket (
  user_id    TEXT COLLATE "C" NOT NULL REFERENCES account (user_id),
  hash       BYTEA NOT NULL,
  purpose    TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, hash)
);
