//! Transfers (D8–D10): licenses move from one of a user's devices to another, in one transaction of the user's family, without a charge.

use std::collections::BTreeMap;

use counterfoil_core::rules::license::is_over;
use counterfoil_core::rules::transfer::{self as rules, Plan};
use counterfoil_core::wire::{MovedLicense, Transfer, TransferResult};
use counterfoil_core::{DeviceId, LicenseId, Refusal, Timestamp, TitleId, UserId};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::signed::{self, Besides};
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::license::{self, LicenseRow};
use crate::store::request::{self, Once};
use crate::store::{device_info, entitlement, inbox, title, user};

/// Who wants it moved: a device that has signed, or somebody who has signed in.
#[derive(Clone, Debug)]
pub struct Requester {
    /// Whose licenses.
    pub user: UserId,
    /// Who acts, for the audit log.
    pub actor: String,
    /// Names the request: repeated with the same digest, it has one effect and one answer.
    pub request_id: String,
    /// Over all of the request that matters.
    pub digest: [u8; 32],
}

/// What is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The device that gives up.
    pub source: DeviceId,
    /// The device that receives.
    pub destination: DeviceId,
    /// What; absent where everything moves and the source is taken out of the entry.
    pub title: Option<TitleId>,
}

/// Decides a terminal's request and carries it out, or says what would happen.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Transfer, now: Timestamp) -> Result<Decided, Problem> {
    let wanted = Wanted { source: ask.source, destination: ask.destination, title: ask.title.clone() };
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Card(ask.card_id)).await? {
        Ok(recipient) => recipient,
        Err((refusal, family)) => {
            // A device that has had itself taken out gets its answer again, although it is nobody's any more.
            return match answered(app, asked, ask.user_id, now).await? {
                Some(result) => Ok(Ok(result)),
                None => asked::refuse(app, family, "transfer", "terminal", refusal, now).await,
            };
        }
    };
    let turn = Turn::of(asked, "transfer", ask.user_id, &recipient, now);
    let result = if ask.preview { look(app, ask.user_id, wanted, now).await? } else { moved(app, turn, wanted).await? };
    match result {
        Ok(result) => Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?)),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// What a request was answered with, if it was.
async fn answered(app: &App, asked: &Asked, user: UserId, now: Timestamp) -> Result<Option<serde_json::Value>, Problem> {
    let (family, request_id, digest) = (user::family(user), asked.request_id.to_string(), asked.digest);
    let once =
        app.db.read("transfer answered", async move |tx: &mut Tx| request::once(tx, &family, &request_id, &digest, now.0).await).await?;
    match once {
        Once::Repeat(recorded) => Ok(serde_json::from_slice(&recorded.answer).map_err(Problem::internal)?),
        Once::Fresh | Once::Mismatch => Ok(None),
    }
}

/// Says what a transfer would come to, and writes nothing.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn preview(app: &App, user: UserId, wanted: Wanted) -> Result<Result<TransferResult, Refusal>, Problem> {
    look(app, user, wanted, app.clock.now()).await
}

/// Moves licenses, for somebody whose right to do so has been established (D8).
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn carry_out(app: &App, requester: &Requester, wanted: Wanted) -> Result<Result<TransferResult, Refusal>, Problem> {
    let Requester { user, actor, request_id, digest } = requester.clone();
    let turn = Turn::by(actor, "transfer", user, request_id, digest, app.clock.now());
    moved(app, turn, wanted).await
}

async fn look(app: &App, user: UserId, wanted: Wanted, now: Timestamp) -> Result<Result<TransferResult, Refusal>, Problem> {
    app.db
        .read("transfer preview", async move |tx: &mut Tx| -> Result<_, Problem> {
            Ok(match Planned::make(tx, user, &wanted, now).await? {
                Ok(planned) => Ok(planned.result()),
                Err(refusal) => Err(refusal),
            })
        })
        .await
}

async fn moved(app: &App, turn: Turn, wanted: Wanted) -> Result<Result<TransferResult, Refusal>, Problem> {
    let (user, devices) = (turn.user, [wanted.source, wanted.destination]);
    let family = turn.family.clone();
    let result = app.db.write("transfer", family, async move |tx: &mut Tx| write(tx, &turn, &wanted).await).await?;
    if result.is_ok() {
        devices.iter().for_each(|device| app.inbox.wake(user, *device));
    }
    Ok(result)
}

