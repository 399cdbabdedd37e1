//! Who or what is this, and what may it do? (A1, A3, A7, A11): a medium, a user, a device, each with its proof.

use counterfoil_core::rules::confirm::GrantState;
use counterfoil_core::wire::{DeviceVerdict, HolderKind, Inspect, InspectResult, MediumVerdict, TitleOnOffer, UserVerdict};
use counterfoil_core::{BatchId, Channel, Code, DeviceId, MediumId, Money, Refusal, Timestamp, UserId};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::claim;
use super::proof::{self, By};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::problem::Problem;
use crate::store::medium::{self, Known};
use crate::store::user::{self, DeviceRow};
use crate::store::{audit, grant, release};

const BY: By<'static> = By { operation: "inspect", actor: "terminal" };

/// Answers with a verdict on each thing that was presented, or refuses all of it.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Inspect, now: Timestamp) -> Result<Decided, Problem> {
    let mut result = InspectResult { medium: None, user: None, device: None };
    // Before all else: whatever is refused of a medium that proved itself is told of in its own record.
    let medium = match &ask.medium_id {
        Some(id) => match of_medium(app, asked, id, ask.user_id, now).await? {
            Ok((known, verdict)) => {
                result.medium = Some(verdict);
                Some((id, known))
            }
            Err(refusal) => return Ok(Err(refusal)),
        },
        None => None,
    };
    match (present(app, asked, ask, &mut result).await?, medium) {
        (Ok(()), Some((id, known))) => finish(app, ask, id, &known, result, now).await,
        // What only concerns users and devices changes nothing and leaves no trace.
        (Ok(()), None) => answer(&result),
        (Err(refusal), Some((id, known))) => proof::refuse_proven(app, BY, id, &known, refusal, now).await,
        (Err(refusal), None) => {
            asked::refuse(app, asked::stranger(&asked.request_id.to_string()), BY.operation, BY.actor, refusal, now).await
        }
    }
}

fn answer(result: &InspectResult) -> Result<Decided, Problem> {
    Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
}

/// Verifies and looks up users and devices, without writing.
async fn present(app: &App, asked: &Asked, ask: &Inspect, result: &mut InspectResult) -> Result<Result<(), Refusal>, Problem> {
    if ask.medium_id.is_none() && ask.user_id.is_none() && ask.device_id.is_none() {
        return Ok(Err(Refusal::with(Code::ProofInvalid, "nothing was presented")));
    }
    if let Some(id) = ask.user_id {
        match of_user(app, asked, id, ask.device_id).await? {
            Ok((user, device)) => (result.user, result.device) = (Some(user), device),
            Err(refusal) => return Ok(Err(refusal)),
        }
    } else if let Some(id) = ask.device_id {
        match of_device(app, asked, id).await? {
            Some(device) => result.device = Some(device),
            None => return Ok(Err(Code::DeviceNotRegistered.into())),
        }
    }
    Ok(Ok(()))
}

/// Records a successful contact of a medium.
async fn finish(app: &App, ask: &Inspect, id: &MediumId, known: &Known, result: InspectResult, now: Timestamp) -> Result<Decided, Problem> {
    let actor = ask.user_id.map_or_else(|| BY.actor.to_owned(), user::family);
    let (id, known, family) = (id.clone(), known.clone(), medium::family(id));
    app.db
        .write("inspect", family.clone(), async move |tx: &mut Tx| -> Result<(), DbError> {
            medium::touch(tx, &id, &known, now).await?;
            audit::append(tx, &family, now.0, &actor, "medium.inspected", &json!({})).await.map(drop)
        })
        .await?;
    answer(&result)
}

type OfMedium = Result<(Known, MediumVerdict), Refusal>;

