//! `/v1/users/{user_id}`: a user with entry, person and devices, for the operator.

use axum::Json;
use axum::extract::{Path, State};
use counterfoil_core::{DeviceId, DriveId, HolderId, MediumId, OrderId, TitleId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::rfc3339;
use crate::app::App;
use crate::db::Tx;
use crate::problem::{ApiCode, Problem};
use crate::store::device_info::{self, Described, DeviceInfo};
use crate::store::{person, user};

/// A user: who it is, card, devices and drives together, and what the user owns.
#[derive(Serialize, ToSchema)]
pub struct UserDocument {
    /// Which.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The person, where a shop has written them down.
    pub person: Option<PersonDocument>,
    /// Who holds the keys; null until the first registration. Where it is a device, every device holds its own keys, and this was the first.
    pub holder: Option<HolderDocument>,
    /// Devices, first registered or announced first; those that were taken out as well.
    pub devices: Vec<DeviceDocument>,
    /// Drives, first registered first.
    #[schema(value_type = Vec<String>)]
    pub drives: Vec<DriveId>,
    /// What the user owns, newest first, at most 1,000.
    pub entitlements: Vec<EntitlementDocument>,
}

/// A person, as a shop has written them down.
#[derive(Serialize, ToSchema)]
pub struct PersonDocument {
    /// What they are called.
    pub name: String,
    /// Where they can be written to.
    pub email: Option<String>,
    /// Where they live.
    pub address: Option<String>,
}

/// Who holds the keys of a user entry.
#[derive(Serialize, ToSchema)]
pub struct HolderDocument {
    /// Which; where it is a card, its card ID.
    pub id: String,
    /// `card`, `device` or `drive`.
    pub kind: &'static str,
}

/// A device of a user.
#[derive(Serialize, ToSchema)]
pub struct DeviceDocument {
    /// Which.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// `registered`: in the entry; `expected`: announced, and free to register; `retired`: taken out, and not announced since.
    pub state: &'static str,
    /// Who made it.
    pub maker: Option<String>,
    /// Which model.
    pub model: Option<String>,
    /// What its user calls it.
    pub name: Option<String>,
    /// Since when it is registered, or announced.
    pub since: String,
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

/// One user.
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
            let (entry, person) = (user::find(tx, id).await?, person::find(tx, id).await?);
            if entry.is_none() && person.is_none() {
                return Err(ApiCode::NotFound.into());
            }
            let owned = user::owned(tx, id).await?.into_iter();
            let entitlements = owned.map(|own| EntitlementDocument {
                title: own.title,
                medium_id: own.medium_id,
                order_id: own.order_id,
                since: rfc3339(own.since.0),
            });
            Ok(UserDocument {
                user_id: id,
                person: person.map(|row| PersonDocument { name: row.name, email: row.email, address: row.address }),
                holder: entry.map(|entry| HolderDocument { id: shown(entry.holder, entry.holder_kind), kind: entry.holder_kind.as_str() }),
                devices: device_info::all(tx, id).await?.into_iter().map(DeviceDocument::from).collect(),
                drives: user::drives(tx, id).await?,
                entitlements: entitlements.collect(),
            })
        })
        .await?;
    Ok(Json(document))
}

impl From<DeviceInfo> for DeviceDocument {
    fn from(info: DeviceInfo) -> Self {
        let state = match (info.registered, info.retired_at) {
            (true, _) => "registered",
            (false, None) => "expected",
            (false, Some(_)) => "retired",
        };
        let Described { device, maker, model, name } = info.described;
        Self { device_id: device, state, maker, model, name, since: rfc3339(info.since.0) }
    }
}

/// A card is shown by the ID that is printed on it.
fn shown(holder: HolderId, kind: counterfoil_core::wire::HolderKind) -> String {
    match kind {
        counterfoil_core::wire::HolderKind::Card => counterfoil_core::CardId::from(holder).to_string(),
        _ => holder.to_string(),
    }
}
