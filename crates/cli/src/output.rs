//! What a command says: results on standard output, notes and errors on standard error, JSON where that was asked for.

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;
use serde_json::json;

use crate::failure::Failure;

/// How a command talks.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// One JSON document instead of words.
    pub json: bool,
    /// No notes and no progress.
    pub quiet: bool,
}

impl Output {
    /// The result: `words` for people, or `value` as JSON.
    ///
    /// # Errors
    /// Standard output cannot be written; silently so where its reader has gone.
    pub fn result(&self, value: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(value).expect("results are plain data with text keys")
        } else {
            shown(&words()).into_owned()
        };
        let mut stdout = io::stdout().lock();
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(end.as_bytes())).and_then(|()| stdout.flush()).map_err(unwritable)
    }

    /// Something that happened, of a command that goes on: a line of words, or of JSON.
    ///
    /// # Errors
    /// As [`result`](Self::result).
    pub fn event(&self, value: &impl Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string(value).expect("events are plain data with text keys")
        } else {
            shown(&words()).into_owned()
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush()).map_err(unwritable)
    }

    /// Something worth knowing on the way.
    pub fn note(&self, text: &str) {
        if !self.json && !self.quiet {
            // Nobody to tell that nobody listens.
            let _ = writeln!(io::stderr().lock(), "{}", shown(text));
        }
    }

    /// Whether there is somebody to ask.
    pub fn can_ask(&self) -> bool {
        !self.json && io::stdin().is_terminal()
    }

    /// Asks whether to go on, where there is somebody to ask; where there is not, the answer is no.
    ///
    /// # Errors
    /// The answer cannot be read.
    pub fn agreed(&self, question: &str) -> Result<bool, Failure> {
        if !self.can_ask() {
            return Ok(false);
        }
        eprint!("{} [y/N] ", shown(question));
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|error| Failure::operation("io", format!("cannot read the answer: {error}")))?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// `error:` the fact, `hint:` the remedy.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let document = json!({ "error": failure });
            let _ = writeln!(io::stdout().lock(), "{document:#}");
            return;
        }
        let mut stderr = io::stderr().lock();
        let _ = writeln!(stderr, "error: {}", shown(&failure.message));
        if let Some(hint) = &failure.hint {
            let _ = writeln!(stderr, "hint: {}", shown(hint));
        }
    }
}

/// Words as a terminal may be given them: much of them comes from servers, media and files, and none of that moves the cursor, writes over what
/// stands there, or turns the direction of what is read.
pub fn shown(text: &str) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let odd = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || turns(c);
    match text.contains(odd) {
        true => text.replace(odd, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// What a failed write to standard output means.
pub fn unwritable(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe => Failure::silent(),
        _ => Failure::operation("io", format!("cannot write the output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_written_does_nothing_to_the_terminal() {
        let plain = "Größe\t5\n日本語 🎮\n";
        assert_eq!(shown(plain), plain);
        for odd in
            ["\u{1b}[2K", "\r", "\u{7}", "\u{8}", "\u{7f}", "\u{9b}2K", "\u{85}", "\u{202e}", "\u{202a}", "\u{2066}", "\u{2069}", "\0"]
        {
            let said = format!("signature  valid{odd}signature");
            let shown = shown(&said);
            assert!(shown.starts_with("signature  valid\u{fffd}") && shown.ends_with("signature"), "{shown:?}");
            assert!(!shown.chars().any(|c| c.is_control()), "{shown:?}");
        }
    }
}
