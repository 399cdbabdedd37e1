//! Status variables (A6, A12): what a program or a user notes of their progress, beside the copy in the library or on a writable medium.
//!
//! ```text
//! <library>/titles/<title>/status.json     variables of the title, whatever release or grant it is held by
//! <library>/titles/<title>/status.lock     one writer at a time; not the library's lock, which an update holds for long
//! <medium>/content/<title>/status.json     variables under the medium's ID, outside of its identity area
//! ```

use crate::error::Result;
use crate::io::{Io, IoFailure, Lock, no_links, read_small, replace, wait_for_lock};
use crate::library::{Library, damaged};
use crate::medium::{Medium, MediumError, layout};
use crate::terminal::Terminal;
use counterfoil_core::rules::selection as limits;
use counterfoil_core::wire::{Variable, Variables};
use counterfoil_core::{MediumId, TitleId};
use counterfoil_format::encoding::parse_strict;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod contents;
mod program;

pub use contents::{Shown, show};
pub use program::{ProgramStatus, STATUS_FILE};

const VERSION: u32 = 1;
/// Longest file of variables, in bytes: as many as there may be, each as long as it may be and every character escaped.
const LONGEST: u64 = 4 << 20;

/// What cannot be noted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatusError {
    /// A name or value that is none, or too many of them.
    #[error("this cannot be a status variable: {0}")]
    Bad(String),
    /// It is an image, or something else that nothing is written to.
    #[error("{} cannot keep variables: it is no directory", .0.display())]
    NotWritable(PathBuf),
}

impl StatusError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StatusError::Bad(_) => "bad_variable",
            StatusError::NotWritable(_) => "read_only",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            StatusError::Bad(_) => {
                "NAME=VALUE: names are 1 to 64 of a-z, 0-9 and `_.-`, values numbers, true, false or texts of 1,024 bytes; 256 a title, 8 KiB together."
            }
            StatusError::NotWritable(_) => "Name a stick or directory that can be written, or keep the variables in the library.",
        }
    }
}

/// One thing that is noted otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Has this value from now on.
    Set(String, Variable),
    /// Has none any more.
    Unset(String),
}

/// `status.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    counterfoil_status: u32,
    /// On a medium, whose: a file that was copied from another one says nothing of this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    medium_id: Option<MediumId>,
    variables: Variables,
}

/// Variables of a title in the library; none where nothing was noted.
///
/// # Errors
/// [`crate::LibraryError::Damaged`]; what the system said.
pub fn variables(terminal: &Terminal, library: &Library, title: &TitleId) -> Result<Variables> {
    Kept::in_library(terminal, library, title).read()
}

/// Notes something of a title in the library; answers with all that is noted then.
///
/// # Errors
/// [`crate::LibraryError::NoTitle`], [`crate::LibraryError::Incomplete`]; [`StatusError`]; code `busy`; what the system said. Nothing is
/// changed then.
pub fn change(terminal: &Terminal, library: &Library, title: &TitleId, changes: &[Change]) -> Result<Variables> {
    library.complete(title)?;
    Kept::in_library(terminal, library, title).change(changes)
}

/// Variables of a title on a medium, kept under the medium's ID.
///
/// # Errors
/// [`crate::MediumError`]; [`crate::LibraryError::Damaged`]; what the system said.
pub fn variables_on_medium(terminal: &Terminal, medium: &Medium, title: &TitleId) -> Result<Variables> {
    match Kept::on_medium(terminal, medium, title) {
        Ok(kept) => kept.read(),
        // An image holds none, and nothing is wrong with that.
        Err(crate::Error::Status(StatusError::NotWritable(_))) => Ok(Variables::new()),
        Err(error) => Err(error),
    }
}

/// Notes something of a title on a medium; answers with all that is noted then.
///
/// # Errors
/// [`crate::MediumError`]; [`StatusError`]; what the system said. Nothing is changed then.
pub fn change_on_medium(terminal: &Terminal, medium: &Medium, title: &TitleId, changes: &[Change]) -> Result<Variables> {
    Kept::on_medium(terminal, medium, title)?.change(changes)
}

/// A value as it is written on the command line and by programs: a number, `true`, `false`, or a text, which may be quoted as in JSON.
pub fn parse_value(text: &str) -> Variable {
    match text {
        "true" => Variable::Truth(true),
        "false" => Variable::Truth(false),
        _ => match (text.parse(), serde_json::from_str::<String>(text)) {
            (Ok(number), _) => Variable::Number(number),
            (_, Ok(quoted)) => Variable::Text(quoted),
            _ => Variable::Text(text.to_owned()),
        },
    }
}

