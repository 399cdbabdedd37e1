//! `download`: one release in one file, to be carried to where there is no network (D4, C18).

use std::path::PathBuf;

use clap::Args;
use counterfoil_core::{ReleaseVersion, TitleId};
use counterfoil_terminal::{Step, download};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::units;

/// Download a title that is on sale into one installation file, to be carried
///
/// The file is encrypted and the same for everybody: it costs nothing, and opens only with a license. Whoever installs from it needs the
/// authority once, for order and license. If it is interrupted, repeat the command.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil download sky-raider --file sky-raider.cfoil
  counterfoil install sky-raider --from sky-raider.cfoil")]
pub struct Download {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    /// Where to
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Which release [default: the newest]
    #[arg(long, value_name = "VERSION")]
    release: Option<ReleaseVersion>,
    /// The newest on which channel [default: stable]
    #[arg(long, value_name = "NAME", conflicts_with = "release")]
    channel: Option<String>,
}

impl Download {
    /// Fetches, and checks every object against its name.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let progress = Progress::new(&context.output, "downloaded");
        let show = |step: Step| match step {
            Step::Bytes(at) => progress.at(at.done, at.total),
            Step::Title { title, release, resumed } => {
                let verb = if resumed { "going on with" } else { "downloading" };
                context.output.note(&format!("{verb} {title} {release}"));
            }
            _ => {}
        };
        let done = download(&terminal, &self.title, self.release.as_ref(), self.channel.as_deref(), &self.file, &show)?;
        progress.finish();
        let value = json!({ "title": done.title, "name": done.name, "release": done.release, "file": self.file, "size": done.size,
                            "reused": done.reused, "downloaded": done.written });
        context.output.result(&value, || {
            let (size, there) = (units::bytes(done.size), units::bytes(done.reused));
            let file = self.file.display();
            format!(
                "{} {} in {file}: {size}, {there} of it were there before\ninstall it: counterfoil install {} --from {file}\n",
                done.title, done.release, done.title
            )
        })
    }
}
