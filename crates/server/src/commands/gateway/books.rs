//! `counterfoild gateway statement`, `settle`, `books`: what was booked, by account, by month, and altogether.

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::Currency;
use counterfoil_core::wire::SETTLEMENT_HEAD;
use serde_json::json;

use super::account::by_name;
use super::{Failure, Global, open};
use crate::clock::rfc3339;
use crate::db::{DbError, Tx};
use crate::gateway::app::App;
use crate::gateway::books::{self, Overdue, Totals};
use crate::gateway::ledger::Period;
use crate::gateway::settlement::{self, Party, SettleError, Settlement, Share};
use crate::gateway::statement::{self, Line, signed};

/// Lines of a settlement that are read at a time.
const LINES: i64 = 500;

/// A month of an account.
#[derive(Args)]
pub struct Statement {
    /// The account's name
    account: String,
    /// The month, in UTC [default: this one]
    #[arg(long, value_name = "2026-11")]
    period: Option<Period>,
}

impl Statement {
    /// Shows it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let account = by_name(&app, &self.account).await?.id;
        let period = self.period.unwrap_or_else(|| Period::of(app.clock.now()));
        let found = app.db.read("statement", async move |tx: &mut Tx| statement::of(tx, account, period).await).await?;
        let mut shown = vec![];
        for statement in found {
            let (mut lines, currency): (Vec<Line>, Currency) = (vec![], statement.currency);
            loop {
                let after = lines.last().map_or(0, |line| line.number);
                let page =
                    app.db.read("lines", async move |tx: &mut Tx| statement::lines(tx, account, currency, period, after).await).await?;
                let full = page.len() == statement::PAGE;
                lines.extend(page);
                if !full {
                    break;
                }
            }
            shown.push((statement, lines));
        }
        app.db.close().await;
        let document: Vec<_> = shown
            .iter()
            .map(|(one, lines)| {
                json!({ "period": period, "currency": one.currency, "opening": one.opening, "closing": one.closing, "closed_at": one.closed_at, "lines": lines })
            })
            .collect();
        global.print(&document, |_| shown.iter().map(|(one, lines)| page(one, lines)).collect::<Vec<_>>().join("\n\n"))
    }
}

fn page(one: &statement::Statement, lines: &[Line]) -> String {
    let state = one.closed_at.map_or_else(|| "open".to_owned(), |at| format!("closed {}", rfc3339(at)));
    let mut text = vec![format!("{} {}, {state}", one.period, one.currency), row("", "opening", None, one.opening, one.currency, "")];
    for line in lines {
        let about = line.name.as_deref().unwrap_or(&line.note);
        text.push(row(&rfc3339(line.at), line.kind, Some(line.amount), line.balance, one.currency, about));
    }
    text.push(row("", "closing", None, one.closing, one.currency, ""));
    text.join("\n")
}

fn row(at: &str, kind: &str, amount: Option<i64>, balance: i64, currency: Currency, about: &str) -> String {
    let amount = amount.map(|amount| signed(amount, currency)).unwrap_or_default();
    format!("{at:<24}  {kind:<10}  {amount:>12}  {:>12}  {about}", signed(balance, currency)).trim_end().to_owned()
}

/// A month that is to be settled, or was.
#[derive(Args)]
pub struct Settle {
    /// The month, in UTC, such as 2026-11
    period: Period,
    /// Write CSVs into this directory: every charge, one file for each party, and the totals, as `counterfoil reseller settle --csv` has them
    #[arg(long, value_name = "DIR")]
    csv: Option<PathBuf>,
}

impl Settle {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let settled = settlement::settle(&app.db, self.period, app.clock.now()).await.map_err(|error| match error {
            SettleError::Db(error) => Failure::from(error),
            error => Failure::refused(error).hint("`counterfoild gateway books` shows what was booked so far."),
        })?;
        let mut files = vec![];
        if let Some(directory) = &self.csv {
            std::fs::create_dir_all(directory).map_err(super::at(directory))?;
            for party in [Party::Operator, Party::Gateway] {
                let path = directory.join(format!("{}-{}.csv", self.period, party.as_str()));
                export(&app, self.period, party, &path).await?;
                files.push(path.display().to_string());
            }
            let path = directory.join(format!("{}-totals.csv", self.period));
            std::fs::write(&path, totals(&settled)).map_err(super::at(&path))?;
            files.push(path.display().to_string());
        }
        app.db.close().await;
        global.print(&json!({ "settlement": settled, "files": files }), |_| {
            let files = files.iter().map(|file| format!("wrote {file}"));
            std::iter::once(words(&settled)).chain(files).collect::<Vec<_>>().join("\n")
        })
    }
}

