//! A refreshed identity is on its medium (B7).

use counterfoil_core::wire::{Refreshed, RefreshedResult};
use counterfoil_core::{Code, Refusal, Timestamp};

use super::asked::{Asked, Decided};
use super::proof::{self, By, Proof};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::medium;

const BY: By<'static> = By { operation: "refreshed", actor: "terminal" };

/// Notes that a medium proves itself under its new claim secret; older ones are good no more. A repeat changes nothing.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Refreshed, now: Timestamp) -> Result<Decided, Problem> {
    let id = ask.medium_id.clone();
    let known = app.db.read("refreshed medium", async move |tx: &mut Tx| medium::known(tx, &id).await).await?;
    let proof = proof::medium(app, asked, &ask.medium_id, known.as_ref()).await?;
    let (Proof::Good(epoch), Some(known)) = (proof, &known) else {
        return Ok(Err(proof::refuse(app, BY, &ask.medium_id, proof, known.as_ref(), now).await?));
    };
    // What is on the medium is what it is proven under, not what is said of it.
    if epoch != ask.epoch {
        let refusal = Refusal::with(Code::ProofInvalid, "it is proven under the claim secret of another epoch");
        return proof::refuse_proven(app, BY, &ask.medium_id, known, refusal, now).await;
    }
    proof::advance(app, BY.actor, &ask.medium_id, known, epoch, now).await?;
    Ok(Ok(serde_json::to_value(RefreshedResult { rights: known.rights.clone() }).map_err(Problem::internal)?))
}
