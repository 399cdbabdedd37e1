//! Publishing: the same bytes whatever the threads, what is known is packed once, and what cannot be held is refused by name.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::content_support::*;
use counterfoil_format::content::*;
use proptest::prelude::*;

fn options(threads: usize) -> PublishOptions<'static> {
    // Small packs, so that small trees have several.
    PublishOptions { threads, pack_bytes: 300_000, ..PublishOptions::default() }
}

fn refused(root: &Path) -> PublishError {
    match publish(root, &content_key(1), &options(2), &mut MemorySink::default(), &mut |_| {}) {
        Ok(_) => panic!("published what must be refused"),
        Err(error) => error,
    }
}

#[derive(Debug, Clone)]
enum Node {
    Directory,
    Link,
    File { executable: bool, parts: Vec<(u8, u32)> },
}

/// Random trees of files that share parts, links and empty directories. Names differ by more than case.
fn trees() -> impl Strategy<Value = Vec<(String, Node)>> {
    let name = prop_oneof!["[a-z0-9_-]{1,12}", "[а-я]{1,6}", "[あ-ん]{1,4}\\.txt"];
    let path = prop::collection::vec(name, 1..4).prop_map(|names| names.join("/"));
    let file = (any::<bool>(), prop::collection::vec((0_u8..6, 0_u32..150_000), 0..4));
    let node = prop_oneof![
        1 => Just(Node::Directory),
        1 => Just(Node::Link),
        6 => file.prop_map(|(executable, parts)| Node::File { executable, parts }),
    ];
    prop::collection::vec((path, node), 0..12)
}

