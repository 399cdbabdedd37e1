//! Who has presented a medium, and what the authority said of it.

use std::collections::{BTreeMap, BTreeSet};

use counterfoil_core::TitleId;
use counterfoil_core::wire::{Variable, Variables, Verdict};

use crate::contents::Contents;

/// Longest text of a status variable, in bytes, as everywhere.
const LONGEST_TEXT: usize = 1024;

/// What is known of whoever has presented something, until the verdict is over. Of what was said and shown, no more is kept than is asked for
/// here: somebody may own a thousand titles, and show a great deal.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// `user-` and the holder's pseudonym, or `medium-` and the medium's ID where nobody has claimed it. What is handed in is kept by it.
    pub holder: Option<String>,
    /// What lies on the medium and there is something for.
    pub titles: BTreeSet<TitleId>,
    /// What the terminal has shown of each of those titles. Nobody vouches for it.
    pub status: BTreeMap<TitleId, Variables>,
    /// As the authority puts a limit to what may be held of a user's, in bytes.
    pub upload_limit: Option<u64>,
    scope: String,
}

impl Session {
    /// Of a verdict, and what was shown beside it, as far as it matters for these contents.
    pub fn new(verdict: &Verdict, mut shown: BTreeMap<TitleId, Variables>, contents: &Contents) -> Self {
        let titles: BTreeSet<_> =
            verdict.titles.iter().map(|title| title.title.clone()).filter(|title| contents.variables_of(title).is_some()).collect();
        shown.retain(|title, variables| {
            variables.retain(|name, value| {
                let asked_for = contents.variables_of(title).is_some_and(|names| names.contains(name));
                asked_for && !matches!(value, Variable::Text(text) if text.len() > LONGEST_TEXT)
            });
            titles.contains(title)
        });
        let user = verdict.sub.as_ref().map(|pseudonym| format!("user-{pseudonym}"));
        let medium = verdict.medium_id.as_ref().map(|medium| format!("medium-{medium}"));
        let mib = verdict.rights.as_ref().and_then(|rights| rights.upload_mib);
        Session {
            holder: user.or(medium),
            titles,
            status: shown,
            upload_limit: mib.map(|mib| u64::from(mib) << 20),
            scope: verdict.scope.clone(),
        }
    }

    /// Whether the verdict's scope has this word.
    pub fn allows(&self, word: &str) -> bool {
        self.scope.split(' ').any(|allowed| allowed == word)
    }

    /// The verdict's scope, as it stands there.
    pub fn scope(&self) -> &str {
        &self.scope
    }
}
