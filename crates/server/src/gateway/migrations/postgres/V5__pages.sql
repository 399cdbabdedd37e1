-- What pages, alerts and mail need (issue 8).

-- `receipts`: whether receipts go to `email`. `low_amount`: below this much of `low_currency` the owner wants to be told, in minor units.
ALTER TABLE account ADD COLUMN receipts BIGINT NOT NULL DEFAULT 0 CHECK (receipts IN (0, 1));
ALTER TABLE account ADD COLUMN low_amount BIGINT CHECK (low_amount > 0);
ALTER TABLE account ADD COLUMN low_currency TEXT COLLATE "C";
CREATE INDEX account_low ON account (account_id) WHERE low_amount IS NOT NULL;

-- What the browser calls itself that holds it; empty for terminals.
ALTER TABLE account_token ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- One-time links: into the operator's pages, or to a new password for an account. Whoever follows one takes the row away.
CREATE TABLE link (
  hash       BYTEA  NOT NULL PRIMARY KEY,
  kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('operator', 'password')),
  account_id TEXT COLLATE "C" REFERENCES account (account_id),
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  CHECK ((kind = 'password') = (account_id IS NOT NULL))
);

CREATE INDEX link_of_account ON link (account_id) WHERE account_id IS NOT NULL;

-- Browsers that were let in to the operator's pages. `hash`: of what the cookie holds.
CREATE TABLE operator_session (
  hash       BYTEA  NOT NULL PRIMARY KEY,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);

-- What somebody should know, once, until it is over. `subject`: whose or which; empty where there is one of its kind.
CREATE TABLE alert (
  alert_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  kind      TEXT COLLATE "C" NOT NULL,
  subject   TEXT COLLATE "C" NOT NULL,
  detail    TEXT   NOT NULL,
  since     BIGINT NOT NULL,
  raised_at BIGINT NOT NULL,
  over_at   BIGINT
);

CREATE UNIQUE INDEX alert_open ON alert (kind, subject) WHERE over_at IS NULL;
CREATE INDEX alert_by_time ON alert (raised_at, alert_id);

-- Mail that waits to be sent; one that was taken by the mail server is gone. `subject`: the exchange of a receipt, the alert of an alert.
CREATE TABLE mail (
  mail_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  account_id TEXT COLLATE "C" REFERENCES account (account_id),
  recipient  TEXT   NOT NULL,
  letter     TEXT COLLATE "C" NOT NULL CHECK (letter IN ('charge', 'refund', 'alert', 'over')),
  subject    TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  next_at    BIGINT NOT NULL,
  attempts   BIGINT NOT NULL DEFAULT 0,
  last_error TEXT
);

CREATE INDEX mail_due ON mail (next_at, mail_id);

-- What the operator's lists go by, besides IDs: what ended otherwise than usual, and what came in.
CREATE INDEX exchange_unusual ON exchange (state, exchange_id) WHERE state IN ('voided', 'undone');
CREATE INDEX posting_paid_in ON posting (booked_at, posting_id) WHERE kind IN ('top_up', 'voucher');
CREATE INDEX voucher_by_time ON voucher (created_at, hash);
