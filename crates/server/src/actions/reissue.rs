//! A new card for one that is lost (C15). The user asks, with user ID and recovery code, at a terminal with the new card or on the web
//! without one; the repair centre decides, or time does, where the operator leaves it to that.
//!
//! From the commit on in which the entry names the new card, the old one is refused: that row is what everything that comes from a card is
//! held against. All else follows from it: the old card's own row says that it is dead, and grants whose copy may be under way go on with the
//! new card.

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::rules::reissue::{self as rules, CardFacts};
use counterfoil_core::wire::{self, HolderKind, ReissueResult, ReissueState};
use counterfoil_core::{CardId, Code, HolderId, RecoveryCode, Refusal, ReissueId, Timestamp, UserId};
use counterfoil_format::grant::{purpose, seal_box};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::checks::check_text;
use super::register::parse;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::holder::{self, Public};
use crate::store::reissue::{self, ReissueRow};
use crate::store::user::{self, EntryRow};
use crate::store::{audit, entry_recovery};

pub use decline::decline;
pub use desk::{decline_by, replace_by, wanted};
pub use pass::pass;
pub use replace::{Replaced, Replacing, Wanted, begin, replace};

mod decline;
mod desk;
mod pass;
mod replace;

/// Who acts where the operator's policy does.
pub const POLICY: &str = "/policy";

/// What somebody asks who may be the user.
pub struct Asking {
    /// As it was written down.
    pub user: UserId,
    /// As it was written down; absent where what was typed is no code at all, which counts as a wrong one.
    pub code: Option<RecoveryCode>,
    /// The new card, which has signed; absent where the repair centre is to make one.
    pub card: Option<Public>,
    /// How the user is reached.
    pub contact: Option<String>,
    /// Who asks, for the audit log.
    pub actor: String,
}

/// Decides a terminal's request: it is lodged, and carried out at once where the operator's policy says so. The same card asks for the same
/// thing, however often.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, wanted: &wire::Reissue, now: Timestamp) -> Result<Decided, Problem> {
    let refuse = async |refusal: Refusal| {
        let family = asked::stranger(&wanted.user_id.to_string());
        asked::refuse(app, family, "reissue", "terminal", refusal, now).await
    };
    let Some(card) = readable(app, &wanted.card) else {
        return refuse(Refusal::with(Code::ProofInvalid, "the card's keys")).await;
    };
    let card_id = CardId::from(card.holder());
    if !asked.signed(&card_id.to_string(), &card.sign) {
        return refuse(Refusal::with(Code::ProofInvalid, "the card")).await;
    }
    if wanted.contact.as_deref().is_some_and(|contact| check_text(contact).is_err()) {
        return refuse(Refusal::with(Code::EnvelopeInvalid, "how the user is reached: at most 200 characters of one line")).await;
    }
    let asking = Asking {
        user: wanted.user_id,
        code: wanted.recovery_code.parse().ok(),
        card: Some(card),
        contact: wanted.contact.clone(),
        actor: card_id.to_string(),
    };
    Ok(match ask(app, asking, now).await? {
        Ok(result) => Ok(serde_json::to_value(result).map_err(Problem::internal)?),
        Err(refusal) => Err(refusal),
    })
}

/// Keys that are some, and to which something can be sealed.
fn readable(app: &App, keys: &wire::HolderKeys) -> Option<Public> {
    let keys = parse(keys)?;
    seal_box(&keys.sealing, &[purpose::USER_ID], b"", &mut app.rng.clone()).ok()?;
    Some(keys.into())
}

/// Lodges a request for a new card, and has it carried out where it passes at once.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn ask(app: &App, asking: Asking, now: Timestamp) -> Result<Result<ReissueResult, Refusal>, Problem> {
    let (user, card) = (asking.user, asking.card.map(|keys| keys.holder()));
    let Looked { entry, own, holder } = app.db.read("who asks for a card", async move |tx: &mut Tx| look(tx, user, card).await).await?;
    if let Some(own) = own {
        return Ok(Ok(told(&own)));
    }
    // Whoever names a user that there is not costs what a wrong code costs, and is told the same.
    let family = if entry { user::family(user) } else { asked::stranger(&user.to_string()) };
    let lodging = Lodging {
        fresh: ReissueId::from_bytes(app.rng.bytes()),
        issued_only: app.config.registration.issued_cards_only,
        family: family.clone(),
        asking,
        holder,
        now,
    };
    let lodged = app.db.write("ask for a card", family, async move |tx: &mut Tx| lodging.write(tx).await).await?;
    let row = match lodged {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok(match pass::at_once(app, &row, now).await {
        Some(state) => ReissueResult { reissue_id: row.reissue, state },
        None => told(&row),
    }))
}

fn told(row: &ReissueRow) -> ReissueResult {
    ReissueResult { reissue_id: row.reissue, state: row.state }
}

/// What is looked at before it is decided.
struct Looked {
    /// Whether there is such a user.
    entry: bool,
    /// What this card has asked of this entry before.
    own: Option<ReissueRow>,
    /// Whose the card is, or is about to be.
    holder: HolderFacts,
}

