-- Chunks of one release, written against those of another (A5): for devices between whose release and the new one there is no patch, or
-- that have only part of either. `covered`: sealed bytes of the chunks that it gives.
CREATE TABLE delta (
  title_id     TEXT COLLATE "C" NOT NULL,
  from_version TEXT COLLATE "C" NOT NULL,
  to_version   TEXT COLLATE "C" NOT NULL,
  object       TEXT COLLATE "C" NOT NULL,
  length       BIGINT NOT NULL,
  covered      BIGINT NOT NULL,
  encoder      TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  PRIMARY KEY (title_id, from_version, to_version),
  FOREIGN KEY (title_id, from_version) REFERENCES release (title_id, version),
  FOREIGN KEY (title_id, to_version) REFERENCES release (title_id, version)
);
