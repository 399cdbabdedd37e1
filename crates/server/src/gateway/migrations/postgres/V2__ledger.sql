-- The ledger (C17). Postings are written once and never changed; balances and lots are what they come to, and are changed together with them.

CREATE FUNCTION is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$;

-- What an account holds in a currency. `postings`: how many there are, which is the number of the latest. `open_from`: the first month that is
-- not closed, as `2026-11`; what is booked later into a closed month goes into this one.
CREATE TABLE balance (
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  currency   TEXT COLLATE "C" NOT NULL,
  posted     BIGINT NOT NULL,
  reserved   BIGINT NOT NULL,
  postings   BIGINT NOT NULL,
  open_from  TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (account_id, currency),
  CHECK (reserved >= 0 AND posted - reserved >= 0)
);

-- What is booked at once. Each column from `customer` to `receivable` is the entry in that book, in minor units; together they come to nothing.
-- Those of a reservation are pending: they count nowhere until a charge repeats them. `reserved`: what is added to the reserved part of the
-- balance. `refers_to`: what is answered by this one; a posting is answered once.
CREATE TABLE posting (
  account_id  TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  posting_id  TEXT COLLATE "C" NOT NULL,
  currency    TEXT COLLATE "C" NOT NULL,
  number      BIGINT NOT NULL CHECK (number > 0),
  kind        TEXT NOT NULL CHECK (kind IN ('top_up', 'voucher', 'reserve', 'charge', 'void', 'refund', 'chargeback', 'fee')),
  refers_to   TEXT COLLATE "C",
  exchange_id TEXT COLLATE "C",
  title_id    TEXT,
  title_name  TEXT,
  customer    BIGINT NOT NULL,
  operator    BIGINT NOT NULL,
  gateway     BIGINT NOT NULL,
  cash        BIGINT NOT NULL,
  fees        BIGINT NOT NULL,
  vouchers    BIGINT NOT NULL,
  receivable  BIGINT NOT NULL,
  reserved    BIGINT NOT NULL,
  period      TEXT COLLATE "C" NOT NULL,
  booked_at   BIGINT NOT NULL,
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
);

-- An exchange is charged once.
CREATE UNIQUE INDEX posting_of_exchange ON posting (account_id, exchange_id) WHERE kind = 'reserve';
-- What settlement is made of.
CREATE INDEX posting_shared ON posting (period, posting_id) WHERE kind IN ('charge', 'refund', 'chargeback');

CREATE TRIGGER posting_is_not_changed BEFORE UPDATE ON posting FOR EACH ROW EXECUTE FUNCTION is_immutable('a posting is not changed');
CREATE TRIGGER posting_is_not_deleted BEFORE DELETE ON posting FOR EACH ROW EXECUTE FUNCTION is_immutable('a posting is not deleted');

-- What is left of each top-up. `number` is its posting's; what is older is spent first. `ended_at`: the bank has taken it back.
CREATE TABLE lot (
  account_id TEXT COLLATE "C" NOT NULL,
  lot_id     TEXT COLLATE "C" NOT NULL,
  currency   TEXT COLLATE "C" NOT NULL,
  number     BIGINT NOT NULL,
  amount     BIGINT NOT NULL CHECK (amount > 0),
  remaining  BIGINT NOT NULL CHECK (remaining BETWEEN 0 AND amount),
  ended_at   BIGINT,
  PRIMARY KEY (account_id, lot_id),
  FOREIGN KEY (account_id, lot_id) REFERENCES posting (account_id, posting_id),
  CHECK (ended_at IS NULL OR remaining = 0)
);

CREATE INDEX lot_remaining ON lot (account_id, currency, number) WHERE remaining > 0;
-- What the bank has taken back, and may not have been ended yet.
CREATE INDEX lot_ended ON lot (ended_at, account_id, lot_id) WHERE ended_at IS NOT NULL;