async fn of_medium(app: &App, asked: &Asked, id: &MediumId, user: Option<UserId>, now: Timestamp) -> Result<OfMedium, Problem> {
    let medium = id.clone();
    let found = app
        .db
        .read("inspect medium", async move |tx: &mut Tx| -> Result<_, DbError> {
            let Some(known) = medium::known(tx, &medium).await? else { return Ok(None) };
            let (copies_left, yours) = standing(tx, &medium, &known, user).await?;
            Ok(Some((known, copies_left, yours)))
        })
        .await?;
    let (known, copies_left, yours) = found.map_or((None, 0, false), |(known, copies_left, yours)| (Some(known), copies_left, yours));
    let known = match proof::admit(app, asked, BY, id, known, now).await? {
        Ok(known) => known,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let batch = known.batch;
    let prices = match known.paid_on_copy {
        true => app.db.read_lagging("prices of a copy", async move |tx: &mut Tx| prices(tx, batch).await).await?,
        false => vec![],
    };
    let titles = app.db.find_lagging("titles on offer", async move |tx: &mut Tx| titles_on_offer(tx, batch).await).await?;
    let verdict = MediumVerdict {
        titles: titles.unwrap_or_default(),
        rights: known.rights.clone(),
        copies_left,
        yours,
        paid_on_copy: known.paid_on_copy,
        prices,
    };
    Ok(Ok((known, verdict)))
}

/// What a copy of a medium costs at the authority itself (C18).
async fn prices(tx: &mut Tx, batch: BatchId) -> Result<Vec<Money>, DbError> {
    let titles = medium::titles(tx, batch).await?;
    Ok(claim::priced(tx, &titles).await?.map(|sold| sold.prices).unwrap_or_default())
}

/// What lies on the media of a batch, and which release of each is the newest: that may be learnt some moments late.
async fn titles_on_offer(tx: &mut Tx, batch: BatchId) -> Result<Option<Vec<TitleOnOffer>>, DbError> {
    let mut titles = vec![];
    for title in medium::titles(tx, batch).await? {
        let newest = release::newest(tx, &title.title, &Channel::default()).await?.map(|release| release.version);
        titles.push(TitleOnOffer { title: title.title, name: title.name, kind: title.kind, newest });
    }
    // A replica that knows no titles of a batch has not heard of the batch.
    Ok((!titles.is_empty()).then_some(titles))
}

/// How many copies are left, and whether one of them is this user's.
async fn standing(tx: &mut Tx, id: &MediumId, known: &Known, user: Option<UserId>) -> Result<(u32, bool), DbError> {
    let row = medium::find(tx, id).await?;
    let claimed = row.as_ref().map_or(0, |row| row.copies_gone());
    let copies_left = if known.retired { 0 } else { known.rights.copies.saturating_sub(claimed) };
    let yours = match user {
        Some(user) => grant::of_user(tx, id, &user.to_string()).await?.iter().any(|row| row.state != GrantState::Revoked),
        None => false,
    };
    Ok((copies_left, yours))
}

pub(super) async fn of_user(
    app: &App,
    asked: &Asked,
    id: UserId,
    device: Option<DeviceId>,
) -> Result<Result<(UserVerdict, Option<DeviceVerdict>), Refusal>, Problem> {
    let (entry, devices, titles) = app
        .db
        .read("inspect user", async move |tx: &mut Tx| -> Result<_, DbError> {
            Ok((user::find(tx, id).await?, user::devices(tx, id).await?, user::owned(tx, id).await?))
        })
        .await?;
    // Where there is no card, every device of the entry holds its own keys, and one that was taken out of it none.
    let proven = entry.is_some_and(|entry| match entry.holder_kind {
        HolderKind::Device => devices.iter().any(|row| asked.signed(&row.device.to_string(), &row.keys.sign)),
        HolderKind::Card | HolderKind::Drive => asked.signed_by(&entry.keys.sign),
    });
    if !proven {
        return Ok(Err(Code::UserInvalid.into()));
    }
    let device = match device {
        None => None,
        Some(device) => {
            let known = devices.iter().find(|row| row.device == device && asked.signed(&device.to_string(), &row.keys.sign));
            let Some(known) = known else { return Ok(Err(Code::DeviceNotRegistered.into())) };
            Some(known.clone().into())
        }
    };
    Ok(Ok((UserVerdict { devices: devices.into_iter().map(DeviceVerdict::from).collect(), titles }, device)))
}

pub(super) async fn of_device(app: &App, asked: &Asked, id: DeviceId) -> Result<Option<DeviceVerdict>, Problem> {
    let rows = app.db.read("inspect device", async move |tx| user::entries_of_device(tx, id).await).await?;
    Ok(rows.into_iter().find(|row| asked.signed(&id.to_string(), &row.keys.sign)).map(DeviceVerdict::from))
}

impl From<DeviceRow> for DeviceVerdict {
    fn from(row: DeviceRow) -> Self {
        DeviceVerdict { id: row.device, name: row.name, registered_at: row.created_at }
    }
}
