//! What gateways stand on: the private listener's address, the authority for its certificates, and the certificates that were given out.

use std::net::TcpListener;

use counterfoil_core::Timestamp;

use super::{Check, good, warning, wrong};
use crate::clock::{Rng, rfc3339};
use crate::config::Config;
use crate::db::{Db, DbError, Tx};
use crate::gateways::issuer::{GOOD_FOR, Issuers};
use crate::keys::Keys;
use crate::roles::ServerRole;
use crate::store::gateway::{self, Gateway, certificate};

const WHAT: &str = "gateways";
/// Gateways that are looked at.
const MOST: i64 = 1000;
/// Days before its end at which the authority for certificates is to be followed by another: each gateway hears of it within thirty.
const SOON: i64 = 90;

/// Looks at all of it, where the process has the private listener.
pub(super) async fn check(config: &Config, db: &Db, keys: &Keys, now: Timestamp) -> Vec<Check> {
    match looked(config, db, keys, now).await {
        Ok(checks) => checks,
        Err(error) => vec![wrong(WHAT, error, "Use the root key and the version of counterfoil that belong to this database.")],
    }
}

async fn looked(config: &Config, db: &Db, keys: &Keys, now: Timestamp) -> Result<Vec<Check>, String> {
    let words = |error: DbError| error.to_string();
    if !config.server.roles.has(ServerRole::Authority) || db.migration_status().await.and_then(|status| status.check()).is_err() {
        return Ok(vec![]);
    }
    let known = db.read("gateways", async move |tx: &mut Tx| ends(tx, now).await).await.map_err(words)?;
    let Some(listen) = config.gateways.listen else {
        let left_out = format!("{} known, and none is let in: there is no private listener", known.len());
        let check = || warning(WHAT, left_out, "Say in section [gateways] where to listen, or end them: `counterfoil reseller end`.");
        return Ok(if known.is_empty() { vec![] } else { vec![check()] });
    };
    let mut checks = vec![];
    // Any free port: the listener's own may be in use by the server that runs.
    if let Err(error) = TcpListener::bind((listen.ip(), 0)) {
        checks.push(wrong(WHAT, format!("{listen}: {error}"), "Name an address of this host as listen in section [gateways]."));
    } else if listen == config.server.listen {
        checks.push(wrong(WHAT, format!("{listen} is the address for everybody"), "Name another one as listen in section [gateways]."));
    } else {
        checks.push(good(WHAT, format!("let in at {listen}, {} known", known.len())));
    }
    checks.extend(issuer(db, keys, now).await?);
    checks.extend(known.iter().filter_map(|(gateway, end)| late(gateway, (*end)?, now)));
    Ok(checks)
}

/// Gateways that have not ended, and when the last certificate of each does.
async fn ends(tx: &mut Tx, now: Timestamp) -> Result<Vec<(Gateway, Option<Timestamp>)>, DbError> {
    let mut known = vec![];
    for gateway in gateway::list(tx, "", MOST, now).await?.into_iter().filter(|gateway| gateway.ended_at.is_none()) {
        let end = certificate::last(tx, gateway.id).await?;
        known.push((gateway, end));
    }
    Ok(known)
}

/// The authority for certificates, where one was made already.
async fn issuer(db: &Db, keys: &Keys, now: Timestamp) -> Result<Option<Check>, String> {
    let made = db.read("gateway issuers", async |tx: &mut Tx| gateway::issuer::all(tx).await).await.map_err(|error| error.to_string())?;
    if made.is_empty() {
        return Ok(None);
    }
    let issuers = Issuers::load(db, keys, "", now, &Rng::System).await.map_err(|error| error.to_string())?;
    let (name, end) = issuers.current_end(now).map_err(|problem| problem.to_string())?;
    let (days, found) = ((end.0 - now.0) / Timestamp::DAY, format!("certificates by {name}, until {}", rfc3339(end)));
    Ok(Some(match days {
        ..=0 => wrong(WHAT, found, "Run `counterfoild keys rotate --what gateways`, and enrol every gateway again."),
        1..=SOON => warning(WHAT, found, "Run `counterfoild keys rotate --what gateways`: gateways hear of the next one within 30 days."),
        _ => good(WHAT, found),
    }))
}

/// A gateway that has not renewed its certificate when it was time, or is let in no more.
fn late(gateway: &Gateway, end: Timestamp, now: Timestamp) -> Option<Check> {
    let (found, id) = (format!("{}: certificate until {}", gateway.name, rfc3339(end)), gateway.id);
    if end <= now {
        return Some(warning(WHAT, found, format!("Let it in again: `counterfoil reseller token {id}`.")));
    }
    // It renews with a third of the time left; a day later it should have.
    let is_late = end.0 - now.0 < GOOD_FOR / 3 - Timestamp::DAY;
    is_late.then(|| warning(WHAT, found, "It should have renewed it: see that it runs, and reaches the private listener."))
}
