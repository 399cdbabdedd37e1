-- Terms that change from a day on, and keys that follow one another.

-- What the authority's keys are from an epoch on, signed by the key before: terminals that know that one follow, whoever hands it on (C16).
CREATE TABLE authority_keys_statement (
  epoch      INTEGER NOT NULL PRIMARY KEY,
  statement  TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A gateway's share from a moment on, in hundredths of a percent; before the first of them it is the one in `gateway`.
CREATE TABLE gateway_terms (
  gateway_id TEXT NOT NULL REFERENCES gateway (gateway_id),
  since      INTEGER NOT NULL,
  share      INTEGER NOT NULL CHECK (share BETWEEN 0 AND 10000),
  created_at INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, since)
) STRICT, WITHOUT ROWID;

-- The gateway's share that an exchange was made under; none where it is from before that was noted.
ALTER TABLE gateway_exchange ADD COLUMN share INTEGER;

-- All exchanges of a gateway in the order that both sides compare them in.
CREATE INDEX gateway_exchange_by_id ON gateway_exchange (gateway_id, exchange_id);

-- Months that are closed, also where nothing was charged in them and there is no currency to name.
CREATE TABLE gateway_closed_month (
  gateway_id TEXT NOT NULL REFERENCES gateway (gateway_id),
  period     TEXT NOT NULL,
  closed_at  INTEGER NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, period)
) STRICT, WITHOUT ROWID;

INSERT INTO gateway_closed_month (gateway_id, period, closed_at, actor)
  SELECT gateway_id, period, MIN(closed_at), MIN(actor) FROM gateway_settlement GROUP BY gateway_id, period;
