//! What people type for people to read, checked in one way.

use crate::problem::{ApiCode, Problem};

/// Longest name, in characters.
const MAX_NAME: usize = 200;

/// A name is 1 to 200 characters of one line.
///
/// # Errors
/// `unprocessable`.
pub fn check_name(name: &str) -> Result<(), Problem> {
    if name.trim().is_empty() {
        return Err(Problem::with(ApiCode::Unprocessable, "the name is empty"));
    }
    check_text(name)
}

/// A text that may be empty: up to 200 characters of one line.
///
/// # Errors
/// `unprocessable`.
pub fn check_text(text: &str) -> Result<(), Problem> {
    // PostgreSQL keeps no NUL, and the rest of the control characters only confuse terminals.
    if text.chars().count() > MAX_NAME || text.chars().any(char::is_control) {
        return Err(Problem::with(ApiCode::Unprocessable, "a name or reason is at most 200 characters of one line"));
    }
    Ok(())
}
