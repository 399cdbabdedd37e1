//! Invariants between families: a page of one family's rows, then what it names in the other, so that memory stays as it is and no node of a
//! distributed database joins what lies on two.
//!
//! The order matters where servers write meanwhile and nodes share no snapshot: what is written first is read last.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{MOST, Violation, step_back};
use crate::db::{Db, DbError, Query, Tx};

/// Rows looked at together.
pub(super) const ROWS: usize = 500;

/// One sentence about two families.
pub(super) struct Across {
    pub sentence: &'static str,
    /// Rows after the key ($1, $2), as many as $3: the key in two parts, and three texts that must be found over there.
    pub page: &'static str,
    /// Those of them that are there. The first braces take the first texts, the second the second.
    pub found: LazyLock<String>,
    /// Whether the second texts are asked for.
    pub pairs: bool,
    /// The part of the key that names what breaks it: 0 or 1.
    pub subject: usize,
}

static ALL: [Across; 6] = [
    Across {
        sentence: "a grant belongs to a user who is registered",
        page: "SELECT medium_id, grant_id, user_id, '', '' FROM grants WHERE (medium_id, grant_id) > ($1, $2) ORDER BY medium_id, grant_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT user_id, '', '' FROM user_entry WHERE user_id IN ({})")),
        pairs: false,
        subject: 1,
    },
    Across {
        sentence: "a user is told of every grant, or about to be",
        page: "SELECT g.medium_id, g.grant_id, g.user_id, g.grant_id, '' FROM grants g WHERE (g.medium_id, g.grant_id) > ($1, $2) AND g.state <> 'revoked'
               AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.family = g.medium_id AND o.operation_id = g.grant_id)
               ORDER BY g.medium_id, g.grant_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT user_id, entitlement_id, '' FROM entitlement WHERE user_id IN ({}) AND entitlement_id IN ({})")),
        pairs: true,
        subject: 1,
    },
    Across {
        sentence: "an entitlement from a medium has a grant behind it",
        page: "SELECT user_id, entitlement_id, medium_id, entitlement_id, user_id FROM entitlement
               WHERE (user_id, entitlement_id) > ($1, $2) AND source = 'medium' ORDER BY user_id, entitlement_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT medium_id, grant_id, user_id FROM grants WHERE medium_id IN ({}) AND grant_id IN ({})")),
        pairs: true,
        subject: 1,
    },
    Across {
        sentence: "what a user owns no more is taken back at its medium, or about to be",
        page: "SELECT e.user_id, e.entitlement_id, e.medium_id, e.entitlement_id, 'revoked' FROM entitlement e
               WHERE (e.user_id, e.entitlement_id) > ($1, $2) AND e.source = 'medium' AND e.state = 'ended'
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.family = e.user_id AND o.kind = 'free_copies')
               ORDER BY e.user_id, e.entitlement_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT medium_id, grant_id, state FROM grants WHERE medium_id IN ({}) AND grant_id IN ({})")),
        pairs: true,
        subject: 1,
    },
    Across {
        sentence: "what was taken back at its medium is nobody's any more",
        page: "SELECT g.medium_id, g.grant_id, g.user_id, g.grant_id, 'ended' FROM grants g
               WHERE (g.medium_id, g.grant_id) > ($1, $2) AND g.state = 'revoked'
                 AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.family = g.medium_id AND (o.operation_id = g.grant_id OR o.kind = 'end_copies'))
               ORDER BY g.medium_id, g.grant_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT user_id, entitlement_id, state FROM entitlement WHERE user_id IN ({}) AND entitlement_id IN ({})")),
        pairs: true,
        subject: 1,
    },
    Across {
        sentence: "the holder of an entry is that user's, and nobody else's",
        page: "SELECT user_id, '', holder_id, '', user_id FROM user_entry WHERE user_id > $1 AND CAST($2 AS TEXT) IS NOT NULL ORDER BY user_id LIMIT $3",
        found: LazyLock::new(|| with_places("SELECT holder_id, '', user_id FROM holder WHERE user_id IS NOT NULL AND holder_id IN ({})")),
        pairs: false,
        subject: 0,
    },
];

/// Every sentence of this file.
pub(super) fn sentences() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|across| across.sentence)
}

/// What breaks them.
pub(super) async fn check(db: &Db) -> Result<Vec<Violation>, DbError> {
    check_all(db, &ALL).await
}

/// What breaks these.
pub(super) async fn check_all(db: &Db, all: &'static [Across]) -> Result<Vec<Violation>, DbError> {
    let mut violations = Vec::new();
    for across in all {
        let broken = db.snapshot("audit", async move |tx: &mut Tx| -> Result<Vec<String>, DbError> { across.broken(tx).await }).await?;
        violations.extend(broken.into_iter().map(|subject| Violation { invariant: across.sentence, subject }));
    }
    Ok(violations)
}

type Texts = (String, String, String);

impl Across {
    async fn broken(&'static self, tx: &mut Tx) -> Result<Vec<String>, DbError> {
        step_back();
        let mut broken = Vec::new();
        let mut after = (String::new(), String::new());
        // At most a thousandth of what an i64 holds.
        let limit = ROWS as i64;
        while broken.len() < MOST as usize {
            let rows: Vec<(String, String, String, String, String)> =
                tx.query(self.page).bind(&after.0).bind(&after.1).bind(limit).all().await?;
            let Some(last) = rows.last() else { break };
            after = (last.0.clone(), last.1.clone());
            let keys: Vec<[String; 2]> = rows.iter().map(|row| [row.0.clone(), row.1.clone()]).collect();
            let wanted: Vec<Texts> = rows.into_iter().map(|row| (row.2, row.3, row.4)).collect();
            let mut query = bind(tx.query(&self.found), wanted.iter().map(|texts| &texts.0));
            if self.pairs {
                query = bind(query, wanted.iter().map(|texts| &texts.1));
            }
            let found: HashSet<Texts> = query.all::<Texts>().await?.into_iter().collect();
            let missing = keys.into_iter().zip(&wanted).filter(|(_, texts)| !found.contains(*texts));
            broken.extend(missing.map(|(mut key, _)| std::mem::take(&mut key[self.subject])));
        }
        broken.truncate(MOST as usize);
        Ok(broken)
    }
}

/// As many values as the statement has places; the last one again and again makes no difference to it.
pub(super) fn bind<'a>(query: Query<'a>, texts: impl Iterator<Item = &'a String> + Clone) -> Query<'a> {
    let last = texts.clone().last();
    texts.chain(std::iter::repeat_with(|| last).flatten()).take(ROWS).fold(query, |query, text| query.bind(text))
}

pub(super) fn with_places(sql: &str) -> String {
    let mut from = 1;
    let mut whole = String::new();
    for (number, part) in sql.split("{}").enumerate() {
        if number > 0 {
            let places: Vec<_> = (from..from + ROWS).map(|place| format!("${place}")).collect();
            whole += &places.join(", ");
            from += ROWS;
        }
        whole += part;
    }
    whole
}
