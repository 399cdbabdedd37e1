//! A part of a core for a process, by a control group of the kernel: so that the server's CPU is the limit, whoever else computes here.

use crate::authority::Failure;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The group; removed when dropped, and its process goes back to where it came from.
pub struct Quota {
    group: PathBuf,
    pid: u32,
}

/// In microseconds: short, so that a process that used its part up does not wait long.
const PERIOD: u64 = 10_000;

impl Quota {
    /// Puts a process into a group of its own that gets `part` of one core.
    ///
    /// # Errors
    /// Where there is no such controller, or it may not be written to.
    pub fn new(pid: u32, part: f64) -> Result<Quota, Failure> {
        let name = format!("counterfoil-harness-{pid}");
        let quota = (part * PERIOD as f64) as u64;
        let make = || -> io::Result<PathBuf> {
            let first = Path::new("/sys/fs/cgroup/cpu");
            let group = if first.exists() { first.join(name) } else { Path::new("/sys/fs/cgroup").join(name) };
            fs::create_dir(&group)?;
            if first.exists() {
                fs::write(group.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                fs::write(group.join("cpu.cfs_quota_us"), quota.to_string())?;
            } else {
                fs::write(group.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            }
            fs::write(group.join("cgroup.procs"), pid.to_string())?;
            Ok(group)
        };
        Ok(Quota { group: make().map_err(|error| Failure::Io("limiting a server's CPU", error))?, pid })
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A group that cannot be removed limits nobody once its process has ended.
        if let Some(above) = self.group.parent() {
            let _ = fs::write(above.join("cgroup.procs"), self.pid.to_string());
        }
        let _ = fs::remove_dir(&self.group);
    }
}
