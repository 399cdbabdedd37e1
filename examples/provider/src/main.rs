//! `provider`: a third party that offers a service to media that an authority vouches for (B4–B6), as an example to start from.
//!
//! A terminal presents a medium to it; the authority judges the presentation, and this service acts on the verdict: hands contents out to
//! whoever may download, takes files from whoever may upload. It knows no users, holds no key of any medium, and needs nothing of
//! Counterfoil's but three routes of the authority.
//!
//! ```text
//! provider --authority https://authority.example --token-file token --id prv-… --contents ./contents --uploads ./uploads
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use counterfoil_core::ProviderId;
use tokio::signal::unix::{SignalKind, signal};

mod app;
mod authority;
mod contents;
mod handing_in;
mod memory;
mod problem;
mod sessions;
#[cfg(test)]
mod tests;
mod uploads;

use app::{App, now, routes};
use authority::Authority;
use contents::Contents;
use memory::Memory;
use uploads::Uploads;

/// Challenges that wait to be answered, at most.
const CHALLENGES: usize = 100_000;
/// Sessions that are open, at most.
const SESSIONS: usize = 100_000;
/// How often uploads that nobody finishes are taken away.
const SWEEP: Duration = Duration::from_secs(3600);

/// A third party that offers a service to media that an authority vouches for
#[derive(Parser)]
#[command(name = "provider", version)]
struct Arguments {
    /// The authority's address
    #[arg(long, value_name = "URL")]
    authority: String,
    /// A file with the token that `counterfoil provider add --token` answered
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// This provider's ID, as `counterfoil provider add` answered
    #[arg(long, value_name = "ID")]
    id: ProviderId,
    /// What there is to be had: DIR/TITLE/NAME, and conditions in DIR/offers.toml
    #[arg(long, value_name = "DIR")]
    contents: PathBuf,
    /// Where what is handed in goes: DIR/HOLDER/NAME; without it nothing is taken
    #[arg(long, value_name = "DIR")]
    uploads: Option<PathBuf>,
    /// The most that one upload may have, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    upload_mib: u64,
    /// The most that is held of one holder's, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    holder_mib: u64,
    /// Take the signed verdict itself for a session's token, checked with the authority's published keys: sessions outlive this process, and
    /// several processes know each other's
    #[arg(long)]
    offline_verdicts: bool,
    /// Certificates that the authority's is checked by besides the system's, as PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7491")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Arguments::parse().serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

impl Arguments {
    async fn serve(self) -> Result<(), String> {
        let listen = self.listen;
        let app = Arc::new(self.app()?);
        if let Some(uploads) = app.uploads.clone() {
            std::thread::Builder::new().name("sweep".into()).spawn(move || sweep(&uploads)).map_err(|error| error.to_string())?;
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| format!("{listen}: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        println!("listening on http://{address}, {} files to be had", app.contents.len());
        let asked_to_end = async move {
            tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
        };
        axum::serve(listener, routes(app)).with_graceful_shutdown(asked_to_end).await.map_err(|error| error.to_string())
    }

    fn app(self) -> Result<App, String> {
        let token = std::fs::read_to_string(&self.token_file).map_err(|error| format!("{}: {error}", self.token_file.display()))?;
        let authority = Authority::new(&self.authority, token.trim().to_owned(), self.id, self.ca.as_deref())?;
        let uploads = match self.uploads {
            Some(directory) => {
                let words = format!("{}: ", directory.display());
                let uploads = Uploads::new(directory, self.upload_mib << 20, self.holder_mib << 20);
                Some(Arc::new(uploads.map_err(|error| format!("{words}{error}"))?))
            }
            None => None,
        };
        Ok(App {
            id: self.id,
            authority,
            contents: Contents::read(&self.contents)?,
            uploads,
            offline_verdicts: self.offline_verdicts,
            challenges: Mutex::new(Memory::new(CHALLENGES)),
            sessions: Mutex::new(Memory::new(SESSIONS)),
        })
    }
}

/// Takes away what nobody finishes, for as long as the process lives.
fn sweep(uploads: &Uploads) -> ! {
    loop {
        if let Err(error) = uploads.sweep(now()) {
            eprintln!("warning: uploads that are over cannot be taken away: {error}");
        }
        std::thread::park_timeout(SWEEP);
    }
}
