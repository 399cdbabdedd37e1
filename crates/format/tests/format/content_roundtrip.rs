//! From a directory through store and library back to its bytes, and what happens on the way when something is wrong.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::content_support::*;
use counterfoil_format::content::*;
use counterfoil_format::secret::Secret;
use counterfoil_format::sign::SigningKey;

/// One of everything that a tree may hold.
fn make_tree(root: &std::path::Path) {
    write_file(root, "bin/game", &noise(1, 700_000));
    fs::set_permissions(root.join("bin/game"), fs::Permissions::from_mode(0o755)).unwrap();
    write_file(root, "data/level.txt", &prose(2, 1_500_000));
    write_file(root, "data/again.bin", &noise(1, 700_000));
    write_file(root, "data/zeros", &vec![0; 2_000_000]);
    write_file(root, "data/one", b"x");
    write_file(root, "empty", b"");
    write_file(root, "Ünï/日本語/naïve.txt", b"names are not all ASCII");
    fs::create_dir_all(root.join("nothing/here")).unwrap();
    symlink("../data/level.txt", root.join("bin/level")).unwrap();
    symlink("data", root.join("dat")).unwrap();
    write_file(root, &format!("{}/{}", "d".repeat(200), "f".repeat(255)), b"long names");
}

fn assert_same_tree(root: &std::path::Path, reader: &Reader) {
    let found = walk(root).unwrap();
    assert_eq!(found.len(), reader.manifest().len());
    for (index, (found, entry)) in found.iter().zip(reader.manifest().entries()).enumerate() {
        assert_eq!(found.path, entry.path);
        assert_eq!(reader.manifest().find(entry.path), Some(index));
        match (&found.kind, entry.kind) {
            (FoundKind::Directory, EntryKind::Directory) => {}
            (FoundKind::Link { target }, EntryKind::Link { target: listed }) => assert_eq!(target, listed),
            (FoundKind::File { executable, .. }, EntryKind::File { executable: listed, .. }) => {
                assert_eq!(*executable, listed);
                let mode = fs::metadata(root.join(&found.path)).unwrap().permissions().mode();
                assert_eq!(listed, mode & 0o111 != 0, "{}", found.path);
                let bytes = fs::read(root.join(&found.path)).unwrap();
                assert!(read_whole(reader, index) == bytes, "{} differs", found.path);
            }
            (found, entry) => panic!("{found:?} is listed as {entry:?}"),
        }
    }
}

#[test]
fn a_tree_comes_back_from_store_and_library() {
    let dir = tempfile::tempdir().unwrap();
    make_tree(dir.path());
    let key = content_key(7);
    let (published, store) = publish_to_memory(dir.path(), &key, &PublishOptions::default());
    assert_same_tree(dir.path(), &reader(&published.manifest, key.chunk_keys(), &store));
    // The file that is there twice, and the zeros, are packed once.
    assert!(published.progress.bytes_known > 700_000 + 1_000_000, "{:?}", published.progress);
    assert_eq!(published.progress.bytes, published.manifest.size());
    assert_eq!(published.progress.bytes, published.progress.bytes_total);

    // What a terminal does: verify, open, bring manifest and packs under the library key.
    let signing = SigningKey::from_seed(&Secret::new([9; 32]));
    let release = Release {
        title: "sky-raider".into(),
        version: "1.0.0".into(),
        kind: Kind::Game,
        entry: Some("bin/game".into()),
        control: None,
        generation: 1,
        size: published.manifest.size(),
        files: published.manifest.files(),
        manifest: published.reference,
    };
    let token = release.sign("pub-1", &signing);
    let verified = Release::verify(&token, |kid| (kid == "pub-1").then(|| signing.verifying_key())).unwrap();
    assert_eq!(verified, release);
    verified.check_manifest_object(&published.sealed_manifest).unwrap();
    let manifest = verified.open_manifest(&key.chunk_keys(), &mut published.sealed_manifest.clone()).unwrap();
    assert_eq!(manifest, published.manifest);

    let library_key = library_key(8);
    let library_keys = library_key.chunk_keys(&key.chunk_id_key());
    let library = transcrypt_all(&manifest, &key.chunk_keys(), &library_keys, &store);
    let mut sealed = published.sealed_manifest.clone();
    transcrypt_manifest(&published.reference, &key.chunk_keys(), &library_keys, &mut sealed).unwrap();
    assert_ne!(sealed, published.sealed_manifest);

    // Later, the content key is gone: library key and wrapped id key are all there is.
    let wrapped = library_key.wrap_id_key(&key.chunk_id_key());
    let id_key = library_key.unwrap_id_key(&wrapped).unwrap();
    let manifest = verified.open_manifest(&library_key.chunk_keys(&id_key), &mut sealed).unwrap();
    assert_same_tree(dir.path(), &reader(&manifest, library_key.chunk_keys(&id_key), &library));

    // Packs keep names, lengths and offsets; their bytes are others.
    for pack in manifest.packs() {
        assert_eq!(store.objects[&pack.name].len(), library.objects[&pack.name].len());
        assert_ne!(store.objects[&pack.name], library.objects[&pack.name]);
    }
}

#[test]
fn reads_at_any_offset_give_the_bytes_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [noise(3, 900_000), prose(4, 900_000), noise(3, 900_000)].concat();
    write_file(dir.path(), "file", &bytes);
    let key = content_key(1);
    let (published, store) = publish_to_memory(dir.path(), &key, &PublishOptions::default());
    let reader = reader(&published.manifest, key.chunk_keys(), &store);
    let file = reader.file(0).unwrap();
    assert_eq!(file.size(), bytes.len() as u64);
    let picks = noise(5, 8 * 400);
    for pick in picks.chunks(8) {
        let offset = u32::from_le_bytes(pick[..4].try_into().unwrap()) as usize % (bytes.len() + 1000);
        let length = u32::from_le_bytes(pick[4..].try_into().unwrap()) as usize % 200_000;
        let mut buffer = vec![0; length];
        let n = reader.read_at(&file, offset as u64, &mut buffer).unwrap();
        let expected = &bytes[offset.min(bytes.len())..(offset + length).min(bytes.len())];
        assert!(buffer[..n] == *expected, "{length} bytes at {offset}");
    }
}
