//! What people type for people to read, checked in one way.

use crate::problem::{ApiCode, Problem};

/// Longest name, in characters.
const MAX_NAME: usize = 200;
/// Longest address, in bytes.
const MAX_URL: usize = 200;

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

/// An address that paths are added to: `http` or `https`, without query, password and slash at the end.
///
/// # Errors
/// `unprocessable`.
pub fn check_url(url: &str) -> Result<String, Problem> {
    let url = url.trim().trim_end_matches('/');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@']) && rest.bytes().all(|b| b.is_ascii_graphic()));
    if !good || url.len() > MAX_URL {
        return Err(Problem::with(ApiCode::Unprocessable, "`url` begins with https:// or http:// and has neither query nor password"));
    }
    Ok(url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_such() {
        assert_eq!(check_url("https://contents.example/a/").expect("good"), "https://contents.example/a");
        assert_eq!(check_url("http://[::1]:7000").expect("good"), "http://[::1]:7000");
        for bad in
            ["", "contents.example", "ftp://x", "https://", "https://a b", "https://u:p@x", "https://x?y", "https://x#y", "file:///etc"]
        {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        assert!(check_url(&format!("https://{}", "x".repeat(300))).is_err());
    }
}
