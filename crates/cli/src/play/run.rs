//! `play --run`: starts a program inside a private view of its title, and ends as it ends.

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use counterfoil_terminal::io::{create_dirs, is_running};
use counterfoil_terminal::status::{ProgramStatus, STATUS_FILE};
use counterfoil_terminal::{Library, Mounted, Permitted, Running, Terminal, Title, mount_private, save};
use rustix::process::{Pid, Signal, getuid, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use super::signals;
use crate::context::SECRETS;
use crate::failure::Failure;
use crate::output::{Output, shown};

/// Starts `path`, or the entry, with `arguments`.
pub fn run(
    output: Output,
    terminal: &Terminal,
    library: &Library,
    title: Arc<Title>,
    path: Option<&str>,
    arguments: &[OsString],
) -> Result<(), Failure> {
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
    let directory = private_directory()?;
    let license = title.permitted().map(|permitted| license_file(directory.path(), permitted)).transpose()?;
    let status_file = directory.path().join("status");
    let mut status = ProgramStatus::begin(terminal, library, &title.listed().title, &status_file)?;
    let running = Running::begin(terminal, library, &title);
    let mounted = mount_private(title.clone(), terminal)?;
    let mut command = without_secrets(Command::new(mounted.path().join(&program)));
    command.args(arguments).current_dir(mounted.path()).env_remove(LICENSE);
    command.env(TITLE, title.listed().title.as_str()).env(LIBRARY, library.path()).env(STATUS_FILE, &status_file);
    command.env(HOME, terminal.home().path());
    command.envs(license.map(|license| (LICENSE, license)));
    command.env_remove(SAVES).envs(save_directory(terminal, &title).map(|path| (SAVES, path)));
    let (status, unmounted) = match command.spawn() {
        Ok(child) => while_taking_in(&mut status, running.as_ref(), || wait(child, signals, |left| unmounted(output, mounted, left))),
        Err(error) => {
            (Err(Failure::operation("not_started", format!("cannot start {program}: {error}"))), mounted.unmount().map_err(Failure::from))
        }
    };
    drop(running);
    let status = status?;
    unmounted?;
    match exit_code(status) {
        0 => Ok(()),
        code => Err(Failure::status(code)),
    }
}

/// The title's program is its publisher's: what its user tells us is not for it.
fn without_secrets(mut command: Command) -> Command {
    for name in SECRETS {
        command.env_remove(name);
    }
    command
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
/// How long it is waited before it is tried again to unmount a view that is in use.
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// After how many tries it is said that there is something to wait for: a second.
const UNSAID: u32 = 5;

/// For what goes with the run: what the program notes, and its license.
fn private_directory() -> Result<tempfile::TempDir, Failure> {
    let among = std::env::temp_dir();
    sweep(&among);
    let made = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(among);
    made.map_err(|error| Failure::operation("io", format!("cannot make a directory for what the program notes: {error}")))
}

/// What such a directory is called, with the process that has made it.
const PREFIX: &str = "counterfoil-status-";

/// Removes this user's directories of runs that were killed.
fn sweep(among: &Path) {
    for item in fs::read_dir(among).into_iter().flatten().flatten() {
        let name = item.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok());
        let ours = || item.metadata().is_ok_and(|found| found.is_dir() && found.uid() == getuid().as_raw());
        if process.is_some_and(|process| !is_running(process)) && ours() {
            // What is left now is tried again the next time.
            let _ = fs::remove_dir_all(item.path());
        }
    }
}

/// Made for the program, which need not save anything; none where it cannot be made.
fn save_directory(terminal: &Terminal, title: &Title) -> Option<PathBuf> {
    let path = save::directory(terminal, &title.listed().title);
    create_dirs(&**terminal.io(), &path, 0o700).ok().map(|()| path)
}

/// Takes in what the program notes while it runs, and the rest when it has ended; and notes itself how long it runs.
fn while_taking_in<T>(status: &mut ProgramStatus<'_>, running: Option<&Running>, run: impl FnOnce() -> T) -> T {
    let (ended, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // What cannot be kept now may be later.
            while let Err(RecvTimeoutError::Timeout) = waiting.recv_timeout(EVERY) {
                let _ = status.take_in();
                running.into_iter().for_each(Running::look);
            }
            let rest = std::iter::repeat_with(|| status.take_in()).find(|taken| !matches!(taken, Ok(true)));
            if let Some(Err(error)) = rest {
                eprintln!("warning: what the program noted was not kept: {}", shown(&error.to_string()));
            }
            if let Some(why) = status.refused() {
                eprintln!("warning: the program noted something that is no status variable: {}", shown(why));
            }
        });
        let done = run();
        drop(ended);
        done
    })
}

