//! `counterfoild gateway serve`

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, at, config, say};
use crate::clock::rfc3339;
use crate::commands::logs;
use crate::commands::serve::write_at_once;
use crate::gateway::server::{self, Running};

/// How to serve.
#[derive(Args)]
pub struct Serve {
    /// Address and port, instead of the configured one; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that does TLS
    #[arg(long)]
    allow_plain: bool,
    /// Write this file when ready: JSON with `url`, `address`, `operator` (where its pages are) and `pid`
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    /// Serves until told to end.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let mut config = config(global)?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.allow_plain |= self.allow_plain;
        logs::start(&config.log)?;
        // Before the first request, so that none is cut by a signal that came early.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::operation)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::operation)?;
        let mut running = server::start(config).await?;
        let url = running.url();
        let ready = json!({ "url": url, "address": running.address, "operator": running.operator, "pid": std::process::id() }).to_string();
        if let Some(path) = &self.ready_file {
            write_at_once(path, &ready).map_err(at(path))?;
        }
        say(&if global.json { ready } else { format!("listening on {url}") })?;
        tell(&running);
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

/// The first line of the log, and what terminals will stumble over.
fn tell(running: &Running) {
    let (url, app, version) = (running.url(), &running.app, env!("CARGO_PKG_VERSION"));
    tracing::info!(%url, authority = app.config.authority.url, database = %app.db.url(), version, "ready");
    match app.authority.identity() {
        Ok((gateway, _, until)) if app.clock.now() < until => tracing::info!(gateway, until = rfc3339(until), "enrolled"),
        Ok((gateway, _, until)) => {
            tracing::warn!(
                gateway,
                until = rfc3339(until),
                "the certificate has ended: `counterfoild gateway enrol TOKEN`, with a new token"
            );
        }
        Err(error) => tracing::warn!(%error, "not enrolled: `counterfoild gateway enrol TOKEN`; exchanges wait until then"),
    }
}
