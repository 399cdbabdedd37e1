//! The keys to another release of what was copied from a medium, in the medium's family.

use counterfoil_core::rules::register::HolderFacts;
use counterfoil_core::wire::HolderKind;
use counterfoil_core::{Code, MediumId};

use super::*;
use crate::actions::asked;
use crate::store::medium;
use crate::store::request::{self, Once, Recorded};
use crate::store::user::{self, Presented};
use crate::store::{audit, grant, holder};

pub(super) async fn run(app: &App, asked: &Asked, ask: &AskUpdate, medium: &MediumId, now: Timestamp) -> Result<Decided, Problem> {
    let Facts { presented, dead, found } = load(app, ask, medium).await?;
    let presented = match admit(asked, ask, presented, dead) {
        Ok(presented) => presented,
        Err(code) => return asked::refuse(app, stranger(ask), "update", "terminal", code.into(), now).await,
    };
    let actor = user::family(ask.user_id);
    // A medium on which this user has no such grant keeps no record of them.
    let Some((row, wanted)) = found else {
        return asked::refuse(app, asked::stranger(medium.as_str()), "update", &actor, Code::GrantUnknown.into(), now).await;
    };
    let family = medium::family(medium);
    let sealed = match wanted {
        Some(wanted) => {
            let to = recipient(app, ask, &presented, &row).await?;
            let place = Place::LibraryKey { medium: medium.as_str(), grant: &row.grant.to_string() };
            Some(wanted.seal(app, &to, row.grant, (place, &row.library_key), row.issued_at).await?)
        }
        None => None,
    };
    let write =
        Write { actor, ask: ask.clone(), medium: medium.clone(), request_id: asked.request_id.to_string(), digest: asked.digest, now };
    let refused = app.db.write("update keys of a copy", family, async move |tx: &mut Tx| write.carry_out(tx).await).await?;
    match (refused, sealed) {
        (Some(refusal), _) => Ok(Err(*refusal)),
        (None, Some(sealed)) => Ok(Ok(sealed)),
        // It was published between the look and the transaction.
        (None, None) => Err(crate::problem::ApiCode::Unavailable.into()),
    }
}

/// What is looked at before the transaction: who asks, and what the keys are made of.
struct Facts {
    presented: Option<Presented>,
    dead: bool,
    found: Option<(GrantRow, Option<Wanted>)>,
}

async fn load(app: &App, ask: &AskUpdate, medium: &MediumId) -> Result<Facts, Problem> {
    let (ask, medium) = (ask.clone(), medium.clone());
    app.db
        .read("update facts", async move |tx: &mut Tx| -> Result<Facts, Problem> {
            let presented = user::presented(tx, ask.user_id, ask.device_id, None).await?;
            let dead = match &presented {
                Some(presented) => holder::facts(tx, presented.entry.holder).await? == HolderFacts::Dead,
                None => false,
            };
            let grants = grant::of_user(tx, &medium, &ask.user_id.to_string()).await?;
            let found = match grants.into_iter().find(|row| row.grant == ask.grant_id) {
                Some(row) => {
                    let wanted = Wanted::load(tx, &row.title, &ask.release).await?;
                    Some((row, wanted))
                }
                None => None,
            };
            Ok(Facts { presented, dead, found })
        })
        .await
}

/// As for `confirm`: the device proves it; an entry without one, its holder.
fn admit(asked: &Asked, ask: &AskUpdate, presented: Option<Presented>, dead: bool) -> Result<Presented, Code> {
    let presented = presented.filter(|_| !dead).ok_or(Code::UserInvalid)?;
    let proven = match (&presented.device, ask.device_id) {
        (Some(row), _) => asked.signed(&row.device.to_string(), &row.keys.sign),
        // A device that is no longer in the entry holds nothing, whatever it held before.
        (None, Some(_)) => return Err(Code::DeviceNotRegistered),
        (None, None) => presented.entry.holder_kind != HolderKind::Device && asked.signed_by(&presented.entry.keys.sign),
    };
    if proven { Ok(presented) } else { Err(Code::ProofInvalid) }
}

/// Whom the grant was sealed to, bound to what it was bound to.
async fn recipient(app: &App, ask: &AskUpdate, presented: &Presented, row: &GrantRow) -> Result<seal::Recipient, Problem> {
    let device = match (row.device, &presented.device) {
        (Some(id), Some(registered)) if registered.device == id => {
            let place = Place::DeviceSecret { user: &ask.user_id.to_string(), device: &id.to_string() };
            Some((id, app.keys.open(&app.db, &place, &registered.secret).await?))
        }
        _ => None,
    };
    let entry = &presented.entry;
    Ok(seal::Recipient { holder: entry.holder, kind: entry.holder_kind, seal: entry.keys.seal, device, drive: row.drive })
}

/// The transaction.
struct Write {
    actor: String,
    ask: AskUpdate,
    medium: MediumId,
    request_id: String,
    digest: [u8; 32],
    now: Timestamp,
}

impl Write {
    /// Answers with why not, if not.
    async fn carry_out(&self, tx: &mut Tx) -> Result<Option<Box<Refusal>>, Problem> {
        let Self { actor, ask, medium, request_id, digest, now } = self;
        let family = medium::family(medium);
        // The grant may be taken back at this moment (C14): then it is either before this, or after.
        audit::hold(tx, &family).await?;
        let once = request::once(tx, &family, request_id, digest, now.0).await?;
        let grants = grant::of_user(tx, medium, &ask.user_id.to_string()).await?;
        let row = grants.into_iter().find(|row| row.grant == ask.grant_id);
        let decided = match (&once, &row) {
            (Once::Mismatch, _) => Err(Code::RequestMismatch.into()),
            (_, Some(row)) => {
                let facts = UpdateFacts {
                    grant: Some(GrantFacts { grant: row.grant, user: row.user, device: row.device, state: row.state }),
                    drive: row.drive,
                    may_update: medium::known(tx, medium).await?.is_some_and(|known| known.rights.update && known.rights.play),
                    release: withdrawn(tx, &row.title, &ask.release).await?,
                };
                rules::decide(ask, &facts)
            }
            (_, None) => Err(Code::GrantUnknown.into()),
        };
        if let Err(refusal) = decided {
            asked::audit_refusal(tx, &family, "update", actor, refusal.code, *now).await?;
            return Ok(Some(Box::new(refusal)));
        }
        let Some(row) = row else { return Err(Problem::internal("an update was allowed without a grant")) };
        audit::append(tx, &family, now.0, actor, event(once != Once::Fresh), &detail(ask, &row.title)).await?;
        if once == Once::Fresh {
            let recorded = Recorded { status: 200, answer: vec![] };
            request::record(tx, &family, request_id, digest, &recorded, now.0, asked::expires(*now)).await?;
        }
        Ok(None)
    }
}
