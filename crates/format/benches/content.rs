//! CPU time of publishing, transcrypting and reading, beside what each is compared with (user and system time, this process).
//!
//! Criterion gives the figures of each; `ratios`, printed first, interleaves both sides A B A B and takes medians of 9, because
//! figures of different minutes cannot be compared on a shared machine. The data are real files of this machine.
#![allow(clippy::unwrap_used, reason = "a bench that fails here has failed")]
#![allow(missing_docs, reason = "Criterion's macro makes a public function")]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use counterfoil_format::content::*;
use counterfoil_format::secret::Secret;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BYTES: u64 = 192 << 20;
const NOISE: usize = 64 << 20;

/// A tree of real files, published once and copied to a library once.
struct Setup {
    dir: tempfile::TempDir,
    key: ContentKey,
    library_keys: ChunkKeys,
    manifest: Arc<Manifest>,
}

impl Setup {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for part in ["tree", "store", "library", "out"] {
            fs::create_dir(dir.path().join(part)).unwrap();
        }
        let mut left = BYTES;
        gather(Path::new("/usr/lib"), &dir.path().join("tree"), &mut left, &mut 0);
        // One file to read at random, beside the same bytes in plain.
        let mut one = Vec::new();
        for entry in fs::read_dir(dir.path().join("tree")).unwrap() {
            File::open(entry.unwrap().path()).unwrap().read_to_end(&mut one).unwrap();
        }
        fs::write(dir.path().join("tree/one"), &one).unwrap();
        // And one that no compressor shrinks, as media are.
        let mut noise = vec![0; NOISE];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        fs::write(dir.path().join("tree/noise"), &noise).unwrap();

        let key = ContentKey::new(Secret::new([1; 32]));
        let library_keys = LibraryKey::new(Secret::new([2; 32])).chunk_keys(&key.chunk_id_key());
        let mut sink = DirectorySink::new(dir.path().join("store"));
        let published = publish(&dir.path().join("tree"), &key, &PublishOptions::default(), &mut sink, &mut |_| {}).unwrap();
        let manifest = Arc::new(published.manifest);
        let setup = Self { dir, key, library_keys, manifest };
        setup.transcrypt("library", Transcrypter::BULK);
        setup
    }

    fn path(&self, part: &str) -> PathBuf {
        self.dir.path().join(part)
    }

    fn publish(&self) {
        let options = PublishOptions { threads: 1, ..PublishOptions::default() };
        publish(&self.path("tree"), &self.key, &options, &mut Null, &mut |_| {}).unwrap();
    }

    /// What `zstd` does with the same files at the same level.
    fn zstd_alone(&self) {
        let mut buffer = vec![0; 1 << 17];
        for entry in fs::read_dir(self.path("tree")).unwrap() {
            let mut file = File::open(entry.unwrap().path()).unwrap();
            let mut encoder = zstd::stream::Encoder::new(std::io::sink(), 3).unwrap();
            loop {
                let n = file.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                encoder.write_all(&buffer[..n]).unwrap();
            }
            encoder.finish().unwrap();
        }
    }

    fn transcrypt(&self, to: &str, bulk: usize) {
        let from_keys = self.key.chunk_keys();
        let mut transcrypter = Transcrypter::with_bulk(&from_keys, &self.library_keys, bulk);
        for (index, pack) in self.manifest.packs().iter().enumerate() {
            let source = File::open(self.path("store").join(pack.name.to_string())).unwrap();
            let target = File::create(self.path(to).join(pack.name.to_string())).unwrap();
            transcrypter.pack(&self.manifest, index, 0, source, target, |_| {}).unwrap();
        }
    }

    fn read_write_loop(&self) {
        let mut buffer = vec![0; Transcrypter::BULK];
        for pack in self.manifest.packs() {
            let mut source = File::open(self.path("store").join(pack.name.to_string())).unwrap();
            let mut target = File::create(self.path("out").join(pack.name.to_string())).unwrap();
            loop {
                let n = source.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                target.write_all(&buffer[..n]).unwrap();
            }
        }
    }

    fn reader(&self, name: &str) -> (Reader, FileView) {
        let library = self.path("library");
        let id_key = self.key.chunk_id_key();
        let keys = LibraryKey::new(Secret::new([2; 32])).chunk_keys(&id_key);
        let reader = Reader::new(Arc::clone(&self.manifest), keys, 8 << 20, move |name| {
            Ok(Box::new(File::open(library.join(name.to_string()))?) as Box<dyn ReadAt>)
        });
        let file = reader.file(self.manifest.find(name).unwrap()).unwrap();
        (reader, file)
    }
}

