//! The end of an installation (D6), and healing what was installed: as for a copy, without a medium.

use counterfoil_core::rules::confirm::{GrantFacts, GrantState};
use counterfoil_core::rules::license::{self as rules, LicenseState};
use counterfoil_core::rules::{confirm, heal};
use counterfoil_core::wire::{Confirm, ConfirmResult, Heal, HealResult};
use counterfoil_core::{Code, DeviceId, Refusal, Timestamp, UserId};
use counterfoil_format::content::{ChunkId, ContentKey};
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::grant::{purpose, seal_box};
use counterfoil_format::secret::Secret;
use serde_json::json;
use zeroize::Zeroizing;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::license::{self, LicenseRow};
use crate::store::user::Recipient;
use crate::store::{audit, content_key, inbox};

/// Settles the licenses whose grants are named: from then on nobody fetches them again. A repeat changes nothing and gets the same answer.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn confirm(app: &App, asked: &Asked, ask: &Confirm, now: Timestamp) -> Result<Decided, Problem> {
    let (recipient, device) = match admit(app, asked, ask.user_id, ask.device_id).await? {
        Ok(admitted) => admitted,
        Err((refusal, family)) => return asked::refuse(app, family, "confirm", "terminal", refusal, now).await,
    };
    let (turn, told) = (Turn::of(asked, "confirm", ask.user_id, &recipient, now), ask.clone());
    let family = turn.family.clone();
    let settled = app.db.write("confirm license", family, async move |tx: &mut Tx| settle(tx, &turn, &told, device).await).await?;
    match settled {
        Some(refusal) => Ok(Err(refusal)),
        None => Ok(Ok(serde_json::to_value(ConfirmResult { settled: ask.grant_ids.clone() }).map_err(Problem::internal)?)),
    }
}

/// Answers with why not, if not.
async fn settle(tx: &mut Tx, turn: &Turn, ask: &Confirm, device: DeviceId) -> Result<Option<Refusal>, DbError> {
    match turn.begin(tx).await? {
        Begun::Fresh => {}
        Begun::Repeat(_) => return Ok(None),
        Begun::Refused(refusal) => return Ok(Some(refusal)),
    }
    let rows = license::at_device(tx, turn.user, device).await?;
    let facts: Vec<GrantFacts> = rows.iter().filter_map(|row| grant_facts(turn.user, row)).collect();
    let to_settle = match confirm::decide(&ask.grant_ids, turn.user, Some(device), &facts) {
        Ok(to_settle) => to_settle,
        Err(refusal) => return turn.refuse(tx, refusal).await.map(Some),
    };
    if !to_settle.is_empty() {
        turn.note(tx, "license.confirmed", &json!({ "grants": to_settle, "device": device })).await?;
    }
    for grant in &to_settle {
        let Some(row) = rows.iter().find(|row| row.grant.as_ref().is_some_and(|of| of.grant == *grant)) else { continue };
        license::settle(tx, turn.user, row.license, *grant, turn.now).await?;
        // Whoever installed it, nobody needs to do it again.
        inbox::withdraw(tx, turn.user, device, row.license, turn.now).await?;
    }
    turn.answer(tx, &json!(null)).await?;
    Ok(None)
}

/// A license that was fetched is a grant to one device.
fn grant_facts(user: UserId, row: &LicenseRow) -> Option<GrantFacts> {
    let state = match row.state {
        LicenseState::Delivered => GrantState::Delivered,
        LicenseState::Settled => GrantState::Settled,
        LicenseState::Registered | LicenseState::Issued | LicenseState::Ended => return None,
    };
    Some(GrantFacts { grant: row.grant.as_ref()?.grant, user, device: Some(row.device), state })
}

