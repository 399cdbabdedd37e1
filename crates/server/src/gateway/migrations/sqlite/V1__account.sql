-- Who the gateway charges (C17), how they get in, and what this gateway is.

-- `failures`: attempts to sign in since the last that succeeded; after too many nobody is let in until `locked_until`.
CREATE TABLE account (
  account_id    TEXT NOT NULL PRIMARY KEY,
  name          TEXT NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  email         TEXT,
  failures      INTEGER NOT NULL DEFAULT 0,
  locked_until  INTEGER,
  created_at    INTEGER NOT NULL,
  closed_at     INTEGER
) STRICT, WITHOUT ROWID;

-- What terminals and browsers hold instead of the password. `hash`: of the token.
CREATE TABLE account_token (
  account_id   TEXT NOT NULL REFERENCES account (account_id),
  hash         BLOB NOT NULL,
  kind         TEXT NOT NULL CHECK (kind IN ('terminal', 'browser')),
  created_at   INTEGER NOT NULL,
  last_used_at INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL,
  PRIMARY KEY (account_id, hash)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX account_token_by_hash ON account_token (hash);

-- Cards that have signed for an account.
CREATE TABLE account_card (
  account_id TEXT NOT NULL REFERENCES account (account_id),
  card_id    TEXT NOT NULL,
  first_at   INTEGER NOT NULL,
  PRIMARY KEY (account_id, card_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
