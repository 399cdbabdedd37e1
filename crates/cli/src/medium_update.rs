//! `update ./medium` and `update --from ./medium`: a medium brought up to date in place, and a library from it without a network (A12).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use counterfoil_core::TitleId;
use counterfoil_terminal::update::UpdateOptions;
use counterfoil_terminal::{CardChoice, FromMedium, Library, MediumUpdated, Step, Terminal, update_from_medium, update_medium};
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::inspect::refresh_note;
use crate::progress::Progress;
use crate::units;

/// What is to be brought up to date: a title of the library, or a medium by its path.
#[derive(Clone, Debug)]
pub enum Wanted {
    Title(TitleId),
    Medium(PathBuf),
}

impl FromStr for Wanted {
    type Err = String;

    /// No title's name has a slash or begins with a dot.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('/') || text.starts_with('.') {
            return Ok(Self::Medium(PathBuf::from(text)));
        }
        text.parse().map(Self::Title).map_err(|_| format!("it is no title; a medium is named by its path: ./{text}"))
    }
}

/// The titles, or the one medium.
pub fn told_apart(wanted: Vec<Wanted>) -> Result<(Vec<TitleId>, Option<PathBuf>), Failure> {
    let (mut titles, mut media) = (Vec::new(), Vec::new());
    for one in wanted {
        match one {
            Wanted::Title(title) => titles.push(title),
            Wanted::Medium(path) => media.push(path),
        }
    }
    match (titles.is_empty(), media.len()) {
        (_, 0) => Ok((titles, None)),
        (true, 1) => Ok((titles, media.pop())),
        _ => Err(Failure::usage("a medium is brought up to date by itself").hint("Name one medium, or titles of the library.")),
    }
}

/// Brings a medium up to date in place.
pub fn onto(context: &Context, terminal: &Terminal, path: &Path, library: Option<&Library>, card: &CardChoice) -> Result<(), Failure> {
    let progress = Progress::new(&context.output, "written");
    let show = |step: Step| match step {
        Step::Title { title, release, resumed } => {
            let verb = if resumed { "going on with" } else { "writing" };
            context.output.note(&format!("{verb} {title} {release}"));
        }
        Step::Bytes(at) => progress.at(at.done, at.total),
        Step::Refreshing(refreshing) => context.output.note(&refresh_note(&refreshing)),
        _ => {}
    };
    let done = update_medium(terminal, path, library, card, &show)?;
    progress.finish();
    let refusal = done.iter().find_map(|updated| updated.refused.clone());
    if done.iter().all(|updated| updated.refused.is_some())
        && let Some(refusal) = refusal
    {
        return Err(counterfoil_terminal::Error::Refused(refusal).into());
    }
    let value = json!({ "medium": path, "titles": done.iter().map(value).collect::<Vec<_>>() });
    context.output.result(&value, || done.iter().map(words).collect())
}

fn value(updated: &MediumUpdated) -> serde_json::Value {
    json!({
        "title": updated.title, "from": updated.from, "to": updated.to, "refused": updated.refused, "fetched": updated.fetched,
        "reused": updated.reused, "freed": updated.freed, "keys": updated.keys,
    })
}

fn words(updated: &MediumUpdated) -> String {
    let title = &updated.title;
    let release = updated.to.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let mut words = match (&updated.refused, updated.from == updated.to) {
        (Some(refusal), _) => return format!("{title} {release}: no updates: {refusal}\n"),
        (None, true) => format!("{title} {release} is up to date on the medium\n"),
        (None, false) => {
            let [fetched, reused] = [updated.fetched, updated.reused].map(units::bytes);
            format!("{title} {release} is on the medium: {fetched} fetched, {reused} were there\n")
        }
    };
    if updated.keys {
        words += "  with the keys for the copy in the library of this device: `counterfoil update --from MEDIUM` needs no network\n";
    }
    words
}

/// Brings titles from a medium that carries keys to them. Nothing is said where it carries none that are needed: the authority is asked then.
pub fn from(
    context: &Context,
    terminal: &Terminal,
    library: &Library,
    path: &Path,
    titles: &[TitleId],
    options: &UpdateOptions,
) -> Result<bool, Failure> {
    if !path.is_dir() {
        return Ok(false);
    }
    let progress = Progress::new(&context.output, "updated");
    let show = |step: Step| match step {
        Step::Title { title, release, .. } => context.output.note(&format!("updating {title} → {release}")),
        Step::Bytes(at) => progress.at(at.done, at.total),
        _ => {}
    };
    let done = update_from_medium(terminal, library, path, titles, options, &show)?;
    progress.finish();
    if done.is_empty() || done.iter().any(|(_, came)| matches!(came, FromMedium::NoKeys(_))) {
        return Ok(false);
    }
    let value = json!({ "library": library.path(), "titles": done.iter().map(came_value).collect::<Vec<_>>() });
    context.output.result(&value, || done.iter().map(came_words).collect())?;
    Ok(true)
}

fn came_value((title, came): &(TitleId, FromMedium)) -> serde_json::Value {
    match came {
        FromMedium::Brought(brought) => json!({
            "title": title, "from": brought.from, "to": brought.to, "fetched": 0, "reused": brought.reused, "written": brought.written,
        }),
        FromMedium::UpToDate(release) | FromMedium::NoKeys(release) => json!({ "title": title, "from": release, "to": release }),
    }
}

fn came_words((title, came): &(TitleId, FromMedium)) -> String {
    match came {
        FromMedium::Brought(brought) => {
            let [reused, written] = [brought.reused, brought.written].map(units::bytes);
            format!("updated {title} from {} to {}: {reused} reused, {written} written, nothing fetched\n", brought.from, brought.to)
        }
        FromMedium::UpToDate(release) | FromMedium::NoKeys(release) => format!("{title} {release} is what is on the medium\n"),
    }
}
