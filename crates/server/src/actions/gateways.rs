//! Gateways' terms (C16–C18), as the operator sets them: who resells, at which share, since when and until when.

use counterfoil_core::{GatewayId, Timestamp};
use serde_json::json;

use super::checks::check_name;
use crate::api::gateways::{GatewayDocument, NewGateway};
use crate::api::page::{Page, PageQuery};
use crate::app::App;
use crate::auth::Caller;
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::audit;
use crate::store::gateway::{self, Gateway, certificate};

pub mod enrol;
pub mod price;
pub mod settle;
pub mod terms;

/// The whole price, in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// Makes a gateway known. It is let in once it is enrolled.
///
/// # Errors
/// `unprocessable`; `conflict` where the name is taken.
pub async fn create(app: &App, caller: &Caller, once: &Once, new: NewGateway) -> Result<Reply, Problem> {
    check_name(&new.name)?;
    check_share(new.share)?;
    let gateway = Gateway {
        id: GatewayId::from_bytes(once.id().unwrap_or_else(|| app.rng.bytes())),
        name: new.name.trim().to_owned(),
        share: new.share,
        every_copy: new.every_copy,
        created_at: app.clock.now(),
        ended_at: None,
    };
    let (actor, family) = (caller.actor(), gateway::family(gateway.id));
    once.write(app, "add_gateway", family.clone(), async move |tx: &mut Tx| {
        if !gateway::insert(tx, &gateway).await? {
            return Err(Problem::with(ApiCode::Conflict, format!("there is a gateway called {:?} already", gateway.name)));
        }
        let detail = json!({ "gateway": gateway.id, "name": gateway.name, "share": gateway.share, "every_copy": gateway.every_copy });
        audit::append(tx, &family, gateway.created_at.0, &actor, "gateway.added", &detail).await?;
        Ok(Reply::created(&GatewayDocument::of(gateway.clone(), None)))
    })
    .await
}

/// Gateways, ended ones included, by ID.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, query: PageQuery) -> Result<Page<GatewayDocument>, Problem> {
    let (after, rows, now) = (query.after(), query.rows(), app.clock.now());
    let found = app
        .db
        .read("list_gateways", async move |tx: &mut Tx| -> Result<_, Problem> {
            let mut found = vec![];
            for gateway in gateway::list(tx, &after, rows, now).await? {
                let certificate = certificate::last(tx, gateway.id).await?;
                found.push((gateway, certificate));
            }
            Ok(found)
        })
        .await?;
    let named = |(gateway, _): &(Gateway, Option<Timestamp>)| gateway.id.to_string();
    Ok(Page::of(found, &query, named, |(gateway, certificate)| GatewayDocument::of(gateway, certificate)))
}

/// One of them.
///
/// # Errors
/// `not_found`.
pub async fn get(app: &App, id: GatewayId) -> Result<GatewayDocument, Problem> {
    let now = app.clock.now();
    app.db
        .read("get_gateway", async move |tx: &mut Tx| {
            let gateway = known(tx, id, now).await?;
            Ok(GatewayDocument::of(gateway, certificate::last(tx, id).await?))
        })
        .await
}

/// Ends a gateway: it is let in no more, unless it is enrolled again, and what it has open breaks off. What was charged through it stays.
///
/// # Errors
/// `not_found`.
pub async fn end(app: &App, caller: &Caller, once: &Once, id: GatewayId) -> Result<Reply, Problem> {
    let (now, actor, family) = (app.clock.now(), caller.actor(), gateway::family(id));
    once.write(app, "end_gateway", family.clone(), async move |tx: &mut Tx| {
        if !gateway::end(tx, id, now).await? {
            return Err(ApiCode::NotFound.into());
        }
        // A token lets one in again that has ended: it has to be made after that.
        certificate::forget_tokens(tx, id).await?;
        audit::append(tx, &family, now.0, &actor, "gateway.ended", &json!({ "gateway": id })).await?;
        Ok(Reply::no_content())
    })
    .await
}

fn check_share(share: u32) -> Result<(), Problem> {
    if share <= WHOLE {
        return Ok(());
    }
    Err(Problem::with(ApiCode::Unprocessable, "`share` is 0 to 10000: hundredths of a percent of the price"))
}

/// A gateway, ended or not.
pub(super) async fn known(tx: &mut Tx, id: GatewayId, now: Timestamp) -> Result<Gateway, Problem> {
    gateway::find(tx, id, now).await?.ok_or_else(|| ApiCode::NotFound.into())
}

/// A gateway that has not ended.
pub(super) async fn live(tx: &mut Tx, id: GatewayId, now: Timestamp) -> Result<Gateway, Problem> {
    let gateway = known(tx, id, now).await?;
    if gateway.ended_at.is_some() {
        return Err(Problem::with(ApiCode::Conflict, "this gateway has ended"));
    }
    Ok(gateway)
}
