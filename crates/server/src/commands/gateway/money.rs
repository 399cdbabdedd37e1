//! `counterfoild gateway top-up`, `voucher`, `refund`, `chargeback`: money that comes in and goes back.

use clap::{Args, Subcommand};
use counterfoil_core::wire::UndoReason;
use counterfoil_core::{Money, PostingId, RequestId, Timestamp};
use serde_json::json;

use super::account::by_name;
use super::{Failure, Global, open};
use crate::clock::rfc3339;
use crate::db::Tx;
use crate::gateway::chargeback::{self, Ended};
use crate::gateway::exchange::{self, Undoing};
use crate::gateway::ledger::{self, Source, ToppedUp};
use crate::gateway::vouchers::{self, Batch, Voucher};

/// Money that has arrived for an account.
#[derive(Args)]
pub struct TopUp {
    /// The account's name
    account: String,
    /// How much, such as "50.00 EUR"
    money: Money,
    /// What being paid has cost the gateway, in the same currency
    #[arg(long, value_name = "MONEY")]
    fee: Option<Money>,
    /// The payment's own name, such as the bank's reference: the same again is booked once
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    /// For the record
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

impl TopUp {
    /// Books it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let account = by_name(&app, &self.account).await?.id;
        let currency = self.money.currency;
        if self.fee.is_some_and(|fee| fee.currency != currency) {
            return Err(Failure::usage("--fee is in another currency than the money"));
        }
        let posting = match &self.reference {
            Some(reference) => chargeback::referenced(account, reference),
            None => PostingId::from_bytes(app.rng.bytes()),
        };
        let source = Source::Cash { fee: self.fee.map_or(0, |fee| fee.amount) };
        let note = [self.note, self.reference.unwrap_or_default()].join(" ").trim().to_owned();
        let (now, money) = (app.clock.now(), self.money);
        let top_up = ledger::TopUp { posting, money, source, actor: "operator".to_owned(), note };
        let booked = app.db.write("top up", account.to_string(), async move |tx| ledger::top_up(tx, account, &top_up, now).await).await?;
        if let ToppedUp::Other(earlier) = booked {
            return Err(Failure::refused(format!("nothing was booked: this reference was {earlier} before, or had another fee"))
                .hint("A payment is booked once by its reference. For another payment, give the reference of that one."));
        }
        if booked == ToppedUp::Unfit {
            return Err(Failure::refused(format!("{money} cannot be booked")).hint(format!(
                "A top-up is at least one minor unit and not less than its fee; a balance holds at most {} minor units.",
                ledger::MOST
            )));
        }
        let held = app.db.read("balance", async move |tx: &mut Tx| ledger::balance(tx, account, &currency).await).await?;
        let balance = Money { amount: held.available().unsigned_abs(), currency };
        app.db.close().await;
        global.print(&json!({ "posting": posting, "money": money, "balance": balance }), |_| {
            format!("booked {money} as {posting}; {} can spend {balance}", self.account)
        })
    }
}

/// What to do with vouchers.
#[derive(Subcommand)]
pub enum Vouchers {
    /// Make vouchers and show their codes this once
    #[command(
        after_help = "Example:\n  counterfoild gateway voucher make \"10.00 EUR\" --count 500 --batch spring --expires-in-days 365 > codes.txt"
    )]
    Make {
        /// What each is worth
        money: Money,
        /// How many
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// What to call them together
        #[arg(long, value_name = "NAME")]
        batch: String,
        /// Days until they end
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
    },
    /// List vouchers and who has redeemed them; codes are not kept
    #[command(after_help = "Example:\n  counterfoild gateway voucher list --batch spring --json")]
    List {
        /// Only these
        #[arg(long, value_name = "NAME")]
        batch: Option<String>,
    },
}

