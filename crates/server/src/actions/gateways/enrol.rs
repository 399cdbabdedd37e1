//! How a gateway comes by its certificates: the first for a one-time token, each further one for the one before.

use counterfoil_core::wire::{Enrol, EnrolToken, Enrolled};
use counterfoil_core::{GatewayId, Timestamp};
use counterfoil_format::secret::{Random as _, Secret};
use serde_json::json;

use super::known;
use crate::api::gateways::EnrolTokenDocument;
use crate::api::page::rfc3339;
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::gateways::issuer::{Issuers, Signed, fingerprint};
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::gateway::{self, certificate};

/// How long a token lets in, in milliseconds.
const GOOD_FOR: i64 = 7 * Timestamp::DAY;
const HASH: &str = "counterfoil 2026-11 hash of a gateway's token of enrolment";

/// A token for a gateway's next certificate, in the place of one that was not used. Certificates that it has stay good. One that has ended is let in
/// again by using it, with nothing but the new certificate: what it had open when it was ended can only be brought to its end by itself.
///
/// # Errors
/// `not_found`.
pub async fn token(app: &App, caller: &Caller, once: &Once, id: GatewayId) -> Result<Reply, Problem> {
    let now = app.clock.now();
    let pin = issuers(app, now).await?.pin(now)?;
    let mut secret = [0; 32];
    app.rng.clone().fill(&mut secret);
    let token = EnrolToken { gateway: id, secret, pin };
    let expires_at = Timestamp(now.0 + GOOD_FOR);
    let (actor, family) = (caller.actor(), gateway::family(id));
    once.write(app, "make_gateway_token", family.clone(), async move |tx: &mut Tx| {
        known(tx, id, now).await?;
        certificate::put_token(tx, id, hashed(&token), expires_at).await?;
        audit::append(tx, &family, now.0, &actor, "gateway.token_made", &json!({ "gateway": id })).await?;
        Ok(Reply::created(&EnrolTokenDocument { token: token.reveal(), expires_at: rfc3339(expires_at.0) }))
    })
    .await
}

/// Lets a gateway in by its token. The same key again, while the token lasts, is the same enrolment: its answer may have been lost.
///
/// # Errors
/// `unauthorized` where the token is not known, over, or was used for another key; `unprocessable` for a request that cannot be used.
pub async fn enrol(app: &App, asked: Enrol) -> Result<Enrolled, Problem> {
    let refused = || Problem::with(ApiCode::Unauthorized, "this token is not known here, was used, or is over");
    let token = asked.token.as_deref().and_then(EnrolToken::parse).ok_or_else(refused)?;
    let (now, id, hash) = (app.clock.now(), token.gateway, hashed(&token));
    // Before anything is signed for whoever asks.
    let good = app.db.read("gateway token", async move |tx: &mut Tx| certificate::token(tx, id, hash).await).await?;
    good.filter(|row| now < row.expires_at).ok_or_else(refused)?;
    let issuers = issuers(app, now).await?;
    let (signed, key) = issuers.sign_gateway(id, &asked.request, now, &app.rng)?;
    let (print, not_after, family) = (fingerprint(&signed.der), signed.not_after, gateway::family(id));
    let name = app
        .db
        .write("enrol_gateway", &family.clone(), async move |tx: &mut Tx| -> Result<String, Problem> {
            let gateway = known(tx, id, now).await?;
            if !certificate::use_token(tx, id, hash, key, now).await? {
                return Err(refused());
            }
            if gateway::admit_again(tx, id).await? {
                certificate::forget(tx, id).await?;
                audit::append(tx, &family, now.0, &family, "gateway.admitted_again", &json!({ "gateway": id })).await?;
            }
            certificate::insert(tx, id, print, now, not_after).await?;
            let detail = json!({ "gateway": id, "certificate": hex(&print), "not_after": rfc3339(not_after.0) });
            audit::append(tx, &family, now.0, &family, "gateway.enrolled", &detail).await?;
            Ok(gateway.name)
        })
        .await?;
    enrolled(&issuers, name, signed, now)
}

/// Another certificate for a gateway that has one: both are good side by side.
///
/// # Errors
/// `forbidden` where it ended meanwhile; `unprocessable` for a request that cannot be used.
pub async fn renew(app: &App, caller: crate::gateways::Caller, asked: Enrol) -> Result<Enrolled, Problem> {
    let (now, id) = (app.clock.now(), caller.gateway);
    let issuers = issuers(app, now).await?;
    let (signed, _) = issuers.sign_gateway(id, &asked.request, now, &app.rng)?;
    let (print, not_after, family) = (fingerprint(&signed.der), signed.not_after, gateway::family(id));
    app.db
        .write("renew_gateway", &family.clone(), async move |tx: &mut Tx| -> Result<(), Problem> {
            if known(tx, id, now).await?.ended_at.is_some() {
                return Err(Problem::with(ApiCode::Forbidden, "this gateway has ended"));
            }
            certificate::insert(tx, id, print, now, not_after).await?;
            let detail = json!({ "gateway": id, "certificate": hex(&print), "not_after": rfc3339(not_after.0) });
            audit::append(tx, &family, now.0, &family, "gateway.renewed", &detail).await?;
            Ok(())
        })
        .await?;
    enrolled(&issuers, caller.name, signed, now)
}

fn enrolled(issuers: &Issuers, gateway: String, signed: Signed, now: Timestamp) -> Result<Enrolled, Problem> {
    Ok(Enrolled { gateway, certificate: signed.pem, authorities: issuers.listed(now)?, not_after: signed.not_after })
}

async fn issuers(app: &App, now: Timestamp) -> Result<Issuers, Problem> {
    Ok(Issuers::load(&app.db, &app.keys, &app.name, now, &app.rng).await?)
}

/// What is kept of a token. The secret is random, so that a plain hash cannot be reversed by guessing.
fn hashed(token: &EnrolToken) -> [u8; 32] {
    blake3::derive_key(HASH, Secret::new(token.secret).expose())
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
