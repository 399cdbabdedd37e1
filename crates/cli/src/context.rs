//! What every command is told: where its state lies, which authority and card, how to talk.

use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_terminal::CardChoice;

use crate::failure::Failure;
use crate::output::Output;
use crate::paying::Consenting;

/// What secrets are told by. They are for us, and no program that is started inherits them.
pub const SECRETS: [&str; 4] = ["COUNTERFOIL_PIN", "COUNTERFOIL_PASSWORD", "COUNTERFOIL_TOKEN", "COUNTERFOIL_RECOVERY_CODE"];

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Where this device's state lies [default: the data directory of the user]
    #[arg(long, global = true, env = "COUNTERFOIL_HOME", value_name = "DIR", hide_env = false)]
    home: Option<PathBuf>,
    /// The card [default: `card.json` in the home]
    #[arg(long, global = true, env = "COUNTERFOIL_CARD", value_name = "FILE")]
    card: Option<PathBuf>,
    /// The PIN of the card's token or TPM, in its first line [default: COUNTERFOIL_PIN, else it is asked for]
    #[arg(long, global = true, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// Address of the authority [default: the one known, or the one on the medium]
    #[arg(long, global = true, env = "COUNTERFOIL_SERVER", value_name = "URL", value_parser = address)]
    server: Option<String>,
    /// A gateway to go through, in place of speaking with the authority directly [default: the one it was met through]
    #[arg(long, global = true, env = "COUNTERFOIL_VIA", value_name = "URL", value_parser = address)]
    via: Option<String>,
    /// The certificate authority to trust instead of the public ones, PEM
    #[arg(long, global = true, env = "COUNTERFOIL_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// One JSON document instead of words, errors included
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notes
    #[arg(long, short, global = true)]
    quiet: bool,
}

/// The same, with defaults filled in.
pub struct Context {
    /// State of this device.
    pub home: PathBuf,
    /// The card named, if one was.
    pub card: Option<PathBuf>,
    /// What holds the PIN of its token or TPM, if that was named.
    pub pin_file: Option<PathBuf>,
    /// The authority named, if one was.
    pub server: Option<String>,
    /// The gateway named, if one was.
    pub via: Option<String>,
    /// A further certificate authority.
    pub ca: Option<PathBuf>,
    /// How to talk.
    pub output: Output,
}

impl Global {
    /// Fills in the defaults.
    pub fn context(&self) -> Context {
        Context {
            home: self.home.clone().unwrap_or_else(|| counterfoil_terminal::Setup::from_env().home),
            card: self.card.clone(),
            pin_file: self.pin_file.clone(),
            // A variable that is set to nothing says nothing.
            server: self.server.clone().filter(|server| !server.is_empty()),
            via: self.via.clone().filter(|via| !via.is_empty()),
            ca: self.ca.clone(),
            output: Output { json: self.json, quiet: self.quiet },
        }
    }
}

/// An address with its scheme, so that nobody is told later that something cannot be reached which is none.
pub fn address(text: &str) -> Result<String, String> {
    match text.is_empty() || text.starts_with("https://") || text.starts_with("http://") {
        true => Ok(text.to_owned()),
        false => Err("it begins with neither https:// nor http://".to_owned()),
    }
}

impl Context {
    /// The terminal of this device.
    pub fn terminal(&self) -> Result<counterfoil_terminal::Terminal, Failure> {
        self.terminal_paying(Consenting::default())
    }

    /// The same, for a command that a gateway may charge for.
    pub fn terminal_paying(&self, consenting: Consenting) -> Result<counterfoil_terminal::Terminal, Failure> {
        let mut terminal = self.knowing_pins(counterfoil_terminal::Terminal::open(self.setup())?);
        terminal.set_prices(consenting.asker(self.output));
        terminal.set_strangers(crate::paying::stranger(self.output));
        Ok(terminal)
    }

    /// The same, where nobody waits for the authority longer than that.
    pub fn terminal_within(&self, patience: std::time::Duration) -> Result<counterfoil_terminal::Terminal, Failure> {
        let timeouts = counterfoil_terminal::transport::Timeouts { connect: patience, exchange: patience };
        Ok(self.knowing_pins(counterfoil_terminal::Terminal::open_within(self.setup(), timeouts)?))
    }

    /// The terminal of a repair centre, which speaks to the authority that its token is for.
    pub fn terminal_with(&self, api: &crate::publisher::api::Api) -> Result<counterfoil_terminal::Terminal, Failure> {
        let (server, ca) = (Some(api.server().to_owned()), api.ca().map(Path::to_owned));
        let setup = counterfoil_terminal::Setup { server, ca, via: None, ..self.setup() };
        Ok(self.knowing_pins(counterfoil_terminal::Terminal::open(setup)?))
    }

    fn knowing_pins(&self, mut terminal: counterfoil_terminal::Terminal) -> counterfoil_terminal::Terminal {
        terminal.set_pins(crate::pin::asker(self.pin_file.clone()));
        terminal
    }

    fn setup(&self) -> counterfoil_terminal::Setup {
        let (home, server, via, ca) = (self.home.clone(), self.server.clone(), self.via.clone(), self.ca.clone());
        counterfoil_terminal::Setup { home, server, via, ca, ..counterfoil_terminal::Setup::from_env() }
    }

    /// The card named, the usual one, or none.
    pub fn card_choice(&self, none: bool) -> CardChoice {
        match (none, &self.card) {
            (true, _) => CardChoice::None,
            (false, Some(path)) => CardChoice::File(path.clone()),
            (false, None) => CardChoice::Default,
        }
    }

    /// A token given besides the profile.
    pub fn environment_token(&self) -> Option<String> {
        std::env::var("COUNTERFOIL_TOKEN").ok().filter(|token| !token.is_empty())
    }

    /// The certificate authority, to be remembered wherever the next command is run.
    pub fn absolute_ca(&self) -> Result<Option<PathBuf>, Failure> {
        let absolute = |path: &PathBuf| std::fs::canonicalize(path).map_err(|error| Failure::file("read", path, &error));
        self.ca.as_ref().map(absolute).transpose()
    }
}

/// What HTTP is spoken through, with the terminal's own settings.
pub fn agent(ca: Option<&Path>) -> Result<ureq::Agent, Failure> {
    counterfoil_terminal::transport::agent(ca, counterfoil_terminal::transport::Timeouts::default()).map_err(Into::into)
}
