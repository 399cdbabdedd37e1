//! Asking for a license (D5): whether user, device and title are registered together, and the transaction ID that it is fetched with.

use counterfoil_core::rules::license::{self as rules, Ask, Places};
use counterfoil_core::title::Channel;
use counterfoil_core::wire::{AskLicense, LicenseResult, TitleOnMedium};
use counterfoil_core::{Code, LicenseId, Refusal, Timestamp, TitleId, TransactionId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::feed::{self, Told};
use super::licensed;
use super::signed::{self, Besides};
use crate::app::App;
use crate::auth::Scope;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::feed::Feed;
use crate::store::license::{self, LicenseRow};
use crate::store::release::{self, Release};
use crate::store::title;
use crate::store::{self, entitlement};

/// Decides the request and carries it out. A repeat gets the same transaction ID.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &AskLicense, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        Ok(recipient) if recipient.dead => {
            return asked::refuse(app, stranger(ask), "license", "terminal", Code::UserInvalid.into(), now).await;
        }
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "license", "terminal", refusal, now).await,
    };
    let offered = offered(app, ask).await?;
    let turn = Turn::of(asked, "license", ask.user_id, &recipient, now);
    let fresh = Fresh {
        generation: match &offered {
            None => Err(Code::ReleaseUnknown),
            Some(offered) if offered.release.said.withdrawn_at.is_some() => Err(Code::ReleaseWithdrawn),
            Some(offered) => Ok(offered.release.generation),
        },
        license: LicenseId::from_bytes(app.rng.bytes()),
        transaction: TransactionId::from_bytes(app.rng.bytes()),
        ask: ask.clone(),
    };
    let family = turn.family.clone();
    let issued = app.db.write("license", family, async move |tx: &mut Tx| issue(tx, &turn, &fresh).await).await?;
    match (issued, offered) {
        (Err(refusal), _) => Ok(Err(*refusal)),
        (Ok(Issued { license_id, transaction_id }), Some(Offered { title, release, feed })) => {
            let Told { feed, fresh } = feed::tell(app, &ask.title, feed, ask.feed, &mut { feed::ROOM }, now)?;
            let result = LicenseResult { transaction_id, license_id, title, release: release.document, feed, fresh };
            Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
        }
        (Ok(_), None) => Err(Problem::internal("a license was issued without a release")),
    }
}

fn stranger(ask: &AskLicense) -> String {
    asked::stranger(&ask.user_id.to_string())
}

/// What is to be installed.
struct Offered {
    title: TitleOnMedium,
    release: Release,
    /// The newest one: where it lists no such release, the terminal refuses it.
    feed: Option<Feed>,
}

/// The release that was asked for, or the newest on the channel; nothing where there is none.
async fn offered(app: &App, ask: &AskLicense) -> Result<Option<Offered>, Problem> {
    let (id, version, channel) = (ask.title.clone(), ask.release.clone(), ask.channel.clone());
    app.db
        .read("release to install", async move |tx: &mut Tx| -> Result<Option<Offered>, Problem> {
            let Some(title) = title::get(tx, &Scope::All, &id).await? else { return Ok(None) };
            let release = match (&version, &channel) {
                (Some(version), _) => release::get(tx, &id, version).await?,
                (None, None) => release::newest(tx, &id, &Channel::default()).await?,
                (None, Some(channel)) => match channel.parse() {
                    Ok(channel) => release::newest(tx, &id, &channel).await?,
                    Err(_) => None,
                },
            };
            let Some(release) = release else { return Ok(None) };
            let title = licensed::on_medium(tx, title, &release.version).await?;
            let feed = store::feed::get(tx, &id).await?;
            Ok(Some(Offered { title, release, feed }))
        })
        .await
}

/// What a license is made with, drawn before the transaction.
#[derive(Clone)]
struct Fresh {
    ask: AskLicense,
    /// Of the release's content key; or why there is no release.
    generation: Result<u32, Code>,
    license: LicenseId,
    transaction: TransactionId,
}

/// What was answered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Issued {
    license_id: LicenseId,
    transaction_id: TransactionId,
}