/// Decides and answers with the keys of damaged chunks. It changes nothing, so a repeat gets the same keys; each time is recorded in the
/// audit log.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn heal(app: &App, asked: &Asked, ask: &Heal, now: Timestamp) -> Result<Decided, Problem> {
    let (recipient, device) = match admit(app, asked, ask.user_id, ask.device_id).await? {
        Ok(admitted) => admitted,
        Err((refusal, family)) => return asked::refuse(app, family, "heal", "terminal", refusal, now).await,
    };
    let turn = Turn::of(asked, "heal", ask.user_id, &recipient, now);
    let (row, wrapped) = match facts(app, ask, device).await? {
        Some(found) => found,
        None => return asked::refuse(app, turn.family, "heal", &turn.actor, Code::GrantUnknown.into(), now).await,
    };
    let chunks = match admit_chunks(asked, ask, &recipient, &row, now) {
        Ok(chunks) => chunks,
        Err(refusal) => return asked::refuse(app, turn.family, "heal", &turn.actor, refusal, now).await,
    };
    let generation = row.generation.ok_or_else(|| Problem::internal("a license was fetched without a content key"))?;
    let place = Place::ContentKey { title: row.title.as_str(), generation };
    let content: Secret<32> = app.keys.open(&app.db, &place, &wrapped).await?;
    let keys = Zeroizing::new(ContentKey::new(content).keys_of(&chunks).iter().flat_map(|key| *key.expose()).collect::<Vec<u8>>());
    let sealed = seal_box(&recipient.holder.keys.seal, &[purpose::HEAL, &ask.grant_id.to_string()], &keys, &mut app.rng.clone())
        .map_err(Problem::internal)?;
    let result = HealResult { keys: serde_json::to_value(&sealed).map_err(Problem::internal)? };

    // Durable before any key leaves.
    let (family, told) = (turn.family.clone(), ask.clone());
    match app.db.write("heal", family, async move |tx: &mut Tx| record(tx, &turn, &told, device).await).await? {
        Some(refusal) => Ok(Err(refusal)),
        None => Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?)),
    }
}

/// Records it, unless the license was ended or moved since it was looked at: why not, then.
async fn record(tx: &mut Tx, turn: &Turn, ask: &Heal, device: DeviceId) -> Result<Option<Refusal>, DbError> {
    audit::hold(tx, &turn.family).await?;
    let rows = license::at_device(tx, turn.user, device).await?;
    let row = rows.iter().find(|row| row.grant.as_ref().is_some_and(|of| of.grant == ask.grant_id));
    if let Err(refusal) = rules::renew(row.map(LicenseRow::facts).as_ref(), device, turn.now) {
        return turn.refuse(tx, refusal).await.map(Some);
    }
    turn.note(tx, "library.healed", &json!({ "grant": ask.grant_id, "chunks": ask.chunks.len(), "device": device })).await?;
    Ok(None)
}

/// The license that was fetched as this grant, with the content key that it opens.
async fn facts(app: &App, ask: &Heal, device: DeviceId) -> Result<Option<(LicenseRow, Vec<u8>)>, Problem> {
    let (user, grant) = (ask.user_id, ask.grant_id);
    app.db
        .read("heal license facts", async move |tx: &mut Tx| -> Result<_, Problem> {
            let rows = license::at_device(tx, user, device).await?;
            let Some(row) = rows.into_iter().find(|row| row.grant.as_ref().is_some_and(|of| of.grant == grant)) else { return Ok(None) };
            let generation = row.generation.unwrap_or_default();
            let wrapped = content_key::get(tx, &row.title, generation).await?;
            Ok(wrapped.map(|wrapped| (row, wrapped)))
        })
        .await
}

fn admit_chunks(asked: &Asked, ask: &Heal, recipient: &Recipient, row: &LicenseRow, now: Timestamp) -> Result<Vec<ChunkId>, Refusal> {
    if !asked.signed_by(&recipient.holder.keys.sign) {
        return Err(Code::ProofInvalid.into());
    }
    rules::renew(Some(&row.facts()), recipient.device.device, now)?;
    let grant = grant_facts(ask.user_id, row);
    heal::decide(ask.grant_id, ask.user_id, ask.device_id, ask.chunks.len(), grant.as_ref())?;
    let chunk = |text: &String| from_base64url(text).and_then(|bytes| bytes.try_into().ok()).map(ChunkId);
    let chunks: Option<Vec<ChunkId>> = ask.chunks.iter().map(chunk).collect();
    chunks.ok_or_else(|| Refusal::with(Code::GrantUnknown, "a chunk ID is 32 bytes in base64url"))
}

/// Who asks, with the device that was named; a license is always at one. A refusal comes with the family that it is recorded in.
async fn admit(
    app: &App,
    asked: &Asked,
    user: UserId,
    device: Option<DeviceId>,
) -> Result<Result<(Recipient, DeviceId), (Refusal, String)>, Problem> {
    let stranger = || asked::stranger(&user.to_string());
    let Some(device) = device else { return Ok(Err((Code::GrantUnknown.into(), stranger()))) };
    Ok(match signed::admit(app, asked, user, device, Besides::Nothing).await? {
        Ok(recipient) if recipient.dead => Err((Code::UserInvalid.into(), stranger())),
        Ok(recipient) => Ok((recipient, device)),
        Err(refused) => Err(refused),
    })
}
