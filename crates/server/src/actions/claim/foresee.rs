//! What a claim through a gateway would come to, before anything is paid for (C17): decided as a claim is, and nothing granted.

use counterfoil_core::wire::Claim;
use counterfoil_core::{Code, Timestamp};

use super::{Batch, Look, Looked, OPERATION, actor, look};
use crate::actions::asked::{Asked, Through};
use crate::actions::gateway::price::{self, Foreseen};
use crate::actions::proof::{self, By};
use crate::app::App;
use crate::gateways::Caller;
use crate::problem::{ApiCode, Problem};
use crate::store::request::Once;

/// Decides a claim as [`super::run`] does, and grants nothing. Where it is free, `asked` is left so that it is carried out as such and nothing
/// else: what has to be paid for after all, because something has happened in between, is refused.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn foresee(app: &App, gateway: &Caller, asked: &mut Asked, ask: &Claim, now: Timestamp) -> Result<Foreseen, Problem> {
    asked.through = Through::Owed(vec![]);
    let mut batch = Batch::Remembered;
    for _ in 0..10 {
        let looked = look(app, asked, &Through::Owed(vec![]), ask, batch, now).await?;
        batch = Batch::Read;
        let Looked { facts, claimant, known } = match looked {
            Look::Admitted(looked) => *looked,
            Look::Answered(Err(refusal)) => return Ok(Foreseen::Refused(refusal)),
            Look::Answered(Ok(_)) => return Err(Problem::internal("a claim was granted by a look at it")),
            Look::Again => continue,
        };
        let charge = price::of_copy(app, gateway, facts.titles(), known.paid_on_copy, ask.currency).await?;
        if charge == Ok(None) {
            asked.through = Through::Direct;
        }
        if charge == Ok(None) || facts.once != Once::Fresh {
            return Ok(Foreseen::Free);
        }
        let refusal = match (facts.decide(&claimant, &known.rights, now), charge) {
            (Ok(_), _) => return Ok(Foreseen::Free),
            (Err(refusal), Ok(Some(charge))) if refusal.code == Code::PaymentRequired => return Ok(Foreseen::Charged(charge)),
            (Err(refusal), Err(not_sold)) if refusal.code == Code::PaymentRequired => not_sold,
            (Err(refusal), _) => refusal,
        };
        let by = By { operation: OPERATION, actor: &actor(ask) };
        return match proof::refuse_proven(app, by, &ask.medium_id, &known, refusal, now).await? {
            Err(refusal) => Ok(Foreseen::Refused(refusal)),
            Ok(_) => Err(Problem::internal("a refusal was granted")),
        };
    }
    Err(ApiCode::Overloaded.into())
}
