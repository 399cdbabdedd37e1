//! Export of everything an operator holds, kind by kind, and of everything about one person: rows in the order of their keys.
//!
//! A page of rows is read at a time, by key, so that nothing is held up and memory does not grow; what is written meanwhile may or may not be
//! in it. That something leaves is recorded first.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use counterfoil_core::UserId;
use counterfoil_format::encoding::to_base64url;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use utoipa::ToSchema;

use self::kinds::{Column, Form, KINDS, Kind};
use crate::api::page::rfc3339;
use crate::app::App;
use crate::auth::Caller;
use crate::csv::{Table, cell, text};
use crate::db::{Db, DbError, FromRow, Row, Tx, Value};
use crate::problem::{ApiCode, Problem};
use crate::store::{account, audit, user};

pub mod kinds;

/// Rows of a page.
const PAGE: i64 = 500;
/// The family of the records of exports.
const FAMILY: &str = "/exports";

/// How an export is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    #[default]
    Jsonl,
    /// A table (RFC 4180).
    Csv,
}

/// A row as it was read.
struct Cells(Vec<Value<'static>>);

impl FromRow for Cells {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        Ok(Self(row.rest()))
    }
}

/// All rows of a kind, as lines or as a table.
///
/// # Errors
/// A failure of the database; one in mid-stream cuts the answer off, which HTTP tells the caller.
pub async fn run(
    app: &App,
    caller: &Caller,
    kind: &'static Kind,
    format: Format,
) -> Result<impl Stream<Item = Result<Bytes, Problem>> + use<>, Problem> {
    record(app, caller, FAMILY.to_owned(), "data.exported", json!({ "what": kind.name })).await?;
    let head = match format {
        Format::Csv => Some(write_table(kind, &[])?),
        Format::Jsonl => None,
    };
    let pages = pages(app.db.clone(), kind, first(kind));
    let written = pages.map(move |page| match format {
        Format::Csv => write_rows(kind, &page?),
        Format::Jsonl => Ok(write_lines(kind, &page?)),
    });
    Ok(stream::iter(head.map(Ok)).chain(written))
}

/// Everything about one person as one JSON document: for each kind that hangs from users an array, the grants of their media, and their audit
/// log.
///
/// # Errors
/// `not_found`; as for [`run`].
pub async fn person(app: &App, caller: &Caller, user: UserId) -> Result<impl Stream<Item = Result<Bytes, Problem>> + use<>, Problem> {
    let known = app.db.read("person to export", async move |tx: &mut Tx| account::user_exists(tx, user).await).await?;
    if !known {
        return Err(ApiCode::NotFound.into());
    }
    record(app, caller, user::family(user), "person.exported", json!({})).await?;
    let kinds = KINDS.iter().filter(|kind| kind.is_of_users() || kind.name == "audit");
    let db = app.db.clone();
    let arrays =
        stream::iter(kinds).flat_map(move |kind| array(kind.name, rows_of(db.clone(), kind, user).map_ok(move |row| line(kind, &row))));
    let grants = array("grants", grants_of(app.db.clone(), user));
    let head = Bytes::from(format!("{{\"user_id\":\"{user}\""));
    Ok(stream::once(async { Ok(head) }).chain(arrays).chain(grants).chain(stream::once(async { Ok(Bytes::from_static(b"\n}\n")) })))
}

/// Notes who takes what out.
async fn record(app: &App, caller: &Caller, family: String, event: &'static str, detail: Json) -> Result<(), Problem> {
    let (actor, now) = (caller.actor(), app.clock.now().0);
    app.db
        .write("record export", family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            audit::append(tx, &family, now, &actor, event, &detail).await?;
            Ok(())
        })
        .await
}

/// A member of a document: an array of what comes.
fn array(
    name: &'static str,
    items: impl Stream<Item = Result<String, Problem>> + Send + 'static,
) -> stream::BoxStream<'static, Result<Bytes, Problem>> {
    let open = Bytes::from(format!(",\n\"{name}\":["));
    let items = items.enumerate().map(|(place, item)| Ok(Bytes::from(format!("{}\n{}", if place == 0 { "" } else { "," }, item?))));
    stream::once(async { Ok(open) }).chain(items).chain(stream::once(async { Ok(Bytes::from_static(b"]")) })).boxed()
}

