//! `card replace`, `card recovery-code` and `card collect`: what to do before and after a card is lost (C15).

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use counterfoil_core::{Code, RecoveryCode, Refusal, UserId};
use counterfoil_terminal::{Collected, Replaced, Terminal, WrittenDown, card_show, collect, has_asked, recovery_code, replace_card};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Between two questions of `--wait`, at first and at most.
const SOON: Duration = Duration::from_secs(1);
const LATE: Duration = Duration::from_secs(60);

/// Get a new card for one that is lost or broken
///
/// With the user ID and the recovery code that you have written down. The new card is made where `--card` says, else in the usual place if
/// no card is there. The repair centre looks at the request, unless the operator lets it pass at once; repeat the command, or `--wait`.
/// From then on the old card opens nothing at the authority, and your library plays with the new one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil card replace --user usr-… --recovery-code XXXX-XXXX-XXXX-XXXX-XX
  counterfoil card replace                                       asks for both, or goes on with what was asked
  counterfoil card replace --card /media/stick/card --wait")]
pub struct Replace {
    /// The user ID, as you have written it down
    #[arg(long, value_name = "USER-ID")]
    user: Option<UserId>,
    /// The recovery code that was shown beside it
    #[arg(long, value_name = "CODE", env = "COUNTERFOIL_RECOVERY_CODE", hide_env = true, hide_env_values = true)]
    recovery_code: Option<RecoveryCode>,
    /// How the repair centre can reach you
    #[arg(long, value_name = "TEXT", value_parser = contact)]
    contact: Option<String>,
    /// Wait for the repair centre
    #[arg(long)]
    wait: bool,
}

/// Get a recovery code to write down, in place of the one from before
///
/// With it and your user ID you get a new card if this one is lost. It is shown this once, and kept nowhere.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil card recovery-code")]
pub struct Recovery {}

/// Ask the authority what the card holds
///
/// What ended by a repair goes from the card, what is missing on it comes. Happens by itself at the first claim or registration after a
/// repair.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil card collect --card /media/stick/card")]
pub struct Collect {}

impl Replace {
    /// Asks, waits where that is wanted, and fills the card.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let written = self.written(context, &terminal)?;
        let mut pause = SOON;
        loop {
            match replace_card(&terminal, &context.card_choice(false), written.as_ref()).map_err(in_the_way)? {
                Replaced::Done { path, collected, already } => return done(context, &terminal, &path, &collected, already),
                Replaced::Waiting { card_id, reissue_id, since, .. } if !self.wait => {
                    let detail = format!("request {reissue_id} of the card {card_id}, asked {}", units::moment(since));
                    return Err(Refusal::with(Code::ReissueWaiting, detail).into());
                }
                Replaced::Waiting { reissue_id, .. } => {
                    if pause == SOON {
                        context
                            .output
                            .note(&format!("{reissue_id} waits for the repair centre; Ctrl-C, and the same command goes on later"));
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(LATE);
                }
            }
        }
    }

    /// What was written down: as given, else typed now, else as the card remembers that it has asked.
    fn written(&self, context: &Context, terminal: &Terminal) -> Result<Option<WrittenDown>, Failure> {
        let given = self.user.is_some() || self.recovery_code.is_some();
        if !given && has_asked(terminal, &context.card_choice(false)).map_err(in_the_way)? {
            return Ok(None);
        }
        let user_id = self.user.map_or_else(|| typed(context, "user ID", "--user"), Ok)?;
        let code = self.recovery_code.clone().map_or_else(|| typed(context, "recovery code", "--recovery-code"), Ok)?;
        Ok(Some(WrittenDown { user_id, code, contact: self.contact.clone() }))
    }
}

/// A card that is broken lies where the new one is to be.
fn in_the_way(error: counterfoil_terminal::Error) -> Failure {
    let broken = error.code() == "bad_key_file";
    let failure = Failure::from(error);
    match broken {
        true => failure.hint("Move the broken card's file away, or name another place for the new one: `--card NEW-FILE`."),
        false => failure,
    }
}

