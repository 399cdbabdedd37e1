-- Updates that fit what is there (A2, A5, A6, A8, A10, A12).

-- What the publisher, or the operator, says of a release after it was published.
ALTER TABLE release ADD COLUMN notes TEXT NOT NULL DEFAULT '';
ALTER TABLE release ADD COLUMN critical BIGINT NOT NULL DEFAULT 0;
-- Percent of the devices that it is offered to.
ALTER TABLE release ADD COLUMN rollout BIGINT NOT NULL DEFAULT 100 CHECK (rollout BETWEEN 0 AND 100);
ALTER TABLE release ADD COLUMN held_at BIGINT;
ALTER TABLE release ADD COLUMN withdrawn_at BIGINT;
-- Whether devices that have a later release may go back to it.
ALTER TABLE release ADD COLUMN allow_back BIGINT NOT NULL DEFAULT 1;
-- What its chunks were compressed by.
ALTER TABLE release ADD COLUMN encoder TEXT NOT NULL DEFAULT '';

-- The oldest release that is still good on a channel: who has an older one is told that the update is critical.
CREATE TABLE channel_minimum (
  title_id TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  channel  TEXT COLLATE "C" NOT NULL,
  number   BIGINT NOT NULL,
  PRIMARY KEY (title_id, channel)
);

-- Data that turns one release into another.
CREATE TABLE patch (
  title_id     TEXT COLLATE "C" NOT NULL,
  from_version TEXT COLLATE "C" NOT NULL,
  to_version   TEXT COLLATE "C" NOT NULL,
  object       TEXT COLLATE "C" NOT NULL,
  length       BIGINT NOT NULL,
  encoder      TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (title_id, from_version, to_version),
  FOREIGN KEY (title_id, from_version) REFERENCES release (title_id, version),
  FOREIGN KEY (title_id, to_version) REFERENCES release (title_id, version)
);

-- The newest list of releases that the publisher has signed.
CREATE TABLE feed (
  title_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES title (title_id),
  sequence   BIGINT NOT NULL,
  document   TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);

-- What a device last said it has (A6). `device_id` is empty for an entry without devices.
CREATE TABLE status (
  user_id     TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  device_id   TEXT COLLATE "C" NOT NULL,
  title_id    TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  channel     TEXT COLLATE "C" NOT NULL,
  version     TEXT,
  document    TEXT NOT NULL,
  reported_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id, title_id)
);

-- Supplementary titles, and whom they are for: a condition in CEL on the status.
CREATE TABLE selection_rule (
  title_id      TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  supplement_id TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  condition     TEXT NOT NULL,
  updated_at    BIGINT NOT NULL,
  PRIMARY KEY (title_id, supplement_id)
);

-- Contents servers of others (A8, A10).
CREATE TABLE contents_server (
  server_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  name       TEXT NOT NULL,
  url        TEXT NOT NULL,
  relayed    BIGINT NOT NULL,
  key        TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  ended_at   BIGINT
);

-- Which titles a contents server may select for which title.
CREATE TABLE contents_server_title (
  server_id     TEXT COLLATE "C" NOT NULL REFERENCES contents_server (server_id),
  title_id      TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  supplement_id TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  PRIMARY KEY (server_id, title_id, supplement_id)
);

-- Who sent a job to another device, and how far that one is with it.
ALTER TABLE inbox ADD COLUMN sent_by TEXT;
ALTER TABLE inbox ADD COLUMN bytes_done BIGINT;
ALTER TABLE inbox ADD COLUMN bytes_total BIGINT;
