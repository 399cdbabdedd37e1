//! The replacement itself, in two steps, each in its own family: the new card is reserved for the user; then the entry names it.
//!
//! Both can be run again: cut between them, the repeat goes on with the card that was reserved.

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::rules::reissue::{self as rules, CardFacts, NotReplaced, Replacement};
use counterfoil_core::wire::{BURY_HOLDER, BuryHolder, ExchangedKind, HolderKind, REBIND_GRANTS, RebindGrants, ReissueState};
use counterfoil_core::{CardId, GrantId, HolderId, MediumId, ReissueId, RepairId, Timestamp, UserId};
use serde_json::json;

use super::card_facts;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::{ApiCode, Problem};
use crate::store::holder::{self, Public};
use crate::store::reissue::{self, ReissueRow};
use crate::store::repair::{self, RepairRow};
use crate::store::user::{self, EntryRow};
use crate::store::{audit, entitlement, license, outbox};

/// Entitlements that are read at a time.
const PAGE: i64 = 500;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose card.
    pub user: UserId,
    /// The request that is carried out; none where the repair centre acts without one.
    pub request: Option<ReissueId>,
    /// The new card; absent where the request has one.
    pub card: Option<Public>,
    /// Why.
    pub reason: String,
    /// Of the repair centre's own.
    pub reference: Option<String>,
    /// Who decides.
    pub actor: String,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Names it.
    pub repair: RepairId,
    /// The request that was carried out.
    pub request: Option<ReissueId>,
    /// The card that is dead.
    pub old: CardId,
    /// The one that took its place.
    pub new: CardId,
    /// Of the entry, from now on.
    pub generation: u32,
}

/// A replacement whose card is reserved, ready for its transaction.
#[derive(Clone)]
pub struct Replacing {
    wanted: Wanted,
    /// In the entry when this was begun.
    old: HolderId,
    card: Public,
    holder: HolderFacts,
    repair: RepairId,
    issued_only: bool,
    now: Timestamp,
}

/// Looks, and reserves the new card, where it is not to be refused anyhow: that the transaction says.
///
/// # Errors
/// `not_found` without such an entry or request; `unprocessable` without a card, or with keys that nothing can be sealed to; failures of the
/// database.
pub async fn begin(app: &App, wanted: Wanted, now: Timestamp) -> Result<Replacing, Problem> {
    let (user, request) = (wanted.user, wanted.request);
    let (entry, asked) = app
        .db
        .read("what card to replace", async move |tx: &mut Tx| -> Result<_, DbError> {
            let entry = user::find(tx, user).await?;
            let asked = match request {
                Some(request) => reissue::find(tx, user, request).await?,
                None => None,
            };
            Ok((entry, asked))
        })
        .await?;
    let entry = entry.ok_or(ApiCode::NotFound)?;
    if request.is_some() && asked.is_none() {
        return Err(ApiCode::NotFound.into());
    }
    let asked_for = asked.as_ref().and_then(|row| row.card);
    let card = wanted.card.or(asked_for).ok_or_else(|| Problem::with(ApiCode::Unprocessable, "`card`: the new card's keys"))?;
    let mut replacing = Replacing {
        old: entry.holder,
        card,
        holder: HolderFacts::Unknown,
        repair: RepairId::from_bytes(app.rng.bytes()),
        issued_only: app.config.registration.issued_cards_only,
        wanted,
        now,
    };
    let open = asked.as_ref().is_none_or(|row| row.state == ReissueState::Waiting && row.card.is_none_or(|keys| keys == card));
    replacing.holder = replacing.reserve(app, open && entry.holder_kind == HolderKind::Card && entry.holder != card.holder()).await?;
    Ok(replacing)
}

impl Replacing {
    /// First step, in the new card's family; says what is known of the card then. Where it may not be the new one, or nobody will need it,
    /// nothing is written.
    async fn reserve(&self, app: &App, needed: bool) -> Result<HolderFacts, Problem> {
        let (user, card, issued_only, now, actor) = (self.wanted.user, self.card, self.issued_only, self.now, self.wanted.actor.clone());
        let id = card.holder();
        let family = holder::family(id);
        let reserved = app.db.write("reserve card", family.clone(), async move |tx: &mut Tx| -> Result<HolderFacts, DbError> {
            let known = holder::facts(tx, id).await?;
            let facts = CardFacts { holder: known.clone(), current: false, replaced: false, declined: false };
            let free = matches!(known, HolderFacts::Unknown | HolderFacts::Issued);
            if needed && free && rules::decide_card(user, &facts, issued_only).is_ok() {
                holder::reserve(tx, id, HolderKind::Card, &card, user, now).await?;
                let detail = json!({ "kind": HolderKind::Card, "user": user });
                audit::append(tx, &family, now.0, &actor, "holder.registered", &detail).await?;
                return Ok(HolderFacts::Registered(user));
            }
            Ok(known)
        });
        Ok(reserved.await?)
    }

    /// The family of the second step.
    pub fn family(&self) -> String {
        user::family(self.wanted.user)
    }

