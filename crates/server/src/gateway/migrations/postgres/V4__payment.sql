-- Payment by card through a payment provider (C17).

-- Three kinds of posting more: `release` (money that a card had promised is not taken), `repayment` (what is left of a top-up goes back to its
-- card) and `repayment_failed` (and comes back from there).
ALTER TABLE posting DROP CONSTRAINT posting_kind_check;
ALTER TABLE posting ADD CONSTRAINT posting_kind_check CHECK (kind IN ('top_up', 'voucher', 'reserve', 'charge', 'void', 'refund', 'chargeback', 'fee',
  'release', 'repayment', 'repayment_failed'));
ALTER TABLE posting DROP CONSTRAINT posting_check3;
ALTER TABLE posting ADD CONSTRAINT posting_check3
  CHECK ((kind IN ('charge', 'void', 'refund', 'chargeback', 'release', 'repayment_failed')) = (refers_to IS NOT NULL));

-- A payment by card, for a top-up or for what an exchange costs beyond the balance. A row says where it stands before the next step is taken.
--
-- top-up:    begun → waiting → succeeded; waiting → cancelling → cancelled
-- exchange:  begun → authorised → held → capturing → succeeded; begun, authorised and held → cancelling → cancelled; capturing → lost
--
-- `intent`: the provider's name for it. `taken`: what is booked of it, under `posting_id`; for an exchange it may be less than what was authorised.
-- `ends_at`: when a top-up is given up that nobody pays, or the card's promise ends. `fee`: the provider's, once it is known. `next_at`: when it is
-- looked at next; none where nothing is to be done any more.
CREATE TABLE payment (
  account_id  TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  payment_id  TEXT COLLATE "C" NOT NULL,
  purpose     TEXT NOT NULL CHECK (purpose IN ('top_up', 'exchange')),
  exchange_id TEXT COLLATE "C",
  state       TEXT COLLATE "C" NOT NULL
    CHECK (state IN ('begun', 'waiting', 'authorised', 'held', 'capturing', 'succeeded', 'cancelling', 'cancelled', 'lost')),
  currency    TEXT COLLATE "C" NOT NULL,
  amount      BIGINT NOT NULL CHECK (amount > 0),
  taken       BIGINT NOT NULL DEFAULT 0 CHECK (taken >= 0),
  keep_card   BIGINT NOT NULL,
  card        TEXT COLLATE "C",
  intent      TEXT COLLATE "C",
  posting_id  TEXT COLLATE "C" NOT NULL,
  failure     TEXT,
  fee         BIGINT,
  ends_at     BIGINT,
  tries       BIGINT NOT NULL DEFAULT 0,
  next_at     BIGINT,
  trouble     TEXT,
  created_at  BIGINT NOT NULL,
  changed_at  BIGINT NOT NULL,
  PRIMARY KEY (account_id, payment_id),
  CHECK ((purpose = 'exchange') = (exchange_id IS NOT NULL))
);

CREATE UNIQUE INDEX payment_by_id ON payment (payment_id);
CREATE UNIQUE INDEX payment_by_intent ON payment (intent) WHERE intent IS NOT NULL;
CREATE UNIQUE INDEX payment_by_posting ON payment (posting_id);
CREATE INDEX payment_due ON payment (next_at, payment_id) WHERE next_at IS NOT NULL;
CREATE INDEX payment_of_account ON payment (account_id, created_at, payment_id);
CREATE INDEX payment_of_exchange ON payment (account_id, exchange_id) WHERE exchange_id IS NOT NULL;
CREATE INDEX payment_lost ON payment (changed_at, payment_id) WHERE state = 'lost';

-- Who an account is at the provider.
CREATE TABLE payment_customer (
  account_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES account (account_id),
  customer   TEXT COLLATE "C" NOT NULL
);

-- Payment cards that accounts keep at the provider. `card`: the provider's name for it; number and name of its owner are never here.
-- `fingerprint`: the provider's name for the number, the same however often it is entered. `removed_at`: from then on it pays for nothing;
-- `forgotten_at`: the provider has been told.
CREATE TABLE payment_card (
  account_id   TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  card         TEXT COLLATE "C" NOT NULL,
  brand        TEXT NOT NULL,
  last4        TEXT NOT NULL,
  exp_month    BIGINT NOT NULL,
  exp_year     BIGINT NOT NULL,
  fingerprint  TEXT COLLATE "C",
  kept_at      BIGINT NOT NULL,
  removed_at   BIGINT,
  forgotten_at BIGINT,
  PRIMARY KEY (account_id, card)
);

CREATE INDEX payment_card_to_forget ON payment_card (removed_at, account_id, card) WHERE removed_at IS NOT NULL AND forgotten_at IS NULL;

-- What goes back to a card of a top-up: booked when it is begun, as `posting_id`, and booked back, as `failed_id`, where the provider does not do it.
CREATE TABLE repayment (
  account_id   TEXT COLLATE "C" NOT NULL,
  posting_id   TEXT COLLATE "C" NOT NULL,
  failed_id    TEXT COLLATE "C" NOT NULL,
  payment_id   TEXT COLLATE "C" NOT NULL,
  state        TEXT COLLATE "C" NOT NULL CHECK (state IN ('begun', 'succeeded', 'failed')),
  currency     TEXT COLLATE "C" NOT NULL,
  amount       BIGINT NOT NULL CHECK (amount > 0),
  refund       TEXT COLLATE "C",
  failure      TEXT,
  tries        BIGINT NOT NULL DEFAULT 0,
  next_at      BIGINT,
  trouble      TEXT,
  created_at   BIGINT NOT NULL,
  changed_at   BIGINT NOT NULL,
  PRIMARY KEY (account_id, posting_id),
  FOREIGN KEY (account_id, payment_id) REFERENCES payment (account_id, payment_id)
);

CREATE INDEX repayment_due ON repayment (next_at, posting_id) WHERE next_at IS NOT NULL;
CREATE INDEX repayment_of_payment ON repayment (account_id, payment_id);

-- What card holders have objected to. inquiry (no money has moved) → taking → open → won or lost; inquiry → closed. `credit_id`: the posting by which
-- the account gets what it was not about, and once it is won, `won_id`, what it was about.
CREATE TABLE dispute (
  account_id TEXT COLLATE "C" NOT NULL,
  dispute    TEXT COLLATE "C" NOT NULL,
  payment_id TEXT COLLATE "C" NOT NULL,
  state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('inquiry', 'taking', 'open', 'won', 'lost', 'closed')),
  amount     BIGINT NOT NULL,
  fee        BIGINT NOT NULL,
  credit_id  TEXT COLLATE "C" NOT NULL,
  won_id     TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (account_id, dispute),
  FOREIGN KEY (account_id, payment_id) REFERENCES payment (account_id, payment_id)
);

CREATE UNIQUE INDEX dispute_by_id ON dispute (dispute);
CREATE INDEX dispute_open ON dispute (state, dispute) WHERE state IN ('inquiry', 'taking', 'open');
CREATE INDEX dispute_of_payment ON dispute (account_id, payment_id);
