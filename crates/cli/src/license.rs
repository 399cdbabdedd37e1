//! `license`: what a license says, and whether it is genuine and good; offline, by anybody, with the authority's published keys (D6).

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use counterfoil_core::rules::run::{Facts, Permission, decide};
use counterfoil_core::{Code, DeviceId, License, Refusal, Timestamp, TitleId};
use counterfoil_format::jws::unverified_payload;
use counterfoil_format::jwt::{KeyList, LEEWAY};
use counterfoil_terminal::clock::{Clock as _, SystemClock};
use counterfoil_terminal::{Library, LicenseFile, Listed, Permitted, Terminal, permitted, verify_license};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::library::Which;
use crate::units;

/// Longest file that is looked at, in bytes.
const LONGEST: u64 = 1 << 20;

/// Licenses of titles that were bought: what they say, and whether they are genuine (offline)
#[derive(Subcommand, Debug)]
pub enum LicenseCommand {
    Show(Show),
    Verify(Verify),
}

/// Show what a license says
///
/// Whether it is genuine is said as far as the authority's keys are known here; `license verify` insists on it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil license show sky-raider
  counterfoil license show sky-raider --token > license.jwt
  counterfoil license show license.jwt --json")]
pub struct Show {
    /// A license file, or a title in the library
    #[arg(value_name = "FILE|TITLE")]
    what: String,
    #[command(flatten)]
    which: Which,
    /// The authority's keys, a JWK set [default: those of the authority that this device knows]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Only the license itself, a JWT, as other programs verify it
    #[arg(long)]
    token: bool,
}

/// Verify a license: made by the authority, unchanged, and good now
///
/// Needs neither a network nor a registration: a JWK set with the authority's keys is enough (`https://…/.well-known/jwks.json`).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil license verify license.jwt --keys jwks.json
  counterfoil license verify license.jwt --device dev-… --at 2027-12-31")]
pub struct Verify {
    /// The license: a JWT, or the library's license.json
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The authority's keys, a JWK set [default: those of the authority that this device knows]
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Who presents it: refused where it is for another device
    #[arg(long, value_name = "DEVICE-ID")]
    device: Option<DeviceId>,
    /// When: a day or a moment [default: now]
    #[arg(long, value_name = "TIME", value_parser = units::read_moment)]
    at: Option<Timestamp>,
}

impl LicenseCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            LicenseCommand::Show(command) => command.run(context),
            LicenseCommand::Verify(command) => command.run(context),
        }
    }
}

impl Show {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let file = Path::new(&self.what);
        let (token, kept) = if file.is_file() { (read(file)?, None) } else { self.installed(context)? };
        if self.token {
            return context.output.result(&json!({ "license": token }), || format!("{token}\n"));
        }
        let license: License = unverified(&token)?;
        let genuine = keys(context, self.keys.as_deref())?.map(|keys| verify_license(&token, &keys));
        let words = match &genuine {
            Some(Ok(_)) => "yes".to_owned(),
            Some(Err(error)) => format!("NO: {error}"),
            None => "not checked: no authority is known here (`--keys FILE`)".to_owned(),
        };
        let ended = kept.and_then(|kept| kept.ended_at);
        let mut value = described(&license);
        value["genuine"] = json!(genuine.map(|genuine| genuine.is_ok()));
        value["ended_at"] = json!(ended.map(units::moment));
        context.output.result(&value, || {
            let mut rows = rows(&license);
            rows.push(("genuine", words));
            rows.extend(ended.map(|at| ("ended", format!("{} (moved to another device, given back or taken back)", units::moment(at)))));
            rows.iter().map(|(name, words)| format!("{name:<10} {words}\n")).collect()
        })
    }

    fn installed(&self, context: &Context) -> Result<(String, Option<LicenseFile>), Failure> {
        let title: TitleId = self.what.parse().map_err(|_| {
            Failure::usage(format!("{} is neither a file nor a title", self.what)).hint("`counterfoil list` shows which titles there are.")
        })?;
        let terminal = context.terminal()?;
        let kept = self.which.open(&terminal)?.license(&title)?.ok_or_else(|| {
            Failure::refused("no_license", format!("{title} was copied from a medium and has no license"))
                .hint("Its keys are on the card: `counterfoil card show`.")
        })?;
        Ok((kept.license.clone(), Some(kept)))
    }
}

