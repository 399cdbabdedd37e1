-- Gateways (C16–C18): who resells, at which prices, and every exchange that was charged for.

-- `share` is the gateway's, in hundredths of a percent of the price; the rest is the operator's. With `every_copy`, titles with a price are charged
-- for whenever they are copied through it (C17); without, only where the medium says that its key is paid for when it is copied (C18). No two have
-- the same name.
CREATE TABLE gateway (
  gateway_id TEXT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL UNIQUE,
  share      INTEGER NOT NULL CHECK (share BETWEEN 0 AND 10000),
  every_copy INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- What the private listener's and the gateways' certificates are signed with. Gateways know it by its certificate, which therefore never changes.
CREATE TABLE gateway_issuer (
  issuer_id   TEXT NOT NULL PRIMARY KEY,
  certificate BLOB NOT NULL,
  wrapped     BLOB NOT NULL,
  created_at  INTEGER NOT NULL,
  retired_at  INTEGER
) STRICT, WITHOUT ROWID;

-- Lets a gateway in once, to get its certificate. `used_for`: SHA-256 of the public key that it was used for, so that a repeat is told from theft.
CREATE TABLE gateway_token (
  gateway_id TEXT NOT NULL REFERENCES gateway (gateway_id),
  hash       BLOB NOT NULL,
  expires_at INTEGER NOT NULL,
  used_at    INTEGER,
  used_for   BLOB,
  PRIMARY KEY (gateway_id, hash)
) STRICT, WITHOUT ROWID;

-- `fingerprint`: SHA-256 of the certificate. Several stand at once while one follows another.
CREATE TABLE gateway_certificate (
  gateway_id  TEXT NOT NULL REFERENCES gateway (gateway_id),
  fingerprint BLOB NOT NULL UNIQUE,
  created_at  INTEGER NOT NULL,
  not_after   INTEGER NOT NULL,
  PRIMARY KEY (gateway_id, fingerprint)
) STRICT, WITHOUT ROWID;

-- What a title costs at a gateway.
CREATE TABLE gateway_price (
  gateway_id TEXT NOT NULL REFERENCES gateway (gateway_id),
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  currency   TEXT NOT NULL,
  amount     INTEGER NOT NULL CHECK (amount > 0),
  PRIMARY KEY (gateway_id, title_id, currency)
) STRICT, WITHOUT ROWID;

-- One exchange that is charged for. Its family is itself: it is prepared, and committed or given up, before and after what it is about is done in
-- a family of its own. `digest` is over the bytes that the terminal signed. `subject` is the medium or the user, with `order_id` or the grants
-- that came of it, so that exactly those end when the money goes back.
CREATE TABLE gateway_exchange (
  exchange_id TEXT NOT NULL PRIMARY KEY,
  gateway_id  TEXT NOT NULL REFERENCES gateway (gateway_id),
  digest      BLOB NOT NULL,
  operation   TEXT NOT NULL,
  subject     TEXT NOT NULL,
  order_id    TEXT,
  grants      TEXT,
  title_id    TEXT NOT NULL REFERENCES title (title_id),
  title_name  TEXT NOT NULL,
  currency    TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount > 0),
  operator_part INTEGER NOT NULL CHECK (operator_part BETWEEN 0 AND amount),
  state       TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  began_at    INTEGER,
  decided_at  INTEGER,
  refunded_at INTEGER,
  changed_at  INTEGER NOT NULL,
  reason      TEXT
) STRICT, WITHOUT ROWID;

-- What a gateway compares its own with, and what its statement is made of.
CREATE INDEX gateway_exchange_changed ON gateway_exchange (gateway_id, changed_at, exchange_id);
-- What was begun and not ended.
CREATE INDEX gateway_exchange_open ON gateway_exchange (changed_at, exchange_id) WHERE state IN ('prepared', 'committing');

-- Settled periods: what a gateway owes the operator, frozen when it is closed.
CREATE TABLE gateway_settlement (
  gateway_id TEXT NOT NULL REFERENCES gateway (gateway_id),
  period     TEXT NOT NULL,
  currency   TEXT NOT NULL,
  charges    INTEGER NOT NULL,
  refunds    INTEGER NOT NULL,
  amount     INTEGER NOT NULL,
  share      INTEGER NOT NULL,
  closed_at  INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, period, currency)
) STRICT, WITHOUT ROWID;

-- C18: given away; its key is paid for when it is copied.
ALTER TABLE batch ADD COLUMN paid_on_copy INTEGER NOT NULL DEFAULT 0;

-- The exchange that paid for an order.
ALTER TABLE orders ADD COLUMN exchange_id TEXT;

-- The exchange that paid for a copy; a copy that takes its place after a repair names the same one (C14). None where the money went back.
ALTER TABLE grants ADD COLUMN exchange_id TEXT;

-- Copies that were taken back because the bank took the money back: nobody has them, and nobody can claim them again.
ALTER TABLE medium ADD COLUMN copies_lost INTEGER NOT NULL DEFAULT 0;