async fn write(tx: &mut Tx, turn: &Turn, wanted: &Wanted) -> Result<Result<TransferResult, Refusal>, Problem> {
    match turn.begin(tx).await? {
        Begun::Fresh => {}
        Begun::Repeat(answer) => return Ok(Ok(serde_json::from_slice(&answer).map_err(Problem::internal)?)),
        Begun::Refused(refusal) => return Ok(Err(refusal)),
    }
    let planned = match Planned::make(tx, turn.user, wanted, turn.now).await? {
        Ok(planned) => planned,
        Err(refusal) => return Ok(Err(turn.refuse(tx, refusal).await?)),
    };
    let Wanted { source, destination, title } = wanted;
    let (result, plan) = (planned.result(), &planned.plan);
    let ids: Vec<LicenseId> = result.moved.iter().map(|moved| moved.license_id).collect();
    let detail = json!({ "source": source, "destination": destination, "title": title, "licenses": ids, "ended": plan.ends,
        "deregistered": plan.deregister });
    turn.note(tx, "license.transferred", &detail).await?;
    for row in planned.moves() {
        give(tx, turn, row, *source, *destination).await?;
    }
    for row in planned.ends() {
        end(tx, turn, row).await?;
    }
    if plan.deregister && !device_info::retire(tx, turn.user, *source, &turn.actor, turn.now).await? {
        return Err(tx.conflict("the device").into());
    }
    turn.answer(tx, &result).await?;
    Ok(Ok(result))
}

/// Moves one license: counted, and only from where it was seen.
async fn give(tx: &mut Tx, turn: &Turn, row: &LicenseRow, source: DeviceId, destination: DeviceId) -> Result<(), DbError> {
    let (user, now) = (turn.user, turn.now);
    if !entitlement::count_transfer(tx, user, row.entitlement, row.policy.transfers, rules::period(&row.policy), now).await?
        || !license::move_to(tx, user, row.license, source, destination).await?
    {
        return Err(tx.conflict("the license"));
    }
    inbox::end(tx, user, source, row.license, &row.title, now).await?;
    inbox::install(tx, user, destination, row.license, &row.title, row.transaction, now).await
}

/// Ends what a device that is taken out leaves behind. Where its place can be taken by another device, that counts.
async fn end(tx: &mut Tx, turn: &Turn, row: &LicenseRow) -> Result<(), DbError> {
    let (user, policy, now) = (turn.user, &row.policy, turn.now);
    let counted = is_over(row.expires_at, now)
        || entitlement::count_transfer(tx, user, row.entitlement, policy.transfers, rules::period(policy), now).await?;
    if !counted || !license::end(tx, user, row.license, now).await? || !entitlement::free_place(tx, user, row.entitlement).await? {
        return Err(tx.conflict("the license"));
    }
    inbox::end(tx, turn.user, row.device, row.license, &row.title, turn.now).await
}

/// What was decided, with the rows that it was decided on.
struct Planned {
    plan: Plan,
    at_source: Vec<LicenseRow>,
    names: BTreeMap<TitleId, String>,
}

impl Planned {
    /// Loads and decides; the same for the preview and for what follows it.
    async fn make(tx: &mut Tx, user: UserId, wanted: &Wanted, now: Timestamp) -> Result<Result<Self, Refusal>, Problem> {
        let Wanted { source, destination, title: only } = wanted;
        let at_source = license::at_device(tx, user, *source).await?;
        let there = license::at_device(tx, user, *destination).await?;
        let ask = rules::Ask {
            source: *source,
            source_registered: user::device(tx, user, *source).await?.is_some(),
            destination: *destination,
            destination_registered: user::device(tx, user, *destination).await?.is_some(),
            title: only.clone(),
        };
        let held: Vec<_> = at_source.iter().map(|row| row.held(&there)).collect();
        let plan = match rules::decide(&ask, &held, now) {
            Ok(plan) => plan,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut names = BTreeMap::new();
        for row in &at_source {
            if !names.contains_key(&row.title) {
                let found = title::get(tx, &Scope::All, &row.title).await?;
                names.insert(row.title.clone(), found.map_or_else(|| row.title.to_string(), |title| title.name));
            }
        }
        Ok(Ok(Self { plan, at_source, names }))
    }

    fn row(&self, license: LicenseId) -> Option<&LicenseRow> {
        self.at_source.iter().find(|row| row.license == license)
    }

    fn moves(&self) -> impl Iterator<Item = &LicenseRow> {
        self.plan.moves.iter().filter_map(|moved| self.row(moved.license))
    }

    fn ends(&self) -> impl Iterator<Item = &LicenseRow> {
        self.plan.ends.iter().filter_map(|license| self.row(*license))
    }

    fn result(&self) -> TransferResult {
        let moved = self.plan.moves.iter().zip(self.moves()).map(|(moved, row)| MovedLicense {
            license_id: moved.license,
            title: row.title.clone(),
            name: self.names.get(&row.title).cloned().unwrap_or_default(),
            source_runs_until: moved.source_runs_until,
            transfers_left: moved.left,
        });
        TransferResult { moved: moved.collect(), source_deregistered: self.plan.deregister }
    }
}
