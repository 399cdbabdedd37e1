//! Containers (C2SP chunked-encryption, Cobblestone-256): the specification's vectors, every kind of damage, both ends of a stream.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use base64::Engine as _;
use counterfoil_format::container::{
    CHUNK, Container, ContainerError, HEAD, Opening, SaveKey, SaveKeyScope, Sealing, plain_length, sealed_length,
};
use counterfoil_format::hpke::{DiffieHellman as _, Kem, SealingKey};
use counterfoil_format::secret::{Random, Secret, SystemRandom};
use serde_json::Value;

fn save() -> Container {
    SaveKey::new(Secret::new([3; 32])).container("user", "sky-raider", "main")
}

fn seal(container: &Container, plain: &[u8]) -> Vec<u8> {
    let mut sealing = Sealing::new(Vec::new(), container, &mut SystemRandom).unwrap();
    sealing.write_all(plain).unwrap();
    sealing.finish().unwrap()
}

fn open(container: &Container, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    Opening::new(sealed, container)?.read_to_end(&mut plain)?;
    Ok(plain)
}

fn why(result: io::Result<Vec<u8>>) -> ContainerError {
    let error = result.expect_err("it must not open");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    *error.get_ref().and_then(|source| source.downcast_ref()).expect("it says why")
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| ((i / 7) ^ i) as u8).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The salt of a vector, for its bytes to come out again.
struct Salt<'a>(&'a [u8]);

impl Random for Salt<'_> {
    fn fill(&mut self, into: &mut [u8]) {
        into.copy_from_slice(&self.0[..into.len()]);
    }
}

/// Made by another implementation; the same bytes come out of the same salt.
#[test]
fn vectors() {
    let file: Value = serde_json::from_str(include_str!("../vectors/crypto/container.json")).unwrap();
    let (mut good, mut bad) = (0, 0);
    for vector in file["vectors"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let sealed = base64::engine::general_purpose::STANDARD.decode(vector["sealed"].as_str().unwrap()).unwrap();
        let key = Secret::from_slice(&unhex(vector["key"].as_str().unwrap())).unwrap();
        let container = Container::raw(key, unhex(vector["context"].as_str().unwrap()));
        let opened = open(&container, &sealed);
        let Some(length) = vector["length"].as_u64() else {
            assert!(opened.is_err(), "{name} opens");
            bad += 1;
            continue;
        };
        let plain = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(plain == pattern(length as usize), "{name}");
        let mut again = Sealing::new(Vec::new(), &container, &mut Salt(&sealed)).unwrap();
        again.write_all(&plain).unwrap();
        assert!(again.finish().unwrap() == sealed, "{name}: sealed to other bytes");
        good += 1;
    }
    assert_eq!((good, bad), (7, 20));
}

#[test]
fn every_length_comes_back_and_is_foretold() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17] {
        let plain = pattern(length);
        let sealed = seal(&save(), &plain);
        assert!(open(&save(), &sealed).unwrap() == plain, "{length}");
        assert_eq!(sealed_length(length as u64), Some(sealed.len() as u64));
        assert_eq!(plain_length(sealed.len() as u64), Some(length as u64));
    }
    // What ends at a boundary of chunks, or within a tag, is no container's length.
    for length in [0, HEAD as u64, HEAD as u64 + 15, (HEAD + CHUNK + 16) as u64, (HEAD + CHUNK + 31) as u64] {
        assert_eq!(plain_length(length), None, "{length}");
    }
    assert_eq!(sealed_length((1 << 52) - 1).and_then(plain_length), Some((1 << 52) - 1));
    assert_eq!(sealed_length(1 << 52), None);
    assert_eq!(plain_length(u64::MAX), None);
}

#[test]
fn cut_anywhere_it_does_not_open() {
    let sealed = seal(&save(), &pattern(2 * CHUNK));
    let boundaries = [HEAD, HEAD + CHUNK + 16, HEAD + 2 * (CHUNK + 16)];
    for end in (0..sealed.len()).filter(|end| end % 991 == 0 || boundaries.iter().any(|at| end.abs_diff(*at) < 40)) {
        let error = why(open(&save(), &sealed[..end]));
        assert!(matches!(error, ContainerError::Cut | ContainerError::Changed), "{end}: {error}");
        if boundaries.contains(&end) {
            assert_eq!(error, ContainerError::Cut);
        }
    }
}

