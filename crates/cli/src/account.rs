//! `account`: an account at a gateway, which charges it for keys (C16, C17).

use std::path::PathBuf;

use clap::{Args, Subcommand};
use counterfoil_core::Money;
use counterfoil_terminal::Terminal;
use counterfoil_terminal::gateway::account::{self, Listed, Shown};
use serde_json::json;
use zeroize::Zeroizing;

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

mod cards;

/// Your account at a gateway, which is charged for what you copy and buy through it
#[derive(Subcommand, Debug)]
pub enum AccountCommand {
    New(New),
    SignIn(SignIn),
    SignOut(SignOut),
    Show(Show),
    Statement(Statement),
    Voucher(Voucher),
    TopUp(cards::TopUp),
    Cards(cards::Cards),
}

/// Make an account at a gateway, and sign in
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil account new https://shop.example
  counterfoil account new https://shop.example --name anna --password-file anna.txt")]
pub struct New {
    #[command(flatten)]
    gateway: Gateway,
    #[command(flatten)]
    who: Who,
    /// Where receipts go
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
}

/// Sign in at a gateway
///
/// A device that has met its authority through a gateway, or no authority yet, goes through this one from then on.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil account sign-in https://shop.example --name anna")]
pub struct SignIn {
    #[command(flatten)]
    gateway: Gateway,
    #[command(flatten)]
    who: Who,
}

/// Sign out
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil account sign-out")]
pub struct SignOut {
    #[command(flatten)]
    gateway: Gateway,
}

/// Show what the account holds
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil account show")]
pub struct Show {
    #[command(flatten)]
    gateway: Gateway,
}

/// List what the account was charged for, newest first
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil account statement --most 20")]
pub struct Statement {
    #[command(flatten)]
    gateway: Gateway,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
}

/// Pay a voucher into the account
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil account voucher 7K3M-9QXA-2T4V")]
pub struct Voucher {
    /// What stands on it
    #[arg(value_name = "CODE")]
    code: String,
    #[command(flatten)]
    gateway: Gateway,
}

/// Which gateway.
#[derive(Args, Debug)]
struct Gateway {
    /// The gateway's address [default: `--via`, or the one that this device goes through]
    #[arg(value_name = "URL", value_parser = crate::context::address)]
    url: Option<String>,
}

/// Who signs in.
#[derive(Args, Debug)]
struct Who {
    /// The account's name [default: asked for]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The password, in its first line [default: COUNTERFOIL_PASSWORD, else it is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl AccountCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        match self {
            AccountCommand::New(new) => {
                let (url, (name, password)) = (new.gateway.url(&terminal)?, new.who.ask(true)?);
                account::make(&terminal, &url, &name, &password, new.email.as_deref())?;
                signed_in(context, "made", &url, &name)
            }
            AccountCommand::SignIn(sign_in) => {
                let (url, (name, password)) = (sign_in.gateway.url(&terminal)?, sign_in.who.ask(false)?);
                account::sign_in(&terminal, &url, &name, &password)?;
                signed_in(context, "signed in to", &url, &name)
            }
            AccountCommand::SignOut(sign_out) => {
                let url = sign_out.gateway.url(&terminal)?;
                let name = account::sign_out(&terminal, &url)?;
                context.output.result(&json!({ "gateway": url, "name": name }), || match &name {
                    Some(name) => format!("signed out of {name} at {url}"),
                    None => format!("nobody is signed in at {url}"),
                })
            }
            AccountCommand::Show(show) => {
                let shown = account::show(&terminal, &show.gateway.url(&terminal)?)?;
                context.output.result(&units::dated(&shown), || words(&shown))
            }
            AccountCommand::Statement(statement) => {
                let (listed, more) = account::statement(&terminal, &statement.gateway.url(&terminal)?, statement.most)?;
                let value = json!({ "exchanges": units::dated(&listed), "more": more });
                context.output.result(&value, || lines(&listed, more))
            }
            AccountCommand::TopUp(top_up) => top_up.run(context, &terminal),
            AccountCommand::Cards(cards) => cards.run(context, &terminal),
            AccountCommand::Voucher(voucher) => {
                let paid_in = account::redeem(&terminal, &voucher.gateway.url(&terminal)?, &voucher.code)?;
                context.output.result(&paid_in, || format!("paid in {}; the account holds {}", paid_in.amount, paid_in.balance))
            }
        }
    }
}