/// Takes regular files of at least 4 KiB from a directory until there are enough bytes.
fn gather(from: &Path, to: &Path, left: &mut u64, number: &mut u32) {
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if *left == 0 {
            return;
        }
        if metadata.is_dir() {
            gather(&path, to, left, number);
        } else if metadata.is_file() && (4096..32 << 20).contains(&metadata.len()) && fs::copy(&path, to.join(number.to_string())).is_ok() {
            *number += 1;
            *left = left.saturating_sub(metadata.len());
        }
    }
}

/// Takes packs and forgets them.
struct Null;

impl PackSink for Null {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, _: PackedObject) -> std::io::Result<()> {
        Ok(())
    }
}

const RANDOM_READ: usize = 64 << 10;

/// Offsets all over a file, the same in each run.
fn offsets(size: u64, count: u64) -> impl Iterator<Item = u64> {
    (1..=count).map(move |n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (size - RANDOM_READ as u64))
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time as Criterion's measure.
struct Cpu;

impl Measurement for Cpu {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cpu()
    }

    fn end(&self, start: Duration) -> Duration {
        cpu() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Medians of interleaved runs, and their quotient.
///
/// `RATIO=transcrypt` picks those whose names contain the word.
fn ratio(name: &str, mut ours: impl FnMut(), mut theirs: impl FnMut()) {
    if std::env::var("RATIO").is_ok_and(|word| !name.contains(&word)) {
        return;
    }
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..9 {
        for (run, times) in [(&mut ours as &mut dyn FnMut(), &mut times.0), (&mut theirs, &mut times.1)] {
            let start = cpu();
            run();
            times.push((cpu() - start).as_secs_f64());
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let (ours, theirs) = (median(&mut times.0), median(&mut times.1));
    println!("ratio {name}: {:.2} ({ours:.3} s / {theirs:.3} s CPU)", ours / theirs);
}

fn content(criterion: &mut Criterion<Cpu>) {
    let setup = Setup::new();
    let bytes = setup.manifest.size();
    println!("{} files, {bytes} bytes, {} bytes packed", setup.manifest.files(), setup.manifest.packed_size());
    let (reader, file) = setup.reader("one");
    let plain = File::open(setup.path("tree/one")).unwrap();
    let mut buffer = vec![0; RANDOM_READ];
    let mut other = vec![0; RANDOM_READ];

    ratio("publish / zstd -3", || setup.publish(), || setup.zstd_alone());
    for bulk in [256 << 10, 512 << 10, Transcrypter::BULK] {
        let name = format!("transcrypt by {} KiB / read and write", bulk >> 10);
        ratio(&name, || setup.transcrypt("out", bulk), || setup.read_write_loop());
    }
    for (name, what) in [("one", "compressed"), ("noise", "incompressible")] {
        let (reader, file) = setup.reader(name);
        let plain = File::open(setup.path("tree").join(name)).unwrap();
        ratio(
            &format!("random 64 KiB from library, {what} / pread"),
            || {
                offsets(file.size(), 2000).for_each(|offset| {
                    reader.read_at(&file, offset, &mut buffer).unwrap();
                })
            },
            || offsets(file.size(), 2000).for_each(|offset| FileExt::read_exact_at(&plain, &mut other, offset).unwrap()),
        );
    }
    ratio(
        "sequential from library / read",
        || {
            (0..file.size()).step_by(RANDOM_READ).for_each(|offset| {
                reader.read_at(&file, offset, &mut buffer).unwrap();
            })
        },
        || {
            (&plain).seek(SeekFrom::Start(0)).unwrap();
            while (&plain).read(&mut other).unwrap() > 0 {}
        },
    );

    let mut group = criterion.benchmark_group("content");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("publish", |bench| bench.iter(|| setup.publish()));
    group.bench_function("zstd -3", |bench| bench.iter(|| setup.zstd_alone()));
    group.throughput(Throughput::Bytes(setup.manifest.packed_size()));
    group.bench_function("transcrypt", |bench| bench.iter(|| setup.transcrypt("out", Transcrypter::BULK)));
    group.bench_function("read and write", |bench| bench.iter(|| setup.read_write_loop()));
    group.throughput(Throughput::Bytes(100 * RANDOM_READ as u64));
    group.bench_function("100 random reads from library", |bench| {
        bench.iter(|| {
            offsets(file.size(), 100).for_each(|offset| {
                reader.read_at(&file, offset, &mut buffer).unwrap();
            })
        });
    });
    group.bench_function("100 random preads", |bench| {
        bench.iter(|| offsets(file.size(), 100).for_each(|offset| FileExt::read_exact_at(&plain, &mut other, offset).unwrap()));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(Cpu);
    targets = content
}
criterion_main!(benches);