fn make(root: &Path, tree: &[(String, Node)]) {
    for (path, node) in tree {
        let full = root.join(path);
        // Random paths can get in one another's way; what comes first stays.
        if check_path(path).is_err() || fs::symlink_metadata(&full).is_ok() || fs::create_dir_all(full.parent().unwrap()).is_err() {
            continue;
        }
        match node {
            Node::Directory => fs::create_dir(&full).unwrap(),
            Node::Link => symlink("somewhere/else", &full).unwrap(),
            Node::File { executable, parts } => {
                let bytes: Vec<u8> = parts
                    .iter()
                    .flat_map(|(seed, length)| match seed % 3 {
                        0 => vec![*seed; *length as usize],
                        1 => noise(u64::from(*seed), *length as usize),
                        _ => prose(u64::from(*seed), *length as usize),
                    })
                    .collect();
                fs::write(&full, bytes).unwrap();
                let mode = if *executable { 0o755 } else { 0o644 };
                fs::set_permissions(&full, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}

fn case_clash(root: &Path) -> bool {
    matches!(walk(root), Err(TreeError::Path(PathError { rule: PathRule::SameName(_), .. })))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Publish → transcrypt → read gives the tree back, and the bytes do not depend on the number of threads.
    #[test]
    fn any_tree_comes_back_and_threads_do_not_show(tree in trees()) {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), &tree);
        // й as one letter and as two are one name: such trees are refused, which another test checks.
        prop_assume!(!case_clash(dir.path()));
        let key = content_key(3);
        let (published, store) = publish_to_memory(dir.path(), &key, &options(1));
        for threads in [2, 5] {
            let (again, other_store) = publish_to_memory(dir.path(), &key, &options(threads));
            prop_assert_eq!(again.reference, published.reference);
            prop_assert!(again.sealed_manifest == published.sealed_manifest);
            prop_assert!(other_store == store);
        }
        let manifest = &published.manifest;
        prop_assert_eq!(&Manifest::parse(&manifest.encode()).unwrap(), manifest);

        let library_key = library_key(4);
        let keys = || library_key.chunk_keys(&key.chunk_id_key());
        let library = transcrypt_all(manifest, &key.chunk_keys(), &keys(), &store);
        let reader = reader(manifest, keys(), &library);
        let found = walk(dir.path()).unwrap();
        prop_assert_eq!(found.len(), manifest.len());
        for (index, found) in found.iter().enumerate() {
            let entry = manifest.entry(index);
            prop_assert_eq!(&found.path, entry.path);
            if let FoundKind::File { .. } = found.kind {
                prop_assert!(read_whole(&reader, index) == fs::read(dir.path().join(&found.path)).unwrap());
            }
        }
    }
}

#[test]
fn another_key_gives_other_bytes_and_other_cuts() {
    let dir = tempfile::tempdir().unwrap();
    write_file(dir.path(), "file", &noise(1, 3_000_000));
    let (one, _) = publish_to_memory(dir.path(), &content_key(1), &options(2));
    let (two, _) = publish_to_memory(dir.path(), &content_key(2), &options(2));
    let lengths = |published: &Published| -> Vec<u32> { published.manifest.chunks().iter().map(|chunk| chunk.plain_len).collect() };
    assert_ne!(lengths(&one), lengths(&two), "lengths of chunks must not tell what was cut");
    assert_ne!(one.reference.id, two.reference.id);
}

#[test]
fn chunks_have_the_sizes_that_are_promised() {
    let dir = tempfile::tempdir().unwrap();
    write_file(dir.path(), "file", &noise(1, 20_000_000));
    let (published, _) = publish_to_memory(dir.path(), &content_key(1), &PublishOptions::default());
    let lengths: Vec<usize> = published.manifest.chunks().iter().map(|chunk| chunk.plain_len as usize).collect();
    let (_, all_but_last) = lengths.split_last().unwrap();
    // SPEC.md says so, whatever the constants say.
    assert_eq!((MIN_CHUNK, AVERAGE_CHUNK, MAX_CHUNK), (16_384, 65_536, 262_144));
    assert!(all_but_last.iter().all(|length| (MIN_CHUNK..=MAX_CHUNK).contains(length)));
    let average = 20_000_000 / lengths.len();
    assert!((AVERAGE_CHUNK * 3 / 4..AVERAGE_CHUNK * 3 / 2).contains(&average), "average {average}");
}

#[test]
fn an_insertion_costs_its_neighbourhood_and_earlier_packs_are_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = noise(1, 6_000_000);
    write_file(dir.path(), "big", &bytes);
    write_file(dir.path(), "other", &noise(2, 1_000_000));
    let key = content_key(1);
    let (first, store) = publish_to_memory(dir.path(), &key, &options(2));

    bytes.splice(3_000_000..3_000_000, *b"a few bytes more");
    write_file(dir.path(), "big", &bytes);
    fs::rename(dir.path().join("other"), dir.path().join("moved")).unwrap();
    let earlier = [&first.manifest];
    let (second, new_store) = publish_to_memory(dir.path(), &key, &PublishOptions { earlier: &earlier, ..options(2) });
    assert!(second.progress.written < 3 * MAX_CHUNK as u64, "{:?}", second.progress);
    assert!(!second.reused.is_empty());
    assert!(second.reused.iter().all(|reused| 0 < reused.used && reused.used <= reused.pack.length));

    // Old and new packs together are the release.
    let mut both = store.clone();
    both.objects.extend(new_store.objects);
    let reader = reader(&second.manifest, key.chunk_keys(), &both);
    assert!(read_whole(&reader, 0) == bytes);
    assert!(read_whole(&reader, 1) == noise(2, 1_000_000));
    assert_eq!(Manifest::parse(&second.manifest.encode()).unwrap(), second.manifest);

    // Nothing changed: nothing is written, and the manifest lists what the second did.
    let earlier = [&first.manifest, &second.manifest];
    let (third, nothing) = publish_to_memory(dir.path(), &key, &PublishOptions { earlier: &earlier, ..options(2) });
    assert!(nothing.objects.is_empty());
    assert_eq!(third.manifest, second.manifest);
}

/// A pack of which hardly anything is used any more would be fetched and kept whole by everybody.
#[test]
fn what_is_left_of_a_mostly_dead_pack_is_packed_anew() {
    let key = content_key(1);
    // All of it in one pack.
    let options = |threads: usize| PublishOptions { threads, ..PublishOptions::default() };
    let second_with = |kept: usize| {
        let dir = tempfile::tempdir().unwrap();
        write_file(dir.path(), "a", &noise(1, 2_000_000));
        write_file(dir.path(), "kept", &noise(2, kept));
        write_file(dir.path(), "more", &noise(4, 200_000));
        let (first, store) = publish_to_memory(dir.path(), &key, &options(2));
        write_file(dir.path(), "a", &noise(3, 2_000_000));
        // The second copy refers to the same chunks, which are packed once all the same.
        write_file(dir.path(), "z", &noise(2, kept));
        let earlier = [&first.manifest];
        let (second, new_store) = publish_to_memory(dir.path(), &key, &PublishOptions { earlier: &earlier, ..options(2) });
        let again = publish_to_memory(dir.path(), &key, &PublishOptions { earlier: &earlier, ..options(1) }).0;
        assert_eq!(again.manifest, second.manifest, "the same, however many threads there are");

        let mut both = store.clone();
        both.objects.extend(new_store.objects);
        let reader = reader(&second.manifest, key.chunk_keys(), &both);
        for (index, expected) in [noise(3, 2_000_000), noise(2, kept), noise(4, 200_000), noise(2, kept)].iter().enumerate() {
            assert!(read_whole(&reader, index) == *expected, "file {index}");
        }
        let mut used = vec![false; second.manifest.chunks().len()];
        for entry in second.manifest.entries() {
            let EntryKind::File { runs, .. } = entry.kind else { continue };
            for run in runs {
                used[run.first as usize..(run.first + run.count) as usize].fill(true);
            }
        }
        (second.reused.len(), used.iter().filter(|used| !**used).count())
    };
    assert_eq!(second_with(300_000), (0, 0), "nothing dead is listed");
    let (reused, dead) = second_with(3_000_000);
    assert!(reused == 1 && dead > 0, "a pack that is mostly alive stays: {reused}, {dead}");
}

#[test]
fn a_path_has_so_many_bytes_and_components_and_no_more() {
    let deep = |components| vec!["d"; components].join("/");
    let long = |last: usize| [vec!["x".repeat(255); 15], vec!["x".repeat(254), "x".repeat(last)]].concat().join("/");
    assert_eq!((long(1).len(), long(2).len()), (4096, 4097));
    for good in [deep(256), long(1), "x".repeat(255)] {
        assert_eq!(check_path(&good), Ok(()));
    }
    for bad in [deep(257), deep(1000), long(2), long(200), "x".repeat(256)] {
        assert_eq!(check_path(&bad).unwrap_err().rule, PathRule::TooLong);
    }
    // Where a link leads is a path as well.
    for (components, fits) in [(256, true), (257, false)] {
        let dir = tempfile::tempdir().unwrap();
        symlink(deep(components), dir.path().join("link")).unwrap();
        assert_eq!(walk(dir.path()).is_ok(), fits, "{components}");
    }
}

#[test]
fn what_a_release_cannot_hold_is_refused_by_name() {
    type Make = fn(&Path);
    let cases: &[(&str, Make, &str)] = &[
        ("a link out of the tree", |root| symlink("../outside", root.join("link")).unwrap(), "`link` is a link that leads out"),
        ("an absolute link", |root| symlink("/etc/passwd", root.join("link")).unwrap(), "`link` is a link whose target"),
        ("a FIFO", |root| assert!(Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success()), "`fifo` is a device file"),
        ("a socket", |root| drop(std::os::unix::net::UnixListener::bind(root.join("sock")).unwrap()), "`sock` is a device file"),
        ("a Windows device", |root| write_file(root, "a/Aux.txt", b""), "`a/Aux.txt` is the name of a device"),
        ("a trailing dot", |root| write_file(root, "a./b", b""), "`a.` has a component that ends in a dot"),
        ("a colon", |root| write_file(root, "a/b:c", b""), "`a/b:c` contains ':'"),
        ("a backslash", |root| write_file(root, "a\\b", b""), "`a\\b` contains '\\\\'"),
        ("a control character", |root| write_file(root, "a\x1b[2Jb", b""), "`a\\u{1b}[2Jb` contains '\\u{1b}'"),
        (
            "names that differ in case",
            |root| {
                write_file(root, "d/Readme", b"");
                write_file(root, "d/README", b"");
            },
            "`d/Readme` is the same name as `d/README`",
        ),
        (
            "names that differ in Unicode form",
            |root| {
                write_file(root, "n\u{e9}", b"");
                write_file(root, "ne\u{301}", b"");
            },
            "is the same name as",
        ),
        (
            "a name that is not UTF-8",
            |root| {
                use std::os::unix::ffi::OsStrExt;
                fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), b"").unwrap();
            },
            "`caf\u{fffd}` is not UTF-8",
        ),
    ];
    for (what, make, message) in cases {
        let dir = tempfile::tempdir().unwrap();
        write_file(dir.path(), "good", b"a file that alone could be published");
        make(dir.path());
        let error = refused(dir.path()).to_string();
        assert!(error.contains(message), "{what}: {error}");
    }
    let error = refused(Path::new("/nonexistent/tree")).to_string();
    assert!(error.contains("/nonexistent/tree"), "{error}");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    // More than all queues hold, so that the file is still being read when the first pack is written.
    write_file(dir.path(), "a/growing", &noise(1, 40 << 20));
    struct Meddler<'a>(&'a Path, bool);
    impl PackSink for Meddler<'_> {
        fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
            if !std::mem::replace(&mut self.1, true) {
                fs::OpenOptions::new().append(true).open(self.0)?.write_all(b"more")?;
            }
            Ok(())
        }

        fn finish(&mut self, _: PackedObject) -> std::io::Result<()> {
            Ok(())
        }
    }
    let file = dir.path().join("a/growing");
    let result = publish(dir.path(), &content_key(1), &options(2), &mut Meddler(&file, false), &mut |_| {});
    let error = result.err().unwrap();
    assert!(matches!(&error, PublishError::Changed(path) if path == "a/growing"), "{error}");
}

