//! The lists of the API as tables: one layer, put on by the router wherever a route answers with a list.
//!
//! The route's handler is asked for its pages, one after the other, as its caller would ask for them; so a table shows what the caller may
//! see, and holds one page in memory. Its columns are those of the route's description: a list without items has them as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{ContentBuilder, ObjectBuilder, Paths, Ref, RefOr, Type};

use super::{MEDIA_TYPE, Table, cell, text};
use crate::problem::{ApiCode, Problem};

/// How deep an item's own items are taken apart into columns; below that they are JSON.
const DEPTH: usize = 3;
/// Longest page that is read, in bytes: a thousand items of the longest.
const MAX_PAGE: usize = 64 << 20;
/// Items of a page.
const LIMIT: &str = "1000";

/// What a route answers with, where that is a list.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    /// What the table is called.
    name: String,
    /// The member of the answer that is the list.
    member: String,
    /// Whether there are further pages.
    paged: bool,
    /// Of each column, the way to it within an item.
    columns: Vec<Vec<String>>,
}

/// Schemas by name.
type Schemas<'a> = BTreeMap<&'a str, &'a RefOr<Schema>>;

impl List {
    /// What a route answers GET with, by its description; nothing where that is no list.
    pub fn of(path: &str, paths: &Paths, schemas: &[(String, RefOr<Schema>)]) -> Option<Self> {
        let schemas: Schemas<'_> = schemas.iter().map(|(name, schema)| (name.as_str(), schema)).collect();
        let Schema::Object(answer) = resolve(answer(paths.paths.get(path)?.get.as_ref()?)?, &schemas)? else { return None };
        let mut lists = answer.properties.iter().filter_map(|(name, schema)| Some((name, items(schema, &schemas)?)));
        let (member, item) = lists.next().filter(|_| lists.next().is_none())?;
        // A document that has a list in it is none; but for what says where the next page is.
        if answer.properties.keys().any(|name| name != member && name != "next") {
            return None;
        }
        let mut columns = vec![];
        flatten(item, &schemas, &mut vec![], &mut columns);
        let name = path.rsplit('/').find(|part| !part.is_empty() && !part.starts_with('{')).unwrap_or("list");
        Some(Self { name: name.to_owned(), member: member.clone(), paged: answer.properties.contains_key("next"), columns })
    }

    /// Says in the description of the route that there is a table of it.
    pub fn describe(&self, path: &str, paths: &mut Paths) {
        let Some(operation) = paths.paths.get_mut(path).and_then(|item| item.get.as_mut()) else { return };
        let format = ParameterBuilder::new()
            .name("format")
            .parameter_in(ParameterIn::Query)
            .description(Some("`json`, or `csv` for all items from `after` on as one table, as `Accept: text/csv` asks for as well"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["json", "csv"]))));
        operation.parameters.get_or_insert_default().push(format.build().into());
        if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("200") {
            let table = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
            response.content.insert("text/csv".to_owned(), table.into());
        }
    }

    fn head(&self) -> Vec<String> {
        self.columns.iter().map(|way| way.join(".")).collect()
    }

    fn write(&self, items: &[Value], with_head: bool) -> Result<Bytes, Problem> {
        let mut table = Table::default();
        if with_head {
            table.row(self.head().iter().map(|name| text(name)))?;
        }
        for item in items {
            table.row(self.columns.iter().map(|way| cell(way.iter().fold(item, |value, name| &value[name.as_str()]))))?;
        }
        table.finish()
    }
}

/// The schema of the answer to a GET.
fn answer(operation: &Operation) -> Option<&RefOr<Schema>> {
    let RefOr::T(response) = operation.responses.responses.get("200")? else { return None };
    let RefOr::T(content) = response.content.get("application/json")? else { return None };
    content.schema.as_ref()
}

