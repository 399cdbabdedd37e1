//! What a contents server has selected, as the terminal that asked it hands it in (A10).

use counterfoil_core::wire::{HandIn, HandInResult};
use counterfoil_core::{Code, LicenseId, Refusal, Timestamp};

use super::verdict::{self, Accepted};
use crate::actions::asked::{self, Asked, Decided};
use crate::actions::selection::{Reporter, give_within};
use crate::actions::signed::{self, Besides};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::request::{self, Once, Recorded};
use crate::store::{audit, user};

/// Decides the request and carries it out.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &HandIn, now: Timestamp) -> Result<Decided, Problem> {
    const NAME: &str = "hand_in";
    let (reporter, actor) = (Reporter { user: ask.user_id, device: ask.device_id }, ask.device_id.to_string());
    if let Err((refusal, family)) = signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        return asked::refuse(app, family, NAME, "terminal", refusal, now).await;
    }
    let family = user::family(ask.user_id);
    let accepted = match verdict::accept(app, ask.user_id, &ask.verdict, &ask.selection, now).await? {
        Ok(accepted) => accepted,
        Err(refusal) => return asked::refuse(app, family, NAME, &actor, refusal, now).await,
    };
    let write = Write {
        reporter,
        fresh: accepted.chosen.iter().map(|_| LicenseId::from_bytes(app.rng.bytes())).collect(),
        accepted,
        selection: *blake3::hash(ask.selection.as_bytes()).as_bytes(),
        request: (asked.request_id.to_string(), asked.digest),
        now,
    };
    let (named, told) = (family.clone(), actor.clone());
    let written = app
        .db
        .write("hand in", family, async move |tx: &mut Tx| -> Result<Result<Vec<u8>, Refusal>, Problem> {
            let written = write.carry_out(tx, &named).await?;
            if let Err(refusal) = &written {
                asked::audit_refusal(tx, &named, NAME, &told, refusal.code, write.now).await?;
            }
            Ok(written)
        })
        .await?;
    match written {
        Ok(answer) => Ok(Ok(serde_json::from_slice(&answer).map_err(Problem::internal)?)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// Everything that the transaction needs, so that each run of it writes the same.
struct Write {
    reporter: Reporter,
    accepted: Accepted,
    fresh: Vec<LicenseId>,
    /// Over the selection as it was signed.
    selection: [u8; 32],
    request: (String, [u8; 32]),
    now: Timestamp,
}

impl Write {
    async fn carry_out(&self, tx: &mut Tx, family: &str) -> Result<Result<Vec<u8>, Refusal>, Problem> {
        let (request_id, digest) = &self.request;
        audit::hold(tx, family).await?;
        match request::once(tx, family, request_id, digest, self.now.0).await? {
            Once::Repeat(recorded) => return Ok(Ok(recorded.answer)),
            Once::Mismatch => return Ok(Err(Code::RequestMismatch.into())),
            Once::Fresh => {}
        }
        // One answer to a verdict counts: the same again gives nothing more, and another one nothing at all.
        let question = format!("verdict:{}", self.accepted.jti);
        let answered = request::once(tx, family, &question, &self.selection, self.now.0).await?;
        if answered == Once::Mismatch {
            return Ok(Err(Refusal::with(Code::SelectionInvalid, "the verdict was answered otherwise before")));
        }
        let selected = give_within(tx, self.reporter, &self.accepted.chosen, &self.fresh, self.now).await?;
        let answer = serde_json::to_vec(&HandInResult { selected }).map_err(Problem::internal)?;
        let (now, until) = (self.now.0, asked::expires(self.now));
        if answered == Once::Fresh {
            let nothing = Recorded { status: 200, answer: vec![] };
            request::record(tx, family, &question, &self.selection, &nothing, now, until).await?;
        }
        let recorded = Recorded { status: 200, answer: answer.clone() };
        request::record(tx, family, request_id, digest, &recorded, now, until).await?;
        Ok(Ok(answer))
    }
}
