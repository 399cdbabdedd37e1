//! `contents-server`: a contents server of somebody else's (A8, A10), as an example to start from.
//!
//! It knows no users. Whoever asks shows a verdict, signed by the authority, that somebody has a title, and how far that somebody is in
//! it; it answers with what it selects, signed with its own key. The authority looks whether it may.
//!
//! ```text
//! contents-server key studio.key                                  # makes it where there is none; prints the public half
//! curl https://authority.example/.well-known/jwks.json > jwks.json
//! contents-server serve --key studio.key --id cts-… --authority authority.example --jwks jwks.json --rules rules.json
//! ```

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use clap::{Parser, Subcommand};
use counterfoil_core::wire::{SELECTION_TYP, Selection, SelectionClaims, ShowStatus, ShownStatus, VERDICT_TYP, Variable, VerdictClaims};
use counterfoil_core::{ContentsServerId, TitleId};
use counterfoil_format::encoding::{from_base64url, to_base64url};
use counterfoil_format::jws::{sign_compact, verify_compact};
use counterfoil_format::jwt::KeyList;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_format::sign::SigningKey;
use serde::{Deserialize, Serialize};

mod answered;

use answered::Answered;

/// A contents server of somebody else's: shown a status, it selects by rules of its own
#[derive(Parser)]
#[command(name = "contents-server", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the public half of the key, for `counterfoil contents-server add --key`; make the key where there is none
    Key {
        /// Where it lies, or will
        file: PathBuf,
    },
    /// Serve
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    /// Its own key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Its ID, as `counterfoil contents-server add` answered
    #[arg(long, value_name = "ID")]
    id: ContentsServerId,
    /// The authority's name, as in its licenses and verdicts
    #[arg(long, value_name = "NAME")]
    authority: String,
    /// The authority's public keys, from `/.well-known/jwks.json`; read again when it has a new one
    #[arg(long, value_name = "FILE")]
    jwks: PathBuf,
    /// What it selects: a JSON list of {"title", "variable", "at_least", "select"}
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7490")]
    listen: SocketAddr,
}

/// What this one selects by: nothing that the authority needs to know of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    title: TitleId,
    variable: String,
    at_least: i64,
    select: TitleId,
}

struct Server {
    key: SigningKey,
    id: ContentsServerId,
    authority: String,
    jwks: PathBuf,
    rules: Vec<Rule>,
    answered: Mutex<Answered>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Key { file } => key(&file).map(|key| println!("{}", key.verifying_key())),
        Command::Serve(serve) => serve.run().await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// The key of a file, which is made where there is none.
fn key(file: &Path) -> Result<SigningKey, String> {
    let cannot = |error: std::io::Error| format!("{}: {error}", file.display());
    let seed: Secret<32> = match fs::read_to_string(file) {
        Ok(text) => {
            let bytes = from_base64url(text.trim()).and_then(|bytes| Secret::from_slice(&bytes));
            bytes.ok_or_else(|| format!("{} holds no key", file.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = Secret::random(&mut SystemRandom);
            let mut made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(cannot)?;
            writeln!(made, "{}", to_base64url(seed.expose())).and_then(|()| made.sync_all()).map_err(cannot)?;
            seed
        }
        Err(error) => return Err(cannot(error)),
    };
    Ok(SigningKey::from_seed(&seed))
}

impl Serve {
    async fn run(self) -> Result<(), String> {
        let rules = fs::read(&self.rules).map_err(|error| format!("{}: {error}", self.rules.display()))?;
        let rules = serde_json::from_slice(&rules).map_err(|error| format!("{}: {error}", self.rules.display()))?;
        let (key, answered) = (key(&self.key)?, Mutex::default());
        let server = Server { key, id: self.id, authority: self.authority, jwks: self.jwks, rules, answered };
        server.keys()?;
        // A status of 256 variables fits many times.
        let routes = Router::new().route("/v1/select", post(select)).layer(DefaultBodyLimit::max(2 << 20)).with_state(Arc::new(server));
        let listener = tokio::net::TcpListener::bind(self.listen).await.map_err(|error| format!("{}: {error}", self.listen))?;
        println!("listening on http://{}", listener.local_addr().map_err(|error| error.to_string())?);
        axum::serve(listener, routes).await.map_err(|error| error.to_string())
    }
}

/// A "no": RFC 9457, as far as it matters to whoever reads it.
#[derive(Serialize)]
struct Problem {
    title: &'static str,
    detail: String,
}

/// `POST /v1/select`.
async fn select(State(server): State<Arc<Server>>, Json(shown): Json<ShowStatus>) -> Result<Json<Selection>, (StatusCode, Json<Problem>)> {
    server
        .select(&shown, now())
        .map(Json)
        .map_err(|detail| (StatusCode::FORBIDDEN, Json(Problem { title: "the verdict is not good here", detail })))
}

impl Server {
    fn select(&self, shown: &ShowStatus, now: i64) -> Result<Selection, String> {
        let keys = self.keys()?;
        let verdict: VerdictClaims =
            verify_compact(&shown.verdict, VERDICT_TYP, |kid| keys.find(kid)?.verifying_key()).map_err(|error| error.to_string())?;
        if verdict.iss != self.authority || verdict.aud != self.id {
            return Err("it is by or for somebody else".to_owned());
        }
        if verdict.exp <= now || verdict.iat > now + 60 {
            return Err("it is over, or not good yet".to_owned());
        }
        if verdict.title != shown.status.title {
            return Err("the status is of another title".to_owned());
        }
        let titles = self.rules.iter().filter(|rule| rule.holds(&shown.status)).map(|rule| rule.select.clone()).collect();
        let claims = SelectionClaims { iss: self.id, aud: self.authority.clone(), jti: verdict.jti.clone(), exp: verdict.exp, titles };
        // One verdict, one answer: who asks again, perhaps with another status, gets the same.
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let selection =
            answered.once(verdict.jti, verdict.exp, now, || sign_compact(SELECTION_TYP, &self.id.to_string(), &claims, &self.key))?;
        Ok(Selection { selection })
    }

    fn keys(&self) -> Result<KeyList, String> {
        let bytes = fs::read(&self.jwks).map_err(|error| format!("{}: {error}", self.jwks.display()))?;
        KeyList::parse(&bytes).map_err(|error| format!("{}: {error}", self.jwks.display()))
    }
}

impl Rule {
    fn holds(&self, status: &ShownStatus) -> bool {
        let reached = matches!(status.variables.get(&self.variable), Some(Variable::Number(number)) if *number >= self.at_least);
        self.title == status.title && reached
    }
}

/// Seconds since 1970 UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the system for the time")]
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
