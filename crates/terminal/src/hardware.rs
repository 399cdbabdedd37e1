//! Device ID and drive ID, read from the hardware and never invented (C3, D1, D7).
//!
//! All sources lie below a root, `/` unless `COUNTERFOIL_HARDWARE_ROOT` moves it. An ID is the first 16 bytes of a BLAKE3 hash (mode
//! `derive_key`) over the name of its source and the value found there, so that nobody learns a serial number from it.
//!
//! | | source, in this order | found below the root |
//! |---|---|---|
//! | device | label given by an integrator | `etc/counterfoil/device-id` |
//! | | DMI product UUID, board serial | `sys/class/dmi/id/{product_uuid,board_serial}` (for root only, on many systems) |
//! | | device tree serial number | `proc/device-tree/serial-number` |
//! | | machine ID | `etc/machine-id` |
//! | drive | label given by an integrator | `etc/counterfoil/drive-id` |
//! | | UUID of the file system that the library lies on | `proc/self/mountinfo`, `dev/disk/by-uuid` |
//! | | serial number of the block device | `sys/class/block/…/{serial,wwid,device/serial,device/wwid}` |
//! | | ID of the file system (`f_fsid`), where it is not zero | `statfs` of the library itself |
//!
//! A label is either an ID (`dev-…`, `drv-…`), which is taken as it is, or any text, which is hashed.
//! Maker and model (D1) are `sys_vendor` and `product_name` of DMI, or the model of the device tree.
//!
//! The first source that can be read names the device. Because some can be read by the administrator only, a device still counts as the
//! one that it was registered as while *any* of its sources says so.

use crate::io::parent;
use counterfoil_core::{DeviceId, DriveId};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

const DEVICE_CONTEXT: &str = "counterfoil 2026 hardware v1 device id";
const DRIVE_CONTEXT: &str = "counterfoil 2026 hardware v1 drive id";
/// Longest value that is read from a source, in bytes.
const LONGEST: u64 = 4096;

/// What makers write where no serial number was given: the same on thousands of machines.
const NOBODYS: &[&str] = &[
    "none",
    "n/a",
    "na",
    "not specified",
    "not applicable",
    "not available",
    "unknown",
    "default string",
    "default",
    "system serial number",
    "to be filled by o.e.m.",
    "to be filled by o.e.m",
    "o.e.m.",
    "oem",
    "base board serial number",
    "123456789",
    "1234567890",
    "invalid",
    "03000200-0400-0500-0006-000700080009",
    "uninitialized",
];

/// An ID, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read<T> {
    /// The ID.
    pub id: T,
    /// For people: which source it was read from.
    pub source: &'static str,
}

/// Why there is no ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HardwareError {
    /// Nothing below the root names this.
    #[error("this {what} has no serial number that can be read (tried: {tried})")]
    NotReadable {
        /// `device` or `drive`.
        what: &'static str,
        /// The sources.
        tried: &'static str,
    },
    /// The ID that was typed is not that of the hardware.
    #[error("the {what} ID {typed} is not this {what}'s: its {source_name} says {read}")]
    Contradicts {
        /// `device` or `drive`.
        what: &'static str,
        /// As typed.
        typed: String,
        /// As read.
        read: String,
        /// From where.
        source_name: &'static str,
    },
}

impl HardwareError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            HardwareError::NotReadable { .. } => "hardware_not_readable",
            HardwareError::Contradicts { .. } => "hardware_contradicts",
        }
    }

    /// What a person can do.
    pub fn hint(&self) -> String {
        match self {
            HardwareError::NotReadable { what, .. } => {
                format!("Type the ID from its label: `--{what} ID`; or have an integrator write one to /etc/counterfoil/{what}-id.")
            }
            HardwareError::Contradicts { what, .. } => format!("Leave out `--{what}`: the ID is read from the hardware."),
        }
    }
}

