//! `transfer`: moves what was bought from one of the user's devices to another, after saying what that comes to (D8–D10).

use clap::Args;
use counterfoil_core::wire::{DevicesResult, TransferResult, UsersDevice};
use counterfoil_core::{Timestamp, TitleId};
use counterfoil_terminal::{Library, Terminal, Transferred, default_library, devices, transfer};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::units;

/// Move a title that was bought to another of your devices; nothing is charged
///
/// Any of your devices can do it, for any two of them. DEVICE is a device ID, its first characters, or its name (`counterfoil devices`).
/// The destination installs the title by itself where `counterfoil agent` runs; else with `counterfoil install TITLE`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil transfer sky-raider --to laptop
  counterfoil transfer sky-raider --from dev-7Q2M --to dev-93KD
  counterfoil transfer --all --from desktop --to laptop      and take desktop out of your devices")]
#[command(group = clap::ArgGroup::new("what").required(true).args(["title", "all"]))]
pub struct Transfer {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: Option<TitleId>,
    /// Everything; the source is no longer one of your devices then
    #[arg(long, requires = "from")]
    all: bool,
    /// The device that gives up [default: this one]
    #[arg(long, value_name = "DEVICE")]
    from: Option<String>,
    /// The device that receives
    #[arg(long, value_name = "DEVICE")]
    to: String,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only say what would happen
    #[arg(long, conflicts_with = "yes")]
    preview: bool,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Transfer {
    /// Says what will happen, asks, and does it.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let library = library(&terminal)?;
        let card = context.card_choice(self.no_card);
        let known = devices(&terminal, &card)?;
        let source = match &self.from {
            Some(wanted) => find(&known, wanted)?,
            None => this(&terminal, &known)?,
        };
        let destination = find(&known, &self.to)?;
        let what = Transferred { source: source.id, destination: destination.id, title: self.title.clone() };
        let plan = transfer(&terminal, library.as_ref(), &card, &what, true)?;
        if self.preview {
            return told(context, &plan, source, destination, true);
        }
        if !self.yes {
            context.output.note(&words(&plan, source, destination));
            if !context.output.agreed("Transfer?")? {
                return Err(Failure::refused("not_confirmed", "nothing was moved").hint("To move it, add `--yes`."));
            }
        }
        let result = transfer(&terminal, library.as_ref(), &card, &what, false)?;
        told(context, &result, source, destination, false)?;
        if source.id == terminal.device_id()? && library.is_some_and(|library| holds(&library, &result)) {
            context.output.note("What is installed here stays on disk and does not run; `counterfoil remove TITLE` frees its space.");
        }
        Ok(())
    }
}

/// The library used last, where there is one.
fn library(terminal: &Terminal) -> Result<Option<Library>, Failure> {
    let path = default_library(terminal)?;
    Ok(path.and_then(|path| Library::open(terminal, &path).ok()))
}

fn holds(library: &Library, result: &TransferResult) -> bool {
    result.moved.iter().any(|moved| library.license(&moved.title).is_ok_and(|kept| kept.is_some()))
}

/// By ID, by the beginning of the ID, or by name.
pub fn find<'a>(known: &'a DevicesResult, wanted: &str) -> Result<&'a UsersDevice, Failure> {
    let plain = |text: &str| text.replace(['-', ' '], "").to_ascii_uppercase();
    let begins = |device: &&UsersDevice| plain(wanted).len() > 4 && plain(&device.id.to_string()).starts_with(&plain(wanted));
    let named = |device: &&UsersDevice| device.name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
    let found: Vec<&UsersDevice> = match known.devices.iter().filter(named).collect::<Vec<_>>() {
        by_name if !by_name.is_empty() => by_name,
        _ => known.devices.iter().filter(begins).collect(),
    };
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::usage(format!("{wanted} is none of your devices")).hint("`counterfoil devices` shows them.")),
        several => Err(Failure::usage(format!("{wanted} is the beginning or the name of {} of your devices", several.len()))
            .hint("Give more of the ID: `counterfoil devices` shows it.")),
    }
}

fn this<'a>(terminal: &Terminal, known: &'a DevicesResult) -> Result<&'a UsersDevice, Failure> {
    let id = terminal.device_id()?;
    known.devices.iter().find(|device| device.id == id).ok_or_else(|| {
        Failure::usage("this device is none of yours any more").hint("Name the source: `--from DEVICE`. `counterfoil devices` shows them.")
    })
}

/// What people call a device.
pub fn called(device: &UsersDevice) -> String {
    device.name.clone().unwrap_or_else(|| device.id.to_string())
}

