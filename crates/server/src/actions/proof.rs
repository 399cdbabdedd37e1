//! Whether a medium is itself: known, and proven under its claim secret. No, whatever the reason, costs the same and says the same, except to
//! whoever proves to hold a secret that was good once.

use counterfoil_core::rules::epoch::{self, Worth};
use counterfoil_core::{Code, MediumId, Refusal, Timestamp};
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::secret::Secret;
use serde_json::json;

use super::asked::{self, Asked};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::audit;
use crate::store::medium::{self, FIRST_EPOCH, Known};

/// What a medium's proof is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Good, made under the claim secret of this epoch. Where that is newer than what was seen, [`advance`] comes before anything else.
    Good(u32),
    /// Made under the claim secret of this epoch, and a newer one was seen since: an old copy, or a clone.
    Superseded(u32),
    /// None, or one that is right under no claim secret; or nobody knows the medium.
    Unknown,
}

/// A medium that proved itself in a request.
pub struct Proven {
    /// Which.
    pub medium: MediumId,
    /// What is known of it.
    pub known: Known,
    /// Of the claim secret that it proved itself under.
    pub epoch: u32,
    /// That claim secret.
    pub secret: Secret<32>,
}

/// Holds the request's proof against the claim secrets that the medium may have, whichever it names. Nothing is written.
///
/// # Errors
/// `rate_limited`; a claim key that does not open; failures of the database.
pub async fn medium(app: &App, asked: &Asked, medium: &MediumId, known: Option<&Known>) -> Result<Proof, Problem> {
    let key: Secret<32> = match known {
        Some(known) => app.keys.open(&app.db, &Place::ClaimKey { batch: &known.batch.to_string() }, &known.claim_key).await?,
        // Nobody holds a secret under this key, so the proof fails below, after the work that an untouched medium costs.
        None => app.keys.decoy()?,
    };
    let (key, (seen, target)) = (ClaimSecretKey::new(key), known.map_or((FIRST_EPOCH, FIRST_EPOCH), |known| (known.epoch, known.target)));
    let right = epoch::to_try(seen, target).find_map(|epoch| {
        let secret = key.derive(medium.as_str(), epoch);
        asked.proven(medium.as_str(), &secret).then_some((epoch, secret))
    });
    let (Some(known), Some((epoch, secret))) = (known, right) else { return Ok(Proof::Unknown) };
    if asked.is_first_proof() {
        app.subjects.medium(medium)?;
    }
    Ok(match epoch::judge(epoch, seen, target) {
        Worth::Good | Worth::MovesOn => {
            asked.note(Proven { medium: medium.clone(), known: known.clone(), epoch, secret });
            Proof::Good(epoch)
        }
        Worth::Superseded => Proof::Superseded(epoch),
        Worth::Never => Proof::Unknown,
    })
}

/// What an operation is, and who asks for it, for the audit log.
#[derive(Clone, Copy)]
pub struct By<'a> {
    /// Its name.
    pub operation: &'static str,
    /// Who.
    pub actor: &'a str,
}

/// [`medium()`], with all that follows: a medium that proved itself under a newer claim secret is moved on, and one that did not is refused
/// and recorded.
///
/// # Errors
/// As for [`medium()`].
pub async fn admit(
    app: &App,
    asked: &Asked,
    by: By<'_>,
    id: &MediumId,
    known: Option<Known>,
    now: Timestamp,
) -> Result<Result<Known, Refusal>, Problem> {
    match (medium(app, asked, id, known.as_ref()).await?, known) {
        (Proof::Good(epoch), Some(mut known)) => {
            advance(app, by.actor, id, &known, epoch, now).await?;
            known.epoch = known.epoch.max(epoch);
            Ok(Ok(known))
        }
        (proof, known) => Ok(Err(refuse(app, by, id, proof, known.as_ref(), now).await?)),
    }
}

/// Moves a medium on to the claim secret that it proved itself under, where that is newer than what was seen (B7).
///
/// # Errors
/// A failure of the database.
pub async fn advance(app: &App, actor: &str, id: &MediumId, known: &Known, epoch: u32, now: Timestamp) -> Result<(), DbError> {
    if epoch <= known.epoch {
        return Ok(());
    }
    let (actor, id, known, family) = (actor.to_owned(), id.clone(), known.clone(), medium::family(id));
    app.db
        .write("medium refreshed", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            medium::touch(tx, &id, &known, now).await?;
            if medium::advance(tx, &id, epoch).await? {
                audit::append(tx, &family, now.0, &actor, "medium.refreshed", &json!({ "from": known.epoch, "epoch": epoch })).await?;
            }
            Ok(())
        })
        .await
}

/// Refuses a medium that did not prove itself. Whoever holds a secret that was good once may be told, and the medium's own record shows it;
/// anybody else is a stranger.
///
/// # Errors
/// A failure of the database: a refusal that cannot be recorded is not given.
pub async fn refuse(app: &App, by: By<'_>, id: &MediumId, proof: Proof, known: Option<&Known>, now: Timestamp) -> Result<Refusal, Problem> {
    let By { operation, actor } = by;
    let (Proof::Superseded(epoch), Some(known)) = (proof, known) else {
        return asked::refused(app, asked::stranger(id.as_str()), operation, actor, Code::MediumUnknown.into(), now).await;
    };
    let (family, actor) = (medium::family(id), actor.to_owned());
    let detail = json!({ "operation": operation, "epoch": epoch, "newest": known.epoch });
    app.db
        .write("superseded medium", family.clone(), async move |tx: &mut Tx| {
            audit::append(tx, &family, now.0, &actor, "medium.superseded_presented", &detail).await.map(drop)
        })
        .await?;
    Ok(Code::MediumSuperseded.into())
}

/// Records the refusal of an operation whose medium proved itself, in the medium's own family.
///
/// # Errors
/// As for [`refuse`].
pub async fn refuse_proven(
    app: &App,
    by: By<'_>,
    id: &MediumId,
    known: &Known,
    refusal: Refusal,
    now: Timestamp,
) -> Result<asked::Decided, Problem> {
    let (code, operation, actor) = (refusal.code, by.operation, by.actor.to_owned());
    let (id, known, family) = (id.clone(), known.clone(), medium::family(id));
    app.db
        .write("refuse medium", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            // A claim takes a medium without a row for one without a record.
            medium::touch(tx, &id, &known, now).await?;
            asked::audit_refusal(tx, &family, operation, &actor, code, now).await
        })
        .await?;
    Ok(Err(refusal))
}
