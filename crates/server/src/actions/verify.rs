//! Judging a presentation for a provider (B4–B6): is the medium itself, may this provider have it judged, what does it allow, and who holds it.
//!
//! One look at the database, one transaction. The transaction commits only where nothing has been recorded of the medium (or the user) since
//! the look, so that the verdict is what was so when it was given, and it holds the verdict: there is none that is not on record, and the same
//! presentation gets the same one for its ten minutes, and none afterwards.

use counterfoil_core::rules::{freshness, present};
use counterfoil_core::wire::{Operation, Present, Presentation, Request, Verdict};
use counterfoil_core::{Code, MediumId, ProviderId, Refusal, Timestamp, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::envelope::Envelope;

use super::asked::{self, Asked};
use super::exchange;
use super::proof::{self, By};
use crate::app::App;
use crate::problem::{ApiCode, Problem};
use crate::store::medium;
use crate::store::{provider, user};

use facts::{OfMedium, OfUser};
use write::{Write, Written};

mod facts;
mod write;

/// The name in metrics and the audit log.
const OPERATION: &str = "verify";
/// How long a verdict is good, in seconds.
pub const GOOD_FOR: i64 = 600;
/// Looks at a family that others write to at the same moment.
const TRIES: u32 = 8;

/// Yes, or why not.
pub type Judged = Result<Verdict, Refusal>;

/// Who has it judged, and when.
#[derive(Clone, Debug)]
struct Judge {
    provider: ProviderId,
    /// As in the audit log.
    actor: String,
    now: Timestamp,
}

/// Judges a presentation.
///
/// # Errors
/// `rate_limited`; failures of the server. A presentation that is not good is no error, whatever is wrong with it.
pub async fn run(app: &App, provider: ProviderId, presentation: &Presentation, challenge: &str) -> Result<Judged, Problem> {
    app.subjects.provider(&provider)?;
    let judge = Judge { provider, actor: provider.to_string(), now: app.clock.now() };
    let judged = judge.judge(app, presentation, challenge).await?;
    let outcome = judged.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "granted");
    crate::metrics::operation(OPERATION, outcome);
    tracing::info!(operation = OPERATION, outcome, provider = judge.actor, "decided");
    Ok(judged)
}

impl Judge {
    async fn judge(&self, app: &App, presentation: &Presentation, challenge: &str) -> Result<Judged, Problem> {
        let (asked, request) = match self.open(app, presentation).await? {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(app, provider::family(self.provider), refusal).await,
        };
        let shown = present::Shown { provider: self.provider, challenge, medium: presentation.medium_id.as_ref() };
        let present = match &request.operation {
            Operation::Present(present) => {
                freshness::decide(request.issued_at, self.now).and_then(|()| present::decide(present, shown)).map(|()| present)
            }
            _ => Err(Refusal::with(Code::PresentationInvalid, "it is no presentation")),
        };
        match present {
            Err(refusal) => self.refuse(app, provider::family(self.provider), refusal).await,
            Ok(present) => match (&present.medium_id, present.user_id) {
                (Some(medium), _) => self.of_medium(app, &asked, present, medium).await,
                (None, Some(user)) => self.of_user(app, &asked, present, user).await,
                (None, None) => Err(Problem::internal("a presentation of nothing was found good")),
            },
        }
    }

