//! The words of names (`crate::words`): kept beside the rows that have the names, in the same transactions, and looked up by how they begin.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::UserId;

use crate::auth::Scope;
use crate::db::{DbError, FromRow, Row, Tx};
use crate::words;

/// Names that have the rarest of the words looked for, and are looked at: a search takes a bounded time, however many there are.
const LOOKED_AT: usize = 10_000;
/// Words that are read at a time.
const FOUND: usize = 200;
/// Names that are compared with their words at a time.
const STEP: i64 = 500;

/// What has a name that it is found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shelf {
    /// `user_info`, by user ID.
    People,
    /// `title`, by title ID, whose parts are words of it as well.
    Titles,
    /// `batch`, by batch ID.
    Batches,
}

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its ID.
    pub id: String,
    /// For people.
    pub name: String,
    /// Whose; a person is nobody's.
    pub publisher: String,
}

struct Sql {
    /// How many words begin so, up to a limit.
    count: &'static str,
    /// [`FOUND`] words that begin so with the names that they are of, after a word and an ID. How many is no value, and in front of the join: else
    /// PostgreSQL, planning for any value, joins all names there are.
    found: &'static str,
    /// Names in the order of their IDs, after one.
    names: &'static str,
    /// The words of names between two IDs.
    words: &'static str,
    /// IDs with words and without a name.
    orphans: &'static str,
}

impl Shelf {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::People, Self::Titles, Self::Batches];

    fn sql(self) -> &'static Sql {
        match self {
            Self::People => &Sql {
                count: "SELECT COUNT(*) FROM (SELECT 1 AS one FROM person_word WHERE word >= $1 AND word < $2 LIMIT $3) f",
                found: "SELECT w.word, w.user_id, COALESCE(j.name, ''), '' FROM (SELECT word, user_id FROM person_word
                          WHERE (word, user_id) > ($1, $2) AND word < $3 ORDER BY word, user_id LIMIT 200) w
                        LEFT JOIN user_info j ON j.user_id = w.user_id ORDER BY w.word, w.user_id",
                names: "SELECT user_id, name FROM user_info WHERE user_id > $1 ORDER BY user_id LIMIT $2",
                words: "SELECT user_id, word FROM person_word WHERE user_id > $1 AND user_id <= $2",
                orphans: "SELECT w.user_id FROM person_word w LEFT JOIN user_info i ON i.user_id = w.user_id WHERE i.user_id IS NULL LIMIT $1",
            },
            Self::Titles => &Sql {
                count: "SELECT COUNT(*) FROM (SELECT 1 AS one FROM catalogue_word WHERE kind = 'title' AND word >= $1 AND word < $2 LIMIT $3) f",
                found: "SELECT w.word, w.subject, COALESCE(j.name, ''), COALESCE(j.publisher_id, '') FROM (SELECT word, subject FROM catalogue_word
                          WHERE kind = 'title' AND (word, subject) > ($1, $2) AND word < $3 ORDER BY word, subject LIMIT 200) w
                        LEFT JOIN title j ON j.title_id = w.subject ORDER BY w.word, w.subject",
                names: "SELECT title_id, name FROM title WHERE title_id > $1 ORDER BY title_id LIMIT $2",
                words: "SELECT subject, word FROM catalogue_word WHERE kind = 'title' AND subject > $1 AND subject <= $2",
                orphans: "SELECT w.subject FROM catalogue_word w LEFT JOIN title t ON t.title_id = w.subject
                          WHERE w.kind = 'title' AND t.title_id IS NULL LIMIT $1",
            },
            Self::Batches => &Sql {
                count: "SELECT COUNT(*) FROM (SELECT 1 AS one FROM catalogue_word WHERE kind = 'batch' AND word >= $1 AND word < $2 LIMIT $3) f",
                found: "SELECT w.word, w.subject, COALESCE(j.name, ''), COALESCE(j.publisher_id, '') FROM (SELECT word, subject FROM catalogue_word
                          WHERE kind = 'batch' AND (word, subject) > ($1, $2) AND word < $3 ORDER BY word, subject LIMIT 200) w
                        LEFT JOIN batch j ON j.batch_id = w.subject ORDER BY w.word, w.subject",
                names: "SELECT batch_id, name FROM batch WHERE batch_id > $1 ORDER BY batch_id LIMIT $2",
                words: "SELECT subject, word FROM catalogue_word WHERE kind = 'batch' AND subject > $1 AND subject <= $2",
                orphans: "SELECT w.subject FROM catalogue_word w LEFT JOIN batch b ON b.batch_id = w.subject
                          WHERE w.kind = 'batch' AND b.batch_id IS NULL LIMIT $1",
            },
        }
    }

    /// Whose rows are written with its words.
    pub fn family(self, id: &str) -> String {
        match self {
            Self::People => id.to_owned(),
            Self::Titles | Self::Batches => format!("/{}/{id}", self.kind()),
        }
    }

    /// As in `catalogue_word.kind`.
    fn kind(self) -> &'static str {
        match self {
            Self::People => "person",
            Self::Titles => "title",
            Self::Batches => "batch",
        }
    }

    /// The words that something is found by.
    fn words(self, id: &str, name: &str) -> BTreeSet<String> {
        match self {
            Self::Titles => words::of(&format!("{id} {name}")),
            Self::People | Self::Batches => words::of(name),
        }
    }
}