/// Reads the IDs of this device and its drives.
#[derive(Clone, Debug)]
pub struct HardwareIds {
    root: PathBuf,
}

impl HardwareIds {
    /// Reads below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// This device, by its first source.
    ///
    /// # Errors
    /// [`HardwareError::NotReadable`].
    pub fn device(&self) -> Result<Read<DeviceId>, HardwareError> {
        let tried = "DMI product UUID and board serial, device tree serial number, machine ID";
        self.devices().into_iter().next().ok_or(HardwareError::NotReadable { what: "device", tried })
    }

    /// Everything that names this device, best first.
    pub fn devices(&self) -> Vec<Read<DeviceId>> {
        let mut found = Vec::new();
        for (source, file) in [
            ("label", "etc/counterfoil/device-id"),
            ("DMI product UUID", "sys/class/dmi/id/product_uuid"),
            ("DMI board serial", "sys/class/dmi/id/board_serial"),
            ("device tree serial number", "proc/device-tree/serial-number"),
            ("machine ID", "etc/machine-id"),
        ] {
            if let Some(value) = self.value(Path::new(file)) {
                found.push(Read { id: labelled(DEVICE_CONTEXT, source, &value, DeviceId::from_bytes), source });
            }
        }
        found
    }

    /// Who made this device, and which model it is, as far as it says.
    pub fn maker_and_model(&self) -> (Option<String>, Option<String>) {
        let read = |files: &[&str]| files.iter().find_map(|file| self.value(Path::new(file)));
        let maker = read(&["sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/board_vendor"]);
        (maker, read(&["sys/class/dmi/id/product_name", "proc/device-tree/model", "sys/class/dmi/id/board_name"]))
    }

    /// The drive that `library` lies on, or would lie on.
    ///
    /// # Errors
    /// [`HardwareError::NotReadable`].
    pub fn drive(&self, library: &Path) -> Result<Read<DriveId>, HardwareError> {
        let tried = "file system UUID, serial number of the block device, file system ID";
        self.drives(library).into_iter().next().ok_or(HardwareError::NotReadable { what: "drive", tried })
    }

    /// Everything that names the drive under `library`, best first.
    pub fn drives(&self, library: &Path) -> Vec<Read<DriveId>> {
        let mut found = Vec::new();
        let mut add = |source: &'static str, value: Option<String>| {
            let read = value.map(|value| Read { id: labelled(DRIVE_CONTEXT, source, &value, DriveId::from_bytes), source });
            found.extend(read);
        };
        add("label", self.value(Path::new("etc/counterfoil/drive-id")));
        let existing = existing(library);
        if let Some(device) = existing.as_deref().and_then(|path| self.block_device(path)) {
            add("file system UUID", self.file_system_uuid(&device));
            let block = Path::new("sys/class/block").join(&device);
            for file in ["serial", "wwid", "device/serial", "device/wwid"] {
                add("serial number of the block device", self.value(&block.join(file)).map(|serial| format!("{serial} {device}")));
            }
        }
        add("file system ID", existing.as_deref().and_then(file_system_id));
        found
    }

    /// The name of the block device mounted where `path` is, such as `sda1`.
    fn block_device(&self, path: &Path) -> Option<String> {
        let mounts = fs::read_to_string(self.root.join("proc/self/mountinfo")).ok()?;
        // proc(5): 36 35 98:0 /root /mount/point options [optional fields] - type source options. Later lines lie over earlier ones.
        let mounted = |line: &str| {
            let (before, after) = line.split_once(" - ")?;
            let point = unescape(before.split(' ').nth(4)?);
            let device = after.split(' ').nth(1)?.strip_prefix("/dev/")?.to_owned();
            path.starts_with(&point).then_some((point.len(), device))
        };
        // Over which mount a path lies is decided by the longest point, be it on a block device or not.
        let longest = mounts.lines().filter_map(|line| {
            let point = unescape(line.split(' ').nth(4)?);
            path.starts_with(&point).then_some(point.len())
        });
        let longest = longest.max()?;
        let (length, device) = mounts.lines().filter_map(mounted).max_by_key(|(length, _)| *length)?;
        if length < longest {
            return None;
        }
        // `/dev/mapper/name` and its like are links to `/dev/dm-0`.
        let target = fs::canonicalize(self.root.join("dev").join(&device)).ok();
        let name = target.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        Some(name.unwrap_or(device))
    }

    fn file_system_uuid(&self, device: &str) -> Option<String> {
        let mut uuids = fs::read_dir(self.root.join("dev/disk/by-uuid")).ok()?.filter_map(|link| {
            let link = link.ok()?;
            let target = fs::read_link(link.path()).ok()?;
            (target.file_name()?.to_str()? == device).then(|| link.file_name().to_string_lossy().into_owned())
        });
        uuids.next()
    }

    /// What a source says; nothing where it says what thousands say.
    fn value(&self, file: &Path) -> Option<String> {
        let path = self.root.join(file);
        // Virtual files say 0 or 4096; a label that is longer is none.
        if fs::metadata(&path).ok()?.len() > LONGEST {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        let value = String::from_utf8_lossy(&bytes).trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned();
        let lower = value.to_lowercase();
        let same = |digit: char| lower.chars().filter(|c| c.is_alphanumeric()).all(|c| c == digit);
        let nobodys = value.is_empty() || NOBODYS.contains(&lower.as_str()) || same('0') || same('f') || same('x');
        (!nobodys).then_some(value)
    }
}

