//! `counterfoild serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, at, logs, say};
use crate::server;

/// How to serve.
#[derive(Args)]
pub struct Serve {
    /// Address and port, instead of the configured one; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that does TLS
    #[arg(long)]
    allow_plain: bool,
    /// Write this file when ready: JSON with `url`, `address` and `pid`
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    /// Serves until told to end.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let mut config = global.config()?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.allow_plain |= self.allow_plain;
        logs::start(&config.log)?;
        // Before the first request, so that none is cut by a signal that came early.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::operation)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::operation)?;
        let mut running = server::start(config).await?;
        let url = running.url();
        if let Some(path) = &self.ready_file {
            let ready = json!({ "url": url, "address": running.address, "pid": std::process::id() });
            write_at_once(path, &ready.to_string()).map_err(at(path))?;
        }
        say(&format!("listening on {url}"))?;
        tracing::info!(%url, authority = running.app.name, database = %running.app.db.url(), version = env!("CARGO_PKG_VERSION"), "ready");
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            ended = running.ended() => return ended.map_err(Failure::operation),
        }
        tracing::info!("ending: requests under way may finish");
        running.stop().await.map_err(Failure::operation)?;
        tracing::info!("ended");
        Ok(())
    }
}

/// Whoever waits for the file never sees half of it.
fn write_at_once(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
