//! Presentations judged for a provider a second, and what one costs the servers, beside a handler that only answers as many bytes; and what
//! checking a verdict offline costs, beside the signature alone (bench.md, "Server").

use crate::{
    Common,
    authority::{Authority, Failure, TITLE},
    bare,
    cluster::Cluster,
    ground,
    random::Dice,
    terminal::{Medium, now},
};
use counterfoil_core::{
    ProviderId,
    wire::{Present, VERDICT_TYP, Verdict},
};
use counterfoil_format::{
    jws::verify_compact_bytes,
    jwt::{self, Demands},
};
use serde_json::{Value, json};
use std::{
    hint::black_box,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What to measure.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many presentations, each of a medium of its own.
    #[arg(long, default_value_t = 2_000)]
    pub presentations: u64,
    /// Server processes; more than one needs PostgreSQL.
    #[arg(long, default_value_t = 1)]
    pub servers: usize,
    /// The handler to compare with, `target/release/examples/bare`.
    #[arg(long)]
    pub bare: Option<PathBuf>,
}

/// Where the provider is said to be; nobody calls there.
const URL: &str = "https://provider.example";
const CHALLENGE: &str = "a-challenge-of-the-harness";
/// Checks of a verdict for one figure.
const CHECKS: u32 = 2_000;

/// A provider with its token.
struct Provider {
    id: ProviderId,
    token: String,
}

/// Presses, presents, then measures all verifications: the first of each presentation, and its repeat.
///
/// # Errors
/// A presentation that was not found good, or a server that does not run.
pub fn run(common: &Common, options: &Options) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(|error| Failure::Io("making a directory", error))?;
    let mut cluster = Cluster::init(common, temporary.path(), options.servers)?;
    cluster.start()?;
    let authority = Authority::meet(&cluster.servers[0].url)?;
    let media = ground::prepare(&authority, cluster.token(), options.presentations)?;
    let provider = register(&authority, cluster.token())?;
    let urls = cluster.urls();
    let share = media.len().div_ceil(common.terminals).max(1);
    let streams: Vec<Stream> = (0..)
        .zip(media.chunks(share))
        .map(|(number, media)| {
            let authority = authority.at(&urls[number % urls.len()]).apart();
            let mut dice = Dice::new(common.seed, 9 << 32 | number as u64);
            Stream { requests: media.iter().map(|medium| presented(&authority, &provider, medium, &mut dice)).collect(), authority }
        })
        .collect();

    let first = measured(&cluster, &streams, &provider)?;
    let again = measured(&cluster, &streams, &provider)?;
    let bytes = first.answers.iter().map(|answer| answer.to_string().len()).max().unwrap_or(0);
    let requests: Vec<Vec<Vec<u8>>> =
        streams.iter().map(|stream| stream.requests.iter().map(|request| request.to_string().into_bytes()).collect()).collect();
    let bare = options.bare.as_deref().map(|path| bare::cpu_us(path, &requests, bytes)).transpose()?;
    let (offline, signature) = offline(&authority, &provider, &first.answers[0])?;
    println!(
        "{}",
        json!({
            "presentations": media.len(), "providers_connections": streams.len(), "servers": options.servers,
            "engine": if common.database.is_some() { "postgres" } else { "sqlite" },
            "verify": first.json(), "repeat": again.json(), "answer_bytes": bytes, "bare_cpu_us": bare,
            "verify_cpu_against_bare": bare.map(|bare| first.cpu_us / bare),
            "offline_us": offline, "signature_us": signature,
        })
    );
    Ok(())
}

fn register(authority: &Authority, token: &str) -> Result<Provider, Failure> {
    let made = authority.post(token, "/v1/providers", json!({ "name": "Harness", "url": URL, "publishers": [TITLE] }))?;
    let new = json!({ "role": "provider", "tenant": made["provider"], "name": "harness" });
    let made_token = authority.post(token, "/v1/tokens", new)?;
    let id = made["provider"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| Failure::Broken("no provider was made".into()))?;
    Ok(Provider { id, token: made_token["token"].as_str().unwrap_or_default().to_owned() })
}

