//! When a title's control program runs: once, after its installation, and before its removal, if license and user allow it (D4).

use super::InstallOptions;
use crate::card::CardChoice;
use crate::control::{self, Occasion, Unwell};
use crate::error::Result;
use crate::fill::Step;
use crate::home::Authority;
use crate::io::{read_small, replace};
use crate::library::{Copy, Library};
use crate::license::{LicenseFile, verify_by};
use crate::play::open_title;
use crate::terminal::Terminal;
use counterfoil_core::{Timestamp, TitleId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What came of a title's control program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The release has none.
    None,
    /// The license does not allow it.
    NotAllowed,
    /// The user did not want it.
    LeftOut,
    /// It ran, now or before, and did what it had to.
    Ran,
    /// There is nothing to make a sandbox with, so it did not run.
    NoSandbox,
    /// It ran, and failed; as it said.
    Failed(String),
}

/// `control.json`, beside the copy.
#[derive(Serialize, Deserialize)]
struct Record {
    installed_at: Timestamp,
}

/// After an installation. Whatever comes of it, the title stays installed.
pub(super) fn on_installation(
    terminal: &Terminal,
    library: &Library,
    title: &TitleId,
    license: &LicenseFile,
    authority: &Authority,
    options: &InstallOptions,
    progress: &(dyn Fn(Step) + Sync),
) -> Control {
    let run = || -> Result<Control> {
        let copy = library.complete(title)?;
        let path = copy.directory.join("control.json");
        let control = match wanted(terminal, library, title, &options.card, license, authority, !options.no_control)? {
            Ok(program) if read_small(&*copy.io, &path, 4096)?.is_none() => {
                progress(Step::Control);
                go(terminal, program, Occasion::Install)?
            }
            Ok(_) => Control::Ran,
            Err(control) => control,
        };
        if control == Control::Ran {
            note(&copy, terminal.clock().now())?;
        }
        Ok(control)
    };
    run().unwrap_or_else(|error| Control::Failed(error.to_string()))
}

/// Before a removal, where it has run on installation. Whatever comes of it, the title may be removed.
pub fn uninstall_control(terminal: &Terminal, library: &Library, title: &TitleId, card: &CardChoice) -> Control {
    let run = || -> Result<Control> {
        let copy = library.complete(title)?;
        let has_run = read_small(&*copy.io, &copy.directory.join("control.json"), 4096)?.is_some();
        let Some((license, authority)) = copy.license()?.zip(terminal.authority()?).filter(|_| has_run) else { return Ok(Control::None) };
        match wanted(terminal, library, title, card, &license, &authority, true)? {
            Ok(program) => go(terminal, program, Occasion::Uninstall),
            Err(control) => Ok(control),
        }
    };
    run().unwrap_or_else(|error| Control::Failed(error.to_string()))
}

/// A title and the path of its control program.
type Program = (Arc<crate::play::Title>, String);

/// The program, where release, license and user all want it to run; else why not.
fn wanted(
    terminal: &Terminal,
    library: &Library,
    title: &TitleId,
    card: &CardChoice,
    license: &LicenseFile,
    authority: &Authority,
    by_user: bool,
) -> Result<std::result::Result<Program, Control>> {
    let opened = open_title(terminal, library, title, card)?;
    let Some(program) = opened.control().map(str::to_owned) else { return Ok(Err(Control::None)) };
    if !verify_by(&license.license, authority)?.control_program {
        return Ok(Err(Control::NotAllowed));
    }
    Ok(if by_user { Ok((Arc::new(opened), program)) } else { Err(Control::LeftOut) })
}

fn go(terminal: &Terminal, (title, program): Program, occasion: Occasion) -> Result<Control> {
    Ok(match control::run(terminal, title, &program, occasion)? {
        Ok(()) => Control::Ran,
        Err(Unwell::NoSandbox) => Control::NoSandbox,
        Err(Unwell::Failed(reason)) => Control::Failed(reason),
    })
}

fn note(copy: &Copy, installed_at: Timestamp) -> Result<()> {
    let bytes = serde_json::to_vec(&Record { installed_at }).expect("a number");
    Ok(replace(&*copy.io, &copy.directory.join("control.json"), &bytes, 0o644)?)
}
