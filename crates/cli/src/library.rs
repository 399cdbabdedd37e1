//! `list`, `verify` and `remove`: what is in the library, whether it is whole, and how it goes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use counterfoil_core::TitleId;
use counterfoil_terminal::Terminal;
use counterfoil_terminal::received::Keeper;
use counterfoil_terminal::update::Offer;
use counterfoil_terminal::{Control, Library, Listed, default_library, uninstall_control};
use counterfoil_terminal::{Report, held_grants, repair, verify};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::install;
use crate::license::State;
use crate::progress::Progress;
use crate::units;

/// Which library.
#[derive(Args, Debug)]
pub struct Which {
    /// The library [default: the one used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
}

impl Which {
    /// The one named, or the one used last.
    pub fn open(&self, terminal: &Terminal) -> Result<Library, Failure> {
        let path = match &self.library {
            Some(path) => path.clone(),
            None => inside()
                .map_or_else(|| default_library(terminal), |path| Ok(Some(path)))?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where it is: `--library DIR`."))?,
        };
        Ok(Library::open(terminal, &path)?)
    }
}

/// The library of the program that runs this command, where one does.
fn inside() -> Option<PathBuf> {
    std::env::var_os("COUNTERFOIL_LIBRARY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// List the titles in the library
///
/// A title that the card opens no more, because the device or drive that it was copied on was exchanged, is marked: copy it again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil list --library ~/Library")]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

/// Check every byte of a title in the library, and heal it
///
/// Damage is named by pack and offset, and by the files that it lies in. It is healed from the contents servers, from the medium that
/// the title was copied from, or from an installation file; the authority is asked for the keys of exactly what is damaged.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil verify sky-raider
  counterfoil verify sky-raider --repair                        over the network
  counterfoil verify sky-raider --repair-from ./discs/0001")]
pub struct Verify {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    #[command(flatten)]
    which: Which,
    /// Heal it over the network
    #[arg(long)]
    repair: bool,
    /// Heal it from its medium, or from an installation file
    #[arg(long, value_name = "PATH", conflicts_with = "repair")]
    repair_from: Option<PathBuf>,
    /// Packs checked side by side [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

/// Remove a title from the library
///
/// Where it was copied from a medium, that stays spent: it cannot be copied from it again. A title that was installed can be installed
/// again. A control program that ran on installation runs before the removal, sandboxed.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil remove sky-raider --yes")]
pub struct Remove {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Do not run the title's control program
    #[arg(long)]
    no_control: bool,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

impl List {
    /// Needs no key; where there is one, says what it does not open.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let library = self.which.open(&terminal)?;
        let held = held_grants(&terminal, &context.card_choice(self.no_card), &library);
        let mut titles = Vec::new();
        for title in library.list()? {
            let license = State::of(&terminal, &library, &title);
            let offer = library.offer(&title)?;
            let openable = held.as_ref().map(|held| held.contains(&title.grant_id));
            titles.push(Row { title, license, offer, openable });
        }
        let damaged: Vec<_> = library.damaged()?.into_iter().map(|(title, why)| (title, why.to_string())).collect();
        let value = json!({
            "library": library.path(),
            "titles": titles.iter().map(Row::value).collect::<Vec<_>>(),
            "damaged": damaged.iter().map(|(title, why)| json!({ "title": title, "why": why })).collect::<Vec<_>>(),
        });
        context.output.result(&value, || match titles.is_empty() && damaged.is_empty() {
            true => format!("no titles in {}\n", library.path().display()),
            false => titles.iter().map(Row::line).chain(damaged.iter().map(damaged_line)).collect(),
        })
    }
}

fn damaged_line((title, why): &(TitleId, String)) -> String {
    format!("{:<24} cannot be read: {why}; `counterfoil remove {title}` makes room for it\n", title.as_str())
}

/// A title as it is listed.
struct Row {
    title: Listed,
    license: Option<State>,
    offer: Option<Offer>,
    /// Whether there are keys for it; not known where no card is at hand.
    openable: Option<bool>,
}

impl Row {
    fn value(&self) -> serde_json::Value {
        let mut value = listed(&self.title, self.license.as_ref(), self.offer.as_ref());
        value["openable"] = self.openable.into();
        value
    }

    fn line(&self) -> String {
        let mut line = line(&self.title, self.license.as_ref(), self.offer.as_ref());
        if self.openable == Some(false) {
            let again = if self.title.origin.license().is_some() { "install it again" } else { "copy it again" };
            line.insert_str(line.len() - 1, &format!("  (no keys for it any more: {again})"));
        }
        line
    }
}

fn listed(title: &Listed, license: Option<&State>, offer: Option<&Offer>) -> serde_json::Value {
    json!({
        "title": title.title, "name": title.name, "kind": title.kind, "release": title.release, "entry": title.entry,
        "size": title.size, "packed": title.packed, "files": title.files, "medium_id": title.origin.medium(), "license_id": title.origin.license(), "grant_id": title.grant_id,
        "copied_at": units::moment(title.copied_at), "complete": title.complete,
        "license": license.map(State::value), "previous": title.previous, "offered": offer.map(units::dated),
    })
}

fn line(title: &Listed, license: Option<&State>, offer: Option<&Offer>) -> String {
    let mut state = match license {
        Some(license) => format!("  ({})", license.words),
        None if title.complete => String::new(),
        None => "  (not finished)".to_owned(),
    };
    if let Some(offer) = offer {
        let critical = if offer.critical { ", critical" } else { "" };
        state += &format!("  (update: {}, {}{critical})", offer.release, units::bytes(offer.fetch));
    }
    let (size, files) = (units::bytes(title.size), units::count(title.files, "file", "files"));
    format!(
        "{:<24} {:<12} {:<6} {size:>10}  {files}  {}{state}\n",
        title.title.as_str(),
        title.release.as_str(),
        title.kind.to_string(),
        title.name
    )
}

impl Verify {
    /// Finds damage; heals it where a medium is given, and looks again.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let library = self.which.open(&terminal)?;
        if let Some(from) = &self.repair_from {
            std::fs::metadata(from).map_err(|error| Failure::file("heal from", from, &error))?;
        }
        let card = context.card_choice(self.no_card);
        let check = || {
            let progress = Progress::new(&context.output, "checked");
            verify(&terminal, &library, &self.title, &card, self.jobs, &|at| progress.at(at.done, at.total))
        };
        let report = check()?;
        let damaged = report.damaged.len();
        let tried = self.repair || self.repair_from.is_some();
        let report = match damaged {
            1.. if tried => {
                repair(&terminal, &library, &self.title, &card, self.repair_from.as_deref(), &report)?;
                check()?
            }
            _ => report,
        };
        if !report.damaged.is_empty() {
            return Err(broken(&self.title, &report, tried));
        }
        if let Some(received) = Keeper::Library(&library, &card).damaged(&terminal, &self.title)?.first() {
            let fact = format!("`{}`, which provider {} has given for {}, is damaged", received.name, received.provider, self.title);
            let hint = "Take it again: `counterfoil present`; or remove it: `counterfoil received remove`.";
            return Err(Failure::operation("received_damaged", fact).hint(hint));
        }
        let value = json!({ "title": self.title, "packs": report.packs, "bytes": report.bytes, "damaged": 0, "repaired": damaged });
        context.output.result(&value, || {
            let whole = format!("{} is whole: {} in {} checked\n", self.title, units::bytes(report.bytes), packs(&report));
            if damaged == 0 { whole } else { format!("{} healed\n{whole}", units::count(damaged as u64, "place was", "places were")) }
        })
    }
}

fn packs(report: &Report) -> String {
    units::count(report.packs as u64, "pack", "packs")
}

/// Every damaged place by pack and offset, and by file and offset.
fn broken(title: &TitleId, report: &Report, tried: bool) -> Failure {
    /// More than these nobody reads.
    const NAMED: usize = 50;
    let places = units::count(report.damaged.len() as u64, "place", "places");
    let mut fact = format!("{title} is damaged in {places}:");
    for damage in report.damaged.iter().take(NAMED) {
        fact += &format!("\n  pack {} at offset {}, {} bytes: {}", damage.pack, damage.offset, damage.length, damage.what);
        for (path, offset) in &damage.files {
            fact += &format!("\n    in {path} from offset {offset}");
        }
    }
    if report.damaged.len() > NAMED {
        fact += &format!("\n  and {} more", report.damaged.len() - NAMED);
    }
    let failure = Failure::refused("damaged", fact);
    match tried {
        false => failure
            .hint(format!("Heal it over the network: `counterfoil verify {title} --repair`. Or from its medium: `--repair-from MEDIUM`.")),
        true => failure.hint("What it was to be healed from is damaged in the same places; try another medium, or `--repair`."),
    }
}

impl Remove {
    /// Asks first, where there is somebody to ask.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let library = self.which.open(&terminal)?;
        library.is_plain(&self.title)?;
        if !self.yes {
            let after = after(&library, &self.title)?;
            if !context.output.agreed(&format!("Remove {} from the library? {after}", self.title))? {
                return Err(Failure::refused("not_confirmed", format!("{} was not removed", self.title))
                    .hint(format!("To remove it, add `--yes`. {after}")));
            }
        }
        let control = match self.no_control {
            true => Control::LeftOut,
            false => uninstall_control(&terminal, &library, &self.title, &context.card_choice(self.no_card)),
        };
        if let Some(warning) = install::warning(&control) {
            context.output.note(&format!("warning: {warning}"));
        }
        let freed = library.remove(&self.title)?;
        let value = json!({ "title": self.title, "freed": freed, "control": install::name(&control) });
        context.output.result(&value, || format!("removed {}: {} freed\n", self.title, units::bytes(freed)))
    }
}

/// What is left to be had of a title once it is removed.
fn after(library: &Library, title: &TitleId) -> Result<&'static str, Failure> {
    let listed = library.list()?.into_iter().find(|listed| listed.title == *title);
    Ok(match listed {
        Some(listed) if listed.origin.license().is_some() => "It can be installed again.",
        Some(_) => "Its medium cannot be copied again.",
        None => "If it was installed, it can be installed again; a medium that it was copied from cannot be copied again.",
    })
}