impl Verify {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let token = read(&self.file)?;
        let keys = keys(context, self.keys.as_deref())?.ok_or_else(|| {
            Failure::usage("no authority is known here").hint("Give its keys: `--keys jwks.json`, from its /.well-known/jwks.json.")
        })?;
        let license = verify_license(&token, &keys)?;
        let now = self.at.unwrap_or_else(|| SystemClock.now());
        if license.iat > now.seconds().saturating_add(LEEWAY) {
            let early = Refusal::with(Code::LicenseInvalid, format!("it was made later, at {}", moment(license.iat)));
            return Err(Failure::from(early).hint("Is the clock right?"));
        }
        let presented = self.device.unwrap_or(license.cnf.kid);
        let permission = decide(&Facts { license: &license, stored: presented, hardware: Some(presented), now, ended: false })?;
        let grace = matches!(permission, Permission::Grace { .. });
        let mut value = described(&license);
        value["genuine"] = json!(true);
        value["grace"] = json!(grace);
        context.output.result(&value, || {
            let note = if grace { "; it is over, and in its grace period" } else { "" };
            format!("genuine: {} for {}, {}{note}\n", license.title, license.cnf.kid, good_until(&license))
        })
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
    file.take(LONGEST).read_to_end(&mut bytes).map_err(|error| Failure::file("read", path, &error))?;
    Ok(LicenseFile::token_in(&bytes)?)
}

/// The keys of the file named, or of the authority that this device knows; none where it knows none. A home is not made for that.
fn keys(context: &Context, file: Option<&Path>) -> Result<Option<KeyList>, Failure> {
    let Some(file) = file else {
        if !context.home.is_dir() {
            return Ok(None);
        }
        return Ok(context.terminal().as_ref().map(Terminal::signing_keys).map_err(Clone::clone)??);
    };
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let keys = KeyList::parse(&bytes).map_err(|_| {
        Failure::usage(format!("{} is no JWK set", file.display())).hint("The authority serves it at /.well-known/jwks.json.")
    })?;
    Ok(Some(keys))
}

/// What a token says, whoever made it.
fn unverified(token: &str) -> Result<License, Failure> {
    let license = unverified_payload(token).and_then(|payload| counterfoil_format::encoding::parse_strict(&payload).ok());
    license.ok_or_else(|| Refusal::with(Code::LicenseInvalid, "it is not in the form of a license").into())
}

fn described(license: &License) -> Value {
    json!({
        "license_id": license.sub, "title": license.title, "release": license.release, "device_id": license.cnf.kid,
        "grant_id": license.grant, "authority": license.iss, "issued_at": moment(license.iat), "good_until": license.exp.map(moment),
        "grace_days": license.grace / 86_400, "ends": license.ends, "trial": license.trial, "devices": license.devices,
        "control_program": license.control_program, "attributes": license.attributes,
    })
}

fn rows(license: &License) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("license", license.sub.to_string()),
        ("title", format!("{} (issued with release {})", license.title, license.release)),
        ("device", license.cnf.kid.to_string()),
        ("authority", license.iss.clone()),
        ("issued", moment(license.iat)),
        ("state", good_until(license)),
    ];
    if license.devices > 1 {
        rows.push(("devices", format!("{} at once", license.devices)));
    }
    rows.extend(license.attributes.iter().map(|(name, value)| ("attribute", format!("{name}={value}"))));
    rows
}

/// What a list says of the license of a title; nothing of one that was copied from a medium.
pub struct State {
    /// `good`, `grace`, or the code of why it does not start.
    pub state: &'static str,
    /// In words.
    pub words: String,
    good_until: Option<i64>,
    trial: bool,
}

impl State {
    /// As far as is known here; nobody is asked.
    pub fn of(terminal: &Terminal, library: &Library, title: &Listed) -> Option<Self> {
        if !title.complete || title.origin.license().is_none() {
            return None;
        }
        Some(match permitted(terminal, library, &title.title) {
            Ok(permitted) => {
                let permitted = permitted?;
                let grace = matches!(permitted.permission, Permission::Grace { .. });
                let words = if grace { "in its grace period: connect to the network".to_owned() } else { good_until(&permitted.license) };
                let Permitted { license: License { exp, trial, .. }, .. } = permitted;
                State { state: if grace { "grace" } else { "good" }, words, good_until: exp, trial }
            }
            Err(error) => State { state: error.code(), words: error.to_string(), good_until: None, trial: false },
        })
    }

    /// For programs.
    pub fn value(&self) -> Value {
        json!({ "state": self.state, "good_until": self.good_until.map(moment), "trial": self.trial })
    }
}

/// Until when, in words.
pub fn good_until(license: &License) -> String {
    let trial = if license.trial { "trial, " } else { "" };
    match license.exp {
        None => format!("{trial}good for good"),
        Some(exp) if license.ends => format!("{trial}good until {}", moment(exp)),
        Some(exp) => format!("{trial}good until {}; renewed whenever the network is there", moment(exp)),
    }
}

fn moment(seconds: i64) -> String {
    units::moment(Timestamp(seconds.saturating_mul(1000)))
}
