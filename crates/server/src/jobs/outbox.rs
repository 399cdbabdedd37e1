//! Delivers the outbox: what is due, at least once, with as few transactions as families allow.

use std::collections::BTreeMap;

use counterfoil_core::{GrantId, MediumId, Timestamp, TitleId, UserId};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::db::{DbError, Tx};
use crate::store::outbox::{self, Operation};
use crate::store::user;

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
    let count = due.len();
    let oldest = due.iter().map(|operation| now.0 - operation.created_at).max().unwrap_or(0);
    metrics::gauge!("counterfoil_outbox_lag_seconds").set(oldest as f64 / 1000.0);
    let mut by_user = BTreeMap::<UserId, Vec<(Operation, Entitlement)>>::new();
    let mut ended = vec![];
    for operation in due {
        match read(&operation) {
            Ok(told) => by_user.entry(told.user).or_default().push((operation, told)),
            Err(reason) => ended.push((operation, Err(reason))),
        }
    }
    let told = by_user.into_iter().map(|(user, messages)| tell(app, user, messages));
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

fn read(operation: &Operation) -> Result<Entitlement, String> {
    match operation.kind.as_str() {
        ENTITLEMENT => serde_json::from_str(&operation.payload).map_err(|error| error.to_string()),
        other => Err(format!("nobody delivers {other:?}")),
    }
}

/// Tells a user's family of all its entitlements at once; where that fails, of each by itself, so that one does not hold the others up.
async fn tell(app: &App, user: UserId, messages: Vec<(Operation, Entitlement)>) -> Vec<(Operation, Outcome)> {
    let (operations, told): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
    let together = entitle(app, user, told.clone()).await;
    let alone = told.len() > 1 && together.is_err();
    let mut ended = Vec::with_capacity(operations.len());
    for (operation, told) in operations.into_iter().zip(told) {
        let outcome = if alone { entitle(app, user, vec![told]).await } else { together.clone() };
        ended.push((operation, outcome.map_err(|error| error.to_string())));
    }
    ended
}

async fn entitle(app: &App, user: UserId, told: Vec<Entitlement>) -> Result<(), DbError> {
    app.db
        .write("entitle", user::family(user), async move |tx: &mut Tx| {
            for Entitlement { grant, medium, title, at, .. } in &told {
                user::entitle(tx, user, *grant, medium, title, *at).await?;
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
