//! Several server processes of one authority, on one database.

use crate::{Common, authority::Failure, database::Database, quota::Quota, server::Server};
use std::path::Path;

/// The processes; ended when dropped.
pub struct Cluster {
    /// At least one. Not all need be running.
    pub servers: Vec<Server>,
    /// What they share.
    pub database: Database,
}

impl Cluster {
    /// Initialises a fresh authority below `directory`, of which `count` processes can be started.
    ///
    /// # Errors
    /// Where `counterfoild init` fails, or several are to share SQLite.
    pub fn init(common: &Common, directory: &Path, count: usize) -> Result<Cluster, Failure> {
        if count > 1 && common.database.is_none() {
            return Err(Failure::Broken("several server processes need --database postgres://…".into()));
        }
        let mut servers = vec![Server::init(common, directory)?];
        for _ in 1..count.max(1) {
            servers.push(servers[0].sibling()?);
        }
        let database = Database::of(&servers[0].data, common.database.as_deref());
        Ok(Cluster { servers, database })
    }

    /// As `init`, but an authority that is there already is used as it is.
    ///
    /// # Errors
    /// As for `init`.
    pub fn init_or_open(common: &Common, directory: &Path, count: usize) -> Result<Cluster, Failure> {
        let note = directory.join("token");
        let Ok(token) = std::fs::read_to_string(&note) else {
            let cluster = Cluster::init(common, directory, count)?;
            std::fs::write(&note, cluster.token()).map_err(|error| Failure::Io("noting the token", error))?;
            return Ok(cluster);
        };
        let mut servers = vec![Server::open(common, directory, token)?];
        for _ in 1..count.max(1) {
            servers.push(servers[0].sibling()?);
        }
        let database = Database::of(&servers[0].data, common.database.as_deref());
        Ok(Cluster { servers, database })
    }

    /// Limits each process that runs to a part of a core, until the answer is dropped.
    ///
    /// # Errors
    /// Where this machine has no cgroup for CPU that we may write to.
    pub fn limit(&self, part: f64) -> Result<Vec<Quota>, Failure> {
        self.servers.iter().filter_map(Server::pid).map(|pid| Quota::new(pid, part)).collect()
    }

    /// Starts them all; returns when all are ready.
    ///
    /// # Errors
    /// The first that does not start.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.servers.iter_mut().try_for_each(Server::start)
    }

    /// SIGKILL to all.
    pub fn kill(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
    }

    /// Where each of them is.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|server| server.url.clone()).collect()
    }

    /// First operator token.
    pub fn token(&self) -> &str {
        &self.servers[0].token
    }

    /// What the auditor says of the database.
    ///
    /// # Errors
    /// What it complains of.
    pub fn audit(&self) -> Result<(), Failure> {
        self.servers[0].audit()
    }

    /// User and system seconds of all processes that run.
    pub fn cpu_seconds(&self) -> f64 {
        self.servers.iter().filter_map(Server::cpu_seconds).sum()
    }

    /// Resident bytes of the largest that runs.
    pub fn resident(&self) -> u64 {
        self.servers.iter().filter_map(Server::resident).max().unwrap_or(0)
    }
}
