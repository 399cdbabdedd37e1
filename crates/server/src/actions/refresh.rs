//! The next identity of a medium, in the answer to whatever it asked (B7).

use counterfoil_core::wire::{IdentityArea, Refresh};
use counterfoil_format::claim::ClaimSecretKey;
use counterfoil_format::refresh;
use counterfoil_format::secret::Secret;

use super::asked::Asked;
use super::press::Press;
use super::proof::Proven;
use crate::app::App;
use crate::auth::Scope;
use crate::db::Tx;
use crate::keys::Place;
use crate::problem::{ApiCode, Problem};
use crate::store::batch;
use crate::store::imported::Pressed;

/// What the medium that proved itself in a request should have on it, where it has not. Without one the answer is as good: the next one
/// brings it.
pub async fn offer(app: &App, asked: &Asked) -> Option<Refresh> {
    let proven = asked.take_proven().filter(|proven| proven.epoch < proven.known.target && !proven.known.retired)?;
    match seal(app, &proven).await {
        Ok(refresh) => Some(refresh),
        Err(problem) => {
            tracing::error!(medium = %proven.medium, detail = ?problem, "a refresh could not be offered");
            None
        }
    }
}

async fn seal(app: &App, proven: &Proven) -> Result<Refresh, Problem> {
    let Proven { medium, known, secret, .. } = proven;
    let id = known.batch;
    let (batch, titles) = app
        .db
        .read("batch of a refresh", async move |tx: &mut Tx| -> Result<_, Problem> {
            let batch = batch::get(tx, &Scope::All, id).await?.ok_or(ApiCode::NotFound)?;
            Ok((batch, batch::titles(tx, id).await?))
        })
        .await?;
    let key: Secret<32> = app.keys.open(&app.db, &Place::ClaimKey { batch: &id.to_string() }, &batch.claim_key).await?;
    let press = Press::prepare(app, &batch, &titles, ClaimSecretKey::new(key)).await?;
    let next = Pressed { medium: medium.clone(), serial: known.serial, epoch: known.target, rights: Some(known.rights.clone()) };
    let line = press.line(next)?;
    let area = line.trim_ascii_end();
    if area.len() > IdentityArea::LIMIT {
        return Err(Problem::internal(format!("the identity area of {medium} would have {} bytes", area.len())));
    }
    let sealed = refresh::seal(secret, medium.as_str(), known.target, area, &mut app.rng.clone());
    Ok(Refresh { epoch: known.target, sealed })
}
