//! Configuration: one TOML file, environment overrides, secrets also by `…_file`. Unknown keys are errors that name them.

use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat};
use counterfoil_core::rules::register::Policy;
use serde::{Deserialize, Serialize};

use crate::db::{DbOptions, DbUrl};
use crate::keys::RootSource;

pub use accounts::{Accounts, Mail};
pub use contents::{Contents, Redirect, StoreOptions};
pub use database::Database;
pub(crate) use database::address;
pub use gateways::Gateways;
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use repair::{Reissues, Repair};
pub use root_key::RootKeySection;
pub use server::{Audit, Server};
pub use store::Store;
pub use webhooks::Webhooks;

mod accounts;
pub(crate) mod contents;
mod database;
mod gateways;
mod limits;
mod log;
mod repair;
mod root_key;
mod server;
mod store;
mod webhooks;

/// Environment variables that override the file: `COUNTERFOILD__SECTION__KEY`.
pub const ENVIRONMENT: &str = "COUNTERFOILD";

/// Everything that can be configured. `counterfoild.example.toml` says what each is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens, and how it is reached.
    pub server: Server,
    /// HTTPS.
    pub tls: Tls,
    /// The database.
    pub database: Database,
    /// Encrypted contents.
    pub contents: Contents,
    /// The root key.
    pub root_key: RootKeySection,
    /// Logs.
    pub log: Log,
    /// Limits.
    pub limits: Limits,
    /// What the server looks after by itself.
    pub audit: Audit,
    /// What registrations must look like (C5).
    pub registration: Policy,
    /// Devices, drives and cards that are exchanged (C14, C15).
    pub repair: Repair,
    /// What is sold.
    pub store: Store,
    /// People who sign in with a browser.
    pub accounts: Accounts,
    /// Mail to them.
    pub mail: Mail,
    /// Servers of others that are told what happens.
    pub webhooks: Webhooks,
    /// Resellers' servers (C16).
    pub gateways: Gateways,
}