impl Vouchers {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        match self {
            Self::Make { money, count, batch, expires_in_days } => {
                if money.amount == 0 || money.amount > ledger::MOST {
                    return Err(Failure::usage("a voucher is worth at least one minor unit, and no more than a balance holds"));
                }
                let now = app.clock.now();
                let expires_at = expires_in_days.map(|days| Timestamp(now.0 + i64::from(days) * Timestamp::DAY));
                let made = vouchers::make(&app.db, &Batch { name: batch, money, expires_at }, count, now, &app.rng).await?;
                let codes: Vec<String> = made.iter().map(ToString::to_string).collect();
                global.print(&json!({ "money": money, "codes": codes }), |_| codes.join("\n"))?;
            }
            Self::List { batch } => {
                let (mut all, mut after): (Vec<Voucher>, Vec<u8>) = (vec![], vec![]);
                loop {
                    let (batch, from) = (batch.clone(), after.clone());
                    let page = app.db.read("vouchers", async move |tx| vouchers::list(tx, batch.as_deref(), &from).await).await?;
                    let Some((last, _)) = page.last() else { break };
                    after.clone_from(last);
                    all.extend(page.into_iter().map(|(_, voucher)| voucher));
                }
                global.print(&all, |all| all.iter().map(line).collect::<Vec<_>>().join("\n"))?;
            }
        }
        app.db.close().await;
        Ok(())
    }
}

fn line(voucher: &Voucher) -> String {
    let state = match (&voucher.account, voucher.taken_at, voucher.expires_at) {
        (Some(account), Some(at), _) => format!("redeemed by {account} {}", rfc3339(at)),
        (_, _, Some(until)) => format!("until {}", rfc3339(until)),
        _ => String::new(),
    };
    format!("{}  {:<16}  {:>14}  {state}", voucher.voucher, voucher.batch, voucher.money.to_string()).trim_end().to_owned()
}

/// An exchange whose money goes back to its account.
#[derive(Args)]
pub struct Refund {
    /// The exchange, as `gateway exchanges` and receipts name it
    #[arg(value_parser = exchange_id)]
    exchange: RequestId,
    /// For the record, at the authority as well
    #[arg(long, default_value = "", hide_default_value = true)]
    note: String,
}

fn exchange_id(text: &str) -> Result<RequestId, String> {
    text.parse().map(RequestId).map_err(|_| "an exchange is named by a UUID".to_owned())
}

impl Refund {
    /// Asks the authority first, then books it back.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let undone = exchange::undo(&app, self.exchange, UndoReason::Refund, &self.note).await?;
        app.db.close().await;
        let (state, why) = match undone {
            Undoing::Done => ("undone", None),
            Undoing::UnderWay(why) => ("under_way", Some(why)),
        };
        global.print(&json!({ "exchange": self.exchange, "state": state, "trouble": why }), |_| match &why {
            None => format!("exchange {} is undone, and its price is back in the account", self.exchange),
            Some(why) => format!("exchange {} is written down to be undone, and goes on by itself: {why}", self.exchange),
        })
    }
}

/// A top-up that the bank has taken back.
#[derive(Args)]
pub struct Chargeback {
    /// The top-up's posting, as `gateway top-up` and statements name it
    top_up: PostingId,
    /// What the bank asks for it
    #[arg(long, value_name = "MONEY")]
    fee: Option<Money>,
    /// For the record, at the authority as well
    #[arg(long, default_value = "chargeback")]
    note: String,
}

impl Chargeback {
    /// Takes what is left of it, and ends what it paid for.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let came = chargeback::chargeback(&app, self.top_up, self.fee, &self.note).await?;
        app.db.close().await;
        global.print(&came, words)
    }
}

fn words(came: &Ended) -> String {
    let mut lines = vec![format!("{} exchanges that it paid for have ended", came.ended.len())];
    lines.extend(came.under_way.iter().map(|(exchange, why)| format!("{exchange} goes on by itself: {why}")));
    lines.extend(came.reserved.iter().map(|exchange| format!("{exchange} is on its way, and ends when it is charged")));
    lines.join("\n")
}