#[test]
fn a_sink_that_fails_ends_publishing_with_its_error() {
    struct Full(u32);
    impl PackSink for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
            match self.0.checked_sub(1) {
                Some(left) => self.0 = left,
                None => return Err(std::io::ErrorKind::StorageFull.into()),
            }
            Ok(())
        }

        fn finish(&mut self, _: PackedObject) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    write_file(dir.path(), "file", &noise(1, 30 << 20));
    for writes in [0, 1, 7] {
        let result = publish(dir.path(), &content_key(1), &options(3), &mut Full(writes), &mut |_| {});
        assert!(matches!(result, Err(PublishError::Sink(error)) if error.kind() == std::io::ErrorKind::StorageFull));
    }
}

#[test]
fn a_directory_sink_leaves_whole_objects_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, store) = (dir.path().join("tree"), dir.path().join("store"));
    write_file(&tree, "file", &noise(1, 2_000_000));
    fs::create_dir(&store).unwrap();
    let mut sink = DirectorySink::new(&store);
    let published = publish(&tree, &content_key(1), &options(2), &mut sink, &mut |_| {}).unwrap();
    // One that is given up in the middle.
    sink.write(b"half of an object").unwrap();
    drop(sink);
    let mut names: Vec<String> = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> = published.packs.iter().map(|pack| pack.name.to_string()).collect();
    expected.sort();
    assert_eq!(names, expected);
    assert!(expected.len() > 3);
    for pack in &published.packs {
        let file = fs::File::open(store.join(pack.name.to_string())).unwrap();
        check_object(file, &pack.name, pack.length).unwrap();
    }
}

#[test]
fn a_level_that_zstd_does_not_know_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = PublishOptions { level: 1000, ..options(1) };
    let result = publish(dir.path(), &content_key(1), &options, &mut MemorySink::default(), &mut |_| {});
    assert!(matches!(result, Err(PublishError::Compression(_))));
}
