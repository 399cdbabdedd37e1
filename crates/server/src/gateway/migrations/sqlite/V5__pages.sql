-- What pages, alerts and mail need (issue 8).

-- `receipts`: whether receipts go to `email`. `low_amount`: below this much of `low_currency` the owner wants to be told, in minor units.
ALTER TABLE account ADD COLUMN receipts INTEGER NOT NULL DEFAULT 0 CHECK (receipts IN (0, 1));
ALTER TABLE account ADD COLUMN low_amount INTEGER CHECK (low_amount > 0);
ALTER TABLE account ADD COLUMN low_currency TEXT;
CREATE INDEX account_low ON account (account_id) WHERE low_amount IS NOT NULL;

-- What the browser calls itself that holds it; empty for terminals.
ALTER TABLE account_token ADD COLUMN agent TEXT NOT NULL DEFAULT '';

-- One-time links: into the operator's pages, or to a new password for an account. Whoever follows one takes the row away.
CREATE TABLE link (
  hash       BLOB  NOT NULL PRIMARY KEY,
  kind       TEXT NOT NULL CHECK (kind IN ('operator', 'password')),
  account_id TEXT REFERENCES account (account_id),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  CHECK ((kind = 'password') = (account_id IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX link_of_account ON link (account_id) WHERE account_id IS NOT NULL;

-- Browsers that were let in to the operator's pages. `hash`: of what the cookie holds.
CREATE TABLE operator_session (
  hash       BLOB  NOT NULL PRIMARY KEY,
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What somebody should know, once, until it is over. `subject`: whose or which; empty where there is one of its kind.
CREATE TABLE alert (
  alert_id  TEXT NOT NULL PRIMARY KEY,
  kind      TEXT NOT NULL,
  subject   TEXT NOT NULL,
  detail    TEXT   NOT NULL,
  since     INTEGER NOT NULL,
  raised_at INTEGER NOT NULL,
  over_at   INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX alert_open ON alert (kind, subject) WHERE over_at IS NULL;
CREATE INDEX alert_by_time ON alert (raised_at, alert_id);

-- Mail that waits to be sent; one that was taken by the mail server is gone. `subject`: the exchange of a receipt, the alert of an alert.
CREATE TABLE mail (
  mail_id    TEXT NOT NULL PRIMARY KEY,
  account_id TEXT REFERENCES account (account_id),
  recipient  TEXT   NOT NULL,
  letter     TEXT NOT NULL CHECK (letter IN ('charge', 'refund', 'alert', 'over')),
  subject    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  next_at    INTEGER NOT NULL,
  attempts   INTEGER NOT NULL DEFAULT 0,
  last_error TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX mail_due ON mail (next_at, mail_id);

-- What the operator's lists go by, besides IDs: what ended otherwise than usual, and what came in.
CREATE INDEX exchange_unusual ON exchange (state, exchange_id) WHERE state IN ('voided', 'undone');
CREATE INDEX posting_paid_in ON posting (booked_at, posting_id) WHERE kind IN ('top_up', 'voucher');
CREATE INDEX voucher_by_time ON voucher (created_at, hash);