impl Gateway {
    fn url(&self, terminal: &Terminal) -> Result<String, Failure> {
        let known = self.url.clone().map_or_else(|| terminal.via(), |url| Ok(Some(url)))?;
        known.ok_or_else(|| Failure::usage("no gateway is known yet").hint("Name it: `counterfoil account … https://shop.example`."))
    }
}

impl Who {
    /// Name and password, asked for where they are not given.
    fn ask(&self, new: bool) -> Result<(String, Zeroizing<String>), Failure> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => asked_name()?,
        };
        let given = std::env::var("COUNTERFOIL_PASSWORD").ok().filter(|password| !password.is_empty());
        let password = match (&self.password_file, given) {
            (Some(file), _) => crate::pin::first_line(file).map_err(|reason| unusable(file, &reason))?,
            (None, Some(password)) => Zeroizing::new(password),
            (None, None) => typed(&name, new)?,
        };
        Ok((name, password))
    }
}

fn nobody(what: &str, how: &str) -> Failure {
    Failure::usage(format!("no {what} was given, and there is nobody to ask")).hint(how)
}

fn unusable(file: &std::path::Path, reason: &str) -> Failure {
    Failure::operation("bad_password_file", format!("{} cannot be used: {reason}", file.display()))
        .hint("Put the password into its first line, and let nobody else read it: `chmod 600 FILE`.")
}

fn asked_name() -> Result<String, Failure> {
    use std::io::IsTerminal as _;
    if !std::io::stdin().is_terminal() {
        return Err(nobody("name", "Give it: `--name NAME`."));
    }
    eprint!("Name: ");
    let mut name = String::new();
    std::io::stdin().read_line(&mut name).map_err(|error| Failure::operation("io", format!("cannot read the name: {error}")))?;
    Ok(name.trim().to_owned())
}

/// Typed without being shown; a new one twice.
fn typed(name: &str, new: bool) -> Result<Zeroizing<String>, Failure> {
    let ask = |prompt: String| {
        let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
        typed.map_err(|_| nobody("password", "Give it in a file, `--password-file FILE`, or as COUNTERFOIL_PASSWORD."))
    };
    let first = ask(format!("Password of {name}: "))?;
    if new && ask("The same again: ".to_owned())? != first {
        return Err(Failure::usage("the two passwords are not the same").hint("Repeat the command."));
    }
    Ok(first)
}

fn signed_in(context: &Context, done: &str, url: &str, name: &str) -> Result<(), Failure> {
    context.output.result(&json!({ "gateway": url, "name": name }), || match done {
        "made" => format!("made the account {name} at {url}, and signed in"),
        done => format!("{done} {name} at {url}"),
    })
}

fn words(shown: &Shown) -> String {
    let mut words = format!("account    {}\n", shown.name);
    if let Some(email) = &shown.email {
        words += &format!("email      {email}\n");
    }
    for balance in &shown.balances {
        let money = |amount| Money { amount, currency: balance.currency };
        words += &format!("holds      {}", money(balance.available));
        if balance.reserved > 0 {
            words += &format!(", and {} promised to what is under way", money(balance.reserved));
        }
        words += "\n";
    }
    if shown.balances.is_empty() {
        words += "holds      nothing yet\n";
    }
    for card in &shown.cards {
        words += &format!("card       {} since {}\n", card.card_id, units::moment(card.first_at));
    }
    words
}

fn lines(listed: &[Listed], more: bool) -> String {
    let line = |one: &Listed| {
        format!("{}  {:>12}  {:<10}  {}  {}\n", units::moment(one.changed_at), one.price.to_string(), one.state, one.name, one.exchange_id)
    };
    let mut text: String = listed.iter().map(line).collect();
    if listed.is_empty() {
        text += "nothing yet\n";
    }
    if more {
        text += "there is more: `--most N`\n";
    }
    text
}
