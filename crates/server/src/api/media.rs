//! `/v1/media`: one medium, what it is and what happened to it.

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::{BatchId, MediumId, Rights};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::batches::{BatchTitleDocument, RightsDocument};
use super::page::rfc3339;
use crate::actions::retire_medium;
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::{audit_log, batch, medium};
use timeline::{MediumEvent, Summary};

pub mod timeline;

/// Events that are shown of one medium; there is a page for each of the rest in the audit log.
const SHOWN: i64 = 1000;

/// A medium.
#[derive(Serialize, ToSchema)]
pub struct MediumDocument {
    /// Which.
    #[schema(value_type = String)]
    pub medium_id: MediumId,
    /// Of which batch.
    #[schema(value_type = String)]
    pub batch: BatchId,
    /// Its number in the batch, from 1.
    pub serial: i64,
    /// What lies on it.
    pub titles: Vec<BatchTitleDocument>,
    /// What it allows.
    #[schema(value_type = RightsDocument)]
    pub rights: Rights,
    /// `unclaimed`, `claimed` or `retired`.
    pub state: String,
    /// Copies claimed so far.
    pub copies_claimed: u32,
    /// Of the newest claim secret that it has proven itself under, from 1.
    pub epoch: u32,
    /// Of the claim secret that it should have: more than `epoch` where a refresh is under way.
    pub target_epoch: u32,
    /// When its batch was made.
    pub pressed_at: String,
    /// When it was first heard of.
    pub first_seen_at: Option<String>,
    /// When its first copy was claimed.
    pub claimed_at: Option<String>,
    /// When it last proved itself under a newer claim secret than before.
    pub refreshed_at: Option<String>,
    /// How often an old copy of it, or a clone, was presented.
    pub superseded_presented: usize,
    /// What happened to it, oldest first, 1,000 events at most; the operator's audit log has all. Who proves nothing about it is no part of
    /// that.
    pub timeline: Vec<MediumEvent>,
}

/// Loads a medium that `scope` covers. A pressed one is there from the day its batch is.
///
/// # Errors
/// `not_found`, or a failure of the database.
pub async fn load(tx: &mut Tx, scope: &Scope, id: &MediumId) -> Result<MediumDocument, Problem> {
    let known = medium::known(tx, id).await?.ok_or(ApiCode::NotFound)?;
    let of = batch::get(tx, scope, known.batch).await?.ok_or(ApiCode::NotFound)?;
    let row = medium::find(tx, id).await?;
    let titles = batch::titles(tx, of.id).await?;
    let records = audit_log::page(tx, &medium::family(id), 0, SHOWN).await?;
    let Summary { first_seen_at, claimed_at, refreshed_at, superseded } = Summary::of(&records);
    let everything = matches!(scope, Scope::All);
    Ok(MediumDocument {
        medium_id: id.clone(),
        batch: of.id,
        serial: known.serial,
        titles: titles.into_iter().map(|on| BatchTitleDocument { title: on.title, version: on.version }).collect(),
        rights: known.rights,
        copies_claimed: row.as_ref().map_or(0, |row| row.copies_claimed),
        epoch: known.epoch,
        target_epoch: known.target,
        pressed_at: rfc3339(of.created_at),
        first_seen_at,
        claimed_at,
        refreshed_at,
        superseded_presented: superseded,
        state: row.map_or_else(|| "unclaimed".to_owned(), |row| row.state),
        timeline: records.into_iter().map(|record| timeline::event(record, everything)).collect(),
    })
}

/// One medium.
#[utoipa::path(
    get, path = "/v1/media/{medium_id}", tag = "media", operation_id = "get_medium",
    params(("medium_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = MediumDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<Json<MediumDocument>, Problem> {
    let id: MediumId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let scope = caller.scope();
    let found = app.db.read("get_medium", async move |tx: &mut Tx| load(tx, &scope, &id).await).await?;
    Ok(Json(found))
}

/// Why something is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For the audit log; up to 200 characters.
    #[serde(default)]
    pub reason: String,
}

/// Takes a medium out of use: nothing can be claimed from it any more. Copies made before stay.
#[utoipa::path(
    post, path = "/v1/media/{medium_id}/retire", tag = "media", operation_id = "retire_medium", request_body = Reason,
    params(("medium_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = MediumDocument), (status = 404)),
)]
pub async fn retire(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Reply, Problem> {
    let id: MediumId = id.parse().map_err(|_| ApiCode::NotFound)?;
    retire_medium::run(&app, &caller, &once, id, reason.reason).await
}