/// Checks an ID that was typed against what the hardware says, where it says anything.
///
/// # Errors
/// [`HardwareError::Contradicts`].
pub fn check_typed<T: PartialEq + Copy + ToString>(what: &'static str, typed: T, read: &[Read<T>]) -> Result<T, HardwareError> {
    match read.first() {
        Some(first) if !read.iter().any(|one| one.id == typed) => {
            Err(HardwareError::Contradicts { what, typed: typed.to_string(), read: first.id.to_string(), source_name: first.source })
        }
        _ => Ok(typed),
    }
}

fn labelled<T: FromStr>(context: &str, source: &str, value: &str, from_bytes: fn([u8; 16]) -> T) -> T {
    match value.parse() {
        Ok(id) if source == "label" => id,
        _ => {
            let mut hasher = blake3::Hasher::new_derive_key(context);
            hasher.update(&counterfoil_format::encoding::frame(&[source.as_bytes(), value.as_bytes()]));
            let mut id = [0; 16];
            hasher.finalize_xof().fill(&mut id);
            from_bytes(id)
        }
    }
}

/// The path itself or the nearest directory above it that exists, without links.
fn existing(path: &Path) -> Option<PathBuf> {
    match fs::canonicalize(path) {
        Ok(path) => Some(path),
        Err(_) if path.as_os_str() == "/" || path.as_os_str() == "." => None,
        Err(_) => existing(parent(path)),
    }
}

fn file_system_id(path: &Path) -> Option<String> {
    let id = rustix::fs::statvfs(path).ok()?.f_fsid;
    (id != 0).then(|| format!("{id:016x}"))
}

