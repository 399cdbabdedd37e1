//! Objects, the files that packs and sealed manifests are: read at an offset, checked against their name.

use std::io::{self, Read};

use super::names::ObjectName;

/// Why an object is not the one that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// Its bytes have another name.
    #[error("object {expected} holds the bytes of {found}")]
    Name {
        /// The name that it was asked for by.
        expected: ObjectName,
        /// The name of what it holds.
        found: ObjectName,
    },
    /// It has another length than the manifest says.
    #[error("object {name} has {found} bytes instead of {expected}")]
    Length {
        /// The object.
        name: ObjectName,
        /// Bytes that it should have.
        expected: u64,
        /// Bytes that were read, at most one buffer more than expected.
        found: u64,
    },
    /// It could not be read.
    #[error("object {name} could not be read")]
    Io {
        /// The object.
        name: ObjectName,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads at an offset, by several threads at once: a file, a range of bytes in memory.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` from `offset`; `UnexpectedEof` if there is less.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Length in bytes.
    fn size(&self) -> io::Result<u64>;
}

#[cfg(unix)]
impl ReadAt for std::fs::File {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(windows)]
impl ReadAt for std::fs::File {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buffer = &mut buffer[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let end = start.checked_add(buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        let part = self.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Box<T> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }
}

/// Passes bytes on while hashing them, so that what came over a network can be checked against its name at its end.
pub struct ObjectReader<R> {
    inner: R,
    hasher: blake3::Hasher,
    length: u64,
}

impl<R: Read> ObjectReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), length: 0 }
    }

    /// Reads to the end, and checks length and name of all that was read.
    pub fn finish(mut self, name: &ObjectName, length: u64) -> Result<R, ObjectError> {
        // One byte more than expected is enough to know that it is too long.
        let rest = (length + 1).saturating_sub(self.length);
        io::copy(&mut (&mut self).take(rest), &mut io::sink()).map_err(|source| ObjectError::Io { name: *name, source })?;
        if self.length != length {
            return Err(ObjectError::Length { name: *name, expected: length, found: self.length });
        }
        let found = ObjectName(*self.hasher.finalize().as_bytes());
        if found != *name {
            return Err(ObjectError::Name { expected: *name, found });
        }
        Ok(self.inner)
    }
}

impl<R: Read> Read for ObjectReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.length += n as u64;
        Ok(n)
    }
}

/// Checks that `reader` gives exactly the object `name` of `length` bytes.
pub fn check_object(reader: impl Read, name: &ObjectName, length: u64) -> Result<(), ObjectError> {
    ObjectReader::new(reader).finish(name, length).map(drop)
}
