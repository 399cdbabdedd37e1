//! The address of a database, `sqlite:PATH` or `postgres://…`, which never prints a password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::error::DbError;

/// Where the database is.
///
/// - `sqlite:/var/lib/counterfoil/counterfoil.db`: a file, made when it is not there.
/// - `postgres://user:password@host:port,host2:port2/name?target_session_attrs=read-write`: what libpq takes, as far as `tokio-postgres`
///   knows it. `sslmode` may be `disable`, `require` or `verify-full`; the certificate is verified in both of the latter, against
///   `sslrootcert=FILE` (PEM) or the public certificate authorities. Without `sslmode`, sockets and loopback addresses go plain and others
///   by TLS. Of several hosts, the one that can be written to is used.
#[derive(Clone)]
pub struct DbUrl(pub(super) Target);

#[derive(Clone)]
pub(super) enum Target {
    Sqlite(PathBuf),
    Postgres(Box<PostgresTarget>),
}

#[derive(Clone)]
pub(super) struct PostgresTarget {
    /// One for each host, with all that goes for every host.
    pub(super) hosts: Vec<Config>,
    pub(super) root_certificates: Option<PathBuf>,
}

/// How soon a host that vanished without a word is noticed, unless the address says otherwise: nothing heard for so long, then asked so often
/// with so long between; and so long for what was sent and not acknowledged.
const KEEPALIVE: (Duration, u32, Duration) = (Duration::from_secs(5), 3, Duration::from_secs(2));
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

impl DbUrl {
    /// An SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres(_) => None,
        }
    }

    /// The same address for PostgreSQL's own tools, which read it from their environment.
    ///
    /// # Errors
    /// `Url` where it is a file, or where no certificate authorities are found for them.
    pub fn libpq(&self) -> Result<Vec<(&'static str, String)>, DbError> {
        match &self.0 {
            Target::Sqlite(_) => Err(DbError::Url("it is a file".to_owned())),
            Target::Postgres(target) => libpq(target),
        }
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
    let mut config: Config = plain.parse().map_err(|error: tokio_postgres::Error| DbError::Url(error.to_string()))?;
    let local = config.get_hosts().iter().all(is_local);
    config.ssl_mode(mode.unwrap_or(if local { SslMode::Disable } else { SslMode::Require }));
    if config.get_application_name().is_none() {
        config.application_name("counterfoild");
    }
    let says = |key: &str| rest.iter().any(|pair| pair.split_once('=').is_some_and(|(name, _)| name == key));
    if !says("keepalives_idle") {
        config.keepalives_idle(KEEPALIVE.0).keepalives_retries(KEEPALIVE.1).keepalives_interval(KEEPALIVE.2);
    }
    if !says("tcp_user_timeout") {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    Ok(PostgresTarget { hosts: each_host(&config)?, root_certificates })
}

/// The same for each host by itself, so that they can be asked side by side.
fn each_host(config: &Config) -> Result<Vec<Config>, DbError> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    let fits = |length: usize| length <= 1 || length == count;
    if count == 0 || (!hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len()) || !fits(ports.len()) {
        return Err(DbError::Url("it names no host, or not as many ports as hosts".to_owned()));
    }
    Ok((0..count)
        .map(|place| {
            let mut one = without_host(config);
            match hosts.get(place) {
                Some(Host::Tcp(name)) => _ = one.host(name),
                #[cfg(unix)]
                Some(Host::Unix(path)) => _ = one.host_path(path),
                None => {}
            }
            if let Some(address) = addresses.get(place) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(place).or(ports.first()) {
                one.port(*port);
            }
            one
        })
        .collect())
}

fn without_host(config: &Config) -> Config {
    let mut one = Config::new();
    one.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    config.get_user().into_iter().for_each(|user| _ = one.user(user));
    config.get_password().into_iter().for_each(|password| _ = one.password(password));
    config.get_dbname().into_iter().for_each(|name| _ = one.dbname(name));
    config.get_options().into_iter().for_each(|options| _ = one.options(options));
    config.get_application_name().into_iter().for_each(|name| _ = one.application_name(name));
    config.get_connect_timeout().into_iter().for_each(|time| _ = one.connect_timeout(*time));
    config.get_tcp_user_timeout().into_iter().for_each(|time| _ = one.tcp_user_timeout(*time));
    config.get_keepalives_interval().into_iter().for_each(|time| _ = one.keepalives_interval(time));
    config.get_keepalives_retries().into_iter().for_each(|count| _ = one.keepalives_retries(count));
    one
}

impl PostgresTarget {
    /// For decisions: of several hosts only one that can be written to will do, whatever the address says.
    pub(super) fn primary(&self) -> Self {
        let mut target = self.clone();
        if target.hosts.len() > 1 {
            target.hosts.iter_mut().for_each(|host| _ = host.target_session_attrs(TargetSessionAttrs::ReadWrite));
        }
        target
    }
}

