//! The PIN of a card in a token or TPM: from a file, from the environment, or asked for on the terminal, where it is not shown.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use counterfoil_terminal::{AskPin, Pin, PinWanted, TokenError};
use zeroize::Zeroizing;

use crate::output::shown;

/// Longest file that is read, in bytes: a PIN is short.
const LONGEST: u64 = 1024;

/// Who is asked: the file named; or else `COUNTERFOIL_PIN`; or else whoever sits at the terminal, where there is one.
pub fn asker(file: Option<PathBuf>) -> AskPin {
    Box::new(move |wanted| match (&file, given()) {
        (Some(file), _) => from_file(file).map(Some),
        (None, Some(pin)) => Ok(Some(pin)),
        (None, None) => Ok(typed(wanted)),
    })
}

/// Whether a PIN is said without anybody being asked.
pub fn is_given(file: Option<&Path>) -> bool {
    file.is_some() || given().is_some()
}

fn given() -> Option<Pin> {
    std::env::var("COUNTERFOIL_PIN").ok().filter(|pin| !pin.is_empty()).map(Pin::new)
}

fn from_file(path: &Path) -> Result<Pin, TokenError> {
    let line = first_line(path).map_err(|reason| TokenError::PinFile { path: path.to_owned(), reason })?;
    Ok(Pin::new(String::clone(&line)))
}

/// The first line of a file that belongs to its owner alone, or what is wrong with it.
pub fn first_line(path: &Path) -> Result<Zeroizing<String>, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if metadata.mode() & 0o077 != 0 {
        return Err(format!("it can be read by others (mode {:04o})", metadata.mode() & 0o7777));
    }
    if metadata.len() > LONGEST {
        return Err("it is too long to hold a secret that somebody types".to_owned());
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|error| error.to_string())?);
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Zeroizing::new(line.to_owned())),
        _ => Err("its first line is empty".to_owned()),
    }
}

/// Typed at the terminal; `None` where there is none, or where two new ones are not the same three times.
fn typed(wanted: &PinWanted<'_>) -> Option<Pin> {
    let ask = |prompt: String| rpassword::prompt_password(prompt).ok().map(Zeroizing::new);
    if !wanted.new {
        return ask(format!("PIN of {}: ", shown(wanted.what))).map(|pin| Pin::new((*pin).clone()));
    }
    for _ in 0..3 {
        let (first, second) = (ask(format!("New PIN of {}: ", shown(wanted.what)))?, ask("The same again: ".to_owned())?);
        if first == second {
            return Some(Pin::new((*first).clone()));
        }
        eprintln!("They are not the same.");
    }
    None
}