    /// Second step, in the user's family: one transaction, after which the old card is dead.
    ///
    /// # Errors
    /// `conflict`, or the refusal of the card, as a problem; failures of the database.
    pub async fn write(&self, tx: &mut Tx) -> Result<Replaced, Problem> {
        let (user, family) = (self.wanted.user, self.family());
        audit::hold(tx, &family).await?;
        let entry = user::find(tx, user).await?.ok_or(ApiCode::NotFound)?;
        // Run again because the answer of its COMMIT was lost, it finds what it has done: no other has this ID.
        if repair::of_user(tx, user).await?.iter().any(|row| row.repair == self.repair) {
            let new = self.card.holder().into();
            let (repair, request, generation) = (self.repair, self.wanted.request, entry.generation);
            return Ok(Replaced { repair, request, old: self.old.into(), new, generation });
        }
        let known = reissue::of_user(tx, user).await?;
        let request = match self.wanted.request {
            Some(request) => Some(reissue::find(tx, user, request).await?.ok_or(ApiCode::NotFound)?),
            None => None,
        };
        let facts = Replacement {
            kind: entry.holder_kind,
            unchanged: entry.holder == self.old,
            request: request.as_ref().map(ReissueRow::requested),
            new: self.card.holder(),
            card: card_facts(tx, user, &entry, &self.card, &self.holder, &known).await?,
        };
        rules::decide_replacement(user, &facts, self.issued_only).map_err(|not| match not {
            NotReplaced::Conflict(why) => Problem::with(ApiCode::Conflict, why),
            NotReplaced::Refused(refusal) => refusal.into(),
        })?;
        let replaced = self.enter(tx, &entry).await?;
        self.close(tx, request, known).await?;
        self.tell(tx, &replaced).await?;
        Ok(replaced)
    }

    /// The entry names the new card.
    async fn enter(&self, tx: &mut Tx, entry: &EntryRow) -> Result<Replaced, DbError> {
        let Self { wanted, repair, now, card, .. } = self;
        let (user, family) = (wanted.user, self.family());
        let (old, new) = (CardId::from(entry.holder), CardId::from(card.holder()));
        let generation = entry.generation + 1;
        let detail = json!({ "old": old, "new": new, "repair": repair, "reissue": wanted.request, "generation": generation,
            "reason": wanted.reason, "reference": wanted.reference });
        audit::append(tx, &family, now.0, &wanted.actor, "card.replaced", &detail).await?;
        if reissue::replace_card(tx, user, entry.holder, card).await? != Some(generation) {
            return Err(tx.conflict("the user entry"));
        }
        license::rebind(tx, user, entry.holder, card.holder()).await?;
        let row = RepairRow {
            repair: *repair,
            kind: ExchangedKind::Card,
            old_id: old.to_string(),
            new_id: Some(new.to_string()),
            reason: wanted.reason.clone(),
            reference: wanted.reference.clone(),
            overridden: false,
            sign_key: None,
            actor: wanted.actor.clone(),
            created_at: *now,
        };
        repair::insert(tx, user, &row).await?;
        Ok(Replaced { repair: *repair, request: wanted.request, old, new, generation })
    }

    /// The request is done, and nobody waits for another card.
    async fn close(&self, tx: &mut Tx, request: Option<ReissueRow>, known: Vec<ReissueRow>) -> Result<(), DbError> {
        let Self { wanted, repair, now, card, .. } = self;
        let decided = |row: ReissueRow, state| ReissueRow {
            state,
            decided_by: Some(wanted.actor.clone()),
            decided_at: Some(*now),
            reason: Some(wanted.reason.clone()),
            ..row
        };
        let carried_out = request.map(|row| ReissueRow { card: Some(*card), repair: Some(*repair), ..decided(row, ReissueState::Done) });
        let others = known.into_iter().filter(|row| row.state == ReissueState::Waiting && Some(row.reissue) != wanted.request);
        let others = others.map(|row| match row.card {
            // It asked for just this card.
            Some(keys) if keys == *card => ReissueRow { repair: Some(*repair), ..decided(row, ReissueState::Done) },
            _ => decided(row, ReissueState::Declined),
        });
        for row in carried_out.into_iter().chain(others) {
            if !reissue::decide(tx, &row).await? {
                return Err(tx.conflict("the request for a card"));
            }
        }
        Ok(())
    }

    /// What other families must know: the old card's that it is dead, and every medium's that copies under way go on with the new card.
    async fn tell(&self, tx: &mut Tx, replaced: &Replaced) -> Result<(), DbError> {
        let Self { wanted: Wanted { user, .. }, old: holder, repair, now, .. } = self;
        let (family, user, repair, at) = (self.family(), *user, repair.to_string(), *now);
        let dead = BuryHolder { holder: *holder, user, repair: repair.clone(), new: replaced.new, at };
        outbox::enqueue(tx, &family, &format!("{repair}/holder"), BURY_HOLDER, &json!(dead).to_string(), at.0, at.0).await?;
        let mut after = None;
        loop {
            let page = entitlement::of_media(tx, user, after.as_ref(), PAGE).await?;
            let Some((last_medium, last_grant)) = page.last().cloned() else { return Ok(()) };
            // A medium whose grants lie on two pages is told twice, of different ones.
            for grants in page.chunk_by(|a, b| a.0 == b.0) {
                let (medium, ids): (&MediumId, Vec<GrantId>) = (&grants[0].0, grants.iter().map(|(_, grant)| *grant).collect());
                let told = RebindGrants {
                    medium: medium.clone(),
                    user,
                    old: replaced.old,
                    new: replaced.new,
                    repair: repair.clone(),
                    grants: ids,
                    at,
                };
                let operation = format!("{repair}/{medium}/{}", grants[0].1);
                outbox::enqueue(tx, &family, &operation, REBIND_GRANTS, &json!(told).to_string(), at.0, at.0).await?;
            }
            after = Some((last_medium, last_grant));
        }
    }
}

/// Replaces a card, for an action without a key of its own: what is recorded is the request's state.
///
/// # Errors
/// As for [`begin`] and [`Replacing::write`].
pub async fn replace(app: &App, wanted: Wanted, now: Timestamp) -> Result<Replaced, Problem> {
    let replacing = begin(app, wanted, now).await?;
    let family = replacing.family();
    let replaced = app.db.write("replace card", family.clone(), async move |tx: &mut Tx| replacing.write(tx).await).await?;
    crate::jobs::deliver_of(app, &family).await;
    Ok(replaced)
}
