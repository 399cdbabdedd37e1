//! A gateway: its processes, which are killed, and its operator, who works on the command line and is cut off as well.

use crate::{
    Common,
    authority::{Authority, Failure, TITLE},
    cluster::Cluster,
    database::Database,
    goods::Goods,
    random::Dice,
    server::{self, cpu_seconds},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// What a copy of a medium costs here, in cents: an odd number, so that parts have to be rounded.
pub const COPY: u64 = 333;
/// The gateway's share, in hundredths of a percent.
const SHARE: u32 = 2950;
/// How often a command is repeated that could not be carried out.
const TRIES: u32 = 600;

/// A gateway.
pub struct House {
    binary: PathBuf,
    /// Where `counterfoild gateway init` put everything.
    pub data: PathBuf,
    /// Its own.
    pub database: Database,
    /// Its ID at the authority.
    pub id: String,
    /// Its processes; not all need be running.
    pub desks: Vec<Desk>,
}

/// One process of a gateway.
pub struct Desk {
    binary: PathBuf,
    data: PathBuf,
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// The private listener that it asks.
    authority: String,
    process: Option<Child>,
}

impl House {
    /// Makes a gateway of an authority that runs, with prices for everything, and enrols it. One process for each of the authority's.
    ///
    /// # Errors
    /// What a command said.
    pub fn open(
        common: &Common,
        cluster: &Cluster,
        authority: &Authority,
        goods: &[Goods],
        listeners: &[String],
    ) -> Result<House, Failure> {
        let data = cluster.servers[0].data.with_file_name("gateway");
        let database = match &cluster.database {
            Database::Sqlite(_) => Database::Sqlite(data.join("gateway.db")),
            postgres => postgres.beside("gateway")?,
        };
        let desk = |listener: &String| -> Result<Desk, Failure> {
            let url = format!("http://127.0.0.1:{}", server::free_port()?);
            Ok(Desk { binary: common.counterfoild.clone(), data: data.clone(), url, authority: listener.clone(), process: None })
        };
        let desks = listeners.iter().map(desk).collect::<Result<Vec<_>, _>>()?;
        let mut house = House { binary: common.counterfoild.clone(), data: data.clone(), database, id: String::new(), desks };
        let url = match &house.database {
            Database::Postgres(url) => vec!["--database", url],
            Database::Sqlite(_) => vec![],
        };
        house.said(&[&["init", "--authority", &listeners[0]][..], &url].concat())?;
        house.id = reseller(authority, cluster.token(), "North", goods)?;
        house.enrol(authority, cluster.token(), &mut Dice::new(common.seed, u64::MAX))?;
        house.refuses_another(authority, cluster.token(), goods)?;
        Ok(house)
    }

    /// Gets a certificate with a new token, as often as it takes.
    ///
    /// # Errors
    /// What was refused.
    pub fn enrol(&self, authority: &Authority, token: &str, dice: &mut Dice) -> Result<(), Failure> {
        let made = authority.post(token, &format!("/v1/gateways/{}/token", self.id), json!({}))?;
        self.done(dice, &["enrol", made["token"].as_str().unwrap_or_default()]).map(drop)
    }

    /// A gateway whose exchanges are under one name at the authority does not take another.
    fn refuses_another(&self, authority: &Authority, token: &str, goods: &[Goods]) -> Result<(), Failure> {
        let other = reseller(authority, token, "South", goods)?;
        let made = authority.post(token, &format!("/v1/gateways/{other}/token"), json!({}))?;
        let output = self.command(&["enrol", made["token"].as_str().unwrap_or_default()]).output();
        match output.map_err(|error| Failure::Io("starting counterfoild gateway", error))?.status.code() {
            Some(1) => Ok(()),
            other => Err(Failure::Broken(format!("a gateway was enrolled under another name: exit {other:?}"))),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("gateway").args(arguments).args(["--json", "--data"]).arg(&self.data);
        command.env("COUNTERFOILD_GATEWAY__LOG__LEVEL", "warn").stdin(Stdio::null());
        command
    }

    /// What a command says, which must succeed at once.
    ///
    /// # Errors
    /// What it said instead.
    pub fn said(&self, arguments: &[&str]) -> Result<Value, Failure> {
        let output = self.command(arguments).output().map_err(|error| Failure::Io("starting counterfoild gateway", error))?;
        if output.status.success() { parsed(&output) } else { Err(refused(arguments, &output)) }
    }

    /// Repeats a command until it is carried out, whatever is killed meanwhile: now and then the command itself.
    ///
    /// # Errors
    /// What it was refused for.
    pub fn done(&self, dice: &mut Dice, arguments: &[&str]) -> Result<Value, Failure> {
        for _ in 0..TRIES {
            let mut command = self.command(arguments);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let mut child = child.map_err(|error| Failure::Io("starting counterfoild gateway", error))?;
            if dice.chance(15) {
                std::thread::sleep(Duration::from_millis(dice.below(150)));
                // Already done is as good.
                let _ = child.kill();
            }
            let output = child.wait_with_output().map_err(|error| Failure::Io("waiting for counterfoild gateway", error))?;
            match output.status.code() {
                Some(0) => return parsed(&output),
                Some(1 | 2) => return Err(refused(arguments, &output)),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Err(Failure::Broken(format!("counterfoild gateway {arguments:?} could not be carried out {TRIES} times")))
    }

    /// Starts all processes; returns when all are ready.
    ///
    /// # Errors
    /// The first that does not start.
    pub fn start(&mut self) -> Result<(), Failure> {
        self.desks.iter_mut().try_for_each(Desk::start)
    }

    /// SIGKILL to all.
    pub fn kill(&mut self) {
        self.desks.iter_mut().for_each(Desk::kill);
    }

    /// User and system seconds of all processes that run.
    pub fn cpu_seconds(&self) -> f64 {
        self.desks.iter().filter_map(|desk| cpu_seconds(desk.process.as_ref()?.id())).sum()
    }
}

/// A gateway at the authority, with a price for every title.
fn reseller(authority: &Authority, token: &str, name: &str, goods: &[Goods]) -> Result<String, Failure> {
    let made = authority.post(token, "/v1/gateways", json!({ "name": name, "share": SHARE, "every_copy": true }))?;
    let id = made["gateway"].as_str().ok_or_else(|| Failure::Broken(format!("no gateway in {made}")))?.to_owned();
    let prices = goods.iter().map(|goods| (goods.title.as_str(), price(goods))).chain([(TITLE, COPY)]);
    for (title, cents) in prices {
        let price = json!({ "amount": cents, "currency": "EUR" });
        authority.put_json(token, &format!("/v1/gateways/{id}/prices/{title}"), price)?;
    }
    Ok(id)
}

/// What a title costs here, in cents: not what the authority's own store asks.
pub fn price(goods: &Goods) -> u64 {
    goods.price.amount + 1
}

fn parsed(output: &Output) -> Result<Value, Failure> {
    serde_json::from_slice(&output.stdout).map_err(|error| Failure::Broken(format!("counterfoild gateway --json: {error}")))
}

fn refused(arguments: &[&str], output: &Output) -> Failure {
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Failure::Broken(format!("counterfoild gateway {arguments:?}: {}\n{out}{error}", output.status))
}

impl Desk {
    /// Starts it, and returns once it answers that it is ready.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start(&mut self) -> Result<(), Failure> {
        let log = self.data.join("harness.log");
        let mut command = Command::new(&self.binary);
        command.args(["gateway", "serve", "--data"]).arg(&self.data).args(["--listen", self.url.trim_start_matches("http://")]);
        // The harness is one address with a thousand customers.
        for limit in ["LIMITS__REQUESTS_PER_SECOND", "LIMITS__TOKEN_REQUESTS_PER_SECOND", "ACCOUNTS__ATTEMPTS_PER_SECOND"] {
            command.env(format!("COUNTERFOILD_GATEWAY__{limit}"), "0");
        }
        command.env("COUNTERFOILD_GATEWAY__AUTHORITY__URL", &self.authority).env("COUNTERFOILD_GATEWAY__LOG__LEVEL", "warn");
        self.process = Some(server::started(&mut command, &self.url, &log)?);
        Ok(())
    }

    /// Whether it was started and not killed since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            // Already dead is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Gives each process of an authority a private listener; answers with where they are.
///
/// # Errors
/// Where there is no free port.
pub fn listeners(cluster: &mut Cluster) -> Result<Vec<String>, Failure> {
    let give = |server: &mut server::Server| -> Result<String, Failure> {
        let address = format!("127.0.0.1:{}", server::free_port()?);
        server.set("gateways__listen", &address);
        Ok(format!("https://{address}"))
    };
    cluster.servers.iter_mut().map(give).collect()
}

/// The database's file and what belongs to it, copied.
///
/// # Errors
/// Of the file system.
pub fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = || -> std::io::Result<()> {
        for end in ["", "-wal", "-shm"] {
            let of = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
            let _ = std::fs::remove_file(of(to));
            if of(from).exists() {
                std::fs::copy(of(from), of(to))?;
            }
        }
        Ok(())
    };
    copied().map_err(|error| Failure::Io("copying a database", error))
}
