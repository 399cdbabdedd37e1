-- Terms that change from a day on, and keys that follow one another.

-- What the authority's keys are from an epoch on, signed by the key before: terminals that know that one follow, whoever hands it on (C16).
CREATE TABLE authority_keys_statement (
  epoch      BIGINT NOT NULL PRIMARY KEY,
  statement  TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- A gateway's share from a moment on, in hundredths of a percent; before the first of them it is the one in `gateway`.
CREATE TABLE gateway_terms (
  gateway_id TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  since      BIGINT NOT NULL,
  share      BIGINT NOT NULL CHECK (share BETWEEN 0 AND 10000),
  created_at BIGINT NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, since)
);

-- The gateway's share that an exchange was made under; none where it is from before that was noted.
ALTER TABLE gateway_exchange ADD COLUMN share BIGINT;

-- All exchanges of a gateway in the order that both sides compare them in.
CREATE INDEX gateway_exchange_by_id ON gateway_exchange (gateway_id, exchange_id);

-- Months that are closed, also where nothing was charged in them and there is no currency to name.
CREATE TABLE gateway_closed_month (
  gateway_id TEXT COLLATE "C" NOT NULL REFERENCES gateway (gateway_id),
  period     TEXT COLLATE "C" NOT NULL,
  closed_at  BIGINT NOT NULL,
  actor      TEXT NOT NULL,
  PRIMARY KEY (gateway_id, period)
);

INSERT INTO gateway_closed_month (gateway_id, period, closed_at, actor)
  SELECT gateway_id, period, MIN(closed_at), MIN(actor) FROM gateway_settlement GROUP BY gateway_id, period;
