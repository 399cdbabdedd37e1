//! Databases of scenarios, in the cluster that COUNTERFOIL_TEST_POSTGRES names.

use std::process::Command;

use super::{counterfoild, outcome, write};

/// A database of this scenario's own in the cluster that COUNTERFOIL_TEST_POSTGRES names; empty, or as `template`.
pub fn create_database(template: Option<&str>) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("acceptance_{}_{number}", std::process::id());
    let like = template.map(|template| format!(" TEMPLATE {template} STRATEGY wal_log")).unwrap_or_default();
    psql(&format!("CREATE DATABASE {name}{like}"));
    address(&name)
}

/// The name of a database as an operator of many users would have it at the beginning: migrated, in partitions. Whoever comes first makes it
/// for all tests of the same program, as that takes seconds.
pub(super) fn partitioned(partitions: &str) -> String {
    let program = std::fs::metadata(counterfoild()).expect("counterfoild is built");
    let made = program.modified().ok().and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok()).expect("a time");
    let template = format!("acceptance_template_{}_{}_{partitions}", made.as_nanos(), program.len());
    let lock = std::fs::File::create(std::env::temp_dir().join("counterfoil-acceptance-template.lock")).expect("a file to lock");
    lock.lock().expect("a lock");
    if psql(&format!("SELECT 1 FROM pg_database WHERE datname = '{template}'")).contains('1') {
        return template;
    }
    // Under another name until it is complete, so that a killed test leaves no half template.
    let begun = format!("{template}_new");
    psql(&format!("DROP DATABASE IF EXISTS {begun} WITH (FORCE)"));
    psql(&format!("CREATE DATABASE {begun}"));
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("partitions.toml");
    write(&config, format!("[database]\nurl = \"{}\"\n", address(&begun)).as_bytes());
    let mut migrate = Command::new(counterfoild());
    migrate.arg("--config").arg(config).args(["migrate", "--partitions", partitions]);
    outcome(migrate).done();
    // A session of the migration may still be on its way out; it would keep the template from being renamed.
    psql(&format!("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{begun}'"));
    psql(&format!("ALTER DATABASE {begun} RENAME TO {template}"));
    template
}

fn address(database: &str) -> String {
    let cluster = cluster();
    let (server, _) = cluster.rsplit_once('/').expect("an address with a database");
    format!("{server}/{database}")
}

pub fn drop_database(url: &str) {
    let (_, name) = url.rsplit_once('/').expect("an address with a database");
    psql(&format!("DROP DATABASE {name} WITH (FORCE)"));
}

fn cluster() -> String {
    std::env::var("COUNTERFOIL_TEST_POSTGRES")
        .expect("COUNTERFOIL_TEST_POSTGRES is not set: run `export COUNTERFOIL_TEST_POSTGRES=$(scripts/postgres start)` first")
}

fn psql(statement: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args(["-qXtA", "-v", "ON_ERROR_STOP=1", "-c", statement]).arg(cluster());
    let result = outcome(psql);
    // While another test drops or creates one, the template is busy for a moment; everything else is a failure.
    assert!(result.output.status.success() || std::thread::panicking(), "{result}");
    String::from_utf8_lossy(&result.output.stdout).into_owned()
}
