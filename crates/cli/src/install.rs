//! `install`: brings a title that was bought for this device into the library, over the network or from a file (D4–D6, D9).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_terminal::{Control, InstallOptions, Installed, Library, Step, Terminal, default_library, install};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::paying;
use crate::progress::Progress;
use crate::units;

/// Install a title that was bought for this device, or moved to it
///
/// Only what the library lacks is fetched. It is sealed for your card, this device and this drive. If it is interrupted, repeat the
/// command: it goes on where it was.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil install sky-raider --library ~/Library
  counterfoil install sky-raider --from sky-raider.cfoil     what `counterfoil download` has made
  counterfoil install sky-raider --again                     the library that it was installed to is lost")]
pub struct Install {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Where to [default: the library used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Which release [default: the newest]
    #[arg(long, value_name = "VERSION")]
    release: Option<ReleaseVersion>,
    /// The newest on which channel [default: stable]
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    channel: Option<String>,
    /// An installation file, or a directory, drive or image with the content; only the license is fetched then
    #[arg(long, value_name = "PATH", conflicts_with = "channel")]
    from: Option<PathBuf>,
    /// Have the license issued anew for this device, though it was installed before
    #[arg(long)]
    again: bool,
    /// Packs at once [default: 4 over the network, else one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Do not run the title's control program
    #[arg(long)]
    no_control: bool,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

impl Install {
    /// Fetches license and content, and confirms.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let path = match self.library {
            Some(path) => path,
            None => default_library(&terminal)?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where it is to be: `--library DIR`."))?,
        };
        let options = InstallOptions {
            card: context.card_choice(self.no_card),
            release: self.release,
            channel: self.channel,
            from: self.from,
            again: self.again,
            jobs: self.jobs,
            no_control: self.no_control,
        };
        carry_out(context, &terminal, &self.title, &path, &options, vec![])
    }
}

/// Installs, shows how far it is, and says what came of it, with what was charged for it before.
pub fn carry_out(
    context: &Context,
    terminal: &Terminal,
    title: &TitleId,
    path: &Path,
    options: &InstallOptions,
    mut charged: Vec<Value>,
) -> Result<(), Failure> {
    let library = Library::create_or_open(terminal, path)?;
    let installed = bring(context, terminal, title, &library, options)?;
    charged.extend(paying::tell(context, terminal));
    let mut value = value(&installed, path);
    value["charged"] = charged.into();
    context.output.result(&value, || words(&installed, path))
}

/// Installs, and shows how far it is.
pub fn bring(
    context: &Context,
    terminal: &Terminal,
    title: &TitleId,
    library: &Library,
    options: &InstallOptions,
) -> Result<Installed, Failure> {
    let progress = Progress::new(&context.output, "installed");
    let show = |step: Step| match step {
        Step::Bytes(at) => progress.at(at.done, at.total),
        Step::Title { title, release, resumed } => {
            let verb = if resumed { "going on with" } else { "installing" };
            context.output.note(&format!("{verb} {title} {release}"));
        }
        Step::Control => {
            progress.finish();
            context.output.note(&format!("running the control program of {title}"));
        }
        _ => {}
    };
    let installed = install(terminal, title, library, options, &show)?;
    progress.finish();
    if let Some(warning) = warning(&installed.control) {
        context.output.note(&format!("warning: {warning}"));
    }
    Ok(installed)
}

/// For programs.
pub fn value(installed: &Installed, library: &Path) -> serde_json::Value {
    let title = &installed.title;
    json!({
        "library": library, "title": title.title, "name": title.name, "release": title.release, "entry": title.entry,
        "license_id": installed.license.license_id, "transaction_id": installed.license.transaction_id,
        "size": title.size, "packed": title.packed, "downloaded": downloaded(installed), "reused": reused(installed),
        "written": title.written, "resumed": installed.resumed, "already": installed.already, "control": name(&installed.control),
    })
}

/// What came over the network.
fn downloaded(installed: &Installed) -> u64 {
    if installed.network { installed.title.written - installed.title.taken } else { 0 }
}

/// What was in the library before, in this copy or another.
fn reused(installed: &Installed) -> u64 {
    installed.title.reused + installed.title.taken
}

/// For people.
pub fn words(installed: &Installed, library: &Path) -> String {
    let title = &installed.title;
    let play = format!("\nrun it: counterfoil run {}\n", title.title);
    if installed.already {
        return format!("{} {} is installed in {} already{play}", title.title, title.release, library.display());
    }
    format!(
        "installed {} {} into {}: {} of content; {} downloaded, {} reused, {} written{play}",
        title.title,
        title.release,
        library.display(),
        units::bytes(title.size),
        units::bytes(downloaded(installed)),
        units::bytes(reused(installed)),
        units::bytes(title.written)
    )
}

/// Stable, for programs.
pub fn name(control: &Control) -> &'static str {
    match control {
        Control::None => "none",
        Control::NotAllowed => "not_allowed",
        Control::LeftOut => "left_out",
        Control::Ran => "ran",
        Control::NoSandbox => "no_sandbox",
        Control::Failed(_) => "failed",
    }
}

/// What a person should know of a control program that did not do what it had to.
pub fn warning(control: &Control) -> Option<String> {
    match control {
        Control::NoSandbox => {
            Some("its control program was not run: bubblewrap (`bwrap`) is not installed, which is to make a sandbox for it".into())
        }
        Control::Failed(reason) => Some(format!("its control program failed: {reason}")),
        Control::None | Control::NotAllowed | Control::LeftOut | Control::Ran => None,
    }
}