/// What has, for every word of `text`, a word that begins so: in the order of the words that begin as the rarest of them, so that whole words come
/// first. Of a publisher's, only its own. Where that word begins more than 10,000 words, those after them are not looked at.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, shelf: Shelf, scope: &Scope, text: &str, limit: usize) -> Result<Vec<Named>, DbError> {
    let asked = words::asked(text);
    let Some(rarest) = rarest(tx, shelf, &asked).await? else { return Ok(vec![]) };
    let (from, until) = words::range(&rarest);
    let (mut place, mut looked, mut seen, mut found) = ((from, String::new()), 0, BTreeSet::new(), vec![]);
    while looked < LOOKED_AT && found.len() < limit {
        let rows: Vec<Hit> = tx.query(shelf.sql().found).bind(&place.0).bind(&place.1).bind(&until).all().await?;
        let Some(last) = rows.last() else { break };
        place = (last.word.clone(), last.named.id.clone());
        let full = rows.len() == FOUND;
        looked += FOUND;
        for Hit { named, .. } in rows {
            if found.len() < limit && scope.covers(&named.publisher) && fits(shelf, &named, &asked) && seen.insert(named.id.clone()) {
                found.push(named);
            }
        }
        if !full {
            break;
        }
    }
    Ok(found)
}

struct Hit {
    word: String,
    named: Named,
}

impl FromRow for Hit {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { word: row.column()?, named: Named { id: row.column()?, name: row.column()?, publisher: row.column()? } })
    }
}

fn fits(shelf: Shelf, named: &Named, asked: &[String]) -> bool {
    // One word is what it was found by, if there is still something.
    asked.len() == 1 && !named.name.is_empty() || {
        let words = shelf.words(&named.id, &named.name);
        asked.iter().all(|asked| words.iter().any(|word| word.starts_with(asked)))
    }
}

/// The one of these beginnings that fewest words have; of several, the longest.
async fn rarest(tx: &mut Tx, shelf: Shelf, asked: &[String]) -> Result<Option<String>, DbError> {
    if let [] | [_] = asked {
        return Ok(asked.first().cloned());
    }
    let mut rarest: Option<(i64, &String)> = None;
    for beginning in asked {
        let (from, until) = words::range(beginning);
        let (count,): (i64,) = tx.query(shelf.sql().count).bind(from).bind(until).bind(LOOKED_AT as i64).one().await?;
        if rarest.is_none_or(|(least, _)| count < least) {
            rarest = Some((count, beginning));
        }
    }
    Ok(rarest.map(|(_, beginning)| beginning.clone()))
}

