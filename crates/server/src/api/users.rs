//! `/v1/users`: a user entry, for the operator.

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::{DeviceId, DriveId, HolderId, MediumId, OrderId, TitleId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::rfc3339;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::user;

/// A user entry: card, devices and drives together, and what the user owns.
#[derive(Serialize, ToSchema)]
pub struct UserDocument {
    /// Which.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Who holds the keys.
    pub holder: HolderDocument,
    /// Devices, first registered first.
    pub devices: Vec<DeviceDocument>,
    /// Drives, first registered first.
    #[schema(value_type = Vec<String>)]
    pub drives: Vec<DriveId>,
    /// What the user owns, newest first, at most 1,000.
    pub entitlements: Vec<EntitlementDocument>,
}

/// Who holds the keys of a user entry.
#[derive(Serialize, ToSchema)]
pub struct HolderDocument {
    /// Which; where it is a card, its card ID.
    pub id: String,
    /// `card`, `device` or `drive`.
    pub kind: &'static str,
}

/// A device in a user entry.
#[derive(Serialize, ToSchema)]
pub struct DeviceDocument {
    /// Which.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// What its user calls it.
    pub name: Option<String>,
    /// Since when.
    pub registered_at: String,
}

/// Something that a user owns.
#[derive(Serialize, ToSchema)]
pub struct EntitlementDocument {
    /// What.
    #[schema(value_type = String)]
    pub title: TitleId,
    /// From which medium, where it came from one.
    #[schema(value_type = Option<String>)]
    pub medium_id: Option<MediumId>,
    /// From which order, where it came from one.
    #[schema(value_type = Option<String>)]
    pub order_id: Option<OrderId>,
    /// Since when.
    pub since: String,
}

/// One user entry.
#[utoipa::path(
    get, path = "/v1/users/{user_id}", tag = "users", operation_id = "get_user",
    params(("user_id" = String, Path, description = "Its ID")),
    responses((status = 200, body = UserDocument), (status = 404)),
)]
pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<UserDocument>, Problem> {
    let id: UserId = id.parse().map_err(|_| ApiCode::NotFound)?;
    let document = app
        .db
        .read("get_user", async move |tx: &mut Tx| -> Result<UserDocument, Problem> {
            let entry = user::find(tx, id).await?.ok_or(ApiCode::NotFound)?;
            let devices = user::devices(tx, id).await?.into_iter().map(|row| DeviceDocument {
                device_id: row.device,
                name: row.name,
                registered_at: rfc3339(row.created_at.0),
            });
            let devices = devices.collect();
            let drives = user::drives(tx, id).await?;
            let owned = user::owned(tx, id).await?.into_iter();
            let entitlements = owned.map(|own| EntitlementDocument {
                title: own.title,
                medium_id: own.medium_id,
                order_id: own.order_id,
                since: rfc3339(own.since.0),
            });
            let holder = HolderDocument { id: shown(entry.holder, entry.holder_kind), kind: entry.holder_kind.as_str() };
            Ok(UserDocument { user_id: id, holder, devices, drives, entitlements: entitlements.collect() })
        })
        .await?;
    Ok(Json(document))
}

/// A card is shown by the ID that is printed on it.
fn shown(holder: HolderId, kind: counterfoil_core::wire::HolderKind) -> String {
    match kind {
        counterfoil_core::wire::HolderKind::Card => counterfoil_core::CardId::from(holder).to_string(),
        _ => holder.to_string(),
    }
}
