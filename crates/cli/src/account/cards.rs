//! `account top-up` and `account cards`: paying in by card, and the cards that are kept (C17).

use std::time::Duration;

use clap::Args;
use counterfoil_core::Money;
use counterfoil_terminal::Terminal;
use counterfoil_terminal::gateway::account;
use counterfoil_terminal::gateway::payment::{self, Payment, PaymentCard};
use serde_json::json;

use super::Gateway;
use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// How often it is asked whether the money is there.
const LOOK: Duration = Duration::from_secs(2);

/// Pay into the account by card
///
/// Shows the address of a page where the card is entered, and waits until the money is there. The card never passes through this program or the
/// gateway. Interrupted (Ctrl-C), nothing is taken back; what nobody pays is given up after a day.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil account top-up '20.00 EUR'
  counterfoil account top-up '20.00 EUR' --keep-card --no-wait --json")]
pub struct TopUp {
    /// How much, such as '20.00 EUR'
    #[arg(value_name = "MONEY")]
    money: Money,
    /// Keep the card, and charge it with what the account is short of when you agree to a price
    #[arg(long)]
    keep_card: bool,
    /// Only show the address
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    gateway: Gateway,
}

/// List the payment cards that the account keeps, or remove one
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil account cards
  counterfoil account cards --remove pm_1234")]
pub struct Cards {
    /// Keep this one no longer
    #[arg(long, value_name = "CARD")]
    remove: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

impl TopUp {
    /// Does it.
    pub fn run(self, context: &Context, terminal: &Terminal) -> Result<(), Failure> {
        let gateway = self.gateway.url(terminal)?;
        let begun = payment::begin(terminal, &gateway, self.money, self.keep_card)?;
        if self.no_wait {
            return context.output.result(&units::dated(&begun), || format!("enter the card at {}\n", begun.page));
        }
        if context.output.json {
            // The one document comes at the end, and somebody has to know where to go until then.
            eprintln!("{}", crate::output::shown(&begun.page));
        }
        context.output.note(&format!("enter the card at {}\nwaiting for {}; interrupt (Ctrl-C) to wait no more", begun.page, begun.money));
        let came = wait(context, terminal, &gateway, begun)?;
        let shown = account::show(terminal, &gateway)?;
        let held = shown.balances.iter().find(|balance| balance.currency == came.money.currency).map_or(0, |balance| balance.available);
        let balance = Money { amount: held, currency: came.money.currency };
        let mut value = units::dated(&came);
        value["balance"] = json!(balance);
        context.output.result(&value, || format!("paid in {}; the account holds {balance}\n", came.money))
    }
}

/// Until the money is there, or will not come. Why the card was refused is told each time that it is.
fn wait(context: &Context, terminal: &Terminal, gateway: &str, begun: Payment) -> Result<Payment, Failure> {
    let (id, mut told) = (begun.payment, begun.failure);
    loop {
        let now = payment::look(terminal, gateway, id)?;
        match now.ended() {
            Some(true) => return Ok(now),
            Some(false) => {
                let why = now.failure.unwrap_or_else(|| "it was given up".to_owned());
                return Err(Failure::refused("payment_refused", format!("nothing was paid: {why}"))
                    .hint("Begin again: `counterfoil account top-up`."));
            }
            None => {}
        }
        if now.failure.is_some() && now.failure != told {
            context.output.note(&format!("the card was refused: {}", now.failure.as_deref().unwrap_or_default()));
            told = now.failure;
        }
        std::thread::sleep(LOOK);
    }
}

impl Cards {
    /// Does it.
    pub fn run(self, context: &Context, terminal: &Terminal) -> Result<(), Failure> {
        let gateway = self.gateway.url(terminal)?;
        if let Some(card) = self.remove {
            payment::remove_card(terminal, &gateway, &card)?;
            return context.output.result(&json!({ "removed": card }), || format!("{card} is kept no longer, and charged for nothing\n"));
        }
        let cards = payment::cards(terminal, &gateway)?;
        context.output.result(&json!({ "cards": units::dated(&cards) }), || lines(&cards))
    }
}

fn lines(cards: &[PaymentCard]) -> String {
    if cards.is_empty() {
        return "no payment card is kept; `counterfoil account top-up MONEY --keep-card` keeps one\n".to_owned();
    }
    let line = |(number, card): (usize, &PaymentCard)| {
        let charged = if number == 0 { "  charged with what the account is short of" } else { "" };
        format!("{}  {} ending in {}, until {:02}/{}{charged}\n", card.card, card.brand, card.last4, card.exp_month, card.exp_year)
    };
    cards.iter().enumerate().map(line).collect()
}
