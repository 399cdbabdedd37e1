//! `card`: makes a card in a file, a token or a TPM, and shows what is on one (C2).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::{CardId, UserId};
use counterfoil_terminal::{CardInfo, NewKeys, card_new, card_new_elsewhere, card_show, trust_module};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::{pin, units};

pub mod replace;

/// Your card: the file that holds your keys, or says which token or TPM does
#[derive(Subcommand, Debug)]
pub enum CardCommand {
    New(New),
    Show(Show),
    RecoveryCode(replace::Recovery),
    Replace(replace::Replace),
    Collect(replace::Collect),
}

/// Make a card; its ID is printed to be written down
///
/// The key never leaves the file. Who has the file can play what is in your library on your device, so keep it to yourself;
/// who loses it needs the card ID and the user ID to get another.
///
/// With --pkcs11 or --tpm the keys are made in a token or in this computer's TPM, and nobody can take them out: the file says where they
/// are, and is of no use without them. It is named, kept and used as any card.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil card new
  counterfoil card new --out /media/stick/card
  counterfoil card new --pkcs11 /usr/lib/softhsm/libsofthsm2.so --token Anna
  counterfoil card new --tpm --pin")]
pub struct New {
    /// Where to [default: `card.json` in the home]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Make the keys in a PKCS#11 token; this is its driver
    #[arg(long, value_name = "MODULE", requires = "token")]
    pkcs11: Option<PathBuf>,
    /// The token's label
    #[arg(long, value_name = "LABEL", requires = "pkcs11")]
    token: Option<String>,
    /// Make the keys in the TPM: this computer's, or one named as the TPM software stack does
    #[arg(long, value_name = "TCTI", num_args = 0..=1, conflicts_with = "pkcs11")]
    tpm: Option<Option<String>>,
    /// Have the TPM demand a PIN; it does, too, where --pin-file or COUNTERFOIL_PIN says one
    #[arg(long, requires = "tpm")]
    pin: bool,
}

impl New {
    /// Where the keys are made, where that is not the file.
    fn keys(&self, context: &Context) -> Option<NewKeys> {
        if let (Some(module), Some(token)) = (&self.pkcs11, &self.token) {
            return Some(NewKeys::Pkcs11 { module: module.clone(), token: token.clone() });
        }
        let pin = self.pin || pin::is_given(context.pin_file.as_deref());
        self.tpm.as_ref().map(|tcti| NewKeys::Tpm { tcti: tcti.clone(), pin })
    }
}

/// Show the card's ID, whose it is, and what it opens
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil card show --card /media/stick/card")]
pub struct Show {
    /// Trust this driver of a PKCS#11 token, which is remembered: a card's file alone can have none loaded that is not the system's
    #[arg(long, value_name = "MODULE")]
    pkcs11: Option<PathBuf>,
}

#[derive(Serialize)]
struct Shown {
    card_id: CardId,
    path: PathBuf,
    keys_in: Option<String>,
    registered: bool,
    reissuing: bool,
    user_id: Option<UserId>,
    grants: Vec<Value>,
}

impl CardCommand {
    /// Does either.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        match self {
            CardCommand::RecoveryCode(command) => command.run(context),
            CardCommand::Replace(command) => command.run(context),
            CardCommand::Collect(command) => command.run(context),
            CardCommand::New(new) => {
                let out = new.out.clone().or_else(|| context.card.clone());
                let made = match new.keys(context) {
                    None => card_new(&terminal, out.as_deref())?,
                    Some(keys) => card_new_elsewhere(&terminal, out.as_deref(), &keys)?,
                };
                let shown = shown(made);
                let place = shown.keys_in.as_ref().map_or_else(String::new, |place| format!("; its keys are in {place}"));
                context.output.result(&shown, || {
                    format!(
                        "made a card at {}{place}\ncard ID  {}\n`counterfoil register` says what to write down for the day that the card is lost.\n",
                        shown.path.display(),
                        shown.card_id
                    )
                })
            }
            CardCommand::Show(show) => {
                show.pkcs11.as_deref().map_or(Ok(()), |module| trust_module(&terminal, module))?;
                let info = card_show(&terminal, &context.card_choice(false))?;
                let words = words(&info);
                context.output.result(&shown(info), || words)
            }
        }
    }
}

fn shown(info: CardInfo) -> Shown {
    let grant = |grant: counterfoil_terminal::CardGrant| {
        json!({ "title": grant.title, "medium_id": grant.origin.medium(), "license_id": grant.origin.license(), "grant_id": grant.grant_id,
                "copy_finished": !grant.content_key, "issued_at": units::moment(grant.issued_at) })
    };
    let grants = info.grants.into_iter().map(grant).collect();
    Shown {
        card_id: info.card_id,
        path: info.path,
        keys_in: info.keys_in,
        registered: info.registered,
        reissuing: info.reissuing,
        user_id: info.user_id,
        grants,
    }
}

fn words(info: &CardInfo) -> String {
    let mut text = format!("card ID  {}\nfile     {}\n", info.card_id, info.path.display());
    if let Some(place) = &info.keys_in {
        text += &format!("keys in  {place}\n");
    }
    match (&info.user_id, info.registered) {
        (Some(user), _) => text += &format!("user ID  {user}\n"),
        (None, true) => text += "registered\n",
        (None, false) if info.reissuing => text += "waits to take a lost card's place: run `counterfoil card replace`\n",
        (None, false) => text += "not registered: run `counterfoil register`\n",
    }
    for grant in &info.grants {
        let state = if grant.content_key { "copy not finished" } else { "copied" };
        text += &format!("opens    {} from {} ({state})\n", grant.title, grant.origin);
    }
    text
}