/// Asks for something that was written down until it has no typing error; nothing has been sent yet.
fn typed<T: std::str::FromStr<Err: std::fmt::Display>>(context: &Context, what: &str, option: &str) -> Result<T, Failure> {
    if context.output.json || !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("the {what} is missing")).hint(format!("Give it as you have written it down: `{option}`.")));
    }
    loop {
        eprint!("{what}, as you have written it down: ");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        match std::io::stdin().read_line(&mut line) {
            Ok(0) => return Err(Failure::usage(format!("the {what} is missing")).hint("Nothing was sent.")),
            Ok(_) => {}
            Err(error) => return Err(Failure::operation("io", format!("cannot read the answer: {error}"))),
        }
        match line.trim().parse() {
            Ok(value) => return Ok(value),
            Err(error) => context.output.note(&format!("a typing error: {error}. Nothing was sent.")),
        }
    }
}

fn contact(text: &str) -> Result<String, String> {
    match text.chars().count() {
        0..=200 => Ok(text.to_owned()),
        more => Err(format!("it has {more} characters, and 200 at most are kept")),
    }
}

fn done(context: &Context, terminal: &Terminal, path: &Path, collected: &Collected, already: bool) -> Result<(), Failure> {
    let code = code_to_write_down(context, terminal);
    let value = json!({
        "card_id": collected.card_id, "user_id": collected.user_id, "path": path, "generation": collected.generation,
        "grants": collected.kept + collected.added.len(), "already": already, "recovery_code": code.as_ref().map(ToString::to_string),
    });
    context.output.result(&value, || {
        let (card_id, user_id, file) = (collected.card_id, collected.user_id, path.display());
        let made = if already { "the card is yours already" } else { "the new card is yours, and the old one is dead" };
        let grants = units::count((collected.kept + collected.added.len()) as u64, "title plays with it", "titles play with it");
        let mut text = format!("{made}\ncard ID        {card_id}\nfile           {file}\nuser ID        {user_id}\n{grants}\n");
        if let Some(code) = &code {
            text +=
                &format!("recovery code  {code}\nWrite down the card ID and the new recovery code: the one from before is good no more.\n");
        }
        text
    })
}

impl Recovery {
    /// Asks for a new one.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let card = context.card_choice(false);
        let code = recovery_code(&terminal, &card)?;
        let user_id = card_show(&terminal, &card)?.user_id;
        let value = json!({ "user_id": user_id, "recovery_code": code.to_string() });
        context.output.result(&value, || {
            let user = user_id.map(|user| format!("user ID        {user}\n")).unwrap_or_default();
            format!(
                "{user}recovery code  {code}\nWrite both down: together they get you a new card. The recovery code from before is good no more.\n"
            )
        })
    }
}

impl Collect {
    /// Asks.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let collected = collect(&terminal, &context.card_choice(false))?;
        context.output.result(&value(&collected), || words(&collected))
    }
}

/// For programs.
pub fn value(collected: &Collected) -> Value {
    let grant = |grant: &counterfoil_terminal::CardGrant| json!({ "title": grant.title, "medium_id": grant.origin.medium(), "license_id": grant.origin.license(), "grant_id": grant.grant_id });
    json!({
        "card_id": collected.card_id, "user_id": collected.user_id, "generation": collected.generation, "kept": collected.kept,
        "added": collected.added.iter().map(grant).collect::<Vec<_>>(), "dropped": collected.dropped.iter().map(grant).collect::<Vec<_>>(),
    })
}

/// For people.
pub fn words(collected: &Collected) -> String {
    let mut text =
        format!("card ID  {}\nopens    {} as before\n", collected.card_id, units::count(collected.kept as u64, "copy", "copies"));
    for grant in &collected.added {
        text += &format!("new      {} from {}\n", grant.title, grant.origin);
    }
    for grant in &collected.dropped {
        text += &format!("ended    {} from {}\n", grant.title, grant.origin);
    }
    text
}

/// The recovery code of a card whose owner has none yet; none where there is one, or where it cannot be had now.
pub fn code_to_write_down(context: &Context, terminal: &Terminal) -> Option<RecoveryCode> {
    let choice = context.card_choice(false);
    let card = card_show(terminal, &choice).ok()?;
    if !card.registered || card.recovery_at.is_some() {
        return None;
    }
    match recovery_code(terminal, &choice) {
        Ok(code) => Some(code),
        Err(error) => {
            context
                .output
                .note(&format!("note: no recovery code could be had now ({error}); get one later with `counterfoil card recovery-code`"));
            None
        }
    }
}
