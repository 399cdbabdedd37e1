//! `buy`: orders a title for this device, after showing price and terms (D2, D3).

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::rules::order::Wanted;
use counterfoil_core::wire::OrderResult;
use counterfoil_core::{Currency, Money, TitleId};
use counterfoil_terminal::store::{self, Shown};
use counterfoil_terminal::{CardChoice, InstallOptions, Terminal, default_library, order};

use crate::context::Context;
use crate::failure::Failure;
use crate::paying::{self, Consenting};
use crate::{install, units};

/// Buy a title for this device, or try it
///
/// Shows the price and the terms, and asks. It is charged once, at the price that was shown, however often the command has to be repeated.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil buy sky-raider
  counterfoil buy sky-raider --currency USD --install --library ~/Library
  counterfoil buy sky-raider --yes --price-limit '20 EUR'     without being asked, if it costs no more
  counterfoil buy sky-raider --trial
  counterfoil buy sky-raider --install --from /media/disc     only the key is paid for; the content is on the disc")]
pub struct Buy {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Try it for a while, without paying
    #[arg(long, conflicts_with_all = ["currency", "price_limit"])]
    trial: bool,
    /// What to pay in, where it has prices in several currencies
    #[arg(long, value_name = "CODE")]
    currency: Option<Currency>,
    /// Order it only if it costs no more than this, such as '20 EUR'
    #[arg(long, value_name = "PRICE", visible_alias = "max-price")]
    price_limit: Option<Money>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Install it then
    #[arg(long)]
    install: bool,
    /// What to install it from in place of the network: a disc that was given away, a directory or image with the content, an installation file
    #[arg(long, value_name = "PATH", requires = "install")]
    from: Option<PathBuf>,
    /// Where to [default: the library used last]
    #[arg(long, value_name = "DIR", requires = "install")]
    library: Option<PathBuf>,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Buy {
    /// Shows it, asks, and orders it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terms = Terms { trial: self.trial, currency: self.currency, limit: self.price_limit, yes: self.yes };
        let terminal = context.terminal_paying(terms.consenting())?;
        let card = context.card_choice(self.no_card);
        let library = match (self.install, self.library.clone()) {
            // Before anything is charged.
            (true, None) => Some(
                default_library(&terminal)?
                    .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where it is to be installed: `--library DIR`."))?,
            ),
            (_, library) => library,
        };
        let (shown, placed) = terms.order(context, &terminal, &card, &self.title)?;
        let charged = paying::tell(context, &terminal);
        match library {
            None => {
                let mut value = units::dated(&placed);
                value["charged"] = charged.into();
                context.output.result(&value, || ordered(&shown, &placed))
            }
            Some(path) => {
                context.output.note(ordered(&shown, &placed).trim_end());
                let options = InstallOptions { card, from: self.from, ..InstallOptions::default() };
                install::carry_out(context, &terminal, &self.title, &path, &options, charged)
            }
        }
    }
}

/// What is agreed to of an order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// To try it.
    pub trial: bool,
    /// What to pay in.
    pub currency: Option<Currency>,
    /// What it may cost at most.
    pub limit: Option<Money>,
    /// Not to be asked.
    pub yes: bool,
}

impl Terms {
    /// What is agreed to of a gateway's prices.
    pub fn consenting(&self) -> Consenting {
        Consenting { yes: self.yes, max_price: self.limit }
    }

    /// Shows a title, asks, and orders it.
    pub fn order(
        &self,
        context: &Context,
        terminal: &Terminal,
        card: &CardChoice,
        title: &TitleId,
    ) -> Result<(Shown, OrderResult), Failure> {
        let shown = store::show(terminal, title)?;
        let wanted = match terminal.via()? {
            _ if self.trial => Wanted::Trial,
            // It is the gateway that says what it costs there, and is agreed with.
            Some(_) => Wanted::Purchase(None),
            None => Wanted::Purchase(Some(self.price(&shown)?)),
        };
        if matches!(wanted, Wanted::Purchase(None)) {
            context.output.note(&words(&shown, &wanted));
        } else if !self.yes {
            context.output.note(&words(&shown, &wanted));
            if !context.output.agreed(if self.trial { "Try it?" } else { "Buy it?" })? {
                return Err(Failure::refused("not_confirmed", "nothing was ordered").hint("To order it, add `--yes`."));
            }
        }
        let currency = self.currency.or(self.limit.map(|limit| limit.currency)).filter(|_| matches!(wanted, Wanted::Purchase(None)));
        let placed = order(terminal, card, title, &wanted, currency)?;
        Ok((shown, placed))
    }

