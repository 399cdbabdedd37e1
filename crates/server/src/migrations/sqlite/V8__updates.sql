-- Updates that fit what is there (A2, A5, A6, A8, A10, A12).

-- What the publisher, or the operator, says of a release after it was published.
ALTER TABLE release ADD COLUMN notes TEXT NOT NULL DEFAULT '';
ALTER TABLE release ADD COLUMN critical INTEGER NOT NULL DEFAULT 0;
-- Percent of the devices that it is offered to.
ALTER TABLE release ADD COLUMN rollout INTEGER NOT NULL DEFAULT 100 CHECK (rollout BETWEEN 0 AND 100);
ALTER TABLE release ADD COLUMN held_at INTEGER;
ALTER TABLE release ADD COLUMN withdrawn_at INTEGER;
-- Whether devices that have a later release may go back to it.
ALTER TABLE release ADD COLUMN allow_back INTEGER NOT NULL DEFAULT 1;
-- What its chunks were compressed by.
ALTER TABLE release ADD COLUMN encoder TEXT NOT NULL DEFAULT '';

-- The oldest release that is still good on a channel: who has an older one is told that the update is critical.
CREATE TABLE channel_minimum (
  title_id TEXT NOT NULL REFERENCES title (title_id),
  channel  TEXT NOT NULL,
  number   INTEGER NOT NULL,
  PRIMARY KEY (title_id, channel)
) STRICT, WITHOUT ROWID;

-- Data that turns one release into another.
CREATE TABLE patch (
  title_id     TEXT NOT NULL,
  from_version TEXT NOT NULL,
  to_version   TEXT NOT NULL,
  object       TEXT NOT NULL,
  length       INTEGER NOT NULL,
  encoder      TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  PRIMARY KEY (title_id, from_version, to_version),
  FOREIGN KEY (title_id, from_version) REFERENCES release (title_id, version),
  FOREIGN KEY (title_id, to_version) REFERENCES release (title_id, version)
) STRICT, WITHOUT ROWID;

-- The newest list of releases that the publisher has signed.
CREATE TABLE feed (
  title_id   TEXT NOT NULL PRIMARY KEY REFERENCES title (title_id),
  sequence   INTEGER NOT NULL,
  document   TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a device last said it has (A6). `device_id` is empty for an entry without devices.
CREATE TABLE status (
  user_id     TEXT NOT NULL REFERENCES user_entry (user_id),
  device_id   TEXT NOT NULL,
  title_id    TEXT NOT NULL REFERENCES title (title_id),
  channel     TEXT NOT NULL,
  version     TEXT,
  document    TEXT NOT NULL,
  reported_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, device_id, title_id)
) STRICT, WITHOUT ROWID;

-- Supplementary titles, and whom they are for: a condition in CEL on the status.
CREATE TABLE selection_rule (
  title_id      TEXT NOT NULL REFERENCES title (title_id),
  supplement_id TEXT NOT NULL REFERENCES title (title_id),
  condition     TEXT NOT NULL,
  updated_at    INTEGER NOT NULL,
  PRIMARY KEY (title_id, supplement_id)
) STRICT, WITHOUT ROWID;

-- Contents servers of others (A8, A10).
CREATE TABLE contents_server (
  server_id  TEXT NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  url        TEXT NOT NULL,
  relayed    INTEGER NOT NULL,
  key        TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at   INTEGER
) STRICT, WITHOUT ROWID;

-- Which titles a contents server may select for which title.
CREATE TABLE contents_server_title (
  server_id     TEXT NOT NULL REFERENCES contents_server (server_id),
  title_id      TEXT NOT NULL REFERENCES title (title_id),
  supplement_id TEXT NOT NULL REFERENCES title (title_id),
  PRIMARY KEY (server_id, title_id, supplement_id)
) STRICT, WITHOUT ROWID;

-- Who sent a job to another device, and how far that one is with it.
ALTER TABLE inbox ADD COLUMN sent_by TEXT;
ALTER TABLE inbox ADD COLUMN bytes_done INTEGER;
ALTER TABLE inbox ADD COLUMN bytes_total INTEGER;
