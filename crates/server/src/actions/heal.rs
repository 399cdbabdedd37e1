//! Healing a damaged library: the keys of exactly the damaged chunks, to whom the grant belongs (decision 7).

use counterfoil_core::rules::confirm::{GrantFacts, GrantState};
use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::rules::{heal, rights};
use counterfoil_core::wire::{Heal, HealResult, HolderKind};
use counterfoil_core::{Code, MediumId, Refusal, Rights, Timestamp};
use counterfoil_format::content::{ChunkId, ContentKey};
use counterfoil_format::encoding::from_base64url;
use counterfoil_format::grant::{purpose, seal_box};
use counterfoil_format::secret::Secret;
use serde_json::json;
use zeroize::Zeroizing;

use super::asked::{self, Asked, Decided};
use super::seal;
use crate::app::App;
use crate::db::{DbError, Tx};
use crate::keys::Place;
use crate::problem::Problem;
use crate::store::grant::{self, GrantRow};
use crate::store::medium::{self, PressedTitle};
use crate::store::user::{self, EntryRow, Presented};
use crate::store::{audit, holder};

struct Facts {
    presented: Option<Presented>,
    dead: bool,
    grant: Option<GrantRow>,
    /// What the medium allows.
    rights: Option<Rights>,
    titles: Vec<PressedTitle>,
}

/// Decides and answers with the keys. It changes nothing, so a repeat gets the same keys; each time is recorded in the audit log.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Heal, medium: &MediumId, now: Timestamp) -> Result<Decided, Problem> {
    let facts = load(app, ask, medium).await?;
    let (entry, chunks) = match admit(asked, ask, &facts) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            let known = facts.grant.is_some();
            let family = if known { medium::family(medium) } else { asked::stranger(&ask.user_id.to_string()) };
            return asked::refuse(app, family, "heal", "terminal", refusal, now).await;
        }
    };
    let title = facts.grant.as_ref().and_then(|grant| seal::title_of(&facts.titles, &grant.title));
    let title = title.ok_or_else(|| Problem::internal("a grant for a title that is not on its medium"))?;
    let place = Place::ContentKey { title: title.title.as_str(), generation: title.generation };
    let content: Secret<32> = app.keys.open(&app.db, &place, &title.content_key).await?;
    let keys = Zeroizing::new(ContentKey::new(content).keys_of(&chunks).iter().flat_map(|key| *key.expose()).collect::<Vec<u8>>());
    let sealed =
        seal_box(&entry.keys.seal, &[purpose::HEAL, &ask.grant_id.to_string()], &keys, &mut app.rng.clone()).map_err(Problem::internal)?;
    let result = HealResult { keys: serde_json::to_value(&sealed).map_err(Problem::internal)? };

    // Durable before any key leaves.
    if !record(app, ask.clone(), medium.clone(), now).await? {
        return asked::refuse(app, medium::family(medium), "heal", "terminal", Code::GrantUnknown.into(), now).await;
    }
    Ok(Ok(serde_json::to_value(result).map_err(Problem::internal)?))
}

/// False where the grant was taken back since it was looked at (C14).
async fn record(app: &App, ask: Heal, medium_id: MediumId, now: Timestamp) -> Result<bool, DbError> {
    let (family, actor) = (medium::family(&medium_id), user::family(ask.user_id));
    let detail = json!({ "grant": ask.grant_id, "chunks": ask.chunks.len() });
    app.db
        .write("heal", family.clone(), async move |tx: &mut Tx| -> Result<bool, DbError> {
            audit::hold(tx, &family).await?;
            let grants = grant::of_user(tx, &medium_id, &ask.user_id.to_string()).await?;
            if !grants.iter().any(|row| row.grant == ask.grant_id && row.state != GrantState::Revoked) {
                return Ok(false);
            }
            audit::append(tx, &family, now.0, &actor, "library.healed", &detail).await?;
            Ok(true)
        })
        .await
}

async fn load(app: &App, ask: &Heal, medium_id: &MediumId) -> Result<Facts, DbError> {
    let (ask, medium_id) = (ask.clone(), medium_id.clone());
    app.db
        .read("heal facts", async move |tx: &mut Tx| -> Result<Facts, DbError> {
            let presented = user::presented(tx, ask.user_id, ask.device_id, None).await?;
            let dead = match &presented {
                Some(presented) => holder::facts(tx, presented.entry.holder).await? == HolderFacts::Dead,
                None => false,
            };
            let grants = grant::of_user(tx, &medium_id, &ask.user_id.to_string()).await?;
            let known = medium::known(tx, &medium_id).await?;
            let titles = match &known {
                Some(known) => medium::titles(tx, known.batch).await?,
                None => vec![],
            };
            let grant = grants.into_iter().find(|row| row.grant == ask.grant_id);
            Ok(Facts { presented, dead, grant, rights: known.map(|known| known.rights), titles })
        })
        .await
}

fn admit<'a>(asked: &Asked, ask: &Heal, facts: &'a Facts) -> Result<(&'a EntryRow, Vec<ChunkId>), Refusal> {
    let Presented { entry, device, .. } = facts.presented.as_ref().filter(|_| !facts.dead).ok_or(Code::UserInvalid)?;
    // A device that is no longer in the entry holds nothing, whatever it held before.
    if device.is_none() && (ask.device_id.is_some() || entry.holder_kind == HolderKind::Device) {
        return Err(Code::DeviceNotRegistered.into());
    }
    if !asked.signed_by(&entry.keys.sign) {
        return Err(Code::ProofInvalid.into());
    }
    if device.as_ref().is_some_and(|row| !asked.signed(&row.device.to_string(), &row.keys.sign)) {
        return Err(Code::DeviceNotRegistered.into());
    }
    let grant = facts.grant.as_ref().map(|row| GrantFacts { grant: row.grant, user: row.user, device: row.device, state: row.state });
    heal::decide(ask.grant_id, ask.user_id, ask.device_id, ask.chunks.len(), grant.as_ref())?;
    facts.rights.as_ref().map_or(Ok(()), rights::library)?;
    let chunk = |text: &String| from_base64url(text).and_then(|bytes| bytes.try_into().ok()).map(ChunkId);
    let chunks: Option<Vec<ChunkId>> = ask.chunks.iter().map(chunk).collect();
    Ok((entry, chunks.ok_or_else(|| Refusal::with(Code::GrantUnknown, "a chunk ID is 32 bytes in base64url"))?))
}