fn resolve<'a>(schema: &'a RefOr<Schema>, schemas: &Schemas<'a>) -> Option<&'a Schema> {
    let mut schema = schema;
    for _ in 0..DEPTH {
        match schema {
            RefOr::T(schema) => return Some(schema),
            RefOr::Ref(Ref { ref_location, .. }) => schema = schemas.get(ref_location.rsplit('/').next()?)?,
        }
    }
    None
}

fn items<'a>(schema: &'a RefOr<Schema>, schemas: &Schemas<'a>) -> Option<&'a RefOr<Schema>> {
    match resolve(schema, schemas)? {
        Schema::Array(array) => match &array.items {
            ArrayItems::RefOrSchema(items) => Some(items),
            ArrayItems::False => None,
        },
        _ => None,
    }
}

/// The columns of an item: its members, and in place of a member that has members of its own, those.
fn flatten<'a>(schema: &'a RefOr<Schema>, schemas: &Schemas<'a>, way: &mut Vec<String>, columns: &mut Vec<Vec<String>>) {
    let members = match resolve(schema, schemas) {
        Some(Schema::Object(object)) if !object.properties.is_empty() && way.len() < DEPTH => Some(&object.properties),
        // An item with another one's members beside its own.
        Some(Schema::AllOf(all)) => return all.items.iter().for_each(|part| flatten(part, schemas, way, columns)),
        // What may be null is one of nothing and something.
        Some(Schema::OneOf(one)) => {
            let mut some =
                one.items.iter().filter(|schema| matches!(resolve(schema, schemas), Some(Schema::Object(of)) if !of.properties.is_empty()));
            match (some.next(), some.next()) {
                (Some(schema), None) => return flatten(schema, schemas, way, columns),
                _ => None,
            }
        }
        _ => None,
    };
    let Some(members) = members else { return columns.push(way.clone()) };
    for (name, schema) in members {
        way.push(name.clone());
        flatten(schema, schemas, way, columns);
        way.pop();
    }
}

/// The layer: answers with a table where one is asked for.
pub async fn layer(State(list): State<Arc<List>>, request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    match wanted(request.uri().query().unwrap_or_default(), request.headers()) {
        Ok(false) => {
            let mut response = next.run(request).await;
            response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
            response
        }
        Ok(true) => table(list, request.into_parts().0, next).await.unwrap_or_else(|answer| answer),
        Err(problem) => problem.into_response(),
    }
}

/// Whether a table is wanted: `format` says so, or else what the caller would rather have.
fn wanted(query: &str, headers: &HeaderMap) -> Result<bool, Problem> {
    match form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "format") {
        Some((_, format)) if format == "csv" => Ok(true),
        Some((_, format)) if format == "json" => Ok(false),
        Some(_) => Err(Problem::with(ApiCode::InvalidRequest, "`format` is json or csv")),
        None => Ok(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(prefers_table)),
    }
}

/// RFC 9110 §12.5.1, as far as one of two is to be chosen.
fn prefers_table(accept: &str) -> bool {
    let weight = |kind: &str| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
            named.then(|| parts.find_map(|part| part.strip_prefix("q=")).map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0)))
        });
        ranges.fold(0.0, f32::max)
    };
    weight("text/csv") > weight("application/json").max(weight("*/*"))
}

/// The address with these members of the query in place of those of the same name.
fn asked(uri: &Uri, members: &[(&str, Option<&str>)]) -> Result<Uri, Problem> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if !members.iter().any(|(member, _)| *member == name) {
            query.append_pair(&name, &value);
        }
    }
    query.extend_pairs(members.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    let query = query.finish();
    let target = if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) };
    target.parse().map_err(|_| ApiCode::InvalidRequest.into())
}

/// One page of the handler's.
struct Page {
    items: Vec<Value>,
    next: Option<String>,
}

