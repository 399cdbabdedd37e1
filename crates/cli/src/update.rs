//! `update` and `rollback`: titles of the library brought to another release, and back (A5).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;
use counterfoil_core::wire::{Plan, Way, WayKind};
use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_terminal::update::{self, Brought, Planned, Reported, UpdateOptions};
use counterfoil_terminal::{InstallOptions, Library, Step, Terminal, install};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Failure;
use crate::library::Which;
use crate::medium_update::{self, Wanted};
use crate::paying;
use crate::progress::Progress;
use crate::units;

/// Bring titles in the library up to date
///
/// Says what the library holds, and takes the cheapest way from there: a patch, several, single chunks, or all of it. What is played is the
/// release that is there until the new one is complete and verified; it is kept, so that `counterfoil rollback` goes back without a network.
/// If an update is interrupted, repeat the command: it goes on where it was.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  counterfoil update                          everything in the library
  counterfoil update sky-raider --check       what there is, what it costs, and nothing else
  counterfoil update sky-raider --to 1.2
  counterfoil update sky-raider --channel beta
  counterfoil update ./usb-stick              the stick's own content, to be carried to where there is no network
  counterfoil update --from ./usb-stick       there")]
pub struct Update {
    /// Which titles [default: all]; or a medium, by its path, to be brought up to date itself
    #[arg(value_name = "TITLE|./MEDIUM")]
    titles: Vec<Wanted>,
    #[command(flatten)]
    which: Which,
    /// Only say what is offered, and what it would cost
    #[arg(long)]
    check: bool,
    /// A directory, drive, image or installation file with the new release, in place of the contents servers
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
    /// To this release, later or earlier, as its publisher allows
    #[arg(long, value_name = "VERSION")]
    to: Option<ReleaseVersion>,
    /// Follow this channel from now on [default: the one followed, `stable` at first]
    #[arg(long, value_name = "NAME", conflicts_with = "to")]
    channel: Option<Channel>,
    /// Do not keep the release that is there now to go back to
    #[arg(long)]
    no_keep: bool,
    /// Packs at once [default: 4 over the network, else one for each processor]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

/// Go back to the release that was there before the last update
///
/// It is in the library still, unless it had to make room: nobody is asked, and nothing is fetched. Going back once more goes forward again.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  counterfoil rollback sky-raider")]
pub struct Rollback {
    /// Which title
    #[arg(value_name = "TITLE")]
    title: TitleId,
    #[command(flatten)]
    which: Which,
    /// Use the keys in the device's own store, or the drive's
    #[arg(long)]
    no_card: bool,
}

impl Update {
    /// Reports, and does what the plans say.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let (titles, medium) = medium_update::told_apart(self.titles)?;
        if let Some(medium) = medium {
            if self.check || self.from.is_some() || self.to.is_some() || self.channel.is_some() {
                return Err(Failure::usage("a medium gets the release that its channel offers, and nothing else can be said of it"));
            }
            let terminal = context.terminal()?;
            let library = self.which.open(&terminal).ok();
            return medium_update::onto(context, &terminal, &medium, library.as_ref(), &context.card_choice(self.no_card));
        }
        if self.to.is_some() && titles.len() != 1 {
            return Err(Failure::usage("a release is of one title").hint("Name it: `counterfoil update TITLE --to VERSION`."));
        }
        let terminal = context.terminal()?;
        let library = self.which.open(&terminal)?;
        let options = UpdateOptions {
            card: context.card_choice(self.no_card),
            to: self.to,
            channel: self.channel,
            from: self.from,
            jobs: self.jobs,
            no_keep: self.no_keep,
        };
        if let Some(path) = options.from.as_ref().filter(|_| !self.check)
            && medium_update::from(context, &terminal, &library, path, &titles, &options)?
        {
            return Ok(());
        }
        let reported = update::report(&terminal, &library, &titles, &options)?;
        for (server, error) in &reported.silent {
            context.output.note(&format!("warning: the contents server {server} selects nothing: {error}"));
        }
        match self.check {
            true => say(context, &library, &reported),
            false => carry_out(context, &terminal, &library, &reported, &options),
        }
    }
}

