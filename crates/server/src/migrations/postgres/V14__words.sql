-- The words of names, folded (src/words.rs), so that a person, title or batch is found by how a word begins. Written with the row that has the
-- name; `counterfoild migrate`, and the process that leads, write those of rows that older versions wrote.
CREATE TABLE person_word (
  user_id TEXT COLLATE "C" NOT NULL,
  word    TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (user_id, word)
);

CREATE INDEX person_word_by_word ON person_word (word, user_id);

-- `kind` is title or batch; `subject` is the ID of it.
CREATE TABLE catalogue_word (
  kind    TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  word    TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (kind, subject, word)
);

CREATE INDEX catalogue_word_by_word ON catalogue_word (kind, word, subject);
