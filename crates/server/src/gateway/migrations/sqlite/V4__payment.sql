-- Payment by card through a payment provider (C17).

-- Three kinds of posting more: `release` (money that a card had promised is not taken), `repayment` (what is left of a top-up goes back to its
-- card) and `repayment_failed` (and comes back from there). SQLite changes a CHECK by a new table, under the same name and with the same rows.
PRAGMA defer_foreign_keys = ON;
CREATE TABLE posting_before AS SELECT * FROM posting;
DROP TABLE posting;
CREATE TABLE posting (
  account_id  TEXT    NOT NULL REFERENCES account (account_id),
  posting_id  TEXT    NOT NULL,
  currency    TEXT    NOT NULL,
  number      INTEGER NOT NULL CHECK (number > 0),
  kind        TEXT    NOT NULL CHECK (kind IN ('top_up', 'voucher', 'reserve', 'charge', 'void', 'refund', 'chargeback', 'fee',
                        'release', 'repayment', 'repayment_failed')),
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
  CHECK ((kind IN ('charge', 'void', 'refund', 'chargeback', 'release', 'repayment_failed')) = (refers_to IS NOT NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO posting SELECT * FROM posting_before;
DROP TABLE posting_before;
-- An exchange is charged once.
CREATE UNIQUE INDEX posting_of_exchange ON posting (account_id, exchange_id) WHERE kind = 'reserve';
-- What settlement is made of.
CREATE INDEX posting_shared ON posting (period, posting_id) WHERE kind IN ('charge', 'refund', 'chargeback');

CREATE TRIGGER posting_is_not_changed BEFORE UPDATE ON posting BEGIN SELECT RAISE(ABORT, 'a posting is not changed'); END;
CREATE TRIGGER posting_is_not_deleted BEFORE DELETE ON posting BEGIN SELECT RAISE(ABORT, 'a posting is not deleted'); END;

-- A payment by card, for a top-up or for what an exchange costs beyond the balance. A row says where it stands before the next step is taken.
--
-- top-up:    begun → waiting → succeeded; waiting → cancelling → cancelled
-- exchange:  begun → authorised → held → capturing → succeeded; begun, authorised and held → cancelling → cancelled; capturing → lost
--
-- `intent`: the provider's name for it. `taken`: what is booked of it, under `posting_id`; for an exchange it may be less than what was authorised.
-- `ends_at`: when a top-up is given up that nobody pays, or the card's promise ends. `fee`: the provider's, once it is known. `next_at`: when it is
-- looked at next; none where nothing is to be done any more.
CREATE TABLE payment (
  account_id  TEXT NOT NULL REFERENCES account (account_id),
  payment_id  TEXT NOT NULL,
  purpose     TEXT NOT NULL CHECK (purpose IN ('top_up', 'exchange')),
  exchange_id TEXT,
  state       TEXT NOT NULL
    CHECK (state IN ('begun', 'waiting', 'authorised', 'held', 'capturing', 'succeeded', 'cancelling', 'cancelled', 'lost')),
  currency    TEXT NOT NULL,
  amount      INTEGER NOT NULL CHECK (amount > 0),
  taken       INTEGER NOT NULL DEFAULT 0 CHECK (taken >= 0),
  keep_card   INTEGER NOT NULL,
  card        TEXT,
  intent      TEXT,
  posting_id  TEXT NOT NULL,
  failure     TEXT,
  fee         INTEGER,
  ends_at     INTEGER,
  tries       INTEGER NOT NULL DEFAULT 0,
  next_at     INTEGER,
  trouble     TEXT,
  created_at  INTEGER NOT NULL,
  changed_at  INTEGER NOT NULL,
  PRIMARY KEY (account_id, payment_id),
  CHECK ((purpose = 'exchange') = (exchange_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX payment_by_id ON payment (payment_id);
CREATE UNIQUE INDEX payment_by_intent ON payment (intent) WHERE intent IS NOT NULL;
CREATE UNIQUE INDEX payment_by_posting ON payment (posting_id);
CREATE INDEX payment_due ON payment (next_at, payment_id) WHERE next_at IS NOT NULL;
CREATE INDEX payment_of_account ON payment (account_id, created_at, payment_id);
CREATE INDEX payment_of_exchange ON payment (account_id, exchange_id) WHERE exchange_id IS NOT NULL;
CREATE INDEX payment_lost ON payment (changed_at, payment_id) WHERE state = 'lost';

-- Who an account is at the provider.
CREATE TABLE payment_customer (
  account_id TEXT NOT NULL PRIMARY KEY REFERENCES account (account_id),
  customer   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Payment cards that accounts keep at the provider. `card`: the provider's name for it; number and name of its owner are never here.
-- `fingerprint`: the provider's name for the number, the same however often it is entered. `removed_at`: from then on it pays for nothing;
-- `forgotten_at`: the provider has been told.
CREATE TABLE payment_card (
  account_id   TEXT NOT NULL REFERENCES account (account_id),
  card         TEXT NOT NULL,
  brand        TEXT NOT NULL,
  last4        TEXT NOT NULL,
  exp_month    INTEGER NOT NULL,
  exp_year     INTEGER NOT NULL,
  fingerprint  TEXT,
  kept_at      INTEGER NOT NULL,
  removed_at   INTEGER,
  forgotten_at INTEGER,
  PRIMARY KEY (account_id, card)
) STRICT, WITHOUT ROWID;

CREATE INDEX payment_card_to_forget ON payment_card (removed_at, account_id, card) WHERE removed_at IS NOT NULL AND forgotten_at IS NULL;

-- What goes back to a card of a top-up: booked when it is begun, as `posting_id`, and booked back, as `failed_id`, where the provider does not do it.
CREATE TABLE repayment (
  account_id   TEXT NOT NULL,
  posting_id   TEXT NOT NULL,
  failed_id    TEXT NOT NULL,
  payment_id   TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('begun', 'succeeded', 'failed')),
  currency     TEXT NOT NULL,
  amount       INTEGER NOT NULL CHECK (amount > 0),
  refund       TEXT,
  failure      TEXT,
  tries        INTEGER NOT NULL DEFAULT 0,
  next_at      INTEGER,
  trouble      TEXT,
  created_at   INTEGER NOT NULL,
  changed_at   INTEGER NOT NULL,
  PRIMARY KEY (account_id, posting_id),
  FOREIGN KEY (account_id, payment_id) REFERENCES payment (account_id, payment_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX repayment_due ON repayment (next_at, posting_id) WHERE next_at IS NOT NULL;
CREATE INDEX repayment_of_payment ON repayment (account_id, payment_id);

-- What card holders have objected to. inquiry (no money has moved) → taking → open → won or lost; inquiry → closed. `credit_id`: the posting by which
-- the account gets what it was not about, and once it is won, `won_id`, what it was about.
CREATE TABLE dispute (
  account_id TEXT NOT NULL,
  dispute    TEXT NOT NULL,
  payment_id TEXT NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('inquiry', 'taking', 'open', 'won', 'lost', 'closed')),
  amount     INTEGER NOT NULL,
  fee        INTEGER NOT NULL,
  credit_id  TEXT NOT NULL,
  won_id     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  changed_at INTEGER NOT NULL,
  PRIMARY KEY (account_id, dispute),
  FOREIGN KEY (account_id, payment_id) REFERENCES payment (account_id, payment_id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX dispute_by_id ON dispute (dispute);
CREATE INDEX dispute_open ON dispute (state, dispute) WHERE state IN ('inquiry', 'taking', 'open');
CREATE INDEX dispute_of_payment ON dispute (account_id, payment_id);
