//! A user's devices, and what is licensed to each (D8).

use counterfoil_core::rules::transfer;
use counterfoil_core::wire::{Devices, DevicesResult, LicensedTitle, UsersDevice};
use counterfoil_core::{DeviceId, Timestamp, UserId};

use super::asked::{self, Asked, Decided};
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::device_info::{self, Described, Licensed};

/// Answers one of the devices. It changes nothing, and leaves no trace.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Devices, now: Timestamp) -> Result<Decided, Problem> {
    if let Err((refusal, family)) = signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        return asked::refuse(app, family, "devices", "terminal", refusal, now).await;
    }
    let user = ask.user_id;
    let devices = app.db.read("devices", async move |tx: &mut Tx| of_user(tx, user, now).await).await?;
    Ok(Ok(serde_json::to_value(DevicesResult { devices }).map_err(Problem::internal)?))
}

/// The devices of a user that are registered or expected, first come first; those that were taken out are not among them.
///
/// # Errors
/// A failure of the database.
pub async fn of_user(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<Vec<UsersDevice>, DbError> {
    let known = device_info::all(tx, user).await?;
    let licensed = device_info::licensed(tx, user).await?;
    let on = |device: DeviceId| licensed.iter().filter(move |row| row.device == device).map(|row| title(row, now));
    let current = known.into_iter().filter(device_info::DeviceInfo::is_current);
    let devices = current.map(|info| {
        let Described { device, maker, model, name } = info.described;
        UsersDevice { id: device, name, maker, model, registered: info.registered, since: info.since, licenses: on(device).collect() }
    });
    Ok(devices.collect())
}

fn title(row: &Licensed, now: Timestamp) -> LicensedTitle {
    let left = transfer::left(&row.policy, row.transfers, row.transfers_since, now);
    LicensedTitle {
        license_id: row.license,
        title: row.title.clone(),
        name: row.name.clone(),
        installed: row.installed,
        expires_at: row.expires_at,
        transfers_left: left.left,
        next_transfer_at: left.next_at,
        policy: row.policy.clone(),
    }
}
