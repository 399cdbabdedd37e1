//! `counterfoild gateway doctor`: looks at everything that a gateway stands on, and says what to do about what is wrong.

use counterfoil_core::Timestamp;

use super::{Failure, Global, config, config_path};
use crate::clock::{Clock, Rng, rfc3339};
use crate::commands::doctor::{Check, good, report, warning, wrong};
use crate::db::{Db, Tx};
use crate::gateway::app::App;
use crate::gateway::client::Failed;
use crate::gateway::config::Config;
use crate::gateway::identity;
use crate::gateway::server;
use crate::gateway::store::{alert, exchange, mail as post};
use crate::keys::root::too_open;

/// How long an exchange is usually on its way.
const USUAL: i64 = 10 * 60 * 1000;

/// Checks, prints, and fails where something is wrong.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let config = config(global)?;
    let mut checks = vec![good("configuration", config_path(global).display().to_string())];
    checks.push(address(&config));
    checks.push(identity_file(&config));
    match assemble(config).await {
        Ok(app) => {
            checks.push(good("database", app.db.url().to_string()));
            checks.push(certificate(&app));
            checks.push(authority(&app).await);
            checks.push(exchanges(&app).await?);
            checks.push(alerts(&app).await?);
            checks.push(mail(&app).await?);
            checks.push(payments(&app).await);
            app.db.close().await;
        }
        Err(error) => checks.push(wrong(
            "database",
            error.to_string(),
            "Correct [database] in the configuration; `counterfoild gateway migrate` after an update.",
        )),
    }
    report(&checks, global)
}

async fn assemble(config: Config) -> Result<App, crate::server::StartError> {
    let db = Db::open_with(&config.database_url()?, config.database_options()).await?;
    let listen = config.server.listen;
    server::assemble(config, listen, db, Clock::System, Rng::System).await
}

fn address(config: &Config) -> Check {
    let shown = config.server.public_urls.join(", ");
    match (config.server.public_urls.is_empty(), config.server.listen.ip().is_loopback()) {
        (true, false) => {
            warning("address", config.server.listen.to_string(), "Say in [server] public_urls how terminals reach this gateway.")
        }
        (true, true) => good("address", format!("{}, for this machine only", config.server.listen)),
        (false, _) => good("address", shown),
    }
}

fn identity_file(config: &Config) -> Check {
    let path = &config.authority.identity_file;
    match too_open(path) {
        Err(_) => wrong("identity", format!("{} is not there", path.display()), "counterfoild gateway enrol TOKEN"),
        Ok(true) => wrong("identity", format!("{} can be read by others", path.display()), format!("chmod 600 {}", path.display())),
        Ok(false) => good("identity", path.display().to_string()),
    }
}

fn certificate(app: &App) -> Check {
    const WHAT: &str = "certificate";
    let again = "Ask the authority's operator for a token, then: counterfoild gateway enrol TOKEN";
    let (gateway, from, until): (String, Timestamp, Timestamp) = match app.authority.identity() {
        Ok(identity) => identity,
        Err(error) => return wrong(WHAT, error.to_string(), again),
    };
    let (now, found) = (app.clock.now(), format!("{gateway}, until {}", rfc3339(until)));
    match () {
        () if now >= until => wrong(WHAT, format!("{found}: it has ended"), again),
        // A gateway that serves would have renewed it.
        () if now.0 > identity::renewal_due(from, until).0 + Timestamp::DAY => {
            warning(WHAT, found, "It is not being renewed: is the gateway serving, and does the authority answer?")
        }
        () => good(WHAT, found),
    }
}

async fn authority(app: &App) -> Check {
    const WHAT: &str = "authority";
    let url = &app.config.authority.url;
    match app.authority.changes(None).await {
        Ok(_) => good(WHAT, format!("{url} answers")),
        Err(error @ Failed::Shut(_)) => wrong(WHAT, error.to_string(), "Ask the authority's operator whether this gateway has ended."),
        Err(error) => {
            wrong(WHAT, error.to_string(), format!("Check [authority] url ({url}), the network, and the authority's [gateways] listen."))
        }
    }
}

async fn payments(app: &App) -> Check {
    const WHAT: &str = "payments";
    let Some(payments) = &app.payments else { return good(WHAT, "no card is taken: [payments] has no secret key") };
    match payments.answers(app.clock.now()).await {
        Ok(()) => good(WHAT, format!("{} answers", app.config.payments.api_url)),
        Err(error) => wrong(WHAT, error.to_string(), "Check [payments] secret_key_file and api_url, and the network."),
    }
}

async fn exchanges(app: &App) -> Result<Check, Failure> {
    const WHAT: &str = "exchanges";
    let (open, oldest) = app.db.read("exchanges under way", async |tx: &mut Tx| exchange::under_way(tx).await).await?;
    let waits = oldest.map(|oldest| app.clock.now().0 - oldest.0).filter(|waited| *waited > USUAL);
    Ok(match waits {
        Some(waited) => warning(
            WHAT,
            format!("{open} on their way, the oldest for {} minutes", waited / 60_000),
            "`counterfoild gateway exchanges --open` says what stands in their way.",
        ),
        None => good(WHAT, format!("{open} on their way")),
    })
}

/// What a gateway that serves has seen; it is written down, so this says it while it does not run as well.
async fn alerts(app: &App) -> Result<Check, Failure> {
    const WHAT: &str = "alerts";
    let open = app.db.read("alerts", async |tx: &mut Tx| alert::open(tx).await).await?;
    if open.is_empty() {
        return Ok(good(WHAT, "none is open"));
    }
    let told = open.iter().map(|alert| format!("{}: {}, since {}", alert.kind.name(), alert.detail, rfc3339(alert.since)));
    let told = told.collect::<Vec<_>>().join("; ");
    Ok(warning(WHAT, told, "docs/gateway.md says what each means; `counterfoild gateway operator link` leads to the pages."))
}

async fn mail(app: &App) -> Result<Check, Failure> {
    const WHAT: &str = "mail";
    let (waiting, refused) = app.db.read("mail", async |tx: &mut Tx| post::waiting(tx).await).await?;
    Ok(match (app.relay.is_some(), refused) {
        (false, _) if !app.config.alerts.to.is_empty() => {
            warning(WHAT, "none is sent, and [alerts] to names somebody", "Say in [mail] which server takes mail.")
        }
        (false, _) => good(WHAT, "none is sent"),
        (true, 0) => good(WHAT, format!("{waiting} wait")),
        (true, _) => warning(
            WHAT,
            format!("{waiting} wait, {refused} of them were refused by the mail server"),
            "The log says why; [mail] says which server takes mail. They are tried again for fourteen days.",
        ),
    })
}