-- Which lots a reservation, and so its charge, is paid from.
CREATE TABLE funding (
  account_id TEXT COLLATE "C" NOT NULL,
  posting_id TEXT COLLATE "C" NOT NULL,
  lot_id     TEXT COLLATE "C" NOT NULL,
  amount     BIGINT NOT NULL CHECK (amount > 0),
  PRIMARY KEY (account_id, posting_id, lot_id),
  FOREIGN KEY (account_id, posting_id) REFERENCES posting (account_id, posting_id),
  FOREIGN KEY (account_id, lot_id) REFERENCES lot (account_id, lot_id)
);

CREATE INDEX funding_of_lot ON funding (account_id, lot_id);

CREATE TRIGGER funding_is_not_changed BEFORE UPDATE ON funding FOR EACH ROW EXECUTE FUNCTION is_immutable('what a charge was paid from is not changed');
CREATE TRIGGER funding_is_not_deleted BEFORE DELETE ON funding FOR EACH ROW EXECUTE FUNCTION is_immutable('what a charge was paid from is not deleted');

-- Statements of months that are closed. `lines`: how many there are; `digest` is over them, so that they are shown from the journal as they were.
CREATE TABLE statement (
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  period     TEXT COLLATE "C" NOT NULL,
  currency   TEXT COLLATE "C" NOT NULL,
  opening    BIGINT NOT NULL,
  closing    BIGINT NOT NULL,
  lines      BIGINT NOT NULL,
  digest     BYTEA  NOT NULL,
  closed_at  BIGINT NOT NULL,
  PRIMARY KEY (account_id, period, currency)
);

CREATE TRIGGER statement_is_not_changed BEFORE UPDATE ON statement FOR EACH ROW EXECUTE FUNCTION is_immutable('a statement is not changed');
CREATE TRIGGER statement_is_not_deleted BEFORE DELETE ON statement FOR EACH ROW EXECUTE FUNCTION is_immutable('a statement is not deleted');

-- Months that are being settled, and those that are. What an account begins with once its month is here belongs to the next.
CREATE TABLE settled_period (
  period    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  begun_at  BIGINT NOT NULL,
  closed_at BIGINT 
);

-- Who gets what of a month: frozen. `undone`: what was given back of it, by refund or chargeback.
CREATE TABLE settlement (
  period    TEXT COLLATE "C" NOT NULL REFERENCES settled_period (period),
  currency  TEXT COLLATE "C" NOT NULL,
  party     TEXT COLLATE "C" NOT NULL CHECK (party IN ('operator', 'gateway')),
  charges   BIGINT NOT NULL,
  charged   BIGINT NOT NULL,
  undone    BIGINT NOT NULL,
  returned  BIGINT NOT NULL,
  part      BIGINT NOT NULL,
  PRIMARY KEY (period, currency, party)
);

CREATE TRIGGER settlement_is_not_changed BEFORE UPDATE ON settlement FOR EACH ROW EXECUTE FUNCTION is_immutable('a settlement is not changed');
CREATE TRIGGER settlement_is_not_deleted BEFORE DELETE ON settlement FOR EACH ROW EXECUTE FUNCTION is_immutable('a settlement is not deleted');

-- Vouchers, by a hash of their code. It is taken by an account before it is booked there, under `posting_id`: each in its own family.
CREATE TABLE voucher (
  hash       BYTEA   NOT NULL PRIMARY KEY,
  batch      TEXT COLLATE "C" NOT NULL,
  currency   TEXT COLLATE "C" NOT NULL,
  amount     BIGINT NOT NULL CHECK (amount > 0),
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  account_id TEXT COLLATE "C",
  posting_id TEXT COLLATE "C",
  taken_at   BIGINT,
  booked_at  BIGINT,
  CHECK ((account_id IS NULL) = (posting_id IS NULL) AND (account_id IS NULL) = (taken_at IS NULL)),
  CHECK (booked_at IS NULL OR taken_at IS NOT NULL)
);

CREATE INDEX voucher_of_batch ON voucher (batch, hash);
CREATE INDEX voucher_unbooked ON voucher (taken_at, hash) WHERE taken_at IS NOT NULL AND booked_at IS NULL;

-- Codes that an account has tried since then, and that were none.
CREATE TABLE voucher_guess (
  account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES account (account_id),
  since      BIGINT NOT NULL,
  wrong      BIGINT NOT NULL
);
