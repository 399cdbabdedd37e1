//! What this provider has for media: files by title, each perhaps for those only that have come so far, or may do so much.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use counterfoil_core::TitleId;
use counterfoil_core::wire::{ProviderContent, Variable, Variables};
use serde::Deserialize;

use crate::sessions::Session;

/// Beside the directories of the titles: conditions.
const CONDITIONS: &str = "offers.toml";

/// Everything there is.
pub struct Contents {
    by_name: BTreeMap<String, Offer>,
    /// The titles that there is something for, each with the status variables that a condition asks for.
    concerned: BTreeMap<TitleId, BTreeSet<String>>,
}

/// One file, and whom it is for.
pub struct Offer {
    /// Where it lies.
    pub path: PathBuf,
    /// What is said of it.
    pub content: ProviderContent,
    condition: Condition,
}

/// What an entry of `offers.toml` says of `title/name`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Condition {
    /// For people.
    description: Option<String>,
    /// Words that the verdict's scope must have besides `download`.
    scope: Vec<String>,
    /// Status variables that the terminal must show: a number at least so large, anything else the same.
    status: BTreeMap<String, Variable>,
}

impl Contents {
    /// Reads `<directory>/<title>/<name>`, and hashes every file.
    ///
    /// # Errors
    /// The file that is not as it should be, and how.
    pub fn read(directory: &Path) -> Result<Self, String> {
        let mut conditions = conditions(&directory.join(CONDITIONS))?;
        let (mut by_name, mut concerned) = (BTreeMap::new(), BTreeMap::<TitleId, BTreeSet<String>>::new());
        for title_directory in entries(directory)?.into_iter().filter(|path| path.is_dir()) {
            let title: TitleId = file_name(&title_directory)?.parse().map_err(|error| format!("{}: {error}", title_directory.display()))?;
            for path in entries(&title_directory)? {
                let name = file_name(&path)?.to_owned();
                if !is_name(&name) || !path.is_file() {
                    return Err(format!("{}: a file is wanted, named by 1 to 100 of a-z A-Z 0-9 . _ -", path.display()));
                }
                let condition = conditions.remove(&format!("{title}/{name}")).unwrap_or_default();
                let offer = Offer::read(path, name.clone(), title.clone(), condition)?;
                concerned.entry(title.clone()).or_default().extend(offer.condition.status.keys().cloned());
                if let Some(other) = by_name.insert(name, offer) {
                    return Err(format!("{}: another title has a file of that name", other.path.display()));
                }
            }
        }
        match conditions.keys().next() {
            Some(unknown) => Err(format!("{CONDITIONS} speaks of `{unknown}`, which is not there")),
            None => Ok(Contents { by_name, concerned }),
        }
    }

    /// The status variables that matter for a title; `None` where there is nothing for it.
    pub fn variables_of(&self, title: &TitleId) -> Option<&BTreeSet<String>> {
        self.concerned.get(title)
    }

    /// What this session is offered.
    pub fn offered<'a>(&'a self, session: &'a Session) -> impl Iterator<Item = &'a Offer> {
        self.by_name.values().filter(|offer| offer.is_for(session))
    }

    /// A file by name, if the session is offered it.
    pub fn find(&self, name: &str, session: &Session) -> Option<&Offer> {
        self.by_name.get(name).filter(|offer| offer.is_for(session))
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }
}

impl Offer {
    fn read(path: PathBuf, name: String, title: TitleId, condition: Condition) -> Result<Self, String> {
        let cannot = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut hash = blake3::Hasher::new();
        let length = std::io::copy(&mut fs::File::open(&path).map_err(cannot)?, &mut hash).map_err(cannot)?;
        let (blake3, description) = (hash.finalize().to_hex().to_string(), condition.description.clone());
        Ok(Offer { content: ProviderContent { name, title, length, blake3, description }, path, condition })
    }

    fn is_for(&self, session: &Session) -> bool {
        session.allows("download")
            && self.condition.scope.iter().all(|word| session.allows(word))
            && session.titles.contains(&self.content.title)
            && self.condition.status.iter().all(|(name, wanted)| reached(session.status.get(&self.content.title), name, wanted))
    }
}

fn reached(status: Option<&Variables>, name: &str, wanted: &Variable) -> bool {
    match (status.and_then(|status| status.get(name)), wanted) {
        (Some(Variable::Number(shown)), Variable::Number(least)) => shown >= least,
        (Some(shown), wanted) => shown == wanted,
        (None, _) => false,
    }
}

/// What may be the name of something to be had or handed in: 1 to 100 of `a-z A-Z 0-9 . _ -`, not beginning with a dot.
pub fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn conditions(file: &Path) -> Result<BTreeMap<String, Condition>, String> {
    match fs::read_to_string(file) {
        Ok(text) => toml::from_str(&text).map_err(|error| format!("{}: {error}", file.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("{}: {error}", directory.display());
    fs::read_dir(directory).map_err(cannot)?.map(|entry| entry.map(|entry| entry.path()).map_err(cannot)).collect()
}

fn file_name(path: &Path) -> Result<&str, String> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| format!("{}: its name is no text", path.display()))
}
