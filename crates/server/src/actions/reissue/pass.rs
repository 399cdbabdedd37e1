//! Requests that pass by themselves, where the operator leaves them to time.

use counterfoil_core::Timestamp;
use counterfoil_core::rules::reissue::passes;
use counterfoil_core::wire::ReissueState;

use super::replace::{Wanted, replace};
use super::{POLICY, decline};
use crate::app::App;
use crate::config::Reissues;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::reissue::{self, ReissueRow};
use crate::store::user;

/// Requests that are read at a time.
const PAGE: i64 = 100;
/// In the record of those that pass.
const REASON: &str = "user ID and recovery code are enough here";

/// Carries out what has waited long enough. What cannot be carried out is declined, so that it does not wait for ever.
///
/// # Errors
/// A failure of the database; what was done before stays so.
pub async fn pass(app: &App) -> Result<(), DbError> {
    let now = app.clock.now();
    if !automatic(app) {
        return Ok(());
    }
    let mut after = (Timestamp(i64::MIN), String::new());
    loop {
        let (at, id) = after.clone();
        let page = app.db.read("requests for cards", async move |tx: &mut Tx| reissue::waiting(tx, (at, &id), PAGE).await).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = (last.created_at, last.reissue.to_string());
        for row in page {
            // Oldest first: who comes after this one has waited less.
            if !due(app, &row, now) {
                return Ok(());
            }
            if row.card.is_none() {
                continue;
            }
            if let Err(problem) = carry_out(app, &row, now).await
                && problem.status.is_client_error()
            {
                give_up(app, row, &problem, now).await;
            }
        }
    }
}

/// Carries a request out at once, where nothing has to be waited for: where it then stands. What fails here stays for [`pass`].
pub async fn at_once(app: &App, row: &ReissueRow, now: Timestamp) -> Option<ReissueState> {
    if row.state != ReissueState::Waiting || row.card.is_none() || !due(app, row, now) {
        return None;
    }
    match carry_out(app, row, now).await {
        Ok(()) => Some(ReissueState::Done),
        Err(problem) => {
            tracing::warn!(%problem, "a request for a card could not be carried out at once");
            None
        }
    }
}

fn automatic(app: &App) -> bool {
    app.config.repair.reissue == Reissues::Automatic
}

fn due(app: &App, row: &ReissueRow, now: Timestamp) -> bool {
    passes(automatic(app), app.config.repair.reissue_wait_hours, row.created_at, now)
}

async fn carry_out(app: &App, row: &ReissueRow, now: Timestamp) -> Result<(), Problem> {
    let wanted = Wanted {
        user: row.user,
        request: Some(row.reissue),
        card: None,
        reason: REASON.to_owned(),
        reference: None,
        actor: POLICY.to_owned(),
    };
    replace(app, wanted, now).await.map(drop)
}

async fn give_up(app: &App, row: ReissueRow, problem: &Problem, now: Timestamp) {
    let reason = problem.detail.clone().unwrap_or_else(|| problem.title.clone());
    let (user, id) = (row.user, row.reissue);
    let family = user::family(user);
    let action = async move |tx: &mut Tx| decline(tx, user, id, POLICY, &reason, now).await.map(drop);
    if let Err(problem) = app.db.write("decline request for a card", family, action).await {
        tracing::warn!(%problem, "a request for a card could not be declined");
    }
}
