//! Vectors of deltas: objects made by hand, by the words of SPEC.md §13, and read by the implementation.

use counterfoil_format::content::*;
use counterfoil_format::secret::{Random, Secret};
use serde_json::{Value, json};

use crate::content_support::hostile::{open_by_tag_alone, seal_by_key};
use crate::content_vectors::{failures, file, hex, load, secret, unhex};

const SALT: [u8; 32] = [0x5a; 32];

/// What the front says, and what the pieces hold; or why the object is refused.
fn open_delta(case: &Value) -> String {
    let object = unhex(&case["object"]);
    let key = || ContentKey::new(Secret::new(secret(&case["content_key"]))).delta_key();
    let opened = || -> Result<String, DeltaError> {
        let head = object.first_chunk().ok_or(DeltaError::Index("cut off"))?;
        let end = delta_front_length(&key(), head, object.len() as u64)?;
        let front = DeltaFront::open(key(), &object[..end as usize], object.len() as u64)?;
        let piece = |range: std::ops::Range<u64>| object[range.start as usize..range.end as usize].to_vec();
        let mut pieces = vec![];
        if !front.manifest().is_empty() {
            pieces.push(hex(front.open_manifest(&mut piece(front.manifest()))?));
        }
        let index = front.index();
        for at in 0..index.groups.len() {
            pieces.push(hex(front.open_group(at, &mut piece(front.group(at)))?));
        }
        let runs = |runs: &[Run]| runs.iter().map(|run| format!("{}+{}", run.first, run.count)).collect::<Vec<_>>().join(" ");
        let groups = index.groups.iter().map(|group| format!("[{}] of [{}]", runs(&group.new), runs(&group.old)));
        let groups = groups.collect::<Vec<_>>().join(", ");
        Ok(format!("{} to {}, {} level {}, {groups}: {}", index.from, index.to, index.encoder, index.level, pieces.join(" ")))
    };
    opened().unwrap_or_else(|error| error.to_string())
}

/// The key of a piece, by the words of the specification.
fn piece_key(content_key: &[u8; 32], salt: &[u8], number: u8) -> [u8; 32] {
    let seal = blake3::derive_key("counterfoil 2026 content v1 delta seal", content_key);
    let framed = [&[0, 0, 0, 32], salt, &[0, 0, 0, 8], &[number, 0, 0, 0, 0, 0, 0, 0]].concat();
    *blake3::keyed_hash(&seal, &framed).as_bytes()
}

/// An object of these pieces, the index first.
fn by_hand(magic: &[u8; 8], pieces: &[&[u8]]) -> Vec<u8> {
    let seal = |number: usize, plain: &[u8]| seal_by_key(&piece_key(&[0x11; 32], &SALT, number as u8), plain);
    let head = [&magic[..], &(pieces[0].len() as u64 + 16).to_le_bytes()].concat();
    let sealed = pieces.iter().enumerate().flat_map(|(at, piece)| seal(at + 1, piece));
    SALT.into_iter().chain(seal(0, &head)).chain(sealed).collect()
}

fn index(rest: &[u8]) -> Vec<u8> {
    [&[0xaa; 32][..], &[0xbb; 32], b"\x0azstd 1.5.7\x06", rest].concat()
}

/// The manifest's piece of 3 bytes; the first group of 4 makes the chunks 1, 2 and 5 of 0 to 199, the second of 1 makes 6 of nothing.
const GROUPS: &[u8] = &[19, 2, 20, 2, 1, 2, 2, 1, 1, 0, 200, 1, 17, 1, 0, 1, 0];

