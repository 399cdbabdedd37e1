-- Who the gateway charges (C17), how they get in, and what this gateway is.

-- `failures`: attempts to sign in since the last that succeeded; after too many nobody is let in until `locked_until`.
CREATE TABLE account (
  account_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  name          TEXT COLLATE "C" NOT NULL UNIQUE,
  password_hash TEXT NOT NULL,
  email         TEXT,
  failures      BIGINT NOT NULL DEFAULT 0,
  locked_until  BIGINT,
  created_at    BIGINT NOT NULL,
  closed_at     BIGINT
);

-- What terminals and browsers hold instead of the password. `hash`: of the token.
CREATE TABLE account_token (
  account_id   TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  hash         BYTEA NOT NULL,
  kind         TEXT NOT NULL CHECK (kind IN ('terminal', 'browser')),
  created_at   BIGINT NOT NULL,
  last_used_at BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  PRIMARY KEY (account_id, hash)
);

CREATE UNIQUE INDEX account_token_by_hash ON account_token (hash);

-- Cards that have signed for an account.
CREATE TABLE account_card (
  account_id TEXT COLLATE "C" NOT NULL REFERENCES account (account_id),
  card_id    TEXT COLLATE "C" NOT NULL,
  first_at   BIGINT NOT NULL,
  PRIMARY KEY (account_id, card_id)
);

CREATE TABLE setting (
  name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);
