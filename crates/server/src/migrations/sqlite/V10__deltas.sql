-- Chunks of one release, written against those of another (A5): for devices between whose release and the new one there is no patch, or
-- that have only part of either. `covered`: sealed bytes of the chunks that it gives.
CREATE TABLE delta (
  title_id     TEXT NOT NULL,
  from_version TEXT NOT NULL,
  to_version   TEXT NOT NULL,
  object       TEXT NOT NULL,
  length       INTEGER NOT NULL,
  covered      INTEGER NOT NULL,
  encoder      TEXT NOT NULL,
  created_at   INTEGER NOT NULL,
  PRIMARY KEY (title_id, from_version, to_version),
  FOREIGN KEY (title_id, from_version) REFERENCES release (title_id, version),
  FOREIGN KEY (title_id, to_version) REFERENCES release (title_id, version)
) STRICT, WITHOUT ROWID;
