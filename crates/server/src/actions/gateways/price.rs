//! What titles cost at a gateway: set by their publisher, or by the operator.

use counterfoil_core::{Currency, GatewayId, Money, TitleId};
use serde_json::json;

use super::{known, live};
use crate::api::gateways::PriceDocument;
use crate::api::page::{Page, PageQuery};
use crate::app::App;
use crate::auth::{Caller, Scope};
use crate::db::Tx;
use crate::idempotency::{Once, Reply};
use crate::problem::{ApiCode, Problem};
use crate::store::gateway::{self, price};
use crate::store::{audit, title};

/// The highest price, in minor units: sums of very many stay far below what a column holds.
const MOST: u64 = 100_000_000_000;

/// Sets a price.
///
/// # Errors
/// `not_found` for a title of another publisher; `unprocessable`; `conflict` where the gateway has ended.
pub async fn put(app: &App, caller: &Caller, once: &Once, id: GatewayId, of: TitleId, price: Money) -> Result<Reply, Problem> {
    if price.amount == 0 || price.amount > MOST {
        return Err(Problem::with(ApiCode::Unprocessable, format!("`amount` is 1 to {MOST}, in minor units")));
    }
    let (now, actor, scope, family) = (app.clock.now(), caller.actor(), caller.scope(), gateway::family(id));
    once.write(app, "put_gateway_price", family.clone(), async move |tx: &mut Tx| {
        live(tx, id, now).await?;
        let title = title::get(tx, &scope, &of).await?.ok_or(ApiCode::NotFound)?;
        price::put(tx, id, &of, price).await?;
        let detail = json!({ "gateway": id, "title": of, "amount": price.amount, "currency": price.currency });
        audit::append(tx, &family, now.0, &actor, "gateway.price_set", &detail).await?;
        Ok(Reply::ok(&PriceDocument { title: of.clone(), name: title.name, amount: price.amount, currency: price.currency }))
    })
    .await
}

/// Takes a price away, or all of a title's: it is not sold there any more.
///
/// # Errors
/// `not_found`.
pub async fn remove(
    app: &App,
    caller: &Caller,
    once: &Once,
    id: GatewayId,
    of: TitleId,
    currency: Option<Currency>,
) -> Result<Reply, Problem> {
    let (now, actor, scope, family) = (app.clock.now(), caller.actor(), caller.scope(), gateway::family(id));
    once.write(app, "remove_gateway_price", family.clone(), async move |tx: &mut Tx| {
        title::get(tx, &scope, &of).await?.ok_or(ApiCode::NotFound)?;
        if price::remove(tx, id, &of, currency).await? == 0 {
            return Err(ApiCode::NotFound.into());
        }
        let detail = json!({ "gateway": id, "title": of, "currency": currency });
        audit::append(tx, &family, now.0, &actor, "gateway.price_removed", &detail).await?;
        Ok(Reply::no_content())
    })
    .await
}

/// Prices at a gateway of titles within a scope, by title and currency.
///
/// # Errors
/// `not_found`.
pub async fn list(app: &App, scope: Scope, id: GatewayId, query: PageQuery) -> Result<Page<PriceDocument>, Problem> {
    let (after, rows, now) = (query.after(), query.rows(), app.clock.now());
    let found = app
        .db
        .read("list_gateway_prices", async move |tx: &mut Tx| -> Result<_, Problem> {
            known(tx, id, now).await?;
            let after = after.split_once('.').unwrap_or((&after, ""));
            Ok(price::list(tx, id, &scope, after, rows).await?)
        })
        .await?;
    let named = |row: &price::PriceRow| format!("{}.{}", row.title, row.price.currency);
    Ok(Page::of(found, &query, named, PriceDocument::from))
}
