//! Holds the gateway's exchanges against the authority's (C17): what stands on one side and not on the other, or otherwise. Both sides are read in the
//! order of their IDs, a page at a time, so that any number of exchanges takes the memory of two pages.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;

use counterfoil_core::wire::{ExchangeRecord, ExchangeState};
use counterfoil_core::{RequestId, Timestamp};
use serde::Serialize;

use super::app::App;
use super::driver::{self, Learned};
use super::ledger::Period;
use super::store::exchange::{self, ExchangeRow, State};
use crate::db::Tx;

/// Rows that are read at a time.
const PAGE: i64 = 500;
/// How far apart the two sides may have begun one exchange: an envelope is good for a day.
const APART: i64 = 2 * Timestamp::DAY;

/// One exchange that the two have otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub exchange_id: RequestId,
    /// What, in words.
    pub what: &'static str,
    /// Where it stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<State>,
    /// Where it stands there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<ExchangeState>,
}

/// What was compared so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Exchanges that the two have alike, or that cost nobody anything.
    pub compared: u64,
    /// Those that are on their way on either side, or have just changed: they are driven to their end, and are no difference yet.
    pub under_way: u64,
    /// Those that they have otherwise.
    pub differ: u64,
}

/// What is told while it is compared.
pub enum Told<'a> {
    /// Something is different.
    Difference(&'a Difference),
    /// How far it is, after each page.
    SoFar(Compared),
}

/// Which exchanges are compared.
#[derive(Clone, Copy, Debug)]
pub struct Which {
    /// Those that were prepared in a month; all of them where none is named.
    pub period: Option<Period>,
    /// For how long after a change, in milliseconds, an exchange may be on its way still, on one side or the other.
    pub fresh: i64,
}

