//! Seals or opens a container between standard input and output, for another implementation to compare itself with (scripts/interop):
//! `container seal|open KEY CONTEXT`, both in hexadecimal digits.

use std::io::{self, Write as _};
use std::process::ExitCode;

use counterfoil_format::container::{Container, Opening, Sealing};
use counterfoil_format::secret::{Secret, SystemRandom};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, key, context] = arguments.as_slice() else { return usage() };
    let (Some(key), Some(context)) = (unhex(key).as_deref().and_then(Secret::from_slice), unhex(context)) else { return usage() };
    let container = Container::raw(key, context);
    let done = match what.as_str() {
        "seal" => seal(&container),
        "open" => open(&container),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn seal(container: &Container) -> io::Result<()> {
    let mut sealing = Sealing::new(io::stdout().lock(), container, &mut SystemRandom)?;
    io::copy(&mut io::stdin().lock(), &mut sealing)?;
    sealing.finish()?.flush()
}

fn open(container: &Container) -> io::Result<()> {
    let mut opening = Opening::new(io::stdin().lock(), container)?;
    let mut out = io::stdout().lock();
    io::copy(&mut opening, &mut out)?;
    out.flush()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.is_ascii() && text.len().is_multiple_of(2);
    digits.then(|| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect())?
}

fn usage() -> ExitCode {
    eprintln!("usage: container seal|open KEY CONTEXT <INPUT >OUTPUT");
    ExitCode::from(2)
}
