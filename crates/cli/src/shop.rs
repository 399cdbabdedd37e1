//! `shop`: a person gets a user ID with the device that they are sold (D1), one by one or by a table.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use counterfoil_core::wire::AuthorityDocument;
use counterfoil_core::{DeviceId, Money, UserId};
use counterfoil_format::encoding::to_base64url;
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_terminal::clock::{Clock as _, SystemClock};
use counterfoil_terminal::io::RealIo;
use counterfoil_terminal::{Authority, Home};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::context::Context;
use crate::desk::Desk;
use crate::failure::Failure;
use crate::publisher::api::Api;
use crate::publisher::profile;

mod import;

/// For shops: register people with the devices that they are sold
#[derive(Subcommand, Debug)]
pub enum ShopCommand {
    Register(Register),
    Import(import::Import),
    TopUp(TopUp),
}

impl ShopCommand {
    /// Does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            ShopCommand::Register(command) => command.run(context),
            ShopCommand::Import(command) => command.run(context),
            ShopCommand::TopUp(command) => command.run(context),
        }
    }
}

/// Register a person with the device that they are sold
///
/// On the device itself nothing has to be typed but the person's name: device ID, maker and model are read from the hardware, and the user
/// ID is put into the device's profile, so that `counterfoil register` there completes the registration. Repeating the command changes
/// nothing: the same person with the same device keeps the same user ID.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil shop register --user 'Ada Lovelace' --server https://counterfoil.example --token-file shop.txt
  counterfoil shop register --user 'Ada Lovelace' --email ada@example.org --device dev-… --profile ./profile
  counterfoil shop register --user-id usr-… --device dev-…     one more device for somebody who is known")]
