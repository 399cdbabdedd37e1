//! `play --run`: starts a program inside a private view of its title, and ends as it ends.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use counterfoil_terminal::io::create_dirs;
use counterfoil_terminal::status::{ProgramStatus, STATUS_FILE};
use counterfoil_terminal::{Library, Permitted, Terminal, Title, mount_private, note_run, save};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use super::signals;
use crate::failure::Failure;

/// Starts `path`, or the entry, with `arguments`.
pub fn run(terminal: &Terminal, library: &Library, title: Arc<Title>, path: Option<&str>, arguments: &[OsString]) -> Result<(), Failure> {
    let program = match path.or_else(|| title.entry_point()) {
        Some(program) => program.to_owned(),
        None => {
            let fact = format!("{} names no entry to start", title.listed().title);
            return Err(Failure::refused("no_entry", fact).hint("Say which file: `counterfoil play TITLE PATH --run`."));
        }
    };
    if !title.file(&program)?.executable() {
        return Err(Failure::refused("not_executable", format!("{program} is not a program"))
            .hint("Play it to standard output, with `--serve`, or from a view with `--mount`."));
    }
    let signals = signals()?;
    let license = title.permitted().map(license_file).transpose()?;
    let directory = private_directory()?;
    let status_file = directory.path().join("status");
    let mut status = ProgramStatus::begin(terminal, library, &title.listed().title, &status_file)?;
    let begun = terminal.clock().now();
    let mounted = mount_private(title.clone(), terminal)?;
    let mut command = Command::new(mounted.path().join(&program));
    command.args(arguments).current_dir(mounted.path()).env_remove(LICENSE);
    command.env(TITLE, title.listed().title.as_str()).env(LIBRARY, library.path()).env(STATUS_FILE, &status_file);
    command.env(HOME, terminal.home().path());
    command.envs(license.as_ref().map(|license| (LICENSE, license.path())));
    command.env_remove(SAVES).envs(save_directory(terminal, &title).map(|path| (SAVES, path)));
    let status = match command.spawn() {
        Ok(child) => while_taking_in(&mut status, || wait(child, signals)),
        Err(error) => Err(Failure::operation("not_started", format!("cannot start {program}: {error}"))),
    };
    // Whatever came of the program, the view goes.
    let unmounted = mounted.unmount();
    if let Some(permitted) = title.permitted() {
        // Of a library that cannot be written, nothing is noted.
        let _ = note_run(library, &title.listed().title, permitted, terminal.clock().now().0 - begun.0);
    }
    let status = status?;
    unmounted?;
    match exit_code(status) {
        0 => Ok(()),
        code => Err(Failure::status(code)),
    }
}

/// Where the program finds its license.
const LICENSE: &str = "COUNTERFOIL_LICENSE";
/// What it is and where its library lies, for itself and for `counterfoil status` inside of it.
const TITLE: &str = "COUNTERFOIL_TITLE";
const LIBRARY: &str = "COUNTERFOIL_LIBRARY";
/// The home that has opened it, for a program that checks its license itself.
const HOME: &str = "COUNTERFOIL_HOME";
/// Where it may save: what `counterfoil save push TITLE` hands in.
const SAVES: &str = "COUNTERFOIL_SAVE_DIR";
/// How often it is looked whether the program has noted something.
const EVERY: Duration = Duration::from_secs(1);

fn private_directory() -> Result<tempfile::TempDir, Failure> {
    let made = tempfile::Builder::new().prefix("counterfoil-status-").tempdir();
    made.map_err(|error| Failure::operation("io", format!("cannot make a directory for what the program notes: {error}")))
}

/// Made for the program, which need not save anything; none where it cannot be made.
fn save_directory(terminal: &Terminal, title: &Title) -> Option<PathBuf> {
    let path = save::directory(terminal, &title.listed().title);
    create_dirs(&**terminal.io(), &path, 0o700).ok().map(|()| path)
}

/// Takes in what the program notes while it runs, and the rest when it has ended.
fn while_taking_in<T>(status: &mut ProgramStatus<'_>, run: impl FnOnce() -> T) -> T {
    let (ended, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // What cannot be kept now may be later.
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(EVERY) {
                let _ = status.take_in();
            }
            let rest = std::iter::repeat_with(|| status.take_in()).find(|taken| !matches!(taken, Ok(true)));
            if let Some(Err(error)) = rest {
                eprintln!("warning: what the program noted was not kept: {error}");
            }
            if let Some(why) = status.refused() {
                eprintln!("warning: the program noted something that is no status variable: {why}");
            }
        });
        let done = run();
        drop(ended);
        done
    })
}

/// The license that it was permitted by, as a file that goes with the run.
fn license_file(permitted: &Permitted) -> Result<tempfile::NamedTempFile, Failure> {
    let cannot = |error: std::io::Error| Failure::operation("io", format!("cannot write the license for the program: {error}"));
    let file = tempfile::Builder::new().prefix("counterfoil-license-").suffix(".jwt").tempfile().map_err(cannot)?;
    std::fs::write(file.path(), &permitted.token).map_err(cannot)?;
    Ok(file)
}

/// Waits for the program, and hands on to it what is sent to us.
fn wait(mut child: Child, mut signals: Signals) -> Result<ExitStatus, Failure> {
    let handle = signals.handle();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // At a terminal an interrupt reaches the program by itself.
    let own_interrupt = std::io::stdin().is_terminal();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for signal in signals.forever() {
                if let (Some(pid), Some(number), false) = (pid, Signal::from_named_raw(signal), own_interrupt && signal == SIGINT) {
                    // It may have ended just now.
                    let _ = kill_process(pid, number);
                }
            }
        });
        let status = child.wait();
        handle.close();
        status.map_err(|error| Failure::operation("io", format!("cannot wait for the program: {error}")))
    })
}

/// As shells have it: 128 and the signal where one ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_from_128() {
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
    }

    #[test]
    fn signals_are_handed_on_to_the_program() {
        // The shell ends by itself only if nobody interrupts it, and says so by another status.
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap 'exit 9' TERM; echo; while :; do sleep 0.05; done"]).stdout(std::process::Stdio::piped());
        let mut child = shell.spawn().expect("a shell");
        let mut ready = [0];
        std::io::Read::read_exact(&mut child.stdout.take().expect("piped"), &mut ready).expect("the trap is set");
        let signals = signals().expect("signals");
        let own = Pid::from_raw(i32::try_from(std::process::id()).expect("a pid")).expect("not zero");
        let sender = std::thread::spawn(move || kill_process(own, Signal::TERM).expect("to ourselves"));
        let status = wait(child, signals).expect("waited");
        sender.join().expect("sent");
        assert_eq!(status.code(), Some(9));
    }
}
