//! `reseller price`: what titles cost at a gateway, in each currency (C17).

use clap::Args;
use counterfoil_core::{Currency, GatewayId, Money, TitleId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::path;
use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;

/// List what titles cost at a gateway, set a price, or take prices away
///
/// One price in each currency. A title without a price is not sold there. What was prepared before is charged at the price that was told.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil reseller price gwy-…                                       list all prices
  counterfoil reseller price gwy-… --currency EUR                        those in one currency
  counterfoil reseller price gwy-… sky-raider '19.99 EUR'
  counterfoil reseller price gwy-… sky-raider --remove --currency USD    end one price
  counterfoil reseller price gwy-… sky-raider --remove                   end all of them")]
pub struct Price {
    /// Which gateway
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
    /// Which title; without one, prices are listed
    #[arg(value_name = "TITLE", required_if_eq("remove", "true"))]
    title: Option<TitleId>,
    /// How much; without it, the title's prices are listed
    #[arg(value_name = "PRICE", conflicts_with_all = ["remove", "currency"])]
    price: Option<Money>,
    /// Take the title's prices away
    #[arg(long)]
    remove: bool,
    /// In this currency alone
    #[arg(long, value_name = "CURRENCY")]
    currency: Option<Currency>,
}

/// A price, as the authority shows it.
#[derive(Deserialize, Serialize)]
pub(super) struct Priced {
    title: TitleId,
    name: String,
    #[serde(flatten)]
    price: Money,
}

impl Priced {
    /// A line of a list.
    pub fn words(&self) -> String {
        format!("    {}  {}  {}\n", self.title, self.name, self.price)
    }
}

impl Price {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        match (&self.title, self.price) {
            (Some(title), Some(price)) => {
                let set: Priced = api.put(&path(self.gateway, &format!("/prices/{title}")), &price)?;
                context.output.result(&set, || format!("{}  {}\n", set.title, set.price))
            }
            (Some(title), None) if self.remove => self.remove(context, &api, title),
            _ => self.list(context, &api),
        }
    }

    fn remove(&self, context: &Context, api: &Api, title: &TitleId) -> Result<(), Failure> {
        let which = self.currency.map(|currency| format!("?currency={currency}")).unwrap_or_default();
        api.remove(&path(self.gateway, &format!("/prices/{title}{which}")))?;
        let value = json!({ "gateway": self.gateway, "title": title, "currency": self.currency, "removed": true });
        context.output.result(&value, || match self.currency {
            Some(currency) => format!("{title} is not sold there for {currency} any more\n"),
            None => format!("{title} is not sold there any more\n"),
        })
    }

    fn list(&self, context: &Context, api: &Api) -> Result<(), Failure> {
        let all = api.all::<Priced>(&path(self.gateway, "/prices")).collect::<Result<Vec<_>, _>>()?;
        let of_title = |priced: &Priced| self.title.as_ref().is_none_or(|title| *title == priced.title);
        let wanted = |priced: &Priced| of_title(priced) && self.currency.is_none_or(|currency| currency == priced.price.currency);
        let prices: Vec<Priced> = all.into_iter().filter(wanted).collect();
        context.output.result(&json!({ "items": prices }), || match prices.is_empty() {
            true => "nothing is sold there\n".to_owned(),
            false => prices.iter().map(|priced| priced.words().trim_start().to_owned()).collect(),
        })
    }
}
