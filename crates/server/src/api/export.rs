//! `/v1/export`: everything that an operator holds, kind by kind, as JSON Lines or as tables; without secrets.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::actions::export::kinds::{KINDS, Kind, LEFT_OUT};
use crate::actions::export::{self, Format};
use crate::app::App;
use crate::auth::Caller;
use crate::csv::MEDIA_TYPE;
use crate::problem::{ApiCode, Problem};

/// What can be exported, and what is not.
#[derive(Serialize, ToSchema)]
pub struct ExportDocument {
    /// What can be.
    pub kinds: Vec<KindDocument>,
    /// What is not, and why.
    pub left_out: Vec<LeftOut>,
}

/// Something that can be exported.
#[derive(Serialize, ToSchema)]
pub struct KindDocument {
    /// What it is called.
    pub what: &'static str,
    /// In words.
    pub about: &'static str,
    /// Of a row, in order.
    pub columns: Vec<&'static str>,
}

/// What is not exported.
#[derive(Serialize, ToSchema)]
pub struct LeftOut {
    /// A table, or a column of one.
    pub what: String,
    /// Why.
    pub because: &'static str,
}

/// What can be exported.
#[utoipa::path(
    get, path = "/v1/export", tag = "export", operation_id = "list_exports",
    responses((status = 200, body = ExportDocument)),
)]
pub async fn list() -> Json<ExportDocument> {
    let kinds = KINDS.iter().map(|kind| KindDocument {
        what: kind.name,
        about: kind.about,
        columns: kind.columns.iter().map(|column| column.shown).collect(),
    });
    let tables = LEFT_OUT.iter().map(|(table, because)| LeftOut { what: (*table).to_owned(), because });
    let columns = KINDS
        .iter()
        .flat_map(|kind| kind.without.iter().map(|(column, because)| LeftOut { what: format!("{}.{column}", kind.table), because }));
    Json(ExportDocument { kinds: kinds.collect(), left_out: tables.chain(columns).collect() })
}

/// How it is written.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `jsonl`, one JSON object a line, or `csv`; `jsonl` if it is not said.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    format: Format,
}

/// All rows of a kind, in the order of their keys. What is written while it is read may or may not be in it.
#[utoipa::path(
    get, path = "/v1/export/{what}", tag = "export", operation_id = "export",
    params(("what" = String, Path, description = "One of those that `GET /v1/export` lists"), ExportQuery),
    responses((status = 200, description = "All rows", content((String = "application/x-ndjson"), (String = "text/csv"))), (status = 404)),
)]
pub async fn rows(
    State(app): State<App>,
    caller: Caller,
    Path(what): Path<String>,
    Query(query): Query<ExportQuery>,
) -> Result<Response, Problem> {
    let kind = Kind::find(&what).ok_or(ApiCode::NotFound)?;
    let rows = export::run(&app, &caller, kind, query.format).await?;
    let (media_type, ending) = match query.format {
        Format::Jsonl => ("application/x-ndjson", "jsonl"),
        Format::Csv => (MEDIA_TYPE, "csv"),
    };
    let headers = [(CONTENT_TYPE, media_type.to_owned()), (CONTENT_DISPOSITION, format!("attachment; filename=\"{what}.{ending}\""))];
    Ok((headers, Body::from_stream(rows)).into_response())
}