/// The body of `POST /v1/verify`, made before the clock runs.
fn presented(authority: &Authority, provider: &Provider, medium: &Medium, dice: &mut Dice) -> Value {
    let present = Present {
        provider: provider.id,
        url: URL.to_owned(),
        challenge: CHALLENGE.to_owned(),
        medium_id: Some(medium.claims.medium_id.clone()),
        user_id: None,
        device_id: None,
    };
    let presentation = medium.present(authority, present, dice);
    json!({ "presentation": presentation, "challenge": CHALLENGE })
}

/// A provider's connection, on which one presentation is judged after the other.
struct Stream {
    authority: Authority,
    requests: Vec<Value>,
}

impl Stream {
    #[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
    fn judged(&self, provider: &Provider) -> Result<(Vec<Value>, Vec<Duration>), Failure> {
        let (mut answers, mut latencies) = (vec![], vec![]);
        for request in &self.requests {
            let begun = Instant::now();
            let answer = self.authority.post(&provider.token, "/v1/verify", request.clone())?;
            latencies.push(begun.elapsed());
            if answer["active"] != true {
                return Err(Failure::Broken(format!("a presentation was not found good: {answer}")));
            }
            answers.push(answer);
        }
        Ok((answers, latencies))
    }
}

/// What a phase came to.
struct Measured {
    per_second: f64,
    cpu_us: f64,
    latencies: Vec<Duration>,
    answers: Vec<Value>,
}

impl Measured {
    fn json(&self) -> Value {
        let at = |permille: usize| self.latencies[(self.latencies.len() - 1) * permille / 1000].as_secs_f64() * 1e3;
        json!({ "per_second": self.per_second, "server_cpu_us": self.cpu_us, "p50_ms": at(500), "p99_ms": at(990) })
    }
}

#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn measured(cluster: &Cluster, streams: &[Stream], provider: &Provider) -> Result<Measured, Failure> {
    let (cpu, begun) = (cluster.cpu_seconds(), Instant::now());
    let (mut answers, mut latencies) = (vec![], vec![]);
    std::thread::scope(|scope| {
        let running: Vec<_> = streams.iter().map(|stream| scope.spawn(|| stream.judged(provider))).collect();
        running.into_iter().try_for_each(|one| {
            let (judged, took) = one.join().unwrap_or_else(|_| Err(Failure::Broken("a provider panicked".into())))?;
            answers.extend(judged);
            latencies.extend(took);
            Ok(())
        })
    })?;
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), cluster.cpu_seconds() - cpu);
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Ok(Measured { per_second: count / wall, cpu_us: cpu * 1e6 / count, latencies, answers })
}

/// Microseconds that checking a verdict takes with the published keys alone, and its signature by itself.
#[expect(clippy::disallowed_methods, reason = "measuring is what this is for")]
fn offline(authority: &Authority, provider: &Provider, answer: &Value) -> Result<(f64, f64), Failure> {
    let broken = |what: &str| Failure::Broken(format!("a verdict: {what}"));
    let keys = &authority.keys;
    let verdict = answer["verdict"].as_str().ok_or_else(|| broken("none"))?;
    let (audience, now) = (provider.id.to_string(), now().seconds());
    let demands = Demands { typ: VERDICT_TYP, now, audience: Some(&audience), holder: None, must_expire: true };
    let check = || jwt::verify::<Verdict>(verdict, keys, &demands);
    check().map_err(|error| broken(&error.to_string()))?;
    let timed = |work: &dyn Fn()| {
        let begun = Instant::now();
        (0..CHECKS).for_each(|_| work());
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(CHECKS)
    };
    let kid = keys.keys.first().and_then(|key| key.verifying_key()).ok_or_else(|| broken("no key"))?;
    let whole = timed(&|| drop(black_box(check())));
    let signature = timed(&|| drop(black_box(verify_compact_bytes(verdict, VERDICT_TYP, |_| Some(kid)))));
    Ok((whole, signature))
}
