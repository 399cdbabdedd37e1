//! A gateway's configuration: `gateway.toml`, environment overrides, unknown keys are errors that name them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Environment, File, FileFormat};
use counterfoil_core::Currency;
use serde::{Deserialize, Serialize};

use crate::config::{self as authority, ConfigError, Database, Log, Mail, Tls};
use crate::db::{DbOptions, DbUrl, Schema};

pub use limits::Limits;
pub use pages::{Alerts, Operator};
pub use payments::Payments;

mod limits;
mod pages;
mod payments;

/// Environment variables that override the file: `COUNTERFOILD_GATEWAY__SECTION__KEY`.
pub const ENVIRONMENT: &str = "COUNTERFOILD_GATEWAY";
/// What `counterfoild gateway init` writes, with a few lines changed.
pub const EXAMPLE: &str = include_str!("../../counterfoil-gateway.example.toml");

/// Everything that can be configured. `counterfoil-gateway.example.toml` says what each is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens, and how it is reached.
    pub server: Server,
    /// HTTPS.
    pub tls: Tls,
    /// The database.
    pub database: Database,
    /// Whom it resells for.
    pub authority: Authority,
    /// Who may have one.
    pub accounts: Accounts,
    /// The pages of whoever runs it.
    pub operator: Operator,
    /// What they are told.
    pub alerts: Alerts,
    /// How mail reaches people.
    pub mail: Mail,
    /// Payment by card.
    pub payments: Payments,
    /// Logs.
    pub log: Log,
    /// Limits.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            tls: Tls::default(),
            database: Database { url: "sqlite:gateway.db".to_owned(), ..Database::default() },
            authority: Authority::default(),
            accounts: Accounts::default(),
            operator: Operator::default(),
            alerts: Alerts::default(),
            mail: Mail::default(),
            payments: Payments::default(),
            log: Log::default(),
            limits: Limits::default(),
        }
    }
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port for terminals; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// How terminals reach it, best first. Empty: the address that it listens on.
    pub public_urls: Vec<String>,
    /// Serve without TLS on other addresses than loopback: behind a proxy that does TLS.
    pub allow_plain: bool,
    /// What its customers know it by: on pages, in mails.
    pub name: String,
    /// Of top-ups where none is named.
    pub currency: Currency,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7490)),
            public_urls: vec![],
            allow_plain: false,
            name: "Counterfoil gateway".to_owned(),
            currency: "EUR".parse().expect("three capital letters"),
        }
    }
}

/// `[authority]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authority {
    /// Its private listener.
    pub url: String,
    /// Key and certificate of this gateway, and whom it trusts; mode 0600.
    pub identity_file: PathBuf,
    /// How long a step of an exchange may take.
    pub timeout_seconds: u64,
}

impl Default for Authority {
    fn default() -> Self {
        Self { url: "https://127.0.0.1:7444".to_owned(), identity_file: "identity.json".into(), timeout_seconds: 20 }
    }
}

impl Authority {
    /// How long a step of an exchange may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }
}

/// `[accounts]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Accounts {
    /// Whether anybody may make one.
    pub open: bool,
    /// Attempts to get in from one address a second.
    pub attempts_per_second: u32,
    /// How many at once before that counts.
    pub attempts_burst: u32,
}

impl Default for Accounts {
    fn default() -> Self {
        Self { open: true, attempts_per_second: 1, attempts_burst: 20 }
    }
}