/// What is offered.
fn say(context: &Context, library: &Library, reported: &Reported) -> Result<(), Failure> {
    let value = json!({
        "library": library.path(),
        "titles": reported.titles.iter().map(planned).collect::<Vec<_>>(),
        "selected": reported.selected,
    });
    context.output.result(&value, || {
        let mut words: String = reported.titles.iter().map(words).collect();
        for selected in &reported.selected {
            words += &format!("{}: {}, selected by what {} has noted\n", selected.title, selected.name, selected.because_of);
        }
        if words.is_empty() { "nothing is in the library that could be updated\n".to_owned() } else { words }
    })
}

fn planned(planned: &Planned) -> Value {
    let Plan { title, refused, to, ways, .. } = &planned.plan;
    json!({ "title": title, "release": planned.held.release, "refused": refused, "to": to.as_ref().map(units::dated), "ways": ways })
}

fn words(planned: &Planned) -> String {
    let Plan { title, refused, to, ways, .. } = &planned.plan;
    let held = &planned.held.release;
    if let Some(refusal) = refused {
        return format!("{title} {held}: no updates: {refusal}\n");
    }
    let Some((to, way)) = to.as_ref().zip(ways.first()) else { return format!("{title} {held} is up to date\n") };
    let critical = if to.critical { " (critical)" } else { "" };
    let notes: String = to.notes.lines().map(|line| format!("  {line}\n")).collect();
    format!("{title} {held} → {}{critical}: {}\n{notes}", to.version, costs(way))
}

/// "by a patch: 1.2 MB to fetch, 300.0 MB reused, 4.0 MB to write"
fn costs(way: &Way) -> String {
    let [fetch, reuse, write] = [way.fetch, way.reuse, way.write].map(units::bytes);
    format!("{}: {fetch} to fetch, {reuse} reused, {write} to write", by(way.kind))
}

fn by(kind: WayKind) -> &'static str {
    match kind {
        WayKind::Heal => "by healing",
        WayKind::Patch => "by a patch",
        WayKind::Chain => "by several patches",
        WayKind::HealAndPatch => "by healing and patches",
        WayKind::Deltas => "by what differs in it",
        WayKind::Chunks => "by what is new of it",
        WayKind::Full => "by all of it",
    }
}

/// Title by title; one that fails does not keep the others.
fn carry_out(
    context: &Context,
    terminal: &Terminal,
    library: &Library,
    reported: &Reported,
    options: &UpdateOptions,
) -> Result<(), Failure> {
    let mut done = Done::default();
    for listed in &reported.unfinished {
        context.output.note(&format!("{} was never finished: `counterfoil install {}` goes on with it", listed.title, listed.title));
    }
    for planned in &reported.titles {
        if let Some(refusal) = &planned.plan.refused {
            done.fail(context, &planned.held.title, refusal.clone().into());
        } else if planned.plan.to.is_none() {
            done.current.push((planned.held.title.clone(), planned.held.release.clone()));
        } else {
            match bring(context, terminal, library, planned, options) {
                Ok((brought, given_up)) => done.brought.push((planned.held.title.clone(), brought, given_up)),
                Err(failure) => done.fail(context, &planned.held.title, failure),
            }
        }
    }
    for selected in &reported.selected {
        let options = InstallOptions { card: options.card.clone(), jobs: options.jobs, ..InstallOptions::default() };
        let progress = Progress::new(&context.output, "installed");
        context.output.note(&format!("installing {}, selected by what {} has noted", selected.title, selected.because_of));
        let show = |step: Step| {
            if let Step::Bytes(at) = step {
                progress.at(at.done, at.total);
            }
        };
        match install(terminal, &selected.title, library, &options, &show) {
            Ok(installed) => done.installed.push((installed.title.title, installed.title.release)),
            Err(error) => done.fail(context, &selected.title, error.into()),
        }
    }
    done.say(context, terminal, library)
}