/// The first page before the status, so that a failure is told as one; the others as they are taken. `Err` is what the handler answered that
/// is no page.
async fn table(list: Arc<List>, parts: Parts, next: Next) -> Result<Response, Response> {
    let given = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).find(|(name, _)| name == "after");
    let after = given.map(|(_, after)| after.into_owned());
    let first = page(&list, &parts, next.clone(), after).await?;
    let disposition = format!("attachment; filename=\"{}.csv\"", list.name);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.extend(HeaderValue::try_from(disposition).ok().map(|value| (CONTENT_DISPOSITION, value)));
    let body = stream::try_unfold((Some(first), true), move |(found, with_head)| {
        let (list, parts, next) = (Arc::clone(&list), parts.clone(), next.clone());
        async move {
            let Some(Page { items, next: more }) = found else { return Ok::<_, Problem>(None) };
            let written = list.write(&items, with_head)?;
            let following = match more {
                Some(after) => Some(page(&list, &parts, next, Some(after)).await.map_err(|answer| cut_short(&answer))?),
                None => None,
            };
            Ok(Some((written, (following, false))))
        }
    });
    Ok((StatusCode::OK, headers, Body::from_stream(body)).into_response())
}

async fn page(list: &List, parts: &Parts, next: Next, after: Option<String>) -> Result<Page, Response> {
    let mut parts = parts.clone();
    let limit = list.paged.then_some(LIMIT);
    parts.uri = asked(&parts.uri, &[("format", None), ("after", after.as_deref()), ("limit", limit)]).map_err(Problem::into_response)?;
    let answer = next.run(Request::from_parts(parts, Body::empty())).await;
    if answer.status() != StatusCode::OK {
        return Err(answer);
    }
    let read = axum::body::to_bytes(answer.into_body(), MAX_PAGE).await.map_err(Problem::internal);
    let document = read.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).map_err(Problem::internal));
    let mut document = document.map_err(Problem::into_response)?;
    let next = document.get("next").and_then(Value::as_str).filter(|_| list.paged).map(str::to_owned);
    match document.get_mut(&list.member).map(Value::take) {
        Some(Value::Array(items)) => Ok(Page { items, next }),
        _ => Err(Problem::internal(format!("{} has no list in it", list.name)).into_response()),
    }
}

/// What cuts a table off in mid-stream, which HTTP tells the caller.
fn cut_short(answer: &Response) -> Problem {
    answer.extensions().get::<Problem>().cloned().unwrap_or_else(|| Problem::internal(format!("a page answered {}", answer.status())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_what_is_asked_for_or_preferred() {
        for (accept, table) in [
            ("text/csv", true),
            ("text/csv, application/json;q=0.9", true),
            ("text/csv;q=0.5, application/json", false),
            ("application/json", false),
            ("*/*", false),
            ("text/html, */*;q=0.1, Text/CSV", true),
            ("text/csv;q=0", false),
            ("text/csv;q=x", false),
            ("", false),
        ] {
            let headers = [(ACCEPT, HeaderValue::from_static(accept))].into_iter().collect();
            assert_eq!(wanted("", &headers).expect("no format is wrong"), table, "{accept}");
            assert!(!wanted("a=1&format=json", &headers).expect("one of two"));
        }
        assert!(wanted("format=csv", &HeaderMap::new()).expect("one of two"));
        assert_eq!(wanted("format=xls", &HeaderMap::new()).expect_err("neither").code, "invalid_request");
    }

    #[test]
    fn what_is_asked_of_the_handler_says_nothing_of_tables() {
        let uri = Uri::from_static("/v1/orders?state=due&format=csv&after=a%20b&limit=5");
        let next = asked(&uri, &[("format", None), ("after", Some("c&d")), ("limit", Some("1000"))]).expect("an address");
        assert_eq!(next, "/v1/orders?state=due&after=c%26d&limit=1000");
        assert_eq!(asked(&Uri::from_static("/v1/x?format=csv"), &[("format", None)]).expect("an address"), "/v1/x");
    }
}
