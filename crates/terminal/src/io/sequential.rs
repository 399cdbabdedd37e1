//! A file with positions, read and written from one place on.

use super::File;
use counterfoil_format::content::ReadAt;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// `Read`, `Write` and `Seek` over a file that is addressed by position.
pub struct Sequential<F> {
    file: F,
    at: u64,
    size: Option<u64>,
}

impl<F> Sequential<F> {
    /// Stands at `at`.
    pub fn new(file: F, at: u64) -> Self {
        Self { file, at, size: None }
    }
}

impl<F: std::ops::Deref<Target = T>, T: ReadAt + ?Sized> Read for Sequential<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = match self.size {
            Some(size) => size,
            None => *self.size.insert(self.file.size()?),
        };
        let left = usize::try_from(size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = buffer.len().min(left);
        self.file.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<F: std::ops::Deref<Target = T>, T: File + ?Sized> Write for Sequential<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F> Seek for Sequential<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.at.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput)?,
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}
