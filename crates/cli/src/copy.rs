//! `copy`: claims a medium, or buys the key of one without an identity, and brings it into the library (C6–C11, C18).

mod bought;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use counterfoil_terminal::{CopiedTitle, CopyOptions, Library, Medium, Opened, Step, Terminal, copy, default_library};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::refresh_note;
use crate::paying::{self, Paying};
use crate::progress::Progress;
use crate::units;

/// Claim a medium and copy it into your library
///
/// The first to claim a medium has it. Of a medium without an identity, which is everybody's, the key is bought. Where something is charged, its
/// price is shown and asked about first. The copy is sealed for your card, this device and this drive. If it is interrupted, repeat the command:
/// it goes on where it was, and is charged once.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil copy ./discs/0001 --library ~/Library
  counterfoil copy /media/disc --library /mnt/usb/Library --jobs 1
  counterfoil copy /media/disc --yes --max-price '19.99 EUR'     of one that is paid for when it is copied
  counterfoil copy /media/disc --via https://shop.example        paid for there")]
pub struct Copy {
    /// The medium: a directory, a mounted drive, or a disc image
    #[arg(value_name = "MEDIUM")]
    medium: PathBuf,
    /// Where to [default: the library used last]
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// Packs copied side by side [default: one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
    /// Use up the medium's copy even where the library holds the same from another medium
    #[arg(long)]
    again: bool,
    #[command(flatten)]
    paying: Paying,
}

impl Copy {
    /// Claims, copies, confirms.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let mut terminal = context.terminal_paying(self.paying.consenting)?;
        let opened = Opened::open_online(&terminal, &self.medium)?;
        let path = match &self.library {
            Some(path) => path.clone(),
            None => default_library(&terminal)?
                .ok_or_else(|| Failure::usage("no library is known yet").hint("Say where it is to be: `--library DIR`."))?,
        };
        match opened {
            Opened::Medium(medium) => self.claim(context, &terminal, &medium, &path),
            Opened::WithoutIdentity(medium) => {
                let buying = bought::Buying { paying: self.paying, card: context.card_choice(self.no_card), jobs: self.jobs };
                bought::run(context, &mut terminal, &medium, &path, &buying)
            }
        }
    }

    /// One with an identity: its copy is claimed.
    fn claim(self, context: &Context, terminal: &Terminal, medium: &Medium, path: &Path) -> Result<(), Failure> {
        let library = Library::create_or_open(terminal, path)?;
        let progress = Progress::new(&context.output, "copied");
        let show = |step: Step| match step {
            Step::Bytes(at) => progress.at(at.done, at.total),
            Step::Title { title, release, resumed } => {
                let verb = if resumed { "going on with" } else { "copying" };
                context.output.note(&format!("{verb} {title} {release}"));
            }
            Step::Refreshing(refreshing) => context.output.note(&refresh_note(&refreshing)),
            _ => {}
        };
        let currency = self.paying.currency();
        let options = CopyOptions { card: context.card_choice(self.no_card), jobs: self.jobs, currency, again: self.again };
        let copied = copy(terminal, medium, &library, &options, &show)?;
        progress.finish();

        let titles: Vec<_> = copied.titles.iter().map(value).collect();
        let charged = paying::tell(context, terminal);
        let value = json!({ "library": path, "resumed": copied.resumed, "titles": titles, "charged": charged });
        context.output.result(&value, || copied.titles.iter().map(|title| words(title, path)).collect())
    }
}

fn value(title: &CopiedTitle) -> serde_json::Value {
    json!({ "title": title.title, "name": title.name, "release": title.release, "entry": title.entry,
            "size": title.size, "packed": title.packed, "written": title.written, "reused": title.reused })
}

fn words(title: &CopiedTitle, library: &std::path::Path) -> String {
    let mut text = format!(
        "copied {} {} into {}: {} of content, {} written",
        title.title,
        title.release,
        library.display(),
        units::bytes(title.size),
        units::bytes(title.written)
    );
    if title.reused > 0 {
        text += &format!(", {} were there already", units::bytes(title.reused));
    }
    text + &format!("\nplay it: counterfoil play {}{}\n", title.title, if title.entry.is_some() { " --run" } else { " PATH" })
}