/// One title, shown as it goes. Also says which ways led nowhere, and why.
pub fn bring(
    context: &Context,
    terminal: &Terminal,
    library: &Library,
    planned: &Planned,
    options: &UpdateOptions,
) -> Result<(Brought, GivenUp), Failure> {
    let progress = Progress::new(&context.output, "updated");
    let given_up = Mutex::new(Vec::new());
    let show = |step: Step| match step {
        Step::Title { title, release, resumed } => {
            let verb = if resumed { "going on with" } else { "updating" };
            context.output.note(&format!("{verb} {title} {} → {release}", planned.held.release));
        }
        Step::Way { kind, fetch, write } => {
            context.output.note(&format!("{}: {} to fetch, {} to write", by(kind), units::bytes(fetch), units::bytes(write)));
        }
        Step::GivenUp { kind, reason } => {
            context.output.note(&format!("{} it does not go: {reason}", by(kind)));
            given_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((kind, reason));
        }
        Step::Bytes(at) => progress.at(at.done, at.total),
        _ => {}
    };
    let brought = update::bring(terminal, library, planned, options, &show)?;
    progress.finish();
    Ok((brought, given_up.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)))
}

/// Ways that led nowhere, and why.
type GivenUp = Vec<(WayKind, String)>;

/// What came of it all.
#[derive(Default)]
struct Done {
    current: Vec<(TitleId, ReleaseVersion)>,
    brought: Vec<(TitleId, Brought, GivenUp)>,
    installed: Vec<(TitleId, ReleaseVersion)>,
    failed: Vec<(TitleId, Failure)>,
}

impl Done {
    fn fail(&mut self, context: &Context, title: &TitleId, failure: Failure) {
        context.output.note(&format!("{title}: {failure}"));
        self.failed.push((title.clone(), failure));
    }

    /// A failure of one title is the command's, and what else was done has been said by then.
    fn say(self, context: &Context, terminal: &Terminal, library: &Library) -> Result<(), Failure> {
        let charged = paying::tell(context, terminal);
        if let Some((title, failure)) = self.failed.into_iter().next() {
            for (title, brought, _) in &self.brought {
                context.output.note(&format!("updated {title} {} → {}", brought.from, brought.to));
            }
            let mut failure = failure;
            failure.message = format!("{title}: {}", failure.message);
            return Err(failure);
        }
        let value = json!({
            "library": library.path(),
            "titles": self.brought.iter().map(|(title, brought, given_up)| one(title, brought, given_up)).collect::<Vec<_>>(),
            "current": self.current.iter().map(|(title, release)| json!({ "title": title, "release": release })).collect::<Vec<_>>(),
            "installed": self.installed.iter().map(|(title, release)| json!({ "title": title, "release": release })).collect::<Vec<_>>(),
            "charged": charged,
        });
        context.output.result(&value, || {
            let mut words = String::new();
            for (title, brought, _) in &self.brought {
                let Brought { from, to, fetched, reused, written, .. } = brought;
                let [fetched, reused, written] = [*fetched, *reused, *written].map(units::bytes);
                words += &match from == to {
                    true => format!("healed {title} {to}: {fetched} fetched, {written} written\n"),
                    false => format!("updated {title} {from} → {to}: {fetched} fetched, {reused} reused, {written} written\n"),
                };
            }
            for (title, release) in &self.installed {
                words += &format!("installed {title} {release}\n");
            }
            for (title, release) in &self.current {
                words += &format!("{title} {release} is up to date\n");
            }
            if words.is_empty() { "nothing is in the library that could be updated\n".to_owned() } else { words }
        })
    }
}

fn one(title: &TitleId, brought: &Brought, given_up: &[(WayKind, String)]) -> Value {
    let Brought { from, to, way, fetched, reused, written, freed, resumed } = brought;
    let given_up: Vec<Value> = given_up.iter().map(|(way, reason)| json!({ "way": way, "reason": reason })).collect();
    json!({
        "title": title, "from": from, "to": to, "way": way, "fetched": fetched, "reused": reused, "written": written, "freed": freed,
        "resumed": resumed, "given_up": given_up,
    })
}

impl Rollback {
    /// Asks nobody.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        let terminal = context.terminal()?;
        let library = self.which.open(&terminal)?;
        let now = update::rollback(&terminal, &library, &self.title, &context.card_choice(self.no_card))?;
        let from = now.previous.as_ref();
        context.output.result(&json!({ "title": now.title, "from": from, "release": now.release }), || match from {
            Some(from) => format!("{} {from} → {}: gone back\n", now.title, now.release),
            None => format!("{} is {} again\n", now.title, now.release),
        })
    }
}
