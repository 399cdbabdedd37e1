//! Memory does not grow with the size of what is published, copied and read: half a gigabyte passes through a few dozen megabytes.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use crate::content_support::*;
use counterfoil_format::content::*;

/// Most memory that this process ever had in use, in bytes. The runner gives each test its own process; where it does not, the
/// limit below is only harder to keep.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn half_a_gigabyte_passes_in_little_memory() {
    const SIZE: u64 = 512 << 20;
    let dir = tempfile::tempdir().unwrap();
    for part in ["tree", "store", "library"] {
        fs::create_dir(dir.path().join(part)).unwrap();
    }
    let mut file = File::create(dir.path().join("tree/file")).unwrap();
    for n in 0..SIZE >> 20 {
        file.write_all(&noise(n, 1 << 20)).unwrap();
    }
    drop(file);

    let key = content_key(1);
    let options = PublishOptions { threads: 4, ..PublishOptions::default() };
    let mut sink = DirectorySink::new(dir.path().join("store"));
    let published = publish(&dir.path().join("tree"), &key, &options, &mut sink, &mut |_| {}).unwrap();
    assert!(published.progress.written > SIZE, "all of it is new");

    let to = || library_key(2).chunk_keys(&key.chunk_id_key());
    let from = key.chunk_keys();
    for (index, pack) in published.manifest.packs().iter().enumerate() {
        let source = File::open(dir.path().join("store").join(pack.name.to_string())).unwrap();
        let target = File::create(dir.path().join("library").join(pack.name.to_string())).unwrap();
        Transcrypter::new(&from, &to()).pack(&published.manifest, index, 0, source, target, |_| {}).unwrap();
    }

    let library = dir.path().join("library");
    let reader = Reader::new(Arc::new(published.manifest), to(), 8 << 20, move |name| {
        Ok(Box::new(File::open(library.join(name.to_string()))?) as Box<dyn ReadAt>)
    });
    let file = reader.file(0).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for n in 0..SIZE >> 20 {
        assert_eq!(reader.read_at(&file, n << 20, &mut buffer).unwrap(), buffer.len());
        assert!(n % 64 != 0 || buffer == noise(n, 1 << 20));
    }
    let peak = peak();
    println!("peak {} MiB", peak >> 20);
    assert!(peak < 96 << 20, "peak {} MiB", peak >> 20);
}
