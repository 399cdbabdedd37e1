-- Who publishes what (reference tables: small, read by every family).
CREATE TABLE publisher (
  publisher_id TEXT NOT NULL PRIMARY KEY,
  name         TEXT NOT NULL,
  sign_key     BLOB,
  created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE title (
  title_id     TEXT NOT NULL PRIMARY KEY,
  publisher_id TEXT NOT NULL REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  kind         TEXT NOT NULL,
  created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX title_by_publisher ON title (publisher_id, title_id);

CREATE TABLE content_key (
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  generation INTEGER NOT NULL,
  wrapped    BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (title_id, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE release (
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  version    TEXT NOT NULL,
  number     INTEGER NOT NULL,
  document   TEXT NOT NULL,
  generation INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (title_id, version),
  UNIQUE (title_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE release_object (
  title_id TEXT NOT NULL,
  version  TEXT NOT NULL,
  object   TEXT NOT NULL,
  length   INTEGER NOT NULL,
  PRIMARY KEY (title_id, version, object),
  FOREIGN KEY (title_id, version) REFERENCES release (title_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  batch_id     TEXT NOT NULL PRIMARY KEY,
  publisher_id TEXT NOT NULL REFERENCES publisher (publisher_id),
  name         TEXT NOT NULL,
  origin       TEXT NOT NULL,
  count        INTEGER NOT NULL,
  rights       TEXT NOT NULL,
  claim_key    BLOB NOT NULL,
  created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX batch_by_publisher ON batch (publisher_id, batch_id);

CREATE TABLE batch_title (
  batch_id TEXT NOT NULL REFERENCES batch (batch_id),
  position INTEGER NOT NULL,
  title_id TEXT NOT NULL REFERENCES title (title_id),
  version  TEXT NOT NULL,
  PRIMARY KEY (batch_id, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE token (
  token_id   TEXT NOT NULL PRIMARY KEY,
  hash       BLOB NOT NULL,
  role       TEXT NOT NULL,
  tenant     TEXT,
  name       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;

-- Keys of the authority, wrapped by the root key (key_encryption_key) or by a key-encryption key (authority_key).
CREATE TABLE key_encryption_key (
  purpose    TEXT NOT NULL,
  version    INTEGER NOT NULL,
  wrapped    BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (purpose, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE authority_key (
  kid        TEXT NOT NULL PRIMARY KEY,
  purpose    TEXT NOT NULL,
  public_key BLOB NOT NULL,
  wrapped    BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  retired_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE setting (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- The medium's family. A pressed medium that nobody has touched has no row: its batch says that it exists.
CREATE TABLE medium (
  medium_id      TEXT NOT NULL PRIMARY KEY,
  batch_id       TEXT NOT NULL REFERENCES batch (batch_id),
  serial         INTEGER NOT NULL,
  state          TEXT NOT NULL,
  copies_claimed INTEGER NOT NULL,
  epoch          INTEGER NOT NULL,
  rights         TEXT,
  created_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX medium_by_batch ON medium (batch_id, serial);

CREATE TABLE grants (
  medium_id   TEXT NOT NULL REFERENCES medium (medium_id),
  grant_id    TEXT NOT NULL,
  copy        INTEGER NOT NULL,
  title_id    TEXT NOT NULL REFERENCES title (title_id),
  generation  INTEGER NOT NULL,
  user_id     TEXT NOT NULL,
  holder_id   TEXT NOT NULL,
  holder_kind TEXT NOT NULL,
  device_id   TEXT,
  drive_id    TEXT,
  state       TEXT NOT NULL,
  library_key BLOB NOT NULL,
  issued_at   INTEGER NOT NULL,
  settled_at  INTEGER,
  PRIMARY KEY (medium_id, grant_id)
) STRICT, WITHOUT ROWID;

-- The holder's family: whose card (or device, or drive) this is.
CREATE TABLE holder (
  holder_id  TEXT NOT NULL PRIMARY KEY,
  kind       TEXT NOT NULL,
  sign_key   BLOB,
  seal_key   BLOB,
  user_id    TEXT,
  state      TEXT NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The user's family.
CREATE TABLE user_entry (
  user_id     TEXT NOT NULL PRIMARY KEY,
  holder_id   TEXT NOT NULL,
  holder_kind TEXT NOT NULL,
  sign_key    BLOB NOT NULL,
  seal_key    BLOB NOT NULL,
  state       TEXT NOT NULL,
  created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE user_device (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  device_id  TEXT NOT NULL,
  sign_key   BLOB NOT NULL,
  seal_key   BLOB NOT NULL,
  secret     BLOB NOT NULL,
  name       TEXT,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, device_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE user_drive (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  drive_id   TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, drive_id)
) STRICT, WITHOUT ROWID;

-- What the user owns, as told by the medium's family through the outbox.
CREATE TABLE entitlement (
  user_id    TEXT NOT NULL REFERENCES user_entry (user_id),
  grant_id   TEXT NOT NULL,
  medium_id  TEXT NOT NULL,
  title_id   TEXT NOT NULL REFERENCES title (title_id),
  state      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, grant_id)
) STRICT, WITHOUT ROWID;
