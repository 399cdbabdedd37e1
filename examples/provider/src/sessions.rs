//! Who has presented a medium, and what the authority said of it.

use std::collections::BTreeMap;

use counterfoil_core::TitleId;
use counterfoil_core::wire::{Variables, Verdict};

/// What is known of whoever has presented something, until the verdict is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// `user-` and the holder's pseudonym, or `medium-` and the medium's ID where nobody has claimed it. What is handed in is kept by it.
    pub holder: Option<String>,
    /// What lies on the medium: names for people, by title.
    pub titles: BTreeMap<TitleId, String>,
    /// What the terminal has shown of each of those titles. Nobody vouches for it.
    pub status: BTreeMap<TitleId, Variables>,
    /// As the authority puts a limit to what may be held of a user's, in bytes.
    pub upload_limit: Option<u64>,
    /// When the verdict is over, in seconds since 1970.
    pub end: i64,
    scope: String,
}

impl Session {
    /// Of a verdict, and what was shown beside it.
    pub fn new(verdict: &Verdict, shown: BTreeMap<TitleId, Variables>) -> Self {
        let titles: BTreeMap<_, _> = verdict.titles.iter().map(|title| (title.title.clone(), title.name.clone())).collect();
        let status = shown.into_iter().filter(|(title, _)| titles.contains_key(title)).collect();
        let mib = verdict.rights.as_ref().and_then(|rights| rights.upload_mib);
        let user = verdict.sub.as_ref().map(|pseudonym| format!("user-{pseudonym}"));
        let medium = verdict.medium_id.as_ref().map(|medium| format!("medium-{medium}"));
        Session {
            holder: user.or(medium),
            titles,
            status,
            upload_limit: mib.map(|mib| u64::from(mib) << 20),
            end: verdict.exp,
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
