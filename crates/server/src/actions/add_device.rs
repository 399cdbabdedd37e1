//! Announcing a device that is going to register for the user, by one that is registered.

use counterfoil_core::wire::{AddDevice, AddDeviceResult};
use counterfoil_core::{Code, Refusal, Timestamp};

use super::asked::{self, Asked, Decided};
use super::shop::{self, By};
use super::signed::{self, Besides};
use crate::api::shop::NewDevice;
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::request::{self, Once, Recorded};
use crate::store::{audit, user};

/// Decides an announcement and carries it out. A device that is in the entry already may be announced as well, to no effect.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &AddDevice, now: Timestamp) -> Result<Decided, Problem> {
    let holder = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Card(ask.card_id)).await? {
        Ok(recipient) => recipient.holder.holder,
        Err((refusal, family)) => return asked::refuse(app, family, "add_device", "terminal", refusal, now).await,
    };
    let (user, asking, family) = (ask.user_id, ask.device_id, user::family(ask.user_id));
    let by = By { actor: asking.to_string(), now };
    let new = NewDevice { device_id: ask.new_device_id, maker: None, model: None, name: ask.name.clone() };
    let Ok(device) = shop::described(new) else {
        let refusal = Refusal::with(Code::RegistrationNotAllowed, "the device's name: at most 100 characters, no control characters");
        return asked::refuse(app, family, "add_device", &by.actor, refusal, now).await;
    };
    let result = serde_json::to_value(AddDeviceResult { device_id: ask.new_device_id }).map_err(Problem::internal)?;
    let (policy, request_id, digest) = (app.config.registration.clone(), asked.request_id.to_string(), asked.digest);
    app.db
        .write("add device", family.clone(), async move |tx: &mut Tx| -> Result<Decided, Problem> {
            audit::hold(tx, &family).await?;
            let decided = match request::once(tx, &family, &request_id, &digest, now.0).await? {
                Once::Repeat(_) => return Ok(Ok(result.clone())),
                Once::Mismatch => Err(Code::RequestMismatch.into()),
                // It may have been taken out of the entry since it was looked at, or the card replaced.
                Once::Fresh => match user::presented(tx, user, Some(asking), None).await? {
                    Some(presented) if presented.device.is_none() => Err(Code::DeviceNotRegistered.into()),
                    Some(presented) if presented.entry.holder == holder => shop::announce_within(tx, user, &device, &policy, &by).await?,
                    _ => Err(Code::UserInvalid.into()),
                },
            };
            if let Err(refusal) = decided {
                asked::audit_refusal(tx, &family, "add_device", &by.actor, refusal.code, now).await?;
                return Ok(Err(refusal));
            }
            let recorded = Recorded { status: 200, answer: vec![] };
            request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
            Ok(Ok(result.clone()))
        })
        .await
}
