//! A real `counterfoild` process: started, awaited, killed.

use crate::{Common, authority::Failure};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::Write as _,
    net::TcpListener,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

/// An installation: data directory, port, and the process while it runs.
pub struct Server {
    binary: PathBuf,
    /// Where `counterfoild init` put everything.
    pub data: PathBuf,
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// First operator token.
    pub token: String,
    /// Settings on top of the configuration, as environment variables.
    pub settings: Vec<(String, String)>,
    process: Option<Child>,
}

impl Server {
    /// Initialises a fresh authority below `directory`; it does not run yet.
    pub fn init(common: &Common, directory: &Path) -> Result<Server, Failure> {
        let data = directory.join("server");
        let mut command = Command::new(&common.counterfoild);
        command.args(["init", "--json", "--data"]).arg(&data);
        if let Some(database) = &common.database {
            command.args(["--database", database]);
        }
        let output = command.output().map_err(|error| Failure::Io("starting counterfoild", error))?;
        if !output.status.success() {
            return Err(Failure::Broken(format!("counterfoild init: {}", String::from_utf8_lossy(&output.stderr))));
        }
        let said: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|error| Failure::Broken(format!("counterfoild init --json: {error}")))?;
        let token = said["token"].as_str().ok_or_else(|| Failure::Broken("counterfoild init --json names no token".into()))?.to_owned();
        Server::open(common, directory, token)
    }

    /// An authority that was initialised below `directory` before.
    pub fn open(common: &Common, directory: &Path, token: String) -> Result<Server, Failure> {
        let (data, url) = (directory.join("server"), format!("http://127.0.0.1:{}", free_port()?));
        let mut server = Server { binary: common.counterfoild.clone(), data, url, token, settings: Vec::new(), process: None };
        common.settings.iter().for_each(|(key, value)| server.set(key, value));
        Ok(server)
    }

    /// One more process on the same database, at another port.
    pub fn sibling(&self) -> Result<Server, Failure> {
        Ok(Server {
            binary: self.binary.clone(),
            data: self.data.clone(),
            url: format!("http://127.0.0.1:{}", free_port()?),
            token: self.token.clone(),
            settings: self.settings.clone(),
            process: None,
        })
    }

    /// Sets a configuration key for the next start: `section__key`.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.push((format!("COUNTERFOILD__{}", key.to_uppercase()), value.to_owned()));
    }

    /// Gives it another database from the next start on: in a file of its own, as a server wants an address that has a password in it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn set_database(&mut self, url: &str) -> Result<(), Failure> {
        let file = self.data.join("fork.url");
        let written = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file);
        let written = written.and_then(|mut opened| opened.write_all(url.as_bytes()));
        written.map_err(|error| Failure::Io("writing the fork's address", error))?;
        self.set("database__url_file", &file.display().to_string());
        Ok(())
    }

    /// Starts it, and returns once it answers that it is ready.
    pub fn start(&mut self) -> Result<(), Failure> {
        let mut command = Command::new(&self.binary);
        command
            .args(["serve", "--data"])
            .arg(&self.data)
            .args(["--listen", self.url.trim_start_matches("http://")])
            // The harness is one address with a thousand terminals.
            .env("COUNTERFOILD__LIMITS__REQUESTS_PER_SECOND", "0")
            .env("COUNTERFOILD__LIMITS__TOKEN_REQUESTS_PER_SECOND", "0")
            // So that there are balances to lose.
            .env("COUNTERFOILD__STORE__PAYMENT", "balance")
            .env("COUNTERFOILD__LOG__LEVEL", "warn")
            .envs(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.process = Some(started(&mut command, &self.url, &self.data.join("harness.log"))?);
        Ok(())
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // Already dead is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// User and system seconds that the process has used so far.
    pub fn cpu_seconds(&self) -> Option<f64> {
        cpu_seconds(self.pid()?)
    }

    /// While it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Resident bytes now.
    pub fn resident(&self) -> Option<u64> {
        let pid = self.process.as_ref()?.id();
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
    }

    /// Runs `counterfoild audit verify` and demands that it finds nothing.
    pub fn audit(&self) -> Result<(), Failure> {
        let output = Command::new(&self.binary)
            .args(["audit", "verify", "--data"])
            .arg(&self.data)
            .output()
            .map_err(|error| Failure::Io("starting counterfoild audit", error))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::Broken(format!(
            "the auditor complains:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// User and system seconds that a process has used so far.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; fields are counted after it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / 100.0)
}

/// Starts a server, and returns once it answers at its address that it is ready.
pub(crate) fn started(command: &mut Command, url: &str, log: &Path) -> Result<Child, Failure> {
    let file = File::options().create(true).append(true).open(log).map_err(|error| Failure::Io("opening a server's log", error))?;
    let out = file.try_clone().map_err(|error| Failure::Io("sharing the log", error))?;
    let child = command.stdin(Stdio::null()).stdout(out).stderr(file).spawn();
    let mut child = child.map_err(|error| Failure::Io("starting counterfoild", error))?;
    for _ in 0..1500 {
        if ureq::get(format!("{url}/readyz")).call().is_ok() {
            return Ok(child);
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Failure::Broken(format!("counterfoild ended with {status}; see {}", log.display())));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody else would end it.
    let _ = child.kill();
    let _ = child.wait();
    Err(Failure::Broken("counterfoild was not ready after 30 s".into()))
}

/// A port that nobody listens at, and that was not given out before: two servers at one would be one, and the second never missed.
pub(crate) fn free_port() -> Result<u16, Failure> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = bound.map_err(|error| Failure::Io("looking for a free port", error))?.port();
        if GIVEN.lock().expect("no holder panics").insert(port) {
            return Ok(port);
        }
    }
}
