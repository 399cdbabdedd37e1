//! Long lists, a page at a time, by a cursor: as quick at the end of a million rows as at the beginning.

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::csv;
use crate::db::DbError;
use crate::problem::Problem;
use crate::web::visitor::Fields;

/// Rows on a page.
pub const ROWS: usize = 50;
/// Rows of a table that are read at a time.
const PIECE: usize = 1000;

/// What a list was asked for: its address, and the query.
pub struct Asked {
    path: String,
    query: Fields,
}

impl Asked {
    /// Reads it.
    pub fn new(path: impl Into<String>, query: Option<&str>) -> Self {
        Self { path: path.into(), query: Fields::parse(query.unwrap_or_default().as_bytes()) }
    }

    /// A filter; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        self.query.text(name).trim()
    }

    /// The cursor; empty for the first page.
    pub fn after(&self) -> String {
        self.query.text("after").to_owned()
    }

    /// Whether all of it is wanted, for a spreadsheet, in place of a page.
    pub fn wants_table(&self) -> bool {
        self.text("format") == "csv"
    }

    /// How many rows to read: one more than is shown tells whether there is another page.
    pub fn rows(&self) -> i64 {
        ROWS as i64 + 1
    }

    /// Its address, of the page after a cursor; with the same filters.
    pub fn address(&self, after: Option<&str>) -> String {
        let kept = self.query.pairs().filter(|(name, value)| !matches!(*name, "after" | "done") && !value.is_empty());
        let query: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.chain(after.map(|after| ("after", after)))).finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

/// Where the other pages of a list are: the field `pager` of a template that includes `console/pager.html`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pager {
    /// The first page, where this is another.
    pub first: Option<String>,
    /// The next one, where there is one.
    pub next: Option<String>,
    /// The whole list for a spreadsheet, where that is offered.
    pub csv: Option<String>,
}

/// One page.
pub struct Paged<T> {
    /// Its rows.
    pub items: Vec<T>,
    /// The others.
    pub pager: Pager,
}

impl<T> Paged<T> {
    /// Of what [`Asked::rows`] found; `cursor` names a row's place in the list.
    pub fn of(mut rows: Vec<T>, asked: &Asked, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        let next = rows.last().filter(|_| more).map(|last| asked.address(Some(&cursor(last))));
        let first = (!asked.after().is_empty()).then(|| asked.address(None));
        Self { items: rows, pager: Pager { first, next, csv: None } }
    }

    /// With the address of the whole list as CSV: the same, with the same filters.
    pub fn with_csv(mut self, asked: &Asked) -> Self {
        let address = asked.address(None);
        self.pager.csv = Some(format!("{address}{}format=csv", if address.contains('?') { '&' } else { '?' }));
        self
    }
}

/// The whole of a list as CSV, streamed: `read` gives up to so many rows after a cursor, `cursor` names a row's place, `cells` writes it.
///
/// # Errors
/// None but what memory could give; where reading fails later, the answer breaks off.
pub fn whole<T, R, const N: usize>(
    name: &str,
    columns: [&'static str; N],
    read: impl Fn(String, i64) -> R + Clone + Send + 'static,
    cursor: fn(&T) -> String,
    cells: fn(&T) -> [String; N],
) -> Result<Response, Problem>
where
    T: Send + 'static,
    R: Future<Output = Result<Vec<T>, DbError>> + Send,
{
    let mut heading = csv::Table::default();
    heading.row(columns.map(csv::text))?;
    let heading = heading.finish()?;
    let pieces = stream::unfold(Some(String::new()), move |after| {
        let read = read.clone();
        async move {
            let found = match read(after?, PIECE as i64).await {
                Ok(found) => found,
                Err(error) => return Some((Err(Problem::from(error)), None)),
            };
            let next = found.last().filter(|_| found.len() == PIECE).map(cursor);
            Some((written(&found, cells), next))
        }
    });
    let body = Body::from_stream(stream::once(async move { Ok(heading) }).chain(pieces));
    let headers = [(CONTENT_TYPE, csv::MEDIA_TYPE.to_owned()), (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\""))];
    Ok((headers, body).into_response())
}

fn written<T, const N: usize>(rows: &[T], cells: fn(&T) -> [String; N]) -> Result<Bytes, Problem> {
    let mut table = csv::Table::default();
    for row in rows {
        table.row(cells(row).iter().map(|cell| csv::text(cell)))?;
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_leads_to_the_next_and_to_the_first_with_its_filters() {
        let first = Paged::of((0..=ROWS).collect(), &Asked::new("/console/x", Some("state=due&after=&done=out")), ToString::to_string);
        assert_eq!((first.items.len(), first.pager.first), (ROWS, None));
        assert_eq!(first.pager.next.as_deref(), Some("/console/x?state=due&after=49"));
        let last = Paged::of(vec![1], &Asked::new("/console/x", Some("after=a%26b")), ToString::to_string);
        assert_eq!((last.pager.next, last.pager.first.as_deref()), (None, Some("/console/x")));
    }

    #[tokio::test]
    async fn a_table_has_every_row_once_however_many_pieces_it_is_read_in() {
        for count in [0, 1, PIECE, PIECE + 1, 2 * PIECE + 7] {
            let read = move |after: String, rows: i64| async move {
                let from = after.parse::<usize>().map_or(0, |last| last + 1);
                Ok((from..count).take(rows.unsigned_abs() as usize).collect::<Vec<_>>())
            };
            let table =
                whole("x", ["number", "formula"], read, usize::to_string, |row| [row.to_string(), "=1+1".to_owned()]).expect("a table");
            let bytes = axum::body::to_bytes(table.into_body(), usize::MAX).await.expect("read");
            let expected: String = (0..count).map(|row| format!("{row},'=1+1\r\n")).collect();
            assert_eq!(String::from_utf8_lossy(&bytes), format!("number,formula\r\n{expected}"));
        }
    }
}