/// Where systems keep the public certificate authorities.
const AUTHORITIES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn libpq(target: &PostgresTarget) -> Result<Vec<(&'static str, String)>, DbError> {
    let Some(first) = target.hosts.first() else { return Err(DbError::Url("it names no host".to_owned())) };
    let each = |show: fn(&Config) -> String| target.hosts.iter().map(show).collect::<Vec<_>>().join(",");
    let mut variables = vec![("PGHOST", each(shown)), ("PGPORT", each(|host| host.get_ports().first().unwrap_or(&5432).to_string()))];
    if target.hosts.len() > 1 {
        variables.push(("PGTARGETSESSIONATTRS", "read-write".to_owned()));
    }
    if target.hosts.iter().all(|host| !host.get_hostaddrs().is_empty()) {
        variables.push(("PGHOSTADDR", each(|host| host.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default())));
    }
    let password = first.get_password().map(String::from_utf8_lossy);
    for (name, value) in [("PGUSER", first.get_user()), ("PGDATABASE", first.get_dbname()), ("PGPASSWORD", password.as_deref())] {
        variables.extend(value.map(|value| (name, value.to_owned())));
    }
    if first.get_ssl_mode() == SslMode::Disable {
        variables.push(("PGSSLMODE", "disable".to_owned()));
        return Ok(variables);
    }
    let system = || AUTHORITIES.iter().map(PathBuf::from).find(|path| path.exists());
    let missing = || DbError::Url("no certificate authorities on this system: name them by sslrootcert".to_owned());
    let authorities = target.root_certificates.clone().or_else(system).ok_or_else(missing)?;
    variables.extend([("PGSSLMODE", "verify-full".to_owned()), ("PGSSLROOTCERT", authorities.display().to_string())]);
    Ok(variables)
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn shown(host: &Config) -> String {
    match host.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => host.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Shows what logs may hold, and what tells one database from another: no user, no password.
impl fmt::Display for DbUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Target::Postgres(target) => {
                let with_port = |host: &Config| match host.get_ports().first() {
                    None | Some(5432) => shown(host),
                    Some(port) => format!("{}:{port}", shown(host)),
                };
                let hosts: Vec<String> = target.hosts.iter().map(with_port).collect();
                let name = target.hosts.first().and_then(Config::get_dbname).unwrap_or_default();
                write!(f, "postgres://{}/{name}", hosts.join(","))
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
        let others: DbUrl = "postgres://me:hunter2@a:6543,b/books".parse().unwrap();
        assert_eq!(others.to_string(), "postgres://a:6543,b/books", "another port is another database");
    }

    #[test]
    fn a_distant_host_is_reached_by_tls_unless_told_otherwise() {
        let mode = |text: &str| match text.parse::<DbUrl>().unwrap().0 {
            Target::Postgres(target) => target.hosts[0].get_ssl_mode(),
            Target::Sqlite(_) => panic!("not an SQLite address"),
        };
        assert_eq!(mode("postgres://db.example/x"), SslMode::Require);
        assert_eq!(mode("postgres://127.0.0.1,db.example/x"), SslMode::Require);
        assert_eq!(mode("postgres://127.0.0.1/x"), SslMode::Disable);
        assert_eq!(mode("postgres://db.example/x?sslmode=disable"), SslMode::Disable);
    }

    fn hosts(text: &str) -> PostgresTarget {
        match text.parse::<DbUrl>().unwrap().0 {
            Target::Postgres(target) => *target,
            Target::Sqlite(_) => panic!("not an SQLite address"),
        }
    }

    #[test]
    fn each_host_is_asked_with_all_that_goes_for_every_host() {
        let rest = "user=me&password=secret&options=-c%20x%3D1&application_name=us&sslnegotiation=direct&connect_timeout=3&tcp_user_timeout=4\
                    &keepalives=1&keepalives_idle=5&keepalives_interval=6&keepalives_retries=7&channel_binding=require&target_session_attrs=any\
                    &load_balance_hosts=random";
        let target = hosts(&format!("postgres://a:1,b:2/books?{rest}"));
        let alone = |host: &str| -> Config { format!("postgres://{host}/books?{rest}&sslmode=require").parse().unwrap() };
        assert!(target.hosts == [alone("a:1"), alone("b:2")], "what is not carried over is lost");
        let same_port = hosts("postgres://a,b:7/x");
        assert_eq!(same_port.hosts.iter().map(Config::get_ports).collect::<Vec<_>>(), [[5432], [7]]);
        assert!(target.primary().hosts.iter().all(|host| host.get_target_session_attrs() == TargetSessionAttrs::ReadWrite));
        assert_eq!(hosts("postgres://a/x").primary().hosts[0].get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn tools_are_told_the_same_address() {
        let told = |text: &str| text.parse::<DbUrl>().unwrap().libpq().unwrap();
        let text = "postgres://me:hunter2@a:1,b/books?sslmode=require&sslrootcert=/root.pem";
        let (expected, read_write) =
            ("me hunter2 books a,b 1,5432 verify-full /root.pem", ("PGTARGETSESSIONATTRS", "read-write".to_owned()));
        let find = |name: &str| told(text).into_iter().find(|(known, _)| *known == name).unwrap().1;
        let names = ["PGUSER", "PGPASSWORD", "PGDATABASE", "PGHOST", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT"];
        assert_eq!(names.map(find).join(" "), expected);
        assert!(told(text).contains(&read_write) && !told("postgres://a/x").contains(&read_write));
        assert!(told("postgres://127.0.0.1/x").contains(&("PGSSLMODE", "disable".to_owned())));
    }

    #[test]
    fn a_host_that_vanishes_is_noticed_in_seconds() {
        let host = &hosts("postgres://a/x").hosts[0];
        let (idle, retries, interval) = KEEPALIVE;
        assert_eq!((host.get_keepalives_idle(), host.get_keepalives_retries()), (idle, Some(retries)));
        assert_eq!((host.get_keepalives_interval(), host.get_tcp_user_timeout()), (Some(interval), Some(&UNACKNOWLEDGED)));
        assert!(idle + interval * retries < Duration::from_secs(15));
        assert_eq!(hosts("postgres://a/x?keepalives_idle=60").hosts[0].get_keepalives_idle(), Duration::from_secs(60));
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for text in ["", "mysql://x", "sqlite:", "sqlite::memory:", "postgres://h/x?sslmode=prefer", "postgres://h:port/x"] {
            assert!(matches!(text.parse::<DbUrl>(), Err(DbError::Url(_))), "{text}");
        }
    }
}