/// The license that it was permitted by, as a file that goes with the run.
fn license_file(directory: &Path, permitted: &Permitted) -> Result<PathBuf, Failure> {
    let path = directory.join("license.jwt");
    let written = fs::write(&path, &permitted.token);
    written.map_err(|error| Failure::operation("io", format!("cannot write the license for the program: {error}")))?;
    Ok(path)
}

/// Waits for the program, and hands on to it what is sent to us; a signal that comes after its end, `then` is told.
fn wait<T>(mut child: Child, mut signals: Signals, then: impl FnOnce(&Receiver<()>) -> T) -> (Result<ExitStatus, Failure>, T) {
    let handle = signals.handle();
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // At a terminal an interrupt reaches the program by itself.
    let own_interrupt = std::io::stdin().is_terminal();
    let has_ended = AtomicBool::new(false);
    let (leave, left) = mpsc::channel();
    std::thread::scope(|scope| {
        let ended = &has_ended;
        scope.spawn(move || {
            for signal in signals.forever() {
                if ended.load(Ordering::SeqCst) {
                    // Nobody waits any more where it could not be sent.
                    let _ = leave.send(());
                } else if let (Some(pid), Some(number), false) = (pid, Signal::from_named_raw(signal), own_interrupt && signal == SIGINT) {
                    // It may have ended just now.
                    let _ = kill_process(pid, number);
                }
            }
        });
        let status = child.wait().map_err(|error| Failure::operation("io", format!("cannot wait for the program: {error}")));
        ended.store(true, Ordering::SeqCst);
        let then = then(&left);
        handle.close();
        (status, then)
    })
}

/// Unmounts the view when nothing uses it any more that the program has left behind, as a launcher does with what it has started; at once where
/// somebody has left.
fn unmounted(output: Output, mut view: Mounted, left: &Receiver<()>) -> Result<(), Failure> {
    let mut tries = 0;
    while !view.unmount_if_unused()? {
        tries += 1;
        if tries == UNSAID {
            output.note("What the entry has started is still running, and keeps its view; interrupt this command to wait no longer.");
        }
        if left.recv_timeout(BETWEEN_TRIES) != Err(RecvTimeoutError::Timeout) {
            view.leave();
            break;
        }
    }
    Ok(())
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
    fn d7_the_program_inherits_no_secret() {
        let mut command = Command::new("env");
        command.envs(SECRETS.map(|name| (name, "123456")));
        let said = without_secrets(command).output().expect("it runs");
        assert!(!String::from_utf8_lossy(&said.stdout).contains("123456"), "{said:?}");
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
        let (status, ()) = wait(child, signals, |_| ());
        sender.join().expect("sent");
        assert_eq!(status.expect("waited").code(), Some(9));
    }

    #[test]
    fn what_a_run_that_was_killed_has_left_is_removed_and_nothing_else() {
        let among = tempfile::tempdir().expect("a directory");
        let mut ended = Command::new("true").spawn().expect("it starts");
        ended.wait().expect("it ends");
        let path = |name: String| among.path().join(name);
        let left = path(format!("{PREFIX}{}-x", ended.id()));
        let kept = [path(format!("{PREFIX}{}-x", std::process::id())), path(format!("{PREFIX}x")), path(format!("other-{}-x", ended.id()))];
        for directory in kept.iter().chain([&left]) {
            fs::create_dir(directory).expect("made");
            fs::write(directory.join("status"), "chapter=1").expect("written");
        }
        let link = path(format!("{PREFIX}{}-y", ended.id()));
        std::os::unix::fs::symlink(&kept[0], &link).expect("made");
        sweep(among.path());
        assert!(!left.exists() && link.exists() && kept.iter().all(|directory| directory.join("status").exists()));
    }
}
