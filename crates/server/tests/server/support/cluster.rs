//! A pooler, and a PostgreSQL of two nodes: real ones, started by the scripts, each test's own, ended with it.

use std::path::PathBuf;
use std::process::Command;

/// PgBouncer in transaction mode.
pub struct Pooler {
    script: Script,
    pub url: String,
}

impl Pooler {
    /// Before the server of this URL, with so many connections to each database.
    pub fn before(server: &str, connections: usize) -> Self {
        let script = Script::new("pgbouncer", "COUNTERFOIL_PGBOUNCER_DIR");
        let url = script.run(&["start", server, &connections.to_string()]);
        Self { script, url }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.script.run(&["stop"]);
    }
}

/// Two nodes under Patroni and etcd, one of them a synchronous standby.
pub struct Patroni {
    script: Script,
    /// Names both nodes.
    pub url: String,
}

impl Patroni {
    pub fn start() -> Self {
        let script = Script::new("patroni", "COUNTERFOIL_PATRONI_DIR");
        let url = script.run(&["start"]);
        Self { script, url }
    }

    /// Has the script do something; answers with what it prints.
    pub fn run(&self, what: &[&str]) -> String {
        self.script.run(what)
    }

    /// The URL of the node that is the primary, or the standby, now.
    pub fn only(&self, role: &str) -> String {
        self.run(&["node-url", &self.run(&[role])])
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        self.script.run(&["stop"]);
    }
}

struct Script {
    path: PathBuf,
    place: (&'static str, PathBuf),
}

impl Script {
    fn new(name: &str, variable: &'static str) -> Self {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts")).join(name);
        // PostgreSQL runs as another user, who cannot look into a directory of ours.
        let place = std::env::temp_dir().join(format!("counterfoil-{name}-test-{}", std::process::id()));
        Self { path, place: (variable, place) }
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.path).args(arguments).env(self.place.0, &self.place.1).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || std::thread::panicking(), "{} {arguments:?}: {said}", self.path.display());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}
