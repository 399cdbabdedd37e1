//! `person`: everything that is held about one person, and its deletion on request.

use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::UserId;
use serde_json::{Value, json};

use crate::context::Context;
use crate::export;
use crate::failure::Failure;
use crate::output::unwritable;
use crate::publisher::api::Api;
use crate::units;

/// For operators: what is held about a person, and its deletion on request
#[derive(Subcommand, Debug)]
pub enum PersonCommand {
    Export(Export),
    Erase(Erase),
}

/// Write down everything that is held about a person, as one JSON document
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil person export usr-… --out ada.json")]
pub struct Export {
    /// Who
    #[arg(value_name = "USER-ID")]
    user: UserId,
    /// Where to, readable by nobody else [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Delete what is known of a person: name, e-mail, address, account, what devices are called and said, saves
///
/// What the person owns stays theirs: the library plays, the card claims. Orders, balances, repairs and the audit log are kept for accounting,
/// under the user ID. It cannot be undone.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil person erase usr-… --reason 'asked for by letter of 3 May'")]
pub struct Erase {
    /// Who
    #[arg(value_name = "USER-ID")]
    user: UserId,
    /// Why, for the audit log, which is kept: name nobody in it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl PersonCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            PersonCommand::Export(command) => command.run(context),
            PersonCommand::Erase(command) => command.run(context),
        }
    }
}

impl Export {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        let mut document = api.stream(&format!("/v1/people/{}", self.user))?;
        match self.out {
            Some(path) => {
                let bytes = export::write(&path, &mut document, &mut |_| ())?;
                let value = json!({ "user_id": self.user, "file": path, "bytes": bytes });
                context.output.result(&value, || format!("everything about {} is in {}\n", self.user, path.display()))
            }
            None => {
                let mut stdout = io::stdout().lock();
                io::copy(&mut document, &mut stdout).and_then(|_| stdout.flush()).map_err(unwritable)
            }
        }
    }
}

impl Erase {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let (api, _) = Api::connect(context)?;
        if !self.yes {
            context.output.note(&format!("Everything that says who {} is will be deleted. It cannot be undone.", self.user));
            if !context.output.agreed("Delete it?")? {
                return Err(Failure::refused("not_confirmed", "nothing was deleted").hint("To delete it, add `--yes`."));
            }
        }
        // Without a key: the second time it deletes what has come since.
        let done: Value = api.post(&format!("/v1/people/{}/erase", self.user), None, &json!({ "reason": self.reason }))?;
        context.output.result(&done, || words(self.user, &done["erased"]))
    }
}

fn words(user: UserId, erased: &Value) -> String {
    let mut text = format!("{user} is nobody's name any more\n");
    let yes = |what: &str| erased[what].as_bool() == Some(true);
    let mut line = |what: String| text += &format!("deleted {what}\n");
    if yes("person") {
        line("name, e-mail and address".to_owned());
    }
    if yes("account") {
        line("the account".to_owned());
    }
    for (what, one, many) in [
        ("sessions", "session", "sessions"),
        ("passkeys", "passkey", "passkeys"),
        ("device_descriptions", "description of a device", "descriptions of devices"),
        ("statuses", "status", "statuses"),
        ("uploads", "save", "saves"),
        ("mails", "mail that waited", "mails that waited"),
    ] {
        match erased[what].as_u64() {
            Some(count) if count > 0 => line(units::count(count, one, many)),
            _ => {}
        }
    }
    text + "Backups from before still hold it, until they are thrown away.\n"
}
