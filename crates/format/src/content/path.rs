//! Which names a tree may hold, so that it can be opened again on every platform and never outside itself.
//!
//! The same rules run when a tree is published and when a manifest is parsed: a manifest is not trusted for being signed.

use std::fmt;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::codec::limits::{COMPONENT_BYTES, DEPTH, PATH_BYTES};

/// A path that is refused, and by which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` {rule}")]
pub struct PathError {
    /// The path as it was found, with what is not printable escaped.
    pub path: String,
    /// The rule that it breaks.
    pub rule: PathRule,
}

impl PathError {
    pub(super) fn new(path: &str, rule: PathRule) -> Self {
        // A hostile name must not reach a terminal as control sequences.
        let path = path.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect();
        Self { path, rule }
    }
}

/// The rules for paths and links (SPEC.md §3.3).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathRule {
    /// Nothing between two slashes, or nothing at all.
    Empty,
    /// Begins with a slash.
    Absolute,
    /// Contains `.` or `..`.
    Dots,
    /// Longer than 4096 bytes, or a component longer than 255, or more than 256 components.
    TooLong,
    /// Contains one of `<>:"|?*\` or a control character.
    Character(char),
    /// A device name on Windows, such as `CON` or `com1.txt`.
    Reserved,
    /// A component that ends in a dot or a space, which Windows drops.
    TrailingDotOrSpace,
    /// Not UTF-8.
    NotUnicode,
    /// The same name as another in its directory, when case and Unicode form are disregarded.
    SameName(String),
    /// Its directory is not listed before it, or is not a directory.
    NoDirectory,
    /// Listed twice, or not in the order of trees.
    Order,
    /// A link that is empty, absolute, or has a target that cannot be a path.
    LinkTarget,
    /// A link that leads out of the tree.
    LinkLeaves,
    /// A link that goes through more than 40 others.
    LinkLoop,
    /// A device file, FIFO or socket.
    Special,
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("has an empty component"),
            Self::Absolute => f.write_str("is absolute"),
            Self::Dots => f.write_str("contains `.` or `..`"),
            Self::TooLong => write!(f, "is too long: at most {PATH_BYTES} bytes in {DEPTH} components of at most {COMPONENT_BYTES} bytes"),
            Self::Character(c) => write!(f, "contains {c:?}, which not every system allows in a name"),
            Self::Reserved => f.write_str("is the name of a device on Windows"),
            Self::TrailingDotOrSpace => f.write_str("has a component that ends in a dot or a space"),
            Self::NotUnicode => f.write_str("is not UTF-8"),
            Self::SameName(other) => {
                write!(f, "is the same name as `{other}` where case or Unicode form do not count")
            }
            Self::NoDirectory => f.write_str("is not preceded by its directory"),
            Self::Order => f.write_str("is listed twice or out of order"),
            Self::LinkTarget => f.write_str("is a link whose target is not a relative path"),
            Self::LinkLeaves => f.write_str("is a link that leads out of the tree"),
            Self::LinkLoop => f.write_str("is a link through too many links"),
            Self::Special => f.write_str("is a device file, FIFO or socket"),
        }
    }
}

/// Checks a relative path with `/` between its components, of which none may be `.` or `..`.
pub fn check_path(path: &str) -> Result<(), PathError> {
    let refuse = |rule| Err(PathError::new(path, rule));
    if path.len() > PATH_BYTES || path.bytes().filter(|&b| b == b'/').count() >= DEPTH {
        return refuse(PathRule::TooLong);
    }
    if path.starts_with('/') {
        return refuse(PathRule::Absolute);
    }
    path.split('/').try_for_each(check_component).map_err(|rule| PathError::new(path, rule))
}

fn check_component(name: &str) -> Result<(), PathRule> {
    match name {
        "" => return Err(PathRule::Empty),
        "." | ".." => return Err(PathRule::Dots),
        _ => {}
    }
    if name.len() > COMPONENT_BYTES {
        return Err(PathRule::TooLong);
    }
    if let Some(c) = name.chars().find(|&c| c.is_control() || "<>:\"|?*\\".contains(c)) {
        return Err(PathRule::Character(c));
    }
    if name.ends_with(['.', ' ']) {
        return Err(PathRule::TrailingDotOrSpace);
    }
    if is_reserved(name) {
        return Err(PathRule::Reserved);
    }
    Ok(())
}

/// Windows resolves these to devices in any directory, with any extension, and with spaces before it.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    let is = |device: &str| stem.eq_ignore_ascii_case(device);
    if ["con", "prn", "aux", "nul", "conin$", "conout$"].into_iter().any(is) {
        return true;
    }
    // COM and LPT with a digit, of which the superscripts ¹²³ count as digits.
    let mut chars = stem.chars();
    let port: String = chars.by_ref().take(3).collect();
    (port.eq_ignore_ascii_case("com") || port.eq_ignore_ascii_case("lpt"))
        && matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³'))
        && chars.next().is_none()
}

/// A name with case and Unicode form taken out: two names of one directory must not fold to the same.
pub fn fold_name(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Upper case first, so that letters with several lower-case forms (ß and ss, σ and ς) meet.
    let folded: String = name.nfc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect();
    if is_nfc(&folded) { folded } else { folded.nfc().collect() }
}

/// Checks that a link at `path` stays inside the tree. `link_at` gives the target of the link at a path, if one is there.
///
/// The target is followed as a file system would, through links in its middle, because `..` after a link does not lead back
/// to where the link is written.
pub fn check_link<'a>(path: &str, target: &str, link_at: impl Fn(&str) -> Option<&'a str>) -> Result<(), PathError> {
    let refuse = |rule| Err(PathError::new(path, rule));
    let mut here: Vec<&str> = path.split('/').collect();
    here.pop();
    // Components still to go, last first.
    let mut left = match components(target) {
        Some(components) => components,
        None => return refuse(PathRule::LinkTarget),
    };
    let mut links_followed = 0;
    while let Some(component) = left.pop() {
        match component {
            "" | "." => {}
            ".." => {
                if here.pop().is_none() {
                    return refuse(PathRule::LinkLeaves);
                }
            }
            name => {
                here.push(name);
                if here.len() > DEPTH {
                    return refuse(PathRule::TooLong);
                }
                // The last component need not be followed: a link there is checked for itself.
                if left.is_empty() {
                    break;
                }
                if let Some(target) = link_at(&here.join("/")) {
                    links_followed += 1;
                    if links_followed > 40 {
                        return refuse(PathRule::LinkLoop);
                    }
                    here.pop();
                    match components(target) {
                        Some(more) => left.extend(more),
                        None => return refuse(PathRule::LinkTarget),
                    }
                }
            }
        }
    }
    Ok(())
}

/// The components of a link's target, last first; `None` for a target that no link may have.
fn components(target: &str) -> Option<Vec<&str>> {
    if target.is_empty() || target.len() > PATH_BYTES || target.starts_with('/') {
        return None;
    }
    let good = |name: &str| matches!(name, "" | "." | "..") || check_component(name).is_ok();
    target.split('/').all(good).then(|| target.rsplit('/').collect())
}