async fn issue(tx: &mut Tx, turn: &Turn, fresh: &Fresh) -> Result<Result<Issued, Box<Refusal>>, Problem> {
    match turn.begin(tx).await? {
        Begun::Fresh => {}
        Begun::Repeat(answer) => return Ok(Ok(serde_json::from_slice(&answer).map_err(Problem::internal)?)),
        Begun::Refused(refusal) => return Ok(Err(Box::new(refusal))),
    }
    let Fresh { ask, generation, .. } = fresh;
    let mut at_device = license::at_device(tx, ask.user_id, ask.device_id).await?;
    at_device.retain(|row| row.title == ask.title);
    let facts: Vec<_> = at_device.iter().map(LicenseRow::facts).collect();
    let places: Vec<_> = entitlement::active(tx, ask.user_id, &ask.title).await?.iter().map(Places::from).collect();
    let decided = rules::ask(&facts, &places, ask.again, turn.now);
    let (decision, generation) = match (decided, generation) {
        (Ok(decision), Ok(generation)) => (decision, *generation),
        (Ok(_), Err(code)) => return Ok(Err(Box::new(turn.refuse(tx, (*code).into()).await?))),
        (Err(refusal), _) => return Ok(Err(Box::new(turn.refuse(tx, refusal).await?))),
    };
    let issued = issued(fresh, decision, &at_device);
    let detail = json!({ "license": issued.license_id, "transaction": issued.transaction_id, "title": ask.title, "device": ask.device_id });
    turn.note(tx, event(decision), &detail).await?;
    if !carry_out(tx, turn, fresh, decision, generation, &at_device).await? {
        return Err(tx.conflict("the license").into());
    }
    turn.answer(tx, &issued).await?;
    Ok(Ok(issued))
}

/// What is answered to a decision.
fn issued(fresh: &Fresh, decision: Ask, at_device: &[LicenseRow]) -> Issued {
    let license_id = match decision {
        Ask::Issue(id) | Ask::Same(id) | Ask::Reopen(id) => id,
        Ask::TakePlace(_) => fresh.license,
    };
    let known = at_device.iter().find(|row| row.license == license_id).and_then(|row| row.transaction);
    Issued { license_id, transaction_id: known.unwrap_or(fresh.transaction) }
}

/// False where a row is not as it was seen.
async fn carry_out(
    tx: &mut Tx,
    turn: &Turn,
    fresh: &Fresh,
    decision: Ask,
    generation: u32,
    at_device: &[LicenseRow],
) -> Result<bool, DbError> {
    let Fresh { ask: AskLicense { user_id: user, device_id: device, title, .. }, .. } = fresh;
    let installed = |id| at_device.iter().any(|row| row.license == id && row.state == rules::LicenseState::Settled);
    match decision {
        Ask::Issue(id) => license::issue(tx, *user, id, *device, fresh.transaction, generation).await,
        Ask::Reopen(id) => license::reopen(tx, *user, id, *device, generation).await,
        // What is installed keeps its key; what is not is installed as it was asked for last.
        Ask::Same(id) if installed(id) => Ok(true),
        Ask::Same(id) => license::choose(tx, *user, id, *device, generation).await,
        Ask::TakePlace(entitlement) => Ok(take_place(tx, turn, entitlement, fresh.license, *device, title).await?
            && license::issue(tx, *user, fresh.license, *device, fresh.transaction, generation).await?),
    }
}

/// Registers one more device by an entitlement that has a place left.
async fn take_place(
    tx: &mut Tx,
    turn: &Turn,
    id: counterfoil_core::EntitlementId,
    license: LicenseId,
    device: counterfoil_core::DeviceId,
    title: &TitleId,
) -> Result<bool, DbError> {
    let Some(row) = entitlement::find(tx, turn.user, id).await? else { return Ok(false) };
    if !entitlement::take_place(tx, turn.user, id, row.policy.devices, turn.now).await? {
        return Ok(false);
    }
    license::register(tx, turn.user, license, id, title, device, turn.now).await?;
    Ok(true)
}

fn event(decision: Ask) -> &'static str {
    match decision {
        Ask::Issue(_) | Ask::TakePlace(_) => "license.issued",
        Ask::Same(_) => "license.repeated",
        Ask::Reopen(_) => "license.reopened",
    }
}