    /// The price that is agreed to.
    fn price(&self, shown: &Shown) -> Result<Money, Failure> {
        let prices = crate::store::prices(&shown.prices);
        let wanted = self.currency.or(self.limit.map(|limit| limit.currency));
        let price = match (wanted, shown.prices.as_slice()) {
            (Some(wanted), all) => *all.iter().find(|price| price.currency == wanted).ok_or_else(|| {
                Failure::refused("price_changed", format!("{} is not sold in {wanted}", shown.title)).hint(format!("It costs {prices}."))
            })?,
            (None, [only]) => *only,
            (None, _) => {
                return Err(Failure::usage(format!("{} costs {prices}", shown.title)).hint("Say what to pay in: `--currency CODE`."));
            }
        };
        match self.limit {
            Some(limit) if limit.currency != price.currency => {
                Err(Failure::usage(format!("the limit is in {}, and the price in {}", limit.currency, price.currency))
                    .hint("Give both in one."))
            }
            Some(limit) if price.amount > limit.amount => {
                Err(Failure::refused("price_over_limit", format!("{} costs {price}, which is more than {limit}", shown.title))
                    .hint("Nothing was ordered. To buy it all the same, raise the limit."))
            }
            _ => Ok(price),
        }
    }
}

fn words(shown: &Shown, wanted: &Wanted) -> String {
    let what = match wanted {
        Wanted::Trial => format!("to try for {}, without paying", units::count(shown.policy.trial_days.into(), "day", "days")),
        Wanted::Purchase(price) => price.map_or_else(|| "at the gateway's price".to_owned(), costs),
    };
    let mut words = format!("{} by {}, for this device: {what}", shown.name, shown.publisher);
    for term in &shown.terms {
        words += &format!("\n  {term}");
    }
    words
}

fn costs(price: Money) -> String {
    if price.amount == 0 { "free".to_owned() } else { price.to_string() }
}

fn ordered(shown: &Shown, placed: &OrderResult) -> String {
    let mut text = match (placed.charged, placed.expires_at) {
        (None, Some(end)) => format!("{} can be tried until {}\n", shown.name, units::moment(end)),
        (charged, _) => format!("bought {} for {}\n", shown.name, charged.map(costs).unwrap_or_default()),
    };
    text += &format!("order      {}\ninstall it: counterfoil install {}\n", placed.order_id, shown.title);
    if let Some(end) = placed.refundable_until {
        text += &format!("It can be given back until {}: counterfoil refund {}\n", units::moment(end), placed.order_id);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        buy: Buy,
    }

    fn price(arguments: &[&str], prices: &[&str]) -> Result<String, String> {
        let shown: Shown = serde_json::from_value(serde_json::json!({
            "title": "sky-raider", "name": "Sky Raider", "kind": "game", "publisher": "Blue Fox", "summary": "", "description": "",
            "prices": prices.iter().map(|price| price.parse::<Money>().expect("money")).collect::<Vec<_>>(),
            "policy": {}, "terms": [], "releases": [],
        }))
        .expect("as the store answers");
        let line = Line::try_parse_from(["buy", "sky-raider"].iter().chain(arguments)).expect("a command line");
        let Buy { currency, price_limit: limit, .. } = line.buy;
        Terms { currency, limit, ..Terms::default() }.price(&shown).map(|price| price.to_string()).map_err(|failure| failure.code)
    }

    #[test]
    fn the_price_that_is_agreed_to_is_never_a_guess() {
        let both = &["19.99 EUR", "21.00 USD"];
        assert_eq!(price(&[], &["19.99 EUR"]), Ok("19.99 EUR".into()));
        assert_eq!(price(&[], both), Err("usage".into()));
        assert_eq!(price(&["--currency", "USD"], both), Ok("21.00 USD".into()));
        assert_eq!(price(&["--currency", "GBP"], both), Err("price_changed".into()));
    }

    #[test]
    fn nothing_is_ordered_beyond_the_limit() {
        assert_eq!(price(&["--price-limit", "20 EUR"], &["19.99 EUR"]), Ok("19.99 EUR".into()));
        assert_eq!(price(&["--price-limit", "19.98 EUR"], &["19.99 EUR"]), Err("price_over_limit".into()));
        assert_eq!(price(&["--price-limit", "20 EUR"], &["19.99 EUR", "21.00 USD"]), Ok("19.99 EUR".into()));
        assert_eq!(price(&["--price-limit", "20 EUR", "--currency", "USD"], &["19.99 EUR", "21.00 USD"]), Err("usage".into()));
    }
}