#[test]
fn swapped_doubled_appended_flipped() {
    let sealed = seal(&save(), &pattern(3 * CHUNK + 100));
    let (head, body) = sealed.split_at(HEAD);
    let chunks: Vec<&[u8]> = body.chunks(CHUNK + 16).collect();
    let join = |order: &[usize]| [head, &order.iter().flat_map(|&i| chunks[i].to_vec()).collect::<Vec<u8>>()].concat();
    assert!(open(&save(), &join(&[0, 1, 2, 3])).is_ok());
    for order in [&[1, 0, 2, 3][..], &[0, 0, 1, 2, 3], &[0, 1, 3], &[0, 1, 2, 3, 3], &[3], &[0, 2, 3]] {
        assert_eq!(why(open(&save(), &join(order))), ContainerError::Changed, "{order:?}");
    }
    assert_eq!(why(open(&save(), &[&sealed[..], b"x"].concat())), ContainerError::Changed);
    for at in [0, 23, 24, 55, 56, HEAD + CHUNK + 15, HEAD + CHUNK + 16, sealed.len() - 1] {
        let mut flipped = sealed.clone();
        flipped[at] ^= 0x10;
        let expected = if at < HEAD { ContainerError::Other } else { ContainerError::Changed };
        assert_eq!(why(open(&save(), &flipped)), expected, "{at}");
    }
    // A chunk of another container under the same key.
    let other = seal(&save(), &pattern(3 * CHUNK + 100));
    let mixed = [&sealed[..HEAD + CHUNK + 16], &other[HEAD + CHUNK + 16..]].concat();
    assert_eq!(why(open(&save(), &mixed)), ContainerError::Changed);
}

#[test]
fn opens_as_what_it_was_sealed_as_only() {
    let sealed = seal(&save(), b"level 7");
    let key = SaveKey::new(Secret::new([3; 32]));
    let library = Secret::new([3; 32]);
    let others = [
        SaveKey::new(Secret::new([4; 32])).container("user", "sky-raider", "main"),
        key.container("other", "sky-raider", "main"),
        key.container("user", "deep-dive", "main"),
        key.container("user", "sky-raider", "main2"),
        key.container("users", "ky-raider", "main"),
        Container::received(&library, "user", "sky-raider", "main"),
    ];
    for other in &others {
        assert_eq!(why(open(other, &sealed)), ContainerError::Other);
    }
    let received = |title, provider, name| Container::received(&library, title, provider, name);
    let sealed = seal(&received("sky-raider", "prov", "map"), b"map");
    assert_eq!(open(&received("sky-raider", "prov", "map"), &sealed).unwrap(), b"map");
    for other in [received("sky-raider", "prov2", "map"), received("deep-dive", "prov", "map"), received("sky-raider", "prov", "map2")] {
        assert_eq!(why(open(&other, &sealed)), ContainerError::Other);
    }
}

/// C13: neither the holder's key alone nor another device opens the key, nor does it open as another user's or title's.
#[test]
fn save_keys_come_to_holder_and_device() {
    let holder = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let device: Secret<32> = Secret::random(&mut SystemRandom);
    let to = SaveKeyScope { user: "user-1", title: "sky-raider", device: "dev-1" };
    let key = SaveKey::new(Secret::new([3; 32]));
    let sealed = key.seal(holder.public_key(), &device, &to, &mut SystemRandom).unwrap();
    assert!(SaveKey::open(&sealed, &holder, &device, &to).unwrap().secret() == key.secret());
    let other = SealingKey::generate(Kem::X25519, &mut SystemRandom);
    let refused = |key: &SealingKey, device: &Secret<32>, to: SaveKeyScope<'_>| SaveKey::open(&sealed, key, device, &to).is_err();
    assert!(refused(&other, &device, to));
    assert!(refused(&holder, &Secret::new([0; 32]), to));
    for to in [SaveKeyScope { user: "user-2", ..to }, SaveKeyScope { title: "deep-dive", ..to }, SaveKeyScope { device: "dev-2", ..to }] {
        assert!(refused(&holder, &device, to), "{to:?}");
    }
}

#[test]
fn without_an_end_it_does_not_open() {
    let mut bytes = Vec::new();
    let mut sealing = Sealing::new(&mut bytes, &save(), &mut SystemRandom).unwrap();
    sealing.write_all(&pattern(CHUNK)).unwrap();
    drop(sealing);
    assert_eq!(why(open(&save(), &bytes)), ContainerError::Cut);
}