fn told(context: &Context, result: &TransferResult, source: &UsersDevice, destination: &UsersDevice, preview: bool) -> Result<(), Failure> {
    let moved = result.moved.iter().map(|moved| {
        let until = moved.source_runs_until.map(|until| (until != Timestamp::FOREVER).then(|| units::moment(until)));
        json!({
            "license_id": moved.license_id, "title": moved.title, "name": moved.name, "transfers_left": moved.transfers_left,
            "source_fetched": moved.source_runs_until.is_some(), "source_runs_until": until.flatten(),
        })
    });
    let value = json!({
        "moved": moved.collect::<Vec<_>>(), "source": source.id, "destination": destination.id, "charged": false,
        "source_deregistered": result.source_deregistered, "preview": preview,
    });
    context.output.result(&value, || match preview {
        true => words(result, source, destination),
        false => done(result, source, destination),
    })
}

fn words(plan: &TransferResult, source: &UsersDevice, destination: &UsersDevice) -> String {
    let (from, to) = (called(source), called(destination));
    let mut words = format!("From {from} to {to}, without charge:\n");
    for moved in &plan.moved {
        let left = units::count(u64::from(moved.transfers_left), "transfer", "transfers");
        words += &format!("  {}: {left} left afterwards\n", moved.name);
    }
    if plan.moved.is_empty() {
        words += "  nothing: no license there can be moved\n";
    }
    words += &format!("{from} can run none of it any more: online at once");
    let latest = plan.moved.iter().filter_map(|moved| moved.source_runs_until).max();
    words += &match latest {
        None => "; it has not fetched it yet.\n".to_owned(),
        Some(Timestamp::FOREVER) => ". Without a network it would run for good: these licenses have no lease.\n".to_owned(),
        Some(until) => format!(", without a network at the latest from {}.\n", units::moment(until)),
    };
    if plan.source_deregistered {
        words += &format!("{from} is taken out of your devices, and can neither run nor order anything.\n");
    }
    words
}

fn done(result: &TransferResult, source: &UsersDevice, destination: &UsersDevice) -> String {
    let mut words: String =
        result.moved.iter().map(|moved| format!("moved {} from {} to {}\n", moved.name, called(source), called(destination))).collect();
    if result.source_deregistered {
        words += &format!("took {} out of your devices\n", called(source));
    }
    let titles: Vec<String> = result.moved.iter().map(|moved| format!("`counterfoil install {}`", moved.title)).collect();
    if !titles.is_empty() {
        words += &format!("On {}: {}, or let `counterfoil agent` do it.\n", called(destination), titles.join(", "));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use counterfoil_core::DeviceId;

    fn device(number: u8, name: Option<&str>) -> UsersDevice {
        UsersDevice {
            id: DeviceId::from_bytes([number; 16]),
            name: name.map(str::to_owned),
            maker: None,
            model: None,
            registered: true,
            since: Timestamp(0),
            licenses: vec![],
        }
    }

    #[test]
    fn a_device_is_found_by_name_or_by_the_beginning_of_its_id_if_that_is_clear() {
        let known =
            DevicesResult { devices: vec![device(1, Some("desk")), device(2, Some("Laptop")), device(3, None), device(4, Some("desk"))] };
        let id = known.devices[1].id.to_string();
        let found = |wanted: &str| find(&known, wanted).map(|device| device.id).map_err(|failure| failure.code);
        for wanted in ["laptop", &id, &id.to_lowercase(), &id.replace('-', ""), &id[..9]] {
            assert_eq!(found(wanted), Ok(known.devices[1].id), "{wanted}");
        }
        for wanted in ["desk", "dev", "dev-0", "tablet", ""] {
            assert_eq!(found(wanted), Err("usage".to_owned()), "{wanted}");
        }
        assert_eq!(found(&known.devices[2].id.to_string()), Ok(known.devices[2].id));
    }

    #[test]
    fn what_will_happen_is_said_before_it_does() {
        let (source, destination) = (device(1, Some("desk")), device(2, Some("laptop")));
        let moved = |until| counterfoil_core::wire::MovedLicense {
            license_id: counterfoil_core::LicenseId::from_bytes([1; 16]),
            title: "sky-raider".parse().expect("a title"),
            name: "Sky Raider".into(),
            source_runs_until: until,
            transfers_left: 2,
        };
        let plan = |until, deregistered| TransferResult { moved: vec![moved(until)], source_deregistered: deregistered };
        let lease = words(&plan(Some(Timestamp(1_800_000_000_000)), false), &source, &destination);
        for part in ["desk to laptop", "without charge", "2 transfers left", "online at once", "from 2027-01-15T08:00:00Z"] {
            assert!(lease.contains(part), "{part}: {lease}");
        }
        assert!(words(&plan(Some(Timestamp::FOREVER), false), &source, &destination).contains("for good"));
        assert!(words(&plan(None, true), &source, &destination).contains("neither run nor order"));
    }
}
