//! Licenses issued and fetched a second, and what one costs the servers, beside a handler that only answers as many bytes (bench.md,
//! "Server").

use crate::{
    Common,
    authority::{Authority, Failure, TITLE},
    bare,
    cluster::Cluster,
    goods::euros,
    ground, race,
    random::Dice,
    terminal::Terminal,
};
use counterfoil_core::{
    TitleId, TransactionId,
    wire::{AskLicense, LicenseResult, Operation, Order, OrderResult, Redeem, RedeemResult},
};
use counterfoil_format::envelope::Envelope;
use serde::de::DeserializeOwned;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many licenses to issue and to fetch, each for a user of its own.
    #[arg(long, default_value_t = 2_000)]
    pub licenses: u64,
    /// Server processes; more than one needs PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// The handler to compare with, `target/release/examples/bare`.
    #[arg(long)]
    pub bare: Option<PathBuf>,
}

/// A user with one order, and what is known of its license so far.
struct Buyer {
    terminal: Terminal,
    transaction: Option<TransactionId>,
    /// Bytes of the last answer, about.
    answered: usize,
}

/// Registers and orders, then measures all requests for a license, then all fetches.
///
/// # Errors
/// A license that was not granted, or a server that does not run.
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, temporary.path(), options.servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let title = list_for_nothing(&authority, cluster.token())?;
    let share = usize::try_from(options.licenses).unwrap_or(usize::MAX).div_ceil(common.terminals).max(1);
    let urls = cluster.urls();
    let mut streams: Vec<Stream> =
        (0..common.terminals).map(|stream| Stream::new(common, &authority.at(&urls[stream % urls.len()]), stream)).collect();

    side_by_side(&mut streams, |stream| stream.buy(&title, share))?;
    let issue = measured(&cluster, &mut streams, |stream| stream.seal(|buyer| buyer.license(&title)), Stream::issue)?;
    let redeem = measured(&cluster, &mut streams, |stream| stream.seal(Buyer::redeem), Stream::redeem)?;
    let bytes = streams.iter().flat_map(|stream| &stream.buyers).map(|buyer| buyer.answered).max().unwrap_or(0);
    let requests: Vec<Vec<Vec<u8>>> = streams.iter().map(|stream| stream.sealed.iter().map(Envelope::to_json).collect()).collect();
    let bare = options.bare.as_deref().map(|path| bare::cpu_us(path, &requests, bytes)).transpose()?;
    println!(
        "{}",
        serde_json::json!({
            "licenses": share * common.terminals, "terminals": common.terminals, "servers": options.servers,
            "engine": if common.database.is_some() { "postgres" } else { "sqlite" },
            "issue": issue.json(), "redeem": redeem.json(), "answer_bytes": bytes, "bare_cpu_us": bare,
            "redeem_cpu_against_bare": bare.map(|bare| redeem.cpu_us / bare),
        })
    );
    Ok(())
}

/// Publishes a title and puts it on sale for nothing, so that no balance is in the way.
fn list_for_nothing(authority: &Authority, token: &str) -> Result<TitleId, Failure> {
    ground::publish_title(authority, token, TITLE)?;
    let listing = serde_json::json!({ "summary": "For the harness", "on_sale": true, "prices": [euros(0)] });
    authority.put_json(token, &format!("/v1/titles/{TITLE}/listing"), listing)?;
    Ok(TITLE.parse().expect("a title's name"))
}

/// Terminals that ask one after the other, over one connection.
struct Stream {
    authority: Authority,
    dice: Dice,
    buyers: Vec<Buyer>,
    sealed: Vec<Envelope>,
    latencies: Vec<Duration>,
}

impl Stream {
    fn new(common: &Common, authority: &Authority, number: usize) -> Stream {
        let dice = Dice::new(common.seed, 7 << 32 | number as u64);
        Stream { authority: authority.apart(), dice, buyers: vec![], sealed: vec![], latencies: vec![] }
    }

    fn buy(&mut self, title: &TitleId, count: usize) -> Result<(), Failure> {
        for _ in 0..count {
            let terminal = race::registered(&self.authority, &mut self.dice)?;
            let order = Operation::Order(Order {
                user_id: terminal.user_id(),
                card_id: Some(terminal.card_id()),
                device_id: terminal.device_id(),
                title: title.clone(),
                price: Some(euros(0)),
                currency: None,
                trial: false,
            });
            let envelope = terminal.ask(&self.authority, order, &mut self.dice);
            granted::<OrderResult>(&self.authority, &envelope)?;
            self.buyers.push(Buyer { terminal, transaction: None, answered: 0 });
        }
        Ok(())
    }

