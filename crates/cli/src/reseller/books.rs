//! `reseller statement` and `reseller settle`: what a gateway owes, month by month (C17).

use std::io::{self, Write as _};

use clap::Args;
use counterfoil_core::{Currency, GatewayId, TitleId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{fresh_key, path};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::unwritable;
use crate::publisher::api::Api;

/// Say what was charged through a gateway in a month, by currency and title, and whose it is
///
/// Recomputed from the exchanges. What was given back counts in the month that it was given back in.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil reseller statement gwy-… --period 2026-11
  counterfoil reseller statement gwy-… --period 2026-11 --csv > november.csv
  counterfoil reseller statement gwy-… --closed")]
pub struct Statement {
    /// Which gateway
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
    /// A calendar month in UTC
    #[arg(long, value_name = "YYYY-MM", required_unless_present = "closed", conflicts_with = "closed")]
    period: Option<String>,
    /// The months that were closed, as they were then
    #[arg(long)]
    closed: bool,
    /// As a table (RFC 4180)
    #[arg(long)]
    csv: bool,
}

/// Close a month: what the gateway owes for it stays as it is, also where that is nothing
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil reseller settle gwy-… --period 2026-11
  counterfoil reseller settle gwy-… --period 2026-11 --csv > november.csv     as the gateway's own totals")]
pub struct Settle {
    /// Which gateway
    #[arg(value_name = "GATEWAY")]
    gateway: GatewayId,
    /// A calendar month in UTC that is over
    #[arg(long, value_name = "YYYY-MM")]
    period: String,
    /// As a table (RFC 4180), which `counterfoild gateway settle --csv` writes as well; of a month that is closed already, too
    #[arg(long)]
    csv: bool,
}

/// Sums, in minor units; less than nothing where more was given back.
#[derive(Deserialize, Serialize)]
struct Line {
    period: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    title: Option<TitleId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    name: Option<String>,
    /// None where nothing was charged in a month that is closed.
    currency: Option<Currency>,
    charges: i64,
    refunds: i64,
    amount: i64,
    gateway_part: i64,
    operator_part: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    closed_at: Option<String>,
}

#[derive(Deserialize)]
struct Lines {
    items: Vec<Line>,
}

impl Statement {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let (stated, closed) = (path(self.gateway, "/statement"), path(self.gateway, "/settlements"));
        let month = self.period.as_deref().map(month).transpose()?;
        if self.csv {
            let from = month.map_or_else(|| format!("{closed}?format=csv"), |month| format!("{stated}?period={month}&format=csv"));
            return io::copy(&mut api.stream(&from)?, &mut io::stdout().lock()).map(drop).map_err(unwritable);
        }
        let lines = match month {
            Some(month) => api.get_where::<Lines>(&stated, "period", month)?.items,
            None => api.all::<Line>(&closed).collect::<Result<Vec<_>, _>>()?,
        };
        let nothing = if self.closed { "no month was closed yet\n" } else { "nothing was charged or given back\n" };
        context.output.result(&json!({ "items": lines }), || match lines.is_empty() {
            true => nothing.to_owned(),
            false => lines.iter().map(Line::words).collect(),
        })
    }
}

impl Settle {
    /// Tells the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let month = month(&self.period)?;
        let at = path(self.gateway, "/settlements");
        // For a table, a month that was closed before is as good.
        let there = match self.csv {
            true => {
                api.all::<Line>(&at).filter(|line| line.as_ref().map_or(true, |line| line.period == month)).collect::<Result<_, _>>()?
            }
            false => vec![],
        };
        let closed = match there.is_empty() {
            true => api.post::<Lines>(&at, Some(&fresh_key()), &json!({ "period": month }))?.items,
            false => there,
        };
        if self.csv {
            return table(&closed).map_err(unwritable);
        }
        context.output.result(&json!({ "items": closed }), || closed.iter().map(Line::words).collect())
    }
}

/// As the gateway writes it: whole minor units, a line a currency, none where nothing was charged.
fn table(closed: &[Line]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(counterfoil_core::wire::SETTLEMENT_HEAD.as_bytes())?;
    for line in closed {
        let Some(currency) = line.currency else { continue };
        let Line { period, charges, refunds, amount, gateway_part, operator_part, .. } = line;
        write!(out, "{period},{currency},{charges},{refunds},{amount},{gateway_part},{operator_part}\r\n")?;
    }
    Ok(())
}

impl Line {
    fn words(&self) -> String {
        let what = self.title.as_ref().map_or_else(|| "closed".to_owned(), ToString::to_string);
        let Some(currency) = self.currency else { return format!("{}  {what}  nothing was charged or given back\n", self.period) };
        let money = |amount: i64| money(amount, currency);
        format!(
            "{}  {what}  {}: {} charged, {} given back\n    yours {}, the gateway's {}\n",
            self.period,
            money(self.amount),
            self.charges,
            self.refunds,
            money(self.operator_part),
            money(self.gateway_part)
        )
    }
}

/// An amount that may be less than nothing.
fn money(amount: i64, currency: Currency) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}", counterfoil_core::Money { amount: amount.unsigned_abs(), currency })
}

/// It stands in an address: nothing but digits and a dash.
fn month(text: &str) -> Result<&str, Failure> {
    let good = text.len() == 7 && text.bytes().enumerate().all(|(at, byte)| if at == 4 { byte == b'-' } else { byte.is_ascii_digit() });
    if good { Ok(text) } else { Err(Failure::usage(format!("{text} is no month")).hint("Write it as `2026-11`.")) }
}
