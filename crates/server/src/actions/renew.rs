//! A license made good for longer (D10): while it is still at the device that fetched it, and what it promises is written down first.

use counterfoil_core::rules::license as rules;
use counterfoil_core::wire::{Renew, RenewResult};
use counterfoil_core::{Code, GrantId, Refusal, Timestamp};
use serde_json::json;

use super::asked::{self, Asked, Decided};
use super::by_device::{Begun, Turn};
use super::licensed;
use super::signed::{self, Besides};
use crate::app::App;
use crate::db::Tx;
use crate::problem::Problem;
use crate::store::license::{self, LicenseRow};

/// Decides the request and carries it out. A repeat renews again, which promises nothing more than its answer says.
///
/// # Errors
/// Failures of the server; a refusal is no error.
pub async fn run(app: &App, asked: &Asked, ask: &Renew, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, ask.device_id, Besides::Nothing).await? {
        Ok(recipient) if recipient.dead => {
            let family = asked::stranger(&ask.user_id.to_string());
            return asked::refuse(app, family, "renew", "terminal", Code::UserInvalid.into(), now).await;
        }
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "renew", "terminal", refusal, now).await,
    };
    let (turn, ask) = (Turn::of(asked, "renew", ask.user_id, &recipient, now), ask.clone());
    let family = turn.family.clone();
    let renewed = app.db.write("renew", family, async move |tx: &mut Tx| promise(tx, &turn, &ask).await).await?;
    let (row, grant) = match renewed {
        Ok(renewed) => *renewed,
        Err(refusal) => return Ok(Err(*refusal)),
    };
    let title = row.title.clone();
    let newest = app.db.read("newest release", async move |tx: &mut Tx| licensed::newest(tx, &title).await).await?;
    let newest = newest.ok_or_else(|| Problem::internal("a license for a title without a release"))?;
    let license = licensed::sign(app, &row, grant, &newest, &rules::lease(&row.policy, row.expires_at, now), now)?;
    Ok(Ok(serde_json::to_value(RenewResult { license }).map_err(Problem::internal)?))
}

type Renewed = Result<Box<(LicenseRow, GrantId)>, Box<Refusal>>;

/// Writes down until when the device may run it.
async fn promise(tx: &mut Tx, turn: &Turn, ask: &Renew) -> Result<Renewed, Problem> {
    let first = match turn.begin(tx).await? {
        Begun::Fresh => true,
        Begun::Repeat(_) => false,
        Begun::Refused(refusal) => return Ok(Err(Box::new(refusal))),
    };
    let row = license::find(tx, ask.user_id, ask.license_id).await?;
    let decided = rules::renew(row.as_ref().map(LicenseRow::facts).as_ref(), ask.device_id, turn.now);
    let (row, grant) = match (row, decided) {
        (Some(row), Ok(grant)) => (row, grant),
        (_, Err(refusal)) => return Ok(Err(Box::new(turn.refuse(tx, refusal).await?))),
        (None, Ok(_)) => return Err(Problem::internal("a license that is not there was renewed")),
    };
    let runs_until = rules::lease(&row.policy, row.expires_at, turn.now).runs_until();
    turn.note(tx, "license.renewed", &json!({ "license": row.license, "device": ask.device_id, "until": runs_until })).await?;
    if !license::renew(tx, ask.user_id, row.license, ask.device_id, grant, runs_until).await? {
        return Err(tx.conflict("the license").into());
    }
    if first {
        turn.answer(tx, &json!(null)).await?;
    }
    Ok(Ok(Box::new((row, grant))))
}
