//! What people see of a title, what it costs and under which terms it is sold (D2); and the shelves of the store.

use counterfoil_core::{Channel, Currency, Kind, Money, Policy, ReleaseVersion, TitleId};

use super::picture::{self, Picture};
use crate::db::{DbError, FromRow, Row, Tx};

/// Most prices of a title, one a currency.
pub const MOST_PRICES: usize = 40;
/// Releases that are shown with a title, besides the newest on each channel.
const RELEASES: i64 = 20;

/// A row of `listing` with its prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// One line.
    pub summary: String,
    /// Paragraphs, with a blank line between.
    pub description: String,
    /// Whether it stands in the store.
    pub on_sale: bool,
    /// One a currency, in the order of their codes.
    pub prices: Vec<Money>,
    /// The terms.
    pub policy: Policy,
}

impl Default for Listing {
    /// Of a title that nobody has listed: not on sale.
    fn default() -> Self {
        Self { summary: String::new(), description: String::new(), on_sale: false, prices: vec![], policy: Policy::default() }
    }
}

/// The listing of a title, and when it was written, in milliseconds UTC.
///
/// # Errors
/// A failure of the database.
pub async fn get(tx: &mut Tx, title: &TitleId) -> Result<Option<(Listing, i64)>, DbError> {
    let row: Option<(String, String, i64, Policy, i64)> = tx
        .query("SELECT summary, description, on_sale, policy, updated_at FROM listing WHERE title_id = $1")
        .bind(title.as_str())
        .opt()
        .await?;
    let Some((summary, description, on_sale, policy, updated_at)) = row else { return Ok(None) };
    let prices = prices(tx, title).await?;
    Ok(Some((Listing { summary, description, on_sale: on_sale != 0, prices, policy }, updated_at)))
}

async fn prices(tx: &mut Tx, title: &TitleId) -> Result<Vec<Money>, DbError> {
    let rows: Vec<(Currency, i64)> =
        tx.query("SELECT currency, amount FROM price WHERE title_id = $1 ORDER BY currency").bind(title.as_str()).all().await?;
    Ok(rows.into_iter().map(|(currency, amount)| Money { amount: amount.unsigned_abs(), currency }).collect())
}

/// Writes the listing of a title in place of the one before.
///
/// # Errors
/// A failure of the database.
pub async fn put(tx: &mut Tx, title: &TitleId, listing: &Listing, now: i64) -> Result<(), DbError> {
    let policy = serde_json::to_string(&listing.policy).expect("terms are plain JSON");
    tx.query(
        "INSERT INTO listing (title_id, summary, description, on_sale, policy, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (title_id) DO UPDATE SET summary = excluded.summary, description = excluded.description,
             on_sale = excluded.on_sale, policy = excluded.policy, updated_at = excluded.updated_at",
    )
    .bind(title.as_str())
    .bind(&listing.summary)
    .bind(&listing.description)
    .bind(i64::from(listing.on_sale))
    .bind(policy)
    .bind(now)
    .execute()
    .await?;
    tx.query("DELETE FROM price WHERE title_id = $1").bind(title.as_str()).execute().await?;
    for price in &listing.prices {
        tx.query("INSERT INTO price (title_id, currency, amount) VALUES ($1, $2, $3)")
            .bind(title.as_str())
            .bind(price.currency.as_str())
            .bind(i64::try_from(price.amount).unwrap_or(i64::MAX))
            .execute()
            .await?;
    }
    Ok(())
}

/// A title on the shelves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// Which.
    pub title: TitleId,
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Name of its publisher, for people.
    pub publisher: String,
    /// One line.
    pub summary: String,
    /// One a currency, in the order of their codes.
    pub prices: Vec<Money>,
    /// The first one.
    pub picture: Option<Picture>,
}

/// A title on the shelves with one of its prices.
struct Priced {
    shelved: Shelved,
    price: Option<Money>,
}

impl FromRow for Priced {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (title, name, kind, publisher, summary) = (row.column()?, row.column()?, row.column()?, row.column()?, row.column()?);
        let (currency, amount): (Option<Currency>, Option<i64>) = (row.column()?, row.column()?);
        let price = currency.zip(amount).map(|(currency, amount)| Money { amount: amount.unsigned_abs(), currency });
        let picture = match row.column::<Option<i64>>()? {
            Some(position) => Some(Picture { position, object: row.column()?, media_type: row.column()?, alt: row.column()? }),
            None => {
                let _: (Option<String>, Option<String>, Option<String>) = (row.column()?, row.column()?, row.column()?);
                None
            }
        };
        Ok(Self { shelved: Shelved { title, name, kind, publisher, summary, prices: vec![], picture }, price })
    }
}