impl Config {
    /// Reads a file and the environment on top of it. Relative paths are taken from where the file lies.
    ///
    /// # Errors
    /// `Read` names the key, `Value` says what is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read(config::ConfigError::Message(format!("{}: {error}", path.display()))))?;
        Ok(Self::parse(&text, std::env::vars().collect())?.relative_to(path.parent().unwrap_or(Path::new(""))))
    }

    /// Reads TOML, with overrides on top.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn parse(text: &str, environment: std::collections::HashMap<String, String>) -> Result<Self, ConfigError> {
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with("COUNTERFOILD_GATEWAY__")).collect();
        let environment = Environment::with_prefix(ENVIRONMENT)
            .prefix_separator("__")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("server.public_urls")
            .with_list_parse_key("limits.trusted_proxies")
            .with_list_parse_key("alerts.to")
            .try_parsing(true)
            .source(Some(ours));
        let config: Self = config::Config::builder()
            .add_source(config::Config::try_from(&Self::default())?)
            .add_source(File::from_str(text, FileFormat::Toml))
            .add_source(environment)
            .build()?
            .try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        let is_url = |url: &String| (url.starts_with("https://") || url.starts_with("http://")) && !url.ends_with('/');
        if !self.server.public_urls.iter().all(is_url) {
            return wrong("server.public_urls", "each begins with https:// or http:// and does not end with /");
        }
        if !self.authority.url.starts_with("https://") || self.authority.url.ends_with('/') {
            return wrong("authority.url", "it begins with https:// and does not end with /");
        }
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            return wrong("tls", "cert_file and key_file belong together");
        }
        self.payments.check()?;
        if self.limits.body_bytes < 64 * 1024 {
            return wrong("limits.body_bytes", "an envelope may have 64 KiB");
        }
        for (key, seconds) in
            [("limits.request_seconds", self.limits.request_seconds), ("authority.timeout_seconds", self.authority.timeout_seconds)]
        {
            if seconds == 0 {
                return wrong(key, "no request is answered in no time");
            }
        }
        if self.database.writers == 0 || self.database.readers == 0 || self.database.batch == 0 {
            return wrong("database", "writers, readers and batch are at least 1");
        }
        if self.database.replica_url.is_some() || self.database.replica_url_file.is_some() {
            return wrong("database", "a gateway has no replica");
        }
        self.operator.check()?;
        self.alerts.check()?;
        self.mail.check()
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        let place = |path: &mut PathBuf| *path = directory.join(&*path);
        place(&mut self.authority.identity_file);
        let Payments { secret_key_file, webhook_secret_file, .. } = &mut self.payments;
        let (tls, mail) = (&mut self.tls, &mut self.mail.smtp_url_file);
        for path in [&mut tls.cert_file, &mut tls.key_file, &mut self.database.url_file, mail, secret_key_file, webhook_secret_file] {
            path.iter_mut().for_each(place);
        }
        if let Some(path) = self.database.url.strip_prefix("sqlite:") {
            self.database.url = format!("sqlite:{}", directory.join(path).display());
        }
        self
    }

    /// The address of the database.
    ///
    /// # Errors
    /// `Value`.
    pub fn database_url(&self) -> Result<DbUrl, ConfigError> {
        authority::address(&self.database.url, self.database.url_file.as_deref(), "database.url")
    }

    /// How the database is used.
    pub fn database_options(&self) -> DbOptions {
        let Database { writers, readers, batch, named_statements, .. } = self.database;
        DbOptions { schema: Schema::Gateway, writers, readers, batch, named_statements, ..DbOptions::default() }
    }

    /// Whether it serves HTTPS.
    pub fn has_tls(&self) -> bool {
        self.tls.cert_file.is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_example_is_what_holds_without_a_file() {
        assert_eq!(Config::parse(EXAMPLE, HashMap::new()).unwrap(), Config::default());
        assert_eq!(Config::parse("", HashMap::new()).unwrap(), Config::default());
        for (section, keys) in toml::Table::try_from(Config::default()).unwrap() {
            assert!(EXAMPLE.contains(&format!("[{section}]")), "{section}");
            for key in keys.as_table().unwrap().keys() {
                assert!(EXAMPLE.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} ="))), "{section}.{key}");
            }
        }
    }

    #[test]
    fn the_environment_goes_before_the_file_and_what_cannot_be_is_refused() {
        let environment = [("COUNTERFOILD_GATEWAY__SERVER__LISTEN", "127.0.0.1:2"), ("COUNTERFOILD__SERVER__LISSTEN", "the authority's")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let config = Config::parse("[server]\nlisten = \"127.0.0.1:1\"", environment).unwrap();
        assert_eq!((config.server.listen.port(), config.database.url.as_str()), (2, "sqlite:gateway.db"));
        for text in [
            "[server]\nlissten = \"x\"",
            "[server]\npublic_urls = [\"gateway.example\"]",
            "[server]\ncurrency = \"euro\"",
            "[authority]\nurl = \"http://authority.example\"",
            "[tls]\ncert_file = \"x\"",
            "[database]\nreplica_url = \"postgres://x/y\"",
            "[limits]\nbody_bytes = 1",
            "[operator]\nurl = \"desk.example\"",
            "[alerts]\nto = [\"nobody\"]",
            "[alerts]\nstuck_minutes = 0",
            "[mail]\nsmtp_url = \"smtp://localhost\"",
            "[payments]\nsecret_key_file = \"x\"",
            "[payments]\napi_url = \"http://stripe.example\"",
        ] {
            assert!(Config::parse(text, HashMap::new()).is_err(), "{text}");
        }
    }
}
