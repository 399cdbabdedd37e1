//! Where the root key is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// `[root_key]`
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RootKeySection {
    /// File of mode 0600.
    pub file: PathBuf,
    /// The key itself; meant for `COUNTERFOILD__ROOT_KEY__KEY`, and goes before the file.
    #[serde(skip_serializing)]
    pub key: Option<Zeroizing<String>>,
}

impl Default for RootKeySection {
    fn default() -> Self {
        Self { file: "root.key".into(), key: None }
    }
}

impl std::fmt::Debug for RootKeySection {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootKeySection").field("file", &self.file).finish_non_exhaustive()
    }
}
