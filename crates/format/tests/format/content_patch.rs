//! Sealed patches (SPEC.md §10): round trips, resuming, and everything that could be done to one on its way.
use std::io::Write;

use crate::content_support::*;
use counterfoil_format::content::*;
use counterfoil_format::secret::Random;

/// The same bytes each time, so that failures can be looked at twice.
struct Fixed(u64);

impl Random for Fixed {
    fn fill(&mut self, into: &mut [u8]) {
        self.0 += 1;
        into.copy_from_slice(&noise(self.0, into.len()));
    }
}

fn header() -> PatchHeader {
    let (from, to) = (ChunkId([1; 32]), ChunkId([2; 32]));
    PatchHeader { from, to, encoder: Encoder::name(), level: -7, old: vec![0, 1, 5, 4_000_000], new: vec![3] }
}

fn seal(key: u8, header: &PatchHeader, text: &[u8], salt: u64) -> (Vec<u8>, PackedObject) {
    let mut writer = PatchWriter::new(content_key(key).patch_key(), header, &mut Fixed(salt), Vec::new()).unwrap();
    // In odd pieces, so that segments are filled across writes.
    for piece in text.chunks(77_777) {
        writer.write_all(piece).unwrap();
    }
    writer.finish().unwrap()
}

fn open(key: u8, sealed: &[u8]) -> Result<(PatchHeader, Vec<u8>), String> {
    let patch = SealedPatch::open(content_key(key).patch_key(), sealed.to_vec()).map_err(|error| error.to_string())?;
    let mut text = vec![0; patch.size().unwrap() as usize];
    patch.read_exact_at(&mut text, 0).map_err(|error| error.to_string())?;
    Ok((patch.header().clone(), text))
}

/// Bytes of the header before the engine's, so that lengths can be chosen that end at a segment's end.
fn overhead() -> usize {
    let (sealed, _) = seal(1, &header(), b"", 0);
    sealed.len() - 32 - 16
}

#[test]
fn what_is_sealed_is_opened_at_every_length_around_a_segment() {
    let segment = PATCH_SEGMENT - overhead();
    for length in [0, 1, segment - 1, segment, segment + 1, segment + PATCH_SEGMENT, segment + PATCH_SEGMENT + 1] {
        let text = noise(9, length);
        let (sealed, object) = seal(1, &header(), &text, 0);
        assert_eq!(object, PackedObject { name: ObjectName::of(&sealed), length: sealed.len() as u64 });
        assert_eq!(open(1, &sealed).unwrap(), (header(), text.clone()), "{length}");
        let segments = (overhead() + length).div_ceil(PATCH_SEGMENT);
        assert_eq!(sealed.len(), 32 + overhead() + length + 16 * segments);

        let patch = SealedPatch::open(content_key(1).patch_key(), sealed).unwrap();
        let middle = length / 2;
        let mut rest = vec![0; length - middle];
        patch.read_exact_at(&mut rest, middle as u64).unwrap();
        assert_eq!(rest, text[middle..]);
    }
}

#[test]
fn a_patch_of_another_title_and_every_damage_is_refused() {
    let text = prose(3, 2 * PATCH_SEGMENT + 500);
    let (sealed, _) = seal(1, &header(), &text, 0);
    assert!(open(2, &sealed).unwrap_err().contains("segment 0"));
    let boundary = 32 + PATCH_SEGMENT + 16;
    for at in [0, 31, 32, 40, boundary - 1, boundary, boundary + 5, 2 * boundary - 32, sealed.len() - 1] {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        assert!(open(1, &flipped).is_err(), "byte {at}");
    }
    for length in [0, 32, 33, 48, 49, 100, boundary - 1, boundary, boundary + 16, boundary + 17, 2 * boundary - 32, sealed.len() - 1] {
        assert!(open(1, &sealed[..length]).is_err(), "cut to {length}");
    }
    assert!(open(1, &[&sealed[..], &[0]].concat()).is_err(), "a byte behind its end");
    // Segments in another order, and a good one of another patch under the same key.
    let segment = |of: &[u8], index: usize| of[32 + index * (PATCH_SEGMENT + 16)..32 + (index + 1) * (PATCH_SEGMENT + 16)].to_vec();
    let last = &sealed[32 + 2 * (PATCH_SEGMENT + 16)..];
    let swapped = [&sealed[..32], &segment(&sealed, 1), &segment(&sealed, 0), last].concat();
    assert!(open(1, &swapped).is_err());
    let (other, _) = seal(1, &header(), &text, 7);
    let mixed = [&sealed[..32], &segment(&sealed, 0), &segment(&other, 1), last].concat();
    assert!(open(1, &mixed).is_err());
    // With the same salt it would open: what the salt is for. (A bug that only this line could show: a constant salt.)
    let (same, _) = seal(1, &header(), &text, 0);
    assert_eq!(same, sealed);
    assert_ne!(other[..32], sealed[..32]);
}

#[test]
fn fetching_goes_on_after_the_last_good_segment() {
    let (sealed, object) = seal(1, &header(), &noise(4, 3 * PATCH_SEGMENT), 0);
    let key = content_key(1).patch_key();
    let good = |have: Vec<u8>| good_patch_bytes(&key, &have, object.length).unwrap();
    let end_of = |segments: u64| 32 + segments * (PATCH_SEGMENT as u64 + 16);
    assert_eq!(good(sealed.clone()), object.length);
    assert_eq!(good(vec![]), 0);
    assert_eq!(good(sealed[..31].to_vec()), 0);
    assert_eq!(good(sealed[..end_of(1) as usize - 1].to_vec()), 0);
    assert_eq!(good(sealed[..end_of(1) as usize].to_vec()), end_of(1));
    assert_eq!(good(sealed[..end_of(3) as usize - 1].to_vec()), end_of(2));
    // Nothing behind damage counts, and a damaged salt leaves nothing.
    for (flipped, left) in [(0, 0), (40, 0), (end_of(1) as usize, end_of(1)), (sealed.len() - 1, end_of(3))] {
        let mut damaged = sealed.clone();
        damaged[flipped] ^= 1;
        assert_eq!(good(damaged), left, "byte {flipped}");
    }
    // A part that was fetched of a longer object is not taken for a whole one.
    assert_eq!(good_patch_bytes(&key, &sealed, object.length + 1).unwrap(), end_of(3));
}

