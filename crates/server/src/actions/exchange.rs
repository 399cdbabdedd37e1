//! A terminal's request, from the sealed envelope to the signed answer (`protocol.md` §2).

use counterfoil_core::rules::freshness;
use counterfoil_core::wire::{Answer, Operation, Outcome, Request};
use counterfoil_core::{Code, Refusal, RequestId, Timestamp};
use counterfoil_format::encoding::parse_strict;
use counterfoil_format::envelope::{ANSWER_TYP, Envelope};
use counterfoil_format::jws::{General, Verifier};
use counterfoil_format::sign::VerifyingKey;
use serde_json::json;

use super::{claim, confirm, heal, inspect, register};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::audit;

/// How long an answer is kept: a request is fresh until a day after it says that it was issued, which may be a day ahead.
pub const KEPT: i64 = 3 * Timestamp::DAY;
/// Families of those who have not proven to be anybody: few, so that their audit heads stay few.
const STRANGERS: u8 = 16;

/// Yes, or no; both are answers.
pub type Decided = Result<serde_json::Value, Refusal>;

/// A request with its proofs, none of which is verified yet.
pub struct Asked {
    /// Names it for good.
    pub request_id: RequestId,
    /// Over the bytes that were signed.
    pub digest: [u8; 32],
    proofs: General,
}

impl Asked {
    /// Whether `kid` signed with an Ed25519 key.
    pub fn signed(&self, kid: &str, key: &[u8; 32]) -> bool {
        VerifyingKey::from_bytes(*key).is_ok_and(|key| self.proofs.verify(kid, Verifier::Key(&key)).is_ok())
    }

    /// Whether anybody at all signed with an Ed25519 key, under whatever name.
    pub fn signed_by(&self, key: &[u8; 32]) -> bool {
        self.proofs.signers().any(|(kid, _)| self.signed(kid, key))
    }

    /// Whether a medium proved to be itself under its claim secret.
    pub fn proven(&self, medium: &str, secret: &counterfoil_format::secret::Secret<32>) -> bool {
        self.proofs.verify(medium, Verifier::ClaimSecret(secret)).is_ok()
    }
}

/// Opens an envelope, has its operation decided, and signs the answer.
///
/// # Errors
/// `envelope_invalid` where there is nobody to answer to; failures of the server. A refusal is no error: it is signed as well.
pub async fn answer(app: &App, envelope: &Envelope) -> Result<String, Problem> {
    let now = app.clock.now();
    let (asked, request) = open(app, envelope, now).await?;
    let operation = request.operation.name();
    let decided = decide(app, &asked, &request, now).await?;
    let code = decided.as_ref().map_or_else(|refusal| refusal.code.as_str(), |_| "granted");
    crate::metrics::operation(operation, code);
    tracing::info!(operation, outcome = code, request = %asked.request_id, "decided");
    let outcome = decided.map_or_else(Outcome::Refusal, Outcome::Result);
    let answer = Answer { request_id: asked.request_id, server_time: now, outcome };
    Ok(app.keys.sign(ANSWER_TYP, &answer, now)?)
}

async fn open(app: &App, envelope: &Envelope, now: Timestamp) -> Result<(Asked, Request), Problem> {
    let invalid = |why: &str| Problem::from(Refusal::with(Code::EnvelopeInvalid, why));
    let key = app
        .keys
        .sealing_key(&app.db, &envelope.kid, now)
        .await?
        .ok_or_else(|| invalid("it is sealed to a key that is not, or no longer, used"))?;
    let proofs = envelope.open(&*key).map_err(|error| invalid(&error.to_string()))?;
    // Its words may repeat what was sealed, so they are not told.
    let request: Request = parse_strict(&proofs.payload).map_err(|_| invalid("it holds no request that this server understands"))?;
    let digest = *blake3::hash(&proofs.payload).as_bytes();
    Ok((Asked { request_id: request.request_id, digest, proofs }, request))
}

async fn decide(app: &App, asked: &Asked, request: &Request, now: Timestamp) -> Result<Decided, Problem> {
    if let Err(refusal) = freshness::decide(request.issued_at, now) {
        let family = stranger(&asked.request_id.to_string());
        return refuse(app, family, request.operation.name(), "terminal", refusal, now).await;
    }
    match &request.operation {
        Operation::Register(register) => register::run(app, asked, register, now).await,
        Operation::Inspect(inspect) => inspect::run(app, asked, inspect, now).await,
        Operation::Claim(claim) => claim::run(app, asked, claim, now).await,
        Operation::Confirm(confirm) => confirm::run(app, asked, confirm, now).await,
        Operation::Heal(heal) => heal::run(app, asked, heal, now).await,
    }
}

/// The family in which the attempts of somebody unproven are recorded.
pub fn stranger(who: &str) -> String {
    format!("stranger-{}", blake3::hash(who.as_bytes()).as_bytes()[0] % STRANGERS)
}

/// Records a refusal in a transaction of its own, and hands it on.
///
/// # Errors
/// A failure of the database: a refusal that cannot be recorded is not given.
pub async fn refuse(
    app: &App,
    family: String,
    operation: &'static str,
    actor: &str,
    refusal: Refusal,
    now: Timestamp,
) -> Result<Decided, Problem> {
    let (code, actor) = (refusal.code, actor.to_owned());
    app.db.write("refuse", family.clone(), async move |tx| audit_refusal(tx, &family, operation, &actor, code, now).await).await?;
    Ok(Err(refusal))
}

/// Records a refusal within a transaction.
///
/// # Errors
/// A failure of the database.
pub async fn audit_refusal(tx: &mut Tx, family: &str, operation: &str, actor: &str, code: Code, now: Timestamp) -> Result<(), DbError> {
    audit::append(tx, family, now.0, actor, &format!("{operation}.refused"), &json!({ "code": code })).await.map(drop)
}

/// Until when an answer given now is kept.
pub fn expires(now: Timestamp) -> i64 {
    now.0.saturating_add(KEPT)
}