/// Spaces and the like are written as `\040` in mountinfo.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        out.push_str(&rest[..at]);
        match code {
            Some(code) => {
                out.push(code as char);
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(parent(&path)).expect("below a temporary directory");
            fs::write(path, content).expect("below a temporary directory");
        }
        root
    }

    #[test]
    fn c3_the_device_is_named_by_its_first_source_and_nothing_is_invented() {
        let empty = root(&[]);
        assert!(matches!(HardwareIds::new(empty.path()).device(), Err(HardwareError::NotReadable { what: "device", .. })));
        let dmi = root(&[("sys/class/dmi/id/product_uuid", "4c4c4544-0042\n"), ("etc/machine-id", "abc\n")]);
        let read = HardwareIds::new(dmi.path()).device().expect("a product UUID");
        assert_eq!(read.source, "DMI product UUID");
        let machine = root(&[("sys/class/dmi/id/product_uuid", "To be filled by O.E.M.\n"), ("etc/machine-id", "abc\n")]);
        let other = HardwareIds::new(machine.path()).device().expect("a machine ID");
        assert_eq!(other.source, "machine ID");
        assert_ne!(read.id, other.id);
        // The same value from another source is another ID, and whoever has both is both.
        assert!(HardwareIds::new(dmi.path()).devices().iter().any(|one| one.id == other.id));
    }

    #[test]
    fn values_that_thousands_of_machines_share_name_none_of_them() {
        for shared in ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Default string", "  \n", "xxxx"] {
            let root = root(&[("sys/class/dmi/id/product_uuid", shared)]);
            assert!(HardwareIds::new(root.path()).device().is_err(), "{shared}");
        }
    }

    #[test]
    fn a_label_that_is_an_id_is_taken_as_it_is_and_any_other_is_hashed() {
        let id = DeviceId::from_bytes([5; 16]);
        let root_with_id = root(&[("etc/counterfoil/device-id", &id.to_string()), ("etc/counterfoil/drive-id", "disk 1")]);
        let hardware = HardwareIds::new(root_with_id.path());
        assert_eq!(hardware.device().map(|read| read.id), Ok(id));
        let drive = hardware.drive(Path::new("/nowhere/library")).expect("the label");
        assert_eq!(drive.source, "label");
        assert!(matches!(
            check_typed("device", DeviceId::from_bytes([6; 16]), &hardware.devices()),
            Err(HardwareError::Contradicts { .. })
        ));
        assert_eq!(check_typed("device", id, &hardware.devices()), Ok(id));
        assert_eq!(check_typed("device", id, &[]), Ok(id));
    }

    #[test]
    fn d1_maker_and_model_are_read_unless_nobody_filled_them_in() {
        let own = |text: &str| Some(text.to_owned());
        let named = root(&[("sys/class/dmi/id/sys_vendor", "Engines Ltd\n"), ("sys/class/dmi/id/product_name", "Difference 2\n")]);
        assert_eq!(HardwareIds::new(named.path()).maker_and_model(), (own("Engines Ltd"), own("Difference 2")));
        let empty = root(&[("sys/class/dmi/id/sys_vendor", "To be filled by O.E.M.\n"), ("proc/device-tree/model", "Board 4\0")]);
        assert_eq!(HardwareIds::new(empty.path()).maker_and_model(), (None, own("Board 4")));
    }

    #[test]
    fn the_drive_is_that_of_the_longest_mount_point() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:17 / /media/my\\040stick rw,a shared:1 - vfat /dev/sdb1 rw\n\
                      3 1 0:9 / /media/my\\040stick/tmp rw - tmpfs tmpfs rw\n";
        let root = root(&[("proc/self/mountinfo", mounts), ("sys/class/block/sdb1/device/serial", "S3"), ("dev/disk/by-uuid/x", "")]);
        let uuid = root.path().join("dev/disk/by-uuid/1234-ABCD");
        std::os::unix::fs::symlink("../../sda1", uuid).expect("below a temporary directory");
        let hardware = HardwareIds::new(root.path());
        assert_eq!(hardware.block_device(Path::new("/home/me")).as_deref(), Some("sda1"));
        assert_eq!(hardware.block_device(Path::new("/media/my stick/library")).as_deref(), Some("sdb1"));
        assert_eq!(hardware.block_device(Path::new("/media/my stick/tmp/x")), None);
        assert_eq!(hardware.file_system_uuid("sda1").as_deref(), Some("1234-ABCD"));
        assert_eq!(hardware.file_system_uuid("sdb1"), None);
    }
}
