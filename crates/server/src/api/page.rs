//! What many answers have in common: pages of lists, and moments.

use counterfoil_core::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::clock;

/// Where a page begins and how long it is.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next` of the page before.
    #[serde(default)]
    pub after: Option<String>,
    /// At most so many items: 1 to 1000, 100 if it is not said.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

impl PageQuery {
    /// The cursor; empty for the first page.
    pub fn after(&self) -> String {
        self.after.clone().unwrap_or_default()
    }

    /// The length of the page.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(100).clamp(1, 1000) as usize
    }

    /// How many rows to read: one more than the page holds tells whether there is another.
    pub fn rows(&self) -> i64 {
        self.limit() as i64 + 1
    }
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// What it holds, in order.
    pub items: Vec<T>,
    /// Pass it as `after` for the next page; null at the end.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A page of what [`PageQuery::rows`] found; `cursor` names an item's place in the list.
    pub fn of<Row>(mut rows: Vec<Row>, query: &PageQuery, cursor: impl Fn(&Row) -> String, show: impl Fn(Row) -> T) -> Self {
        let more = rows.len() > query.limit();
        rows.truncate(query.limit());
        let next = rows.last().filter(|_| more).map(cursor);
        Self { items: rows.into_iter().map(show).collect(), next }
    }
}

/// A moment as the API writes it: RFC 3339 in UTC.
pub fn rfc3339(milliseconds: i64) -> String {
    clock::rfc3339(Timestamp(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_next_one_only_where_there_is_one() {
        let query = PageQuery { after: None, limit: Some(2) };
        let page = |rows: Vec<u32>| Page::of(rows, &query, u32::to_string, |row| row * 10);
        let full = page(vec![1, 2, 3]);
        assert_eq!((full.items, full.next), (vec![10, 20], Some("2".to_owned())));
        let last = page(vec![1, 2]);
        assert_eq!((last.items, last.next), (vec![10, 20], None));
        assert_eq!(PageQuery { after: None, limit: Some(9999) }.limit(), 1000);
    }

    #[test]
    fn moments_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
    }
}
