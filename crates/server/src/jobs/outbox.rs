//! Delivers the outbox: what is due, at least once, with as few transactions as families allow.

use std::collections::BTreeMap;

use counterfoil_core::wire::{BURY_HOLDER, BuryHolder, FREE_COPIES, FreeCopies, REBIND_GRANTS, RebindGrants};
use counterfoil_core::{DeviceId, DriveId, GrantId, HolderId, MediumId, Timestamp, TitleId, UserId};
use serde::{Deserialize, Serialize};

use crate::actions::erase::{self, RELEASE_NAME, ReleaseName};
use crate::actions::gateway::undo::{self, END_COPIES, EXCHANGE_UNDONE, EndCopies, ExchangeUndone, TAKE_BACK, TakeBack};
use crate::actions::repair::{bury, entitle, free, rebind};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::outbox::{self, Operation};
use crate::store::{audit, gateway_exchange, holder, medium, user};

/// Outbox: a grant was issued, and its user's family learns of the entitlement.
pub const ENTITLEMENT: &str = "entitlement";

/// Messages delivered at a time.
const BATCH: i64 = 256;

/// What an entitlement's message says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entitlement {
    /// Whose.
    pub user: UserId,
    /// By which grant.
    pub grant: GrantId,
    /// From which medium.
    pub medium: MediumId,
    /// Of what.
    pub title: TitleId,
    /// Since when.
    pub at: Timestamp,
    /// Whom the keys were sealed to; a server of an earlier version did not say, nor what follows.
    #[serde(default)]
    pub holder: Option<HolderId>,
    /// Bound to which device.
    #[serde(default)]
    pub device: Option<DeviceId>,
    /// Bound to which drive.
    #[serde(default)]
    pub drive: Option<DriveId>,
}

/// What one family tells another.
#[derive(Clone, Debug)]
enum Message {
    Entitlement(Entitlement),
    Free(FreeCopies),
    Rebind(RebindGrants),
    Bury(BuryHolder),
    Release(ReleaseName),
    Undone(ExchangeUndone),
    EndCopies(EndCopies),
    TakeBack(TakeBack),
}

impl Message {
    fn read(operation: &Operation) -> Result<Self, String> {
        let text = &operation.payload;
        let read = match operation.kind.as_str() {
            ENTITLEMENT => serde_json::from_str(text).map(Message::Entitlement),
            FREE_COPIES => serde_json::from_str(text).map(Message::Free),
            REBIND_GRANTS => serde_json::from_str(text).map(Message::Rebind),
            BURY_HOLDER => serde_json::from_str(text).map(Message::Bury),
            RELEASE_NAME => serde_json::from_str(text).map(Message::Release),
            EXCHANGE_UNDONE => serde_json::from_str(text).map(Message::Undone),
            END_COPIES => serde_json::from_str(text).map(Message::EndCopies),
            TAKE_BACK => serde_json::from_str(text).map(Message::TakeBack),
            other => return Err(format!("nobody delivers {other:?}")),
        };
        read.map_err(|error| error.to_string())
    }

    /// Whom it is for.
    fn family(&self) -> String {
        match self {
            Message::Entitlement(told) => user::family(told.user),
            Message::Free(told) => medium::family(&told.medium),
            Message::Rebind(told) => medium::family(&told.medium),
            Message::Bury(told) => holder::family(told.holder),
            Message::Release(told) => told.name.clone(),
            Message::Undone(told) => gateway_exchange::family(told.exchange),
            Message::EndCopies(told) => user::family(told.user),
            Message::TakeBack(told) => medium::family(&told.medium),
        }
    }

    /// Its effect, which a second time is none.
    async fn take_effect(&self, tx: &mut Tx, now: Timestamp) -> Result<(), DbError> {
        match self {
            Message::Entitlement(told) => entitle::take_effect(tx, told, now).await,
            Message::Free(told) => free::take_effect(tx, told, now).await,
            Message::Rebind(told) => rebind::take_effect(tx, told, now).await,
            Message::Bury(told) => bury::take_effect(tx, told, now).await,
            Message::Release(told) => erase::release(tx, told, now).await,
            Message::Undone(told) => undo::undone_takes_effect(tx, told, now).await,
            Message::EndCopies(told) => undo::copies_end(tx, told, now).await,
            Message::TakeBack(told) => undo::order_ended(tx, told, now).await,
        }
    }
}