#[test]
fn headers_that_lie_are_refused() {
    let id = [7_u8; 32];
    let good: Vec<u8> = [&b"CFPATCH1"[..], &id, &id, b"\x04zstd", &[6], &[2, 0, 0], &[1, 9]].concat();
    let text = |header: &[u8]| [&(header.len() as u32).to_le_bytes()[..], header, b"engine"].concat();
    // What a writer with its own idea of headers would make.
    let forge = |plain: &[u8]| {
        let salt = [3_u8; 32];
        let seal = blake3::derive_key("counterfoil 2026 content v1 patch seal", &[1; 32]);
        let framed = [&32_u32.to_be_bytes()[..], &salt, &8_u32.to_be_bytes(), &0_u64.to_le_bytes(), &1_u32.to_be_bytes(), &[1]].concat();
        let key = blake3::keyed_hash(&seal, &framed);
        [&salt[..], &hostile::seal_by_key(key.as_bytes(), plain)].concat()
    };
    let (header, engine) = open(1, &forge(&text(&good))).unwrap();
    assert_eq!((header.level, header.old, header.new, &engine[..]), (3, vec![0, 1], vec![9], &b"engine"[..]));
    let changed = |at: usize, to: &[u8]| {
        let mut changed = good.clone();
        changed.splice(at..=at, to.iter().copied());
        changed
    };
    let entries = 8 + 64 + 5 + 1;
    for (what, header) in [
        ("nothing", vec![]),
        ("another version", changed(7, b"2")),
        ("a name that is longer than what follows", changed(72, &[0xff, 0x7f])),
        ("text that is not UTF-8", changed(73, &[0xff])),
        ("more entries than bytes", changed(entries, &[0xff, 0xff, 0xff, 0x7f])),
        ("an entry above all limits", changed(entries + 1, &[0xff, 0xff, 0xff, 0x7f])),
        ("entries that sum above all limits", changed(entries + 2, &[0xff, 0xff, 0xff, 0x01])),
        ("a number with a last byte of zero", changed(entries + 1, &[0x80, 0])),
        ("a byte behind its end", [&good[..], &[0]].concat()),
    ] {
        let refused = open(1, &forge(&text(&header))).unwrap_err();
        assert!(refused.contains("header of the patch is wrong"), "{what}: {refused}");
    }
    for length in 0..good.len() {
        assert!(open(1, &forge(&text(&good[..length]))).is_err(), "cut to {length}");
    }
    // A header that is announced and does not come; nothing at all.
    assert!(open(1, &forge(&u32::MAX.to_le_bytes())).is_err());
    assert!(open(1, &forge(&(64_u32 << 20).to_le_bytes())).unwrap_err().contains("longer than it can be"));
    assert!(open(1, &forge(&[0])).unwrap_err().contains("cut off"));
}

/// Several streams are read in turn, as the engine does: more of them than segments stay open.
#[test]
fn what_is_read_does_not_depend_on_the_order_of_reading() {
    let text = noise(5, 10 * PATCH_SEGMENT);
    let (sealed, _) = seal(1, &header(), &text, 0);
    let patch = SealedPatch::open(content_key(1).patch_key(), sealed).unwrap();
    let mut streams: Vec<usize> = (0..10).map(|at| at * PATCH_SEGMENT).collect();
    for turn in 0..30 {
        for at in &mut streams {
            let length = (turn * 13_337 + 1).min(text.len() - *at);
            let mut part = vec![0; length];
            patch.read_exact_at(&mut part, *at as u64).unwrap();
            assert_eq!(part, text[*at..*at + length]);
            *at += length;
        }
    }
    for (length, at) in [(1, text.len() as u64), (2, text.len() as u64 - 1), (1, u64::MAX)] {
        assert_eq!(patch.read_exact_at(&mut vec![0; length], at).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn entries_have_to_be_files_of_the_manifests() {
    let mut builder = ManifestBuilder::new();
    builder.directory("d").unwrap();
    builder.file("d/f", false, &[]).unwrap();
    let manifest = builder.finish().unwrap();
    let with = |old: Vec<u32>, new: Vec<u32>| PatchHeader { old, new, ..header() }.check(&manifest, &manifest).is_ok();
    assert!(with(vec![1], vec![1]) && with(vec![], vec![]));
    assert!(!with(vec![0], vec![1]) && !with(vec![1], vec![0]) && !with(vec![1, 2], vec![1]) && !with(vec![1], vec![u32::MAX]));
    for unsorted in [vec![2, 1], vec![1, 1]] {
        let header = PatchHeader { old: unsorted, ..header() };
        assert!(PatchWriter::new(content_key(1).patch_key(), &header, &mut Fixed(0), Vec::new()).is_err());
    }
}

#[test]
fn the_encoder_says_what_it_is() {
    let name = Encoder::name();
    assert!(name.strip_prefix("zstd ").unwrap().split('.').all(|part| part.parse::<u32>().is_ok()), "{name}");
    assert_eq!(Encoder::name_at(3), format!("{name} level 3"));
}
