//! Cut, damaged and missing packs: copies go on where they were, damage is named and healed, and no plaintext is left behind.
use std::collections::HashSet;
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::content_support::*;
use counterfoil_format::content::*;

/// A release of one pack and several files, in the store and in a library.
struct Copied {
    published: Published,
    store: MemorySink,
    library: MemorySink,
}

const SHARED: (u64, usize) = (1, 400_000);

fn copied() -> Copied {
    let dir = tempfile::tempdir().unwrap();
    write_file(dir.path(), "a", &noise(SHARED.0, SHARED.1));
    write_file(dir.path(), "b", &prose(2, 900_000));
    write_file(dir.path(), "c", &[noise(3, 100_000), noise(SHARED.0, SHARED.1)].concat());
    let (published, store) = publish_to_memory(dir.path(), &content_key(1), &PublishOptions::default());
    assert_eq!(published.manifest.packs().len(), 1);
    assert!(published.manifest.chunks().len() > 10);
    let library = transcrypt_all(&published.manifest, &from(), &to(), &store);
    Copied { published, store, library }
}

fn from() -> ChunkKeys {
    content_key(1).chunk_keys()
}

fn to() -> ChunkKeys {
    library_key(2).chunk_keys(&content_key(1).chunk_id_key())
}

impl Copied {
    fn manifest(&self) -> &Manifest {
        &self.published.manifest
    }

    fn in_store(&self) -> &Vec<u8> {
        &self.store.objects[&self.manifest().packs()[0].name]
    }

    fn in_library(&self) -> &Vec<u8> {
        &self.library.objects[&self.manifest().packs()[0].name]
    }
}

/// Gives a limited number of bytes and then fails, in pieces of odd sizes.
struct Pulled<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Read for Pulled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let n = buffer.len().min(self.left).min(self.bytes.len()).min(77_777);
        buffer[..n].copy_from_slice(&self.bytes[..n]);
        self.bytes = &self.bytes[n..];
        self.left -= n;
        Ok(n)
    }
}

#[test]
fn a_copy_cut_anywhere_goes_on_after_the_last_whole_chunk() {
    let copied = copied();
    let manifest = copied.manifest();
    let whole = copied.in_store().len();
    let boundaries = manifest.chunks().iter().flat_map(|chunk| {
        let end = (chunk.offset + chunk.sealed_len) as usize;
        [end - 1, end, end + 1]
    });
    let mut cuts = 0;
    for cut in boundaries.chain([0, 1, 333_333]).filter(|cut| *cut < whole) {
        let mut target = Vec::new();
        let source = Pulled { bytes: copied.in_store(), left: cut };
        let error = Transcrypter::new(&from(), &to()).pack(manifest, 0, 0, source, &mut target, |_| {}).unwrap_err();
        assert!(matches!(&error, TranscryptError::Read { offset, .. } if *offset == target.len() as u64), "{error}");
        // All whole chunks that came are there.
        assert!(cut - target.len() < MAX_PLAIN + OVERHEAD);
        let lost = manifest.chunks().iter().filter(|chunk| {
            let end = (chunk.offset + chunk.sealed_len) as usize;
            end > target.len() && end <= cut
        });
        assert_eq!(lost.count(), 0, "cut at {cut}");

        // The terminal dies as well, in the middle of a write: a torn end.
        target.extend_from_slice(&noise(9, cut % 1000));
        let good = good_prefix(manifest, 0, &to(), &target[..]).unwrap();
        target.truncate(good.bytes as usize);
        let rest = &copied.in_store()[good.bytes as usize..];
        Transcrypter::with_bulk(&from(), &to(), 0).pack(manifest, 0, good.chunks, rest, &mut target, |_| {}).unwrap();
        assert!(target == *copied.in_library(), "cut at {cut}");
        cuts += 1;
    }
    assert!(cuts > 30);
}

/// Keeps all that was ever written to it.
#[derive(Default)]
struct Recorder(Vec<u8>);