    async fn open(&self, app: &App, presentation: &Presentation) -> Result<Result<(Asked, Request), Refusal>, Problem> {
        let sealed = serde_json::to_vec(&presentation.envelope).map_err(Problem::internal)?;
        let envelope = match Envelope::parse(&sealed) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(Err(Refusal::with(Code::EnvelopeInvalid, error.to_string()))),
        };
        match exchange::open(app, &envelope, self.now).await {
            // The provider is answered, and not whoever sealed it.
            Ok((asked, request, _)) => Ok(Ok((asked, request))),
            // Sealed for somebody else, or changed: that is no failure here.
            Err(problem) if problem.code == Code::EnvelopeInvalid.as_str() => {
                Ok(Err(Refusal { detail: problem.detail, ..Code::EnvelopeInvalid.into() }))
            }
            Err(problem) => Err(problem),
        }
    }

    /// A medium, and whoever presents it where they say who they are.
    async fn of_medium(&self, app: &App, asked: &Asked, present: &Present, id: &MediumId) -> Result<Judged, Problem> {
        for _ in 0..TRIES {
            let OfMedium { known, may_judge, claimant, titles, common } = facts::of_medium(app, self.provider, id).await?;
            if let Err(refusal) = common.is_home_of(present) {
                return self.refuse(app, provider::family(self.provider), refusal).await;
            }
            let by = By { operation: OPERATION, actor: &self.actor };
            let known = match proof::admit(app, asked, by, id, known, self.now).await? {
                Ok(known) => known,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let holder = match facts::who(app, asked, present).await? {
                Ok(shown) => standing(&known, may_judge, self.now).map(|()| shown.or(claimant)),
                Err(refusal) => Err(refusal),
            };
            let holder = match holder {
                Ok(holder) => holder,
                Err(refusal) => {
                    proof::refuse_proven(app, by, id, &known, refusal.clone(), self.now).await?.ok();
                    return Ok(Err(refusal));
                }
            };
            let verdict = Verdict {
                sub: holder.map(|user| common.pseudonyms.at_provider(user, self.provider)),
                scope: known.rights.scope(),
                medium_id: Some(id.clone()),
                rights: Some(known.rights.clone()),
                titles,
                ..self.verdict(app, asked, present)
            };
            let write = Write::new(self, asked, medium::family(id), common.head, verdict).of(id, known);
            match write.commit(app).await? {
                Written::Judged(judged) => return Ok(*judged),
                Written::Stale => {}
            }
        }
        Err(ApiCode::Overloaded.into())
    }

    /// Somebody who presents no medium.
    async fn of_user(&self, app: &App, asked: &Asked, present: &Present, id: UserId) -> Result<Judged, Problem> {
        for _ in 0..TRIES {
            let OfUser { titles, scope, common } = facts::of_user(app, self.provider, id, self.now).await?;
            let there = match common.is_home_of(present) {
                Ok(()) => facts::who(app, asked, present).await?.map(drop),
                elsewhere => elsewhere,
            };
            if let Err(refusal) = there {
                return self.refuse(app, provider::family(self.provider), refusal).await;
            }
            if titles.is_empty() {
                let refusal = Refusal::with(Code::RightMissing, "the user has nothing of a publisher that this provider is registered for");
                return self.refuse(app, user::family(id), refusal).await;
            }
            let sub = Some(common.pseudonyms.at_provider(id, self.provider));
            let verdict = Verdict { sub, scope, titles, ..self.verdict(app, asked, present) };
            match Write::new(self, asked, user::family(id), common.head, verdict).commit(app).await? {
                Written::Judged(judged) => return Ok(*judged),
                Written::Stale => {}
            }
        }
        Err(ApiCode::Overloaded.into())
    }

    /// What every verdict says.
    fn verdict(&self, app: &App, asked: &Asked, present: &Present) -> Verdict {
        let name = blake3::derive_key("counterfoil 2026-11 name of a presentation", &asked.digest);
        Verdict {
            active: true,
            iss: app.name.clone(),
            aud: self.provider,
            sub: None,
            scope: String::new(),
            medium_id: None,
            rights: None,
            titles: vec![],
            nonce: present.challenge.clone(),
            iat: self.now.seconds(),
            exp: self.now.seconds() + GOOD_FOR,
            jti: to_base64url(&name[..16]),
        }
    }

    /// Records a no of its own.
    async fn refuse(&self, app: &App, family: String, refusal: Refusal) -> Result<Judged, Problem> {
        // Always an error: it is what was handed in.
        asked::refuse(app, family, OPERATION, &self.actor, refusal.clone(), self.now).await?.ok();
        Ok(Err(refusal))
    }
}

/// Whether a medium that has proven itself is good for anything here.
fn standing(known: &medium::Known, may_judge: bool, now: Timestamp) -> Result<(), Refusal> {
    if !may_judge {
        return Err(Refusal::with(Code::RightMissing, "it is of no publisher that this provider is registered for"));
    }
    if known.retired {
        return Err(Code::MediumRetired.into());
    }
    if known.rights.expired(now) {
        return Err(Refusal::with(Code::RightMissing, "its rights have ended"));
    }
    Ok(())
}
