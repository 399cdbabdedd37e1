-- The ledger (C17). Postings are written once and never changed; balances and lots are what they come to, and are changed together with them.

-- What an account holds in a currency. `postings`: how many there are, which is the number of the latest. `open_from`: the first month that is
-- not closed, as `2026-11`; what is booked later into a closed month goes into this one.
CREATE TABLE balance (
  account_id TEXT    NOT NULL REFERENCES account (account_id),
  currency   TEXT    NOT NULL,
  posted     INTEGER NOT NULL,
  reserved   INTEGER NOT NULL,
  postings   INTEGER NOT NULL,
  open_from  TEXT    NOT NULL,
  PRIMARY KEY (account_id, currency),
  CHECK (reserved >= 0 AND posted - reserved >= 0)
) STRICT, WITHOUT ROWID;

-- What is booked at once. Each column from `customer` to `receivable` is the entry in that book, in minor units; together they come to nothing.
-- Those of a reservation are pending: they count nowhere until a charge repeats them. `reserved`: what is added to the reserved part of the
-- balance. `refers_to`: what is answered by this one; a posting is answered once.
CREATE TABLE posting (
  account_id  TEXT    NOT NULL REFERENCES account (account_id),
  posting_id  TEXT    NOT NULL,
  currency    TEXT    NOT NULL,
  number      INTEGER NOT NULL CHECK (number > 0),
  kind        TEXT    NOT NULL CHECK (kind IN ('top_up', 'voucher', 'reserve', 'charge', 'void', 'refund', 'chargeback', 'fee')),
  refers_to   TEXT,
  exchange_id TEXT,
  title_id    TEXT,
  title_name  TEXT,
  customer    INTEGER NOT NULL,
  operator    INTEGER NOT NULL,
  gateway     INTEGER NOT NULL,
  cash        INTEGER NOT NULL,
  fees        INTEGER NOT NULL,
  vouchers    INTEGER NOT NULL,
  receivable  INTEGER NOT NULL,
  reserved    INTEGER NOT NULL,
  period      TEXT    NOT NULL,
  booked_at   INTEGER NOT NULL,
  actor       TEXT    NOT NULL,
  note        TEXT    NOT NULL,
  PRIMARY KEY (account_id, posting_id),
  UNIQUE (account_id, currency, number),
  UNIQUE (account_id, refers_to),
  FOREIGN KEY (account_id, refers_to) REFERENCES posting (account_id, posting_id),
  CHECK (customer + operator + gateway + cash + fees + vouchers + receivable = 0),
  CHECK ((kind = 'reserve') = (reserved > 0) AND (kind IN ('charge', 'void')) = (reserved < 0)),
  CHECK (kind NOT IN ('reserve', 'charge', 'void', 'refund') OR exchange_id IS NOT NULL),
  CHECK ((kind IN ('charge', 'void', 'refund', 'chargeback')) = (refers_to IS NOT NULL))
) STRICT, WITHOUT ROWID;

-- An exchange is charged once.
CREATE UNIQUE INDEX posting_of_exchange ON posting (account_id, exchange_id) WHERE kind = 'reserve';
-- What settlement is made of.
CREATE INDEX posting_shared ON posting (period, posting_id) WHERE kind IN ('charge', 'refund', 'chargeback');

CREATE TRIGGER posting_is_not_changed BEFORE UPDATE ON posting BEGIN SELECT RAISE(ABORT, 'a posting is not changed'); END;
CREATE TRIGGER posting_is_not_deleted BEFORE DELETE ON posting BEGIN SELECT RAISE(ABORT, 'a posting is not deleted'); END;

-- What is left of each top-up. `number` is its posting's; what is older is spent first. `ended_at`: the bank has taken it back.
CREATE TABLE lot (
  account_id TEXT    NOT NULL,
  lot_id     TEXT    NOT NULL,
  currency   TEXT    NOT NULL,
  number     INTEGER NOT NULL,
  amount     INTEGER NOT NULL CHECK (amount > 0),
  remaining  INTEGER NOT NULL CHECK (remaining BETWEEN 0 AND amount),
  ended_at   INTEGER,
  PRIMARY KEY (account_id, lot_id),
  FOREIGN KEY (account_id, lot_id) REFERENCES posting (account_id, posting_id),
  CHECK (ended_at IS NULL OR remaining = 0)
) STRICT, WITHOUT ROWID;