impl Write for Recorder {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_plaintext_is_written_whatever_is_damaged() {
    let canary = b"CANARY-3f9a77e1-no-plaintext-on-disk";
    let dir = tempfile::tempdir().unwrap();
    // Among noise, so that it is stored as it is and could be found.
    let plain = [noise(1, 50_000), canary.to_vec(), noise(2, 200_000), canary.to_vec(), noise(3, 50_000)].concat();
    write_file(dir.path(), "file", &plain);
    let (published, store) = publish_to_memory(dir.path(), &content_key(1), &PublishOptions::default());
    let manifest = &published.manifest;
    let pack = &store.objects[&manifest.packs()[0].name];
    let holds_canary = |bytes: &[u8]| bytes.windows(canary.len()).any(|window| window == canary);
    assert!(holds_canary(&plain), "the search itself works");
    assert!(!holds_canary(pack) && !holds_canary(&published.sealed_manifest));

    let mut failed = 0;
    for at in (0..pack.len()).step_by(9_973) {
        let mut damaged = pack.clone();
        damaged[at] ^= 4;
        let mut target = Recorder::default();
        let outcome = Transcrypter::new(&from(), &to()).pack(manifest, 0, 0, &damaged[..], &mut target, |_| {});
        failed += usize::from(outcome.is_err());
        assert!(!holds_canary(&target.0), "byte {at} damaged");
    }
    assert!(failed > 20);
}

#[test]
fn damage_is_named_with_file_and_offset_and_healed_from_the_medium() {
    let copied = copied();
    let manifest = copied.manifest();
    // A chunk that two files share.
    let EntryKind::File { runs, .. } = manifest.entry(0).kind else { panic!("`a` is a file") };
    let EntryKind::File { runs: other_runs, .. } = manifest.entry(2).kind else { panic!("`c` is a file") };
    let indices = |runs: &[Run]| -> HashSet<u32> { runs.iter().flat_map(|run| run.indices()).collect() };
    let shared = *indices(runs).intersection(&indices(other_runs)).min().unwrap();
    let chunk = manifest.chunks()[shared as usize];

    let mut pack = copied.in_library().clone();
    pack[chunk.offset as usize + 5] ^= 1;
    let report = verify_pack(manifest, 0, &to(), Some(&pack), |_| {});
    assert_eq!(report.damaged, [Damage { chunk: shared, kind: DamageKind::Bad(ChunkError::Tag) }]);
    assert!(!report.is_good());
    let parts = affected(manifest, &HashSet::from([shared]));
    assert_eq!(parts.iter().map(|part| part.path).collect::<Vec<_>>(), ["a", "c"]);
    assert!(parts.iter().all(|part| part.length == u64::from(chunk.plain_len)));

    // Reading names the same file and offset, and reads all around it.
    let mut damaged = copied.library.clone();
    damaged.objects.insert(manifest.packs()[0].name, pack.clone());
    let reader = reader(manifest, to(), &damaged);
    let file = reader.file(0).unwrap();
    let error = reader.read_at(&file, parts[0].offset, &mut [0; 10]).unwrap_err();
    assert!(
        matches!(&error, ReadError::Damaged { path, offset, id, .. } if path == "a" && *offset == parts[0].offset && *id == chunk.id),
        "{error}"
    );
    let after = parts[0].offset + parts[0].length;
    let mut rest = vec![0; 1000];
    reader.read_at(&file, after, &mut rest).unwrap();
    assert!(rest[..] == noise(SHARED.0, SHARED.1)[after as usize..after as usize + 1000]);

    // Healing writes that chunk and nothing else.
    let chunks = report.damaged.iter().map(|damage| damage.chunk);
    let not_healed = repair_pack(manifest, chunks, copied.in_store(), &from(), &to(), Cursor::new(&mut pack)).unwrap();
    assert!(not_healed.is_empty());
    assert!(pack == *copied.in_library());
    assert!(verify_pack(manifest, 0, &to(), Some(&pack), |_| {}).is_good());
}

#[test]
fn a_source_that_is_damaged_itself_heals_what_it_can() {
    let copied = copied();
    let manifest = copied.manifest();
    let mut source = copied.in_store().clone();
    source[manifest.chunks()[3].offset as usize] ^= 1;
    let mut pack = vec![0; copied.in_library().len() - 100];
    let report = verify_pack(manifest, 0, &to(), Some(&pack), |_| {});
    assert_eq!(report.damaged.len(), manifest.chunks().len());
    assert_eq!(report.damaged.last().unwrap().kind, DamageKind::Missing);
    let chunks = report.damaged.iter().map(|damage| damage.chunk);
    let not_healed = repair_pack(manifest, chunks, &source, &from(), &to(), Cursor::new(&mut pack)).unwrap();
    assert_eq!(not_healed, [3]);
    let report = verify_pack(manifest, 0, &to(), Some(&pack), |_| {});
    assert_eq!(report.damaged.len(), 1);
    let missing = verify_pack(manifest, 0, &to(), None, |_| {});
    assert_eq!(missing.damaged.len(), manifest.chunks().len());
}

#[test]
fn a_bad_sector_costs_the_chunks_on_it() {
    struct BadSector(Vec<u8>, u64);
    impl ReadAt for BadSector {
        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            if (offset..offset + buffer.len() as u64).contains(&self.1) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.0.read_exact_at(buffer, offset)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
    }
    let copied = copied();
    let chunk = copied.manifest().chunks()[4];
    let drive = BadSector(copied.in_library().clone(), u64::from(chunk.offset) + 700);
    let report = verify_pack(copied.manifest(), 0, &to(), Some(&drive), |_| {});
    assert_eq!(report.damaged, [Damage { chunk: 4, kind: DamageKind::Unreadable(io::ErrorKind::InvalidData) }]);
}

/// Counts how often each place is read.
struct Counting {
    bytes: Vec<u8>,
    reads: Arc<AtomicUsize>,
}

impl ReadAt for Counting {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

#[test]
fn reading_in_order_decodes_each_chunk_once_also_from_many_threads() {
    let copied = copied();
    let reads = Arc::new(AtomicUsize::new(0));
    let (bytes, counter) = (copied.in_library().clone(), Arc::clone(&reads));
    let reader = Reader::new(Arc::new(copied.manifest().clone()), to(), 4 << 20, move |_| {
        Ok(Box::new(Counting { bytes: bytes.clone(), reads: Arc::clone(&counter) }))
    });
    let file = reader.file(1).unwrap();
    let EntryKind::File { runs, .. } = copied.manifest().entry(1).kind else { panic!("`b` is a file") };
    let chunks: u32 = runs.iter().map(|run| run.count).sum();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut whole = Vec::new();
                let mut piece = vec![0; 4096];
                loop {
                    let n = reader.read_at(&file, whole.len() as u64, &mut piece).unwrap();
                    if n == 0 {
                        break;
                    }
                    whole.extend_from_slice(&piece[..n]);
                }
                assert!(whole == prose(2, 900_000));
            });
        }
    });
    assert_eq!(reads.load(Ordering::Relaxed), chunks as usize);
}

