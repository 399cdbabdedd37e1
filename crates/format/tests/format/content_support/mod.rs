//! What the tests of the content half share: fixed keys, made data, a sink in memory.

pub mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use counterfoil_format::content::*;
use counterfoil_format::secret::Secret;

pub fn content_key(byte: u8) -> ContentKey {
    ContentKey::new(Secret::new([byte; 32]))
}

pub fn library_key(byte: u8) -> LibraryKey {
    LibraryKey::new(Secret::new([byte; 32]))
}

/// Bytes that look random and do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Bytes that compress to about a third, the same for the same seed.
pub fn prose(seed: u64, length: usize) -> Vec<u8> {
    let words: Vec<String> =
        noise(seed, 2048).chunks(8).map(|b| format!("w{:x}", u64::from_le_bytes(b.try_into().unwrap()) >> 40)).collect();
    let picks = noise(seed ^ 1, length / 4 + 8);
    let mut out = Vec::with_capacity(length + 16);
    for pick in picks {
        out.extend_from_slice(words[usize::from(pick)].as_bytes());
        out.push(if pick % 11 == 0 { b'\n' } else { b' ' });
        if out.len() >= length {
            break;
        }
    }
    out.resize(length, b'.');
    out
}

/// Objects in memory, by name.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct MemorySink {
    partial: Vec<u8>,
    pub objects: BTreeMap<ObjectName, Vec<u8>>,
}

impl PackSink for MemorySink {
    fn write(&mut self, sealed: &[u8]) -> io::Result<()> {
        self.partial.extend_from_slice(sealed);
        Ok(())
    }

    fn finish(&mut self, object: PackedObject) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.partial);
        assert_eq!(bytes.len() as u64, object.length);
        assert_eq!(ObjectName::of(&bytes), object.name);
        self.objects.insert(object.name, bytes);
        Ok(())
    }
}

pub fn publish_to_memory(root: &Path, key: &ContentKey, options: &PublishOptions<'_>) -> (Published, MemorySink) {
    let mut sink = MemorySink::default();
    let published = publish(root, key, options, &mut sink, &mut |_| {}).unwrap();
    (published, sink)
}

/// All packs brought under the library key, in memory.
pub fn transcrypt_all(manifest: &Manifest, from: &ChunkKeys, to: &ChunkKeys, packs: &MemorySink) -> MemorySink {
    let mut library = MemorySink::default();
    let mut transcrypter = Transcrypter::new(from, to);
    for (index, pack) in manifest.packs().iter().enumerate() {
        let mut out = Vec::new();
        transcrypter.pack(manifest, index, 0, &packs.objects[&pack.name][..], &mut out, |_| {}).unwrap();
        library.objects.insert(pack.name, out);
    }
    library
}

pub fn reader(manifest: &Manifest, keys: ChunkKeys, packs: &MemorySink) -> Reader {
    let packs = packs.clone();
    Reader::new(Arc::new(manifest.clone()), keys, 1 << 20, move |name| match packs.objects.get(name) {
        Some(bytes) => Ok(Box::new(bytes.clone()) as Box<dyn ReadAt>),
        None => Err(io::ErrorKind::NotFound.into()),
    })
}

pub fn read_whole(reader: &Reader, index: usize) -> Vec<u8> {
    let file = reader.file(index).unwrap();
    let mut out = vec![0; file.size() as usize];
    assert_eq!(reader.read_at(&file, 0, &mut out).unwrap(), out.len());
    out
}

pub fn write_file(root: &Path, path: &str, bytes: &[u8]) {
    let full = root.join(path);
    fs::create_dir_all(full.parent().unwrap()).unwrap();
    fs::write(full, bytes).unwrap();
}
