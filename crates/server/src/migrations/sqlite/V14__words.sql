-- The words of names, folded (src/words.rs), so that a person, title or batch is found by how a word begins. Written with the row that has the
-- name; `counterfoild migrate`, and the process that leads, write those of rows that older versions wrote.
CREATE TABLE person_word (
  user_id TEXT NOT NULL,
  word    TEXT NOT NULL,
  PRIMARY KEY (user_id, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX person_word_by_word ON person_word (word, user_id);

-- `kind` is title or batch; `subject` is the ID of it.
CREATE TABLE catalogue_word (
  kind    TEXT NOT NULL,
  subject TEXT NOT NULL,
  word    TEXT NOT NULL,
  PRIMARY KEY (kind, subject, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX catalogue_word_by_word ON catalogue_word (kind, word, subject);
