//! What a status selects (A6, A10): supplements whose rule holds, or that a contents server names, become the user's and are told to be installed.

use std::collections::BTreeSet;

use counterfoil_core::rules::selection::{self as rules, Decision};
use counterfoil_core::wire::{ContentsServer, Selected, ShownStatus, Status};
use counterfoil_core::{BatchId, DeviceId, LicenseId, Rights, Timestamp, TitleId, UserId};
use futures_util::future::join_all;
use serde_json::json;

use super::contents_servers::{relay, verdict};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::select::{Condition, Subject};
use crate::store::contents_server as servers;
use crate::store::pseudonym::{self, Pseudonyms};
use crate::store::selection::{self, Rule};
use crate::store::{audit, license, user};

pub mod rules_of_title;

/// Contents servers that are asked for one report.
const MOST_SERVERS: usize = 20;

/// Whose report it is.
#[derive(Clone, Copy, Debug)]
pub struct Reporter {
    /// The user.
    pub user: UserId,
    /// The device, where what is selected is to be installed.
    pub device: DeviceId,
}

/// The status of a title that the user was found to have, with what is known of it here.
#[derive(Clone, Debug)]
pub struct Reported {
    /// As it was reported.
    pub status: Status,
    /// The number of its release; 0 where there is none.
    pub number: i64,
    /// The batch of the medium that it was copied from.
    pub batch: Option<BatchId>,
    /// What the medium allows, or what is allowed where there is none.
    pub rights: Rights,
}

/// A supplement that is to become the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What.
    pub supplement: TitleId,
    /// The title whose status chose it.
    pub because_of: TitleId,
    /// By what, for the audit log: `rule`, or a contents server's ID.
    pub by: String,
}

/// What the rest is decided on.
struct Facts {
    /// Of each title reported.
    rules: Vec<Vec<Rule>>,
    servers: Vec<(usize, servers::ContentsServer)>,
    pseudonyms: Option<Pseudonyms>,
    owns: Vec<TitleId>,
}

/// Carries out what a report selects: with what is to be installed, the contents servers that the device is to ask itself.
///
/// # Errors
/// Failures of the server. A contents server that does not answer, or not as it should, selects nothing.
pub async fn at_report(
    app: &App,
    reporter: Reporter,
    mut reported: Vec<Reported>,
    now: Timestamp,
) -> Result<(Vec<Selected>, Vec<ContentsServer>), Problem> {
    // What conditions cost was added up for variables as they may be; no terminal of ours reports others.
    reported.retain(|of| rules::check(&of.status.variables).is_ok());
    let titles: Vec<TitleId> = reported.iter().map(|of| of.status.title.clone()).collect();
    let facts = app.db.read("what selects", async move |tx: &mut Tx| load(tx, reporter.user, &titles, now).await).await?;
    if facts.rules.iter().all(Vec::is_empty) && facts.servers.is_empty() {
        return Ok((vec![], vec![]));
    }
    // It takes its time with rules that cost much, and nobody else's request waits for that.
    let evaluated = tokio::task::spawn_blocking(move || (chosen_by_rules(&reported, &facts), reported, facts)).await;
    let (mut chosen, reported, facts) = evaluated.map_err(Problem::internal)?;
    let (mut to_ask, mut to_relay) = (vec![], vec![]);
    for (index, server) in facts.servers.iter().take(MOST_SERVERS) {
        let Some(pseudonyms) = &facts.pseudonyms else { break };
        let of = &reported[*index];
        let verdict = verdict::issue(app, pseudonyms, server, reporter.user, of, now)?;
        if server.relayed {
            to_relay.push(relayed(app, reporter.user, server, verdict, ShownStatus::from(&of.status), now));
        } else {
            let (id, url, title) = (server.id, Some(server.url.clone()), of.status.title.clone());
            to_ask.push(ContentsServer { url, id, title, verdict });
        }
    }
    for answered in join_all(to_relay).await {
        chosen.extend(answered?);
    }
    Ok((give(app, reporter, chosen, now).await?, to_ask))
}

async fn load(tx: &mut Tx, user: UserId, titles: &[TitleId], now: Timestamp) -> Result<Facts, Problem> {
    let mut facts = Facts { rules: vec![], servers: vec![], pseudonyms: pseudonym::load(tx).await?, owns: vec![] };
    for (index, title) in titles.iter().enumerate() {
        facts.rules.push(selection::rules(tx, title).await?);
        // Nobody was ever registered as long as there are no pseudonyms.
        if facts.pseudonyms.is_some() {
            facts.servers.extend(servers::for_title(tx, title).await?.into_iter().map(|server| (index, server)));
        }
    }
    if facts.rules.iter().any(|rules| !rules.is_empty()) {
        facts.owns = selection::owned(tx, user, now).await?;
    }
    Ok(facts)
}

/// Supplements whose rules hold. One that cannot be told selects nothing: `counterfoil rules test` shows why.
fn chosen_by_rules(reported: &[Reported], facts: &Facts) -> Vec<Chosen> {
    let mut chosen = vec![];
    for (of, rules) in reported.iter().zip(&facts.rules).filter(|(_, rules)| !rules.is_empty()) {
        let subject = of.subject(facts.owns.clone());
        for rule in rules {
            let holds = Condition::known(&rule.condition).and_then(|condition| condition.holds(&subject));
            if holds == Ok(true) {
                chosen.push(Chosen { supplement: rule.supplement.clone(), because_of: rule.title.clone(), by: "rule".to_owned() });
            }
        }
    }
    chosen
}

