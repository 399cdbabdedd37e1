-- Who publishes what (reference tables: small, read by every family).
CREATE TABLE publisher (
  publisher_id TEXT NOT NULL PRIMARY KEY,
  name         TEXT NOT NULL,
  sign_key     BYTEA,
  created_at   BIGINT NOT NULL
);

CREATE TABLE title (
  title_id     TEXT NOT NULL PRIMARY KEY,
  publisher_id TEXT NOT NULL REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  kind         TEXT NOT NULL,
  created_at   BIGINT NOT NULL
);

CREATE INDEX title_by_publisher ON title (publisher_id, title_id);

CREATE TABLE content_key (
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  generation BIGINT NOT NULL,
  wrapped    BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (title_id, generation)
);

CREATE TABLE release (
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  version    TEXT NOT NULL,
  number     BIGINT NOT NULL,
  document   TEXT NOT NULL,
  generation BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (title_id, version),
  UNIQUE (title_id, number)
);

CREATE TABLE release_object (
  title_id TEXT NOT NULL,
  version  TEXT NOT NULL,
  object   TEXT NOT NULL,
  length   BIGINT NOT NULL,
  PRIMARY KEY (title_id, version, object),
  FOREIGN KEY (title_id, version) REFERENCES release (title_id, version)
);

CREATE TABLE batch (
  batch_id     TEXT NOT NULL PRIMARY KEY,
  publisher_id TEXT NOT NULL REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  origin       TEXT NOT NULL,
  count        BIGINT NOT NULL,
  rights       TEXT NOT NULL,
  claim_key    BYTEA NOT NULL,
  created_at   BIGINT NOT NULL
);

CREATE INDEX batch_by_publisher ON batch (publisher_id, batch_id);

CREATE TABLE batch_title (
  batch_id TEXT NOT NULL REFERENCES batch (batch_id),
  position BIGINT NOT NULL,
  title_id TEXT NOT NULL REFERENCES title (title_id),
  version  TEXT NOT NULL,
  PRIMARY KEY (batch_id, position)
);

CREATE TABLE token (
  token_id   TEXT NOT NULL PRIMARY KEY,
  hash       BYTEA NOT NULL,
  role       TEXT NOT NULL,
  tenant     TEXT,
  name       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  revoked_at BIGINT
);

-- Keys of the authority, wrapped by the root key (key_encryption_key) or by a key-encryption key (authority_key).
CREATE TABLE key_encryption_key (
  purpose    TEXT NOT NULL,
  version    BIGINT NOT NULL,
  wrapped    BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (purpose, version)
);

CREATE TABLE authority_key (
  kid        TEXT NOT NULL PRIMARY KEY,
  purpose    TEXT NOT NULL,
  public_key BYTEA NOT NULL,
  wrapped    BYTEA NOT NULL,
  created_at BIGINT NOT NULL,
  retired_at BIGINT
);

CREATE TABLE setting (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);

-- The medium's family. A pressed medium that nobody has touched has no row: its batch says that it exists.
CREATE TABLE medium (
  medium_id      TEXT NOT NULL PRIMARY KEY,
  batch_id       TEXT NOT NULL REFERENCES batch (batch_id),
  serial         BIGINT NOT NULL,
  state          TEXT NOT NULL,
  copies_claimed BIGINT NOT NULL,
  epoch          BIGINT NOT NULL,
  rights         TEXT,
  created_at     BIGINT NOT NULL
);

CREATE INDEX medium_by_batch ON medium (batch_id, serial);

CREATE TABLE grants (
  medium_id   TEXT NOT NULL REFERENCES medium (medium_id),
  grant_id    TEXT NOT NULL,
  copy        BIGINT NOT NULL,
  title_id    TEXT NOT NULL REFERENCES title (title_id),
  generation  BIGINT NOT NULL,
  user_id     TEXT NOT NULL,
  holder_id   TEXT NOT NULL,
  holder_kind TEXT NOT NULL,
  device_id   TEXT,
  drive_id    TEXT,
  state       TEXT NOT NULL,
  library_key BYTEA NOT NULL,
  issued_at   BIGINT NOT NULL,
  settled_at  BIGINT,
  PRIMARY KEY (medium_id, grant_id)
);

-- The holder's family: whose card (or device, or drive) this is.
CREATE TABLE holder (
  holder_id  TEXT NOT NULL PRIMARY KEY,
  kind       TEXT NOT NULL,
  sign_key   BYTEA,
  seal_key   BYTEA,
  user_id    TEXT,
  state      TEXT NOT NULL,
  created_at BIGINT NOT NULL
);

-- The user's family.
CREATE TABLE user_entry (
  user_id     TEXT NOT NULL PRIMARY KEY,
  holder_id   TEXT NOT NULL,
  holder_kind TEXT NOT NULL,
  sign_key    BYTEA NOT NULL,
  seal_key    BYTEA NOT NULL,
  state       TEXT NOT NULL,
  created_at  BIGINT NOT NULL
);

CREATE TABLE user_device (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  device_id  TEXT NOT NULL,
  sign_key   BYTEA NOT NULL,
  seal_key   BYTEA NOT NULL,
  secret     BYTEA NOT NULL,
  name       TEXT,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, device_id)
);

CREATE TABLE user_drive (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  drive_id   TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, drive_id)
);

-- What the user owns, as told by the medium's family through the outbox.
CREATE TABLE entitlement (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  grant_id   TEXT NOT NULL,
  medium_id  TEXT NOT NULL,
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  state      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (user_id, grant_id)
);
