//! `orders` and `refund`: what was ordered, and giving it back.

use clap::Args;
use counterfoil_core::OrderId;
use counterfoil_core::rules::order::{OrderKind, OrderState, Payment};
use counterfoil_core::wire::{OrderedTitle, OrdersResult};
use counterfoil_terminal::{orders, refund};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Show what you have ordered, on whichever of your devices, and what is left of what you paid in advance
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil orders
  counterfoil orders --json")]
pub struct Orders {
    /// Only this one
    #[arg(value_name = "ORDER")]
    order: Option<OrderId>,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Orders {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let found = orders(&context.terminal()?, &context.card_choice(self.no_card))?;
        match self.order {
            None => context.output.result(&units::dated(&found), || list(&found)),
            Some(id) => {
                let order = find(&found, id)?;
                context.output.result(&units::dated(order), || words(order))
            }
        }
    }
}

/// Give an order back, with every license by it
///
/// It runs on none of your devices any more. What was paid from your balance is there again at once.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil refund ord-…     `counterfoil orders` shows which, and until when")]
pub struct Refund {
    /// Which
    #[arg(value_name = "ORDER")]
    order: OrderId,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Refund {
    /// Shows it, asks, and gives it back.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (terminal, card) = (context.terminal()?, context.card_choice(self.no_card));
        if !self.yes {
            let found = orders(&terminal, &card)?;
            context.output.note(words(find(&found, self.order)?).trim_end());
            if !context.output.agreed("Give it back?")? {
                return Err(Failure::refused("not_confirmed", "nothing was given back").hint("To give it back, add `--yes`."));
            }
        }
        let done = refund(&terminal, &card, self.order)?;
        context.output.result(&units::dated(&done), || {
            let ended = units::count(done.ended.len() as u64, "license has ended", "licenses have ended");
            let mut text = format!("given back: {}\n{ended} with it\n", done.order_id);
            if let Some(money) = done.credited {
                text += &format!("{money} is on your balance again\n");
            }
            text
        })
    }
}

fn find(found: &OrdersResult, id: OrderId) -> Result<&OrderedTitle, Failure> {
    found.orders.iter().find(|order| order.order_id == id).ok_or_else(|| {
        Failure::refused("refund_not_allowed", format!("{id} is none of your orders")).hint("`counterfoil orders` shows them.")
    })
}

fn list(found: &OrdersResult) -> String {
    let mut text: String = found.orders.iter().map(words).collect();
    if text.is_empty() {
        text = "nothing was ordered yet\n".to_owned();
    }
    for money in &found.balance {
        text += &format!("balance    {money}\n");
    }
    text
}

fn words(order: &OrderedTitle) -> String {
    let (day, paid) = (units::moment(order.since), paid(order));
    let mut text = format!("{}  {} ({}), {paid}, {day}\n", order.order_id, order.name, order.title);
    let mut line = |what: String| text += &format!("  {what}\n");
    let what = if order.kind == OrderKind::Copy { "the key of a medium, copied at" } else { "for" };
    line(format!("{what} {}", order.device_id));
    match (order.state, order.ended_at) {
        (OrderState::Ended, Some(at)) => line(format!("ended {} ({})", units::moment(at), order.reason.as_deref().unwrap_or("ended"))),
        _ => {
            if let Some(end) = order.expires_at {
                line(format!("lasts until {}", units::moment(end)));
            }
            if let Some(end) = order.refundable_until {
                line(format!("can be given back until {}: counterfoil refund {}", units::moment(end), order.order_id));
            }
        }
    }
    text
}

fn paid(order: &OrderedTitle) -> String {
    match (order.kind, order.payment, order.charged) {
        (OrderKind::Trial, ..) => "for trying".to_owned(),
        (_, Payment::Free, _) | (_, _, None) => "free".to_owned(),
        (_, Payment::Balance, Some(money)) => format!("{money} from your balance"),
        (_, Payment::Gateway, Some(money)) => format!("{money} through a gateway"),
        (_, Payment::Invoice, Some(money)) if order.state == OrderState::Due => format!("{money}, due"),
        (_, Payment::Invoice, Some(money)) => money.to_string(),
    }
}