impl Reported {
    fn subject(&self, owns: Vec<TitleId>) -> Subject {
        Subject {
            vars: self.status.variables.clone(),
            release: self.status.release.clone(),
            number: self.number,
            channel: self.status.channel.clone().unwrap_or_default(),
            batch: self.batch,
            medium: self.status.medium_id.clone(),
            rights: self.rights.clone(),
            owns,
        }
    }
}

/// Asks a contents server in the terminal's place.
async fn relayed(
    app: &App,
    user: UserId,
    server: &servers::ContentsServer,
    verdict: String,
    status: ShownStatus,
    now: Timestamp,
) -> Result<Vec<Chosen>, Problem> {
    let selection = match relay::ask(server, &verdict, status).await {
        Ok(selection) => selection,
        Err(why) => {
            tracing::warn!(server = %server.id, why, "a contents server selects nothing");
            return Ok(vec![]);
        }
    };
    match verdict::accept(app, user, &verdict, &selection, now).await? {
        Ok(accepted) => Ok(accepted.chosen),
        Err(refusal) => {
            tracing::warn!(server = %server.id, why = refusal.detail, "a contents server selects nothing");
            Ok(vec![])
        }
    }
}

/// Makes what was chosen the user's, once, and says what is to be installed.
///
/// # Errors
/// A failure of the database.
pub async fn give(app: &App, reporter: Reporter, chosen: Vec<Chosen>, now: Timestamp) -> Result<Vec<Selected>, Problem> {
    if chosen.is_empty() {
        return Ok(vec![]);
    }
    let looked = chosen.clone();
    // Most reports select what was selected before: nothing is written for that.
    let (told, to_give) = app.db.read("what is selected", async move |tx: &mut Tx| look(tx, reporter, &looked, now).await).await?;
    if to_give == 0 {
        return Ok(told);
    }
    let family = user::family(reporter.user);
    let fresh: Vec<LicenseId> = chosen.iter().map(|_| LicenseId::from_bytes(app.rng.bytes())).collect();
    app.db.write("selection", family, async move |tx: &mut Tx| give_within(tx, reporter, &chosen, &fresh, now).await).await
}

/// What is to be told, and how much is to be given.
async fn look(tx: &mut Tx, reporter: Reporter, chosen: &[Chosen], now: Timestamp) -> Result<(Vec<Selected>, usize), Problem> {
    let (mut told, mut to_give) = (vec![], 0);
    for one in chosen {
        match decide(tx, reporter, one, now).await? {
            (Decision::Grant { .. }, _) => to_give += 1,
            (Decision::Tell, name) => told.push(tell(one, name)),
            (Decision::Nothing, _) => {}
        }
    }
    Ok((once_each(told), to_give))
}

/// The same within a transaction of the user's family. `fresh` has an ID for each license that may come of it.
///
/// # Errors
/// A failure of the database.
pub async fn give_within(
    tx: &mut Tx,
    reporter: Reporter,
    chosen: &[Chosen],
    fresh: &[LicenseId],
    now: Timestamp,
) -> Result<Vec<Selected>, Problem> {
    let Reporter { user, device } = reporter;
    let family = user::family(user);
    // Two reports at once at two processes: the second one decides on what the first has given.
    audit::hold(tx, &family).await?;
    if user::device(tx, user, device).await?.is_none() {
        return Ok(vec![]);
    }
    let mut told = vec![];
    for (one, license) in chosen.iter().zip(fresh) {
        let (decision, name) = decide(tx, reporter, one, now).await?;
        match decision {
            Decision::Nothing => continue,
            Decision::Tell => {}
            Decision::Grant { expires_at } => {
                let (policy, _) = selection::right(tx, user, &one.because_of, now).await?.unwrap_or_default();
                let entitlement = selection::entitlement_of(user, &one.supplement);
                let detail = json!({
                    "title": one.supplement, "because_of": one.because_of, "by": one.by, "entitlement": entitlement, "license": license,
                    "device": device,
                });
                audit::append(tx, &family, now.0, &device.to_string(), "selection.granted", &detail).await?;
                if !selection::insert(tx, user, &one.supplement, &policy, expires_at, now).await? {
                    return Err(tx.conflict("what was selected").into());
                }
                license::register(tx, user, *license, entitlement, &one.supplement, device, now).await?;
            }
        }
        told.push(tell(one, name));
    }
    Ok(once_each(told))
}

async fn decide(tx: &mut Tx, reporter: Reporter, chosen: &Chosen, now: Timestamp) -> Result<(Decision, String), Problem> {
    let Reporter { user, device } = reporter;
    let Some((name, offered)) = selection::offered(tx, &chosen.supplement).await? else { return Ok((Decision::Nothing, String::new())) };
    let Some((_, until)) = selection::right(tx, user, &chosen.because_of, now).await? else { return Ok((Decision::Nothing, name)) };
    let has = selection::has(tx, user, &chosen.supplement, device, now).await?;
    Ok((rules::decide(&rules::Facts { offered, has, until }, now), name))
}

fn tell(chosen: &Chosen, name: String) -> Selected {
    Selected { title: chosen.supplement.clone(), name, because_of: chosen.because_of.clone() }
}

/// Two titles may select the same supplement.
fn once_each(told: Vec<Selected>) -> Vec<Selected> {
    let mut seen = BTreeSet::new();
    told.into_iter().filter(|one| seen.insert(one.title.clone())).collect()
}
