//! `/v1/entries`: user entries as repair centres and support find them, and what is exchanged in them (C14).

use axum::Json;
use axum::extract::{Path, Query, State};
use counterfoil_core::{LicenseId, MediumId, RepairId, TitleId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use self::document::{EntryDocument, FoundEntries};
use crate::actions::entry;
use crate::actions::repair::exchange::{self, Exchange, Swap};
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};
use crate::store::repair::RepairRow;

pub mod document;

/// What is looked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct FindQuery {
    /// A card, user, device, drive, license or medium ID or its first characters (three after the hyphen), an e-mail address, or words of a name,
    /// each by how it begins.
    pub find: String,
}

/// Finds entries, also by what was exchanged, taken out or is dead.
#[utoipa::path(
    get, path = "/v1/entries", tag = "entries", operation_id = "find_entries", params(FindQuery),
    responses((status = 200, body = FoundEntries), (status = 422)),
)]
pub async fn find(State(app): State<App>, Query(query): Query<FindQuery>) -> Result<Json<FoundEntries>, Problem> {
    Ok(Json(FoundEntries { entries: entry::find(&app, &query.find).await? }))
}

/// An entry, with all that it holds and what was done to it.
#[utoipa::path(
    get, path = "/v1/entries/{user_id}", tag = "entries", operation_id = "get_entry",
    params(("user_id" = String, Path, description = "Whose")),
    responses((status = 200, body = EntryDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<EntryDocument>, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    entry::load(&app, id).await?.map(Json).ok_or_else(|| ApiCode::NotFound.into())
}

/// What is exchanged in an entry.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewExchange {
    /// Whether it is a device or a drive.
    pub kind: ExchangeKind,
    /// `dev-…` or `drv-…`: what is taken out.
    pub old: String,
    /// What takes its place; absent where it is only taken out.
    #[serde(default)]
    pub new: Option<String>,
    /// Why: 1 to 200 characters.
    pub reason: String,
    /// The repair centre's own number for it.
    #[serde(default)]
    pub reference: Option<String>,
    /// Whether the policy does not count. For operators alone; on record where the policy would have said no.
    #[serde(default, rename = "override")]
    pub overrides: bool,
}

/// What can be exchanged by itself.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// A device.
    Device,
    /// A drive.
    Drive,
}

/// What an exchange came to.
#[derive(Serialize, ToSchema)]
pub struct ExchangedDocument {
    /// Which.
    #[schema(value_type = String)]
    pub repair_id: RepairId,
    /// In whose entry.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `device` or `drive`.
    pub kind: &'static str,
    /// What was taken out.
    pub old: String,
    /// What took its place. A device is expected, and registers by itself.
    pub new: Option<String>,
    /// The entry's, raised by every repair.
    pub generation: u32,
    /// Whether the policy was overridden.
    pub overridden: bool,
    /// What can be copied again, once for each title.
    pub freed: Vec<FreedCopy>,
    /// What became of licenses.
    pub licenses: Vec<ExchangedLicense>,
    /// Exchanges that the policy leaves.
    pub exchanges_left: u32,
}

/// A title of a copy that was taken back.
#[derive(Serialize, ToSchema)]
pub struct FreedCopy {
    /// Where it was copied from, and can be again.
    #[schema(value_type = String)]
    pub medium_id: MediumId,
    /// What.
    #[schema(value_type = String)]
    pub title: TitleId,
}

/// A license that was where something was exchanged.
#[derive(Serialize, ToSchema)]
pub struct ExchangedLicense {
    /// Which.
    #[schema(value_type = String)]
    pub license_id: LicenseId,
    /// Of what.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// `moved` to the new device, `ended`, or `waiting` to be installed to another drive.
    pub state: &'static str,
}

impl ExchangedDocument {
    /// Of what was written.
    pub fn new(user: UserId, row: &RepairRow, generation: u32, freed: Vec<FreedCopy>, licenses: Vec<ExchangedLicense>, left: u32) -> Self {
        Self {
            repair_id: row.repair,
            user_id: user,
            kind: row.kind.as_str(),
            old: row.old_id.clone(),
            new: row.new_id.clone(),
            generation,
            overridden: row.overridden,
            freed,
            licenses,
            exchanges_left: left,
        }
    }
}

impl NewExchange {
    fn swap(&self) -> Result<Swap, Problem> {
        fn id<T: std::str::FromStr<Err: std::fmt::Display>>(what: &str, text: &str) -> Result<T, Problem> {
            text.parse().map_err(|error: T::Err| Problem::with(ApiCode::Unprocessable, format!("`{what}`: {error}")))
        }
        let new = self.new.as_deref().filter(|text| !text.is_empty());
        Ok(match self.kind {
            ExchangeKind::Device => Swap::Device { old: id("old", &self.old)?, new: new.map(|text| id("new", text)).transpose()? },
            ExchangeKind::Drive => Swap::Drive { old: id("old", &self.old)?, new: new.map(|text| id("new", text)).transpose()? },
        })
    }
}

/// Exchanges a device or drive: its copies are taken back, so that they can be copied again; its licenses move to the new device.
#[utoipa::path(
    post, path = "/v1/entries/{user_id}/exchange", tag = "entries", operation_id = "exchange_in_entry", request_body = NewExchange,
    params(("user_id" = String, Path, description = "Whose entry")),
    responses((status = 200, body = ExchangedDocument), (status = 403), (status = 404), (status = 422)),
)]
pub async fn exchange(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(id): Path<String>,
    Body(new): Body<NewExchange>,
) -> Result<Reply, Problem> {
    let user: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let swap = new.swap()?;
    let wanted = Exchange { user, swap, reason: new.reason, reference: new.reference, overrides: new.overrides };
    exchange::run(&app, &caller, &once, wanted).await
}