/// Drives what is open once, then compares.
///
/// # Errors
/// The authority or the database do not answer.
pub async fn compare(app: &App, which: Which, mut tell: impl FnMut(Told<'_>)) -> Result<Compared, Learned> {
    driver::turn(app).await?;
    driver::learn(app).await?;
    let during = which.period.map_or(Timestamp(i64::MIN)..Timestamp(i64::MAX), |period| period.begin()..period.end());
    let fresh = Timestamp(app.clock.now().0.saturating_sub(which.fresh));
    let (mut here, mut there) = (Here::new(&during), There::new(&during));
    let mut compared = Compared::default();
    loop {
        if here.fill(app).await? | there.fill(app).await? {
            tell(Told::SoFar(compared));
        }
        let (record, row) = match (there.rows.front(), here.rows.front()) {
            (None, None) => return Ok(compared),
            (Some(record), Some(row)) => match record.exchange_id.cmp(&row.id) {
                Ordering::Less => (there.rows.pop_front(), None),
                Ordering::Equal => (there.rows.pop_front(), here.rows.pop_front()),
                Ordering::Greater => (None, here.rows.pop_front()),
            },
            (Some(_), None) => (there.rows.pop_front(), None),
            (None, Some(_)) => (None, here.rows.pop_front()),
        };
        // Begun in another month on either side, it is compared with that one.
        let begun = record.as_ref().map(|record| record.created_at).or(row.as_ref().map(|row| row.created_at));
        if !begun.is_some_and(|at| during.contains(&at)) {
            continue;
        }
        if let Some(difference) = judge(&mut compared, record.as_ref(), row.as_ref(), fresh) {
            tell(Told::Difference(&difference));
        }
    }
}

/// What may have begun on one side within a time.
fn about(during: &Range<Timestamp>) -> Range<Timestamp> {
    Timestamp(during.start.0.saturating_sub(APART))..Timestamp(during.end.0.saturating_add(APART))
}

/// The gateway's own, in order.
struct Here {
    rows: VecDeque<ExchangeRow>,
    /// Where to go on; nothing at the end.
    after: Option<String>,
    about: Range<Timestamp>,
}

impl Here {
    fn new(during: &Range<Timestamp>) -> Self {
        Self { rows: VecDeque::new(), after: Some(String::new()), about: about(during) }
    }

    /// Has the next ones at hand, where there are any; says whether a page was read.
    async fn fill(&mut self, app: &App) -> Result<bool, Learned> {
        let mut read = false;
        while self.rows.is_empty() {
            let Some(after) = self.after.take() else { break };
            let page = app.db.read("exchanges", async move |tx: &mut Tx| exchange::list(tx, &after, false, PAGE).await).await?;
            read = true;
            self.after = page.last().map(|last| last.id.to_string());
            self.rows.extend(page.into_iter().filter(|row| self.about.contains(&row.created_at)));
        }
        Ok(read)
    }
}

/// The authority's, in order.
struct There {
    rows: VecDeque<ExchangeRecord>,
    /// Where to go on: from the beginning, after one; nothing at the end.
    after: Option<Option<String>>,
    about: Range<Timestamp>,
}

impl There {
    fn new(during: &Range<Timestamp>) -> Self {
        Self { rows: VecDeque::new(), after: Some(None), about: about(during) }
    }

    async fn fill(&mut self, app: &App) -> Result<bool, Learned> {
        let mut read = false;
        while self.rows.is_empty() {
            let Some(after) = self.after.take() else { break };
            let page = app.authority.by_id(after.as_deref(), &self.about).await?;
            read = true;
            self.after = page.next.map(Some);
            self.rows.extend(page.exchanges);
        }
        Ok(read)
    }
}

fn judge(compared: &mut Compared, record: Option<&ExchangeRecord>, row: Option<&ExchangeRow>, fresh: Timestamp) -> Option<Difference> {
    let exchange_id = record.map(|record| record.exchange_id).or(row.map(|row| row.id))?;
    let (here, there) = (row.map(|row| row.state), record.map(|record| record.state));
    let moving = row.is_some_and(|row| row.state.is_open() || row.changed_at > fresh)
        || record
            .is_some_and(|record| matches!(record.state, ExchangeState::Prepared | ExchangeState::Committing) || record.changed_at > fresh);
    if moving {
        compared.under_way += 1;
        return None;
    }
    let what = if same_money(record, row) { difference(here, there) } else { Some("title, price or parts differ") };
    match what {
        None => compared.compared += 1,
        Some(_) => compared.differ += 1,
    }
    what.map(|what| Difference { exchange_id, what, gateway: here, authority: there })
}

fn same_money(record: Option<&ExchangeRecord>, row: Option<&ExchangeRow>) -> bool {
    let (Some(record), Some(row)) = (record, row) else { return true };
    // Names are for people, and may be changed.
    let parts = |charge: &counterfoil_core::wire::Charge| (charge.title.clone(), charge.price, charge.operator_part);
    !matches!(row.state, State::Charged | State::Undone) || parts(&record.charge) == parts(&row.charge)
}

/// What is wrong where it stands so on the two sides.
fn difference(here: Option<State>, there: Option<ExchangeState>) -> Option<&'static str> {
    use ExchangeState::{Aborted, Committed, Committing, Free, Prepared, Refunded, Refused};
    let charged = matches!(here, Some(State::Charged));
    match there {
        Some(Committed) if !charged => Some("carried out at the authority, not charged here"),
        Some(Refunded) if charged => Some("ended at the authority, still charged here"),
        Some(Refused | Aborted | Free) | None if charged => Some("charged here, not carried out at the authority"),
        Some(Refused | Aborted | Free) | None if here == Some(State::Undone) => {
            Some("charged and given back here, never carried out at the authority")
        }
        Some(Committed | Refunded | Refused | Aborted | Free | Prepared | Committing) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Charged, Lapsed, Undone, Voided};

    #[test]
    fn only_what_costs_somebody_money_is_different() {
        use ExchangeState::{Aborted, Committed, Refunded, Refused};
        let fine = [
            (Some(Charged), Some(Committed)),
            (Some(Undone), Some(Refunded)),
            (Some(Voided), Some(Refused)),
            (Some(Voided), Some(Aborted)),
            (Some(Lapsed), Some(Aborted)),
            (None, Some(Aborted)),
            (Some(Lapsed), None),
            (Some(Voided), None),
        ];
        let wrong = [
            (None, Some(Committed)),
            (Some(Voided), Some(Committed)),
            (Some(Undone), Some(Committed)),
            (Some(Charged), Some(Refunded)),
            (Some(Charged), Some(Aborted)),
            (Some(Charged), None),
            (Some(Undone), None),
        ];
        for (here, there) in fine {
            assert_eq!(difference(here, there), None, "{here:?} {there:?}");
        }
        for (here, there) in wrong {
            assert!(difference(here, there).is_some(), "{here:?} {there:?}");
        }
    }
}