fn words(settled: &Settlement) -> String {
    let mut lines = vec![format!("{} is settled, {}", settled.period, rfc3339(settled.closed_at))];
    if settled.shares.is_empty() {
        lines.push("nothing was charged".to_owned());
    }
    lines.extend(settled.shares.iter().map(|share| {
        let of = |amount| signed(amount, share.currency);
        let (charged, returned) = (of(share.charged), of(share.returned));
        format!(
            "{:<8}  {}  {:>12}  of {} charges, {charged}, less {} undone, {returned}",
            share.party,
            share.currency,
            of(share.part),
            share.charges,
            share.undone
        )
    }));
    lines.join("\n")
}

/// What the month comes to, by currency, in the bytes that the authority has for it as well.
fn totals(settled: &Settlement) -> String {
    let line = |of: &Share| {
        let operator = settled.shares.iter().find(|share| share.currency == of.currency && share.party == Party::Operator.as_str());
        let operator = operator.map_or(0, |share| share.part);
        let amount = of.charged - of.returned;
        format!("{},{},{},{},{amount},{},{operator}\r\n", settled.period, of.currency, of.charges, of.undone, of.part)
    };
    let gateways = settled.shares.iter().filter(|share| share.party == Party::Gateway.as_str());
    std::iter::once(SETTLEMENT_HEAD.to_owned()).chain(gateways.map(line)).collect()
}

/// Every line of a month, as one party gets it. The same month gives the same bytes.
async fn export(app: &App, period: Period, party: Party, path: &std::path::Path) -> Result<(), Failure> {
    let mut writer = csv::Writer::from_path(path).map_err(Failure::operation)?;
    writer.write_record(settlement::COLUMNS).map_err(Failure::operation)?;
    let mut after = None;
    loop {
        let page = app.db.read("settled lines", async move |tx: &mut Tx| settlement::lines(tx, period, after, LINES).await).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.posting);
        for line in &page {
            writer.write_record(line.cells(party)).map_err(Failure::operation)?;
        }
    }
    writer.flush().map_err(super::at(path))
}

/// All that was booked.
#[derive(Args)]
pub struct Books {
    /// Recompute everything from the journal; exit status 1 where something is wrong
    #[arg(long)]
    check: bool,
}

impl Books {
    /// Shows or checks it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let now = app.clock.now();
        let read = async move |tx: &mut Tx| -> Result<_, DbError> { Ok((books::totals(tx).await?, books::overdue(tx, now).await?)) };
        let (totals, overdue) = app.db.read("books", read).await?;
        let wrong = if self.check { books::check_and_note(&app.db, now).await? } else { vec![] };
        app.db.close().await;
        global.print(&json!({ "totals": totals, "overdue": overdue, "wrong": self.check.then_some(&wrong) }), |_| {
            let wrong = wrong.iter().map(|one| format!("wrong: {}: {}", one.invariant, one.subject));
            let clean = (self.check && wrong.len() == 0).then(|| "nothing is wrong".to_owned());
            totals.iter().map(totalled).chain(overdue.iter().map(waiting)).chain(wrong).chain(clean).collect::<Vec<_>>().join("\n")
        })?;
        match wrong.len() {
            0 => Ok(()),
            count => Err(Failure::refused(format!("the books are wrong in {count} places"))
                .hint("Stop the gateway, keep the database as it is, and compare it with the last backup.")),
        }
    }
}

fn totalled(totals: &Totals) -> String {
    let Totals { currency, postings, customers, reserved, operator, gateway, cash, fees, vouchers, receivable } = totals;
    let of = |amount: &i64| signed(*amount, *currency);
    format!(
        "{currency}  {postings} postings\n  customers {:>14}, {} of it reserved\n  operator  {:>14}\n  gateway   {:>14}\n  cash      {:>14}\n  fees      {:>14}\n  vouchers  {:>14}\n  receivable{:>14}",
        of(customers),
        of(reserved),
        of(operator),
        of(gateway),
        of(cash),
        of(fees),
        of(vouchers),
        of(receivable)
    )
}

fn waiting(overdue: &Overdue) -> String {
    let (amount, since) = (signed(overdue.amount, overdue.currency), rfc3339(overdue.booked_at));
    let exchange = overdue.exchange.map(|id| id.to_string()).unwrap_or_default();
    let state = overdue.state.as_deref().unwrap_or("unknown");
    format!("pending: {amount} {} of {} since {since}, exchange {exchange}, {state}", overdue.currency, overdue.account)
}
