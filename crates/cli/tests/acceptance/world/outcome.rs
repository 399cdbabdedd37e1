//! Commands that are run to their end, and how they ended.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use counterfoil_core::Code;
use serde_json::Value;

/// How a command ended.
pub struct Outcome {
    said: String,
    pub output: Output,
}

impl Outcome {
    #[track_caller]
    pub fn done(self) -> Self {
        assert!(self.output.status.success(), "{self}");
        self
    }

    /// Exit status 1, the words of the code, and what to do next.
    #[track_caller]
    pub fn refused(self, code: Code) -> Self {
        assert_eq!(self.output.status.code(), Some(1), "{self}");
        let words = self.stderr();
        assert!(words.contains(code.message()), "no {:?} in {self}", code.message());
        assert!(words.contains("\nhint: "), "no hint in {self}");
        self
    }

    /// Exit status and words on standard error.
    #[track_caller]
    pub fn failed(self, status: i32, words: &str) -> Self {
        assert_eq!(self.output.status.code(), Some(status), "{self}");
        assert!(self.stderr().contains(words), "no {words:?} in {self}");
        // Notes may stand before it.
        assert!(self.stderr().lines().any(|line| line.starts_with("error: ")), "{self}");
        self
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.output.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}\n--- stdout\n{:.4000}\n--- stderr\n{:.4000}", self.said, self.output.status, self.stdout(), self.stderr())
    }
}

/// Runs a command to its end.
pub fn outcome(mut command: Command) -> Outcome {
    let said = format!("{command:?}");
    Outcome { output: command.output().unwrap_or_else(|error| panic!("{said}: {error}")), said }
}

/// The same, for one that is told something on standard input.
pub fn outcome_of(command: &mut Command, told: &str) -> Outcome {
    let said = format!("{command:?}");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(told.as_bytes()).expect("told");
    Outcome { output: child.wait_with_output().expect("it ends"), said }
}