/// Keeps the words of a person's name.
///
/// # Errors
/// A failure of the database.
pub async fn keep_person(tx: &mut Tx, user: UserId, name: &str) -> Result<(), DbError> {
    let words: Vec<String> = Shelf::People.words("", name).into_iter().collect();
    for four in words.chunks(4) {
        let mut query = tx.query(
            "INSERT INTO person_word (user_id, word) VALUES ($1, $2), ($1, $3), ($1, $4), ($1, $5) ON CONFLICT (user_id, word) DO NOTHING",
        );
        query = query.bind(user.to_string());
        for word in padded(four) {
            query = query.bind(word);
        }
        query.execute().await?;
    }
    Ok(())
}

/// Keeps the words of a title or batch.
///
/// # Errors
/// A failure of the database.
pub async fn keep(tx: &mut Tx, shelf: Shelf, id: &str, name: &str) -> Result<(), DbError> {
    let words: Vec<String> = shelf.words(id, name).into_iter().collect();
    for four in words.chunks(4) {
        let mut query = tx.query(
            "INSERT INTO catalogue_word (kind, subject, word) VALUES ($1, $2, $3), ($1, $2, $4), ($1, $2, $5), ($1, $2, $6)
             ON CONFLICT (kind, subject, word) DO NOTHING",
        );
        query = query.bind(shelf.kind()).bind(id);
        for word in padded(four) {
            query = query.bind(word);
        }
        query.execute().await?;
    }
    Ok(())
}

/// Four of them: the last one again and again makes no difference.
fn padded(words: &[String]) -> impl Iterator<Item = &String> {
    words.iter().chain(std::iter::repeat(words.last()).flatten()).take(4)
}

/// Up to 500 names after an ID whose words are not the ones that are kept, with the last ID that was looked at; none at the end.
///
/// # Errors
/// A failure of the database.
pub async fn different(tx: &mut Tx, shelf: Shelf, after: &str) -> Result<(Vec<String>, Option<String>), DbError> {
    let names: Vec<(String, String)> = tx.query(shelf.sql().names).bind(after).bind(STEP).all().await?;
    let Some((last, _)) = names.last() else { return Ok((vec![], None)) };
    let mut kept = BTreeMap::<String, BTreeSet<String>>::new();
    let rows: Vec<(String, String)> = tx.query(shelf.sql().words).bind(after).bind(last).all().await?;
    for (id, word) in rows {
        kept.entry(id).or_default().insert(word);
    }
    let last = last.clone();
    let differs = |(id, name): &(String, String)| shelf.words(id, name) != kept.get(id).cloned().unwrap_or_default();
    Ok((names.into_iter().filter(differs).map(|(id, _)| id).collect(), Some(last)))
}

/// IDs that words are kept of, and that have no name.
///
/// # Errors
/// A failure of the database.
pub async fn orphans(tx: &mut Tx, shelf: Shelf, limit: i64) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = tx.query(shelf.sql().orphans).bind(limit).all().await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Writes the words of something anew, as its name is now.
///
/// # Errors
/// A failure of the database.
pub async fn mend(tx: &mut Tx, shelf: Shelf, id: &str) -> Result<(), DbError> {
    match shelf {
        Shelf::People => {
            // Held, so that a deletion by another process is before this or after it.
            let held = tx.query("UPDATE user_info SET name = name WHERE user_id = $1").bind(id).execute().await?;
            let name: Option<(String,)> = tx.query("SELECT name FROM user_info WHERE user_id = $1").bind(id).opt().await?;
            tx.query("DELETE FROM person_word WHERE user_id = $1").bind(id).execute().await?;
            let user = id.parse::<UserId>().ok().filter(|_| held == 1);
            if let (Some(user), Some((name,))) = (user, name) {
                keep_person(tx, user, &name).await?;
            }
        }
        Shelf::Titles | Shelf::Batches => {
            let sql = match shelf {
                Shelf::Titles => "SELECT name FROM title WHERE title_id = $1",
                _ => "SELECT name FROM batch WHERE batch_id = $1",
            };
            let name: Option<(String,)> = tx.query(sql).bind(id).opt().await?;
            tx.query("DELETE FROM catalogue_word WHERE kind = $1 AND subject = $2").bind(shelf.kind()).bind(id).execute().await?;
            if let Some((name,)) = name {
                keep(tx, shelf, id, &name).await?;
            }
        }
    }
    Ok(())
}
