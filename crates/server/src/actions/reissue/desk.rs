//! The same at the repair centre's desk: what somebody there decides, once.

use counterfoil_core::wire::HolderKeys;
use counterfoil_core::{ReissueId, UserId};

use super::{Wanted, begin, decline, readable};
use crate::actions::checks::{check_name, check_text};
use crate::api::reissues::{NewCard, ReissueDocument, ReplacedCard};
use crate::app::App;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::user;

/// Replaces a card.
///
/// # Errors
/// `unprocessable`, `not_found`, `conflict`, and why the card may not be the new one.
pub async fn replace_by(app: &App, actor: &str, once: &Once, user: UserId, new: NewCard) -> Result<Reply, Problem> {
    let now = app.clock.now();
    let replacing = begin(app, wanted(app, actor, user, new)?, now).await?;
    let family = replacing.family();
    let reply = once
        .write(app, "reissue_card", family, async move |tx: &mut Tx| Ok(Reply::ok(&ReplacedCard::new(user, &replacing.write(tx).await?))))
        .await?;
    // Other families are told right away, and whoever asked need not wait for it: the entry alone says which card is alive.
    app.outbox.notify_one();
    Ok(reply)
}

/// Reads what is asked for.
///
/// # Errors
/// `unprocessable`.
pub fn wanted(app: &App, actor: &str, user: UserId, new: NewCard) -> Result<Wanted, Problem> {
    check_name(&new.reason).map_err(|_| Problem::with(ApiCode::Unprocessable, "`reason`: 1 to 200 characters of one line"))?;
    new.reference.as_deref().map_or(Ok(()), check_text)?;
    let card = match new.card {
        None => None,
        Some(keys) => {
            let keys = HolderKeys { sign: keys.sign, seal: keys.seal };
            Some(readable(app, &keys).ok_or_else(|| Problem::with(ApiCode::Unprocessable, "`card`: these are not a card's keys"))?)
        }
    };
    let reference = new.reference.filter(|text| !text.trim().is_empty());
    Ok(Wanted { user, request: new.reissue_id, card, reason: new.reason, reference, actor: actor.to_owned() })
}

/// Declines a request.
///
/// # Errors
/// `unprocessable`, `not_found`, `conflict`.
pub async fn decline_by(app: &App, actor: &str, once: &Once, user: UserId, id: ReissueId, reason: String) -> Result<Reply, Problem> {
    check_name(&reason).map_err(|_| Problem::with(ApiCode::Unprocessable, "`reason`: 1 to 200 characters of one line"))?;
    let (now, actor) = (app.clock.now(), actor.to_owned());
    once.write(app, "decline_reissue", user::family(user), async move |tx: &mut Tx| {
        Ok(Reply::ok(&ReissueDocument::from(decline(tx, user, id, &actor, &reason, now).await?)))
    })
    .await
}