pub struct Register {
    /// What the person is called
    #[arg(long, value_name = "NAME", required_unless_present = "user_id", conflicts_with = "user_id")]
    user: Option<String>,
    /// Somebody who has a user ID already
    #[arg(long, value_name = "USER-ID")]
    user_id: Option<UserId>,
    /// Where they can be written to
    #[arg(long, value_name = "ADDRESS", conflicts_with = "user_id")]
    email: Option<String>,
    /// Where they live
    #[arg(long, conflicts_with = "user_id")]
    address: Option<String>,
    /// The device that is sold [default: this one]
    #[arg(long, value_name = "DEVICE-ID")]
    device: Option<DeviceId>,
    /// Who made it [default: what the hardware says, where it is this one]
    #[arg(long)]
    maker: Option<String>,
    /// Which model it is [default: likewise]
    #[arg(long)]
    model: Option<String>,
    /// What its user calls it
    #[arg(long)]
    name: Option<String>,
    /// The home that is handed over with the device [default: this one's, where it is the device that is sold]
    #[arg(long, value_name = "DIR")]
    profile: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

/// Add to what a user has paid in advance
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil shop top-up usr-… '20.00 EUR' --reference 'receipt 4711'")]
pub struct TopUp {
    /// Whose
    #[arg(value_name = "USER-ID")]
    user: UserId,
    /// How much
    #[arg(value_name = "AMOUNT")]
    amount: Money,
    /// What it is booked under; the same once more is booked once [default: made up, and shown]
    #[arg(long, value_name = "TEXT")]
    reference: Option<String>,
    #[command(flatten)]
    access: Access,
}

/// How a shop is known to its authority.
#[derive(Args, Debug)]
pub struct Access {
    /// A file that holds the shop's token, which is remembered [default: COUNTERFOIL_TOKEN, or the one remembered]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

const DESK: Desk = Desk { profile: profile::SHOP, whose: "the shop's", roles: &["shop", "operator"], otherwise: "registers nobody" };

impl Access {
    /// The authority, spoken to with the shop's token.
    fn connect(&self, context: &Context) -> Result<Api, Failure> {
        DESK.connect(context, self.token_file.as_deref())
    }
}

/// A person with a device, as the authority takes them.
#[derive(Clone, Debug, Default, Serialize)]
struct Sale {
    #[serde(skip)]
    user_id: Option<UserId>,
    name: Option<String>,
    email: Option<String>,
    address: Option<String>,
    device: Option<Device>,
}

/// What is said of the device.
#[derive(Clone, Debug, Serialize)]
struct Device {
    device_id: DeviceId,
    maker: Option<String>,
    model: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Sold {
    user_id: UserId,
}

impl Sale {
    /// Has the authority write it down. The key follows from what is sold to whom, so that the same again has no second effect, be it typed
    /// twice or a table that is imported once more, corrected in other lines.
    fn close(&self, api: &Api) -> Result<UserId, Failure> {
        let body = serde_json::to_vec(self).expect("a sale is plain text fields");
        let key = format!("shop-{}", blake3::hash(&body).to_hex());
        let path = match self.user_id {
            None => return api.post::<Sold>("/v1/users", Some(&key), self).map(|sold| sold.user_id),
            Some(user) => format!("/v1/users/{user}/devices"),
        };
        // Without a key: it changes nothing the second time, and a device that was taken out meanwhile is announced anew.
        api.post::<Sold>(&path, None, &self.device).map(|sold| sold.user_id)
    }
}

impl Register {
    fn run(self, context: &Context) -> Result<(), Failure> {
        let api = self.access.connect(context)?;
        let hardware = counterfoil_terminal::HardwareIds::new(counterfoil_terminal::Setup::from_env().hardware_root);
        let device_id = match self.device {
            Some(id) => id,
            None => hardware.device().map_err(counterfoil_terminal::Error::from)?.id,
        };
        let this = hardware.devices().iter().any(|read| read.id == device_id);
        let (maker, model) = if this { hardware.maker_and_model() } else { (None, None) };
        let device = Device { device_id, maker: self.maker.or(maker), model: self.model.or(model), name: self.name };
        let sale = Sale { user_id: self.user_id, name: self.user, email: self.email, address: self.address, device: Some(device) };
        let profile = self.profile.or_else(|| this.then(|| context.home.clone()));
        let authority = authority(&api)?;
        let user = sale.close(&api)?;
        if let Some(profile) = &profile {
            provision(profile, &authority, user).map_err(|failure| failed_after(failure, user))?;
        }
        let device = sale.device.as_ref();
        let value = json!({ "user_id": user, "device_id": device_id, "maker": device.and_then(|device| device.maker.as_ref()),
                            "model": device.and_then(|device| device.model.as_ref()), "profile": profile });
        context.output.result(&value, || {
            let mut text = format!("registered\nuser ID    {user}\ndevice ID  {device_id}\n");
            match &profile {
                Some(profile) => text += &format!("profile    {}\nOn the device `counterfoil register` completes it.\n", profile.display()),
                None => text += &format!("On the device `counterfoil register --user {user}` completes it.\n"),
            }
            text + "Give the user ID to nobody but the buyer, written down.\n"
        })
    }
}

impl TopUp {
    fn run(self, context: &Context) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Balance {
            balance: Vec<Money>,
        }
        let api = self.access.connect(context)?;
        // Made up where none is given, and said before anything is sent: whoever gets no answer can ask again under the same.
        // With letters in front: an argument does not begin with a dash.
        let made_up = || format!("top-up-{}", to_base64url(Secret::<16>::random(&mut SystemRandom).expose()));
        let reference = self.reference.clone().unwrap_or_else(made_up);
        if self.reference.is_none() {
            context.output.note(&format!("reference {reference}"));
        }
        let key = format!("top-up-{}", blake3::hash(reference.as_bytes()).to_hex());
        let body = json!({ "amount": self.amount.amount, "currency": self.amount.currency, "note": reference });
        let booked = patiently(|| api.post::<Balance>(&format!("/v1/users/{}/balance", self.user), Some(&key), &body));
        let done = booked.map_err(|failure| not_booked(failure, &reference))?;
        let value = json!({ "user_id": self.user, "balance": done.balance, "reference": reference });
        context.output.result(&value, || done.balance.iter().map(|money| format!("balance  {money}\n")).collect())
    }
}

/// Without an answer it may be booked all the same: then it is asked for again under the same reference, and under no other.
fn not_booked(failure: Failure, reference: &str) -> Failure {
    match failure.code.as_str() {
        code @ "idempotency_mismatch" => Failure::refused(code, format!("something else was booked under the reference {reference}"))
            .hint("It counts once, for one user and one amount. Give what is booked now a reference of its own."),
        _ if failure.is_refusal() => failure,
        _ => failure.hint(format!("It may have been booked. Repeat the command with `--reference '{reference}'`: it is booked once.")),
    }
}

/// What the devices that are sold are to believe of their authority.
fn authority(api: &Api) -> Result<Authority, Failure> {
    let document: AuthorityDocument = api.get("/.well-known/counterfoil")?;
    Ok(Authority { document, pinned_at: SystemClock.now() })
}

/// Prepares the home that is handed over with the device.
fn provision(profile: &Path, authority: &Authority, user: UserId) -> Result<(), Failure> {
    let home = Home::open(Arc::new(RealIo), profile).map_err(counterfoil_terminal::Error::from)?;
    Ok(home.provision(authority, user)?)
}

/// The user ID was assigned, and must not be lost with the failure.
fn failed_after(mut failure: Failure, user: UserId) -> Failure {
    failure.message += &format!("; the user ID {user} was assigned all the same");
    failure
}

/// How often something is tried again that the authority had no time for.
const PATIENCE: u32 = 6;

/// Tries again, later and later, what the authority had no time for; what it refused, and what it could not be asked, is told at once.
pub fn patiently<T>(mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        match ask() {
            Err(failure) if tries < PATIENCE && matches!(failure.code.as_str(), "rate_limited" | "overloaded" | "unavailable") => {
                std::thread::sleep(Duration::from_millis(250 << tries));
                tries += 1;
            }
            answered => return answered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_top_up_without_an_answer_names_the_reference_to_repeat_it_by() {
        let lost = not_booked(Failure::operation("unreachable", "cannot reach it").hint("Repeating the command is safe."), "r-1");
        assert_eq!(lost.hint.as_deref(), Some("It may have been booked. Repeat the command with `--reference 'r-1'`: it is booked once."));
        let refused = not_booked(Failure::refused("not_found", "nobody"), "r-1");
        assert_eq!((refused.message.as_str(), refused.hint), ("nobody", None));
        let other = not_booked(Failure::refused("idempotency_mismatch", "this Idempotency-Key was used for another request"), "r-1");
        assert_eq!(other.message, "something else was booked under the reference r-1");
    }

    #[test]
    fn what_the_authority_had_no_time_for_is_tried_again_and_a_no_is_not() {
        let mut asked = 0;
        let done = patiently(|| {
            asked += 1;
            if asked < 3 { Err(Failure::operation("overloaded", "busy")) } else { Ok(asked) }
        });
        assert_eq!(done.expect("in the end"), 3);
        let mut asked = 0;
        let refused = patiently::<()>(|| {
            asked += 1;
            Err(Failure::refused("not_found", "nobody"))
        });
        assert_eq!((refused.expect_err("a no").code.as_str(), asked), ("not_found", 1));
    }
}
