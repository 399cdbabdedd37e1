//! Saves that a hostile store, authority or device gives instead of what was handed in: nothing is written (A4).

use crate::common;
use crate::saving::{FIRST, Two, owned};

use common::*;
use counterfoil_format::container::{SaveKey, Sealing};
use counterfoil_format::secret::{Secret, SystemRandom};
use counterfoil_terminal::*;
use std::io::Write as _;

/// The header of an entry as `save push` writes it, and what another one would have.
fn entry(name: &str, kind: tar::EntryType, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(bytes.len() as u64);
    header.set_mode(if kind.is_dir() { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header.set_cksum();
    let padding = bytes.len().next_multiple_of(512) - bytes.len();
    [header.as_bytes(), bytes, &[0; 512][..padding]].concat()
}

/// Bundles that another device of the user, or an authority that has the key, makes on purpose.
#[test]
fn a4_hostile_bundles_write_nothing() {
    use tar::EntryType::{Directory, GNULongName, Link, Regular, Symlink};
    let end = vec![0; 1024];
    let dir = || entry("content", Directory, b"");
    let mut changed_sum = entry("content", Regular, b"x");
    changed_sum[150] ^= 1;
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("nothing", vec![end.clone()]),
        ("an empty directory", vec![dir(), end.clone()]),
        ("no end", vec![dir()]),
        ("half an end", vec![dir(), vec![0; 512]]),
        ("more behind the end", vec![dir(), end.clone(), vec![0; 512]]),
        ("another root", vec![entry("contents", Directory, b""), end.clone()]),
        ("absolute", vec![entry("/content", Directory, b""), end.clone()]),
        ("above", vec![dir(), entry("content/../x", Regular, b"x"), end.clone()]),
        ("far above", vec![dir(), entry("../../x", Regular, b"x"), end.clone()]),
        ("an absolute file", vec![dir(), entry("/etc/x", Regular, b"x"), end.clone()]),
        ("a link", vec![dir(), entry("content/l", Symlink, b""), end.clone()]),
        ("a hard link", vec![dir(), entry("content/l", Link, b""), end.clone()]),
        ("no directory for it", vec![dir(), entry("content/a/b", Regular, b"x"), end.clone()]),
        ("below a file", vec![dir(), entry("content/a", Regular, b"x"), entry("content/a/b", Regular, b"x"), end.clone()]),
        ("twice", vec![dir(), entry("content/a", Regular, b"x"), entry("content/a", Regular, b"x"), end.clone()]),
        ("the same but for case", vec![dir(), entry("content/a", Regular, b"x"), entry("content/A", Regular, b"x"), end.clone()]),
        ("two roots", vec![entry("content", Regular, b"x"), entry("content", Regular, b"x"), end.clone()]),
        ("a backslash", vec![dir(), entry("content/a\\b", Regular, b"x"), end.clone()]),
        ("a reserved name", vec![dir(), entry("content/nul", Regular, b"x"), end.clone()]),
        ("a control character", vec![dir(), entry("content/\u{1b}[2J", Regular, b"x"), end.clone()]),
        (
            "a long name without need",
            vec![dir(), entry("././@LongLink", GNULongName, b"content/a\0"), entry("content", Regular, b"x"), end.clone()],
        ),
        ("an endless name", vec![dir(), entry("././@LongLink", GNULongName, &vec![b'a'; 100_000]), end.clone()]),
        ("a wrong sum", vec![changed_sum, end.clone()]),
        ("garbage", vec![vec![0xff; 2048]]),
    ];
    let two = Two::new();
    two.write(1, &[("kept", "kept")]);
    let before = two.disks[1].named_files();
    let count = cases.len();
    let good = vec![dir(), entry("content/good", Regular, b"x"), end];
    for (name, bundle) in cases.into_iter().chain([("good", good)]) {
        forge(&two, |key, user| {
            let container = SaveKey::new(key).container(user, TITLE, "main");
            let mut sealing = Sealing::new(Vec::new(), &container, &mut SystemRandom).unwrap();
            sealing.write_all(&bundle.concat()).unwrap();
            sealing.finish().unwrap()
        });
        let result = two.pull_with(1, None, true);
        if name == "good" {
            result.unwrap();
            assert_eq!(two.read(1), owned(&[("good", "x")]));
            continue;
        }
        assert_eq!(result.expect_err(name).code(), "save_not_authentic", "{name}");
        let after: Vec<_> = two.disks[1].named_files().into_iter().filter(|(path, _)| !path.starts_with("/home/saves")).collect();
        assert!(after == before, "{name}: something was written");
    }
    assert!(count > 20);
}

/// Puts a version into the store that nobody has pushed.
fn forge(two: &Two, seal: impl FnOnce(Secret<32>, &str) -> Vec<u8>) {
    save::list(&two.terminal(1), &CardChoice::Default, &title()).unwrap();
    two.state(|state| {
        let (user, key) = state.uploads.key_of(&title());
        let bytes = seal(key, &user.to_string());
        state.uploads.versions.clear();
        state.uploads.forge(user, &title(), bytes);
    });
}

#[test]
fn a4_other_bytes_than_the_authority_has_named_are_not_taken() {
    let two = Two::new();
    two.write(0, FIRST);
    two.push(0).unwrap();
    two.write(1, &[("kept", "kept")]);
    let (good, object) = two.state(|state| (state.uploads.versions[0].bytes.clone(), state.uploads.versions[0].item.object.clone()));
    let short = good[..good.len() - 1].to_vec();
    let long = [&good[..], b"x"].concat();
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    for bytes in [short, long, flipped, vec![], vec![0; good.len()]] {
        two.state(|state| state.uploads.versions[0].bytes.clone_from(&bytes));
        two.world.authority.contents.objects.lock().unwrap().remove(&object);
        assert_eq!(two.pull_with(1, None, true).unwrap_err().code(), "save_not_authentic");
        assert_eq!(two.read(1), owned(&[("kept", "kept")]));
    }
    // Sealed for another slot, and named by the authority as this one's: it opens as what it was sealed as only.
    forge(&two, |key, user| {
        let container = SaveKey::new(key).container(user, TITLE, "other");
        Sealing::new(Vec::new(), &container, &mut SystemRandom).unwrap().finish().unwrap()
    });
    assert_eq!(two.pull_with(1, None, true).unwrap_err().code(), "save_not_authentic");
    assert_eq!(two.read(1), owned(&[("kept", "kept")]));
}
