//! What every operation of a terminal stands on: the request with its unverified proofs, and refusals that are recorded.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use counterfoil_core::rules::gateway::Pay;
use counterfoil_core::{Code, Money, OrderId, Refusal, RequestId, Timestamp};
use counterfoil_format::jws::{General, Verifier};
use counterfoil_format::secret::Secret;
use counterfoil_format::signer::HolderVerifyingKey;
use serde_json::json;

use super::proof::Proven;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::audit;
use crate::store::grant::Paid;

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
    /// Whoever signed, as far as they say.
    pub proofs: General,
    /// Which way it came.
    pub through: Through,
    /// The medium that proved itself, once it has.
    proven: Mutex<Option<Proven>>,
    /// Whether that was counted.
    counted: AtomicBool,
}

/// Which way a request came, and who pays for what it asks for (C17).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Through {
    /// From the terminal, or by a gateway that charges nothing for it.
    #[default]
    Direct,
    /// By a gateway that charges for it, and has not: at one of these prices, where it is an order.
    Owed(Vec<Money>),
    /// By a gateway that has promised this charge.
    Paid(Money),
    /// From the terminal, and this order of the user's pays for it at the authority itself (C18).
    Ordered(OrderId),
}

impl Through {
    /// How a key is paid for.
    pub fn pay(&self) -> Pay {
        match self {
            Through::Direct => Pay::Nothing,
            Through::Owed(_) => Pay::Owed,
            Through::Paid(_) | Through::Ordered(_) => Pay::Paid,
        }
    }
}

impl Asked {
    /// A request that came in an envelope.
    pub fn new(request_id: RequestId, digest: [u8; 32], proofs: General) -> Self {
        Self { request_id, digest, proofs, through: Through::Direct, proven: Mutex::new(None), counted: AtomicBool::new(false) }
    }

    /// The exchange that it may have been paid for by: it has the request's own ID.
    pub fn exchange(&self) -> Option<RequestId> {
        self.paid(&self.through).exchange
    }

    /// What pays for it that way, or may do.
    pub fn paid(&self, through: &Through) -> Paid {
        match through {
            Through::Direct => Paid::default(),
            Through::Owed(_) | Through::Paid(_) => Paid { exchange: Some(self.request_id), order: None },
            Through::Ordered(order) => Paid { exchange: None, order: Some(*order) },
        }
    }

    /// Whether no medium has proven itself in it before: a request may be looked at several times, and counts once.
    pub fn is_first_proof(&self) -> bool {
        !self.counted.swap(true, Ordering::Relaxed)
    }

    /// Keeps in mind which medium proved itself: the answer may bring it a refresh (B7).
    pub fn note(&self, proven: Proven) {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(proven);
    }

    /// The medium that proved itself.
    pub fn take_proven(&self) -> Option<Proven> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether `kid` signed with a holder's key.
    pub fn signed(&self, kid: &str, key: &HolderVerifyingKey) -> bool {
        self.proofs.verify(kid, Verifier::Key(key)).is_ok()
    }

    /// Whether anybody at all signed with a holder's key, under whatever name.
    pub fn signed_by(&self, key: &HolderVerifyingKey) -> bool {
        self.proofs.signers().any(|(kid, _)| self.signed(kid, key))
    }

    /// Whether a medium proved to be itself under its claim secret.
    pub fn proven(&self, medium: &str, secret: &Secret<32>) -> bool {
        self.proofs.verify(medium, Verifier::ClaimSecret(secret)).is_ok()
    }
}

/// The family in which the attempts of somebody unproven are recorded.
pub fn stranger(who: &str) -> String {
    format!("/stranger/{}", blake3::hash(who.as_bytes()).as_bytes()[0] % STRANGERS)
}

/// Records a refusal in a transaction of its own, and answers with it.
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
    refused(app, family, operation, actor, refusal, now).await.map(Err)
}

/// The same, for whoever goes on with the refusal.
///
/// # Errors
/// As [`refuse`].
pub async fn refused(
    app: &App,
    family: String,
    operation: &'static str,
    actor: &str,
    refusal: Refusal,
    now: Timestamp,
) -> Result<Refusal, Problem> {
    let (code, actor) = (refusal.code, actor.to_owned());
    app.db.write("refuse", family.clone(), async move |tx| audit_refusal(tx, &family, operation, &actor, code, now).await).await?;
    Ok(refusal)
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
