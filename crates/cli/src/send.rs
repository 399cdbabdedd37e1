//! `send`: has another of the user's devices install a title or bring it up to date, and shows how far it is (A2).

use std::time::Duration;

use clap::Args;
use counterfoil_core::wire::{SentJob, UsersDevice};
use counterfoil_core::{JobId, ReleaseVersion, TitleId};
use counterfoil_terminal::{CardChoice, Terminal, devices, send, sent};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::transfer::{called, find};
use crate::units;

/// Between two looks how far it is.
const LOOK: Duration = Duration::from_secs(2);

/// Have another of your devices install a title, or bring it up to date
///
/// The device does it by itself while `counterfoil agent` runs there. It may have whatever is bought or copied for it; a title that you have
/// bought for more devices than have it takes one more place. To move a title instead: `counterfoil transfer`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil send sky-raider --to laptop
  counterfoil send sky-raider --to laptop --wait
  counterfoil send --list                            what was sent from here in the last days")]
pub struct Send {
    /// Which title
    #[arg(value_name = "TITLE", required_unless_present = "list")]
    title: Option<TitleId>,
    /// Which device: its ID, the beginning of it, or its name
    #[arg(long, value_name = "DEVICE", required_unless_present = "list")]
    to: Option<String>,
    /// Which release [default: the newest on the channel that is followed there]
    #[arg(long, value_name = "VERSION", requires = "title")]
    release: Option<ReleaseVersion>,
    /// Wait until it is there, and show how far it is
    #[arg(long, conflicts_with = "list")]
    wait: bool,
    /// Only show what was sent from here, and how far it is
    #[arg(long, conflicts_with_all = ["title", "to"])]
    list: bool,
    /// Use the keys in the device's own store
    #[arg(long)]
    no_card: bool,
}

impl Send {
    /// Sends, or shows what was sent.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let card = context.card_choice(self.no_card);
        let known = devices(&terminal, &card)?;
        let (Some(title), Some(to)) = (&self.title, &self.to) else {
            let jobs = sent(&terminal, &card, None)?;
            let value = json!({ "jobs": jobs.iter().map(units::dated).collect::<Vec<_>>() });
            return context.output.result(&value, || list(&jobs, &known.devices));
        };
        let device = find(&known, to)?;
        let job_id = send(&terminal, &card, device.id, title, self.release.as_ref())?;
        if self.wait {
            return wait(context, &terminal, &card, job_id, device);
        }
        let value = json!({ "job_id": job_id, "title": title, "device_id": device.id });
        context.output.result(&value, || {
            format!("sent {title} to {name}: it does it by itself while `counterfoil agent` runs there\n", name = called(device))
        })
    }
}

/// Shows how far it is until it is over. Interrupted, nothing is taken back.
fn wait(context: &Context, terminal: &Terminal, card: &CardChoice, job: JobId, device: &UsersDevice) -> Result<(), Failure> {
    let name = called(device);
    context.output.note(&format!("sent to {name}; interrupt (Ctrl-C) to wait no more"));
    let progress = Progress::new(&context.output, "there");
    loop {
        let told = sent(terminal, card, Some(job))?;
        let Some(told) = told.into_iter().next() else {
            return Err(Failure::operation("no_job", "the authority knows nothing of it any more"));
        };
        if let Some(at) = &told.progress {
            progress.at(at.done, at.total);
        }
        if let Some(code) = &told.failed {
            progress.finish();
            return Err(
                Failure::refused(code, format!("{name} could not do it: {code}")).hint("`counterfoil agent` on that device says more.")
            );
        }
        if told.done_at.is_some() {
            progress.finish();
            return context.output.result(&units::dated(&told), || format!("{} is done on {name}\n", told.title));
        }
        std::thread::sleep(LOOK);
    }
}

fn list(jobs: &[SentJob], devices: &[UsersDevice]) -> String {
    if jobs.is_empty() {
        return "nothing was sent from here in the last days\n".to_owned();
    }
    let line = |job: &SentJob| {
        let device = devices.iter().find(|device| device.id == job.device_id).map_or_else(|| job.device_id.to_string(), called);
        let state = match (&job.failed, job.done_at, &job.progress) {
            (Some(code), ..) => format!("failed: {code}"),
            (None, Some(at), _) => format!("done {}", units::moment(at)),
            (None, None, Some(at)) => format!("{} of {}", units::bytes(at.done), units::bytes(at.total)),
            (None, None, None) => "waits for the device".to_owned(),
        };
        format!("{}  {} → {device}  {state}\n", units::moment(job.since), job.title)
    };
    jobs.iter().map(line).collect()
}
