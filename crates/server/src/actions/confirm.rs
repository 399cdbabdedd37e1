//! The end of a copy (C11): its grants are settled, and from then on nobody gets their keys again.

use counterfoil_core::rules::confirm;
use counterfoil_core::wire::{Confirm, ConfirmResult, HolderKind};
use counterfoil_core::{Code, MediumId, Refusal, Timestamp};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::request::{self, Once, Recorded};
use crate::store::user::Presented;
use crate::store::{audit, grant, medium, user};

/// Decides a confirmation and carries it out. A repeat changes nothing and gets the same answer.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Confirm, medium: &MediumId, now: Timestamp) -> Result<Decided, Problem> {
    let (user, device) = (ask.user_id, ask.device_id);
    let presented = app.db.read("confirm facts", async move |tx: &mut Tx| user::presented(tx, user, device, None).await).await?;
    // The device proves it; an entry without one, its holder.
    let proven = match (&presented, device) {
        (Some(Presented { device: Some(row), .. }), _) => asked.signed(&row.device.to_string(), &row.keys.sign),
        (Some(Presented { entry, .. }), None) if entry.holder_kind != HolderKind::Device => asked.signed_by(&entry.keys.sign),
        _ => false,
    };
    if !proven {
        let code = if presented.is_none() { Code::UserInvalid } else { Code::ProofInvalid };
        return asked::refuse(app, asked::stranger(&user.to_string()), "confirm", "terminal", code.into(), now).await;
    }
    match settle(app, asked, ask.clone(), medium.clone(), now).await? {
        Settled::Yes => Ok(Ok(serde_json::to_value(ConfirmResult { settled: ask.grant_ids.clone() }).map_err(Problem::internal)?)),
        Settled::Refused(refusal) => Ok(Err(*refusal)),
        // A medium on which this user has no grant has no record of them either.
        Settled::Stranger => {
            let family = asked::stranger(medium.as_str());
            asked::refuse(app, family, "confirm", &user::family(user), Code::GrantUnknown.into(), now).await
        }
    }
}

enum Settled {
    Yes,
    Refused(Box<Refusal>),
    Stranger,
}

async fn settle(app: &App, asked: &Asked, ask: Confirm, medium_id: MediumId, now: Timestamp) -> Result<Settled, Problem> {
    let family = medium::family(&medium_id);
    let actor = user::family(ask.user_id);
    let (request_id, digest) = (asked.request_id.to_string(), asked.digest);
    app.db
        .write("confirm", family.clone(), async move |tx: &mut Tx| -> Result<Settled, Problem> {
            let facts = grant::confirm_facts(tx, &medium_id, &ask.user_id.to_string()).await?;
            if facts.is_empty() {
                return Ok(Settled::Stranger);
            }
            let once = request::once(tx, &family, &request_id, &digest, now.0).await?;
            let decided = match once {
                Once::Mismatch => Err(Code::RequestMismatch.into()),
                Once::Fresh | Once::Repeat(_) => confirm::decide(&ask.grant_ids, ask.user_id, ask.device_id, &facts),
            };
            let to_settle = match decided {
                Ok(to_settle) => to_settle,
                Err(refusal) => {
                    asked::audit_refusal(tx, &family, "confirm", &actor, refusal.code, now).await?;
                    return Ok(Settled::Refused(Box::new(refusal)));
                }
            };
            for grant in &to_settle {
                grant::settle(tx, &medium_id, *grant, now).await?;
            }
            if !to_settle.is_empty() {
                audit::append(tx, &family, now.0, &actor, "copy.confirmed", &json!({ "grants": to_settle })).await?;
            }
            if once == Once::Fresh {
                let recorded = Recorded { status: 200, answer: vec![] };
                request::record(tx, &family, &request_id, &digest, &recorded, now.0, asked::expires(now)).await?;
            }
            Ok(Settled::Yes)
        })
        .await
}
