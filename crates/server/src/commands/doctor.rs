//! `counterfoild doctor`: looks at everything that a server stands on, and says what to do about what is wrong.

use std::path::Path;

use counterfoil_core::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Serialize;

use super::{Failure, Global, serve};
use crate::auditor::LastAudit;
use crate::blobs::Blobs;
use crate::clock::{Clock, Rng, rfc3339};
use crate::config::Config;
use crate::db::{Db, DbError, DbOptions, DbUrl, Tx};
use crate::delivery::Delivery;
use crate::jobs::lead;
use crate::keys::root::too_open;
use crate::keys::{Keys, RootSource};
use crate::roles::ServerRole;
use crate::store::lease;

mod gateways;

/// Days before the end of a certificate at which one is warned.
const SOON: i64 = 30;
/// No clock shows a time before this program was written: 2025-01-01.
const WRITTEN: i64 = 1_735_689_600_000;

/// One line of what was found.
#[derive(Serialize)]
pub(super) struct Check {
    what: &'static str,
    verdict: Verdict,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Warning,
    Wrong,
}

pub(super) fn good(what: &'static str, found: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Good, found: found.into(), remedy: None }
}

pub(super) fn wrong(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { what, verdict: Verdict::Wrong, found: found.into(), remedy: Some(remedy.into()) }
}

pub(super) fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Check {
    Check { verdict: Verdict::Warning, ..wrong(what, found, remedy) }
}

/// Checks, prints, and fails where something is wrong.
pub async fn run(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let now = Clock::System.now();
    let mut checks = vec![good("configuration", global.config_path().display().to_string())];
    checks.push(good("roles", config.server.roles.to_string()));
    // Who only hands out contents has neither, and shall not.
    let newest = if config.server.roles.need_database() {
        checks.extend(root_key(&config));
        database(&config, &mut checks).await
    } else {
        None
    };
    checks.push(clock(now, newest));
    checks.push(contents(&config).await);
    checks.extend(tls(&config, now));
    checks.push(address(&config));
    checks.extend(others(&config));
    report(&checks, global)
}

