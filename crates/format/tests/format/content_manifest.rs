//! Manifests and paths: no bytes make the parser panic, and large releases stay small and quick.
use std::io;
use std::sync::Arc;

use counterfoil_format::content::*;
use counterfoil_format::secret::Secret;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever bytes come, parsing ends with a manifest that encodes to them again or with an error.
    #[test]
    fn parsing_never_panics(start in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = if start { [b"CFMANIF1", &bytes[..]].concat() } else { bytes };
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert!(manifest.encode() == bytes);
        }
    }

    /// The same for a good manifest with bytes changed, left out and put in.
    #[test]
    fn parsing_a_changed_manifest_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..6)
    ) {
        let mut builder = ManifestBuilder::new();
        for n in 0..5 {
            builder.chunk(ChunkId([n; 32]), 100 + u32::from(n), 1000).unwrap();
        }
        builder.end_pack(ObjectName([7; 32])).unwrap();
        builder.directory("bin").unwrap();
        builder.file("bin/game", true, &[Run { first: 0, count: 2 }, Run { first: 1, count: 4 }]).unwrap();
        builder.link("bin/link", "../data").unwrap();
        builder.file("data", false, &[Run { first: 3, count: 1 }]).unwrap();
        let good = builder.finish().unwrap();
        let mut bytes = good.encode();
        prop_assert_eq!(&Manifest::parse(&bytes).unwrap(), &good);
        for (at, byte, how) in changes {
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert!(manifest.encode() == bytes);
        }
    }

    /// Paths are accepted or refused, and what is accepted has good components only.
    #[test]
    fn paths_never_panic(path in "\\PC{0,40}|[a-c./\\\\]{0,12}|(con|nul|com1|a)[ .a]{0,3}") {
        if check_path(&path).is_ok() {
            prop_assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.ends_with([' ', '.'])));
            prop_assert!(!path.contains(['\\', ':', '*', '?', '"', '<', '>', '|']));
        }
    }
}

#[test]
fn large_trees_and_files_stay_small_and_quick() {
    // 10⁵ files, and one of 10⁶ chunks (about 64 GB), as the manifest holds them.
    let mut builder = ManifestBuilder::new();
    for n in 0..1_000_000_u32 {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        builder.chunk(ChunkId(id), 65_000, 65_536).unwrap();
        if n % 500 == 499 {
            let mut name = [1; 32];
            name[..4].copy_from_slice(&n.to_le_bytes());
            builder.end_pack(ObjectName(name)).unwrap();
        }
    }
    for directory in 0..100 {
        builder.directory(&format!("d{directory:02}")).unwrap();
        for file in 0..1000 {
            builder.file(&format!("d{directory:02}/file-{file:03}"), false, &[Run { first: file, count: 1 }]).unwrap();
        }
    }
    builder.file("huge", false, &[Run { first: 0, count: 1_000_000 }]).unwrap();
    let manifest = builder.finish().unwrap();
    let bytes = manifest.encode();
    assert!(bytes.len() < 1_000_000 * 38 + 100_000 * 24);
    assert_eq!(size_of::<ChunkRef>(), 48);
    let parsed = Manifest::parse(&bytes).unwrap();
    assert_eq!(parsed, manifest);
    assert_eq!(parsed.children(None).count(), 101);
    let d50 = parsed.find("d50").unwrap();
    assert_eq!(parsed.children(Some(d50)).count(), 1000);
    assert_eq!(parsed.entry(parsed.children(Some(d50)).nth(7).unwrap()).path, "d50/file-007");

    // An offset far inside is found by a mark, not by walking: all 10⁶ chunks for each of these reads would take minutes.
    let reader =
        Reader::new(Arc::new(parsed), ContentKey::new(Secret::new([1; 32])).chunk_keys(), 0, |_| Err(io::ErrorKind::NotFound.into()));
    let huge = reader.file(reader.manifest().find("huge").unwrap()).unwrap();
    for n in 1..20_000_u64 {
        let offset = huge.size() / 20_000 * n;
        let error = reader.read_at(&huge, offset, &mut [0; 8]).unwrap_err();
        assert!(matches!(error, ReadError::Pack { offset: at, .. } if at == offset / 65_536 * 65_536));
    }
}