/// The same the other way round, on one line.
pub fn write_value(value: &Variable) -> String {
    match value {
        Variable::Truth(truth) => truth.to_string(),
        Variable::Number(number) => number.to_string(),
        Variable::Text(text) if parse_value(text) == *value && !text.contains(char::is_control) => text.clone(),
        Variable::Text(text) => serde_json::to_string(text).expect("a text is JSON"),
    }
}

/// Where the variables of one title are kept.
struct Kept {
    io: Arc<dyn Io>,
    /// The library or medium, and what of it is the title's.
    root: PathBuf,
    below: PathBuf,
    medium: Option<MediumId>,
}

impl Kept {
    fn in_library(terminal: &Terminal, library: &Library, title: &TitleId) -> Self {
        let below = Path::new("titles").join(title.as_str());
        Self { io: terminal.io().clone(), root: library.path().to_owned(), below, medium: None }
    }

    fn on_medium(terminal: &Terminal, medium: &Medium, title: &TitleId) -> Result<Self> {
        let (io, path) = (terminal.io().clone(), medium.path());
        let root = if path.file_name().is_some_and(|name| name == layout::IDENTITY) { crate::io::parent(path) } else { path };
        if !io.metadata(root).map_err(IoFailure::at("read", root))?.directory {
            return Err(StatusError::NotWritable(path.to_owned()).into());
        }
        let below = PathBuf::from(layout::title(title));
        if !medium.identity().titles.iter().any(|on| on.title == *title) || !terminal.exists(&root.join(&below))? {
            return Err(MediumError::NoContent(title.clone()).into());
        }
        Ok(Self { io, root: root.to_owned(), below, medium: Some(medium.identity().medium_id.clone()) })
    }

    fn path(&self) -> PathBuf {
        self.root.join(&self.below).join(layout::STATUS)
    }

    fn read(&self) -> Result<Variables> {
        let path = self.path();
        let Some(bytes) = read_small(&*self.io, &path, LONGEST)? else { return Ok(Variables::new()) };
        let file: File = parse_strict(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
        if file.counterfoil_status != VERSION {
            return Err(damaged(&path, format!("version {} is not known", file.counterfoil_status)));
        }
        limits::check(&file.variables).map_err(|reason| damaged(&path, reason))?;
        Ok(if file.medium_id == self.medium { file.variables } else { Variables::new() })
    }

    fn change(&self, changes: &[Change]) -> Result<Variables> {
        let _lock = self.lock()?;
        let before = self.read()?;
        let mut variables = before.clone();
        for change in changes {
            match change {
                Change::Set(name, value) => {
                    limits::check_one(name, value).map_err(StatusError::Bad)?;
                    variables.insert(name.clone(), value.clone());
                }
                Change::Unset(name) => {
                    limits::check_name(name).map_err(StatusError::Bad)?;
                    variables.remove(name);
                }
            }
        }
        limits::check(&variables).map_err(StatusError::Bad)?;
        if variables != before {
            let file = File { counterfoil_status: VERSION, medium_id: self.medium.clone(), variables };
            let bytes = serde_json::to_vec_pretty(&file).expect("variables are texts, numbers and truth values");
            replace(&*self.io, &self.path(), &bytes, 0o644)?;
            return Ok(file.variables);
        }
        Ok(variables)
    }

    fn lock(&self) -> Result<Box<dyn Lock>> {
        no_links(&*self.io, &self.root, &self.below)?;
        let path = self.root.join(&self.below).join("status.lock");
        Ok(wait_for_lock(&*self.io, &path).map_err(IoFailure::at("write to", &path))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_written() {
        for (text, value) in [
            ("3", Variable::Number(3)),
            ("-7", Variable::Number(-7)),
            ("true", Variable::Truth(true)),
            ("false", Variable::Truth(false)),
            ("hard", Variable::Text("hard".into())),
            ("\"3\"", Variable::Text("3".into())),
            ("\"a\\nb\"", Variable::Text("a\nb".into())),
            ("", Variable::Text(String::new())),
            ("99999999999999999999", Variable::Text("99999999999999999999".into())),
            ("3.5", Variable::Text("3.5".into())),
            ("a=b", Variable::Text("a=b".into())),
        ] {
            assert_eq!(parse_value(text), value, "{text}");
            assert_eq!(write_value(&value), text, "{text}");
        }
        assert_eq!(parse_value(&write_value(&Variable::Text("\u{1b}[2J".into()))), Variable::Text("\u{1b}[2J".into()));
    }
}
