//! `devices`: the user's devices with what is licensed to each (D8), and announcing one more.

use clap::{Args, Subcommand};
use counterfoil_core::DeviceId;
use counterfoil_core::wire::{DevicesResult, LicensedTitle, UsersDevice};
use counterfoil_terminal::{add_device, devices};

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Show your devices, and what is licensed to each
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil devices
  counterfoil devices add dev-… --name 'living room'")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Devices {
    #[command(subcommand)]
    command: Option<DevicesCommand>,
    #[command(flatten)]
    list: List,
}

/// Below `devices`.
#[derive(Subcommand, Debug)]
pub enum DevicesCommand {
    List(List),
    Add(Add),
}

/// Show your devices, and what is licensed to each
#[derive(Args, Debug)]
pub struct List {
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

/// Announce one more device, which may then register with your user ID and keys of its own
///
/// `counterfoil status` on the other device shows its device ID. There, `counterfoil register --user USER-ID` completes it.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil devices add dev-… --name 'living room'")]
pub struct Add {
    /// Its ID
    #[arg(value_name = "DEVICE-ID")]
    device: DeviceId,
    /// What you call it
    #[arg(long)]
    name: Option<String>,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Devices {
    /// Lists or announces.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self.command {
            None => self.list.run(context),
            Some(DevicesCommand::List(list)) => list.run(context),
            Some(DevicesCommand::Add(add)) => add.run(context),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let found = devices(&terminal, &context.card_choice(self.no_card))?;
        let this = terminal.device_id()?;
        context.output.result(&units::dated(&found), || words(&found, this))
    }
}

impl Add {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let done = add_device(&terminal, &context.card_choice(self.no_card), self.device, self.name)?;
        context.output.result(&units::dated(&done), || {
            format!(
                "announced\ndevice ID  {}\nOn that device, `counterfoil register --user USER-ID` completes it; your user ID is the one that you have written down.\n",
                done.device_id
            )
        })
    }
}

fn words(found: &DevicesResult, this: DeviceId) -> String {
    let mut text = String::new();
    for device in &found.devices {
        let name = device.name.as_deref().unwrap_or("(no name)");
        let mark = if device.id == this { ", this device" } else { "" };
        text += &format!("{name}{mark}\n  device ID  {}\n", device.id);
        let made: Vec<&str> = [device.maker.as_deref(), device.model.as_deref()].into_iter().flatten().collect();
        if !made.is_empty() {
            text += &format!("  made       {}\n", made.join(" "));
        }
        text += &format!("  {}\n", state(device));
        for license in &device.licenses {
            text += &format!("  licensed   {}\n", licensed(license));
        }
    }
    text
}

fn state(device: &UsersDevice) -> String {
    match device.registered {
        true => format!("registered {}", units::moment(device.since)),
        false => format!("announced  {}; registers with `counterfoil register --user USER-ID`", units::moment(device.since)),
    }
}

fn licensed(license: &LicensedTitle) -> String {
    let installed = if license.installed { "" } else { ", not installed" };
    let until = license.expires_at.map(|end| format!(", until {}", units::moment(end))).unwrap_or_default();
    let transfers = match (license.transfers_left, license.next_transfer_at) {
        (0, Some(next)) => format!("no transfer left until {}", units::moment(next)),
        (0, None) => "cannot be moved".to_owned(),
        (left, _) => format!("{} left", units::count(left.into(), "transfer", "transfers")),
    };
    format!("{} ({}){installed}{until}, {transfers}", license.name, license.title)
}
