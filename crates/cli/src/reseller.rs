//! `reseller`: gateways that sell what the authority has: their terms, their prices, and what they owe (C16, C17).

use clap::{Args, Subcommand};
use counterfoil_core::GatewayId;
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Secret, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::publisher::api::Api;
use price::Priced;
use terms::Since;

mod books;
mod price;
mod terms;

/// For operators: resellers' gateways, at what price they sell, and what they owe
///
/// With the operator's token; publishers set the prices of their own titles.
#[derive(Subcommand, Debug)]
pub enum ResellerCommand {
    New(New),
    List(List),
    Show(Show),
    Token(Token),
    Price(price::Price),
    Terms(terms::Terms),
    End(End),
    Statement(books::Statement),
    Settle(books::Settle),
}

impl ResellerCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ResellerCommand::New(command) => command.run(context),
            ResellerCommand::List(command) => command.run(context),
            ResellerCommand::Show(command) => command.run(context),
            ResellerCommand::Token(command) => command.run(context),
            ResellerCommand::Price(command) => command.run(context),
            ResellerCommand::Terms(command) => command.run(context),
            ResellerCommand::End(command) => command.run(context),
            ResellerCommand::Statement(command) => command.run(context),
            ResellerCommand::Settle(command) => command.run(context),
        }
    }
}

/// Make a reseller's gateway known, with its share of every price
///
/// It is let in once it is enrolled: `counterfoil reseller token`, and on its host `counterfoild gateway enrol`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil reseller new 'Arcade North' --share 30
  counterfoil reseller new 'Kiosk' --share 12.5 --every-copy")]
pub struct New {
    /// What people call it; no two have the same name
    #[arg(value_name = "NAME")]
    name: String,
    /// Its share of every price, in percent, to two decimals; the rest, and what is lost by rounding, is yours
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    share: u32,
    /// Titles with a price there are charged for whenever they are copied through it, from whatever medium
    #[arg(long)]
    every_copy: bool,
}

/// List the gateways, those that have ended as well
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil reseller list")]
pub struct List {}

/// Show a gateway with its prices
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil reseller show gwy-…")]
pub struct Show {
    /// Its ID
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
}

/// Make a token that lets a gateway in once, within seven days
///
/// It is shown this one time. A token before it that was not used is good no more; certificates stay good.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil reseller token gwy-…")]
pub struct Token {
    /// Its ID
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
}

/// End a gateway: it is let in no more from this moment on
///
/// What was charged through it stays, and can be stated and settled.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil reseller end gwy-… --yes")]
pub struct End {
    /// Its ID
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// A gateway, as the authority shows it.
#[derive(Deserialize, Serialize)]
struct Gateway {
    gateway: GatewayId,
    name: String,
    share: u32,
    every_copy: bool,
    created_at: String,
    certificate_until: Option<String>,
    ended_at: Option<String>,
}

impl New {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let body = json!({ "name": self.name, "share": self.share, "every_copy": self.every_copy });
        let made: Gateway = api.post("/v1/gateways", Some(&fresh_key()), &body)?;
        context.output.result(&made, || format!("{}Let it in with `counterfoil reseller token {}`.\n", made.words(), made.gateway))
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let gateways = api.all::<Gateway>("/v1/gateways").collect::<Result<Vec<_>, _>>()?;
        context.output.result(&json!({ "items": gateways }), || match gateways.is_empty() {
            true => "there is no gateway yet\n".to_owned(),
            false => gateways.iter().map(Gateway::words).collect(),
        })
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let gateway: Gateway = api.get(&path(self.gateway, ""))?;
        let prices = api.all::<Priced>(&path(self.gateway, "/prices")).collect::<Result<Vec<_>, _>>()?;
        let terms = api.all::<Since>(&path(self.gateway, "/terms")).collect::<Result<Vec<_>, _>>()?;
        context.output.result(&json!({ "gateway": gateway, "prices": prices, "terms": terms }), || {
            // One line says what holds now; where there was or will be another share, all are told.
            let shares = terms.iter().filter(|_| terms.len() > 1).map(Since::words);
            gateway.words() + &shares.chain(prices.iter().map(Priced::words)).collect::<String>()
        })
    }
}

impl Token {
    fn run(self, context: &Context) -> Result<(), Failure> {
        #[derive(Deserialize, Serialize)]
        struct Made {
            token: String,
            expires_at: String,
        }
        let (api, _) = Api::connect(context)?;
        let made: Made = api.post(&path(self.gateway, "/token"), Some(&fresh_key()), &json!({}))?;
        context.output.note(&format!("good once, until {}; on the gateway's host: `counterfoild gateway enrol`", made.expires_at));
        context.output.result(&made, || format!("{}\n", made.token))
    }
}

impl End {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        if !self.yes {
            let gateway: Gateway = api.get(&path(self.gateway, ""))?;
            context.output.note(gateway.words().trim_end());
            if !context.output.agreed("End it? Its customers can copy nothing through it from then on.")? {
                return Err(Failure::refused("not_confirmed", "nothing was done").hint("To do it, add `--yes`."));
            }
        }
        api.remove(&path(self.gateway, ""))?;
        context.output.result(&json!({ "gateway": self.gateway, "ended": true }), || format!("{} is let in no more\n", self.gateway))
    }
}

impl Gateway {
    fn words(&self) -> String {
        let charged = if self.every_copy { "every copy" } else { "media that say so, and orders" };
        let state = match (&self.ended_at, &self.certificate_until) {
            (Some(at), _) => format!("ended {at}"),
            (None, Some(until)) => format!("enrolled, certificate until {until}"),
            (None, None) => "not enrolled yet".to_owned(),
        };
        let share = percent(self.share);
        format!("{}  {}\n    share {share}, charges for {charged}\n    {state}\n", self.gateway, self.name)
    }
}

fn path(gateway: GatewayId, rest: &str) -> String {
    format!("/v1/gateways/{gateway}{rest}")
}

fn fresh_key() -> String {
    to_base64url(Secret::<16>::random(&mut SystemRandom).expose())
}

fn percent(share: u32) -> String {
    format!("{}.{:02} %", share / 100, share % 100)
}

/// A share in percent, as hundredths of one.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || "a share is 0 to 100, in percent, with at most two decimals".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !digits(whole) || !digits(part) || text.ends_with('.') {
        return Err(wrong());
    }
    let share: u32 = format!("{whole}{part:0<2}").parse().map_err(|_| wrong())?;
    if share <= 10_000 { Ok(share) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c17_a_share_is_a_percentage_to_two_decimals() {
        for (text, hundredths) in [("30", 3000), ("12.5", 1250), ("0", 0), ("100", 10_000), ("0.01", 1), ("99.99", 9999)] {
            assert_eq!(share(text), Ok(hundredths), "{text}");
        }
        for bad in ["", "-1", "100.01", "101", "1.234", "1,5", "30%", ".5", "5.", "1e2"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
