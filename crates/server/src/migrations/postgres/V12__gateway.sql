-- Gateways (C16–C18): who resells, at which prices, and every exchange that was charged for.

-- `share` is the gateway's, in hundredths of a percent of the price; the rest is the operator's. With `every_copy`, titles with a price are charged
-- for whenever they are copied through it (C17); without, only where the medium says that its key is paid for when it is copied (C18). No two have
-- the same name.
CREATE TABLE gateway (
  gateway_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  name       TEXT COLLATE "C" NOT NULL UNIQUE,
  share      BIGINT NOT NULL CHECK (share BETWEEN 0 AND 10000),
  every_copy BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at   BIGINT
);

-- What the private listener's and the gateways' certificates are signed with. Gateways know it by its certificate, which therefore never changes.
CREATE TABLE gateway_issuer (
  issuer_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  certificate BYTEA NOT NULL,
  wrapped     BYTEA NOT NULL,
  created_at  BIGINT NOT NULL,
  retired_at  BIGINT
);

-- Lets a gateway in once, to get its certificate. `used_for`: SHA-256 of the public key that it was used for, so that a repeat is told from theft.
CREATE TABLE gateway_token (
  gateway_id TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  hash       BYTEA NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT,
  used_for   BYTEA,
  PRIMARY KEY (gateway_id, hash)
);

-- `fingerprint`: SHA-256 of the certificate. Several stand at once while one follows another.
CREATE TABLE gateway_certificate (
  gateway_id  TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  fingerprint BYTEA NOT NULL UNIQUE,
  created_at  BIGINT NOT NULL,
  not_after   BIGINT NOT NULL,
  PRIMARY KEY (gateway_id, fingerprint)
);

-- What a title costs at a gateway.
CREATE TABLE gateway_price (
  gateway_id TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  title_id   TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  currency   TEXT COLLATE "C" NOT NULL,
  amount     BIGINT NOT NULL CHECK (amount > 0),
  PRIMARY KEY (gateway_id, title_id, currency)
);

-- One exchange that is charged for. Its family is itself: it is prepared, and committed or given up, before and after what it is about is done in
-- a family of its own. `digest` is over the bytes that the terminal signed. `subject` is the medium or the user, with `order_id` or the grants
-- that came of it, so that exactly those end when the money goes back.
CREATE TABLE gateway_exchange (
  exchange_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  gateway_id  TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  digest      BYTEA NOT NULL,
  operation   TEXT COLLATE "C" NOT NULL,
  subject     TEXT COLLATE "C" NOT NULL,
  order_id    TEXT COLLATE "C",
  grants      TEXT,
  title_id    TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  title_name  TEXT NOT NULL,
  currency    TEXT COLLATE "C" NOT NULL,
  amount      BIGINT NOT NULL CHECK (amount > 0),
  operator_part BIGINT NOT NULL CHECK (operator_part BETWEEN 0 AND amount),
  state       TEXT COLLATE "C" NOT NULL,
  created_at  BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  began_at    BIGINT,
  decided_at  BIGINT,
  refunded_at BIGINT,
  changed_at  BIGINT NOT NULL,
  reason      TEXT
);

-- What a gateway compares its own with, and what its statement is made of.
CREATE INDEX gateway_exchange_changed ON gateway_exchange (gateway_id, changed_at, exchange_id);
-- What was begun and not ended.
CREATE INDEX gateway_exchange_open ON gateway_exchange (changed_at, exchange_id) WHERE state IN ('prepared', 'committing');

-- Settled periods: what a gateway owes the operator, frozen when it is closed.
CREATE TABLE gateway_settlement (
  gateway_id TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  period     TEXT COLLATE "C" NOT NULL,
  currency   TEXT COLLATE "C" NOT NULL,
  charges    BIGINT NOT NULL,
  refunds    BIGINT NOT NULL,
  amount     BIGINT NOT NULL,
  share      BIGINT NOT NULL,
  closed_at  BIGINT NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, period, currency)
);

-- C18: given away; its key is paid for when it is copied.
ALTER TABLE batch ADD COLUMN paid_on_copy BIGINT NOT NULL DEFAULT 0;

-- The exchange that paid for an order.
ALTER TABLE orders ADD COLUMN exchange_id TEXT COLLATE "C";

-- The exchange that paid for a copy; a copy that takes its place after a repair names the same one (C14). None where the money went back.
ALTER TABLE grants ADD COLUMN exchange_id TEXT COLLATE "C";

-- Copies that were taken back because the bank took the money back: nobody has them, and nobody can claim them again.
ALTER TABLE medium ADD COLUMN copies_lost BIGINT NOT NULL DEFAULT 0;
