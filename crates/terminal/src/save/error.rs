//! Why a save was not handed in or taken.

use super::Slot;
use counterfoil_core::Code;
use counterfoil_core::wire::UploadedVersion;
use counterfoil_format::content::PathError;
use std::path::PathBuf;

/// Why not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// Another device has handed in a version since. Nothing is put over it.
    #[error("{0}")]
    Conflict(Box<Conflict>),
    /// What lies here was changed, and would be lost.
    #[error("{} was changed here and not pushed", .0.display())]
    LocalChanges(PathBuf),
    /// There is no such version, or none at all.
    #[error("there is no {} `{slot}`", version.map_or_else(|| "version in the slot".to_owned(), |version| format!("version {version} in the slot")))]
    NoVersion {
        /// Which slot.
        slot: Slot,
        /// Which version; the newest where nothing is said.
        version: Option<u32>,
    },
    /// Nothing is there.
    #[error("there is nothing at {}", .0.display())]
    Nothing(PathBuf),
    /// A name that not every system can hold, or a link, or no file at all.
    #[error("{} cannot be saved: {reason}", path.display())]
    NotSavable {
        /// What.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Somebody has written to it at the same time.
    #[error("{} was changed while it was read", .0.display())]
    Busy(PathBuf),
    /// It is not what was handed in, or not under the user's key.
    #[error("version {version} of `{slot}` cannot be opened: {reason}")]
    NotAuthentic {
        /// Which slot.
        slot: Slot,
        /// Which version.
        version: u32,
        /// What is wrong.
        reason: String,
    },
    /// All bytes were handed in, and the authority does not list the version.
    #[error("the authority has all of it, and does not list it yet")]
    NotListed,
}

impl SaveError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            SaveError::Conflict(_) => "save_conflict",
            SaveError::LocalChanges(_) => "local_changes",
            SaveError::NoVersion { .. } => "no_version",
            SaveError::Nothing(_) => "not_found",
            SaveError::NotSavable { .. } => "not_savable",
            SaveError::Busy(_) => "busy",
            SaveError::NotAuthentic { .. } => "save_not_authentic",
            SaveError::NotListed => "not_listed",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> &'static str {
        match self {
            SaveError::Conflict(_) => {
                "`counterfoil save pull --over` takes the other one; `counterfoil save push --over` puts yours above it. All versions are kept: `counterfoil save list`."
            }
            SaveError::LocalChanges(_) => "Push it first: `counterfoil save push`. To lose what lies here: `--over`.",
            SaveError::NoVersion { .. } => "`counterfoil save list` shows what there is.",
            SaveError::Nothing(_) => {
                "Name the file or directory: `counterfoil save push TITLE PATH`. `counterfoil save pull` brings what was saved on another device."
            }
            SaveError::NotSavable { .. } => "Move it away or rename it. Saves hold files and directories, no links.",
            SaveError::Busy(_) => "Leave the program that writes to it, and repeat the command.",
            SaveError::NotAuthentic { .. } => {
                "Take another version: `counterfoil save list`. If it stays so, tell the operator of the authority."
            }
            SaveError::NotListed => "Repeat the command in a moment; it goes on where it was.",
        }
    }

    /// Whether it is a "no", and not something that failed.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, SaveError::Busy(_) | SaveError::NotListed | SaveError::Nothing(_))
    }
}

/// Two versions that follow the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Where.
    pub slot: Slot,
    /// What another device has handed in.
    pub newest: UploadedVersion,
    /// The version that what lies here follows; 0 for none.
    pub follows: u32,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { slot, newest, follows } = self;
        let by = newest.device.clone().unwrap_or_else(|| newest.device_id.to_string());
        let code = Code::SaveConflict.message();
        write!(f, "{code}: slot `{slot}` has version {} by {}, and what lies here ", newest.version, by.escape_debug())?;
        if *follows == 0 { f.write_str("follows none") } else { write!(f, "follows version {follows}") }
    }
}

/// A path that not every system can hold.
pub(super) fn not_savable(path: PathBuf, error: &PathError) -> SaveError {
    SaveError::NotSavable { path, reason: error.rule.to_string() }
}