/// Up to `limit` titles that are on sale and have a release, in the order of their IDs after `after`, with `words` somewhere in name, summary
/// or publisher. Capital or small ASCII letters make no difference.
///
/// # Errors
/// A failure of the database.
pub async fn search(tx: &mut Tx, words: &str, after: &str, limit: i64) -> Result<Vec<Shelved>, DbError> {
    let rows: Vec<Priced> = tx
        .query(
            "SELECT s.title_id, s.name, s.kind, s.publisher, s.summary, p.currency, p.amount, x.position, x.object, x.media_type, x.alt
             FROM (SELECT t.title_id, t.name, t.kind, b.name AS publisher, l.summary
                   FROM listing l JOIN title t ON t.title_id = l.title_id JOIN publisher b ON b.publisher_id = t.publisher_id
                   WHERE l.on_sale = 1 AND l.title_id > $1 AND EXISTS (SELECT 1 FROM release r
                         WHERE r.title_id = l.title_id AND r.held_at IS NULL AND r.withdrawn_at IS NULL AND r.rollout = 100)
                     AND (lower(t.name) LIKE lower(CAST($2 AS TEXT)) ESCAPE '!' OR lower(l.summary) LIKE lower(CAST($2 AS TEXT)) ESCAPE '!'
                          OR lower(b.name) LIKE lower(CAST($2 AS TEXT)) ESCAPE '!')
                   ORDER BY l.title_id LIMIT $3) s
             LEFT JOIN price p ON p.title_id = s.title_id
             LEFT JOIN picture x ON x.title_id = s.title_id
                 AND x.position = (SELECT min(y.position) FROM picture y WHERE y.title_id = s.title_id)
             ORDER BY s.title_id, p.currency",
        )
        .bind(after)
        .bind(pattern(words))
        .bind(limit)
        .all()
        .await?;
    let mut found: Vec<Shelved> = vec![];
    for Priced { shelved, price } in rows {
        if found.last().is_none_or(|last| last.title != shelved.title) {
            found.push(shelved);
        }
        if let Some(last) = found.last_mut() {
            last.prices.extend(price);
        }
    }
    Ok(found)
}

/// What LIKE compares with: the words in this order, whatever stands between them. Its own signs are taken literally.
fn pattern(words: &str) -> String {
    let literal = |word: &str| word.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    let words: Vec<_> = words.split_whitespace().map(literal).collect();
    format!("%{}%", words.join("%"))
}

/// A release as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRelease {
    /// Which.
    pub version: ReleaseVersion,
    /// For whom.
    pub channel: Channel,
    /// Milliseconds UTC.
    pub created_at: i64,
    /// Of everything that an installation from nothing fetches, in bytes.
    pub size: u64,
}

impl FromRow for ShownRelease {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (version, channel, created_at) = (row.column()?, row.column()?, row.column()?);
        Ok(Self { version, channel, created_at, size: row.column::<Option<i64>>()?.unwrap_or_default().unsigned_abs() })
    }
}

/// All that the store says of a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// For people.
    pub name: String,
    /// What kind of thing.
    pub kind: Kind,
    /// Name of its publisher, for people.
    pub publisher: String,
    /// What it costs, and under which terms.
    pub listing: Listing,
    /// In order.
    pub pictures: Vec<Picture>,
    /// The last ones and the newest on each channel, newest first.
    pub releases: Vec<ShownRelease>,
}

/// A title that is on sale and has a release.
///
/// # Errors
/// A failure of the database.
pub async fn shown(tx: &mut Tx, title: &TitleId) -> Result<Option<Shown>, DbError> {
    let Some((listing, _)) = get(tx, title).await?.filter(|(listing, _)| listing.on_sale) else { return Ok(None) };
    let (name, kind, publisher) = tx
        .query("SELECT t.name, t.kind, b.name FROM title t JOIN publisher b ON b.publisher_id = t.publisher_id WHERE t.title_id = $1")
        .bind(title.as_str())
        .one()
        .await?;
    let releases: Vec<ShownRelease> = tx
        .query(
            "SELECT r.version, r.channel, r.created_at,
                (SELECT CAST(sum(o.length) AS BIGINT) FROM release_object o WHERE o.title_id = r.title_id AND o.version = r.version)
             FROM release r
             WHERE r.title_id = $1 AND r.held_at IS NULL AND r.withdrawn_at IS NULL AND r.rollout = 100
               AND (r.number > (SELECT max(l.number) FROM release l WHERE l.title_id = $1) - $2
                 OR r.number = (SELECT max(c.number) FROM release c WHERE c.title_id = $1 AND c.channel = r.channel
                                  AND c.held_at IS NULL AND c.withdrawn_at IS NULL AND c.rollout = 100))
             ORDER BY r.number DESC",
        )
        .bind(title.as_str())
        .bind(RELEASES)
        .all()
        .await?;
    if releases.is_empty() {
        return Ok(None);
    }
    let pictures = picture::list(tx, title).await?;
    Ok(Some(Shown { name, kind, publisher, listing, pictures, releases }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_like_would_understand_is_looked_for_as_it_stands() {
        assert_eq!(pattern(""), "%%");
        assert_eq!(pattern("  sky   raider "), "%sky%raider%");
        assert_eq!(pattern("100%_!"), "%100!%!_!!%");
    }
}