    /// What is asked for, sealed before the clock runs.
    fn seal(&mut self, operation: impl Fn(&Buyer) -> Operation) -> Result<(), Failure> {
        let Stream { authority, dice, buyers, .. } = self;
        self.sealed = buyers.iter().map(|buyer| buyer.terminal.ask(authority, operation(buyer), dice)).collect();
        self.latencies.clear();
        Ok(())
    }

    fn issue(&mut self) -> Result<(), Failure> {
        self.each(|buyer, authority, envelope| {
            buyer.transaction = Some(granted::<LicenseResult>(authority, envelope)?.transaction_id);
            Ok(())
        })
    }

    fn redeem(&mut self) -> Result<(), Failure> {
        self.each(|buyer, authority, envelope| {
            let result: RedeemResult = granted(authority, envelope)?;
            // In base64, with what stands around it.
            buyer.answered = serde_json::to_vec(&result).map_or(0, |json| json.len() * 4 / 3 + 300);
            Ok(())
        })
    }

    #[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
    fn each(&mut self, ask: impl Fn(&mut Buyer, &Authority, &Envelope) -> Result<(), Failure>) -> Result<(), Failure> {
        for (buyer, envelope) in self.buyers.iter_mut().zip(&self.sealed) {
            let begun = Instant::now();
            ask(buyer, &self.authority, envelope)?;
            self.latencies.push(begun.elapsed());
        }
        Ok(())
    }
}

impl Buyer {
    fn license(&self, title: &TitleId) -> Operation {
        let (user_id, device_id) = (self.terminal.user_id(), self.terminal.device_id());
        Operation::License(AskLicense { user_id, device_id, title: title.clone(), release: None, channel: None, again: false, feed: 0 })
    }

    fn redeem(&self) -> Operation {
        Operation::Redeem(Redeem {
            user_id: self.terminal.user_id(),
            device_id: self.terminal.device_id(),
            drive_id: None,
            transaction_id: self.transaction.expect("was issued in the phase before"),
        })
    }
}

fn granted<T: DeserializeOwned>(authority: &Authority, envelope: &Envelope) -> Result<T, Failure> {
    match race::send(authority, envelope)?.outcome.into_result() {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(refusal)) => Err(Failure::Broken(format!("refused: {refusal}"))),
        Err(error) => Err(Failure::Broken(format!("an answer of another kind: {error}"))),
    }
}

/// Does `work` with each stream, on a thread of its own.
pub(crate) fn side_by_side<S: Send>(streams: &mut [S], work: impl Fn(&mut S) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = streams.iter_mut().map(|stream| scope.spawn(move || work(stream))).collect();
        running.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err(Failure::Broken("a terminal panicked".into()))))
    })
}

/// What a phase came to.
struct Measured {
    per_second: f64,
    cpu_us: f64,
    latencies: Vec<Duration>,
}

impl Measured {
    fn json(&self) -> serde_json::Value {
        let at = |permille: usize| self.latencies[(self.latencies.len() - 1) * permille / 1000].as_secs_f64() * 1e3;
        serde_json::json!({ "per_second": self.per_second, "server_cpu_us": self.cpu_us, "p50_ms": at(500), "p99_ms": at(990) })
    }
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn measured(
    cluster: &Cluster,
    streams: &mut [Stream],
    prepare: impl Fn(&mut Stream) -> Result<(), Failure> + Sync,
    work: impl Fn(&mut Stream) -> Result<(), Failure> + Sync,
) -> Result<Measured, Failure> {
    side_by_side(streams, prepare)?;
    let (cpu, begun) = (cluster.cpu_seconds(), Instant::now());
    side_by_side(streams, work)?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cluster.cpu_seconds() - cpu);
    let mut latencies: Vec<Duration> = streams.iter().flat_map(|stream| stream.latencies.iter().copied()).collect();
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Ok(Measured { per_second: count / wall, cpu_us: cpu * 1e6 / count, latencies })
}
