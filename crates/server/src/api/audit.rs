//! `/v1/audit`: what was done, by whom, a family at a time; for the operator.

use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::page::{Page, PageQuery, rfc3339};
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::audit_log::{self, Record};

/// Whose history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// `medium:med-…`, `user:usr-…`, `holder:key-…`, `title:…`, `batch:bat-…`, `publisher:…`, `tokens`, `cards` or `authority`.
    family: String,
    /// `next` of the page before.
    #[serde(default)]
    after: Option<String>,
    /// At most so many items: 1 to 1000, 100 if it is not said.
    #[serde(default)]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A record of the audit log.
#[derive(Serialize, ToSchema)]
pub struct AuditRecord {
    /// Its place in the family's chain, from 1.
    pub seq: i64,
    /// When.
    pub at: String,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub event: String,
    /// The particulars.
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
    /// What ties it to all before it, hexadecimal.
    pub hash: String,
}

impl From<Record> for AuditRecord {
    fn from(record: Record) -> Self {
        let Record { seq, at, actor, event, detail, hash } = record;
        let detail = serde_json::from_str(&detail).unwrap_or(serde_json::Value::String(detail));
        Self { seq, at: rfc3339(at), actor, event, detail, hash: blake3::Hash::from_bytes(hash).to_hex().to_string() }
    }
}

/// The history of a family, oldest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(AuditQuery),
    responses((status = 200, body = Page<AuditRecord>)),
)]
pub async fn list(State(app): State<App>, Query(query): Query<AuditQuery>) -> Result<Json<Page<AuditRecord>>, Problem> {
    let AuditQuery { family, after, limit } = query;
    let query = PageQuery { after, limit };
    let after = match query.after().as_str() {
        "" => 0,
        text => text.parse().map_err(|_| Problem::with(ApiCode::InvalidRequest, "`after` is `next` of the page before"))?,
    };
    let rows = query.rows();
    let found = app
        .db
        .read("list_audit", async move |tx: &mut Tx| -> Result<Vec<Record>, Problem> {
            Ok(audit_log::page(tx, &family, after, rows).await?)
        })
        .await?;
    Ok(Json(Page::of(found, &query, |record| record.seq.to_string(), Into::into)))
}