/// Prints what was found, and fails where something is wrong.
pub(super) fn report(checks: &[Check], global: &Global) -> Result<(), Failure> {
    let wrong = checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
    global.print(&checks, |checks| checks.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    if wrong == 0 {
        Ok(())
    } else {
        Err(Failure::operation(format!("{wrong} of {} checks failed", checks.len())).hint("What to do stands beside each."))
    }
}

fn line(check: &Check) -> String {
    let mark = match check.verdict {
        Verdict::Good => "good   ",
        Verdict::Warning => "warning",
        Verdict::Wrong => "WRONG  ",
    };
    let remedy = check.remedy.as_ref().map(|remedy| format!("\n                        → {remedy}")).unwrap_or_default();
    format!("{mark}  {:<13}  {}{remedy}", check.what, check.found)
}

fn root_key(config: &Config) -> Option<Check> {
    const WHAT: &str = "root key";
    let RootSource::File(path) = config.root_source() else { return Some(good(WHAT, "given by the environment")) };
    Some(match too_open(&path) {
        Err(error) => wrong(WHAT, format!("{}: {error}", path.display()), "Put the file back from where you keep its copy."),
        Ok(true) => wrong(WHAT, format!("{} can be read by others", path.display()), format!("chmod 600 {}", path.display())),
        Ok(false) => good(WHAT, path.display().to_string()),
    })
}

/// Answers with the time of the newest audit record, which no clock may lie before.
async fn database(config: &Config, checks: &mut Vec<Check>) -> Option<Timestamp> {
    let (url, options) = match config.database_url().and_then(|url| Ok((url, config.database_options()?))) {
        Ok(database) => database,
        Err(error) => {
            checks.push(wrong("database", error.to_string(), "Correct [database] in the configuration."));
            return None;
        }
    };
    // Opening would make an empty one.
    if let Some(path) =
        config.database.url.strip_prefix("sqlite:").filter(|path| config.database.url_file.is_none() && !Path::new(path).exists())
    {
        checks.push(wrong("database", format!("{path} is not there"), "Restore a backup: `counterfoild restore FILE`."));
        return None;
    }
    checks.extend(replica(&options).await);
    let db = match Db::open_with(&url, options).await {
        Ok(db) => db,
        Err(error) => {
            checks.push(wrong("database", error.to_string(), "Check that the database runs and that its address is right."));
            return None;
        }
    };
    checks.push(schema(&db, &url).await);
    checks.extend(moved(&db).await);
    checks.extend(keys(config, &db).await);
    match jobs(&db, config).await {
        Ok(found) => checks.extend(found),
        Err(error) => checks.push(wrong("jobs", error.to_string(), "Check that the database runs and that its address is right.")),
    }
    let newest = db
        .read("newest audit", async |tx: &mut Tx| -> Result<_, DbError> {
            tx.query("SELECT CAST(max(at) AS BIGINT) FROM audit").opt::<(Option<i64>,)>().await
        })
        .await
        .ok()
        .flatten();
    db.close().await;
    newest.and_then(|(at,)| at).map(Timestamp)
}

async fn schema(db: &Db, url: &DbUrl) -> Check {
    const WHAT: &str = "database";
    match db.migration_status().await.and_then(|status| status.check().map(|()| status)) {
        Ok(status) => good(WHAT, format!("{url}, schema {}", status.database)),
        Err(error @ DbError::SchemaOlder { .. }) => wrong(WHAT, error.to_string(), "Make a backup, then run `counterfoild migrate`."),
        Err(error) => wrong(WHAT, error.to_string(), "Use the version of counterfoild that belongs to this database."),
    }
}

/// Whether the data went elsewhere, or is on its way here.
async fn moved(db: &Db) -> Option<Check> {
    const WHAT: &str = "database";
    match db.check_not_moved().await {
        Err(DbError::Moved(to)) => Some(wrong(
            WHAT,
            format!("it was moved to {to}; nothing can be written here"),
            "Name that one in [database] url, or in the file of url_file, and restart the servers.",
        )),
        Err(error @ DbError::HalfMoved(_)) => Some(wrong(
            WHAT,
            error.to_string(),
            "Run `counterfoild migrate-store` again with the same --from and --to: it goes on where it was.",
        )),
        // Whatever else is wrong, `schema` says.
        Ok(()) | Err(_) => None,
    }
}

/// Whether the root key opens the others, and the gateways that they vouch for.
async fn keys(config: &Config, db: &Db) -> Vec<Check> {
    const WHAT: &str = "keys";
    let keys = match Keys::load(db, config.root_source()).await {
        Ok(keys) => keys,
        Err(error) => return vec![wrong(WHAT, error.to_string(), "Use the root key that this database was made with.")],
    };
    let mut checks = vec![match keys.sign("counterfoil-doctor+jwt", &"", Clock::System.now()) {
        Ok(_) => good(WHAT, "the root key opens them all"),
        Err(error) => wrong(WHAT, error.to_string(), "Run `counterfoild keys rotate --what signing`."),
    }];
    checks.extend(gateways::check(config, db, &keys, Clock::System.now()).await);
    checks
}

/// Whether the replica answers. It is worth a warning only: without it the primary is asked.
async fn replica(options: &DbOptions) -> Option<Check> {
    const WHAT: &str = "replica";
    match options.reach_replica().await {
        Ok(url) => url.map(|url| good(WHAT, url.to_string())),
        Err(error) => Some(warning(WHAT, error.to_string(), "Check replica_url in [database]. Until it answers, the primary is asked.")),
    }
}

/// Who does the jobs that one process at a time does, and what the auditor among them found.
async fn jobs(db: &Db, config: &Config) -> Result<[Check; 2], DbError> {
    let lease = db.read("look at lease", async |tx| lease::find(tx, lease::JOBS).await).await?;
    let holder = match lease {
        Some(lease) if lease.holder.is_some() => {
            let (alive, holder) = (lead::shows_life(db, &lease).await?, lease.holder.unwrap_or_default());
            if alive {
                good("jobs", format!("done by {holder} (host/process/number), or by another process within 15 s of its end"))
            } else {
                warning(
                    "jobs",
                    format!("done by nobody: {holder} (host/process/number) shows no sign of life"),
                    "Start a server. One that runs already takes the jobs over within 15 s: ask again then.",
                )
            }
        }
        _ => good("jobs", "done by nobody: no server runs"),
    };
    const VERIFY: &str = "Run `counterfoild audit verify`, and keep the database as it is for whoever looks into it.";
    let every = i64::from(config.audit.verify_hours) * 3_600_000;
    let audit = match LastAudit::load(db).await? {
        Some(last) if last.found > 0 => {
            let first = last.findings.first().map(String::as_str).unwrap_or_default();
            wrong("audit", format!("{} found on {}, such as: {first}", last.found, rfc3339(last.at)), VERIFY)
        }
        Some(last) if every > 0 && Clock::System.now().0 - last.at.0 > 2 * every => {
            warning("audit", format!("last run on {}", rfc3339(last.at)), "The log of the process that does the jobs says why.")
        }
        Some(last) => good("audit", format!("clean on {}, {} records", rfc3339(last.at), last.records)),
        None if every == 0 => good("audit", "never run by itself: verify_hours is 0"),
        None => good("audit", "not run yet: a server does so when it first starts"),
    };
    Ok([holder, audit])
}

/// Whether terminals can find the roles that this process has not.
fn others(config: &Config) -> Vec<Check> {
    if !config.server.roles.has(ServerRole::Authority) {
        return vec![];
    }
    let missing = serve::missing_addresses(&config.server).into_iter();
    missing.map(|missing| warning("address", missing, "Say in section [server] where they are: terminals follow it.")).collect()
}

fn clock(now: Timestamp, newest: Option<Timestamp>) -> Check {
    const REMEDY: &str = "Set the clock, and keep it right with NTP: requests that are a day off are refused.";
    match newest {
        _ if now.0 < WRITTEN => wrong("clock", rfc3339(now), REMEDY),
        Some(newest) if now < newest => {
            wrong("clock", format!("{}, but the audit log goes on until {}", rfc3339(now), rfc3339(newest)), REMEDY)
        }
        _ => good("clock", rfc3339(now)),
    }
}

async fn contents(config: &Config) -> Check {
    // Opening would make an empty one, and publishers would seem to have lost everything.
    if config.contents.url.is_none() && !config.contents.dir.is_dir() {
        let found = format!("there is no directory {}", config.contents.dir.display());
        return wrong("contents", found, "Mount it, restore it, or correct dir in section [contents].");
    }
    let blobs = match Blobs::connect(&config.contents).and_then(|blobs| Delivery::open(&config.contents).map(|_| blobs)) {
        Ok(blobs) => blobs,
        Err(error) => return wrong("contents", error.to_string(), "Correct [contents] in the configuration."),
    };
    match blobs.probe(&format!(".doctor-{:016x}", u64::from_be_bytes(Rng::System.bytes())), config.server.roles.need_database()).await {
        Ok(()) => good("contents", blobs.to_string()),
        Err(error) => wrong(
            "contents",
            format!("{blobs}: {error}"),
            if config.contents.url.is_some() {
                "Check address, options and credentials in [contents], and that the bucket lets them read, list, write and delete; docs/contents.md."
            } else {
                "Let the user that runs counterfoild write in that directory."
            },
        ),
    }
}

fn tls(config: &Config, now: Timestamp) -> Vec<Check> {
    let (Some(cert), Some(key)) = (&config.tls.cert_file, &config.tls.key_file) else { return vec![] };
    let mut checks = vec![];
    match too_open(key) {
        Err(error) => checks.push(wrong("TLS key", format!("{}: {error}", key.display()), "Correct key_file in section [tls].")),
        Ok(true) => {
            checks.push(wrong("TLS key", format!("{} can be read by others", key.display()), format!("chmod 600 {}", key.display())))
        }
        Ok(false) => checks.push(good("TLS key", key.display().to_string())),
    }
    checks.push(match expiry(cert) {
        Err(error) => wrong("certificate", format!("{}: {error}", cert.display()), "Correct cert_file in section [tls]."),
        Ok(end) => {
            let (days, written) = ((end.0 - now.0) / Timestamp::DAY, format!("{}, until {}", cert.display(), rfc3339(end)));
            match days {
                _ if end <= now => wrong("certificate", written, "It has ended. Renew it, and restart the server."),
                ..=SOON => warning("certificate", written, format!("It ends in {days} days. Renew it.")),
                _ => good("certificate", written),
            }
        }
    });
    checks
}

/// When the first certificate of a file ends.
fn expiry(path: &Path) -> Result<Timestamp, String> {
    let der = CertificateDer::from_pem_file(path).map_err(|error| error.to_string())?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
    Ok(Timestamp(certificate.validity().not_after.timestamp() * 1000))
}

fn address(config: &Config) -> Check {
    let listen = config.server.listen;
    if !config.has_tls() && !listen.ip().is_loopback() {
        let remedy = "Configure [tls], or have a proxy do TLS, and say allow_plain.";
        return if config.server.allow_plain {
            warning("address", format!("{listen}, without TLS"), remedy)
        } else {
            wrong("address", format!("{listen}, without TLS"), remedy)
        };
    }
    if config.server.public_urls.is_empty() && !listen.ip().is_loopback() {
        return warning(
            "address",
            format!("{listen}, and no public_urls"),
            "Say in public_urls how terminals reach this server: it is written on every medium.",
        );
    }
    good("address", listen.to_string())
}
