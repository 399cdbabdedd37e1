//! `register`: makes this card, device and drive known as yours (C3–C5).

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::{DeviceId, DriveId, UserId};
use counterfoil_terminal::{Medium, Part, RegisterOptions, register};
use serde_json::json;

use crate::card::replace::code_to_write_down;
use crate::context::Context;
use crate::failure::Failure;

/// Register yourself with this card, this device and the drive of your library
///
/// The IDs of device and drive are read from the hardware; where they cannot be read, type them from the label. To add a device
/// to a user who is registered already, give that user's ID. What is needed at least is the operator's policy.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil register --library ~/Library --server https://counterfoil.example
  counterfoil register --library ~/Library --medium /media/disc     at the authority that the medium names
  counterfoil register --library /mnt/usb/Library --user usr-… --name 'living room'
  counterfoil register --no-card --library ~/Library     keys in the device's own store")]
pub struct Register {
    /// Leave the card out; the keys live in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
    /// The device ID, typed from its label
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// Leave the device out
    #[arg(long, conflicts_with = "device")]
    no_device: bool,
    /// The drive ID, typed from its label
    #[arg(long, value_name = "ID")]
    drive: Option<DriveId>,
    /// Leave the drive out
    #[arg(long, conflicts_with = "drive")]
    no_drive: bool,
    /// Where the library is or will be; the drive below it is registered
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// A medium that names the authority, where none is known yet
    #[arg(long, value_name = "MEDIUM")]
    medium: Option<PathBuf>,
    /// The user ID written down at the first registration, to add a device or drive
    #[arg(long, value_name = "USER-ID")]
    user: Option<UserId>,
    /// What you call this device
    #[arg(long)]
    name: Option<String>,
}

impl Register {
    /// Asks the authority.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        if self.no_card && self.no_device && self.no_drive {
            return Err(Failure::usage("nothing is left to register").hint("Register at least one of card, device and drive."));
        }
        let terminal = context.terminal()?;
        if let Some(path) = &self.medium {
            let medium = Medium::open_online(&terminal, path)?;
            let authority = terminal.meet_by(&medium.area().authority)?.document.name;
            let named = &medium.area().authority.name;
            if *named != authority {
                return Err(Failure::operation(
                    "other_authority",
                    format!("the medium belongs to the authority `{named}`, and this home to `{authority}`"),
                )
                .hint("Use another home for another authority: `--home DIR`."));
            }
        }
        let options = RegisterOptions {
            card: context.card_choice(self.no_card),
            device: part(self.device, self.no_device),
            drive: part(self.drive, self.no_drive),
            library: self.library,
            user: self.user,
            name: self.name,
        };
        let done = register(&terminal, &options)?;
        // Only where its owner has none yet: another one would end the one that is written down.
        let code = done.card_id.and_then(|_| code_to_write_down(context, &terminal));
        let value = json!({
            "user_id": done.user_id, "holder": done.holder, "card_id": done.card_id,
            "device_id": done.device, "drive_id": done.drive, "library": done.library,
            "recovery_code": code.as_ref().map(ToString::to_string),
        });
        context.output.result(&value, || {
            let mut text = format!("registered\nuser ID        {}\n", done.user_id);
            if let Some(card) = done.card_id {
                text += &format!("card ID        {card}\n");
            }
            if let Some(device) = done.device {
                text += &format!("device ID      {device}\n");
            }
            if let Some(drive) = done.drive {
                text += &format!("drive ID       {drive}\n");
            }
            match code {
                Some(code) => {
                    text + &format!(
                        "recovery code  {code}\nWrite both down, user ID and recovery code, and keep them to yourself: together they get you a new card if this one \
                         is lost.\nThe user ID also adds further devices. The recovery code is shown this once.\n"
                    )
                }
                None if done.card_id.is_none() => {
                    text + "Your keys are on this device, as there is no card: a card that is made later (`counterfoil card new`) is another user, unless it is \
                            registered with `--user`.\nWrite the user ID down and keep it to yourself: it adds further devices.\n"
                }
                None => text + "Write the user ID down and keep it to yourself: it adds further devices, and is needed if the card is lost.\n",
            }
        })
    }
}

fn part<T>(typed: Option<T>, without: bool) -> Part<T> {
    match (typed, without) {
        (Some(typed), _) => Part::Typed(typed),
        (None, true) => Part::Without,
        (None, false) => Part::Read,
    }
}
