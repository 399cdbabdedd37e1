//! What a device holds, and what brings it up to date (A5, A6): the plans, title by title. No key leaves here.
//!
//! A report that says nothing new writes nothing. What is known of releases and their differences is kept in memory ([`crate::catalogue`],
//! [`crate::difference`]), so that a whole fleet can ask.

use std::collections::HashSet;

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::{HolderKind, Report, ReportResult};
use counterfoil_core::{Code, DeviceId, MediumId, Refusal, Timestamp, UserId};

use super::asked::{self, Asked, Decided};
use super::feed;
use super::proof::{self, By};
use super::selection::{self, Reported, Reporter};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::holder;
use crate::store::medium::{self, Known};
use crate::store::user::{self, Presented};

use facts::Held;

mod content;
mod facts;
mod noted;
mod plans;

/// Answers with a plan for each title, or refuses all of it.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Report, now: Timestamp) -> Result<Decided, Problem> {
    let asking = match admit(app, asked, ask, now).await? {
        Ok(asking) => asking,
        Err(Refused::Recorded(refusal)) => return Ok(Err(refusal)),
        Err(Refused::Stranger(refusal, who)) => {
            return asked::refuse(app, asked::stranger(&who), BY.operation, BY.actor, refusal, now).await;
        }
    };
    let facts = facts::load(app, &asking, ask, now).await?;
    let (mut plans, mut room) = (vec![], feed::ROOM);
    for (status, held) in ask.titles.iter().zip(&facts.titles) {
        let mut plan = plans::plan(app, &asking, ask, status, held).await?;
        plans::fit(&mut plan, &mut room);
        if plan.refused.is_none() {
            let told = feed::tell(app, &status.title, held.feed(), status.feed, &mut room, now)?;
            (plan.feed, plan.fresh) = (told.feed, told.fresh);
        }
        if let (Some(to), None, Some(_)) = (&plan.to, &status.grant_id, &asking.medium) {
            plan.content = content::of(app, &status.title, &to.version).await?;
        }
        plans.push(plan);
    }
    noted::note(app, &asking, ask, &facts, now).await?;
    let (selected, contents) = match (asking.user, asking.device) {
        (Some(user), Some(device)) => selection::at_report(app, Reporter { user, device }, reported(ask, &facts.titles), now).await?,
        // What is selected is licensed to a device.
        _ => (vec![], vec![]),
    };
    Ok(Ok(serde_json::to_value(ReportResult { plans, selected, contents }).map_err(Problem::internal)?))
}

/// Who asks, as far as it is proven.
struct Asking {
    user: Option<UserId>,
    /// Registered for that user.
    device: Option<DeviceId>,
    medium: Option<(MediumId, Known)>,
}

/// A report that is refused.
enum Refused {
    /// And not recorded yet; with whoever it is about.
    Stranger(Refusal, String),
    /// And recorded.
    Recorded(Refusal),
}

const BY: By<'static> = By { operation: "report", actor: "terminal" };

/// The device proves it; an entry without devices, its holder; a medium, by its claim secret.
async fn admit(app: &App, asked: &Asked, ask: &Report, now: Timestamp) -> Result<Result<Asking, Refused>, Problem> {
    let who = match (&ask.user_id, &ask.medium_id) {
        (Some(user), _) => user.to_string(),
        (None, Some(medium)) => medium.to_string(),
        (None, None) => asked.request_id.to_string(),
    };
    if ask.titles.len() > Report::MOST {
        return Ok(Err(Refused::Stranger(Refusal::with(Code::RateLimited, format!("at most {} titles in one report", Report::MOST)), who)));
    }
    let titles: HashSet<_> = ask.titles.iter().map(|status| (&status.title, status.grant_id)).collect();
    if titles.len() < ask.titles.len() {
        return Ok(Err(Refused::Stranger(Refusal::with(Code::ProofInvalid, "a copy of a title is reported twice"), who)));
    }
    let (user, device, medium_id) = (ask.user_id, ask.device_id, ask.medium_id.clone());
    let (presented, dead, known) = app
        .db
        .read("who reports", async move |tx: &mut Tx| -> Result<_, DbError> {
            let presented = match user {
                Some(user) => user::presented(tx, user, device, None).await?,
                None => None,
            };
            let dead = match &presented {
                Some(presented) => holder::facts(tx, presented.entry.holder).await? == HolderFacts::Dead,
                None => false,
            };
            let known = match &medium_id {
                Some(medium) => medium::known(tx, medium).await?,
                None => None,
            };
            Ok((presented, dead, known))
        })
        .await?;
    if user.is_some()
        && let Err(code) = admit_user(asked, ask, presented.filter(|_| !dead).as_ref())
    {
        return Ok(Err(Refused::Stranger(code.into(), who)));
    }
    let medium = match &ask.medium_id {
        // A user's report may only say which medium it is about.
        Some(medium) if user.is_none() || ask.titles.iter().any(|status| status.grant_id.is_none()) => {
            match proof::admit(app, asked, BY, medium, known, now).await? {
                Ok(known) => Some((medium.clone(), known)),
                Err(refusal) => return Ok(Err(Refused::Recorded(refusal))),
            }
        }
        _ => None,
    };
    if user.is_none() && medium.is_none() {
        return Ok(Err(Refused::Stranger(Refusal::with(Code::ProofInvalid, "neither a user nor a medium reports"), who)));
    }
    Ok(Ok(Asking { user, device: device.filter(|_| user.is_some()), medium }))
}

fn admit_user(asked: &Asked, ask: &Report, presented: Option<&Presented>) -> Result<(), Code> {
    let Presented { entry, device, has_devices, .. } = presented.ok_or(Code::UserInvalid)?;
    let proven = match (device, ask.device_id) {
        (Some(row), _) => asked.signed(&row.device.to_string(), &row.keys.sign),
        (None, Some(_)) => return Err(Code::DeviceNotRegistered),
        (None, None) if *has_devices || entry.holder_kind == HolderKind::Device => return Err(Code::DeviceNotRegistered),
        (None, None) => asked.signed_by(&entry.keys.sign),
    };
    if proven { Ok(()) } else { Err(Code::ProofInvalid) }
}

/// What is held by right, for whatever it selects.
fn reported(ask: &Report, titles: &[Held]) -> Vec<Reported> {
    let held = ask.titles.iter().zip(titles).filter_map(|(status, held)| Some((status, held.found.as_ref().ok()?)));
    let of = held.map(|(status, found)| Reported {
        status: status.clone(),
        number: found.number(status),
        batch: found.batch,
        rights: found.rights.clone(),
    });
    of.collect()
}
