//! Disc images: ISO 9660 with Rock Ridge and Joliet names, written as a stream with a small buffer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use counterfoil_terminal::layout;
use hadris_fs::{Content, DateTime, NoClock, Node, Permissions, SetAttr, Tree};
use hadris_io::{Error, ErrorType};
use hadris_iso::{IsoId, IsoOptions};
use hadris_storage::host::FileDevice;
use hadris_storage::sync::BlockDevice;
use hadris_storage::{BlockIndex, BlockSize};

use super::{Press, name};
use crate::failure::Failure;
use crate::files;
use crate::press::content::Common;
use crate::press::identities::Label;

/// What fits the volume name of the Joliet tree.
const VOLUME_NAME: usize = 16;

/// Writes `0001.iso` and so on.
pub struct Image<'a> {
    out: &'a Path,
    digits: usize,
    common: &'a Common,
}

impl<'a> Image<'a> {
    /// Into `out`.
    pub fn new(out: &'a Path, digits: usize, common: &'a Common) -> Self {
        Self { out, digits, common }
    }

    fn tree(&self, label: &Label) -> Result<Tree, hadris_fs::PathError> {
        let attributes = |mode| SetAttr::new().with_permissions(Permissions::new(mode));
        let mut tree = Tree::new();
        for (name, bytes) in [(label.file, label.area.clone()), (layout::README, label.readme.clone().into_bytes())] {
            tree.insert(name, Node::file(Content::bytes(bytes)).with_attrs(attributes(0o444)))?;
        }
        for file in &self.common.files {
            let mode = if file.executable { 0o555 } else { 0o444 };
            tree.insert(&file.path, Node::file(hadris_fs::host::file(&file.source)?).with_attrs(attributes(mode)))?;
        }
        Ok(tree)
    }

    fn write(&self, partial: &Path, label: &Label, progress: &mut dyn FnMut(u64)) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::operation("io", format!("cannot write {}: {error}", partial.display()))
                .hint("Make room there, and repeat the command.")
        };
        let mut volume = label.volume.to_ascii_uppercase().replace('-', "_");
        volume.truncate(VOLUME_NAME);
        let options = IsoOptions::default()
            .with_id(IsoId::Volume, &volume)
            .with_id(IsoId::Application, "COUNTERFOIL")
            .with_joliet()
            .with_rock_ridge()
            .with_time(DateTime::from_unix_seconds(label.iat).unwrap_or(NoClock::TIME));
        let tree = self.tree(label).map_err(|error| failed(&error))?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(partial);
        let file = file.map_err(|error| Failure::file("write", partial, &error))?;
        let durable = file.try_clone().map_err(|error| Failure::file("write", partial, &error))?;
        let device = FileDevice::new(file).map_err(|error| Failure::file("write", partial, &error))?;
        hadris_iso::sync::write(Counted { device, progress }, &tree, &options).map_err(|error| failed(&error))?;
        durable.sync_all().map_err(|error| Failure::file("write", partial, &error))
    }
}

impl Press for Image<'_> {
    fn medium(&mut self, serial: Option<u64>, label: Label, progress: &mut dyn FnMut(u64)) -> Result<PathBuf, Failure> {
        let path = self.out.join(format!("{}.iso", name(serial, self.digits)));
        let partial = files::beside(&path);
        if let Err(failure) = self.write(&partial, &label, progress) {
            let _ = fs::remove_file(&partial);
            return Err(failure);
        }
        let named = fs::rename(&partial, &path).and_then(|()| files::sync_directory(&path));
        named.map(|()| path.clone()).map_err(|error| Failure::file("write", &path, &error))
    }

    fn each(&self) -> u64 {
        self.common.bytes()
    }

    fn mark_every(&self) -> u64 {
        1
    }

    fn settle(&mut self) -> Result<(), Failure> {
        // Each image was made durable as it was written.
        Ok(())
    }
}

/// Says how many bytes go through.
struct Counted<'a> {
    device: FileDevice,
    progress: &'a mut dyn FnMut(u64),
}

impl ErrorType for Counted<'_> {
    type Error = <FileDevice as ErrorType>::Error;
}

impl BlockDevice for Counted<'_> {
    fn block_size(&self) -> BlockSize {
        self.device.block_size()
    }

    fn block_count(&self) -> u64 {
        self.device.block_count()
    }

    fn max_block_count(&self) -> u64 {
        self.device.max_block_count()
    }

    fn writable(&self) -> bool {
        self.device.writable()
    }

    fn read_blocks(&mut self, first: BlockIndex, buffer: &mut [u8]) -> Result<(), Error<Self::Error>> {
        self.device.read_blocks(first, buffer)
    }

    fn write_blocks(&mut self, first: BlockIndex, buffer: &[u8]) -> Result<(), Error<Self::Error>> {
        self.device.write_blocks(first, buffer)?;
        (self.progress)(buffer.len() as u64);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error<Self::Error>> {
        self.device.flush()
    }
}
