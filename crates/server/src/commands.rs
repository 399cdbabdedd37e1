//! The operator's command line: one subcommand a file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::clock::{Clock, Rng};
use crate::config::Config;
use crate::db::Db;
use crate::roles::Roles;
use crate::server;

pub use failure::Failure;

mod audit;
mod backup;
mod config;
mod doctor;
mod failure;
mod gateway;
mod init;
mod keys;
mod logs;
mod migrate;
mod migrate_store;
mod serve;
mod served;
mod staff;
mod tls;
mod token;

/// The Counterfoil authority: who owns what, and who gets the keys.
#[derive(Parser)]
#[command(name = "counterfoild", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand understands.
#[derive(Args, Clone, Debug)]
pub struct Global {
    /// Configuration file [default: counterfoild.toml in the data directory; gateway.toml for a gateway]
    #[arg(long, global = true, env = "COUNTERFOILD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, made by `init`
    #[arg(long, global = true, env = "COUNTERFOILD_DATA", value_name = "DIR", default_value = "counterfoil-data")]
    data: PathBuf,
    /// Output as JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new authority: configuration, keys, database, first operator token
    #[command(
        after_help = "Examples:\n  counterfoild init --data ./data\n  counterfoild init --data ./data --listen 0.0.0.0:443 --public-url https://counterfoil.example --tls-self-signed --tls-name counterfoil.example\n  counterfoild init --data ./data --database postgres://counterfoil@db.example/counterfoil"
    )]
    Init(init::Init),
    /// Serve, until SIGTERM or SIGINT
    #[command(
        after_help = "Examples:\n  counterfoild serve --data ./data\n  counterfoild serve --data ./data --roles license --listen 10.0.1.1:7480\n  counterfoild serve --config content.toml --roles content"
    )]
    Serve(serve::Serve),
    /// Make, list and take back bearer tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Let people in to the console, list them, end them
    #[command(subcommand)]
    Staff(staff::Command),
    /// List and rotate keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Verify, checkpoint and show the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check configuration, files, database, certificates and clock, and say what to do
    #[command(after_help = "Examples:\n  counterfoild doctor --data ./data\n  counterfoild doctor --data ./data --json")]
    Doctor,
    /// Copy the database while it is in use
    #[command(after_help = "Example:\n  counterfoild backup --data ./data --out /var/backups")]
    Backup(backup::Backup),
    /// Put a backup in place of the database
    #[command(
        after_help = "Examples:\n  counterfoild restore --data ./data /var/backups/counterfoil-20260301T040000.db\n  counterfoild restore --data ./data --replace before.dump"
    )]
    Restore(backup::Restore),
    /// Bring the database to the schema of this version
    #[command(
        after_help = "Examples:\n  counterfoild migrate --data ./data\n  counterfoild migrate --config new.toml --partitions 32\n  counterfoild migrate --data ./data --distributed --dry-run"
    )]
    Migrate(migrate::Migrate),
    /// Move the database or the contents of a running authority to another place
    #[command(
        after_help = "Examples:\n  counterfoild migrate-store --data ./data --from sqlite:./data/counterfoil.db --to-file ./data/database.url\n  counterfoild migrate-store --data ./data --from dir:./data/contents --to s3://example-contents/counterfoil"
    )]
    MigrateStore(migrate_store::MigrateStore),
    /// Run a gateway: a reseller's server between terminals and the authority
    #[command(subcommand)]
    Gateway(gateway::Command),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::Command),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            return explain(&error);
        }
    };
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::operation(format!("no runtime: {error}")).report(json),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Help and version as clap has them, and so are errors of usage, unless a program is listening.
fn explain(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.render().to_string();
        // The first paragraph is the fact; usage and where to find help follow.
        let fact: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let failure = Failure::usage(fact.join(" ").trim_start_matches("error: "));
        return failure.hint("`counterfoild COMMAND --help` shows what it takes.").report(true);
    }
    // Nobody is left to tell where the output is closed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Init(init) => init.run(global).await,
        Command::Serve(serve) => serve.run(global).await,
        Command::Token(command) => command.run(global).await,
        Command::Staff(command) => command.run(global).await,
        Command::Keys(command) => command.run(global).await,
        Command::Audit(command) => command.run(global).await,
        Command::Doctor => doctor::run(global).await,
        Command::Backup(backup) => backup.run(global).await,
        Command::Restore(restore) => restore.run(global).await,
        Command::Migrate(migrate) => migrate.run(global).await,
        Command::MigrateStore(store) => store.run(global).await,
        Command::Gateway(command) => command.run(global).await,
        Command::Config(command) => command.run(global),
    }
}

impl Global {
    /// Where the configuration is.
    fn config_path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| self.data.join("counterfoild.toml"))
    }

    /// The configuration.
    fn config(&self) -> Result<Config, Failure> {
        let path = self.config_path();
        if !path.exists() {
            return Err(Failure::operation(format!("there is no configuration at {}", path.display()))
                .hint("Run `counterfoild init`, or say where it is: --data DIR or --config FILE."));
        }
        Ok(Config::load(&path)?)
    }

    /// The configuration and its database, opened.
    async fn database(&self) -> Result<(Config, Db), Failure> {
        let config = self.config()?;
        let db = Db::open_with(&config.database_url()?, config.database_options()?).await?;
        Ok((config, db))
    }

    /// Everything a use case needs.
    async fn app(&self) -> Result<App, Failure> {
        let (mut config, db) = self.database().await?;
        // Whatever the server of this host serves: a use case needs database and keys.
        config.server.roles = Roles::default();
        let listen = config.server.listen;
        Ok(server::assemble(config, listen, db, Clock::System, Rng::System).await?)
    }

    /// Prints a value: as JSON, or what `human` makes of it.
    fn print<T: serde::Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = if self.json { serde_json::to_string_pretty(value).map_err(Failure::operation)? } else { human(value) };
        say(&text)
    }
}

/// Writes a line to standard output; a reader who has gone is no error.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::operation),
    }
}

/// A failure of a file operation, with the file.
fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Failure + '_ {
    move |error| Failure::operation(format!("{}: {error}", path.display()))
}