/// Fails once at a given number of bytes, as a disk that was full for a moment.
struct Stumbling {
    bytes: Vec<u8>,
    fails_at: Option<usize>,
}

impl Write for Stumbling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fails_at.is_some_and(|at| self.bytes.len() + bytes.len() > at) {
            self.fails_at = None;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A chunk that could not be written is not sealed a second time under its nonce.
#[test]
fn after_a_failure_nothing_more_is_sealed() {
    let into = Stumbling { bytes: Vec::new(), fails_at: Some(HEAD + 10) };
    let mut sealing = Sealing::new(into, &save(), &mut SystemRandom).unwrap();
    assert_eq!(sealing.write_all(&pattern(CHUNK)).unwrap_err().kind(), io::ErrorKind::StorageFull);
    let again = sealing.write(b"x").unwrap_err();
    assert_eq!(again.get_ref().and_then(|source| source.downcast_ref()), Some(&ContainerError::Broken));
    assert!(sealing.finish().is_err());
}

/// A reader that gives a byte at a time, and is interrupted before each.
#[test]
fn a_signal_in_the_middle_of_reading_loses_nothing() {
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let most = into.len().min(1);
            self.0.read(&mut into[..most])
        }
    }
    let plain = pattern(3 * CHUNK + 5);
    let sealed = seal(&save(), &plain);
    let mut opened = Vec::new();
    Opening::new(Interrupted(&sealed, false), &save()).unwrap().read_to_end(&mut opened).unwrap();
    assert!(opened == plain);
}

/// A reader that fails once in a chunk: nothing is opened at the wrong place afterwards.
#[test]
fn after_a_failure_nothing_more_is_read() {
    struct Failing<'a>(&'a [u8], usize);
    impl Read for Failing<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.1 == 0 {
                self.1 = usize::MAX;
                return Err(io::ErrorKind::TimedOut.into());
            }
            let length = into.len().min(self.0.len()).min(self.1);
            into[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            self.1 -= length;
            Ok(length)
        }
    }
    let sealed = seal(&save(), &pattern(2 * CHUNK));
    let mut opening = Opening::new(Failing(&sealed, HEAD + CHUNK + 100), &save()).unwrap();
    let mut plain = Vec::new();
    assert_eq!(opening.read_to_end(&mut plain).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(plain == pattern(2 * CHUNK)[..CHUNK]);
    assert_eq!(opening.read_to_end(&mut plain).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/container");
    let (mut good, mut bad) = (0, 0);
    for file in fs::read_dir(&corpus).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let data = fs::read(&path).unwrap();
        let accepted = crate::container_entry::container(&data);
        match name.split('-').next() {
            Some("good") => {
                assert!(accepted, "{name}");
                good += 1;
            }
            Some("bad") => {
                assert!(!accepted, "{name}");
                bad += 1;
            }
            _ => {}
        }
        // A fuzzer's first steps, in every run.
        for at in (0..data.len()).step_by(data.len() / 50 + 1) {
            crate::container_entry::container(&data[..at]);
            let mut changed = data.clone();
            changed[at] ^= 1;
            assert!(!accepted || !crate::container_entry::container(&changed), "{name} opens with byte {at} changed");
        }
    }
    assert!(good >= 3 && bad >= 6, "{good} good and {bad} bad");
}

#[test]
#[ignore = "writes the seeds; run it when the format changes"]
fn write_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/container");
    fs::create_dir_all(&corpus).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(corpus.join(name), bytes).unwrap();
    let container = crate::container_entry::key();
    let two = seal(&container, &pattern(2 * CHUNK + 5));
    write("good-empty", &seal(&container, b""));
    write("good-whole", &seal(&container, &pattern(CHUNK)));
    write("good-three", &two);
    write("bad-head", &two[..HEAD - 1]);
    write("bad-no-chunk", &two[..HEAD]);
    write("bad-boundary", &two[..HEAD + CHUNK + 16]);
    write("bad-within-tag", &two[..two.len() - 18]);
    write("bad-appended", &[&two[..], &two[HEAD..]].concat());
    write("bad-other-name", &seal(&save(), b"x"));
    write("bad-nothing", b"");
}
