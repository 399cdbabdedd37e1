//! `/v1/notices`: what stands on media without an identity (C18).

use axum::Json;
use axum::extract::{Query, State};
use counterfoil_core::wire::Notice;
use counterfoil_core::{ReleaseVersion, TitleId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::batches::NewBatchTitle;
use crate::actions::notice;
use crate::app::App;
use crate::auth::Caller;
use crate::problem::{ApiCode, Problem};

/// What lies on the media.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct NoticeQuery {
    /// Names of titles, in this order, with commas between; all of one publisher, and all of them on sale.
    titles: String,
    /// In which release; the newest of each if it is not said.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    version: Option<ReleaseVersion>,
}

/// The notice for media without an identity: the same bytes for all of them, until the signing key changes. Nothing is kept of it.
#[utoipa::path(
    get, path = "/v1/notices", tag = "batches", operation_id = "get_notice", params(NoticeQuery),
    responses((status = 200, body = Object), (status = 403), (status = 422)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Query(query): Query<NoticeQuery>) -> Result<Json<Notice>, Problem> {
    let mut titles = vec![];
    for name in query.titles.split(',') {
        let title: TitleId = name.parse().map_err(|_| Problem::with(ApiCode::Unprocessable, format!("`{name}` is no name of a title")))?;
        titles.push(NewBatchTitle { title, version: query.version.clone() });
    }
    Ok(Json(notice::run(&app, &caller, titles).await?))
}
