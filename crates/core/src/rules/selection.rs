//! What a status selects (A6, A10): which variables one may carry, and whether a supplement that a rule names becomes the user's.

use crate::time::Timestamp;
use crate::wire::{Variable, Variables};

/// Variables of one title.
pub const MOST_VARIABLES: usize = 256;
/// Longest name of one, in bytes.
pub const MOST_NAME: usize = 64;
/// Longest text of one, in bytes.
pub const MOST_TEXT: usize = 1024;

/// Longest that names and values of one title are together, as JSON: they travel in a report, sealed, with what is said of other titles.
pub const MOST_TOGETHER: usize = 8 * 1024;

/// Whether these can be the variables of a title.
///
/// # Errors
/// Which one is wrong, and why.
pub fn check(variables: &Variables) -> Result<(), String> {
    if variables.len() > MOST_VARIABLES {
        return Err(format!("{} variables; {MOST_VARIABLES} are the most", variables.len()));
    }
    variables.iter().try_for_each(|(name, value)| check_one(name, value))?;
    let together = serde_json::to_string(variables).map_or(0, |text| text.len());
    match together {
        0..=MOST_TOGETHER => Ok(()),
        _ => Err(format!("they have {together} bytes together; {MOST_TOGETHER} are the most")),
    }
}

/// Whether a variable may have this name and value.
///
/// # Errors
/// What is wrong with it.
pub fn check_one(name: &str, value: &Variable) -> Result<(), String> {
    check_name(name)?;
    match value {
        Variable::Text(text) if text.len() > MOST_TEXT => {
            Err(format!("`{name}`: its text has {} bytes; {MOST_TEXT} are the most", text.len()))
        }
        _ => Ok(()),
    }
}

/// Whether a variable may have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-');
    match (1..=MOST_NAME).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(()),
        false => {
            let shown: String = name.chars().take(MOST_NAME + 1).collect();
            Err(format!("`{}`: a name is 1 to {MOST_NAME} of a-z, 0-9 and `_.-`", shown.escape_default()))
        }
    }
}

/// Who already has the supplement, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// Nobody gave it to the user yet.
    Nothing,
    /// It was selected for this user before, and waits to be installed at the device that reports.
    Waiting,
    /// It was selected before, and is installed, moved, or was taken back.
    Selected,
    /// The user bought it, or copied it from a medium.
    Otherwise,
}

/// What is known when a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the supplement has a release that is offered.
    pub offered: bool,
    /// Whether the user has it.
    pub has: Has,
    /// When the right to the title ends whose status selects, if it does.
    pub until: Option<Timestamp>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The user gets it, for as long as the title that it belongs to.
    Grant {
        /// When it ends.
        expires_at: Option<Timestamp>,
    },
    /// The user has it, and is told of it again: it is not installed yet.
    Tell,
    /// Nothing.
    Nothing,
}

/// Decides on a supplement whose rule holds. What is selected is given once: whoever had it taken back does not get it by reporting again.
pub fn decide(facts: &Facts, now: Timestamp) -> Decision {
    match facts.has {
        _ if !facts.offered || facts.until.is_some_and(|end| end <= now) => Decision::Nothing,
        Has::Nothing => Decision::Grant { expires_at: facts.until },
        Has::Waiting => Decision::Tell,
        Has::Selected | Has::Otherwise => Decision::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);
    const FACTS: Facts = Facts { offered: true, has: Has::Nothing, until: None };

    /// proves: A6, A10
    #[test]
    fn what_is_selected_is_given_once() {
        assert_eq!(decide(&FACTS, NOW), Decision::Grant { expires_at: None });
        assert_eq!(decide(&Facts { has: Has::Waiting, ..FACTS }, NOW), Decision::Tell);
        assert_eq!(decide(&Facts { has: Has::Selected, ..FACTS }, NOW), Decision::Nothing);
        assert_eq!(decide(&Facts { has: Has::Otherwise, ..FACTS }, NOW), Decision::Nothing);
    }

    #[test]
    fn nothing_is_given_that_cannot_be_installed() {
        assert_eq!(decide(&Facts { offered: false, ..FACTS }, NOW), Decision::Nothing);
        assert_eq!(decide(&Facts { offered: false, has: Has::Waiting, ..FACTS }, NOW), Decision::Nothing);
    }

    #[test]
    fn a_supplement_lasts_as_long_as_what_it_belongs_to() {
        let until = Some(Timestamp(1_001));
        assert_eq!(decide(&Facts { until, ..FACTS }, NOW), Decision::Grant { expires_at: until });
        assert_eq!(decide(&Facts { until: Some(NOW), ..FACTS }, NOW), Decision::Nothing);
    }

    #[test]
    fn variables_have_names_and_limits() {
        let with = |name: &str, value: Variable| check(&Variables::from([(name.to_owned(), value)]));
        for good in ["chapter", "a", "0", "best.time_3-x", &"n".repeat(64)] {
            assert_eq!(with(good, Variable::Number(3)), Ok(()), "{good}");
        }
        for bad in ["", "Chapter", "chapter 3", "kapitel/3", "ä", "a\n", &"n".repeat(65)] {
            assert!(with(bad, Variable::Number(3)).is_err(), "{bad}");
        }
        assert_eq!(with("a", Variable::Text("x".repeat(1024))), Ok(()));
        assert!(with("a", Variable::Text("x".repeat(1025))).expect_err("too long").contains("`a`"));
        let many = |count: usize| check(&(0..count).map(|n| (n.to_string(), Variable::Truth(true))).collect());
        assert_eq!(many(256), Ok(()));
        assert!(many(257).is_err());
        let long = |count: usize| check(&(0..count).map(|n| (n.to_string(), Variable::Text("x".repeat(1000)))).collect());
        assert_eq!(long(8), Ok(()));
        assert!(long(9).expect_err("too long together").contains("8192 are the most"));
        let escaped = Variables::from([("a".to_owned(), Variable::Text("\u{1}".repeat(1024)))]);
        assert_eq!(check(&escaped), Ok(()), "a text may be as long as it may be, whatever is in it");
    }
}
