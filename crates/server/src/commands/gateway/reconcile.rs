//! `counterfoild gateway reconcile`

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;

use super::{Failure, Global, open, say};
use crate::clock::monotonic;
use crate::gateway::client::Failed;
use crate::gateway::driver::Learned;
use crate::gateway::ledger::Period;
use crate::gateway::reconcile::{self, Compared, Difference, Told, Which};

/// How often it is said how far it is.
const EVERY: Duration = Duration::from_secs(1);

/// Which exchanges are compared.
#[derive(Args)]
pub struct Reconcile {
    /// Only those that were begun in this month, in UTC, such as 2026-11
    #[arg(long, value_name = "YYYY-MM")]
    period: Option<Period>,
    /// Leave out what has changed within so many seconds, on either side: it may be on its way still
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    fresh: u32,
}

impl Reconcile {
    /// Compares, prints, and fails where there are differences.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let app = open(global).await?;
        let which = Which { period: self.period, fresh: i64::from(self.fresh) * 1000 };
        let mut printer = Printer::new(global.json);
        let compared = reconcile::compare(&app, which, |told| printer.take(&told)).await.map_err(|error| match error {
            Learned::Authority(error @ Failed::Unknown) => Failure::operation(error)
                .hint("The authority is from before it could be compared like this: its operator has to update it. Nothing was compared."),
            Learned::Authority(error) => Failure::operation(error)
                .hint("`counterfoild gateway doctor` looks at the way to the authority. What was printed is not all: compare again."),
            Learned::Db(error) => error.into(),
        })?;
        app.db.close().await;
        printer.end(compared)?;
        match compared.differ {
            0 => Ok(()),
            count => Err(Failure::refused(format!("{count} exchanges stand otherwise at the authority"))
                .hint("Keep both databases as they are, and compare each exchange with the authority's operator.")),
        }
    }
}

/// Prints differences as they are found, however many there are, and on a terminal how far it is.
struct Printer {
    json: bool,
    printed: u64,
    trouble: Result<(), Failure>,
    told_at: Duration,
    is_watched: bool,
}

impl Printer {
    fn new(json: bool) -> Self {
        Self { json, printed: 0, trouble: Ok(()), told_at: monotonic(), is_watched: std::io::stderr().is_terminal() }
    }

    fn take(&mut self, told: &Told<'_>) {
        match told {
            Told::Difference(difference) if self.trouble.is_ok() => self.trouble = self.print(difference),
            Told::Difference(_) => {}
            Told::SoFar(compared) => self.so_far(*compared),
        }
    }

    fn print(&mut self, difference: &Difference) -> Result<(), Failure> {
        self.printed += 1;
        if !self.json {
            return say(&line(difference));
        }
        // One document, whose list is written as it is found.
        let item = serde_json::to_string(difference).map_err(Failure::operation)?;
        say(&if self.printed == 1 { format!("{{\"differences\":[\n{item}") } else { format!(",{item}") })
    }

    fn so_far(&mut self, compared: Compared) {
        if monotonic().saturating_sub(self.told_at) < EVERY {
            return;
        }
        self.told_at = monotonic();
        let line = format!("{} compared, {} under way, {} differ", compared.compared, compared.under_way, compared.differ);
        let shown = if self.is_watched { write!(std::io::stderr(), "\r{line}") } else { writeln!(std::io::stderr(), "{line}") };
        // Whoever does not listen misses nothing: it is all in the result.
        drop(shown);
    }

    fn end(self, compared: Compared) -> Result<(), Failure> {
        self.trouble?;
        let Compared { compared: alike, under_way, differ } = compared;
        if !self.json {
            return say(&format!("{alike} compared, {under_way} under way, {differ} differ"));
        }
        let begun = if self.printed == 0 { "{\"differences\":[" } else { "" };
        say(&format!("{begun}],\"compared\":{alike},\"under_way\":{under_way},\"differ\":{differ}}}"))
    }
}

fn line(difference: &Difference) -> String {
    let here = difference.gateway.map_or("not there", |state| state.as_str());
    let there = difference.authority.map_or("not there", |state| state.as_str());
    format!("{}  {}  (gateway: {here}; authority: {there})", difference.exchange_id, difference.what)
}
