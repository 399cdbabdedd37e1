//! Undo: exactly what an exchange paid for ends, whoever wants it: its gateway, the user, or the operator of the authority.

use std::collections::BTreeSet;

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::rules::gateway as rule;
use counterfoil_core::rules::refund::Why;
use counterfoil_core::wire::{ExchangeState, Step, Undo, UndoReason};
use counterfoil_core::{MediumId, OrderId, RequestId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{commit, find, step};
use crate::actions::checks::check_text;
use crate::actions::refund;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::gateways::Caller;
use crate::jobs::Entitlement;
use crate::problem::{ApiCode, Problem};
use crate::store::copied::{self, Bound, Copied};
use crate::store::gateway_exchange::{self as store, Effect, Subject};
use crate::store::grant::{GrantRow, Paid};
use crate::store::{audit, grant, medium, outbox, user};

/// Outbox, from the family where something ended to the exchange that paid for it.
pub const EXCHANGE_UNDONE: &str = "exchange_undone";
/// Outbox, from a user's family to a medium's: the order for a copy has ended.
pub const TAKE_BACK: &str = "take_back_copy";
/// Outbox, from a medium's family to a user's: the copies are theirs no more, for the money went back.
pub const END_COPIES: &str = "end_copies";

/// Says that what an exchange paid for has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExchangeUndone {
    /// Which.
    pub exchange: RequestId,
    /// What had come of it.
    pub effect: Effect,
    /// Whether the money is given back, or was taken back.
    pub why: UndoReason,
    /// Who ended it, as in the audit log.
    pub actor: String,
}

/// Says that the order for a copy has ended, because the money went back (C18).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TakeBack {
    /// Whose.
    pub user: UserId,
    /// Which order.
    pub order: OrderId,
    /// For a copy of what.
    pub medium: MediumId,
    /// Whether the money is given back, or was taken back.
    pub why: Why,
    /// Who ended it, as in the audit log.
    pub actor: String,
}

/// Says which copies have ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EndCopies {
    /// Whose.
    pub user: UserId,
    /// Paid for by which exchange.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchange: Option<RequestId>,
    /// Paid for by which order (C18).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order: Option<OrderId>,
    /// As they were told of when they were claimed: that message may come after this one.
    pub copies: Vec<Entitlement>,
}

/// Ends what an exchange paid for; again, it changes nothing.
///
/// # Errors
/// `not_found`; `exchange_ended` where nothing was paid for; failures of the server.
pub async fn undo(app: &App, caller: &Caller, id: RequestId, ask: &Undo) -> Result<Step, Problem> {
    check_text(&ask.note)?;
    let row = find(app, caller, id).await?.ok_or(ApiCode::NotFound)?;
    if !rule::undo(row.state)? {
        return Ok(step(&row));
    }
    let effect = row.effect.clone().ok_or_else(|| Problem::internal(format!("the exchange {id} is committed, and nothing came of it")))?;
    match (&row.subject, &effect) {
        (Subject::Order(user), Effect::Order(order)) => {
            let why = if ask.why == UndoReason::Refund { Why::Refund } else { Why::Chargeback };
            refund::by_gateway(app, caller.actor(), (*user, *order), why, ask.note.clone()).await?;
        }
        (Subject::Copy(medium), Effect::Grants(_)) => take_back(app, caller, id, medium, &effect, ask).await?,
        _ => return Err(Problem::internal(format!("the exchange {id} is about something else than what came of it"))),
    }
    let undone = ExchangeUndone { exchange: id, effect, why: ask.why, actor: caller.actor() };
    let (now, family) = (app.clock.now(), store::family(id));
    let row = app
        .db
        .write("undo exchange", family, async move |tx: &mut Tx| -> Result<_, DbError> {
            undone_takes_effect(tx, &undone, now).await?;
            store::find(tx, id).await
        })
        .await?;
    app.outbox.notify_one();
    row.map(|row| step(&row)).ok_or_else(|| ApiCode::NotFound.into())
}

/// Takes back the copy that an exchange paid for, wherever it is bound by now. Where the money is given back, the medium can be copied again; where it
/// was taken back, it stays spent.
async fn take_back(app: &App, caller: &Caller, id: RequestId, medium: &MediumId, effect: &Effect, ask: &Undo) -> Result<(), Problem> {
    let (now, actor, family) = (app.clock.now(), caller.actor(), medium::family(medium));
    let (medium, effect, ask) = (medium.clone(), effect.clone(), ask.clone());
    app.db
        .write("undo copy", family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            audit::hold(tx, &family).await?;
            let rows = grant::of_exchange(tx, &medium, id).await?;
            grant::forget_exchange(tx, &medium, id).await?;
            let paid = Paid { exchange: Some(id), order: None };
            let taken = Taken { medium: &medium, rows, paid, lost: ask.why == UndoReason::Chargeback, why: &json!(ask.why), actor: &actor };
            if taken.end(tx, &ask.note, now).await? {
                let undone = ExchangeUndone { exchange: id, effect: effect.clone(), why: ask.why, actor: actor.clone() };
                tell(tx, &family, &undone, now).await?;
            }
            Ok(())
        })
        .await
}

/// Copies that are taken back from a medium, because the money went back that paid for them.
struct Taken<'a> {
    medium: &'a MediumId,
    rows: Vec<GrantRow>,
    paid: Paid,
    /// Whether nobody can copy it in their place.
    lost: bool,
    why: &'a serde_json::Value,
    actor: &'a str,
}

