//! `/v1/users` for shops: a person gets a user ID with the device that they are sold, and further devices are announced (D1).

use axum::extract::{Path, State};
use counterfoil_core::{DeviceId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actions::shop;
use crate::app::App;
use crate::auth::Caller;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Body, Problem};

/// A person to be registered, with the device that they are sold.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What the person is called, 1 to 200 characters.
    #[schema(example = "Ada Lovelace")]
    pub name: String,
    /// Where they can be written to.
    #[serde(default)]
    pub email: Option<String>,
    /// Where they live, as on a letter: up to 1,000 characters, several lines.
    #[serde(default)]
    pub address: Option<String>,
    /// The device that is sold.
    #[serde(default)]
    pub device: Option<NewDevice>,
}

/// A device that is going to register for a user.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDevice {
    /// From the hardware.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// Who made it.
    #[serde(default)]
    pub maker: Option<String>,
    /// Which model.
    #[serde(default)]
    pub model: Option<String>,
    /// What its user calls it, up to 100 characters.
    #[serde(default)]
    pub name: Option<String>,
}

/// A user ID that was assigned.
#[derive(Serialize, ToSchema)]
pub struct AssignedUser {
    /// Goes onto the device and to the person, and to nobody else: with it a device that is announced can register.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The device that is expected to register, where one was named.
    #[schema(value_type = Option<String>)]
    pub device_id: Option<DeviceId>,
}

/// A device that was announced.
#[derive(Serialize, ToSchema)]
pub struct AnnouncedDevice {
    /// For whom.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Which.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// Whether it is in the user entry already; else it is expected to register.
    pub registered: bool,
}

/// Registers a person with the device that they are sold, and assigns the user ID.
#[utoipa::path(
    post, path = "/v1/users", tag = "users", operation_id = "assign_user", request_body = NewUser,
    responses((status = 201, body = AssignedUser),
              (status = 200, description = "The same was registered before under this Idempotency-Key", body = AssignedUser)),
)]
pub async fn assign(State(app): State<App>, caller: Caller, once: Once, Body(new): Body<NewUser>) -> Result<Reply, Problem> {
    shop::assign(&app, &caller, &once, new).await
}

/// Announces one more device of a user; the same again changes nothing.
#[utoipa::path(
    post, path = "/v1/users/{user_id}/devices", tag = "users", operation_id = "announce_device", request_body = NewDevice,
    params(("user_id" = String, Path, description = "Whose")),
    responses((status = 200, body = AnnouncedDevice), (status = 403, description = "The user has as many devices as the policy allows"),
              (status = 404)),
)]
pub async fn announce(
    State(app): State<App>,
    caller: Caller,
    once: Once,
    Path(user): Path<String>,
    Body(new): Body<NewDevice>,
) -> Result<Reply, Problem> {
    let user: UserId = user.parse().map_err(|_| ApiCode::NotFound)?;
    shop::announce(&app, &caller, &once, user, new).await
}
