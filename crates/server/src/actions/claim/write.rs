//! The transaction of a claim.

use counterfoil_core::rules::claim::{self, Claimant, Decision};
use counterfoil_core::rules::gateway::Pay;
use counterfoil_core::wire::Claim;
use counterfoil_core::{Code, GrantId, Refusal, Timestamp};
use serde_json::json;

use super::{Facts, Prepared, paid_for};
use crate::actions::asked::{self, Asked};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::jobs::{ENTITLEMENT, Entitlement};
use crate::problem::Problem;
use crate::store::grant::{self, GrantRow};
use crate::store::medium::{self, Known, MediumRow};
use crate::store::request::{self, Once, Recorded};
use crate::store::{audit, batch, outbox};

/// Recorded answers of claims: the names of grants, or a refusal.
pub(super) const GRANTED: i64 = 200;
const REFUSED: i64 = 403;

/// What the transaction came to.
pub(super) enum Written {
    /// What was prepared is what was decided, and is durable.
    Granted,
    /// No.
    Refused(Box<Refusal>),
    /// What was prepared does not fit any more, and nothing was written.
    Stale,
}

/// Why a transaction takes its work back.
enum Undone {
    /// What was prepared does not fit any more.
    Stale,
    Failed(DbError),
}

impl From<DbError> for Undone {
    fn from(error: DbError) -> Self {
        Self::Failed(error)
    }
}

/// What the transaction works with.
pub(super) struct Write {
    family: String,
    actor: String,
    request_id: String,
    digest: [u8; 32],
    ask: Claim,
    claimant: Claimant,
    row: Option<MediumRow>,
    known: Known,
    expected: Option<Decision>,
    rows: Vec<GrantRow>,
    pay: Pay,
    now: Timestamp,
}

impl Write {
    pub(super) fn new(
        asked: &Asked,
        ask: &Claim,
        claimant: Claimant,
        facts: &Facts,
        known: &Known,
        prepared: &mut Prepared,
        now: Timestamp,
    ) -> Self {
        Self {
            family: medium::family(&ask.medium_id),
            actor: super::actor(ask),
            request_id: asked.request_id.to_string(),
            digest: asked.digest,
            ask: ask.clone(),
            claimant,
            row: facts.row.clone(),
            known: known.clone(),
            expected: prepared.expected.take(),
            rows: std::mem::take(&mut prepared.rows),
            pay: facts.pay,
            now,
        }
    }

    /// Records the answer, or finds that the request has one.
    async fn answer<T: serde::Serialize>(&self, tx: &mut Tx, status: i64, answer: &T) -> Result<(), Undone> {
        let recorded = Recorded { status, answer: json!(answer).to_string().into_bytes() };
        let expires = asked::expires(self.now);
        match request::try_record(tx, &self.family, &self.request_id, &self.digest, &recorded, self.now.0, expires).await? {
            true => Ok(()),
            false => Err(Undone::Stale),
        }
    }

    /// A claim that was decided on `row`: carried out where the row is still so, and not touched where it is not.
    async fn issue(&self, tx: &mut Tx) -> Result<Written, Undone> {
        let Self { ask, family, now, .. } = self;
        let won = match &self.row {
            Some(row) => medium::claim_next(tx, &ask.medium_id, row, self.known.revision).await?,
            None => medium::claim_first(tx, &ask.medium_id, &self.known, *now).await?,
        };
        if !won {
            return Ok(Written::Stale);
        }
        let copy = self.row.as_ref().map_or(1, MediumRow::next_copy);
        let ids: Vec<GrantId> = self.rows.iter().map(|row| row.grant).collect();
        // The names of the grants, not their boxes: a repeat has them sealed anew, as long as they are not settled.
        self.answer(tx, GRANTED, &ids).await?;
        for row in &self.rows {
            grant::insert(tx, &ask.medium_id, copy, row).await?;
            let told = Entitlement {
                user: row.user,
                grant: row.grant,
                medium: ask.medium_id.clone(),
                title: row.title.clone(),
                at: *now,
                holder: Some(row.holder),
                device: row.device,
                drive: row.drive,
            };
            outbox::enqueue(tx, family, &row.grant.to_string(), ENTITLEMENT, &json!(told).to_string(), now.0, now.0).await?;
        }
        let (card, device, drive) = (ask.card_id, ask.device_id, ask.drive_id);
        let detail = json!({ "user": ask.user_id, "copy": copy, "grants": ids, "card": card, "device": device, "drive": drive });
        match self.row {
            Some(_) => audit::append(tx, family, now.0, &self.actor, "claim.granted", &detail).await?,
            None => audit::append_first(tx, family, now.0, &self.actor, "claim.granted", &detail).await?,
        };
        Ok(Written::Granted)
    }

    /// Anything but a fresh claim, decided again: the same grants, or a refusal.
    async fn settle(&self, tx: &mut Tx) -> Result<Written, Undone> {
        let Self { ask, family, actor, now, .. } = self;
        // What was claimed before may be taken back at this moment (C14): then it is either before this, or after.
        audit::hold(tx, family).await?;
        match request::once(tx, family, &self.request_id, &self.digest, now.0).await? {
            Once::Fresh => {}
            // Answered a moment ago; the next look finds it.
            Once::Repeat(_) => return Ok(Written::Stale),
            Once::Mismatch => {
                asked::audit_refusal(tx, family, "claim", actor, Code::RequestMismatch, *now).await?;
                return Ok(Written::Refused(Box::new(Code::RequestMismatch.into())));
            }
        }
        medium::touch(tx, &ask.medium_id, &self.known, *now).await?;
        let row = medium::find(tx, &ask.medium_id).await?;
        let grants = grant::of_user(tx, &ask.medium_id, &ask.user_id.to_string()).await?;
        let facts = medium::claim_facts(row.as_ref(), &self.known.rights, &grants);
        let as_known = row.is_some_and(|row| row.epoch == self.known.epoch)
            && batch::revision(tx, self.known.batch).await? == Some(self.known.revision);
        let decided = paid_for(claim::decide(&self.claimant, &facts, *now), self.known.paid_on_copy, self.pay, &grants);
        match (decided, &self.expected) {
            // Proven under a claim secret that a refresh has ended since, or decided by rights that the batch has no more.
            _ if !as_known => Err(Undone::Stale),
            (Err(refusal), _) => {
                asked::audit_refusal(tx, family, "claim", actor, refusal.code, *now).await?;
                self.answer(tx, REFUSED, &refusal).await?;
                Ok(Written::Refused(Box::new(refusal)))
            }
            (Ok(Decision::Again(ids)), Some(Decision::Again(sealed))) if ids == *sealed => {
                audit::append(tx, family, now.0, actor, "claim.repeated", &json!({ "grants": ids })).await?;
                self.answer(tx, GRANTED, &ids).await?;
                Ok(Written::Granted)
            }
            _ => Err(Undone::Stale),
        }
    }
}

/// Runs the transaction.
pub(super) async fn commit(app: &App, write: Write) -> Result<Written, Problem> {
    let family = write.family.clone();
    let action = async move |tx: &mut Tx| -> Result<Written, Undone> {
        match write.expected {
            Some(Decision::Issue) => write.issue(tx).await,
            _ => write.settle(tx).await,
        }
    };
    match app.db.write("claim", family, action).await {
        Ok(written) => Ok(written),
        Err(Undone::Stale) => Ok(Written::Stale),
        Err(Undone::Failed(error)) => Err(error.into()),
    }
}
