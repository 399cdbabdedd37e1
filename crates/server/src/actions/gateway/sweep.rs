//! What gateways have left: exchanges that were not committed in time, and such that were carried out and not noted.

use std::collections::VecDeque;

use counterfoil_core::Timestamp;
use counterfoil_core::rules::gateway as rule;
use counterfoil_core::wire::ExchangeState;

use super::{commit, give_up};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::gateway_exchange::{self as store, Exchange};

/// Who ends what nobody else does, in the audit log.
pub(super) const ACTOR: &str = "authority";
/// Why.
pub(super) const EXPIRED: &str = "not committed in time";
/// How long an exchange may be carried out before it is looked at, in milliseconds.
const UNDER_WAY: i64 = 60_000;
/// Exchanges looked at together.
const PAGE: i64 = 500;

/// Gives up what was not committed in time, and notes what was carried out by an attempt that did not come to noting it. What has left nothing is
/// let be: only its gateway has the request, and asks again until it knows.
///
/// # Errors
/// Failures of the database; what was done before stays so.
pub async fn sweep(app: &App) -> Result<(), Problem> {
    let now = app.clock.now();
    let mut prepared = Open::of(ExchangeState::Prepared, now);
    while let Some(row) = prepared.next(app).await? {
        // All are held equally long, so what follows is not over either.
        if !rule::has_expired(row.state, row.expires_at, now) {
            break;
        }
        give_up(app, row.id, ACTOR.to_owned(), EXPIRED).await?;
    }
    let mut committing = Open::of(ExchangeState::Committing, Timestamp(now.0.saturating_sub(UNDER_WAY)));
    while let Some(row) = committing.next(app).await? {
        let id = row.id;
        let found = app.db.read("what an exchange left", async move |tx: &mut Tx| commit::effect(tx, &row).await).await?;
        if let Some(effect) = found {
            commit::note(app, id, Some(effect), None, ACTOR.to_owned()).await?;
        }
    }
    Ok(())
}

/// Every exchange of a state that nothing has happened to for a while, oldest first.
struct Open {
    state: ExchangeState,
    before: Timestamp,
    after: (Timestamp, String),
    page: VecDeque<Exchange>,
}

impl Open {
    fn of(state: ExchangeState, before: Timestamp) -> Self {
        Self { state, before, after: (Timestamp(i64::MIN), String::new()), page: VecDeque::new() }
    }

    async fn next(&mut self, app: &App) -> Result<Option<Exchange>, DbError> {
        if self.page.is_empty() {
            let (state, before, after) = (self.state, self.before, self.after.clone());
            let page = app.db.read("open exchanges", async move |tx: &mut Tx| store::open(tx, state, before, &after, PAGE).await).await?;
            self.page = page.into();
        }
        let next = self.page.pop_front();
        if let Some(row) = &next {
            self.after = (row.changed_at, row.id.to_string());
        }
        Ok(next)
    }
}
