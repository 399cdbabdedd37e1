//! Lines that cannot be imported, and the refusal that names them.

use serde::Serialize;

use crate::failure::Failure;
use crate::units;

/// Bad lines that are named one by one.
const NAMED: usize = 20;

/// A line with what is wrong with it.
#[derive(Clone, Debug, Serialize)]
struct Wrong {
    line: u64,
    column: Option<String>,
    reason: String,
}

/// Lines with what is wrong: the first few, and how many there are.
#[derive(Default)]
pub(super) struct Wrongs {
    first: Vec<Wrong>,
    pub(super) count: u64,
}

impl Wrongs {
    pub(super) fn add(&mut self, line: u64, column: Option<String>, reason: String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(Wrong { line, column, reason });
        }
    }

    pub(super) fn refuse(&self, code: &str, what: &str) -> Failure {
        let mut fact = format!("{} wrong, and {what}:", units::count(self.count, "line is", "lines are"));
        for Wrong { line, column, reason } in &self.first {
            let column = column.as_ref().map(|column| format!(", column {column}")).unwrap_or_default();
            fact += &format!("\n  line {line}{column}: {reason}");
        }
        if self.count > NAMED as u64 {
            fact += &format!("\n  and {} more", self.count - NAMED as u64);
        }
        Failure::refused(code, fact).hint("Correct them and repeat the command: what is there already stays as it is.")
    }
}
