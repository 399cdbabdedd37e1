-- Which process does a job. Whoever holds it moves `beat` on; whoever sees it stand still takes it over.
CREATE TABLE lease (
  name   TEXT NOT NULL PRIMARY KEY,
  holder TEXT,
  beat   INTEGER NOT NULL
);
