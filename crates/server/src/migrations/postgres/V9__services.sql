-- Services of third parties, uploads, refreshed media (A4, A9, B2, B4-B7).

-- How many refreshes were ordered: of one medium, and of its whole batch. 1 + both is the epoch that its claim secret should have.
ALTER TABLE medium ADD COLUMN refreshes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN refreshes BIGINT NOT NULL DEFAULT 0;

-- Counts changes of rights, and of a batch its refreshes as well: a claim commits where it is as it was when the claim was decided.
ALTER TABLE medium ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE batch ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- The most copies that were ever allowed, where rights were changed: fewer take back none that was claimed.
ALTER TABLE medium ADD COLUMN most_copies BIGINT;
ALTER TABLE batch ADD COLUMN most_copies BIGINT;

-- Who offers services to media.
CREATE TABLE provider (
  provider_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  name        TEXT NOT NULL,
  url         TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  ended_at    BIGINT
);

-- Whose media a provider may have judged.
CREATE TABLE provider_publisher (
  provider_id  TEXT COLLATE "C" NOT NULL REFERENCES provider (provider_id),
  publisher_id TEXT COLLATE "C" NOT NULL REFERENCES publisher (publisher_id),
  PRIMARY KEY (provider_id, publisher_id)
);

-- What a user's saves of a title are sealed under, wrapped.
CREATE TABLE save_key (
  user_id    TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  title_id   TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  wrapped    BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, title_id)
);

-- Bytes that a user holds of a title, what is under way included: the row that a quota is counted by.
CREATE TABLE upload_usage (
  user_id  TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  title_id TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  bytes    BIGINT NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (user_id, title_id)
);

-- What was handed in. `state` is open, complete or removed; an open one becomes the version that it says. `expires_at` is when an open one
-- ends, and when any other has ended. `swept`: nothing is left of it in the contents store that nobody needs.
CREATE TABLE upload (
  user_id      TEXT COLLATE "C" NOT NULL REFERENCES user_entry (user_id),
  upload_id    TEXT COLLATE "C" NOT NULL,
  title_id     TEXT COLLATE "C" NOT NULL REFERENCES title (title_id),
  slot         TEXT COLLATE "C" NOT NULL,
  version      BIGINT NOT NULL,
  device_id    TEXT COLLATE "C" NOT NULL,
  object       TEXT COLLATE "C" NOT NULL,
  length       BIGINT NOT NULL,
  received     BIGINT NOT NULL,
  note         TEXT,
  state        TEXT COLLATE "C" NOT NULL,
  created_at   BIGINT NOT NULL,
  expires_at   BIGINT NOT NULL,
  completed_at BIGINT,
  swept        BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (user_id, upload_id)
);

CREATE INDEX upload_by_slot ON upload (user_id, title_id, slot, version);
-- One complete version of each number.
CREATE UNIQUE INDEX upload_complete ON upload (user_id, title_id, slot, version) WHERE state = 'complete';
CREATE INDEX upload_open ON upload (expires_at) WHERE state = 'open';
CREATE INDEX upload_over ON upload (expires_at) WHERE state <> 'open' AND swept = 0;
-- Who else holds the same bytes.
CREATE INDEX upload_object ON upload (object);

-- The pieces of an open upload, each an object of the contents store.
CREATE TABLE upload_part (
  user_id   TEXT COLLATE "C" NOT NULL,
  upload_id TEXT COLLATE "C" NOT NULL,
  position  BIGINT NOT NULL,
  length    BIGINT NOT NULL,
  object    TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (user_id, upload_id, position),
  FOREIGN KEY (user_id, upload_id) REFERENCES upload (user_id, upload_id)
);
