//! A recovery code for the day the card is lost (C15): drawn here, sealed to the card, shown once, kept as a hash.

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::{AskRecoveryCode, RecoveryCodeResult};
use counterfoil_core::{Code, RecoveryCode, Refusal, Timestamp};
use counterfoil_format::grant::{purpose, seal_box};
use counterfoil_format::secret::Random as _;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::asked::{self, Asked, Decided};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, EntryRow};
use crate::store::{audit, entry_recovery, holder};

/// Draws a code and puts it in the place of the last one. A repeat gets the same box, which only the card opens.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &AskRecoveryCode, now: Timestamp) -> Result<Decided, Problem> {
    let entry = match admit(app, asked, ask).await? {
        Ok(entry) => entry,
        Err((refusal, family)) => return asked::refuse(app, family, "recovery_code", "terminal", refusal, now).await,
    };
    let (code, sealed) = draw(app, ask, &entry)?;
    let answer = serde_json::to_value(RecoveryCodeResult { code: sealed }).map_err(Problem::internal)?;
    let (user, family, actor) = (ask.user_id, user::family(ask.user_id), ask.card_id.to_string());
    let (request_id, digest) = (asked.request_id.to_string(), asked.digest);
    app.db
        .write("draw recovery code", family.clone(), async move |tx: &mut Tx| -> Result<Decided, Problem> {
            audit::hold(tx, &family).await?;
            let refused = match request::once(tx, &family, &request_id, &digest, now.0).await? {
                Once::Repeat(recorded) => return Ok(Ok(serde_json::from_slice::<Value>(&recorded.answer).map_err(Problem::internal)?)),
                Once::Mismatch => Some(Code::RequestMismatch),
                // The card may have been replaced since it was looked at.
                Once::Fresh => user::find(tx, user).await?.is_none_or(|now| now.holder != entry.holder).then_some(Code::UserInvalid),
            };
            if let Some(code) = refused {
                asked::audit_refusal(tx, &family, "recovery_code", &actor, code, now).await?;
                return Ok(Err(code.into()));
            }
            entry_recovery::put(tx, user, &code, now).await?;
            audit::append(tx, &family, now.0, &actor, "user.recovery_code_made", &json!({ "card": actor })).await?;
            let recorded = Recorded { status: 200, answer: answer.to_string().into_bytes() };
            request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
            Ok(Ok(answer.clone()))
        })
        .await
}

/// A code, and the same in the box that leaves.
fn draw(app: &App, ask: &AskRecoveryCode, entry: &EntryRow) -> Result<(RecoveryCode, Value), Problem> {
    let rng = &mut app.rng.clone();
    let mut bytes = Zeroizing::new([0; 10]);
    rng.fill(&mut *bytes);
    let code = RecoveryCode::from_bytes(*bytes);
    let (told, purpose) = (Zeroizing::new(code.to_string()), [purpose::RECOVERY_CODE, &ask.card_id.to_string()]);
    let sealed = seal_box(&entry.keys.seal, &purpose, told.as_bytes(), rng).map_err(Problem::internal)?;
    Ok((code, serde_json::to_value(sealed).map_err(Problem::internal)?))
}

/// The card of the entry asks, and one of its devices where it has any: who was lent a card is given no code. A refusal comes with the
/// family that it is recorded in.
async fn admit(app: &App, asked: &Asked, ask: &AskRecoveryCode) -> Result<Result<EntryRow, (Refusal, String)>, Problem> {
    let (user, device) = (ask.user_id, ask.device_id);
    let presented = app
        .db
        .read("who asks for a code", async move |tx: &mut Tx| -> Result<_, Problem> {
            let Some(presented) = user::presented(tx, user, device, None).await? else { return Ok(None) };
            let dead = holder::facts(tx, presented.entry.holder).await? == HolderFacts::Dead;
            Ok(Some((presented, dead)))
        })
        .await?;
    let Some((presented, dead)) = presented else { return Ok(Err((Code::UserInvalid.into(), asked::stranger(&user.to_string())))) };
    let family = user::family(user);
    let refuse = |refusal: Refusal| Ok(Err((refusal, family)));
    if presented.entry.card().is_none_or(|card| card != ask.card_id) {
        return refuse(Code::UserInvalid.into());
    }
    if !asked.signed(&ask.card_id.to_string(), &presented.entry.keys.sign) {
        return refuse(Refusal::with(Code::ProofInvalid, "the card"));
    }
    if dead {
        return refuse(Code::CardUnknown.into());
    }
    let device = presented.device.as_ref();
    if presented.has_devices && !device.is_some_and(|row| asked.signed(&row.device.to_string(), &row.keys.sign)) {
        return refuse(Refusal::with(Code::DeviceNotRegistered, "the device"));
    }
    Ok(Ok(presented.entry))
}
