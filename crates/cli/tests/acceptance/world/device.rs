//! A person's device, and what its owner does on it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use counterfoil_core::Code;

use super::files::{files_below, write};
use super::outcome::{Outcome, outcome};

/// A person's device: where its state lies and what its hardware says.
#[derive(Clone)]
pub struct Device {
    pub home: PathBuf,
    pub root: PathBuf,
    pub library: PathBuf,
    pub url: String,
    pub ca: Option<PathBuf>,
    /// What its programs find in their environment besides.
    pub variables: Vec<(String, String)>,
}

impl Device {
    /// What the hardware says from now on.
    pub fn set_hardware(&self, device: &str, drive: &str) {
        write(&self.root.join("etc/counterfoil/device-id"), device.as_bytes());
        write(&self.root.join("etc/counterfoil/drive-id"), drive.as_bytes());
    }

    /// A command of the client on this device.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
        self.environment(&mut command);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// What makes a program run on this device.
    pub fn environment(&self, command: &mut Command) {
        for name in ["COUNTERFOIL_CARD", "COUNTERFOIL_TOKEN", "COUNTERFOIL_CA", "COUNTERFOIL_PIN", "SOFTHSM2_CONF"] {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if let Some(ca) = &self.ca {
            command.env("COUNTERFOIL_CA", ca);
        }
        command.env("COUNTERFOIL_HOME", &self.home).env("COUNTERFOIL_HARDWARE_ROOT", &self.root).env("COUNTERFOIL_SERVER", &self.url);
    }

    /// Runs it to its end.
    pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, arguments: I) -> Outcome {
        outcome(self.command(arguments))
    }

    /// Copies a medium into the library.
    pub fn copy(&self, medium: &Path) -> Outcome {
        self.run([OsStr::new("copy"), medium.as_os_str(), OsStr::new("--library"), self.library.as_os_str()])
    }

    /// Bytes of a file of a title, as played.
    pub fn play(&self, title: &str, path: &str) -> Outcome {
        self.run([OsStr::new("play"), OsStr::new(title), OsStr::new(path), OsStr::new("--library"), self.library.as_os_str()])
    }

    /// Every file of `tree` plays as it was published.
    pub fn plays_all(&self, title: &str, tree: &Path) {
        for path in files_below(tree) {
            let name = path.strip_prefix(tree).expect("below").to_str().expect("UTF-8");
            let played = self.play(title, name).done().output.stdout;
            assert!(played == fs::read(&path).expect("readable"), "{name} plays differently");
        }
    }

    /// The command is refused with `code`, in words for people and in JSON for programs.
    pub fn refuses<S: AsRef<OsStr> + Clone>(&self, arguments: &[S], code: Code) {
        self.run(arguments.iter().cloned()).refused(code);
        let json = self.run(arguments.iter().map(AsRef::as_ref).chain([OsStr::new("--json")]));
        assert_eq!(json.output.status.code(), Some(1), "{json}");
        assert_eq!(json.json()["error"]["code"], code.as_str(), "{json}");
    }
}
