//! `counterfoild serve`

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Global, at, logs, say};
use crate::actions::staff::{self, Entrance};
use crate::app::App;
use crate::config;
use crate::roles::ServerRole;
use crate::server::{self, Running};

/// How to serve.
#[derive(Args)]
pub struct Serve {
    /// Address and port, instead of the configured one; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// What to serve, instead of the configured roles; separated by commas
    #[arg(long, value_enum, value_name = "ROLES", value_delimiter = ',', num_args = 1)]
    roles: Vec<ServerRole>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that does TLS
    #[arg(long)]
    allow_plain: bool,
    /// Write this file when ready: JSON with `url`, `address`, `roles` and `pid`
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
}

impl Serve {
    /// Serves until told to end.
    pub async fn run(self, global: &Global) -> Result<(), Failure> {
        let mut config = global.config()?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.server.allow_plain |= self.allow_plain;
        if !self.roles.is_empty() {
            config.server.roles = self.roles.into_iter().collect();
        }
        logs::start(&config.log)?;
        // Before the first request, so that none is cut by a signal that came early.
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::operation)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::operation)?;
        let mut running = server::start(config).await?;
        let (url, roles) = (running.url(), running.app.config.server.roles.clone());
        let ready = json!({ "url": url, "address": running.address, "roles": roles, "pid": std::process::id() }).to_string();
        if let Some(path) = &self.ready_file {
            write_at_once(path, &ready).map_err(at(path))?;
        }
        say(&if global.json { ready } else { format!("listening on {url}, serving {roles}") })?;
        tell(&running);
        let_in(&running.app, global).await?;
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
    let server = &running.app.config.server;
    let (url, roles, version) = (running.url(), server.roles.to_string(), env!("CARGO_PKG_VERSION"));
    if server.roles.need_database() {
        tracing::info!(%url, roles, authority = running.app.name, database = %running.app.db.url(), version, "ready");
    } else {
        tracing::info!(%url, roles, version, "ready, without database and root key");
    }
    if server.roles.has(ServerRole::Authority) {
        for missing in missing_addresses(server) {
            tracing::warn!("{missing}");
        }
    }
}

/// Where nobody can get into the console, and no link is good any more, there is a new one. It is a secret: shown, and not logged.
async fn let_in(app: &App, global: &Global) -> Result<(), Failure> {
    if !app.config.server.roles.has(ServerRole::Console) || !app.config.server.roles.need_database() {
        return Ok(());
    }
    match staff::entrance(&app.db, app.clock.now()).await? {
        Entrance::Open => {}
        Entrance::Linked => {
            tracing::info!("nobody has set up the console yet: open the link that was shown, or run `counterfoild staff link`")
        }
        Entrance::Closed if global.json => tracing::info!("nobody can get into the console: `counterfoild staff link` makes a link"),
        Entrance::Closed => {
            let link = staff::first_link(&app.db, &app.rng, app.clock.now()).await?;
            let base = app.urls.first().map_or("", String::as_str);
            say(&format!(
                "nobody can get into the console yet; this link lets an operator in, once, for 24 hours:\n  {}",
                link.reveal(base)
            ))?;
        }
    }
    Ok(())
}

/// Roles that neither this process has nor any address is configured for.
pub fn missing_addresses(server: &config::Server) -> Vec<String> {
    let others =
        [(ServerRole::License, &server.license_urls, "license_urls"), (ServerRole::Content, &server.contents_urls, "contents_urls")];
    let missing = others.into_iter().filter(|(role, urls, _)| !server.roles.has(*role) && urls.is_empty());
    missing.map(|(role, _, key)| format!("this process does not serve {}, and {key} does not say who does", role.as_str())).collect()
}

/// Whoever waits for the file never sees half of it.
pub(super) fn write_at_once(path: &Path, text: &str) -> std::io::Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(&partial, path)
}
