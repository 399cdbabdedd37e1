//! Taking a medium out of use.

use counterfoil_core::MediumId;
use serde_json::json;

use super::checks::check_text;
use crate::api::media;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::{audit, batch, medium};

/// Retires a medium, touched or not; the same again changes nothing.
///
/// # Errors
/// `not_found`.
pub async fn run(app: &App, caller: &Caller, once: &Once, id: MediumId, reason: String) -> Result<Reply, Problem> {
    check_text(&reason)?;
    let now = app.clock.now();
    let (actor, scope, family) = (caller.actor(), caller.scope(), medium::family(&id));
    once.write(app, "retire_medium", family.clone(), async move |tx: &mut Tx| {
        let known = medium::known(tx, &id).await?.ok_or(ApiCode::NotFound)?;
        batch::get(tx, &scope, known.batch).await?.ok_or(ApiCode::NotFound)?;
        medium::touch(tx, &id, &known, now).await?;
        if medium::retire(tx, &id).await? {
            audit::append(tx, &family, now.0, &actor, "medium.retired", &json!({ "reason": reason })).await?;
        }
        Ok(Reply::ok(&media::load(tx, &scope, &id).await?))
    })
    .await
}