CREATE INDEX lot_remaining ON lot (account_id, currency, number) WHERE remaining > 0;
-- What the bank has taken back, and may not have been ended yet.
CREATE INDEX lot_ended ON lot (ended_at, account_id, lot_id) WHERE ended_at IS NOT NULL;

-- Which lots a reservation, and so its charge, is paid from.
CREATE TABLE funding (
  account_id TEXT    NOT NULL,
  posting_id TEXT    NOT NULL,
  lot_id     TEXT    NOT NULL,
  amount     INTEGER NOT NULL CHECK (amount > 0),
  PRIMARY KEY (account_id, posting_id, lot_id),
  FOREIGN KEY (account_id, posting_id) REFERENCES posting (account_id, posting_id),
  FOREIGN KEY (account_id, lot_id) REFERENCES lot (account_id, lot_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX funding_of_lot ON funding (account_id, lot_id);

CREATE TRIGGER funding_is_not_changed BEFORE UPDATE ON funding BEGIN SELECT RAISE(ABORT, 'what a charge was paid from is not changed'); END;
CREATE TRIGGER funding_is_not_deleted BEFORE DELETE ON funding BEGIN SELECT RAISE(ABORT, 'what a charge was paid from is not deleted'); END;

-- Statements of months that are closed. `lines`: how many there are; `digest` is over them, so that they are shown from the journal as they were.
CREATE TABLE statement (
  account_id TEXT    NOT NULL REFERENCES account (account_id),
  period     TEXT    NOT NULL,
  currency   TEXT    NOT NULL,
  opening    INTEGER NOT NULL,
  closing    INTEGER NOT NULL,
  lines      INTEGER NOT NULL,
  digest     BLOB    NOT NULL,
  closed_at  INTEGER NOT NULL,
  PRIMARY KEY (account_id, period, currency)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER statement_is_not_changed BEFORE UPDATE ON statement BEGIN SELECT RAISE(ABORT, 'a statement is not changed'); END;
CREATE TRIGGER statement_is_not_deleted BEFORE DELETE ON statement BEGIN SELECT RAISE(ABORT, 'a statement is not deleted'); END;

-- Months that are being settled, and those that are. What an account begins with once its month is here belongs to the next.
CREATE TABLE settled_period (
  period    TEXT    NOT NULL PRIMARY KEY,
  begun_at  INTEGER NOT NULL,
  closed_at INTEGER
) STRICT, WITHOUT ROWID;

-- Who gets what of a month: frozen. `undone`: what was given back of it, by refund or chargeback.
CREATE TABLE settlement (
  period    TEXT    NOT NULL REFERENCES settled_period (period),
  currency  TEXT    NOT NULL,
  party     TEXT    NOT NULL CHECK (party IN ('operator', 'gateway')),
  charges   INTEGER NOT NULL,
  charged   INTEGER NOT NULL,
  undone    INTEGER NOT NULL,
  returned  INTEGER NOT NULL,
  part      INTEGER NOT NULL,
  PRIMARY KEY (period, currency, party)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER settlement_is_not_changed BEFORE UPDATE ON settlement BEGIN SELECT RAISE(ABORT, 'a settlement is not changed'); END;
CREATE TRIGGER settlement_is_not_deleted BEFORE DELETE ON settlement BEGIN SELECT RAISE(ABORT, 'a settlement is not deleted'); END;

-- Vouchers, by a hash of their code. It is taken by an account before it is booked there, under `posting_id`: each in its own family.
CREATE TABLE voucher (
  hash       BLOB    NOT NULL PRIMARY KEY,
  batch      TEXT    NOT NULL,
  currency   TEXT    NOT NULL,
  amount     INTEGER NOT NULL CHECK (amount > 0),
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  account_id TEXT,
  posting_id TEXT,
  taken_at   INTEGER,
  booked_at  INTEGER,
  CHECK ((account_id IS NULL) = (posting_id IS NULL) AND (account_id IS NULL) = (taken_at IS NULL)),
  CHECK (booked_at IS NULL OR taken_at IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX voucher_of_batch ON voucher (batch, hash);
CREATE INDEX voucher_unbooked ON voucher (taken_at, hash) WHERE taken_at IS NOT NULL AND booked_at IS NULL;

-- Codes that an account has tried since then, and that were none.
CREATE TABLE voucher_guess (
  account_id TEXT    NOT NULL PRIMARY KEY REFERENCES account (account_id),
  since      INTEGER NOT NULL,
  wrong      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
