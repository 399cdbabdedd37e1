//! The address of a database, `sqlite:PATH` or `postgres://…`, which never prints a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::config::{Host, SslMode};

use super::error::DbError;

/// Where the database is.
///
/// - `sqlite:/var/lib/counterfoil/counterfoil.db`: a file, made when it is not there.
/// - `postgres://user:password@host:port,host2:port2/name?target_session_attrs=read-write`: what libpq takes, as far as `tokio-postgres`
///   knows it. `sslmode` may be `disable`, `require` or `verify-full`; the certificate is verified in both of the latter, against
///   `sslrootcert=FILE` (PEM) or the public certificate authorities. Without `sslmode`, sockets and loopback addresses go plain and others
///   by TLS.
#[derive(Clone)]
pub struct DbUrl(pub(super) Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PostgresTarget>),
}

#[derive(Clone)]
pub(super) struct PostgresTarget {
    pub(super) config: tokio_postgres::Config,
    pub(super) root_certificates: Option<PathBuf>,
}

impl DbUrl {
    /// An SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// Which engine it names: `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match self.0 {
            Target::Sqlite(_) => "sqlite",
            Target::Postgres(_) => "postgres",
        }
    }
}

impl FromStr for DbUrl {
    type Err = DbError;

    fn from_str(text: &str) -> Result<Self, DbError> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            if path.is_empty() || path.contains(":memory:") {
                return Err(DbError::Url("`sqlite:` needs the path of a file".to_owned()));
            }
            return Ok(Self::sqlite(path));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return postgres(text).map(|target| Self(Target::Postgres(Box::new(target))));
        }
        Err(DbError::Url("it must begin with `sqlite:` or `postgres://`".to_owned()))
    }
}

fn postgres(text: &str) -> Result<PostgresTarget, DbError> {
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let mut mode = None;
    let mut root_certificates = None;
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => mode = Some(SslMode::Disable),
            Some(("sslmode", "require" | "verify-full")) => mode = Some(SslMode::Require),
            Some(("sslmode", other)) => return Err(DbError::Url(format!("sslmode={other}: use disable, require or verify-full"))),
            Some(("sslrootcert", path)) => root_certificates = Some(PathBuf::from(path)),
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() { address.to_owned() } else { format!("{address}?{}", rest.join("&")) };
    // The parser's message does not repeat the address, which may hold a password.
    let mut config: tokio_postgres::Config = plain.parse().map_err(|error: tokio_postgres::Error| DbError::Url(error.to_string()))?;
    let local = config.get_hosts().iter().all(is_local);
    config.ssl_mode(mode.unwrap_or(if local { SslMode::Disable } else { SslMode::Require }));
    if config.get_application_name().is_none() {
        config.application_name("counterfoild");
    }
    Ok(PostgresTarget { config, root_certificates })
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Shows what logs may hold: no user, no password.
impl fmt::Display for DbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Postgres(target) => {
                let hosts = target.config.get_hosts().iter().map(|host| match host {
                    Host::Tcp(name) => name.clone(),
                    #[cfg(unix)]
                    Host::Unix(path) => path.display().to_string(),
                });
                let name = target.config.get_dbname().unwrap_or_default();
                write!(f, "postgres://{}/{name}", hosts.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl fmt::Debug for DbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DbUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_never_shows_its_password() {
        let url: DbUrl = "postgres://me:hunter2@db.example:5432/books?sslmode=require&target_session_attrs=read-write".parse().unwrap();
        let shown = format!("{url} {url:?}");
        assert_eq!(shown, "postgres://db.example/books DbUrl(postgres://db.example/books)");
    }

    #[test]
    fn a_distant_host_is_reached_by_tls_unless_told_otherwise() {
        let mode = |text: &str| match text.parse::<DbUrl>().unwrap().0 {
            Target::Postgres(target) => target.config.get_ssl_mode(),
            Target::Sqlite(_) => panic!("not an SQLite address"),
        };
        assert_eq!(mode("postgres://db.example/x"), SslMode::Require);
        assert_eq!(mode("postgres://127.0.0.1,db.example/x"), SslMode::Require);
        assert_eq!(mode("postgres://127.0.0.1/x"), SslMode::Disable);
        assert_eq!(mode("postgres://db.example/x?sslmode=disable"), SslMode::Disable);
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for text in ["", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://h/x?sslmode=prefer", "postgres://h:port/x"] {
            assert!(matches!(text.parse::<DbUrl>(), Err(DbError::Url(_))), "{text}");
        }
    }
}