/// The statement that reads a page of each kind. Names come from the table of kinds, and from nowhere else.
static STATEMENTS: LazyLock<BTreeMap<&'static str, String>> =
    LazyLock::new(|| KINDS.iter().map(|kind| (kind.name, statement(kind))).collect());

fn statement(kind: &Kind) -> String {
    let names = |columns: &[Column]| columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
    let (key, places) =
        (names(&kind.columns[..kind.keys]), (1..=kind.keys).map(|place| format!("${place}")).collect::<Vec<_>>().join(", "));
    let limit = kind.keys + 1;
    format!("SELECT {} FROM {} WHERE ({key}) > ({places}) ORDER BY {key} LIMIT ${limit}", names(&kind.columns), kind.table)
}

/// What comes before every key.
fn first(kind: &Kind) -> Vec<Value<'static>> {
    let least = |column: &Column| match column.form {
        Form::Int | Form::Time | Form::Flag => Value::from(i64::MIN),
        _ => Value::from(String::new()),
    };
    kind.columns[..kind.keys].iter().map(least).collect()
}

/// Pages of a kind after a key, until there are no more rows.
fn pages(db: Db, kind: &'static Kind, after: Vec<Value<'static>>) -> impl Stream<Item = Result<Vec<Cells>, Problem>> {
    stream::try_unfold(Some(after), move |after| {
        let db = db.clone();
        async move {
            let Some(after) = after else { return Ok(None) };
            let rows = db.read_lagging("export", async move |tx: &mut Tx| -> Result<Vec<Cells>, DbError> {
                let mut query = tx.query(&STATEMENTS[kind.name]);
                for value in &after {
                    query = query.bind(value.clone());
                }
                query.bind(PAGE).all().await
            });
            let rows = rows.await?;
            let next = rows.last().filter(|_| rows.len() as i64 == PAGE).map(|row| row.0[..kind.keys].to_vec());
            Ok((!rows.is_empty()).then_some((rows, next)))
        }
    })
}

/// The rows of a kind whose key begins with this user. What comes right before them is their key without its end.
fn rows_of(db: Db, kind: &'static Kind, user: UserId) -> impl Stream<Item = Result<Cells, Problem>> {
    let own = user.to_string();
    let mut after = first(kind);
    after[0] = Value::from(own[..own.len() - 1].to_owned());
    let rows = pages(db, kind, after).map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten();
    let of = move |row: &Cells| match &row.0[0] {
        Value::Text(text) => text.as_ref().cmp(own.as_str()),
        _ => std::cmp::Ordering::Greater,
    };
    let (before, within) = (of.clone(), of);
    rows.try_skip_while(move |row| std::future::ready(Ok(before(row).is_lt())))
        .try_take_while(move |row| std::future::ready(Ok(within(row).is_eq())))
}

/// The grants of a user: of each medium that their entitlements are from.
fn grants_of(db: Db, user: UserId) -> impl Stream<Item = Result<String, Problem>> {
    static SELECT: LazyLock<String> = LazyLock::new(|| {
        let names =
            Kind::find("grants").into_iter().flat_map(|kind| &kind.columns).map(|column| column.name).collect::<Vec<_>>().join(", ");
        format!("SELECT {names} FROM grants WHERE medium_id = $1 AND user_id = $2 ORDER BY medium_id, grant_id")
    });
    let entitlements = Kind::find("entitlements").expect("it is in the table of kinds, as a test says");
    let grants = Kind::find("grants").expect("it is in the table of kinds, as a test says");
    let place = entitlements.columns.iter().position(|column| column.name == "medium_id").unwrap_or(0);
    let media = rows_of(db.clone(), entitlements, user).try_filter_map(move |row| {
        let medium = match row.0.get(place) {
            Some(Value::Text(medium)) => Some(medium.clone().into_owned()),
            _ => None,
        };
        std::future::ready(Ok(medium))
    });
    // A medium of several titles stands in as many entitlements.
    let mut last = String::new();
    let each = media.try_filter(move |medium| std::future::ready(std::mem::replace(&mut last, medium.clone()) != *medium));
    each.and_then(move |medium| {
        let db = db.clone();
        async move {
            let rows = db.read_lagging("grants of a person", async move |tx: &mut Tx| -> Result<Vec<Cells>, DbError> {
                tx.query(&SELECT).bind(&medium).bind(user.to_string()).all().await
            });
            Ok(stream::iter(rows.await?.into_iter().map(move |row| Ok(line(grants, &row)))))
        }
    })
    .try_flatten()
}

