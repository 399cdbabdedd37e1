//! `counterfoild gateway`: a reseller's server, with a data directory and a database of its own.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Failure, Global, at, say};
use crate::clock::{Clock, Rng};
use crate::db::Db;
use crate::gateway::app::App;
use crate::gateway::config::Config;
use crate::gateway::server;

mod account;
mod books;
mod doctor;
mod enrol;
mod exchanges;
mod init;
mod migrate;
mod money;
mod operator;
mod payments;
mod reconcile;
mod serve;

/// What to do with a gateway.
#[derive(Subcommand)]
pub enum Command {
    /// Make a new gateway: configuration and database
    #[command(
        after_help = "Examples:\n  counterfoild gateway init --data ./gateway --authority https://10.0.0.1:7444\n  counterfoild gateway init --data ./gateway --authority https://10.0.0.1:7444 --listen 0.0.0.0:443 --public-url https://north.example --tls-self-signed --tls-name north.example"
    )]
    Init(init::Init),
    /// Get a certificate from the authority, by the one-time token that its operator has made
    #[command(
        after_help = "Examples:\n  counterfoild gateway enrol --data ./gateway --token-file token.txt\n  pass show gateway-token | counterfoild gateway enrol --data ./gateway -\nThe authority's operator makes the token. A gateway whose certificate has ended is enrolled again the same way, while it runs."
    )]
    Enrol(enrol::Enrol),
    /// Serve, until SIGTERM or SIGINT
    #[command(after_help = "Example:\n  counterfoild gateway serve --data ./gateway")]
    Serve(serve::Serve),
    /// Make, list and close accounts
    #[command(subcommand)]
    Account(account::Command),
    /// List exchanges that are charged for, and where each stands
    #[command(
        after_help = "Examples:\n  counterfoild gateway exchanges --data ./gateway --open\n  counterfoild gateway exchanges --data ./gateway --account ada --json"
    )]
    Exchanges(exchanges::Exchanges),
    /// Book money that has arrived for an account
    #[command(
        after_help = "Examples:\n  counterfoild gateway top-up ada \"50.00 EUR\" --reference 2026-11-22/4711\n  counterfoild gateway top-up ada \"50.00 EUR\" --fee \"0.75 EUR\" --note \"card terminal, shop 2\""
    )]
    TopUp(money::TopUp),
    /// Make and list vouchers
    #[command(subcommand)]
    Voucher(money::Vouchers),
    /// Show a month of an account: opening, lines, closing
    #[command(after_help = "Example:\n  counterfoild gateway statement ada --period 2026-11")]
    Statement(books::Statement),
    /// Close a month, once, and show what operator and gateway each get
    #[command(after_help = "Example:\n  counterfoild gateway settle 2026-11 --csv ./settlements")]
    Settle(books::Settle),
    /// Undo an exchange and give its price back to the account; the authority ends what was paid for first
    #[command(after_help = "Example:\n  counterfoild gateway refund 0198c0de-0000-7000-8000-000000000001 --note \"ordered twice\"")]
    Refund(money::Refund),
    /// Note that the bank has taken a top-up back: the rest of it goes, and what it paid for ends
    #[command(after_help = "Example:\n  counterfoild gateway chargeback pst-… --fee \"15.00 EUR\"")]
    Chargeback(money::Chargeback),
    /// List payments by card, and where each stands
    #[command(after_help = "Example:\n  counterfoild gateway payments --open")]
    Payments(payments::Payments),
    /// Give what is left of a payment back to its card
    #[command(
        after_help = "Examples:\n  counterfoild gateway repay pay-…\n  counterfoild gateway repay pay-… --amount \"5.00 EUR\" --note \"as asked\""
    )]
    Repay(payments::Repay),
    /// Show what the books hold and what is overdue, and check them
    #[command(after_help = "Example:\n  counterfoild gateway books --check")]
    Books(books::Books),
    /// The pages of whoever runs this gateway
    #[command(subcommand)]
    Operator(operator::Command),
    /// Compare this gateway's exchanges with the authority's; exit status 1 where they differ
    #[command(
        after_help = "Examples:\n  counterfoild gateway reconcile --data ./gateway --json\n  counterfoild gateway reconcile --data ./gateway --period 2026-11"
    )]
    Reconcile(reconcile::Reconcile),
    /// Check configuration, database, certificate and the way to the authority, and say what to do
    #[command(after_help = "Example:\n  counterfoild gateway doctor --data ./gateway")]
    Doctor,
    /// Bring the gateway's database to the schema of this version
    #[command(after_help = "Example:\n  counterfoild gateway migrate --data ./gateway")]
    Migrate,
}

impl Command {
    /// Does it.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Init(init) => init.run(global).await,
            Self::Enrol(enrol) => enrol.run(global).await,
            Self::Serve(serve) => serve.run(global).await,
            Self::Account(command) => command.run(global).await,
            Self::Exchanges(exchanges) => exchanges.run(global).await,
            Self::TopUp(top_up) => top_up.run(global).await,
            Self::Voucher(command) => command.run(global).await,
            Self::Statement(statement) => statement.run(global).await,
            Self::Settle(settle) => settle.run(global).await,
            Self::Refund(refund) => refund.run(global).await,
            Self::Chargeback(chargeback) => chargeback.run(global).await,
            Self::Payments(payments) => payments.run(global).await,
            Self::Repay(repay) => repay.run(global).await,
            Self::Books(books) => books.run(global).await,
            Self::Operator(command) => command.run(global).await,
            Self::Reconcile(reconcile) => reconcile.run(global).await,
            Self::Doctor => doctor::run(global).await,
            Self::Migrate => migrate::run(global).await,
        }
    }
}

/// Where the configuration is.
fn config_path(global: &Global) -> PathBuf {
    global.config.clone().unwrap_or_else(|| global.data.join("gateway.toml"))
}

/// The configuration.
fn config(global: &Global) -> Result<Config, Failure> {
    let path = config_path(global);
    if !path.exists() {
        return Err(Failure::operation(format!("there is no gateway at {}", path.display()))
            .hint("Run `counterfoild gateway init`, or say where it is: --data DIR or --config FILE."));
    }
    Ok(Config::load(&path)?)
}

/// Everything a use case needs.
async fn open(global: &Global) -> Result<App, Failure> {
    let config = config(global)?;
    let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
    let listen = config.server.listen;
    Ok(server::assemble(config, listen, db, Clock::System, Rng::System).await?)
}
