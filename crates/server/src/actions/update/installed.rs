//! The keys to another release of what was installed by a license, in the user's family.

use counterfoil_core::Code;

use super::*;
use crate::actions::asked;
use crate::actions::by_device::{Begun, Turn};
use crate::actions::signed::{self, Besides};
use crate::store::license;

pub(super) async fn run(app: &App, asked: &Asked, ask: &AskUpdate, device: DeviceId, now: Timestamp) -> Result<Decided, Problem> {
    let recipient = match signed::admit(app, asked, ask.user_id, device, Besides::Nothing).await? {
        Ok(recipient) if recipient.dead => {
            return asked::refuse(app, stranger(ask), "update", "terminal", Code::UserInvalid.into(), now).await;
        }
        Ok(recipient) => recipient,
        Err((refusal, family)) => return asked::refuse(app, family, "update", "terminal", refusal, now).await,
    };
    let sealed = match load(app, ask, device).await? {
        Some((row, Some(wanted))) => {
            let Some(grant) = &row.grant else { return Err(Problem::internal("a license was found by a grant that it has not")) };
            let to = seal::Recipient::of(app, ask.user_id, &recipient, grant.drive).await?;
            let place = Place::LicenseKey { user: &ask.user_id.to_string(), grant: &grant.grant.to_string() };
            Some(wanted.seal(app, &to, grant.grant, (place, &grant.library_key), grant.issued_at).await?)
        }
        _ => None,
    };
    let (turn, told) = (Turn::of(asked, "update", ask.user_id, &recipient, now), ask.clone());
    let family = turn.family.clone();
    let refused =
        app.db.write("update keys of a license", family, async move |tx: &mut Tx| carry_out(tx, &turn, &told, device).await).await?;
    match (refused, sealed) {
        (Some(refusal), _) => Ok(Err(*refusal)),
        (None, Some(sealed)) => Ok(Ok(sealed)),
        // It was published, or brought back here, between the look and the transaction.
        (None, None) => Err(crate::problem::ApiCode::Unavailable.into()),
    }
}

/// The license that was fetched as this grant, with what its keys are made of.
async fn load(app: &App, ask: &AskUpdate, device: DeviceId) -> Result<Option<(LicenseRow, Option<Wanted>)>, Problem> {
    let ask = ask.clone();
    app.db
        .read("update license facts", async move |tx: &mut Tx| -> Result<_, Problem> {
            let rows = license::at_device(tx, ask.user_id, device).await?;
            let Some(row) = rows.into_iter().find(|row| is_of(row, ask.grant_id)) else { return Ok(None) };
            let wanted = Wanted::load(tx, &row.title, &ask.release).await?;
            Ok(Some((row, wanted)))
        })
        .await
}

fn is_of(row: &LicenseRow, grant: GrantId) -> bool {
    row.grant.as_ref().is_some_and(|of| of.grant == grant)
}

/// The transaction. Answers with why not, if not.
async fn carry_out(tx: &mut Tx, turn: &Turn, ask: &AskUpdate, device: DeviceId) -> Result<Option<Box<Refusal>>, Problem> {
    let repeated = match turn.begin(tx).await? {
        Begun::Fresh => false,
        Begun::Repeat(_) => true,
        Begun::Refused(refusal) => return Ok(Some(Box::new(refusal))),
    };
    let rows = license::at_device(tx, turn.user, device).await?;
    let row = rows.iter().find(|row| is_of(row, ask.grant_id));
    // One that is not here any more has ended here.
    let mut decided = license_rules::renew(row.map(LicenseRow::facts).as_ref(), device, turn.now).map(drop);
    if let (Ok(()), Some(row)) = (&decided, row) {
        let state = if row.state == LicenseState::Settled { GrantState::Settled } else { GrantState::Delivered };
        let facts = UpdateFacts {
            grant: Some(GrantFacts { grant: ask.grant_id, user: turn.user, device: Some(row.device), state }),
            drive: row.grant.as_ref().and_then(|grant| grant.drive),
            // What is bought is brought up to date as long as it lasts.
            may_update: true,
            release: withdrawn(tx, &row.title, &ask.release).await?,
        };
        decided = rules::decide(ask, &facts);
    }
    match (decided, row) {
        (Ok(()), Some(row)) => {
            turn.note(tx, event(repeated), &detail(ask, &row.title)).await?;
            if !repeated {
                turn.answer(tx, &json!(null)).await?;
            }
            Ok(None)
        }
        (Err(refusal), _) => Ok(Some(Box::new(turn.refuse(tx, refusal).await?))),
        (Ok(()), None) => Err(Problem::internal("an update was allowed without a license")),
    }
}