/// Delivers what is due now, at most one batch; answers with how many messages there were.
///
/// Whoever calls it is alone at it, as leader; so nothing is written to take a message. Where two are leaders for a moment, or one dies
/// between an effect and its message's end, a message is delivered twice, which changes nothing.
///
/// # Errors
/// A failure of the database.
pub async fn deliver(app: &App) -> Result<usize, DbError> {
    let now = app.clock.now();
    let due = outbox::due(&app.db, now.0, BATCH).await?;
    let oldest = due.iter().map(|operation| now.0 - operation.created_at).max().unwrap_or(0);
    metrics::gauge!("counterfoil_outbox_lag_seconds").set(oldest as f64 / 1000.0);
    deliver_these(app, due, now).await
}

/// Delivers what a family has to tell of repairs, at once and not when the leader comes to it: who waits for the effect has it with the
/// answer. Where that fails, it is delivered a moment later, as all else is.
pub async fn deliver_of(app: &App, family: &str) {
    let now = app.clock.now();
    let delivered = match outbox::due_of(&app.db, family, now.0, BATCH).await {
        Ok(due) => deliver_these(app, due, now).await,
        Err(error) => Err(error),
    };
    if let Err(error) = delivered {
        tracing::warn!(%error, "what a repair has to tell could not be delivered at once");
    }
    app.outbox.notify_one();
}

async fn deliver_these(app: &App, due: Vec<Operation>, now: Timestamp) -> Result<usize, DbError> {
    let count = due.len();
    let mut by_target = BTreeMap::<String, Vec<(Operation, Message)>>::new();
    let mut ended = vec![];
    for operation in due {
        match Message::read(&operation) {
            Ok(message) => by_target.entry(message.family()).or_default().push((operation, message)),
            Err(reason) => ended.push((operation, Err(reason))),
        }
    }
    let told = by_target.into_iter().map(|(family, messages)| tell(app, family, messages, now));
    ended.extend(futures_util::future::join_all(told).await.into_iter().flatten());

    let mut by_family = BTreeMap::<String, Vec<(Operation, Outcome)>>::new();
    for (operation, outcome) in ended {
        by_family.entry(operation.family.clone()).or_default().push((operation, outcome));
    }
    crate::db::all(by_family.into_iter().map(|(family, ended)| end(app, family, ended, now))).await?;
    Ok(count)
}

/// Delivered, or why not.
pub(crate) type Outcome = Result<(), String>;

/// Tells a family of everything at once; where that fails, of each by itself, so that one does not hold the others up.
async fn tell(app: &App, family: String, messages: Vec<(Operation, Message)>, now: Timestamp) -> Vec<(Operation, Outcome)> {
    let (operations, told): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    let together = take_effect(app, &family, told.clone(), now).await;
    let alone = told.len() > 1 && together.is_err();
    let mut ended = Vec::with_capacity(operations.len());
    for (operation, told) in operations.into_iter().zip(told) {
        let outcome = if alone { take_effect(app, &family, vec![told], now).await } else { together.clone() };
        ended.push((operation, outcome.map_err(|error| error.to_string())));
    }
    ended
}

async fn take_effect(app: &App, family: &str, mut told: Vec<Message>, now: Timestamp) -> Result<(), DbError> {
    for message in &mut told {
        if let Message::Entitlement(told) = message {
            entitle::complete(app, told).await?;
        }
    }
    let of_copies = told.iter().any(|message| matches!(message, Message::Entitlement(_)));
    let target = family.to_owned();
    app.db
        .write("outbox effect", family, async move |tx: &mut Tx| {
            // What is told of a copy is judged by the entry: nothing of that may be exchanged between the look and the end.
            if of_copies {
                audit::hold(tx, &target).await?;
            }
            for message in &told {
                message.take_effect(tx, now).await?;
            }
            Ok(())
        })
        .await
}

/// Forgets what was delivered; puts off what was not, each time for longer.
pub(crate) async fn end(app: &App, family: String, ended: Vec<(Operation, Outcome)>, now: Timestamp) -> Result<(), DbError> {
    app.db
        .write("outbox result", family, async move |tx: &mut Tx| -> Result<(), DbError> {
            for (Operation { family, operation_id, attempts, .. }, outcome) in &ended {
                match outcome {
                    Ok(()) => outbox::done(tx, family, operation_id).await.map(drop)?,
                    Err(error) => {
                        let wait = 1000_i64 << attempts.clamp(&0, &12);
                        outbox::failed(tx, family, operation_id, error, now.0 + wait).await.map(drop)?;
                    }
                }
            }
            Ok(())
        })
        .await
}
