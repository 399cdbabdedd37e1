//! What publishing says when it is done, or would do: files, bytes, and the ways that devices have to the release.

use std::fmt::Write as _;

use counterfoil_core::{Channel, ReleaseVersion, TitleId};
use counterfoil_format::content::ObjectName;
use serde::Serialize;

use super::compare::{Compared, State};
use super::patches::Way;
use crate::units;

/// Changed files that are shown where not all are asked for.
const SHOWN: usize = 20;

/// What was published, or would be.
#[derive(Serialize)]
pub struct Done {
    pub title: TitleId,
    pub version: ReleaseVersion,
    pub channel: Channel,
    /// Whether nothing was sent.
    pub dry_run: bool,
    pub files: u64,
    pub read: u64,
    pub unique: u64,
    pub compressed: u64,
    pub uploaded: u64,
    pub reused: u64,
    pub manifest: ObjectName,
    pub encoder: String,
    pub changes: Changes,
    /// Bytes to fetch for who has nothing.
    pub full: u64,
    /// For who has an earlier release, and for who goes back.
    pub ways: Vec<Way>,
}

/// How many files of each kind, against the release before.
#[derive(Serialize)]
pub struct Changes {
    /// The release before.
    pub against: Option<ReleaseVersion>,
    pub new: usize,
    pub modified: usize,
    pub moved: usize,
    pub deleted: usize,
    pub same: usize,
    /// File by file; of a release that was published, only what is not the same.
    pub files: Vec<Compared>,
}

impl Changes {
    /// Counts them.
    pub fn of(against: Option<ReleaseVersion>, files: Vec<Compared>) -> Self {
        let count = |state| files.iter().filter(|file| file.state == state).count();
        let [new, modified, moved, deleted, same] = State::ALL.map(count);
        Self { against, new, modified, moved, deleted, same, files }
    }
}

impl Done {
    /// For people; with `verbose` every file.
    pub fn words(&self, verbose: bool) -> String {
        let mut text = String::new();
        let verb = if self.dry_run { "would publish" } else { "published" };
        let files = units::count(self.files, "file", "files");
        // Writing to a string does not fail.
        let _ = writeln!(text, "{verb} {} {} ({}): {files}", self.title, self.version, self.channel);
        for (what, bytes) in [
            ("read", self.read),
            ("unique", self.unique),
            ("compressed", self.compressed),
            ("uploaded", self.uploaded),
            ("reused", self.reused),
        ] {
            let _ = writeln!(text, "  {what:<11} {}", units::bytes(bytes));
        }
        self.files_in_words(&mut text, verbose);
        self.ways_in_words(&mut text);
        if self.dry_run {
            text.push_str("nothing was sent\n");
        }
        text
    }

    fn files_in_words(&self, text: &mut String, verbose: bool) {
        let Some(against) = &self.changes.against else { return };
        let Changes { new, modified, moved, deleted, same, files, .. } = &self.changes;
        let _ = writeln!(text, "against {against}: {new} new, {modified} modified, {moved} moved, {deleted} deleted, {same} the same");
        if !self.dry_run && !verbose {
            return;
        }
        let wanted: Vec<&Compared> = files.iter().filter(|file| verbose || file.state != State::Same).collect();
        let shown = if verbose { wanted.len() } else { wanted.len().min(SHOWN) };
        for file in &wanted[..shown] {
            let from = file.from.as_ref().map(|from| format!(" (was {from})")).unwrap_or_default();
            let _ = writeln!(text, "  {:<9} {:>10}  {}{from}", file.state.word(), units::bytes(file.size), file.path);
        }
        if shown < wanted.len() {
            let _ = writeln!(text, "  … and {} more: `--verbose` shows them", wanted.len() - shown);
        }
    }

    fn ways_in_words(&self, text: &mut String) {
        if self.changes.against.is_none() {
            return;
        }
        let _ = writeln!(text, "to fetch:");
        let _ = writeln!(text, "  from nothing: {}", units::bytes(self.full));
        for way in &self.ways {
            let patch = match (way.patch, way.deltas, &way.without) {
                (Some(bytes), ..) => format!("patch {}", units::bytes(bytes)),
                (None, Some(bytes), _) => format!("deltas {}", units::bytes(bytes)),
                (None, None, Some(why)) => format!("no patch: {why}"),
                (None, None, None) => "no patch".to_owned(),
            };
            let back = if way.to == self.version { String::new() } else { format!(" back to {}", way.to) };
            let _ = writeln!(text, "  from {}{back}: {patch}, chunks {}", way.from, units::bytes(way.chunks));
        }
    }
}
