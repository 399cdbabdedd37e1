//! A medium that is an ISO 9660 image, read in place: ECMA-119 with Rock Ridge names, as much of both as a medium uses.

use super::Area;
use crate::io::real::Part;
use counterfoil_format::content::ReadAt;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

const SECTOR: u64 = 2048;
/// First volume descriptor (ECMA-119 §6.2.1).
const DESCRIPTORS: u64 = 16;
/// Descriptors that are looked at before giving up.
const MOST_DESCRIPTORS: u64 = 32;
/// Longest directory that is read, in bytes: some hundred thousand names.
const LONGEST_DIRECTORY: u64 = 64 << 20;
/// Continuation areas followed for one record (SUSP §5.1).
const MOST_CONTINUATIONS: usize = 8;

/// An image.
pub(super) struct Image {
    file: Arc<dyn ReadAt>,
    root: Record,
    /// Directories that were read, by path: packs of a title are many, and its directory one.
    known: Mutex<HashMap<String, Arc<Names>>>,
}

type Names = HashMap<String, Record>;

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    /// Pieces of its data: offset and length in bytes.
    extents: Vec<(u64, u64)>,
    directory: bool,
}

impl Image {
    /// Opens an image; `None` if the file is none.
    pub(super) fn open(file: Arc<dyn ReadAt>) -> io::Result<Option<Self>> {
        let size = file.size()?;
        for number in DESCRIPTORS..DESCRIPTORS + MOST_DESCRIPTORS {
            let mut sector = [0; SECTOR as usize];
            if (number + 1) * SECTOR > size {
                return Ok(None);
            }
            file.read_exact_at(&mut sector, number * SECTOR)?;
            if &sector[1..6] != b"CD001" {
                return Ok(None);
            }
            match sector[0] {
                1 => {
                    let Some((record, _)) = parse_record(&sector[156..190]) else { return Ok(None) };
                    return Ok(Some(Self { file, root: record.data, known: Mutex::default() }));
                }
                255 => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }

    fn find(&self, path: &str) -> io::Result<Record> {
        let mut record = self.root.clone();
        let mut done = String::new();
        for name in path.split('/') {
            let names = self.names(&done, &record)?;
            record = names.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
            done.push('/');
            done.push_str(name);
        }
        Ok(record)
    }

    fn names(&self, path: &str, directory: &Record) -> io::Result<Arc<Names>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(names) = known().get(path) {
            return Ok(Arc::clone(names));
        }
        let names = Arc::new(self.read_directory(directory)?);
        known().insert(path.to_owned(), Arc::clone(&names));
        Ok(names)
    }

    fn read_directory(&self, directory: &Record) -> io::Result<Names> {
        if !directory.directory {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let data = self.part(directory);
        let size = data.size()?;
        if size > LONGEST_DIRECTORY {
            return Err(damaged("a directory is too long"));
        }
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        data.read_exact_at(&mut bytes, 0)?;
        let mut names = Names::new();
        // A file above 4 GiB has several records of one name, all but the last marked.
        let mut begun: Option<(String, Record)> = None;
        // Records do not cross sectors; the rest of a sector is zero.
        for sector in bytes.chunks(SECTOR as usize) {
            let mut rest = sector;
            while let Some((entry, after)) = parse_record(rest) {
                rest = after;
                if matches!(entry.identifier, [0] | [1]) {
                    continue;
                }
                let name = self.name(&entry)?;
                let mut record = entry.data;
                if let Some((begun_name, mut so_far)) = begun.take()
                    && begun_name == name
                {
                    so_far.extents.extend(record.extents);
                    record = so_far;
                }
                if entry.more {
                    begun = Some((name, record));
                } else {
                    names.insert(name, record);
                }
            }
        }
        Ok(names)
    }

    /// The Rock Ridge name (RRIP §4.1.4), else the plain one without its version, in lower case as mounting shows it.
    fn name(&self, entry: &Entry<'_>) -> io::Result<String> {
        let mut found: Vec<u8> = Vec::new();
        let mut area = entry.system_use.to_vec();
        for _ in 0..=MOST_CONTINUATIONS {
            let mut next = None;
            let mut rest = area.as_slice();
            while let [a, b, length, _, ..] = *rest {
                let length = usize::from(length);
                if length < 4 || length > rest.len() {
                    break;
                }
                let (field, after) = rest.split_at(length);
                rest = after;
                match [a, b] {
                    // Flags 2 and 4 stand for `.` and `..`, which no medium's file is called.
                    [b'N', b'M'] if length >= 5 && field[4] & 6 == 0 => found.extend_from_slice(&field[5..]),
                    [b'C', b'E'] if length >= 28 => {
                        next = Some((le32(&field[4..]), le32(&field[12..]), le32(&field[20..])));
                    }
                    [b'S', b'T'] => break,
                    _ => {}
                }
            }
            let Some((block, offset, length)) = next else { break };
            if length > SECTOR {
                return Err(damaged("a continuation area is too long"));
            }
            area = vec![0; length as usize];
            self.file.read_exact_at(&mut area, block * SECTOR + offset)?;
        }
        if !found.is_empty() {
            return String::from_utf8(found).map_err(|_| damaged("a name is not UTF-8"));
        }
        let plain = String::from_utf8_lossy(entry.identifier).to_lowercase();
        Ok(plain.split(';').next().unwrap_or_default().trim_end_matches('.').to_owned())
    }

    fn part(&self, record: &Record) -> Part {
        Part { file: Arc::clone(&self.file), extents: record.extents.clone() }
    }
}

impl Area for Image {
    fn open(&self, path: &str) -> io::Result<Box<dyn ReadAt>> {
        let record = self.find(path)?;
        if record.directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(Box::new(self.part(&record)))
    }

    fn lengths(&self, path: &str) -> io::Result<Vec<(String, u64)>> {
        let names = self.names(&format!("/{path}"), &self.find(path)?)?;
        names.iter().map(|(name, record)| Ok((name.clone(), self.part(record).size()?))).collect()
    }
}

struct Entry<'a> {
    data: Record,
    more: bool,
    identifier: &'a [u8],
    system_use: &'a [u8],
}

/// A directory record (ECMA-119 §9.1) and what follows it; `None` at the end of a sector, and for what is none.
fn parse_record(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let length = usize::from(*bytes.first()?);
    if length < 34 || length > bytes.len() {
        return None;
    }
    let (record, after) = bytes.split_at(length);
    let identifier_end = 33 + usize::from(record[32]);
    let identifier = record.get(33..identifier_end)?;
    // Padded to an even place.
    let system_use = record.get(identifier_end + usize::from(record[32].is_multiple_of(2))..).unwrap_or_default();
    let extended = u64::from(record[1]);
    let start = (le32(&record[2..]) + extended) * SECTOR;
    let data = Record { extents: vec![(start, le32(&record[10..]))], directory: record[25] & 2 != 0 };
    Some((Entry { data, more: record[25] & 0x80 != 0, identifier, system_use }, after))
}

fn le32(bytes: &[u8]) -> u64 {
    u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the image is damaged: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_image_is_none_and_hostile_ones_do_no_harm() {
        assert!(Image::open(Arc::new(vec![7u8; 10])).expect("readable").is_none());
        assert!(Image::open(Arc::new(vec![0u8; 100_000])).expect("readable").is_none());
        // Every single byte of a small directory record area, any value: no panic.
        let mut record = vec![0u8; 64];
        record[0] = 64;
        record[32] = 1;
        for place in 0..64 {
            for value in [0, 1, 33, 34, 63, 64, 65, 255] {
                let mut mutated = record.clone();
                mutated[place] = value;
                if let Some((_, after)) = parse_record(&mutated) {
                    assert!(after.len() < mutated.len());
                }
            }
        }
    }

    #[test]
    fn a_directory_that_claims_to_be_enormous_is_refused() {
        let image = Image {
            file: Arc::new(vec![0u8; 4096]),
            root: Record { extents: vec![(0, u64::from(u32::MAX))], directory: true },
            known: Mutex::default(),
        };
        assert_eq!(image.find("identity.json").expect_err("too long").kind(), io::ErrorKind::InvalidData);
    }
}
