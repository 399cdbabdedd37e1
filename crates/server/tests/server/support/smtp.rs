//! A mail server that keeps what it is given.

use std::path::PathBuf;
use std::process::Command;

/// aiosmtpd, until it is dropped.
pub struct MailServer {
    directory: tempfile::TempDir,
    pub port: u16,
}

impl MailServer {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let started = Command::new(script()).arg("start").arg(directory.path()).output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let line = String::from_utf8(started.stdout).unwrap();
        Self { port: line.split(' ').next().unwrap().parse().unwrap(), directory }
    }

    /// What has arrived, as text with its lines whole.
    pub fn mails(&self) -> Vec<String> {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(self.directory.path().join("mail/new")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap().replace("=\n", "").replace("=3D", "=")).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = Command::new(script()).arg("stop").arg(self.directory.path()).status();
    }
}

fn script() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/smtp"))
}
