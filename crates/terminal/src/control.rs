//! The control program of a title (D4): runs on installation and removal, in a sandbox made by bubblewrap.
//!
//! It sees the title and the system's programs, read-only; writes into one directory of its own, which stays with the device; has no
//! network, no capabilities and no way to new ones; and a limit on time and memory. Without bubblewrap it does not run.

use crate::error::Result;
use crate::io::create_dirs;
use crate::mount::mount_private;
use crate::play::Title;
use crate::terminal::Terminal;
use counterfoil_core::TitleId;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long it may take.
const LONGEST: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Address space of each of its processes, in bytes.
const MEMORY: u64 = 1 << 30;
/// Largest file that it may write, in bytes.
const LARGEST_FILE: u64 = 1 << 30;
/// How much of what it says is kept, in bytes.
const HEARD: u64 = 4096;

/// The system's own programs and libraries, as far as they are there.
const SYSTEM: [&str; 8] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives"];

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    Install,
    Uninstall,
}

impl Occasion {
    /// Its argument.
    pub fn word(self) -> &'static str {
        match self {
            Occasion::Install => "install",
            Occasion::Uninstall => "uninstall",
        }
    }
}

/// Why it did not come to a good end.
#[derive(Debug)]
pub(crate) enum Unwell {
    /// There is nothing to make a sandbox with.
    NoSandbox,
    /// What it ended with, and the last of what it said.
    Failed(String),
}

/// Where a title's control program may write.
pub(crate) fn data_directory(terminal: &Terminal, title: &TitleId) -> PathBuf {
    terminal.home().path().join("data").join(title.as_str())
}

/// Runs it, and waits for its end.
pub(crate) fn run(terminal: &Terminal, title: Arc<Title>, program: &str, occasion: Occasion) -> Result<std::result::Result<(), Unwell>> {
    let Some((limiter, sandbox)) = find("prlimit").zip(find("bwrap")) else { return Ok(Err(Unwell::NoSandbox)) };
    let data = data_directory(terminal, &title.listed().title);
    create_dirs(&**terminal.io(), &data, 0o700)?;
    let mounted = mount_private(title, terminal)?;
    let mut command = Command::new(limiter);
    command.args([format!("--as={MEMORY}"), format!("--cpu={}", LONGEST.as_secs()), format!("--fsize={LARGEST_FILE}")]);
    command.args(["--core=0", "--"]).arg(sandbox).args(walls(mounted.path(), &data));
    command.arg(Path::new("/title").join(program)).arg(occasion.word());
    let ended = command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let ended = match ended {
        Ok(child) => watch(child, LONGEST),
        Err(error) => Err(Unwell::Failed(format!("it cannot be started: {error}"))),
    };
    // Whatever came of the program, the view goes.
    mounted.unmount()?;
    Ok(ended)
}

/// What stands between the program and the rest of the computer.
fn walls(title: &Path, data: &Path) -> Vec<OsString> {
    // No process outlives this one, none reaches a terminal, and nothing of the home, of other users or of the network is there.
    let mut walls: Vec<OsString> = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"].map(Into::into).into();
    walls.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(Into::into));
    for path in SYSTEM {
        walls.extend(["--ro-bind-try", path, path].map(Into::into));
    }
    let bind = |how: &str, from: &Path, to: &str| [how.into(), from.as_os_str().to_owned(), to.into()];
    walls.extend(bind("--ro-bind", title, "/title"));
    walls.extend(bind("--bind", data, "/data"));
    for (name, value) in [("PATH", "/usr/bin:/bin"), ("HOME", "/data"), ("COUNTERFOIL_DATA", "/data"), ("COUNTERFOIL_TITLE", "/title")] {
        walls.extend(["--setenv", name, value].map(Into::into));
    }
    walls.extend(["--chdir", "/data", "--"].map(Into::into));
    walls
}

/// Waits for the end, and makes it where it takes too long.
fn watch(mut child: Child, longest: Duration) -> std::result::Result<(), Unwell> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (status, said) = std::thread::scope(|scope| {
        let out = stdout.map(|pipe| scope.spawn(move || hear(pipe)));
        let err = stderr.map(|pipe| scope.spawn(move || hear(pipe)));
        let mut waited = Duration::ZERO;
        let status = loop {
            match child.try_wait() {
                Ok(None) if waited < longest => {
                    std::thread::park_timeout(LOOK);
                    waited += LOOK;
                }
                Ok(None) => {
                    // With it go all that it started: they live in its process namespace. It may have ended just now.
                    let _ = child.kill();
                    let _ = child.wait();
                    break Err(format!("it took longer than {} s", longest.as_secs()));
                }
                Ok(Some(status)) if status.success() => break Ok(()),
                Ok(Some(status)) => break Err(status.to_string()),
                Err(error) => break Err(error.to_string()),
            }
        };
        let heard = |thread: Option<std::thread::ScopedJoinHandle<'_, String>>| thread.and_then(|thread| thread.join().ok());
        let said = heard(err).filter(|said| !said.is_empty()).or_else(|| heard(out));
        (status, said.unwrap_or_default())
    });
    status.map_err(|status| Unwell::Failed(if said.is_empty() { status } else { format!("{status}: {said}") }))
}

/// The last line of what is said, without what moves a cursor. All of it is read, so that nobody waits for a reader.
fn hear(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.by_ref().take(HEARD).read_to_end(&mut bytes);
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    let text = String::from_utf8_lossy(&bytes);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    last.chars().filter(|character| !character.is_control()).take(300).collect()
}

/// A program of the system: never one that lies in a directory of the user's, or the current one.
fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"].map(|directory| Path::new(directory).join(name)).into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell")
    }

    #[test]
    fn what_it_says_last_is_told_and_moves_no_cursor() {
        assert!(watch(shell("echo well"), LONGEST).is_ok());
        let Err(Unwell::Failed(said)) = watch(shell("echo first >&2; printf '\\033[2Jno room\\n' >&2; exit 3"), LONGEST) else { panic!() };
        assert!(said.contains("3") && said.ends_with("[2Jno room"), "{said:?}");
        // More than a pipe holds does not stop it.
        assert!(watch(shell("head -c 1000000 /dev/zero"), LONGEST).is_ok());
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let Err(Unwell::Failed(said)) = watch(shell("exec tail -f /dev/null"), Duration::from_millis(40)) else { panic!() };
        assert!(said.contains("longer"), "{said}");
    }
}