/// `[tls]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Certificate chain, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// Its private key, PEM, mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not there, not TOML, an unknown key, or a value of the wrong kind.
    #[error("{0}")]
    Read(#[from] config::ConfigError),
    /// A value that cannot be.
    #[error("{key}: {reason}")]
    Value {
        /// Section and key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Config {
    /// Reads a file and the environment on top of it. Relative paths are taken from where the file lies.
    ///
    /// # Errors
    /// `Read` names the key, `Value` says what is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read(config::ConfigError::Message(format!("{}: {error}", path.display()))))?;
        let directory = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self::parse(&text, std::env::vars().collect())?.relative_to(&directory))
    }

    /// Reads TOML, with overrides on top.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn parse(text: &str, environment: std::collections::HashMap<String, String>) -> Result<Self, ConfigError> {
        // Whatever does not begin so is no business of ours, and its characters need not be lower case.
        let ours = environment.into_iter().filter(|(name, _)| name.starts_with("COUNTERFOILD__")).collect();
        let environment = Environment::with_prefix(ENVIRONMENT)
            .prefix_separator("__")
            .separator("__")
            .list_separator(",")
            .with_list_parse_key("server.roles")
            .with_list_parse_key("server.public_urls")
            .with_list_parse_key("server.license_urls")
            .with_list_parse_key("server.contents_urls")
            .with_list_parse_key("limits.trusted_proxies")
            .try_parsing(true)
            .source(Some(ours));
        let config: Self = config::Config::builder()
            .add_source(File::from_str(text, FileFormat::Toml))
            .add_source(environment)
            .build()?
            .try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.server.check()?;
        self.mail.check()?;
        self.webhooks.check()?;
        self.gateways.check()?;
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if self.tls.cert_file.is_some() != self.tls.key_file.is_some() {
            return wrong("tls", "cert_file and key_file belong together");
        }
        if self.limits.body_bytes < 64 * 1024 {
            return wrong("limits.body_bytes", "an envelope may have 64 KiB");
        }
        if self.limits.request_seconds == 0 {
            return wrong("limits.request_seconds", "no request is answered in no time");
        }
        if self.database.writers == 0 || self.database.readers == 0 || self.database.batch == 0 {
            return wrong("database", "writers, readers and batch are at least 1");
        }
        self.contents.check()
    }

    fn relative_to(mut self, directory: &Path) -> Self {
        self.contents.relative_to(directory);
        let place = |path: &mut PathBuf| *path = directory.join(&*path);
        place(&mut self.root_key.file);
        let database = &mut self.database;
        let files = [&mut self.tls.cert_file, &mut self.tls.key_file, &mut database.url_file, &mut database.replica_url_file];
        for path in files.into_iter().chain([&mut self.mail.smtp_url_file, &mut self.webhooks.ca_file]) {
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
        let Database { url, url_file, .. } = &self.database;
        address(url, url_file.as_deref(), "database.url")
    }

    /// How the database is used.
    ///
    /// # Errors
    /// `Value`.
    pub fn database_options(&self) -> Result<DbOptions, ConfigError> {
        let Database { writers, readers, batch, named_statements, replica_url, replica_url_file, .. } = &self.database;
        let replica = match (replica_url, replica_url_file) {
            (None, None) => None,
            (url, file) => Some(address(url.as_deref().unwrap_or_default(), file.as_deref(), "database.replica_url")?),
        };
        Ok(DbOptions {
            writers: *writers,
            readers: *readers,
            batch: *batch,
            named_statements: *named_statements,
            replica,
            ..DbOptions::default()
        })
    }

    /// Where the root key comes from.
    pub fn root_source(&self) -> RootSource {
        match &self.root_key.key {
            Some(key) => RootSource::Given(key.clone()),
            None => RootSource::File(self.root_key.file.clone()),
        }
    }

    /// Whether it serves HTTPS.
    pub fn has_tls(&self) -> bool {
        self.tls.cert_file.is_some()
    }

    /// As TOML without secrets, for `config show`.
    pub fn shown(&self) -> toml::Table {
        let mut shown = self.clone();
        shown.database.url = self.database_url().map_or_else(|_| "(not readable)".to_owned(), |url| url.to_string());
        shown.database.replica_url = self.database_options().ok().and_then(|options| Some(options.replica?.to_string()));
        toml::Table::try_from(&shown).expect("numbers, strings and lists have a TOML form")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::collections::HashMap;

    const EXAMPLE: &str = include_str!("../counterfoild.example.toml");

    fn with(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment: HashMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::parse(text, environment)
    }

    #[test]
    fn the_example_is_what_holds_without_a_file() {
        assert_eq!(with(EXAMPLE, &[]).unwrap(), Config::default());
        assert_eq!(with("", &[]).unwrap(), Config::default());
        // Every key that there is stands in it, commented out where it has no default.
        let shown = toml::Table::try_from(Config::default()).unwrap();
        for (section, keys) in shown {
            assert!(EXAMPLE.contains(&format!("[{section}]")), "{section}");
            for key in keys.as_table().unwrap().keys() {
                assert!(EXAMPLE.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} ="))), "{section}.{key}");
            }
        }
    }

    #[test]
    fn unknown_keys_are_errors_that_name_them() {
        for (text, named) in
            [("[server]\nlissten = \"x\"", "lissten"), ("[sever]\nlisten = \"x\"", "sever"), ("[registration]\nrequire = true", "require")]
        {
            let error = with(text, &[]).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let error = with("", &[("COUNTERFOILD__SERVER__LISSTEN", "x")]).unwrap_err().to_string();
        assert!(error.contains("lissten"), "{error}");
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let config = with(
            "[server]\nlisten = \"127.0.0.1:1\"",
            &[
                ("COUNTERFOILD__SERVER__LISTEN", "127.0.0.1:2"),
                ("COUNTERFOILD__SERVER__PUBLIC_URLS", "https://a.example,https://b.example"),
                ("COUNTERFOILD__SERVER__ROLES", "license,content"),
                ("COUNTERFOILD__SERVER__LICENSE_URLS", "https://l.example"),
                ("COUNTERFOILD__LIMITS__BODY_BYTES", "100000"),
                ("COUNTERFOILD__REGISTRATION__REQUIRE_CARD", "true"),
                ("COUNTERFOILD__ROOT_KEY__KEY", "cfroot_1_x"),
                ("COUNTERFOILD_CONFIG", "no business of it"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.server.public_urls, ["https://a.example", "https://b.example"]);
        assert_eq!((config.server.roles.to_string(), config.server.license_urls.len()), ("license, content".to_owned(), 1));
        assert_eq!((config.limits.body_bytes, config.registration.require_card), (100_000, true));
        assert!(matches!(config.root_source(), RootSource::Given(_)));
    }

    #[test]
    fn what_cannot_be_is_refused_and_no_secret_is_shown() {
        for text in [
            "[tls]\ncert_file = \"x\"",
            "[limits]\nbody_bytes = 1",
            "[database]\nwriters = 0",
            "[database]\nreaders = 0",
            "[limits]\nrequest_seconds = 0",
            "[server]\npublic_urls = [\"example.com\"]",
            "[server]\npublic_urls = [\"https://example.com/\"]",
            "[server]\nlisten = \"nowhere\"",
            "[server]\nroles = []",
            "[server]\nroles = [\"kitchen\"]",
            "[server]\nlicense_urls = [\"https://example.com/\"]",
            "[server]\ncontents_urls = [\"example.com\"]",
        ] {
            assert!(with(text, &[]).is_err(), "{text}");
        }
        let urls = "url = \"postgres://me:hunter2@db.example/x\"\nreplica_url = \"postgres://me:hunter2@copy.example/x\"";
        let secret = with(&format!("[database]\n{urls}\n[root_key]\nkey = \"cfroot_1_hunter2\""), &[]).unwrap();
        assert!(!format!("{secret:?} {}", secret.shown()).contains("hunter2"));
        assert!(secret.shown().to_string().contains("copy.example"));
    }

    #[test]
    fn paths_are_taken_from_where_the_file_lies() {
        let config = Config::default().relative_to(Path::new("/srv/x"));
        assert_eq!((config.root_key.file, config.contents.dir), ("/srv/x/root.key".into(), "/srv/x/contents".into()));
        assert_eq!(config.database.url, "sqlite:/srv/x/counterfoil.db");
    }
}
