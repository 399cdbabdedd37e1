-- What terminals have asked for and is charged for (C17), and how far it has come. Free exchanges leave no row.
--
-- offered → reserved → committing → charged → undoing → undone; reserved and committing → voided; offered → lapsed. A row says where it stands
-- before the next step is taken. The envelope is sealed to the authority, and is kept for as long as it may have to be handed in again. Its
-- postings have IDs that are derived from its own. The exchange has one account for good: `exchange_by_id`.
CREATE TABLE exchange (
  account_id    TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  exchange_id   TEXT COLLATE "C" NOT NULL,
  state         TEXT COLLATE "C" NOT NULL
    CHECK (state IN ('offered', 'reserved', 'committing', 'charged', 'voided', 'lapsed', 'undoing', 'undone')),
  title_id      TEXT COLLATE "C" NOT NULL,
  title_name    TEXT COLLATE "C" NOT NULL,
  currency      TEXT COLLATE "C" NOT NULL,
  amount        BIGINT NOT NULL CHECK (amount > 0),
  operator_part BIGINT NOT NULL CHECK (operator_part BETWEEN 0 AND amount),
  card_id       TEXT COLLATE "C",
  envelope      TEXT COLLATE "C",
  expires_at    BIGINT NOT NULL,
  undo_why      TEXT COLLATE "C" CHECK (undo_why IN ('refund', 'chargeback')),
  undo_note     TEXT COLLATE "C",
  tries         BIGINT NOT NULL DEFAULT 0,
  next_at       BIGINT NOT NULL,
  trouble       TEXT COLLATE "C",
  created_at    BIGINT NOT NULL,
  changed_at    BIGINT NOT NULL,
  PRIMARY KEY (account_id, exchange_id)
);

CREATE UNIQUE INDEX exchange_by_id ON exchange (exchange_id);
-- What is to be driven to its end, and when it is looked at next.
CREATE INDEX exchange_open ON exchange (next_at, exchange_id) WHERE state IN ('offered', 'reserved', 'committing', 'undoing');
-- An account's own, newest first.
CREATE INDEX exchange_of_account ON exchange (account_id, created_at, exchange_id);