async fn look(tx: &mut Tx, user: UserId, card: Option<HolderId>) -> Result<Looked, DbError> {
    let entry = user::find(tx, user).await?.is_some();
    let Some(card) = card else { return Ok(Looked { entry, own: None, holder: HolderFacts::Unknown }) };
    let asked = reissue::of_card(tx, card).await?;
    // One card for two people: the second one is told now, and not at the repair centre.
    let elsewhere = asked.iter().find(|row| row.user != user && row.state == ReissueState::Waiting).map(|row| row.user);
    let holder = match (holder::facts(tx, card).await?, elsewhere) {
        (HolderFacts::Unknown | HolderFacts::Issued, Some(other)) => HolderFacts::Registered(other),
        (known, _) => known,
    };
    Ok(Looked { entry, own: asked.into_iter().find(|row| row.user == user), holder })
}

/// The transaction of a request.
struct Lodging {
    asking: Asking,
    family: String,
    holder: HolderFacts,
    fresh: ReissueId,
    issued_only: bool,
    now: Timestamp,
}

impl Lodging {
    async fn write(&self, tx: &mut Tx) -> Result<Result<ReissueRow, Refusal>, DbError> {
        let Self { asking, family, now, .. } = self;
        // Of many who try codes at once, each is counted.
        audit::hold(tx, family).await?;
        let recovery = entry_recovery::find(tx, asking.user).await?;
        let right = entry_recovery::matches(recovery.as_ref(), asking.user, asking.code.as_ref());
        let (proven, attempts) = rules::attempt(recovery.map(|row| row.attempts).unwrap_or_default(), right, *now);
        entry_recovery::note(tx, asking.user, attempts).await?;
        if !proven {
            audit::append(tx, family, now.0, &asking.actor, "user.recovery_refused", &json!({ "code": Code::UserInvalid })).await?;
            return Ok(Err(Refusal::with(Code::UserInvalid, rules::WRONG)));
        }
        match self.lodge(tx).await? {
            Ok(row) => Ok(Ok(row)),
            Err(refusal) => {
                asked::audit_refusal(tx, family, "reissue", &asking.actor, refusal.code, *now).await?;
                Ok(Err(refusal))
            }
        }
    }

    /// For somebody who has proven to be the user.
    async fn lodge(&self, tx: &mut Tx) -> Result<Result<ReissueRow, Refusal>, DbError> {
        let Self { asking, now, .. } = self;
        let known = reissue::of_user(tx, asking.user).await?;
        let Some(entry) = user::find(tx, asking.user).await? else { return Ok(Err(Code::UserInvalid.into())) };
        if let Some(card) = &asking.card {
            if let Some(own) = known.iter().find(|row| row.card == Some(*card)) {
                return Ok(Ok(own.clone()));
            }
            let facts = card_facts(tx, asking.user, &entry, card, &self.holder, &known).await?;
            if let Err(refusal) = rules::decide_card(asking.user, &facts, self.issued_only) {
                return Ok(Err(refusal));
            }
        }
        if let Some(open) = known.into_iter().find(|row| row.state == ReissueState::Waiting) {
            if asking.card.is_none() {
                return Ok(Ok(open));
            }
            self.withdraw(tx, open).await?;
        }
        let row = ReissueRow::waiting(asking.user, self.fresh, asking.card, asking.contact.clone(), &asking.actor, *now);
        reissue::insert(tx, &row).await?;
        let detail = json!({ "reissue": row.reissue, "card": row.card_id(), "contact": row.contact.is_some() });
        audit::append(tx, &self.family, now.0, &asking.actor, "card.reissue_asked", &detail).await?;
        Ok(Ok(row))
    }

    /// Who asks with another card does not want the one from before.
    async fn withdraw(&self, tx: &mut Tx, open: ReissueRow) -> Result<(), DbError> {
        let reason = "the user has asked again, with another card";
        let row = ReissueRow {
            state: ReissueState::Declined,
            decided_by: Some(self.asking.actor.clone()),
            decided_at: Some(self.now),
            reason: Some(reason.to_owned()),
            ..open
        };
        let detail = json!({ "reissue": row.reissue, "card": row.card_id(), "reason": reason });
        audit::append(tx, &self.family, self.now.0, &self.asking.actor, "card.reissue_declined", &detail).await?;
        if reissue::decide(tx, &row).await? { Ok(()) } else { Err(tx.conflict("the request for a card")) }
    }
}

/// What the user's family knows of a card beside what its own says.
async fn card_facts(
    tx: &mut Tx,
    user: UserId,
    entry: &EntryRow,
    card: &Public,
    holder: &HolderFacts,
    known: &[ReissueRow],
) -> Result<CardFacts, DbError> {
    let id = card.holder();
    Ok(CardFacts {
        holder: holder.clone(),
        current: entry.holder_kind == HolderKind::Card && entry.holder == id,
        replaced: reissue::was_replaced(tx, user, id.into()).await?,
        declined: known.iter().any(|row| row.state == ReissueState::Declined && row.card.is_some_and(|keys| keys.holder() == id)),
    })
}