#[test]
fn a_cache_too_small_for_a_chunk_still_reads() {
    let copied = copied();
    let bytes = copied.in_library().clone();
    let reader = Reader::new(Arc::new(copied.manifest().clone()), to(), 0, move |_| Ok(Box::new(bytes.clone())));
    assert!(read_whole(&reader, 0) == noise(SHARED.0, SHARED.1));
}

#[test]
fn a_missing_pack_is_an_error_that_names_the_file() {
    let copied = copied();
    let reader = reader(copied.manifest(), to(), &MemorySink::default());
    let file = reader.file(1).unwrap();
    let error = reader.read_at(&file, 5000, &mut [0; 1]).unwrap_err();
    assert!(matches!(&error, ReadError::Pack { path, source, .. } if path == "b" && source.kind() == io::ErrorKind::NotFound), "{error}");
}

#[test]
fn the_key_of_another_library_or_title_opens_nothing() {
    let copied = copied();
    let other_library = library_key(3).chunk_keys(&content_key(1).chunk_id_key());
    let other_title = library_key(2).chunk_keys(&content_key(4).chunk_id_key());
    for (keys, kind) in [(other_library, ChunkError::Tag), (other_title, ChunkError::Id)] {
        let report = verify_pack(copied.manifest(), 0, &keys, Some(copied.in_library()), |_| {});
        assert_eq!(report.damaged.len(), copied.manifest().chunks().len());
        assert!(report.damaged.iter().all(|damage| damage.kind == DamageKind::Bad(kind)));
    }
}
