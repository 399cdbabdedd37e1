//! What goes wrong on demand.

use serde::Deserialize;

/// How a request fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It is cut off before anything is done.
    CutBefore,
    /// It is carried out, and cut off before the answer.
    CutAfter,
    /// Nothing is done, and no answer comes.
    HangBefore,
    /// It is carried out, and no answer comes.
    HangAfter,
    /// HTTP 500 before anything is done.
    Error500,
    /// HTTP 500 after it was carried out; the same key gets the same answer.
    Error500After,
    /// HTTP 429.
    RateLimited,
    /// HTTP 409, `idempotency_key_in_use`.
    InUse,
}

/// What happens to the next requests whose path contains `path`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Fault {
    /// How they fare.
    pub kind: Kind,
    /// Which.
    #[serde(default)]
    pub path: String,
    /// How many of them.
    #[serde(default = "once")]
    pub times: u32,
}

fn once() -> u32 {
    1
}

/// Takes the fault that meets a request, if one does.
pub(crate) fn meet(faults: &mut Vec<Fault>, request: &str) -> Option<Kind> {
    let at = faults.iter().position(|fault| request.contains(&fault.path) && fault.times > 0)?;
    let kind = faults[at].kind;
    faults[at].times -= 1;
    if faults[at].times == 0 {
        faults.remove(at);
    }
    Some(kind)
}
