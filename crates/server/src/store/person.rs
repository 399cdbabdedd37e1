//! The person behind a user ID, as the shop has written them down (D1). There may be no user entry yet.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use counterfoil_core::{Timestamp, UserId};

use super::word;
use crate::db::{DbError, FromRow, Row, Tx};

/// A row of `user_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonRow {
    /// What the person is called.
    pub name: String,
    /// Where they can be written to.
    pub email: Option<String>,
    /// Where they live, as on a letter.
    pub address: Option<String>,
}

impl FromRow for PersonRow {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self { name: row.column()?, email: row.column()?, address: row.column()? })
    }
}

/// Writes a person down; says whether the user ID was nobody's before.
///
/// # Errors
/// A failure of the database.
pub async fn insert(tx: &mut Tx, user: UserId, person: &PersonRow, actor: &str, now: Timestamp) -> Result<bool, DbError> {
    let written = tx
        .query(
            "INSERT INTO user_info (user_id, name, email, address, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (user_id) DO NOTHING",
        )
        .bind(user.to_string())
        .bind(&person.name)
        .bind(person.email.as_deref())
        .bind(person.address.as_deref())
        .bind(actor)
        .bind(now.0)
        .execute()
        .await?;
    if written == 1 {
        word::keep_person(tx, user, &person.name).await?;
    }
    Ok(written == 1)
}

/// Who it is, where a shop has written them down and their data was not deleted since.
///
/// # Errors
/// A failure of the database.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<PersonRow>, DbError> {
    tx.query("SELECT name, email, address FROM user_info WHERE user_id = $1 AND erased_at IS NULL").bind(user.to_string()).opt().await
}

/// What is known under a user ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Somebody.
    As(PersonRow),
    /// Somebody whose data was deleted.
    Erased,
}

/// Rows of one statement.
const ROWS: usize = 100;

/// Who is written down under these IDs; those of nobody are not in it.
///
/// # Errors
/// A failure of the database.
pub async fn many(tx: &mut Tx, users: &[UserId]) -> Result<BTreeMap<UserId, Known>, DbError> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        let places: Vec<_> = (1..=ROWS).map(|place| format!("${place}")).collect();
        format!("SELECT name, email, address, user_id, erased_at FROM user_info WHERE user_id IN ({})", places.join(", "))
    });
    struct Found(PersonRow, UserId, Option<Timestamp>);
    impl FromRow for Found {
        fn from_row(row: &mut Row) -> Result<Self, DbError> {
            Ok(Self(PersonRow::from_row(row)?, row.column()?, row.column()?))
        }
    }
    let mut known = BTreeMap::new();
    for page in users.chunks(ROWS) {
        let mut query = tx.query(&SELECT);
        // The last one again and again makes no difference.
        for user in page.iter().chain(std::iter::repeat(page.last()).flatten()).take(ROWS) {
            query = query.bind(user.to_string());
        }
        for Found(person, user, erased) in query.all().await? {
            known.insert(user, if erased.is_some() { Known::Erased } else { Known::As(person) });
        }
    }
    Ok(known)
}
