//! The rights of the media that a query finds, each in a transaction of its own: a thousand serials at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use counterfoil_core::{BatchId, MediumId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::{Change, check, find};
use crate::api::rights::{ChangeRights, ChangedMedia, MediaQuery};
use crate::app::App;
use crate::auth::Caller;
use crate::db::{DbError, Tx};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::batch::{self, Batch, Origin};
use crate::store::{audit, imported, medium};

/// Serials that one request looks at.
const PAGE: i64 = 1000;
/// Media that are changed at once.
const AT_ONCE: usize = 16;
/// What a medium that nobody has touched is.
const UNTOUCHED: &str = "unclaimed";
const STATES: [&str; 3] = [UNTOUCHED, "claimed", "retired"];

/// Changes the rights of each medium that is found among the first thousand serials, and says where to go on. What was changed stays changed
/// where the rest fails; the same request under the same key does the rest, and its answer counts all of it.
///
/// # Errors
/// `not_found`; `unprocessable` for rights that cannot be, and for a state that there is not.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: BatchId, query: MediaQuery) -> Result<Reply, Problem> {
    if query.state.as_deref().is_some_and(|state| !STATES.contains(&state)) {
        return Err(Problem::with(ApiCode::Unprocessable, "`state` is unclaimed, claimed or retired"));
    }
    let row = find(app, &caller.scope(), id).await?;
    let asked = ChangeRights { rights: query.rights.clone(), reason: query.reason.clone(), refresh: query.refresh };
    check(app, &row, &asked).await?;
    let family = batch::family(id);
    if let Some(reply) = once.recorded(app, family.clone()).await? {
        return Ok(reply);
    }
    let from = query.from.unwrap_or(1).max(1);
    let until = query.until.unwrap_or(i64::MAX).min(row.count);
    let last = until.min(from.saturating_add(PAGE - 1));
    let media = found(app, &row, from, last, query.state.clone()).await?;
    let matched = media.len();
    let change = Arc::new(Change { actor: caller.actor(), asked, now: app.clock.now() });
    let state = query.state.clone();
    let changed: Vec<bool> = stream::iter(media)
        .map(|medium| one(app, once, Arc::clone(&change), medium, state.clone()))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let answer =
        ChangedMedia { matched, changed: changed.into_iter().filter(|changed| *changed).count(), next: (last < until).then(|| last + 1) };
    once.write(app, "media rights", family.clone(), async move |tx: &mut Tx| {
        if answer.changed > 0 {
            let detail = json!({ "from": from, "until": last, "state": query.state, "rights": query.rights, "reason": query.reason,
                                 "changed": answer.changed });
            audit::append(tx, &family, change.now.0, &change.actor, "media.rights_changed", &detail).await?;
        }
        Ok(Reply::ok(&answer))
    })
    .await
}

/// The media of a range of serials that are in a state.
async fn found(app: &App, batch: &Batch, from: i64, last: i64, state: Option<String>) -> Result<Vec<MediumId>, DbError> {
    let (id, origin) = (batch.id, batch.origin);
    let rows = app.db.read("media of a query", async move |tx: &mut Tx| imported::states(tx, id, from, last).await).await?;
    let fits = |is: &str| state.as_deref().is_none_or(|state| state == is);
    if origin == Origin::Imported {
        return Ok(rows.into_iter().filter(|row| fits(&row.state)).map(|row| row.medium).collect());
    }
    let touched: BTreeMap<i64, String> = rows.into_iter().map(|row| (row.serial, row.state)).collect();
    let state_of = |serial: &i64| touched.get(serial).map_or(UNTOUCHED, String::as_str);
    Ok((from..=last).filter(|serial| fits(state_of(serial))).map(|serial| MediumId::pressed(id, serial.unsigned_abs())).collect())
}

/// One of them, where it is still in that state; says whether it was changed. A repeat of the request gets the same answer for each.
async fn one(app: &App, once: &Once, change: Arc<Change>, id: MediumId, state: Option<String>) -> Result<bool, Problem> {
    let reply = once
        .write(app, "rights of one of many", medium::family(&id), async move |tx: &mut Tx| {
            let head = audit::head(tx, &medium::family(&id)).await?;
            let known = medium::known(tx, &id).await?.ok_or(ApiCode::NotFound)?;
            let row = medium::find(tx, &id).await?;
            let is = row.as_ref().map_or(UNTOUCHED, |row| row.state.as_str());
            let fits = state.as_deref().is_none_or(|state| state == is);
            Ok(Reply::ok(&(fits && change.medium(tx, head, &id, &known).await?)))
        })
        .await?;
    serde_json::from_slice(&reply.body).map_err(Problem::internal)
}