impl Taken<'_> {
    /// In the medium's family, with word to the user's; false where there is nothing left to end.
    async fn end(self, tx: &mut Tx, note: &str, now: Timestamp) -> Result<bool, DbError> {
        let Self { medium, rows, paid, lost, why, actor } = self;
        let family = medium::family(medium);
        let standing: Vec<GrantRow> = rows.into_iter().filter(|row| row.state != GrantState::Revoked).collect();
        let Some(user) = standing.first().map(|row| row.user) else { return Ok(false) };
        for row in &standing {
            grant::revoke(tx, medium, row.grant).await?;
        }
        let copies: BTreeSet<u32> = standing.iter().map(|row| row.copy).collect();
        let copies = u32::try_from(copies.len()).unwrap_or(u32::MAX);
        medium::free_copies(tx, medium, copies).await?;
        if lost {
            medium::lose_copies(tx, medium, copies).await?;
        }
        let grants: Vec<_> = standing.iter().map(|row| row.grant).collect();
        let Paid { exchange, order } = paid;
        let detail =
            json!({ "user": user, "exchange": exchange, "order": order, "why": why, "copies": copies, "grants": grants, "note": note });
        audit::append(tx, &family, now.0, actor, "medium.freed", &detail).await?;
        let copies = standing.iter().map(|row| told(row, medium)).collect();
        let end = EndCopies { user, exchange, order, copies };
        let id = exchange.map(|id| id.to_string()).or(order.map(|id| id.to_string())).unwrap_or_default();
        outbox::enqueue(tx, &family, &format!("{id}/end"), END_COPIES, &json!(end).to_string(), now.0, now.0).await?;
        Ok(true)
    }
}

/// Has the medium learn that the order for a copy of it has ended, in the transaction that ends it.
///
/// # Errors
/// A failure of the database.
pub async fn tell_medium(tx: &mut Tx, told: &TakeBack, now: Timestamp) -> Result<(), DbError> {
    let (family, id) = (user::family(told.user), format!("{}/back", told.order));
    outbox::enqueue(tx, &family, &id, TAKE_BACK, &json!(told).to_string(), now.0, now.0).await.map(drop)
}

/// In the medium's family: the copy that an ended order paid for is taken back, wherever it is bound by now. Told again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn order_ended(tx: &mut Tx, told: &TakeBack, now: Timestamp) -> Result<(), DbError> {
    let TakeBack { order, medium, why, actor, .. } = told;
    audit::hold(tx, &medium::family(medium)).await?;
    let rows = grant::of_order(tx, medium, *order).await?;
    grant::forget_order(tx, medium, *order).await?;
    let paid = Paid { exchange: None, order: Some(*order) };
    let taken = Taken { medium, rows, paid, lost: *why == Why::Chargeback, why: &json!(why), actor };
    taken.end(tx, "", now).await.map(drop)
}

fn told(row: &GrantRow, medium: &MediumId) -> Entitlement {
    Entitlement {
        user: row.user,
        grant: row.grant,
        medium: medium.clone(),
        title: row.title.clone(),
        at: row.issued_at,
        holder: Some(row.holder),
        device: row.device,
        drive: row.drive,
    }
}

/// Has the exchange learn that what it paid for has ended, in the transaction that ends it.
///
/// # Errors
/// A failure of the database.
pub async fn tell(tx: &mut Tx, family: &str, undone: &ExchangeUndone, now: Timestamp) -> Result<(), DbError> {
    let id = format!("{}/undone", undone.exchange);
    outbox::enqueue(tx, family, &id, EXCHANGE_UNDONE, &json!(undone).to_string(), now.0, now.0).await.map(drop)
}

/// In the exchange's family: it is refunded. Told again, it changes nothing. That it was carried out may not have been noted yet.
///
/// # Errors
/// A failure of the database.
pub async fn undone_takes_effect(tx: &mut Tx, undone: &ExchangeUndone, now: Timestamp) -> Result<(), DbError> {
    let ExchangeUndone { exchange, effect, why, actor } = undone;
    let Some(row) = store::find(tx, *exchange).await? else { return Ok(()) };
    if row.state == ExchangeState::Committing {
        commit::note_in(tx, *exchange, Some(effect), None, actor, now).await?;
    }
    let reason = json!(why);
    let reason = reason.as_str().unwrap_or_default();
    if store::refund(tx, *exchange, reason, now).await? {
        audit::append(tx, &store::family(*exchange), now.0, actor, "exchange.refunded", &json!({ "why": why })).await?;
    }
    Ok(())
}

/// In the user's family: the copies are theirs no more. Told again, it changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn copies_end(tx: &mut Tx, told: &EndCopies, now: Timestamp) -> Result<(), DbError> {
    let family = user::family(told.user);
    for Entitlement { user, grant, medium, title, at, device, drive, .. } in told.copies.clone() {
        let bound = Some(Bound { device, drive });
        let copied = Copied { grant, medium: medium.clone(), title, at, bound };
        copied::entitle(tx, user, &copied).await?;
        if copied::end(tx, user, grant, now).await? {
            let detail = json!({ "grant": grant, "medium": medium, "exchange": told.exchange, "order": told.order });
            audit::append(tx, &family, now.0, &family, "copy.ended", &detail).await?;
        }
    }
    Ok(())
}
