//! Drives many thousand simulated terminals against several server processes on this machine.

use clap::Parser;
use counterfoil_harness::{Common, authority::Failure, fleet};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Drives many thousand simulated terminals against server processes that it starts, and reports throughput, latency, refusals and the
/// auditor's verdict. Each terminal has a user, a device and a medium of its own: it registers, inspects, claims, confirms, and from then
/// on looks again, repeats its claim, tries a borrowed medium and fetches contents.
///
///   cargo run --release --example fleet -- --terminals 20000 --servers 3 --seconds 60
///   cargo run --release --example fleet -- --servers 2 --roles authority,content --roles license --rate 400
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Command {
    /// Simulated terminals.
    #[arg(long, default_value_t = 20_000)]
    terminals: usize,
    #[command(flatten)]
    options: fleet::Options,
    /// `postgres://…` of an empty database, instead of a throw-away one (several servers) or SQLite (one).
    #[arg(long)]
    database: Option<String>,
    /// The server binary [default: beside this program, built when it is not there]
    #[arg(long)]
    counterfoild: Option<PathBuf>,
    /// Sets a key of the servers' configuration: `section__key=value`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = counterfoil_harness::setting)]
    settings: Vec<(String, String)>,
    /// Repeats a run's choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// One JSON object on stdout, and no progress.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match run(&command) {
        Ok(report) if report.verdict.is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            eprintln!("hint: `--help` says what can be set; servers that do not start say why above");
            ExitCode::from(3)
        }
    }
}

fn run(command: &Command) -> Result<fleet::Report, Failure> {
    let common = Common {
        counterfoild: command.counterfoild.clone().map_or_else(beside, Ok)?,
        database: command.database.clone(),
        seed: command.seed,
        terminals: 0,
        settings: command.settings.clone(),
    };
    let report = fleet::run(&common, &command.options, command.terminals, !command.json)?;
    if command.json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    Ok(report)
}

/// `target/PROFILE/counterfoild`, where this is `target/PROFILE/examples/fleet`; `cargo run` builds only the example, so the server may be missing.
fn beside() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::Io("finding this program", error))?;
    let profile = own.parent().and_then(Path::parent).ok_or_else(|| Failure::Broken("this program lies nowhere".into()))?;
    let server = profile.join("counterfoild");
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    // Also when it is there: it may be older than its sources.
    if let Some(cargo) = std::env::var_os("CARGO") {
        let built = std::process::Command::new(cargo).args(["build", "--quiet", "--bin", "counterfoild", "--profile", name]).status();
        match built {
            Ok(status) if status.success() => {}
            _ => return Err(Failure::Broken("cargo could not build counterfoild".into())),
        }
    }
    Ok(server)
}
