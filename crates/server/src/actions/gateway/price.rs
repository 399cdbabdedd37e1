//! What a gateway charges for a copy or an order (C17, C18).

use counterfoil_core::rules::gateway::{self, Priced};
use counterfoil_core::rules::split::Share;
use counterfoil_core::wire::Charge;
use counterfoil_core::{Currency, GatewayId, Money, Refusal, TitleId};

use crate::app::App;
use crate::db::Tx;
use crate::gateways::Caller;
use crate::problem::Problem;
use crate::store::gateway_exchange;
use crate::store::medium::PressedTitle;

/// What a request that nobody has paid for would come to.
pub enum Foreseen {
    /// Nothing to pay for: carry it out.
    Free,
    /// It would be granted, for this.
    Charged(Charge),
    /// It would be refused, which is recorded.
    Refused(Refusal),
}

/// What a copy of a medium costs at a gateway; nothing where it does not charge for it.
///
/// # Errors
/// Failures of the server. `not_for_sale` and `price_changed` are no error: it counts only where the copy would be granted otherwise.
pub async fn of_copy(
    app: &App,
    caller: &Caller,
    titles: &[PressedTitle],
    paid_on_copy: bool,
    wanted: Option<Currency>,
) -> Result<Result<Option<Charge>, Refusal>, Problem> {
    if !caller.every_copy && !paid_on_copy {
        return Ok(Ok(None));
    }
    let (id, titles) = (caller.gateway, named(titles));
    let priced = app.db.read("prices of a copy", async move |tx: &mut Tx| priced(tx, id, &titles).await).await?;
    Ok(gateway::copy(&priced, caller.every_copy, paid_on_copy, wanted, share(caller)?))
}

/// What titles are priced by: their IDs and names.
pub fn named(titles: &[PressedTitle]) -> Vec<(TitleId, String)> {
    titles.iter().map(|title| (title.title.clone(), title.name.clone())).collect()
}

/// What each of the titles on a medium costs at a gateway.
///
/// # Errors
/// Failures of the database; `internal` for what is no title.
pub async fn priced(tx: &mut Tx, gateway: GatewayId, titles: &[(TitleId, String)]) -> Result<Vec<Priced>, Problem> {
    let mut priced = vec![];
    for (title, name) in titles {
        let found = gateway_exchange::prices(tx, gateway, title).await?;
        let (_, prices) = found.ok_or_else(|| Problem::internal(format!("{title} is on a medium, and is no title")))?;
        priced.push(Priced { title: title.clone(), name: name.clone(), prices });
    }
    Ok(priced)
}

/// What a title costs at a gateway, and its name; nothing where there is no such title.
///
/// # Errors
/// Failures of the database.
pub async fn of_title(app: &App, caller: &Caller, title: &TitleId) -> Result<Option<(String, Vec<Money>)>, Problem> {
    let (id, title) = (caller.gateway, title.clone());
    Ok(app.db.read("prices of a title", async move |tx: &mut Tx| gateway_exchange::prices(tx, id, &title).await).await?)
}

/// What is charged for a title at a price.
///
/// # Errors
/// `internal` where the gateway's share is none.
pub fn charge(caller: &Caller, title: &TitleId, name: &str, price: Money) -> Result<Charge, Problem> {
    Ok(gateway::charge(title, name, price, share(caller)?))
}

fn share(caller: &Caller) -> Result<Share, Problem> {
    Share::new(caller.share).ok_or_else(|| Problem::internal(format!("the share of the gateway {} is more than the whole", caller.gateway)))
}