fn shown(column: &Column, value: &Value<'_>) -> Json {
    match (column.form, value) {
        (_, Value::Null) => Json::Null,
        (Form::Time, Value::Int(at)) => rfc3339(*at).into(),
        (Form::Flag, Value::Int(is)) => (*is != 0).into(),
        (_, Value::Int(number)) => (*number).into(),
        // What does not parse is exported all the same.
        (Form::Json, Value::Text(document)) => serde_json::from_str(document).unwrap_or_else(|_| document.as_ref().into()),
        (_, Value::Text(text)) => text.as_ref().into(),
        (_, Value::Bytes(bytes)) => to_base64url(bytes).into(),
    }
}

/// A row as one line of JSON, its members in the order of the columns.
fn line(kind: &Kind, row: &Cells) -> String {
    let members = kind.columns.iter().zip(&row.0).map(|(column, value)| format!("\"{}\":{}", column.shown, shown(column, value)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn write_lines(kind: &Kind, rows: &[Cells]) -> Bytes {
    rows.iter().map(|row| line(kind, row) + "\n").collect::<String>().into()
}

/// With the line that names the columns.
fn write_table(kind: &Kind, rows: &[Cells]) -> Result<Bytes, Problem> {
    let mut table = Table::default();
    table.row(kind.columns.iter().map(|column| text(column.shown)))?;
    fill(kind, table, rows)
}

fn write_rows(kind: &Kind, rows: &[Cells]) -> Result<Bytes, Problem> {
    fill(kind, Table::default(), rows)
}

fn fill(kind: &Kind, mut table: Table, rows: &[Cells]) -> Result<Bytes, Problem> {
    for row in rows {
        let values: Vec<Json> = kind.columns.iter().zip(&row.0).map(|(column, value)| shown(column, value)).collect();
        table.row(values.iter().map(cell))?;
    }
    table.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_its_key() {
        let devices = Kind::find("devices").expect("there are devices");
        assert_eq!(
            statement(devices),
            "SELECT user_id, device_id, sign_key, seal_key, name, created_at FROM user_device WHERE (user_id, device_id) > ($1, $2) \
             ORDER BY user_id, device_id LIMIT $3"
        );
    }

    #[test]
    fn a_line_is_json_and_a_table_holds_no_formula() {
        let people = Kind::find("people").expect("there are people");
        let row = Cells(vec!["usr-1".into(), "=1+1".into(), Value::Null, "Q\"\n".into(), "x".into(), 0.into(), Value::Null]);
        let json: Json = serde_json::from_str(&line(people, &row)).expect("JSON");
        assert_eq!((&json["name"], &json["email"], &json["address"]), (&json!("=1+1"), &Json::Null, &json!("Q\"\n")));
        assert_eq!(json["created_at"], "1970-01-01T00:00:00Z");
        let table = write_table(people, &[row]).expect("a table");
        let wanted = "user_id,name,email,address,created_by,created_at,erased_at\r\nusr-1,'=1+1,,\"Q\"\"\n\",x,1970-01-01T00:00:00Z,\r\n";
        assert_eq!(table, wanted.as_bytes());
    }

    #[test]
    fn kinds_and_columns_have_names_of_their_own() {
        for kind in KINDS.iter() {
            assert_eq!(KINDS.iter().filter(|other| other.name == kind.name || other.table == kind.table).count(), 1, "{}", kind.name);
            assert!(kind.columns.iter().all(|column| kind.columns.iter().filter(|other| other.shown == column.shown).count() == 1));
        }
    }
}
