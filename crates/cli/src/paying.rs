//! Prices, a gateway's (C17) or the authority's own (C18): shown and asked about before anything is charged, and what was charged told at the end.

use clap::Args;
use counterfoil_core::rules::order::{Collection, Payment};
use counterfoil_core::{Currency, Money};
use counterfoil_terminal::{AskPrice, By, Charged, Consent, PriceAsked, TellStranger, Terminal};
use serde_json::Value;

use crate::context::Context;
use crate::output::Output;

/// What is agreed to beforehand.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Consenting {
    /// Agree to the price that is shown, without being asked
    #[arg(long, short)]
    pub yes: bool,
    /// Agree to no more than this, such as '19.99 EUR'
    #[arg(long, value_name = "PRICE")]
    pub max_price: Option<Money>,
}

/// What to pay in.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Paying {
    /// What to pay in, where it has prices in several currencies [default: that of --max-price]
    #[arg(long, value_name = "CODE")]
    pub currency: Option<Currency>,
    #[command(flatten)]
    pub consenting: Consenting,
}

impl Paying {
    /// The currency that was named, if one was.
    pub fn currency(&self) -> Option<Currency> {
        self.currency.or(self.consenting.max_price.map(|limit| limit.currency))
    }
}

impl Consenting {
    /// Who is asked.
    pub fn asker(self, output: Output) -> AskPrice {
        Box::new(move |asked| match self.beforehand(asked) {
            Some(consent) => consent,
            None => {
                output.note(&words(asked));
                match output.can_ask() {
                    false => Consent::NobodyToAsk,
                    true if output.agreed("Pay it?").unwrap_or(false) => Consent::Agreed,
                    true => Consent::Declined,
                }
            }
        })
    }

    /// What was said beforehand about this price, if anything was.
    fn beforehand(self, asked: &PriceAsked<'_>) -> Option<Consent> {
        let price = asked.offer.price;
        let within = |limit: Money| limit.currency == price.currency && price.amount <= limit.amount;
        match (self.max_price, asked.agreed) {
            (Some(limit), _) if !within(limit) => Some(Consent::OverLimit(limit)),
            // Whoever agrees to any price agrees to the one that is shown first, and not to one that is raised afterwards.
            (None, Some(agreed)) if self.yes && !within(agreed) => Some(Consent::OverLimit(agreed)),
            _ if self.yes => Some(Consent::Agreed),
            _ => None,
        }
    }
}

fn words(asked: &PriceAsked<'_>) -> String {
    let offer = asked.offer;
    let mut words = format!("{}: {} at {}", offer.name, offer.price, asked.at);
    words += &match (offer.by, offer.balance, offer.payment) {
        (By::Gateway, Some(balance), _) => format!("\nthe account holds {balance}"),
        (By::Authority, Some(balance), _) => format!("\npaid in advance: {balance}"),
        (By::Authority, None, Some(Collection::Invoice)) => "\nby invoice".to_owned(),
        _ => String::new(),
    };
    // What is held does not suffice: the rest comes from there.
    if let Some(card) = offer.card.as_ref().filter(|_| offer.balance.is_some_and(|balance| balance.amount < offer.price.amount)) {
        words += &format!("; the rest is charged to your {card}");
    }
    if let Some(agreed) = asked.agreed.filter(|agreed| *agreed != offer.price) {
        words += &format!("\nthe price was {agreed}, and has changed");
    }
    words
}

/// Says plainly whose word the keys are, where an authority was met through a gateway.
pub fn stranger(output: Output) -> TellStranger {
    Box::new(move |gateway, authority| {
        let (name, fingerprint) = (&authority.document.name, authority.fingerprint());
        output.note(&format!(
            "met the authority `{name}` through {gateway}, on whose word its keys are believed\n\
             fingerprint {fingerprint}: compare it with what the operator says, or begin with a medium at hand"
        ));
    })
}

/// Tells what was charged and what is left; gives the same for a JSON result.
pub fn tell(context: &Context, terminal: &Terminal) -> Vec<Value> {
    let charged = terminal.take_charged();
    for one in &charged {
        context.output.note(&told(one));
    }
    charged.iter().map(|one| serde_json::to_value(one).expect("names and numbers")).collect()
}

fn told(one: &Charged) -> String {
    let (price, name) = (one.price, &one.name);
    match (one.by, one.balance, one.payment) {
        (By::Gateway, Some(balance), _) => format!("charged {price} for {name}; {balance} left on the account"),
        (By::Authority, Some(balance), _) => format!("charged {price} for {name}; {balance} left of what was paid in advance"),
        (By::Authority, _, Some(Payment::Invoice)) => format!("charged {price} for {name}, by invoice"),
        _ => format!("charged {price} for {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::Timestamp;
    use counterfoil_core::wire::ChargeOnOffer;
    use counterfoil_terminal::Price;

    fn beforehand(consenting: Consenting, price: &str, agreed: Option<&str>) -> Option<Consent> {
        let money = |text: &str| text.parse::<Money>().expect("money");
        let offer = ChargeOnOffer {
            title: "sky-raider".parse().expect("a title"),
            name: "Sky Raider".into(),
            price: money(price),
            balance: money("50 EUR"),
            expires_at: Timestamp(0),
            card: None,
        };
        consenting.beforehand(&PriceAsked { at: "https://shop.example", offer: &Price::from(offer), agreed: agreed.map(money) })
    }

    #[test]
    fn c17_nothing_is_agreed_to_beyond_what_was_said_beforehand() {
        let limit: Money = "19.99 EUR".parse().expect("money");
        let (nothing, yes) = (Consenting::default(), Consenting { yes: true, max_price: None });
        let (asking, limited) = (Consenting { yes: false, max_price: Some(limit) }, Consenting { yes: true, max_price: Some(limit) });
        assert_eq!(beforehand(nothing, "19.99 EUR", None), None);
        assert_eq!(beforehand(yes, "19.99 EUR", None), Some(Consent::Agreed));
        assert_eq!(beforehand(limited, "19.99 EUR", None), Some(Consent::Agreed));
        assert_eq!(beforehand(limited, "20.00 EUR", None), Some(Consent::OverLimit(limit)));
        assert_eq!(beforehand(limited, "1.00 USD", None), Some(Consent::OverLimit(limit)));
        assert_eq!(beforehand(asking, "19.99 EUR", None), None);
        assert_eq!(beforehand(asking, "20.00 EUR", None), Some(Consent::OverLimit(limit)));
        // Raised after it was agreed to, or in other money.
        assert_eq!(beforehand(yes, "24.99 EUR", Some("19.99 EUR")), Some(Consent::OverLimit(limit)));
        assert_eq!(beforehand(yes, "9.99 USD", Some("19.99 EUR")), Some(Consent::OverLimit(limit)));
        assert_eq!(beforehand(yes, "17.99 EUR", Some("19.99 EUR")), Some(Consent::Agreed));
        assert_eq!(beforehand(nothing, "24.99 EUR", Some("19.99 EUR")), None);
    }
}
