//! The transaction of a verdict: recorded once, or told again.

use counterfoil_core::wire::Verdict;
use counterfoil_core::{Code, MediumId, Refusal, Timestamp};
use serde_json::json;

use super::{Judge, Judged, OPERATION};
use crate::actions::asked::{self, Asked};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::audit::{self, Head};
use crate::store::medium::{self, Known};
use crate::store::request::{self, Once, Recorded};

/// HTTP's word for yes, in the record of a request.
const GRANTED: i64 = 200;

/// What the transaction came to.
pub enum Written {
    /// The verdict is on record, or there is none, and that is.
    Judged(Box<Judged>),
    /// Something else was recorded of the family since it was looked at, and nothing was written.
    Stale,
}

/// Why a transaction takes its work back.
enum Undone {
    Stale,
    Failed(Problem),
}

impl From<DbError> for Undone {
    fn from(error: DbError) -> Self {
        Self::Failed(error.into())
    }
}

/// What the transaction works with.
pub struct Write {
    judge: Judge,
    family: String,
    head: Head,
    request_id: String,
    digest: [u8; 32],
    medium: Option<(MediumId, Known)>,
    verdict: Verdict,
}

impl Write {
    /// A verdict that was found when the family's audit log ended at `head`.
    pub(super) fn new(judge: &Judge, asked: &Asked, family: String, head: Head, verdict: Verdict) -> Self {
        let (judge, request_id, digest) = (judge.clone(), asked.request_id.to_string(), asked.digest);
        Self { judge, family, head, request_id, digest, medium: None, verdict }
    }

    /// On a medium, which has a row from its first contact on.
    pub fn of(self, medium: &MediumId, known: Known) -> Self {
        Self { medium: Some((medium.clone(), known)), ..self }
    }

    /// Carries it out.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn commit(self, app: &App) -> Result<Written, Problem> {
        let family = self.family.clone();
        match app.db.write(OPERATION, family, async move |tx: &mut Tx| self.carry_out(tx).await).await {
            Ok(judged) => Ok(Written::Judged(Box::new(judged))),
            Err(Undone::Stale) => Ok(Written::Stale),
            Err(Undone::Failed(problem)) => Err(problem),
        }
    }

    async fn carry_out(&self, tx: &mut Tx) -> Result<Judged, Undone> {
        let Self { family, head, request_id, digest, verdict, judge, .. } = self;
        if audit::head(tx, family).await? != *head {
            // It may be this very presentation that was recorded, and then its verdict stands.
            return self.told_before(tx).await?.ok_or(Undone::Stale);
        }
        if let Some((medium, known)) = &self.medium {
            medium::touch(tx, medium, known, judge.now).await?;
        }
        let answer = serde_json::to_vec(verdict).map_err(|error| Undone::Failed(Problem::internal(error)))?;
        let (recorded, now) = (Recorded { status: GRANTED, answer }, judge.now);
        if !request::try_record(tx, family, request_id, digest, &recorded, now.0, asked::expires(now)).await? {
            return self.told_before(tx).await?.ok_or(Undone::Stale);
        }
        let detail = json!({ "provider": judge.provider, "scope": verdict.scope });
        audit::append_after(tx, family, *head, now.0, &judge.actor, "medium.verified", &detail).await?;
        Ok(Ok(verdict.clone()))
    }

    /// What this presentation was answered with before.
    async fn told_before(&self, tx: &mut Tx) -> Result<Option<Judged>, Undone> {
        let Self { family, request_id, digest, judge, .. } = self;
        let refusal: Refusal = match request::once(tx, family, request_id, digest, judge.now.0).await? {
            Once::Fresh => return Ok(None),
            Once::Mismatch => Code::RequestMismatch.into(),
            Once::Repeat(recorded) => {
                let told: Verdict = serde_json::from_slice(&recorded.answer).map_err(|error| Undone::Failed(Problem::internal(error)))?;
                if is_good(&told, judge.now) {
                    return Ok(Some(Ok(told)));
                }
                Code::PresentationOver.into()
            }
        };
        asked::audit_refusal(tx, family, OPERATION, &judge.actor, refusal.code, judge.now).await?;
        Ok(Some(Err(refusal)))
    }
}

/// Ten minutes either way: a clock that was set back gives nobody more of a verdict.
fn is_good(told: &Verdict, now: Timestamp) -> bool {
    (told.iat - super::GOOD_FOR..told.exp).contains(&now.seconds())
}