fn cases() -> Vec<Value> {
    let case = |name: &str, object: &[u8]| json!({ "name": name, "content_key": hex(&[0x11; 32]), "object": hex(object) });
    let with = |name: &str, rest: &[u8]| case(name, &by_hand(b"CFDELTA1", &[&index(rest), b"man", b"four", b"1"]));
    let good = by_hand(b"CFDELTA1", &[&index(GROUPS), b"man", b"four", b"1"]);
    let changed = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut object = good.clone();
        change(&mut object);
        case(name, &object)
    };
    let edited = |name: &str, at: usize, byte: u8| {
        let mut rest = GROUPS.to_vec();
        rest[at] = byte;
        with(name, &rest)
    };
    let mut other_title = case("of another title", &good);
    other_title["content_key"] = json!(hex(&[0x12; 32]));
    vec![
        case("good", &good),
        case("nothing in it", &by_hand(b"CFDELTA1", &[&index(&[0, 0])])),
        other_title,
        changed("a bit of the salt flipped", &|object| object[0] ^= 1),
        changed("a bit of the head flipped", &|object| object[33] ^= 1),
        changed("a bit of the index flipped", &|object| object[70] ^= 1),
        changed("a bit of the last group flipped", &|object| *object.last_mut().unwrap() ^= 1),
        changed("cut", &|object| object.truncate(object.len() - 1)),
        changed("cut in the head", &|object| object.truncate(50)),
        changed("a byte appended", &|object| object.push(0)),
        case("of another version", &by_hand(b"CFDELTA2", &[&index(GROUPS), b"man", b"four", b"1"])),
        edited("runs that touch", 6, 0),
        edited("an empty run", 5, 0),
        edited("a group of nothing", 13, 0),
        edited("a piece without a byte", 2, 16),
        edited("groups that are not there", 1, 9),
        with("a byte behind the index", &[GROUPS, &[0]].concat()),
        with("a number written badly", &[&[0x93, 0x00], &GROUPS[1..]].concat()),
    ]
}

#[test]
fn deltas() {
    let cases = load("deltas.json", 18);
    assert_eq!(failures(&cases, open_delta), [""; 0]);
    // One that does not look whether the pieces make up the object.
    let careless = |case: &Value| {
        let mut longer = case.clone();
        if case["name"] == "a byte appended" {
            longer["object"] = json!(case["object"].as_str().unwrap().strip_suffix("00").unwrap());
        }
        open_delta(&longer)
    };
    assert_eq!(failures(&cases, careless), ["a byte appended"]);
}

#[test]
fn deltas_open_by_the_words_of_the_specification() {
    struct Fixed;
    impl Random for Fixed {
        fn fill(&mut self, into: &mut [u8]) {
            into.fill(0x33);
        }
    }
    let sealer = DeltaSealer::new(ContentKey::new(Secret::new([0x11; 32])).delta_key(), &mut Fixed);
    let piece = sealer.group(0, b"what the engine wrote".to_vec());
    let run = |first, count| vec![Run { first, count }];
    let groups = vec![DeltaGroup { new: run(3, 2), old: run(0, 300), sealed: piece.len() as u32 }];
    let (from, to) = (ChunkId([1; 32]), ChunkId([2; 32]));
    let front = sealer.front(&DeltaIndex { from, to, encoder: "zstd 1.5.7".into(), level: -1, manifest: 0, groups }).unwrap();
    let open = |number: u8, sealed: &[u8]| open_by_tag_alone(&piece_key(&[0x11; 32], &[0x33; 32], number), sealed).unwrap();
    let head = open(0, &front[32..64]);
    assert_eq!((&head[..8], &head[8..]), (&b"CFDELTA1"[..], &(front.len() as u64 - 64).to_le_bytes()[..]));
    let expected = [&[1; 32][..], &[2; 32], b"\x0azstd 1.5.7", &[1, 0, 1, 37, 1, 3, 2, 1, 0, 0xac, 2]].concat();
    assert_eq!(open(1, &front[64..]), expected);
    assert_eq!(open(3, &piece), b"what the engine wrote");
}

#[test]
#[ignore = "writes the vector file anew: look at the difference before it is committed"]
fn write_delta_vectors() {
    let mut cases = cases();
    for case in &mut cases {
        case["expect"] = json!(open_delta(case));
    }
    let about = "An object of deltas, made by hand (SPEC.md §13); expect: what it says and what its pieces hold, or why it is refused.";
    let set = json!({ "about": about, "cases": cases });
    std::fs::write(file("deltas.json"), serde_json::to_string_pretty(&set).unwrap() + "\n").unwrap();
}
